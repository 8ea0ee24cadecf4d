//! One leg's secure channel put together: ICE-lite proves paths, DTLS gives keys, SRTP carries media, SCTP messages.
//!
//! ```text
//!            handle_stun -> IceLite ----- selected path ----+
//! datagram   handle_dtls -> Dtls -> SctpEndpoint -> events  +-> poll_transmit / egress
//!            open_rtp(cp) -> IngressSrtp -> plain packet    |
//!                                           EgressSrtp -----+
//! ```
//!
//! Not here: classifying datagrams, rooms, tracks (`sfu`). Invariant: only an authenticated check may bind a path,
//! only a proved path is heard, and once connected nothing but the far side's close_notify ends the association.

use std::time::Instant;

use super::batch::{Path, TransmitBatch};
use super::dtls::{Dtls, DtlsFailure};
use super::ice::StunOutcome;
use super::parameters::{IceCredentials, TransportParameters};
use super::srtp::{EgressSrtp, Profile};
use crate::drops::DropReason;
use crate::rtp::seq::SeqNo;

/// What a transport reports.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TransportEvent {
    /// The handshake is done; media and messages may flow.
    Connected {
        /// Negotiated SRTP profile.
        profile: Profile,
        /// `DTLSv1.2` or `DTLSv1.3`.
        version: &'static str,
        /// Key exchange group.
        group: &'static str,
    },
    /// The handshake failed for good. Nothing follows.
    Failed(DtlsFailure),
    /// The far side closed the association. Nothing follows.
    Closed,
    /// 30 s without an authenticated check: nothing is sent until [`TransportEvent::Back`].
    Silent,
    /// Checks came back after [`TransportEvent::Silent`].
    Back,
    /// We send on another path than before.
    PathChanged,
    /// A data channel is open for both directions.
    ChannelOpen {
        /// SCTP stream of the channel.
        channel: u16,
        /// The far side's label.
        label: String,
    },
    /// A whole data-channel message.
    Message {
        /// SCTP stream of the channel.
        channel: u16,
        /// Sent as text. Not checked to be UTF-8.
        text: bool,
        /// The message.
        payload: Vec<u8>,
    },
    /// A data channel is closed.
    ChannelClosed {
        /// SCTP stream of the channel.
        channel: u16,
    },
}

/// One leg's secure channel.
pub struct Transport {
    #[expect(dead_code)]
    dtls: Box<dyn Dtls>,
}

impl Transport {
    /// Waits for the first check. `seed` feeds what must be unpredictable to strangers (SCTP tags).
    #[must_use]
    pub fn new(_now: Instant, _parameters: TransportParameters, dtls: Box<dyn Dtls>, _seed: u64) -> Self {
        Self { dtls }
    }

    /// Takes a STUN datagram whose user name is this leg's. A verified check is answered into `out`.
    ///
    /// # Errors
    /// Why it was not used; nothing has then changed.
    pub fn handle_stun(
        &mut self,
        _now: Instant,
        _path: Path,
        _datagram: &[u8],
        _out: &mut TransmitBatch,
    ) -> Result<StunOutcome, DropReason> {
        Err(DropReason::StunMalformed)
    }

    /// Takes a DTLS datagram.
    ///
    /// # Errors
    /// Why it was not used.
    pub fn handle_dtls(&mut self, _now: Instant, _path: Path, _datagram: &[u8]) -> Result<(), DropReason> {
        Err(DropReason::DtlsUnproved)
    }

    /// Opens an SRTP packet in place: plain length and extended number.
    ///
    /// # Errors
    /// Why it is dropped.
    pub fn open_rtp(&mut self, _path: Path, _packet: &mut [u8]) -> Result<(usize, SeqNo), DropReason> {
        Err(DropReason::SrtpNoKeys)
    }

    /// Opens an SRTCP packet in place: plain length.
    ///
    /// # Errors
    /// Why it is dropped.
    pub fn open_rtcp(&mut self, _path: Path, _packet: &mut [u8]) -> Result<usize, DropReason> {
        Err(DropReason::SrtpNoKeys)
    }

    /// Where and with what to send media; `None` before keys, after the end and while consent is lost.
    pub fn egress(&mut self) -> Option<(Path, &mut EgressSrtp)> {
        None
    }

    /// Queues a data-channel message; false when the channel is not open or the buffers are full.
    pub fn send_message(&mut self, _now: Instant, _channel: u16, _text: bool, _payload: &[u8]) -> bool {
        false
    }

    /// New credentials for an ICE restart (RFC 8445 section 9). The old ones work until the new ones are proved.
    pub fn restart_ice(&mut self, _now: Instant, _local: IceCredentials, _remote: IceCredentials) {}

    /// Ends the association with a close_notify, which the next [`Self::poll_transmit`] sends.
    pub fn close(&mut self) {}

    /// Stops hearing a path, because another leg has proved it since.
    pub fn forget_path(&mut self, _path: Path) {}

    /// The paths that datagrams may come from: for the look-up table, when the leg goes.
    pub fn paths(&self) -> impl Iterator<Item = Path> + '_ {
        std::iter::empty()
    }

    /// Writes what DTLS and SCTP have to send.
    pub fn poll_transmit(&mut self, _now: Instant, _out: &mut TransmitBatch) {}

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<TransportEvent> {
        None
    }

    /// When [`Self::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// Runs timers that are due.
    pub fn handle_timeout(&mut self, _now: Instant) {}
}
