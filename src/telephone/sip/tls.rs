//! TLS of SIP: our certificate for those who call, and theirs where we want one; authorities for those we call, and our own certificate
//! where a trunk wants it.
//!
//! Not here: streams. Everything is read from files when the endpoint starts.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::config::telephone::ClientCertificate;
use crate::config::{TlsFiles, unreadable};

/// For those who connect to us. `clients`: PEM file of the authorities that certified them.
pub(super) fn acceptor(files: &TlsFiles, clients: Option<&Path>) -> Result<TlsAcceptor, String> {
    let (chain, key) = pair(&files.cert, &files.key)?;
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let roots = Arc::new(authorities(path)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| format!("{}: {error}", path.display()))?)
        }
    };
    let config = builder.with_single_cert(chain, key).map_err(|error| format!("{}: {error}", files.cert.display()))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// For a trunk that we connect to. `further`: PEM file of authorities beside those of the machine.
pub(super) fn connector(further: Option<&Path>, client: Option<&ClientCertificate>) -> Result<TlsConnector, String> {
    let mut roots = RootCertStore::empty();
    for path in SYSTEM_AUTHORITIES.iter().map(Path::new).filter(|path| path.exists()).take(1) {
        roots.add_parsable_certificates(certificates(path)?);
    }
    if let Some(path) = further {
        roots.extend(authorities(path)?.roots);
    }
    if roots.is_empty() {
        return Err("no authority is known that could certify the trunk: set trusted_ca".to_owned());
    }
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    let config = match client {
        None => builder.with_no_client_auth(),
        Some(files) => {
            let (chain, key) = pair(&files.cert, &files.key)?;
            builder.with_client_auth_cert(chain, key).map_err(|error| format!("{}: {error}", files.cert.display()))?
        }
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

fn authorities(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(roots)
}

/// Ours by name: a process with two providers has no default.
fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn pair(cert: &Path, key: &Path) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| fault(key, &error))?;
    Ok((certificates(cert)?, key))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    read.map_err(|error| fault(path, &error))
}

/// Without the library's words, which would show lines of the file.
fn fault(path: &Path, error: &pem::Error) -> String {
    let cause = match error {
        pem::Error::Io(error) => unreadable(error),
        pem::Error::NoItemsFound => "nothing of its kind in PEM form".to_owned(),
        _ => "damaged PEM".to_owned(),
    };
    format!("{}: {cause}", path.display())
}

/// Where Debian, Red Hat and Alpine keep them; the first that exists.
const SYSTEM_AUTHORITIES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];
