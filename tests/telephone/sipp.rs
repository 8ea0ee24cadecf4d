//! SIPp as the other side: scenarios are written as steps and run by the real program.
//!
//! Not here: what is tested. A scenario that does not go as written makes SIPp exit with an error, and the test fail.

use std::fmt::Write;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::process::{Child, Command};

/// One thing that SIPp does.
pub enum Step {
    /// Waits for this request.
    Expect(&'static str),
    /// Waits for this status.
    Status(u16),
    /// A status that may come before the next one.
    Maybe(u16),
    /// Waits for a message whose text holds this; the flag: a request, else a status of 200.
    Holding(What, &'static str),
    /// Sends this; lines of a message, `{sdp}` where its body is.
    Say(String),
    /// As `Say`, without repetitions.
    Once(String),
    /// Does nothing for so many milliseconds.
    Pause(u32),
}

/// What a message is.
#[derive(Clone, Copy)]
pub enum What {
    Request(&'static str),
    Status(u16),
}

/// SDP of a telephone.
pub fn sdp(port: u16, lines: &str) -> String {
    sdp_at("IP4 127.0.0.1", port, lines)
}

/// The same elsewhere.
pub fn sdp_at(ip: &str, port: u16, lines: &str) -> String {
    format!(
        "v=0\no=trunk 5 {port} IN {ip}\ns=-\nc=IN {ip}\nt=0 0\nm=audio {port} RTP/AVP 8 0 101\n\
         a=rtpmap:101 telephone-event/8000\n{lines}"
    )
}

/// A response of SIPp to the last request; `tag`: what it adds to `To`.
pub fn response(status: &str, tag: &str, extra: &str, body: &str) -> String {
    let tag = if tag.is_empty() { String::new() } else { format!(";tag={tag}") };
    let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\n" };
    format!(
        "SIP/2.0 {status}\n[last_Via:]\n[last_From:]\n[last_To:]{tag}\n[last_Call-ID:]\n[last_CSeq:]\n\
         [last_Record-Route:]\nContact: <sip:trunk@[local_ip]:[local_port];transport=[transport]>\n\
         Allow: INVITE, ACK, BYE, CANCEL, UPDATE\n{extra}{kind}Content-Length: [len]\n\n{body}"
    )
}

/// A request of SIPp as the caller of a call.
pub fn request(method: &str, cseq: u32, extra: &str, body: &str) -> String {
    let kind = if body.is_empty() || extra.contains("Content-Type") { "" } else { "Content-Type: application/sdp\n" };
    let to = if method == "INVITE" && cseq == 1 || method == "CANCEL" { "" } else { "[peer_tag_param]" };
    format!(
        "{method} sip:+33123456789@[remote_ip]:[remote_port] SIP/2.0\n\
         Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]\n\
         From: <sip:+33612345678@[local_ip]>;tag=c[call_number]\nTo: <sip:+33123456789@[remote_ip]>{to}\n\
         Call-ID: [call_id]\nCSeq: {cseq} {}\nContact: <sip:trunk@[local_ip]:[local_port];transport=[transport]>\n\
         Max-Forwards: 70\n{extra}{kind}Content-Length: [len]\n\n{body}",
        method
    )
}

/// A running SIPp.
pub struct Sipp {
    child: Child,
    folder: PathBuf,
}

impl Sipp {
    /// Starts with this scenario on `port`: makes a call to `peer`, or waits for one.
    pub fn start(steps: &[Step], port: u16, peer: Option<u16>, options: &[&str]) -> Sipp {
        Sipp::start_at("127.0.0.1", steps, port, peer, options)
    }

    /// Waits for a call on a port of its own, and listens there.
    pub async fn waiting(steps: &[Step], options: &[&str]) -> (Sipp, u16) {
        let port = free_port();
        let sipp = Sipp::start(steps, port, None, options);
        listening(port).await;
        (sipp, port)
    }

    /// The same at another address of this machine, IPv6 in brackets.
    pub fn start_at(ip: &str, steps: &[Step], port: u16, peer: Option<u16>, options: &[&str]) -> Sipp {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("colloque-sipp-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("scenario.xml"), scenario(steps)).unwrap();
        let mut command = Command::new("sipp");
        command.args(["-sf", "scenario.xml", "-m", "1", "-i", ip, "-nostdin", "-timeout", "30s"]);
        command.args(["-timeout_error", "-trace_err", "-nd", "-default_behaviors", "none", "-p", &port.to_string()]);
        command.args(options);
        if let Some(peer) = peer {
            command.arg(format!("{ip}:{peer}"));
        }
        command.current_dir(&folder).env("TERM", "dumb").stdin(Stdio::null()).kill_on_drop(true);
        command.stdout(std::fs::File::create(folder.join("out")).unwrap());
        command.stderr(std::fs::File::create(folder.join("err")).unwrap());
        let child = command.spawn().expect("sipp is installed (scripts/setup.sh test)");
        Sipp { child, folder }
    }

    /// Waits until SIPp is through, and holds it to its scenario.
    pub async fn finish(mut self) {
        let status = tokio::time::timeout(Duration::from_secs(40), self.child.wait()).await;
        let passed = status.as_ref().is_ok_and(|status| status.as_ref().is_ok_and(std::process::ExitStatus::success));
        if !passed {
            let mut told = format!("SIPp: {status:?}\n");
            for entry in std::fs::read_dir(&self.folder).unwrap().flatten() {
                if entry.file_name() != "scenario.xml" {
                    let text = std::fs::read(entry.path()).unwrap_or_default();
                    let text = String::from_utf8_lossy(&text);
                    let _ =
                        writeln!(told, "--- {:?}\n{}", entry.file_name(), &text[text.len().saturating_sub(4_000)..]);
                }
            }
            panic!("{told}");
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Waits until somebody receives on this port of this machine.
pub async fn listening(port: u16) {
    let wanted = format!(":{port:04X}");
    for _ in 0..600 {
        let bound = ["/proc/net/udp", "/proc/net/tcp", "/proc/net/udp6"].iter().any(|table| {
            let table = std::fs::read_to_string(table).unwrap_or_default();
            table.lines().any(|line| line.split_ascii_whitespace().nth(1).is_some_and(|local| local.ends_with(&wanted)))
        });
        if bound {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("nobody listens on port {port}");
}

/// A port that nobody uses now, for a program that binds it later. Below those that the system gives out by itself, and none twice in a
/// run: neither another test nor a socket of any port can take it meanwhile.
pub fn free_port() -> u16 {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    loop {
        // Runs at the same time begin far from each other.
        let number = std::process::id().wrapping_mul(509).wrapping_add(COUNT.fetch_add(1, Ordering::Relaxed));
        let port = 10_000 + u16::try_from(number % 9_000).unwrap();
        let free = |ip: &str| UdpSocket::bind((ip, port)).is_ok() && std::net::TcpListener::bind((ip, port)).is_ok();
        if free("127.0.0.1") {
            return port;
        }
    }
}

fn scenario(steps: &[Step]) -> String {
    let mut xml = "<?xml version=\"1.0\"?>\n<scenario name=\"test\">\n".to_owned();
    let says = |wanted: &str| {
        steps.iter().any(|step| matches!(step, Step::Say(text) | Step::Once(text) if text.contains(wanted)))
    };
    let mut uses_via = says("[$via]");
    for step in steps {
        let _ = match step {
            Step::Expect("INVITE") if uses_via => {
                uses_via = false;
                let keep = "<ereg regexp=\".*\" search_in=\"hdr\" header=\"Via:\" assign_to=\"via\"/>";
                writeln!(xml, "<recv request=\"INVITE\"><action>{keep}</action></recv>")
            }
            Step::Expect(method) => writeln!(xml, "<recv request=\"{method}\"/>"),
            Step::Status(401) => writeln!(xml, "<recv response=\"401\" auth=\"true\"/>"),
            Step::Status(status) => writeln!(xml, "<recv response=\"{status}\" rrs=\"true\"/>"),
            Step::Maybe(status) => writeln!(xml, "<recv response=\"{status}\" optional=\"true\"/>"),
            Step::Holding(what, text) => {
                let what = match what {
                    What::Request(method) => format!("request=\"{method}\""),
                    What::Status(status) => format!("response=\"{status}\""),
                };
                writeln!(
                    xml,
                    "<recv {what}><action><ereg regexp=\"{text}\" search_in=\"msg\" check_it=\"true\" assign_to=\"held\"/></action></recv>"
                )
            }
            Step::Say(text) => writeln!(xml, "<send retrans=\"500\"><![CDATA[\n{text}\n]]></send>"),
            Step::Once(text) => writeln!(xml, "<send><![CDATA[\n{text}\n]]></send>"),
            Step::Pause(milliseconds) => writeln!(xml, "<pause milliseconds=\"{milliseconds}\"/>"),
        };
    }
    if steps.iter().any(|step| matches!(step, Step::Holding(..))) {
        xml.push_str("<Reference variables=\"held\"/>\n");
    }
    xml.push_str("</scenario>\n");
    xml
}
