//! `colloque serve` under SIGHUP: the file is read again, new calls meet new limits, running ones go on, and a bad file changes nothing.
//!
//! The program runs in a process of its own; the operator's side is a socket that speaks SIP by hand. Not here: which keys may change
//! while the server runs (`config::telephone`).

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// A running server, its file, its log.
struct Server {
    child: Child,
    directory: PathBuf,
    log: Receiver<String>,
    sip: u16,
}

impl Server {
    /// `limits`: further lines of the only trunk.
    fn start(limits: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("colloque-reload-{:x}", rand::random::<u64>()));
        fs::create_dir_all(&directory).unwrap();
        // The kernel has just given it out: nobody else gets it for a while.
        let sip = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = Self::spawn(directory, sip, limits);
        server.logged("serving");
        server
    }

    fn spawn(directory: PathBuf, sip: u16, limits: &str) -> Self {
        write(&directory, sip, limits, "");
        let mut command = Command::new(env!("CARGO_BIN_EXE_colloque"));
        command.env("NO_COLOR", "1").arg("serve").arg("--config").arg(directory.join("colloque.toml"));
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the program starts");
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (sender, log) = channel();
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| _ = sender.send(line)));
        Self { child, directory, log, sip }
    }

    /// Writes another file and says so; gives the log's lines up to the one with this word.
    fn reads_again(&mut self, limits: &str, more: &str, until: &str) -> Vec<String> {
        write(&self.directory, self.sip, limits, more);
        let kill = Command::new("kill").args(["-HUP", &self.child.id().to_string()]).status();
        assert!(kill.unwrap().success());
        self.logged(until)
    }

    fn logged(&mut self, until: &str) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let line =
                self.log.recv_timeout(Duration::from_secs(60)).unwrap_or_else(|_| panic!("no {until}: {lines:#?}"));
            lines.push(line);
            if lines.last().is_some_and(|line| line.contains(until)) {
                return lines;
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        fs::remove_dir_all(&self.directory).ok();
    }
}

fn write(directory: &std::path::Path, sip: u16, limits: &str, more: &str) {
    let text = format!(
        "http_addr = \"127.0.0.1:0\"\nadmin_addr = \"127.0.0.1:0\"\nmedia_addr = [\"127.0.0.1\"]\nmedia_port = 0\nworkers = 1\n\
         data_dir = \"{}\"\n[telephone]\nenabled = true\nsip_udp = \"127.0.0.1:{sip}\"\nrtp_ports = \"52000-52400\"\n{more}\n\
         [[telephone.trunk]]\nname = \"operator\"\nuri = \"sip:127.0.0.1:9\"\noptions_s = 0\n{limits}\n",
        directory.join("data").display()
    );
    fs::write(directory.join("colloque.toml"), text).unwrap();
}

/// An operator's side: each call has a Call-ID of its own.
struct Operator {
    socket: UdpSocket,
    server: u16,
}

