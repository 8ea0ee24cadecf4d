//! HTTPS and WSS by rustls: certificates from files, or a self-signed one for the demonstration.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

use crate::config;

/// Why HTTPS cannot be spoken. Names files, never their content.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file cannot be read, or holds nothing of the expected kind.
    #[error("{file}: {cause}")]
    File {
        /// Its path.
        file: String,
        /// What is wrong.
        cause: String,
    },
    /// Each file is sound, but they are not a pair.
    #[error("{cert}: this certificate does not belong to the key in {key}")]
    Mismatch {
        /// Path of the chain.
        cert: String,
        /// Path of the key.
        key: String,
    },
    /// rustls refused its configuration.
    #[error("HTTPS cannot be spoken: {0}")]
    Setup(#[from] rustls::Error),
    /// No self-signed certificate could be made.
    #[error("no self-signed certificate could be made: {0}")]
    SelfSigned(#[from] rcgen::Error),
}

/// Takes a certificate chain (the server's own first, then those that signed it) and its key from PEM files.
///
/// # Errors
/// Names the file that is missing, is not PEM of its kind, or does not belong to the other one.
pub fn from_files(cert: &Path, key: &Path) -> Result<TlsAcceptor, TlsError> {
    let (cert_name, key_name) = (cert.display().to_string(), key.display().to_string());
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect)
        .map_err(|error| unreadable(&cert_name, NO_CERTIFICATE, &error))?;
    if chain.is_empty() {
        return Err(TlsError::File { file: cert_name, cause: NO_CERTIFICATE.to_owned() });
    }
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(&key_name, NO_KEY, &error))?;
    acceptor(chain, key).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => TlsError::Mismatch { cert: cert_name, key: key_name },
        rustls::Error::InvalidCertificate(_) => TlsError::File { file: cert_name, cause: BAD_CERTIFICATE.to_owned() },
        // What is left is a key that the cryptographic library does not take.
        error => TlsError::File { file: key_name, cause: format!("this private key cannot be used: {error}") },
    })
}

/// The library's own words would show lines of the file, which may be the key's.
fn unreadable(file: &str, nothing_found: &str, error: &pem::Error) -> TlsError {
    let cause = match error {
        pem::Error::Io(error) => config::unreadable(error),
        pem::Error::NoItemsFound => nothing_found.to_owned(),
        _ => BAD_PEM.to_owned(),
    };
    TlsError::File { file: file.to_owned(), cause }
}

/// Makes a certificate for these names and addresses that no browser trusts by itself.
pub fn self_signed(names: Vec<String>) -> Result<TlsAcceptor, TlsError> {
    let made = rcgen::generate_simple_self_signed(names)?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    Ok(acceptor(vec![made.cert.der().clone()], key.into())?)
}

fn acceptor(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<TlsAcceptor, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// What files that are something else are told.
const NO_CERTIFICATE: &str = "no certificate in PEM form";
const NO_KEY: &str = "no private key in PEM form (one with a passphrase is not read)";
const BAD_PEM: &str = "damaged PEM";
const BAD_CERTIFICATE: &str = "not a valid X.509 certificate";
