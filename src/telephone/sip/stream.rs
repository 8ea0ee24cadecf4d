//! SIP over TCP and TLS: our own listeners, connections and framing; the stack sees whole, checked messages alone.
//!
//! Not here: UDP (`gate`). A connection from outside the allow-list is closed before its first byte is read. Bounds: connections of one
//! address, bytes of a message, time for a message, time for a handshake, time for a write.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rsipstack::sip::{Host, HostWithPort, SipMessage, Transport};
use rsipstack::transport::channel::ChannelConnection;
use rsipstack::transport::{SipAddr, SipConnection, TransportEvent};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{timeout, timeout_at};
use tokio_rustls::TlsAcceptor;

use crate::config::telephone::SipTransport;

use super::fields;
use super::gate;
use super::hub::{Flow, Hub};
use super::malformed;
use super::screen::Dropped;

/// Accepts connections until the endpoint stops.
pub(super) async fn serve(hub: Arc<Hub>, listener: TcpListener, tls: Option<TlsAcceptor>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = hub.stopped() => return,
        };
        let Ok((stream, peer)) = accepted else {
            // Out of descriptors: wait for some to come back instead of spinning.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Some(place) = hub.admit_stream(peer.ip()) else { continue };
        let Ok(local) = stream.local_addr() else { continue };
        let (hub, tls) = (Arc::clone(&hub), tls.clone());
        tokio::spawn(async move {
            let _place = place;
            let _ = stream.set_nodelay(true);
            let Some(tls) = tls else {
                let (_, running) = open(&hub, stream, (local, peer), SipTransport::Tcp).await;
                return running.await;
            };
            if let Ok(Ok(stream)) = timeout(HANDSHAKE, tls.accept(stream)).await {
                let (_, running) = open(&hub, stream, (local, peer), SipTransport::Tls).await;
                running.await;
            }
        });
    }
}

/// Connects to a trunk's server.
pub(super) async fn connect(
    hub: &Arc<Hub>,
    peer: SocketAddr,
    tls: Option<(tokio_rustls::TlsConnector, &str)>,
) -> Option<Flow> {
    let stream = timeout(CONNECT, TcpStream::connect(peer)).await.ok()?.ok()?;
    let _ = stream.set_nodelay(true);
    let local = stream.local_addr().ok()?;
    match tls {
        None => {
            let (flow, running) = open(hub, stream, (local, peer), SipTransport::Tcp).await;
            tokio::spawn(running);
            Some(flow)
        }
        Some((connector, name)) => {
            let name = rustls::pki_types::ServerName::try_from(name.to_owned()).ok()?;
            let connected = timeout(HANDSHAKE, connector.connect(name, stream)).await.ok()?;
            let stream =
                connected.inspect_err(|error| tracing::warn!(%error, "a SIP server's TLS was refused")).ok()?;
            let (flow, running) = open(hub, stream, (local, peer), SipTransport::Tls).await;
            tokio::spawn(running);
            Some(flow)
        }
    }
}

