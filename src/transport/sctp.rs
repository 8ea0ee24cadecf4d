//! Data channels of one leg: SCTP over DTLS (RFC 8831, RFC 9260) with DCEP (RFC 8832), server side.

use std::time::Instant;

use bytes::Bytes;

use crate::drops::DropReason;

/// What the far side did on its data channels.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SctpEvent {
    /// A channel is open for both directions.
    Open {
        /// SCTP stream of the channel.
        channel: u16,
        /// The far side's label (RFC 8832).
        label: String,
        /// The far side's subprotocol, often empty.
        protocol: String,
    },
    /// A whole message, at most [`SctpEndpoint::MESSAGE_LEN_MAX`] bytes.
    Message {
        /// SCTP stream of the channel.
        channel: u16,
        /// Sent as text. Not checked to be UTF-8.
        text: bool,
        /// The message.
        payload: Vec<u8>,
    },
    /// The channel is closed, by reset or with the association.
    Closed {
        /// SCTP stream of the channel.
        channel: u16,
    },
}

/// The SCTP association of one leg.
pub struct SctpEndpoint {}

impl SctpEndpoint {
    /// Largest message in either direction.
    pub const MESSAGE_LEN_MAX: usize = 64 * 1024;

    /// Waits for the far side's INIT. `remote_max_message_size` is the offer's `a=max-message-size` (0 means any).
    #[must_use]
    pub fn new(_now: Instant, _remote_max_message_size: u32, _seed: u64) -> Self {
        Self {}
    }

    /// Takes one SCTP packet out of DTLS.
    ///
    /// # Errors
    /// [`DropReason::SctpMalformed`] when it changed nothing.
    pub fn handle_packet(&mut self, _now: Instant, _packet: &[u8]) -> Result<(), DropReason> {
        Err(DropReason::SctpMalformed)
    }

    /// Runs timers that are due.
    pub fn handle_timeout(&mut self, _now: Instant) {}

    /// When [`Self::handle_timeout`] wants to be called, if at all.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// The next packet to send through DTLS.
    pub fn poll_packet(&mut self, _now: Instant) -> Option<Bytes> {
        None
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<SctpEvent> {
        None
    }

    /// Queues a message; false when the channel is not open, the message too large or the buffers full.
    pub fn send(&mut self, _now: Instant, _channel: u16, _text: bool, _payload: &[u8]) -> bool {
        false
    }

    /// Opens a reliable ordered channel from our side; `None` before the association is up or at the channel limit.
    /// [`SctpEvent::Open`] follows when the far side has acknowledged it.
    pub fn open(&mut self, _now: Instant, _label: &str) -> Option<u16> {
        None
    }

    /// Resets a channel's streams; [`SctpEvent::Closed`] follows.
    pub fn close(&mut self, _now: Instant, _channel: u16) {}

    /// Whether the association is up.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        false
    }
}
