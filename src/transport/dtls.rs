//! The seam to the DTLS library: a datagram state machine without I/O.
//!
//! The only implementations are `boring` (production) and the simulation's stand-in, which lives in virtual time.

use std::time::Instant;

use super::parameters::Fingerprint;
use super::srtp::{Profile, SessionKeys};

/// One DTLS association.
pub trait Dtls: Send {
    /// Feeds one datagram from the leg's proved path. Returns false when the stack refused it.
    fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) -> bool;
    /// Runs timers that are due.
    fn handle_timeout(&mut self, now: Instant);
    /// When [`Dtls::handle_timeout`] wants to be called, if at all.
    fn poll_timeout(&self) -> Option<Instant>;
    /// The next datagram to send, written into `out`; `None` when there is none.
    fn poll_transmit(&mut self, out: &mut [u8]) -> Option<usize>;
    /// The next thing that happened.
    fn poll_event(&mut self) -> Option<DtlsEvent>;
    /// Encrypts application data (one SCTP packet); false when the association cannot carry it now.
    fn send(&mut self, data: &[u8]) -> bool;
    /// Sends close_notify.
    fn close(&mut self);
}

/// Makes associations that all present one certificate.
pub trait DtlsAcceptor: Send {
    /// A fresh association that waits for a ClientHello and accepts only a certificate with this fingerprint.
    fn accept(&self, now: Instant, remote_fingerprint: &Fingerprint) -> Box<dyn Dtls>;
    /// SHA-256 of our certificate, for the answer's `a=fingerprint`.
    fn fingerprint(&self) -> [u8; 32];
}

/// What a DTLS association reports.
#[derive(Debug)]
pub enum DtlsEvent {
    /// Handshake done and the peer's certificate matches the fingerprint.
    Connected(DtlsConnected),
    /// Decrypted application data (one SCTP packet).
    Data(Vec<u8>),
    /// The peer sent close_notify.
    Closed,
    /// The handshake failed for good: wrong fingerprint, no common SRTP profile, alert. Never after `Connected`.
    Failed(DtlsFailure),
}

/// Why a handshake failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DtlsFailure {
    /// The peer's certificate is not the one its offer announced.
    #[error("certificate does not match the announced fingerprint")]
    Fingerprint,
    /// No SRTP profile in common, or the peer offered none.
    #[error("no common SRTP protection profile")]
    NoSrtpProfile,
    /// The stack or the peer gave up.
    #[error("handshake refused")]
    Handshake,
}

/// The outcome of a handshake.
#[derive(Debug)]
pub struct DtlsConnected {
    /// Negotiated SRTP profile.
    pub profile: Profile,
    /// Key material by RFC 5764 section 4.2, already split.
    pub keys: SessionKeys,
    /// `DTLSv1.2` or `DTLSv1.3`.
    pub version: &'static str,
    /// Key exchange group, `X25519MLKEM768` when post-quantum.
    pub group: &'static str,
}
