//! Registrations at trunks: for how long, and over which way the line reaches us then.
//!
//! Not here: when to renew one (`telephone::trunk`).

use std::future::pending;
use std::time::Duration;

use rsipstack::sip::{Headers, Method};
use tokio::sync::watch;

use crate::config::telephone::TrunkName;

use super::endpoint::Endpoint;
use super::exchange::ProbeFailure;
use super::fields;

/// A registration that stands.
#[derive(Debug)]
pub struct Registration {
    /// For so long.
    pub granted: Duration,
    /// Its sender is gone when the stream is that it was made on; none for datagrams.
    stream: Option<watch::Receiver<()>>,
}

impl Registration {
    /// Returns when the stream is closed on which the line may have reached us; never where there is none.
    pub async fn lost(&mut self) {
        match &mut self.stream {
            // Nothing is ever sent: only the sender's end is seen.
            Some(stream) => while stream.changed().await.is_ok() {},
            None => pending().await,
        }
    }
}

impl Endpoint {
    /// Registers us at a trunk, or with zero no longer. A registrar that finds it too brief has its own wish once (RFC 3261 section
    /// 10.2.8); `limit` holds for each try.
    pub async fn register(
        &self,
        trunk: &TrunkName,
        wanted: Duration,
        limit: Duration,
    ) -> Result<Registration, ProbeFailure> {
        let (mut wanted, mut lengthened) = (wanted, false);
        loop {
            let lines = [format!("Expires: {}", wanted.as_secs())];
            let (response, flow) = self.ask(trunk, Method::Register, &lines, limit).await?;
            let longer = min_expires(&response.headers).filter(|least| *least > wanted && !wanted.is_zero());
            match (response.status_code.code(), longer) {
                (200..=299, _) => {
                    let granted = granted(&response.headers).unwrap_or(wanted).min(wanted);
                    return Ok(Registration { granted, stream: flow.closed });
                }
                (423, Some(longer)) if !lengthened => (wanted, lengthened) = (longer, true),
                (403, _) => return Err(ProbeFailure::Auth),
                (408, _) => return Err(ProbeFailure::Silent),
                (status, _) => return Err(ProbeFailure::Status(status)),
            }
        }
    }
}

fn granted(headers: &Headers) -> Option<Duration> {
    let contacts = fields::all(headers, "Contact").into_iter().flat_map(fields::split_list);
    let named =
        contacts.filter_map(fields::Address::parse).filter_map(|contact| contact.param("expires")?.parse().ok());
    let seconds: Option<u64> = named.min().or_else(|| fields::one(headers, "Expires")?.parse().ok());
    seconds.map(Duration::from_secs)
}

fn min_expires(headers: &Headers) -> Option<Duration> {
    let seconds: u64 = fields::one(headers, "Min-Expires")?.trim().parse().ok()?;
    (seconds <= EXPIRES_MAX).then(|| Duration::from_secs(seconds))
}

/// A day, as the most that may be configured. Whoever wants us for longer would not miss us for as long.
const EXPIRES_MAX: u64 = 86_400;
