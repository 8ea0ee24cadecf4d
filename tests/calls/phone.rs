//! A telephone behind a trunk, on one port of this machine: SIP by hand, and its sound.
//!
//! Not here: what is tested. It does what it is told and answers nothing by itself: a request that a test does not expect is a
//! request that it misses.

use std::time::Duration;

use crate::raw::Raw;
use crate::voice::{PATIENCE, Speech, Voice};

/// A call that stands, seen from the telephone.
pub struct Call {
    pub voice: Voice,
    sip: Raw,
    /// The server's SIP port.
    server: u16,
    /// `From` and `To` of our requests, with their tags.
    ours: String,
    theirs: String,
    id: String,
    sequence: u32,
}

impl Call {
    /// Takes a call that the server makes; returns once it stands.
    pub async fn take(mut sip: Raw, server: u16, invite: &str, speech: Speech) -> Call {
        let voice = Voice::new(speech).await;
        sip.reply(invite, "200 OK", TAG, &voice.sdp()).await;
        voice.speak_to(invite);
        sip.expect("ACK").await;
        let ours = format!("{};tag={TAG}", header(invite, "To:"));
        Call { voice, sip, server, ours, theirs: header(invite, "From:"), id: header(invite, "Call-ID:"), sequence: 1 }
    }

    /// Calls the server; returns once it has answered.
    pub async fn dial(sip: Raw, server: u16, speech: Speech) -> Call {
        Call::try_dial(sip, server, speech).await.unwrap_or_else(|refused| panic!("{refused}"))
    }

    /// Calls the server, which may refuse.
    pub async fn try_dial(sip: Raw, server: u16, speech: Speech) -> Result<Call, String> {
        Call::try_dial_so(sip, server, speech, true).await
    }

    /// The same, with an offer of its own or without.
    pub async fn try_dial_so(sip: Raw, server: u16, speech: Speech, offers: bool) -> Result<Call, String> {
        let ours = format!("<{CALLER}@127.0.0.1>;tag={TAG}");
        let (theirs, id) = ("<sip:appointment@127.0.0.1>".to_owned(), format!("call-{}", sip.port()));
        let mut call = Call { voice: Voice::new(speech).await, sip, server, ours, theirs, id, sequence: 0 };
        let description = if offers { call.voice.sdp() } else { String::new() };
        let answer = call.ask("INVITE", &description).await;
        call.theirs = header(&answer, "To:");
        call.send("ACK", call.sequence, "").await;
        if !answer.starts_with("SIP/2.0 200") {
            return Err(answer);
        }
        call.voice.speak_to(&answer);
        Ok(call)
    }

    /// The next message of the server that begins so; others are passed over.
    pub async fn expect(&mut self, start: &str) -> String {
        let found = async {
            loop {
                if let Some(text) = self.sip.hear(PATIENCE).await.filter(|text| text.starts_with(start)) {
                    return text;
                }
            }
        };
        tokio::time::timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("no {start}"))
    }

    /// Whether the server says nothing of this kind for so long.
    pub async fn is_spared(&mut self, method: &str, for_: Duration) -> bool {
        let deadline = tokio::time::Instant::now() + for_;
        loop {
            let left = deadline.saturating_duration_since(tokio::time::Instant::now());
            match self.sip.hear(left).await {
                None => return true,
                Some(text) if text.starts_with(method) => return false,
                Some(_) => {}
            }
        }
    }

    /// Agrees to a request of the server.
    pub async fn agree(&mut self, request: &str) {
        let sdp = if request.contains("m=audio") { self.voice.sdp() } else { String::new() };
        self.sip.reply(request, "200 OK", TAG, &sdp).await;
        if request.starts_with("INVITE") {
            self.expect("ACK").await;
        }
    }

    /// Waits until the server hangs up.
    pub async fn is_hung_up(&mut self) -> String {
        let bye = self.expect("BYE").await;
        self.sip.reply(&bye, "200 OK", TAG, "").await;
        bye
    }

    pub async fn hang_up(mut self) {
        let ok = self.ask("BYE", "").await;
        assert!(ok.starts_with("SIP/2.0 200"), "{ok}");
    }

    /// Presses keys by signalling: for a telephone whose sound is not there.
    pub async fn presses_by_info(&mut self, keys: &str) {
        for key in keys.chars() {
            let ok = self.ask("INFO", &format!("Signal={key}\nDuration=160\n")).await;
            assert!(ok.starts_with("SIP/2.0 200"), "{ok}");
        }
    }

    /// Sends a request and waits for its final answer.
    async fn ask(&mut self, method: &str, body: &str) -> String {
        self.sequence += 1;
        self.send(method, self.sequence, body).await;
        let sequence = format!("CSeq: {} {method}", self.sequence);
        loop {
            let text = self.expect("SIP/2.0").await;
            if text.contains(&sequence) && !text.starts_with("SIP/2.0 1") {
                return text;
            }
        }
    }

    async fn send(&self, method: &str, sequence: u32, body: &str) {
        let (port, body) = (self.sip.port(), body.replace('\n', "\r\n"));
        let kind = if method == "INFO" { "application/dtmf-relay" } else { "application/sdp" };
        let text = format!(
            "{method} sip:appointment@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK{method}{sequence}{port}\r\n\
             From: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {sequence} {method}\r\nContact: <sip:phone@127.0.0.1:{port}>\r\n\
             Max-Forwards: 70\r\nAllow: INVITE, ACK, BYE, CANCEL, UPDATE\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
            self.ours,
            self.theirs,
            self.id,
            body.len()
        );
        self.sip.send(text.as_bytes(), self.server).await;
    }
}

fn header(message: &str, name: &str) -> String {
    message
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .unwrap_or_else(|| panic!("{name} {message}"))
        .trim()
        .to_owned()
}

/// Of the telephone's side of every dialog.
pub const TAG: &str = "phone";
/// The number that the telephone shows.
const CALLER: &str = "sip:+33612345678";
