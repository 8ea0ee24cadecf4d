//! Why a datagram or message was not used. A drop is never an error: it is counted and nothing else happens.

macro_rules! drop_reasons {
    ($($(#[$doc:meta])* $name:ident = $label:literal),+ $(,)?) => {
        /// Why something from the network was not used. The label is the metric's `reason`.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum DropReason { $($(#[$doc])* $name),+ }

        impl DropReason {
            /// Every reason, in the order of [`DropReason::index`].
            pub const ALL: &'static [DropReason] = &[$(DropReason::$name),+];

            /// The metric label.
            #[must_use]
            pub fn label(self) -> &'static str {
                match self { $(DropReason::$name => $label),+ }
            }

            /// Position in [`DropReason::ALL`], for counter arrays.
            #[must_use]
            pub fn index(self) -> usize { self as usize }
        }
    };
}

drop_reasons! {
    /// First byte in no range of RFC 7983, or shorter than its protocol's header.
    Unclassified = "unclassified",
    /// Not STUN, from an address that no leg has proved.
    UnknownAddress = "unknown_address",
    /// STUN that does not parse, or a message type a lite agent does not answer.
    StunMalformed = "stun_malformed",
    /// STUN with a user name that no leg has.
    StunUnknownUfrag = "stun_unknown_ufrag",
    /// STUN whose MESSAGE-INTEGRITY or FINGERPRINT does not verify.
    StunIntegrity = "stun_integrity",
    /// More checks than a leg answers.
    StunRate = "stun_rate",
    /// A check seen before, now from another address: proof of nothing but eavesdropping.
    StunReplay = "stun_replay",
    /// A check from an address on which another leg lives: a member who writes somebody else's address on his own check.
    StunAddressTaken = "stun_address_taken",
    /// DTLS from an address that the leg has not proved.
    DtlsUnproved = "dtls_unproved",
    /// DTLS record that the stack refused, or handshake bytes past the cap.
    DtlsRefused = "dtls_refused",
    /// A leg's handshake datagrams came faster than the worker gets to them.
    HandshakeQueueFull = "handshake_queue_full",
    /// RTP or RTCP before the handshake gave keys.
    SrtpNoKeys = "srtp_no_keys",
    /// SRTP or SRTCP whose tag does not verify.
    SrtpAuth = "srtp_auth",
    /// SRTP or SRTCP index seen before or older than the window.
    SrtpReplay = "srtp_replay",
    /// More SSRCs than a leg may have.
    SrtpTooManySsrcs = "srtp_too_many_ssrcs",
    /// RTP header that does not parse.
    RtpMalformed = "rtp_malformed",
    /// RTCP compound packet that does not parse.
    RtcpMalformed = "rtcp_malformed",
    /// SSRC, mid or rid that no section of the leg's offer declares.
    RtpUnknownTrack = "rtp_unknown_track",
    /// Payload type that was not negotiated.
    RtpUnknownPayloadType = "rtp_unknown_payload_type",
    /// The seat may not publish this source, or send this kind of message, now.
    NotPermitted = "not_permitted",
    /// Older than the retransmission window, or a duplicate.
    RtpStale = "rtp_stale",
    /// RTX with half an original sequence number, or with one that cannot have been asked for.
    RtxUseless = "rtx_useless",
    /// SCTP that does not parse or belongs to no association.
    SctpMalformed = "sctp_malformed",
    /// Data-channel message without the envelope, or a channel past a limit.
    DataRefused = "data_refused",
    /// Data-channel message of a kind that this server does not know.
    DataKindUnknown = "data_kind_unknown",
    /// Data-channel message longer than its kind may be.
    DataTooLong = "data_too_long",
    /// The seat's budget for this kind of message is spent.
    DataRate = "data_rate",
    /// A receiver's line does not keep up: it does not get this message, others do.
    DataReceiverBusy = "data_receiver_busy",
    /// A frame for or from a leg within this process that is no Opus packet of one frame.
    LocalFrameLength = "local_frame_length",
    /// A frame of a leg within this process that is gone.
    LocalLegGone = "local_leg_gone",
    /// The worker did not take a leg's frames in time: the oldest went.
    LocalUplinkFull = "local_uplink_full",
    /// A leg within this process did not take its frames in time: the oldest went.
    LocalDownlinkFull = "local_downlink_full",
    /// The transmit batch was full.
    TransmitFull = "transmit_full",
    /// The room panicked on this input and was closed.
    RoomFailed = "room_failed",
}