/// Makes a connection known to the stack; the future carries its bytes until it ends.
async fn open<S>(
    hub: &Arc<Hub>,
    stream: S,
    (local, peer): (SocketAddr, SocketAddr),
    transport: SipTransport,
) -> (Flow, impl Future<Output = ()> + Send + use<S>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (incoming, to_stack) = mpsc::unbounded_channel();
    let (from_stack, outgoing) = mpsc::channel(OUTGOING_MAX);
    let (alive, closed) = watch::channel(());
    let kind = if transport == SipTransport::Tls { Transport::Tls } else { Transport::Tcp };
    let addr = SipAddr {
        r#type: Some(kind),
        addr: HostWithPort { host: Host::IpAddr(peer.ip()), port: Some(peer.port().into()) },
    };
    let token = hub.token().child_token();
    // The constructor cannot fail: it only moves its arguments.
    let channel = ChannelConnection::create_connection_bounded(to_stack, from_stack, addr.clone(), Some(token.clone()))
        .await
        .unwrap_or_else(|_| unreachable!("a channel is made of what it is given"));
    let connection = SipConnection::Channel(channel);
    hub.inner.transport_layer.add_connection(connection.clone());
    let flow = Flow {
        connection: connection.clone(),
        destination: None,
        peer,
        // Without a listener of our own, the other side reaches us on this connection alone.
        local,
        transport,
        closed: Some(closed),
    };
    hub.keep_flow(&flow);
    let (hub, opened) = (Arc::clone(hub), flow.clone());
    let running = async move {
        let _alive = alive;
        let (reader, writer) = tokio::io::split(stream);
        let reading = Reading { hub: &hub, peer, transport, addr, connection: connection.clone(), incoming };
        let (answers, at_once) = mpsc::channel(1);
        tokio::select! {
            () = reading.run(reader, answers) => {}
            () = write(writer, outgoing, at_once) => {}
            () = token.cancelled() => {}
        }
        hub.inner.transport_layer.remove_connection(&connection);
        hub.forget_flow(&opened);
    };
    (flow, running)
}

struct Reading<'a> {
    hub: &'a Arc<Hub>,
    peer: SocketAddr,
    transport: SipTransport,
    addr: SipAddr,
    connection: SipConnection,
    incoming: mpsc::UnboundedSender<TransportEvent>,
}

impl Reading<'_> {
    /// `answers`: what is said without the stack; a slow reader loses some.
    async fn run(self, mut reader: impl AsyncRead + Unpin, answers: mpsc::Sender<Vec<u8>>) {
        let mut buffer = Vec::new();
        // When the message that is being read must be whole.
        let mut whole_by = None;
        loop {
            // Keep-alives (RFC 5626 section 3.5.1) and blank lines between messages.
            while buffer.starts_with(b"\r\n") {
                let ping = buffer.starts_with(b"\r\n\r\n");
                buffer.drain(..if ping { 4 } else { 2 });
                if ping {
                    let _ = answers.try_send(b"\r\n".to_vec());
                }
            }
            match frame(&buffer) {
                Frame::Whole(len) => {
                    let message: Vec<u8> = buffer.drain(..len).collect();
                    if self.hand_on(&message, &answers).is_none() {
                        return;
                    }
                    whole_by = None;
                    continue;
                }
                Frame::Broken => return self.hub.counters.record_dropped(Dropped::Junk),
                Frame::Partial => {}
            }
            let now = tokio::time::Instant::now();
            let until = if buffer.is_empty() {
                now + IDLE
            } else {
                *whole_by.get_or_insert(now + self.hub.settings.timers.message)
            };
            let mut chunk = [0; 4_096];
            match timeout_at(until, reader.read(&mut chunk)).await {
                Ok(Ok(len)) if len > 0 => buffer.extend_from_slice(&chunk[..len]),
                _ => return,
            }
        }
    }

    /// None: the connection is of no more use.
    fn hand_on(&self, message: &[u8], answers: &mpsc::Sender<Vec<u8>>) -> Option<()> {
        let checked = fields::quick_look(message).then(|| fields::checked(message)).flatten();
        let kind = if self.transport == SipTransport::Tls { Transport::Tls } else { Transport::Tcp };
        let received = checked.and_then(|message| SipConnection::update_msg_received(message, self.peer, kind).ok());
        let opens = gate::opens(message);
        let judged = match received {
            Some(received) => {
                self.hub.screen().handle_message(self.peer.ip(), opens, Instant::now()).map(|()| received)
            }
            None => Err(Dropped::Junk),
        };
        let message = match judged {
            Ok(message) => message,
            Err(dropped) => {
                self.hub.counters.record_dropped(dropped);
                if dropped == Dropped::Junk
                    && let Some(told) = malformed::refusal(message)
                    && self.hub.screen().handle_fault(self.peer.ip(), Instant::now()).is_ok()
                {
                    let _ = answers.try_send(told);
                }
                return Some(());
            }
        };
        let event = TransportEvent::Incoming(message, self.connection.clone(), self.addr.clone());
        self.incoming.send(event).ok()
    }
}

