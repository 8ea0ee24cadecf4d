//! The SIP endpoint against real peers: SIPp's scenarios, Kamailio, baresip, and a socket that speaks badly.
//!
//! Not here: sound. Each test has an endpoint, ports and peers of its own.

mod authority;
mod crossing;
mod flood;
mod gate;
mod inbound;
mod ipv6;
mod kamailio;
mod lines;
mod outbound;
mod raw;
mod renewal;
mod sipp;
mod tls;
mod torture;

use std::net::SocketAddr;
use std::time::Duration;

use colloque::config::Settings as Configured;
use colloque::config::telephone::{
    CountryCode, Number, SipTransport, SrtpPolicy, TelephoneCodec, TrunkConfig, TrunkName,
};
use colloque::pii::Pii;
use colloque::telephone::sdp::{Direction, Local, Offered, Remote, Rules};
use colloque::telephone::sip::{Dialog, DialogEvent, Endpoint, Incoming, Settings};
use tokio::sync::mpsc;

/// An endpoint with one trunk, on free ports of this machine.
struct Server {
    endpoint: Endpoint,
    calls: mpsc::Receiver<Incoming>,
    trunk: TrunkName,
    /// As configured, by priority.
    trunks: Vec<TrunkConfig>,
}

impl Server {
    /// `lines`: further lines of the trunk.
    async fn start(peer: u16, transport: &str, lines: &str) -> Server {
        Server::with(peer, transport, lines, |_| {}).await
    }

    async fn with(peer: u16, transport: &str, lines: &str, change: impl FnOnce(&mut Settings)) -> Server {
        // A busy machine's peers are slow; tests of silence set their own time.
        let patience = if lines.contains("first_response_ms") { "" } else { "first_response_ms = 15000\n" };
        let text = format!(
            "[telephone]\nenabled = true\nsip_udp = \"127.0.0.1:0\"\nsip_tcp = \"127.0.0.1:0\"\n[[telephone.trunk]]\n\
             name = \"peer\"\nuri = \"sip:127.0.0.1:{peer}\"\ntransport = \"{transport}\"\nallow = [\"127.0.0.1\"]\n\
             caller_number = \"+33123456789\"\n{patience}{lines}\n"
        );
        let configured: Configured = toml::from_str(&text).unwrap();
        let telephone = configured.resolve().unwrap().telephone.unwrap();
        let mut settings = Settings::new(&telephone, None);
        settings.timers.cancel = Duration::from_secs(2);
        change(&mut settings);
        let trunks = settings.trunks.clone();
        let (endpoint, calls) = Endpoint::start(settings).await.unwrap();
        Server { endpoint, calls, trunk: TrunkName::new("peer").unwrap(), trunks }
    }

    fn port(&self, transport: SipTransport) -> u16 {
        self.endpoint.listening(transport).unwrap().port()
    }

    async fn call(&mut self) -> Incoming {
        soon(self.calls.recv()).await.expect("the endpoint runs")
    }

    /// Nothing is left of any call.
    async fn is_empty(&self) {
        is_empty(&self.endpoint).await;
    }
}

/// Nothing is left of any call.
async fn is_empty(endpoint: &Endpoint) {
    for _ in 0..400 {
        if endpoint.calls() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{} calls are left", endpoint.calls());
}

fn local(version: u64, direction: Direction) -> Local {
    let address: SocketAddr = "127.0.0.1:20000".parse().unwrap();
    Local { address, session: 1, version, key: Pii([1; 30]), direction }
}

fn rules() -> Rules {
    Rules { codecs: vec![TelephoneCodec::Pcma, TelephoneCodec::Pcmu], srtp: SrtpPolicy::Off, secure: false }
}

/// Our answer to an offer.
fn answer(offer: &Remote) -> String {
    offer.answer(&local(1, Direction::SendRecv), &rules()).unwrap().1
}

fn offer(version: u64, direction: Direction) -> String {
    Offered::new(local(version, direction), &rules()).text
}

fn number() -> Pii<Number> {
    Pii(Number::parse("+33612345678", CountryCode::FRANCE).unwrap())
}

async fn next(dialog: &mut Dialog) -> DialogEvent {
    soon(dialog.next()).await
}

/// Far more than anything here takes, and less than the 32 s that a transaction waits by itself: a test that hangs fails.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("in time")
}
