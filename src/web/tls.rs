//! HTTPS and WSS by rustls: certificates from files, or a self-signed one for the demonstration.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

/// Why HTTPS cannot be spoken. Names files, never their content.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file is not a PEM file of the expected kind, or cannot be read.
    #[error("{file}: {cause}")]
    File {
        /// Its path.
        file: String,
        /// What is wrong.
        cause: String,
    },
    /// Certificate and key do not fit, or are of an unknown kind.
    #[error("the certificate and the key do not work together: {0}")]
    Pair(#[from] rustls::Error),
    /// No self-signed certificate could be made.
    #[error("no self-signed certificate could be made: {0}")]
    SelfSigned(#[from] rcgen::Error),
}

/// Takes a certificate chain and its key from PEM files.
pub fn from_files(cert: &Path, key: &Path) -> Result<TlsAcceptor, TlsError> {
    let failed = |file: &Path| {
        let file = file.display().to_string();
        move |error: rustls::pki_types::pem::Error| TlsError::File { file, cause: error.to_string() }
    };
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_file_iter(cert).and_then(Iterator::collect).map_err(failed(cert))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(failed(key))?;
    acceptor(chain, key)
}

/// Makes a certificate for these names and addresses that no browser trusts by itself.
pub fn self_signed(names: Vec<String>) -> Result<TlsAcceptor, TlsError> {
    let made = rcgen::generate_simple_self_signed(names)?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    acceptor(vec![made.cert.der().clone()], key.into())
}

fn acceptor(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<TlsAcceptor, TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