async fn write(
    mut writer: impl AsyncWrite + Unpin,
    mut outgoing: mpsc::Receiver<TransportEvent>,
    mut at_once: mpsc::Receiver<Vec<u8>>,
) {
    loop {
        let bytes = tokio::select! {
            event = outgoing.recv() => match event {
                Some(TransportEvent::Incoming(message, ..)) => SipMessage::to_bytes(&message),
                Some(_) => continue,
                None => return,
            },
            Some(bytes) = at_once.recv() => bytes,
        };
        if !matches!(timeout(WRITE, writer.write_all(&bytes)).await, Ok(Ok(()))) {
            return;
        }
        if !matches!(timeout(WRITE, writer.flush()).await, Ok(Ok(()))) {
            return;
        }
    }
}

#[derive(PartialEq, Eq, Debug)]
enum Frame {
    /// A message of so many bytes stands at the front.
    Whole(usize),
    Partial,
    /// Where the next one begins cannot be known.
    Broken,
}

/// RFC 3261 section 18.3: on a stream, `Content-Length` says where a message ends.
fn frame(buffer: &[u8]) -> Frame {
    let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") else {
        return if buffer.len() > MESSAGE_MAX { Frame::Broken } else { Frame::Partial };
    };
    let mut length = None;
    for line in buffer[..end].split(|c| *c == b'\n').skip(1) {
        let Some(colon) = line.iter().position(|c| *c == b':') else { continue };
        let name = line[..colon].trim_ascii();
        if name.eq_ignore_ascii_case(b"content-length") || name.eq_ignore_ascii_case(b"l") {
            let value = std::str::from_utf8(&line[colon + 1..]).ok().and_then(|text| text.trim().parse::<usize>().ok());
            match (value, length) {
                (Some(value), None) => length = Some(value),
                _ => return Frame::Broken,
            }
        }
    }
    let whole = end + 4 + length.unwrap_or(0).min(MESSAGE_MAX);
    match whole {
        _ if whole > MESSAGE_MAX => Frame::Broken,
        whole if whole <= buffer.len() => Frame::Whole(whole),
        _ => Frame::Partial,
    }
}

/// Streams of one address at the same time; given back when dropped.
pub(super) struct Place {
    pub(super) hub: Arc<Hub>,
    pub(super) from: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.hub.leave_stream(self.from);
    }
}

/// SIP's own limit for UDP; nobody's call needs more.
const MESSAGE_MAX: usize = 64 * 1024;
/// Longer than half of any session timer, so that a quiet call's connection lives.
const IDLE: Duration = Duration::from_secs(3_600);
const HANDSHAKE: Duration = Duration::from_secs(10);
/// A first response is waited for 3 s.
const CONNECT: Duration = Duration::from_secs(2);
const WRITE: Duration = Duration::from_secs(5);
/// Messages that wait for a slow peer.
const OUTGOING_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_cut_where_each_message_says() {
        let bye = "BYE sip:a SIP/2.0\r\nContent-Length: 3\r\n\r\nabc";
        assert_eq!(frame(bye.as_bytes()), Frame::Whole(bye.len()));
        assert_eq!(frame(format!("{bye}BYE").as_bytes()), Frame::Whole(bye.len()));
        assert_eq!(frame(&bye.as_bytes()[..bye.len() - 1]), Frame::Partial);
        assert_eq!(frame(b"BYE sip:a SIP/2.0\r\nl: 0\r\n\r\n"), Frame::Whole(27));
        for broken in ["-1", "x", "", "99999999999999999999999", "70000", "1\r\nl: 1"] {
            let text = format!("BYE sip:a SIP/2.0\r\nContent-Length: {broken}\r\n\r\n");
            assert_eq!(frame(text.as_bytes()), Frame::Broken, "{broken}");
        }
        assert_eq!(frame(&[b'x'; MESSAGE_MAX + 1]), Frame::Broken);
    }
}
