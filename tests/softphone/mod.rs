//! A small telephone for tests that watch the server from outside: SIP over UDP, A-law, keys by RFC 4733. One call at a time.
//!
//! Not a judge of SIP: it says what any telephone says and answers what it is asked; real ones are in `tests/telephone`. It lives only
//! while [`Softphone::live`] runs.

#![allow(dead_code, reason = "each test uses its part")]

use std::f64::consts::TAU;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use colloque_sound::{g711, measure};

/// See the module.
pub struct Softphone {
    sip: UdpSocket,
    rtp: UdpSocket,
    /// Shown name and number.
    pub name: String,
    pub number: String,
    /// Further header lines of INVITEs, each with its line end.
    pub more: String,
    /// Frequency of its voice; none: it sends nothing at all.
    pub voice: Option<f64>,
    /// What the 180 waits before the 200.
    pub rings: Duration,
    dialog: Option<Dialog>,
    remote: Option<SocketAddr>,
    /// Everything that was heard in this call, at 8 kHz.
    pub heard: Vec<i16>,
    frame: u32,
    sequence: u16,
    events: Vec<(u8, u8)>,
    numbers: u32,
}

struct Dialog {
    server: SocketAddr,
    target: String,
    from: String,
    to: String,
    call_id: String,
}

impl Softphone {
    pub fn new() -> Self {
        let bind = || {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_nonblocking(true).unwrap();
            socket
        };
        Self {
            sip: bind(),
            rtp: bind(),
            name: "Softphone".to_owned(),
            number: "+33612345678".to_owned(),
            more: String::new(),
            voice: Some(700.0),
            rings: Duration::from_millis(300),
            dialog: None,
            remote: None,
            heard: Vec::new(),
            frame: 0,
            sequence: 0,
            events: Vec::new(),
            numbers: 0,
        }
    }

    pub fn port(&self) -> u16 {
        self.sip.local_addr().unwrap().port()
    }

    /// Whether a call stands.
    pub fn is_up(&self) -> bool {
        self.dialog.is_some()
    }

