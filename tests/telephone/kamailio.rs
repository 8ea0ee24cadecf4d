//! Through a real operator's proxy: Kamailio registers us, asks for the password of calls, and stays in the route of each.
//!
//! Not here: Kamailio's own behaviour. Its configuration is written per test, on ports of its own.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use colloque::telephone::sdp::Direction;
use colloque::telephone::sip::{DialFailure, ProbeFailure, Progress, Reason, Refusal};
use colloque::telephone::trunk::{Registered, State, Trunks};
use tokio::process::{Child, Command};

use super::sipp::{Sipp, Step, What, free_port, listening, request, response, sdp};
use super::{Server, answer, next, number, offer, soon};

struct Kamailio {
    child: Child,
    folder: PathBuf,
    port: u16,
}

impl Kamailio {
    /// Calls of `clinic` go to `phone`, all others to where `clinic` is registered.
    async fn start(phone: u16) -> Kamailio {
        let port = free_port();
        let folder = std::env::temp_dir().join(format!("colloque-kamailio-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let text = CONFIGURATION.replace("PORT", &port.to_string()).replace("PHONE", &phone.to_string());
        std::fs::write(folder.join("kamailio.cfg"), text).unwrap();
        let at = |name: &str| folder.join(name).display().to_string();
        let mut command = Command::new("kamailio");
        command.args(["-f", &at("kamailio.cfg"), "-DD", "-E", "-m", "32", "-M", "4", "-Y", &at(""), "-w", &at("")]);
        command.args(["-P", &at("pid"), "-n", "1"]).stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(std::fs::File::create(folder.join("err")).unwrap()).kill_on_drop(true);
        let child = command.process_group(0).spawn().expect("kamailio is installed (scripts/setup.sh test)");
        let mut peer = super::raw::Raw::new().await;
        for _ in 0..100 {
            let options = format!(
                "OPTIONS sip:127.0.0.1:{port} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{};branch=z9hG4bKx\r\nFrom: <sip:a@b>;tag=1\r\n\
                 To: <sip:127.0.0.1>\r\nCall-ID: up\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
                peer.port()
            );
            peer.send(options.as_bytes(), port).await;
            if peer.hear(Duration::from_millis(200)).await.is_some() {
                return Kamailio { child, folder, port };
            }
        }
        panic!("Kamailio does not start: {}", std::fs::read_to_string(folder.join("err")).unwrap_or_default());
    }

    /// As an operator's machine that loses its power: all its processes at once.
    fn kill(&self) {
        if let Some(id) = self.child.id() {
            let _ = std::process::Command::new("kill").args(["-KILL", "--", &format!("-{id}")]).status();
        }
    }
}

impl Drop for Kamailio {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A trunk that registers, with this password.
fn trunk(password: &str) -> (String, PathBuf) {
    let file = std::env::temp_dir().join(format!("colloque-kamailio-password-{}-{}", std::process::id(), free_port()));
    std::fs::write(&file, format!("{password}\n")).unwrap();
    let lines = format!(
        "register = true\nregister_s = 60\nusername = \"clinic\"\npassword_file = \"{}\"\nfirst_response_ms = 10000",
        file.display()
    );
    (lines, file)
}

const LIMIT: Duration = Duration::from_secs(5);
const RING: Duration = Duration::from_secs(20);

#[tokio::test]
async fn calls_go_both_ways_through_a_proxy_that_registers_and_challenges_us() {
    let (phone, caller) = (free_port(), free_port());
    let kamailio = Kamailio::start(phone).await;
    let (lines, file) = trunk("sesame");
    let mut server = Server::start(kamailio.port, "udp", &lines).await;
    let granted = soon(server.endpoint.register(&server.trunk, Duration::from_secs(60), LIMIT)).await.unwrap().granted;
    assert!(granted <= Duration::from_secs(60) && granted > Duration::from_secs(30), "{granted:?}");
    soon(server.endpoint.probe(&server.trunk, LIMIT)).await.unwrap();
    // Out: 407, Record-Route, ACK, re-INVITE and BYE along the route.
    let telephone = Sipp::start(
        &[
            Step::Holding(What::Request("INVITE"), "Record-Route"),
            Step::Once(response("180 Ringing", "p1", "", "")),
            Step::Say(response("200 OK", "p1", "", &sdp(4000, ""))),
            Step::Expect("ACK"),
            Step::Expect("INVITE"),
            Step::Say(response("200 OK", "", "", &sdp(4000, "a=recvonly\n"))),
            Step::Expect("ACK"),
            Step::Holding(What::Request("BYE"), "Via: .*Via: "),
            Step::Once(response("200 OK", "", "", "")),
        ],
        phone,
        None,
        &[],
    );
    listening(phone).await;
    let mut call = server.endpoint.dial(&server.trunk, &number(), offer(1, Direction::SendRecv), RING);
    assert!(matches!(soon(call.next()).await, Some(Progress::Ringing)));
    let Some(Progress::Answered(dialog, _)) = soon(call.next()).await else { panic!("not answered") };
    soon(dialog.reoffer(offer(2, Direction::SendOnly))).await.unwrap();
    soon(dialog.bye(Reason::Normal)).await;
    telephone.finish().await;
    // In: the proxy finds us by our registration.
    let routed = |text: String| text.replace("Max-Forwards", "[routes]\nMax-Forwards");
    let telephone = Sipp::start(
        &[
            Step::Say(request("INVITE", 1, "", &sdp(4000, ""))),
            Step::Maybe(100),
            Step::Status(200),
            Step::Once(routed(request("ACK", 1, "", ""))),
            Step::Expect("BYE"),
            Step::Once(response("200 OK", "", "", "")),
        ],
        caller,
        Some(kamailio.port),
        &[],
    );
    let call = server.call().await;
    assert_eq!(call.called.unwrap().0.e164(), "+33123456789");
    let dialog = call.call.answer(answer(&call.offer.unwrap())).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    soon(dialog.bye(Reason::Normal)).await;
    telephone.finish().await;
    server.is_empty().await;
    std::fs::remove_file(file).unwrap();
}

#[tokio::test]
async fn a_wrong_password_is_an_alarm_and_not_a_hundred_tries() {
    let kamailio = Kamailio::start(9).await;
    for (lines, file) in [trunk("guess"), {
        let (lines, file) = trunk("sesame");
        (format!("{lines}\nrealm = \"elsewhere\""), file)
    }] {
        let server = Server::start(kamailio.port, "udp", &lines).await;
        let refused = soon(server.endpoint.register(&server.trunk, Duration::from_secs(60), LIMIT)).await.unwrap_err();
        assert_eq!(refused, ProbeFailure::Auth);
        let mut call = server.endpoint.dial(&server.trunk, &number(), offer(1, Direction::SendRecv), RING);
        assert!(matches!(soon(call.next()).await, Some(Progress::Failed(DialFailure::Auth))));
        std::fs::remove_file(file).unwrap();
    }
}

#[tokio::test]
async fn a_proxy_that_dies_in_a_call_is_noticed_and_the_call_forgotten() {
    let phone = free_port();
    let kamailio = Kamailio::start(phone).await;
    let (lines, file) = trunk("sesame");
    let server = Server::with(kamailio.port, "udp", &lines, |settings| {
        settings.timers.request = Duration::from_secs(2);
        settings.timers.bye = Duration::from_secs(2);
    })
    .await;
    let telephone = Sipp::start(
        &[Step::Expect("INVITE"), Step::Say(response("200 OK", "p1", "", &sdp(4000, ""))), Step::Expect("ACK")],
        phone,
        None,
        &[],
    );
    listening(phone).await;
    let mut call = server.endpoint.dial(&server.trunk, &number(), offer(1, Direction::SendRecv), RING);
    let Some(Progress::Answered(dialog, _)) = soon(call.next()).await else { panic!("not answered") };
    telephone.finish().await;
    kamailio.kill();
    assert!(!soon(dialog.probe()).await);
    soon(dialog.bye(Reason::Fault)).await;
    server.is_empty().await;
    std::fs::remove_file(file).unwrap();
}

#[tokio::test]
async fn the_second_line_takes_the_call_when_the_first_is_dead() {
    let phone = free_port();
    let dead = free_port();
    let lines = format!(
        "priority = 2\noptions_s = 0\nfirst_response_ms = 15000\n[[telephone.trunk]]\nname = \"first\"\npriority = 1\nuri = \"sip:127.0.0.1:{dead}\"\n\
         allow = [\"127.0.0.1\"]\noptions_s = 0\nfirst_response_ms = 600"
    );
    let server = Server::start(phone, "udp", &lines).await;
    let telephone = Sipp::start(
        &[
            Step::Expect("INVITE"),
            Step::Say(response("200 OK", "p1", "", &sdp(4000, ""))),
            Step::Expect("ACK"),
            Step::Expect("BYE"),
            Step::Once(response("200 OK", "", "", "")),
        ],
        phone,
        None,
        &["-aa"],
    );
    listening(phone).await;
    assert_eq!(server.trunks[0].name.as_str(), "first");
    let endpoint = Arc::new(server.endpoint);
    let trunks = Trunks::start(Arc::clone(&endpoint), &server.trunks, RING);
    let dialled = soon(trunks.dial(&number(), |_, _| offer(1, Direction::SendRecv))).await.unwrap();
    assert_eq!(dialled.trunk.as_str(), "peer");
    let Progress::Answered(mut dialog, _) = dialled.first else { panic!("not answered") };
    let states: Vec<State> = trunks.lines().iter().map(|line| line.state).collect();
    assert_eq!(states, [State::Suspect, State::Up]);
    assert_eq!(trunks.lines()[1].calls, 1);
    drop(dialled.place);
    assert_eq!(trunks.lines()[1].calls, 0);
    assert!(tokio::time::timeout(Duration::from_millis(100), next(&mut dialog)).await.is_err());
    soon(dialog.bye(Reason::Normal)).await;
    telephone.finish().await;
}

#[tokio::test]
async fn a_registration_is_taken_back_when_the_server_stops() {
    let kamailio = Kamailio::start(9).await;
    let (lines, file) = trunk("sesame");
    let Server { endpoint, mut calls, trunks, .. } = Server::start(kamailio.port, "udp", &lines).await;
    let endpoint = Arc::new(endpoint);
    let trunks = Trunks::start(Arc::clone(&endpoint), &trunks, RING);
    soon(async {
        while !matches!(trunks.lines()[0].registered, Registered::For(_)) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    tokio::spawn(async move {
        while let Some(call) = calls.recv().await {
            call.call.refuse(Refusal::Busy).await;
        }
    });
    // The proxy finds us by our registration, and then no longer.
    for status in [486, 404] {
        let steps = [
            Step::Say(request("INVITE", 1, "", &sdp(4000, ""))),
            Step::Maybe(100),
            Step::Status(status),
            Step::Once(request("ACK", 1, "", "").replace("[branch]", "[branch-3]")),
        ];
        Sipp::start(&steps, free_port(), Some(kamailio.port), &[]).finish().await;
        soon(trunks.stop()).await;
        assert_eq!(trunks.lines()[0].registered, Registered::Missing);
    }
    std::fs::remove_file(file).unwrap();
}

const CONFIGURATION: &str = r#"#!KAMAILIO
debug=0
log_stderror=yes
children=1
listen=udp:127.0.0.1:PORT
mpath="/usr/lib/x86_64-linux-gnu/kamailio/modules/:/usr/lib/aarch64-linux-gnu/kamailio/modules/"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "auth.so"
modparam("usrloc", "db_mode", 0)
request_route {
  if (is_method("OPTIONS") && !has_totag()) { sl_send_reply("200", "OK"); exit; }
  if (has_totag()) {
    if (loose_route()) { t_relay(); exit; }
    if (is_method("ACK")) { if (t_check_trans()) { t_relay(); } exit; }
    sl_send_reply("404", "Not here");
    exit;
  }
  if (is_method("CANCEL")) { if (t_check_trans()) { t_relay(); } exit; }
  if (is_method("REGISTER")) {
    if (!pv_www_authenticate("kamailio", "sesame", "0")) { www_challenge("kamailio", "0"); exit; }
    save("location");
    exit;
  }
  record_route();
  if ($fU == "+33123456789") {
    if (!pv_proxy_authenticate("kamailio", "sesame", "0")) { proxy_challenge("kamailio", "0"); exit; }
    consume_credentials();
    $du = "sip:127.0.0.1:PHONE";
    t_relay();
    exit;
  }
  $ru = "sip:clinic@127.0.0.1:PORT";
  if (!lookup("location")) { sl_send_reply("404", "Not registered"); exit; }
  t_relay();
}
"#;
