//! The UDP socket: every datagram passes the screen and the sanity check before the stack sees it.
//!
//! Not here: streams (`stream`). Strangers get no answer, not even to a keep-alive.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use rsipstack::platform::net::UdpSocket as StackSocket;
use tokio::net::UdpSocket;

use super::fields;
use super::hub::{self, Counters};
use super::malformed;
use super::screen::{Dropped, Screen};

/// What rsipstack reads from and writes to.
pub(super) struct Gate {
    pub(super) socket: UdpSocket,
    pub(super) screen: Arc<std::sync::Mutex<Screen>>,
    pub(super) counters: Arc<Counters>,
}

impl Gate {
    async fn receive(&self, buffer: &mut [u8]) -> rsipstack::Result<(usize, SocketAddr)> {
        loop {
            let (len, from) = self.socket.recv_from(buffer).await?;
            match self.judge(buffer, len, from) {
                Ok(len) => return Ok((len, from)),
                Err(dropped) => {
                    self.counters.record_dropped(dropped);
                    if dropped == Dropped::Junk {
                        self.refuse(&buffer[..len], from);
                    }
                }
            }
        }
    }

    /// Tells a trunk what is wrong with what it sent, if that says enough; a full socket buffer loses it.
    fn refuse(&self, message: &[u8], from: SocketAddr) {
        let Some(told) = malformed::refusal(message) else { return };
        if hub::lock(&self.screen).handle_fault(from.ip(), Instant::now()).is_ok() {
            let _ = self.socket.try_send_to(&told, from);
        }
    }

    /// The length of what may go on.
    fn judge(&self, buffer: &mut [u8], len: usize, from: SocketAddr) -> Result<usize, Dropped> {
        let screen = || hub::lock(&self.screen);
        if !screen().allows(from.ip()) {
            return Err(Dropped::Address);
        }
        // A full buffer was perhaps longer: then its end is missing.
        if len == buffer.len() || !fields::quick_look(&buffer[..len]) {
            return Err(Dropped::Junk);
        }
        let len = complete(buffer, len);
        // Before the bucket: junk in a trunk's name must not use up what the trunk may open.
        fields::checked(&buffer[..len]).ok_or(Dropped::Junk)?;
        screen().handle_message(from.ip(), opens(&buffer[..len]), Instant::now())?;
        Ok(len)
    }
}

/// Whether a message wants something new: an INVITE, OPTIONS and so on whose `To` has no tag. Cheap, before the parser.
pub(super) fn opens(message: &[u8]) -> bool {
    if message.starts_with(b"SIP/2.0") || message.starts_with(b"ACK ") || message.starts_with(b"CANCEL ") {
        return false;
    }
    let mut lines = message.split(|c| *c == b'\n');
    let to = lines.find(|line| {
        let name = line.split(|c| *c == b':').next().unwrap_or_default().trim_ascii();
        name.eq_ignore_ascii_case(b"to") || name.eq_ignore_ascii_case(b"t")
    });
    !to.is_some_and(|line| line.windows(5).any(|window| window.eq_ignore_ascii_case(b";tag=")))
}

/// A datagram without `Content-Length` reaches to its end (RFC 3261 section 18.3); the parser wants it written.
fn complete(buffer: &mut [u8], len: usize) -> usize {
    let Some(end) = buffer[..len].windows(4).position(|window| window == b"\r\n\r\n") else { return len };
    let body = len - end - 4;
    let named = buffer[..end].split(|c| *c == b'\n').any(|line| {
        let name = line.split(|c| *c == b':').next().unwrap_or_default().trim_ascii();
        name.eq_ignore_ascii_case(b"content-length") || name.eq_ignore_ascii_case(b"l")
    });
    let line = format!("\r\nContent-Length: {body}");
    if named || body == 0 || len + line.len() >= buffer.len() {
        return len;
    }
    buffer.copy_within(end..len, end + line.len());
    buffer[end..end + line.len()].copy_from_slice(line.as_bytes());
    len + line.len()
}

type Waiting<'a, T> = Pin<Box<dyn Future<Output = rsipstack::Result<T>> + Send + 'a>>;

impl StackSocket for Gate {
    fn recv_from<'life0, 'life1, 'async_trait>(
        &'life0 self,
        buffer: &'life1 mut [u8],
    ) -> Waiting<'async_trait, (usize, SocketAddr)>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(self.receive(buffer))
    }

    fn send_to<'life0, 'life1, 'async_trait>(
        &'life0 self,
        buffer: &'life1 [u8],
        to: SocketAddr,
    ) -> Waiting<'async_trait, usize>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(async move { Ok(self.socket.send_to(buffer, to).await?) })
    }

    fn local_addr(&self) -> rsipstack::Result<SocketAddr> {
        Ok(self.socket.local_addr()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_a_call_is_told_from_what_opens_one() {
        for (message, new) in [
            ("INVITE sip:a SIP/2.0\r\nTo: <sip:a>\r\n", true),
            ("INVITE sip:a SIP/2.0\r\nt : <sip:a> ;TAG=x\r\n", false),
            ("BYE sip:a SIP/2.0\r\nFrom: <sip:b>;tag=1\r\nTo: <sip:a>;tag=2\r\n", false),
            ("OPTIONS sip:a SIP/2.0\r\nFrom: <sip:b>;tag=1\r\nTo: <sip:a>\r\n", true),
            ("ACK sip:a SIP/2.0\r\nTo: <sip:a>\r\n", false),
            ("SIP/2.0 200 OK\r\nTo: <sip:a>\r\n", false),
            ("REGISTER sip:a SIP/2.0\r\n\r\n", true),
        ] {
            assert_eq!(opens(message.as_bytes()), new, "{message}");
        }
    }

    #[test]
    fn a_body_without_a_length_reaches_to_the_end() {
        for (text, completed) in [
            ("A: b\r\n\r\nv=0", "A: b\r\nContent-Length: 3\r\n\r\nv=0"),
            ("A: b\r\nl: 3\r\n\r\nv=0", "A: b\r\nl: 3\r\n\r\nv=0"),
            ("A: b\r\n\r\n", "A: b\r\n\r\n"),
            ("A: b", "A: b"),
        ] {
            let mut buffer = [0; 64];
            buffer[..text.len()].copy_from_slice(text.as_bytes());
            let len = complete(&mut buffer, text.len());
            assert_eq!(std::str::from_utf8(&buffer[..len]).unwrap(), completed);
        }
        let mut small = *b"A: b\r\n\r\nv=0..";
        assert_eq!(complete(&mut small, 11), 11);
    }
}
