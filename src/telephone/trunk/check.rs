//! `colloque check`: whether each trunk can be reached, answers, and takes our password.
//!
//! Not here: calls. Nothing is dialled, and nothing stays registered. Beside a running server nothing is registered either: where an
//! account has one registration, ours would take the server's away.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::telephone::{TelephoneConfig, TrunkConfig, TrunkName};
use crate::telephone::sip::{Endpoint, ProbeFailure, Settings, StartError};

/// What a trunk was asked, and answered well.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asked {
    /// All that there is to ask.
    All,
    /// Whether it is there, not whether it takes our password: our SIP port is in use, most likely by the server, which is registered.
    Presence,
}

/// Tries all trunks, one after the other; what is wrong is said in words, without numbers or passwords.
pub async fn check(config: &TelephoneConfig, trusted_ca: Option<PathBuf>) -> Vec<(TrunkName, Result<Asked, String>)> {
    let mut settings = Settings::new(config, trusted_ca);
    let mut started = Endpoint::start(settings.clone()).await;
    let beside = matches!(&started, Err(StartError::Bind(_, error)) if error.kind() == std::io::ErrorKind::AddrInUse);
    if beside {
        // Any other port serves to ask.
        let listeners =
            [settings.sip_udp.as_mut(), settings.sip_tcp.as_mut(), settings.sip_tls.as_mut().map(|tls| &mut tls.0)];
        listeners.into_iter().flatten().for_each(|addr| addr.set_port(0));
        started = Endpoint::start(settings).await;
    }
    let endpoint = match started {
        Ok((endpoint, _)) => endpoint,
        Err(error) => {
            let told = |trunk: &TrunkConfig| (trunk.name.clone(), Err(error.to_string()));
            return config.trunks.iter().map(told).collect();
        }
    };
    let mut found = Vec::new();
    for trunk in &config.trunks {
        found.push((trunk.name.clone(), try_one(&endpoint, trunk, beside).await));
    }
    found
}

async fn try_one(endpoint: &Endpoint, trunk: &TrunkConfig, beside: bool) -> Result<Asked, String> {
    if let Some(credentials) = &trunk.credentials {
        credentials.password.read()?;
    }
    let asked = match trunk.register {
        Some(every) if !beside => {
            let registered = endpoint.register(&trunk.name, every, trunk.first_response).await.map(|_| Asked::All);
            // No call shall look for us at a port that is closed in a moment.
            let _ = endpoint.register(&trunk.name, Duration::ZERO, trunk.first_response).await;
            registered
        }
        register => {
            let asked = if register.is_some() { Asked::Presence } else { Asked::All };
            endpoint.probe(&trunk.name, trunk.first_response).await.map(|_| asked)
        }
    };
    asked.map_err(|failure| match failure {
        ProbeFailure::Silent => format!("no answer within {} ms", trunk.first_response.as_millis()),
        ProbeFailure::Auth | ProbeFailure::Status(_) => failure.to_string(),
    })
}