    /// Calls; gives the final status.
    pub fn dial(&mut self, uri: &str) -> u16 {
        let server = uri.rsplit('@').next().unwrap().parse().unwrap();
        self.numbers += 1;
        let (number, port, id) = (&self.number, self.port(), format!("{}-{}", self.port(), self.numbers));
        let from = format!("\"{}\" <sip:{number}@127.0.0.1>;tag=c{id}", self.name);
        let body = self.sdp();
        let invite = format!(
            "INVITE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK{id};rport\r\nFrom: {from}\r\nTo: <{uri}>\r\n\
             Call-ID: call-{id}\r\nCSeq: 1 INVITE\r\nContact: <sip:{number}@127.0.0.1:{port}>\r\nMax-Forwards: 70\r\n{}\
             Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
            self.more,
            body.len()
        );
        self.sip.send_to(invite.as_bytes(), server).unwrap();
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            assert!(Instant::now() < until, "no final answer");
            let Some((text, _)) = self.receive() else {
                std::thread::sleep(Duration::from_millis(2));
                continue;
            };
            let status: u16 = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
            if status < 200 || header(&text, "CSeq") != Some("1 INVITE") {
                continue;
            }
            let to = header(&text, "To").unwrap().to_owned();
            let target = header(&text, "Contact").map_or(uri, |contact| contact.trim_matches(['<', '>'])).to_owned();
            let dialog = Dialog { server, target, from, to, call_id: format!("call-{id}") };
            self.request(&dialog, "ACK", 1);
            if status < 300 {
                self.begin(&text);
                self.dialog = Some(dialog);
            }
            return status;
        }
    }

    /// Waits for a call and answers it with this status, after its ringing time.
    pub fn take_call(&mut self, status: &str) {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            assert!(Instant::now() < until, "nobody calls");
            let Some((text, server)) = self.receive() else {
                std::thread::sleep(Duration::from_millis(2));
                continue;
            };
            if !text.starts_with("INVITE ") {
                continue;
            }
            self.respond(&text, server, "180 Ringing", "");
            std::thread::sleep(self.rings);
            let body = if status.starts_with("200") { self.sdp() } else { String::new() };
            self.respond(&text, server, status, &body);
            if status.starts_with("200") {
                let named = |name| header(&text, name).unwrap().to_owned();
                let target = named("Contact").trim_matches(['<', '>']).to_owned();
                let (from, to) = (format!("{};tag=callee", named("To")), named("From"));
                self.dialog = Some(Dialog { server, target, from, to, call_id: named("Call-ID") });
                self.begin(&text);
            }
            return;
        }
    }

    /// Speaks, hears, and answers what the server asks, for so long.
    pub fn live(&mut self, seconds: f64) {
        let begin = Instant::now();
        let frames = (seconds * 50.0) as u32;
        for frame in 0..frames {
            let due = begin + Duration::from_millis(20) * frame;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            self.speak();
            self.hear();
            while let Some((text, server)) = self.receive() {
                self.handle(&text, server);
            }
        }
    }

    /// Presses keys, as slowly as a quick person.
    pub fn press(&mut self, keys: &str) {
        for key in keys.chars() {
            let code = "0123456789*#".find(key).unwrap() as u8;
            self.events = (1..=7).rev().map(|frames| (code, frames)).collect();
            self.live(0.14);
            self.live(0.1);
        }
    }

    pub fn hang_up(&mut self) {
        if let Some(dialog) = self.dialog.take() {
            self.request(&dialog, "BYE", 2);
            self.live(0.2);
        }
    }

    /// Amplitude of a tone in the last seconds that were heard.
    pub fn hears(&self, hz: f64, seconds: f64) -> f64 {
        let samples = &self.heard[self.heard.len().saturating_sub((seconds * 8_000.0) as usize)..];
        measure::amplitude_of(samples, 8_000, hz)
    }

    /// Anything, to the server, from this telephone's SIP port.
    pub fn throw(&self, bytes: &[u8], server: SocketAddr) {
        self.sip.send_to(bytes, server).unwrap();
    }

    fn begin(&mut self, text: &str) {
        let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let line = |prefix: &str| body.lines().find_map(|line| line.strip_prefix(prefix)).unwrap_or_default();
        let ip = line("c=IN IP4 ").trim();
        let port = line("m=audio ").split(' ').next().unwrap_or_default();
        self.remote = format!("{ip}:{port}").parse().ok();
        self.heard.clear();
    }

    fn sdp(&self) -> String {
        let port = self.rtp.local_addr().unwrap().port();
        format!(
            "v=0\r\no=- 7 7 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP 8 101\r\n\
             a=rtpmap:101 telephone-event/8000\r\n"
        )
    }

    fn speak(&mut self) {
        let (Some(remote), true) = (self.remote, self.dialog.is_some()) else { return };
        let at = self.frame * 160;
        self.frame += 1;
        let (kind, timestamp, payload) = match (self.events.pop(), self.voice) {
            (Some((code, frames)), _) => {
                let lasted = u32::from(frames) * 160;
                let end = if frames == 7 { 0x80 } else { 0 };
                let [_, _, high, low] = lasted.to_be_bytes();
                (101, at.wrapping_sub(lasted), vec![code, end | 10, high, low])
            }
            (None, Some(hz)) => {
                let sample = |n: u32| (8_000.0 * (TAU * hz * f64::from(at + n) / 8_000.0).sin()) as i16;
                let samples: Vec<i16> = (0..160).map(sample).collect();
                let mut payload = vec![0; 160];
                g711::encode_a_law(&samples, &mut payload);
                (8, at, payload)
            }
            (None, None) => return,
        };
        let mut packet = vec![0x80, kind];
        packet.extend(self.sequence.to_be_bytes());
        packet.extend(timestamp.to_be_bytes());
        packet.extend([0, 0, 0, 9]);
        packet.extend(payload);
        self.sequence = self.sequence.wrapping_add(1);
        let _ = self.rtp.send_to(&packet, remote);
    }

    fn hear(&mut self) {
        let mut datagram = [0; 1_500];
        while let Ok((len, _)) = self.rtp.recv_from(&mut datagram) {
            if len > 12 && datagram[1] & 0x7f == 8 {
                let mut samples = vec![0; len - 12];
                g711::decode_a_law(&datagram[12..len], &mut samples);
                self.heard.extend(samples);
            }
        }
    }

    fn handle(&mut self, text: &str, server: SocketAddr) {
        if text.starts_with("SIP/2.0") || text.starts_with("ACK ") {
            return;
        }
        let body = if text.starts_with("INVITE ") { self.sdp() } else { String::new() };
        self.respond(text, server, "200 OK", &body);
        if text.starts_with("BYE ") {
            self.dialog = None;
        }
    }

    fn respond(&self, request: &str, server: SocketAddr, status: &str, body: &str) {
        let mut text = format!("SIP/2.0 {status}\r\n");
        for line in request.lines().take_while(|line| !line.is_empty()) {
            let name = line.split(':').next().unwrap_or_default();
            if ["Via", "From", "To", "Call-ID", "CSeq", "Record-Route"]
                .iter()
                .any(|known| known.eq_ignore_ascii_case(name))
            {
                let tag = if name.eq_ignore_ascii_case("To") && !line.contains(";tag=") { ";tag=callee" } else { "" };
                text += &format!("{line}{tag}\r\n");
            }
        }
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        text += &format!(
            "Contact: <sip:callee@127.0.0.1:{}>\r\n{kind}Content-Length: {}\r\n\r\n{body}",
            self.port(),
            body.len()
        );
        self.sip.send_to(text.as_bytes(), server).unwrap();
    }

    fn request(&mut self, dialog: &Dialog, method: &str, cseq: u32) {
        self.numbers += 1;
        let Dialog { server, target, from, to, call_id } = dialog;
        let (port, number) = (self.port(), self.numbers);
        let text = format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bKr{port}-{number};rport\r\nFrom: {from}\r\n\
             To: {to}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
        );
        self.sip.send_to(text.as_bytes(), server).unwrap();
    }

    fn receive(&self) -> Option<(String, SocketAddr)> {
        let mut datagram = [0; 8_192];
        let (len, from) = self.sip.recv_from(&mut datagram).ok()?;
        Some((String::from_utf8_lossy(&datagram[..len]).into_owned(), from))
    }
}

/// The value of a header line, by its long name.
fn header<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().take_while(|line| !line.is_empty()).find_map(|line| {
        let (given, value) = line.split_once(':')?;
        given.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}
