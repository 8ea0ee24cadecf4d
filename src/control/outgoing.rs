//! Connections that the server opens, all made alike: no proxy from the environment, no redirect followed, bounded in time,
//! answers read only to a limit.
//!
//! Where they may lead is each caller's to decide: webhooks by the operator's list (`webhooks::target`), everything else is an
//! address that the operator wrote himself.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, ClientBuilder, Response, StatusCode};

use crate::config::unreadable;

/// A client for outgoing connections could not be made. Names files, never their content.
#[derive(Debug, thiserror::Error)]
pub enum OutgoingError {
    /// The authorities' file cannot be read or holds no certificate.
    #[error("trusted_ca {}: {cause}", .file.display())]
    TrustedCa {
        /// Its path.
        file: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// The library refused its configuration.
    #[error("no outgoing connection can be made: {0}")]
    Setup(String),
}

/// Certificates of further authorities, PEM.
#[derive(Clone, Debug, Default)]
pub struct Authorities(Vec<u8>);

impl Authorities {
    /// Reads the file, if one is configured.
    ///
    /// # Errors
    /// Names the file that is missing or holds no certificate.
    pub fn read(file: Option<&Path>) -> Result<Self, OutgoingError> {
        let Some(file) = file else { return Ok(Self::default()) };
        let fault = |cause: String| OutgoingError::TrustedCa { file: file.to_owned(), cause };
        let pem = std::fs::read(file).map_err(|error| fault(unreadable(&error)))?;
        match Certificate::from_pem_bundle(&pem) {
            Ok(found) if !found.is_empty() => Ok(Self(pem)),
            _ => Err(fault("no certificate in PEM form".to_owned())),
        }
    }

    /// The file's bytes; nothing when none is configured.
    pub(super) fn pem(&self) -> Option<&[u8]> {
        (!self.0.is_empty()).then_some(&self.0)
    }
}

/// What an HTTP client of ours begins with.
///
/// # Errors
/// When a further authority cannot be taken.
pub fn http_client(authorities: &Authorities) -> Result<ClientBuilder, OutgoingError> {
    // The first one stays: the same library as everywhere else in the process.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut builder = Client::builder()
        .no_proxy()
        .redirect(Policy::none())
        .referer(false)
        .connect_timeout(CONNECT_TIME_MAX)
        .timeout(REQUEST_TIME_MAX)
        .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
        .pool_idle_timeout(IDLE_TIME_MAX)
        .user_agent(concat!("colloque/", env!("CARGO_PKG_VERSION")));
    if let Some(pem) = authorities.pem() {
        let found = Certificate::from_pem_bundle(pem).map_err(|error| OutgoingError::Setup(error.to_string()))?;
        builder = found.into_iter().fold(builder, ClientBuilder::add_root_certificate);
    }
    Ok(builder)
}

impl From<reqwest::Error> for OutgoingError {
    fn from(error: reqwest::Error) -> Self {
        OutgoingError::Setup(error.without_url().to_string())
    }
}

/// Lets the connection be used again when the answer is short; a long one is cut off by closing it.
pub(super) async fn finish(mut response: Response) -> StatusCode {
    let status = response.status();
    let mut read = 0;
    while let Ok(Some(chunk)) = response.chunk().await {
        read += chunk.len();
        if read > ANSWER_BYTES_MAX {
            break;
        }
    }
    status
}

/// Why a request got no answer, in a fixed word: the library's own text would show the URL.
pub(super) fn cause_of(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "timeout"
    } else if error.is_connect() {
        "unreachable"
    } else {
        "broken"
    }
}

/// TCP and TLS. Receivers are servers: longer means that they are gone.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
/// The whole exchange. A receiver should answer first and work later; longer would hold one of few places.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(15);
/// Deliveries to one host are mostly one after another.
const IDLE_CONNECTIONS_MAX: usize = 2;
/// Shorter than what common servers keep, so that a request seldom meets a closing connection.
const IDLE_TIME_MAX: Duration = Duration::from_secs(20);
/// Nothing in an answer is of interest; a little is read so that the connection can be used again.
const ANSWER_BYTES_MAX: usize = 4 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_certificate_is_named() {
        let file = std::env::temp_dir().join(format!("colloque-no-ca-{}", std::process::id()));
        std::fs::write(&file, "hunter2").unwrap();
        let error = Authorities::read(Some(&file)).unwrap_err().to_string();
        std::fs::remove_file(&file).unwrap();
        assert!(error.contains("colloque-no-ca") && !error.contains("hunter2"), "{error}");
        let error = Authorities::read(Some(&file)).unwrap_err().to_string();
        assert!(error.contains("No such file"), "{error}");
        assert!(Authorities::read(None).unwrap().pem().is_none());
    }
}
