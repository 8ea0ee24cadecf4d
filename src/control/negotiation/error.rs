//! Why an offer cannot be answered. Every one of these is the offerer's to mend; none repeats its text, which holds
//! addresses and certificate fingerprints.

/// What is wrong with an offer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OfferError {
    /// Longer than [`super::OFFER_BYTES_MAX`] or than [`super::OFFER_LINES_MAX`] lines.
    #[error("the offer is larger than 256 KiB or 16384 lines")]
    TooLarge,
    /// More m-lines than `LegParameters::SECTIONS_MAX`.
    #[error("the offer has more than 64 media sections")]
    TooManySections,
    /// Not an SDP (RFC 8866).
    #[error("the offer is not a valid session description")]
    Syntax,
    /// A section without `a=mid`, two with the same, or one longer than 16 bytes.
    #[error("every media section needs its own a=mid of at most 16 token characters")]
    Mid,
    /// No `a=group:BUNDLE` (RFC 9143): we have one transport for everything.
    #[error("the offer must bundle its media sections (a=group:BUNDLE)")]
    NoBundle,
    /// A section without `a=rtcp-mux` (RFC 5761).
    #[error("the offer must multiplex RTCP with RTP (a=rtcp-mux)")]
    NoRtcpMux,
    /// RTP without DTLS.
    #[error("media must use DTLS-SRTP (UDP/TLS/RTP/SAVPF)")]
    PlainRtp,
    /// We are ICE-lite ourselves; somebody must send the checks (RFC 8445 section 6.1.1).
    #[error("the offerer must be a full ICE agent")]
    IceLite,
    /// `a=ice-ufrag` or `a=ice-pwd` missing or out of RFC 8839 section 5.4.
    #[error("a=ice-ufrag or a=ice-pwd is missing or malformed")]
    IceCredentials,
    /// `a=fingerprint` missing, malformed, or weaker than SHA-256.
    #[error("a certificate fingerprint with sha-256, sha-384 or sha-512 is required")]
    Fingerprint,
    /// `a=setup:passive` or `holdconn`: we are always the DTLS server.
    #[error("the offerer must be able to be the DTLS client (a=setup:actpass or active)")]
    Setup,
    /// One payload type means two codecs within the bundle (RFC 9143 section 9.1).
    #[error("a payload type means two different codecs within the bundle")]
    PayloadTypeConflict,
    /// One extension id means two extensions within the bundle (RFC 8285 section 5).
    #[error("a header extension id means two different extensions within the bundle")]
    ExtensionConflict,
    /// One SSRC in two sending sections.
    #[error("an SSRC is declared by two media sections")]
    SsrcConflict,
    /// A sending section that `senders` does not name.
    #[error("a sending media section has no entry in `senders`")]
    SenderUndeclared,
    /// An entry of `senders` whose mid sends nothing, whose kind differs, or that repeats a mid or a source.
    #[error("an entry of `senders` does not match a sending media section of its kind, or is there twice")]
    SenderMismatch,
    /// A layer name of `a=simulcast` that is not 1 to 16 letters and digits.
    #[error("a simulcast rid must have 1 to 16 letters or digits")]
    Rid,
    /// Nothing in the offer that we could take: no known codec in any section.
    #[error("no media section of the offer can be accepted: no codec in common")]
    NothingAcceptable,
}
