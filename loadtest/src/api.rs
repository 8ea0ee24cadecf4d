//! The clinic's side of the HTTP API: books consultations, exchanges links for sessions, publishes by WHIP.
//!
//! Not here: the WebSocket (`signalling`). Refuses to talk to machines that are not this one unless told otherwise,
//! because a load generator pointed at someone else's server is an attack.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use colloque_signaling::message::Role;
use reqwest::{Response, Url, header};
use serde::Deserialize;
use serde_json::json;

/// A clinic's access to one server.
#[derive(Clone)]
pub struct Clinic {
    http: reqwest::Client,
    base: Url,
    api_key: String,
}

/// A booked consultation.
#[derive(Deserialize, Debug)]
pub struct Consultation {
    /// Public identifier.
    pub id: String,
    /// In the order in which they were asked for.
    pub seats: Vec<Seat>,
}

/// An invited seat.
#[derive(Deserialize, Debug, Clone)]
pub struct Seat {
    /// Public identifier.
    pub id: String,
    /// What the link carries.
    pub token: String,
}

/// What a link was exchanged for.
#[derive(Deserialize, Debug)]
pub struct Session {
    /// For the WebSocket's `join`.
    pub session: String,
    /// Where the WebSocket is.
    pub ws_url: String,
}

/// Answer to a WHIP or WHEP offer.
#[derive(Debug)]
pub struct Endpoint {
    /// The resource's URL.
    pub location: Url,
    /// The SDP answer.
    pub answer: String,
    seat_token: String,
}

impl Clinic {
    /// Checks the URL and makes a client. With `allow_remote` false only this machine's own addresses pass.
    pub fn new(base: &str, api_key: &str, allow_remote: bool) -> Result<Self> {
        let base: Url = base.parse().with_context(|| format!("`{base}` is not a URL"))?;
        ensure!(base.scheme() == "http", "only http:// URLs: load goes to the server itself, not to a TLS proxy");
        let address = resolve(&base)?;
        if !allow_remote && !is_own(address.ip()) {
            bail!("{} is not an address of this machine: --allow-remote if the server is yours to load", address.ip());
        }
        // Fails when another part of the process was first, which serves as well.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().timeout(REQUEST_TIME_MAX).build()?;
        Ok(Self { http, base, api_key: api_key.to_owned() })
    }

    /// The server's address, to find the interface from which it is reached.
    pub fn address(&self) -> Result<SocketAddr> {
        resolve(&self.base)
    }

    /// Books a consultation whose seats are all admitted.
    pub async fn book(&self, roles: &[Role]) -> Result<Consultation> {
        let seats: Vec<_> = roles.iter().map(|&role| (role, true)).collect();
        self.book_seats(&seats).await
    }

    /// Books a consultation of an act. Seats that wait are let in at once; whatever else the act asks is asked of them.
    pub async fn book_with_gates(&self, act: &str, roles: &[Role]) -> Result<Consultation> {
        let seats = roles.iter().map(|role| json!({"role": role, "card": card_of(*role)})).collect();
        let booked = self.post_booking(act, seats).await?;
        for (seat, role) in booked.seats.iter().zip(roles) {
            if !matches!(role, Role::Practitioner | Role::Regulator | Role::Caller) {
                self.admit(&booked.id, &seat.id).await?;
            }
        }
        Ok(booked)
    }

    /// Lets a seat in.
    pub async fn admit(&self, consultation: &str, seat: &str) -> Result<()> {
        let url = self.url(&format!("/v1/consultations/{consultation}/seats/{seat}/admit"))?;
        accepted(self.http.post(url).bearer_auth(&self.api_key).send().await?).await?;
        Ok(())
    }

    /// Invites one more seat in mid-call.
    pub async fn invite(&self, consultation: &str, role: Role) -> Result<Seat> {
        let url = self.url(&format!("/v1/consultations/{consultation}/seats"))?;
        let body = json!({"role": role, "card": card_of(role)});
        let response = self.http.post(url).bearer_auth(&self.api_key).json(&body).send().await?;
        Ok(accepted(response).await?.json().await?)
    }

    /// Books a consultation; each seat says whether it skips the waiting room.
    pub async fn book_seats(&self, seats: &[(Role, bool)]) -> Result<Consultation> {
        self.book_act("teleconsultation", seats).await
    }

    /// The same for any act.
    pub async fn book_act(&self, act: &str, seats: &[(Role, bool)]) -> Result<Consultation> {
        self.post_booking(
            act,
            seats.iter().map(|(role, admitted)| json!({"role": role, "admitted": admitted})).collect(),
        )
        .await
    }