impl Operator {
    fn new(server: u16) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self { socket, server }
    }

    /// The final status of a new call, and the line of the server's tag.
    fn calls(&self, call: &str) -> (u16, String) {
        let port = self.socket.local_addr().unwrap().port();
        let body =
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 50998 RTP/AVP 8\r\n";
        let more = format!("Contact: <sip:operator@127.0.0.1:{port}>\r\nContent-Type: application/sdp\r\n");
        let to = "To: <sip:+33123456789@127.0.0.1>";
        self.send("INVITE", call, 1, to, &more, body);
        let (status, to) = self.hears(call, "1 INVITE");
        // The ACK of a refusal belongs to its INVITE's transaction (RFC 3261 section 17.1.1.3), that of a 200 to none.
        self.send(if status == 200 { "ACK" } else { "ACK of INVITE" }, call, 1, &to, "", "");
        (status, to)
    }

    fn hangs_up(&self, call: &str, to: &str) -> u16 {
        self.send("BYE", call, 2, to, "", "");
        self.hears(call, "2 BYE").0
    }

    fn send(&self, method: &str, call: &str, number: u32, to: &str, more: &str, body: &str) {
        let port = self.socket.local_addr().unwrap().port();
        let (method, branch) = method.split_once(" of ").unwrap_or((method, method));
        let text = format!(
            "{method} sip:127.0.0.1:{} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK{call}{number}{branch}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:+33612345678@127.0.0.1>;tag={call}\r\n{to}\r\nCall-ID: {call}\r\n\
             CSeq: {number} {method}\r\n{more}Content-Length: {}\r\n\r\n{body}",
            self.server,
            body.len()
        );
        self.socket.send_to(text.as_bytes(), ("127.0.0.1", self.server)).unwrap();
    }

    /// The final answer to a request, and its `To`.
    fn hears(&self, call: &str, sequence: &str) -> (u16, String) {
        loop {
            let mut buffer = [0; 8_192];
            let len = self.socket.recv(&mut buffer).unwrap_or_else(|_| panic!("no answer to {sequence} of {call}"));
            let text = String::from_utf8_lossy(&buffer[..len]).into_owned();
            let line = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
            let status = text.strip_prefix("SIP/2.0 ").and_then(|rest| rest[..3].parse().ok()).unwrap_or(0);
            if status >= 200 && line("Call-ID").ends_with(call) && line("CSeq").ends_with(sequence) {
                return (status, line("To"));
            }
        }
    }
}

#[test]
fn new_calls_meet_the_limits_of_the_file_and_a_running_one_goes_on() {
    const ALLOW: &str = "allow = [\"127.0.0.1\"]\n";
    let one = format!("{ALLOW}max_calls = 1");
    let mut server = Server::start(&one);
    let operator = Operator::new(server.sip);
    let (status, first) = operator.calls("first");
    assert_eq!(status, 200);
    assert_eq!(operator.calls("second").0, 486, "one at a time");

    let log = server.reads_again(&format!("{ALLOW}max_calls = 2"), "", "read again");
    assert!(log.last().unwrap().contains("telephone.trunk.operator.max_calls"), "{log:?}");
    let (status, third) = operator.calls("third");
    assert_eq!(status, 200);

    // A file with a fault is not taken in part.
    let log = server.reads_again(&format!("{ALLOW}max_calls = 3\ncodecs = []"), "", "not valid");
    assert!(log.last().unwrap().contains("telephone.trunk.operator.codecs"), "{log:?}");
    let log = server.reads_again(&format!("{ALLOW}max_calls = 3\nsurprise = 1"), "", "not valid");
    assert!(log.last().unwrap().contains("surprise"), "{log:?}");
    assert_eq!(operator.calls("fourth").0, 486, "two, as before");

    // What is read at a start only is named, and the rest of the file holds.
    let log =
        server.reads_again(&format!("{ALLOW}max_calls = 3"), "opus_complexity = 4\nmax_legs = 2", "restart the server");
    let [taken, waiting] = log.as_slice() else { panic!("{log:#?}") };
    assert!(taken.contains("telephone.max_legs, telephone.trunk.operator.max_calls"), "{taken}");
    assert!(waiting.contains("keys=\"telephone.opus_complexity\""), "{waiting}");
    assert_eq!(operator.calls("fifth").0, 503, "two telephones in all");

    assert_eq!(operator.hangs_up("first", &first), 200, "it was there all the time");
    assert_eq!(operator.hangs_up("third", &third), 200);
    // Nobody of that network is heard any more.
    server.reads_again("allow = [\"192.0.2.1\"]", "", "read again");
    operator.socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    operator.send("OPTIONS", "stranger", 1, "To: <sip:127.0.0.1>", "", "");
    assert!(operator.socket.recv(&mut [0; 8_192]).is_err(), "silence");
    assert!(server.child.try_wait().unwrap().is_none(), "it runs");
}
