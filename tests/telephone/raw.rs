//! A socket that speaks SIP by hand: for what no well-behaved program does.
//!
//! Not here: what is tested.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::UdpSocket;

/// The socket.
pub struct Raw {
    socket: UdpSocket,
    peer: Option<SocketAddr>,
}

impl Raw {
    pub async fn new() -> Raw {
        Raw { socket: UdpSocket::bind("127.0.0.1:0").await.unwrap(), peer: None }
    }

    pub fn port(&self) -> u16 {
        self.socket.local_addr().unwrap().port()
    }

    pub async fn send(&self, text: &[u8], port: u16) {
        self.socket.send_to(text, ("127.0.0.1", port)).await.unwrap();
    }

    /// The next message that begins so; others are passed over.
    pub async fn expect(&mut self, start: &str) -> String {
        loop {
            let text = self.hear(Duration::from_secs(20)).await.unwrap_or_else(|| panic!("no {start}"));
            if text.starts_with(start) {
                return text;
            }
        }
    }

    /// The next message, if one comes in time.
    pub async fn hear(&mut self, limit: Duration) -> Option<String> {
        let mut buffer = vec![0; 16_384];
        let (len, from) = tokio::time::timeout(limit, self.socket.recv_from(&mut buffer)).await.ok()?.ok()?;
        self.peer = Some(from);
        Some(String::from_utf8_lossy(&buffer[..len]).into_owned())
    }

    /// Answers a request.
    pub async fn reply(&self, request: &str, status: &str, tag: &str, body: &str) {
        let text = answer_to(request, status, tag, &format!("sip:raw@127.0.0.1:{}", self.port()), body);
        self.socket.send_to(text.as_bytes(), self.peer.unwrap()).await.unwrap();
    }
}

/// An answer to a request. `tag`: what `To` gets, if it has none.
pub fn answer_to(request: &str, status: &str, tag: &str, contact: &str, body: &str) -> String {
    let kept = |name: &str| {
        let lines = request.split("\r\n").filter(|line| line.starts_with(name));
        lines.fold(String::new(), |text, line| text + line + "\r\n")
    };
    let to = kept("To:");
    let to = if tag.is_empty() || to.contains("tag=") { to } else { format!("{};tag={tag}\r\n", to.trim_end()) };
    let body = body.replace('\n', "\r\n");
    format!(
        "SIP/2.0 {status}\r\n{}{}{to}{}{}Contact: <{contact}>\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
        kept("Via:"),
        kept("From:"),
        kept("Call-ID:"),
        kept("CSeq:"),
        body.len()
    )
}