    async fn post_booking(&self, act: &str, seats: Vec<serde_json::Value>) -> Result<Consultation> {
        let body = json!({"act": act, "language": "en", "seats": seats});
        let request = self.http.post(self.url("/v1/consultations")?).bearer_auth(&self.api_key).json(&body);
        Ok(accepted(request.send().await?).await?.json().await?)
    }

    /// What the clinic is told of a consultation.
    pub async fn state(&self, consultation: &str) -> Result<serde_json::Value> {
        let url = self.url(&format!("/v1/consultations/{consultation}"))?;
        Ok(accepted(self.http.get(url).bearer_auth(&self.api_key).send().await?).await?.json().await?)
    }

    /// Ends a consultation for everyone.
    pub async fn end(&self, consultation: &str) -> Result<()> {
        let url = self.url(&format!("/v1/consultations/{consultation}"))?;
        accepted(self.http.delete(url).bearer_auth(&self.api_key).send().await?).await?;
        Ok(())
    }

    /// Exchanges a seat's token for a session.
    pub async fn join(&self, token: &str) -> Result<Session> {
        let body = json!({"token": token, "device": format!("load-{token:.12}")});
        let response = self.http.post(self.url("/v1/join")?).json(&body).send().await?;
        Ok(accepted(response).await?.json().await?)
    }

    /// Posts an offer to `/whip` or `/whep` and gives whatever comes back.
    pub async fn post_sdp(&self, path: &str, token: &str, content_type: &str, sdp: String) -> Result<Response> {
        let request = self.http.post(self.url(path)?).bearer_auth(token).header(header::CONTENT_TYPE, content_type);
        Ok(request.body(sdp).send().await?)
    }

    /// Opens a WHIP or WHEP endpoint.
    pub async fn open_endpoint(&self, path: &str, token: &str, sdp: String) -> Result<Endpoint> {
        let response = accepted(self.post_sdp(path, token, "application/sdp", sdp).await?).await?;
        let location = response.headers().get(header::LOCATION).context("no Location")?.to_str()?;
        let location = self.base.join(location)?;
        Ok(Endpoint { location, answer: response.text().await?, seat_token: token.to_owned() })
    }

    /// Closes a WHIP or WHEP endpoint.
    pub async fn close_endpoint(&self, endpoint: &Endpoint) -> Result<()> {
        accepted(self.http.delete(endpoint.location.clone()).bearer_auth(&endpoint.seat_token).send().await?).await?;
        Ok(())
    }

    fn url(&self, path: &str) -> Result<Url> {
        Ok(self.base.join(path)?)
    }
}

/// A practitioner's card with everything on it; nobody else's.
fn card_of(role: Role) -> Option<serde_json::Value> {
    (role == Role::Practitioner).then(
        || json!({"title": "Dr", "name": "Load", "specialty": "-", "rpps": "00000000000", "address": "-", "fee": "-"}),
    )
}

async fn accepted(response: Response) -> Result<Response> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let path = response.url().path().to_owned();
    bail!("{path}: {status}: {}", response.text().await.unwrap_or_default());
}

fn resolve(url: &Url) -> Result<SocketAddr> {
    let host = url.host_str().context("the URL has no host")?.trim_matches(['[', ']']);
    let port = url.port_or_known_default().context("the URL has no port")?;
    (host, port).to_socket_addrs()?.next().with_context(|| format!("`{host}` has no address"))
}

/// Whether the address is one of this machine: the kernel binds only those of this network namespace.
#[must_use]
pub fn is_own(ip: IpAddr) -> bool {
    !ip.is_unspecified() && UdpSocket::bind((ip, 0)).is_ok()
}

/// A server that needs longer for one request has failed the scenario anyway.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(url: &str) -> String {
        match Clinic::new(url, "key", false) {
            Ok(_) => panic!("{url} was accepted"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn only_this_machines_addresses_are_loaded_unasked() {
        assert!(Clinic::new("http://127.0.0.1:8080", "key", false).is_ok());
        assert!(Clinic::new("http://localhost:8080/", "key", false).is_ok());
        assert!(refusal("http://192.0.2.1:8080").contains("--allow-remote"));
        assert!(Clinic::new("http://192.0.2.1:8080", "key", true).is_ok());
    }

    #[test]
    fn a_url_that_cannot_work_is_named() {
        assert!(refusal("127.0.0.1:8080").contains("127.0.0.1:8080"));
        assert!(refusal("https://127.0.0.1:8080").contains("http://"));
    }
}
