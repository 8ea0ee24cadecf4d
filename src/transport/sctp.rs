//! Data channels of one leg: SCTP over DTLS (RFC 8831, RFC 9260) with DCEP (RFC 8832), server side.
//!
//! ```text
//! handle_packet -> SctpGuard -> rtc-sctp -> DCEP or message -> poll_event
//! send, open ----------------> rtc-sctp -> poll_packet -> Dtls::send
//! ```
//! The association is the library's. Its companion `rtc-datachannel` is not used: it buffers a second time, knows no
//! limits and panics on a short message. Sans-IO, but initial TSN, tag and cookie come from the library's own random
//! generator, so two runs of a simulation differ in them.
//! Invariant: whatever the far side sends, one association holds a bounded amount of memory.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use rtc_sctp::{
    Association, AssociationHandle, DatagramEvent, Endpoint, EndpointConfig, Event, Payload,
    PayloadProtocolIdentifier as Ppid, ReliabilityType, ServerConfig, StreamEvent, TransportConfig,
};
use rtc_shared::TransportProtocol;

use super::dcep::{Dcep, Open, Reliability};
use super::sctp_guard::{Contents, Refusal, STREAMS_MAX, SctpGuard, plain_init};
use crate::drops::DropReason;

/// What the far side did on its data channels.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SctpEvent {
    /// A channel is open for both directions.
    Open {
        /// SCTP stream of the channel.
        channel: u16,
        /// The far side's label (RFC 8832).
        label: String,
        /// The far side's subprotocol, often empty.
        protocol: String,
    },
    /// A whole message, at most [`SctpEndpoint::MESSAGE_LEN_MAX`] bytes.
    Message {
        /// SCTP stream of the channel.
        channel: u16,
        /// Sent as text. Not checked to be UTF-8.
        text: bool,
        /// The message.
        payload: Vec<u8>,
    },
    /// The channel is closed, by reset or with the association.
    Closed {
        /// SCTP stream of the channel.
        channel: u16,
    },
}

/// The SCTP association of one leg.
pub struct SctpEndpoint {
    link: Link,
    guard: SctpGuard,
    channels: Vec<Channel>,
    message_len_max: usize,
    /// Streams with messages that were left in the library, to keep its receive window closed.
    readable: VecDeque<u16>,
    events: VecDeque<SctpEvent>,
    event_bytes: usize,
    packets: VecDeque<Bytes>,
}

enum Link {
    /// No INIT yet.
    Waiting,
    /// INIT answered, no COOKIE ECHO yet. An INIT that comes again gets the same answer: the library would start a
    /// second association, and an answer that is merely late would lose the first.
    Answering {
        connection: Box<Connection>,
        init: Vec<u8>,
        answer: Option<Bytes>,
    },
    Up(Box<Connection>),
}

struct Connection {
    endpoint: Endpoint,
    handle: AssociationHandle,
    association: Association,
}

struct Channel {
    id: u16,
    /// What we called it, until the far side acknowledges a channel that we opened.
    unacknowledged: Option<String>,
}

impl SctpEndpoint {
    /// Largest message in either direction. Browsers fragment well above it; files come in pieces of 16 to 48 KiB.
    pub const MESSAGE_LEN_MAX: usize = 64 * 1024;

    /// Channels open at once. A page uses three or four.
    pub const CHANNELS_MAX: usize = 16;

    /// Bytes that wait to be sent or acknowledged. Higher hides a slow receiver longer, lower refuses a burst.
    pub const BUFFERED_BYTES_MAX: usize = 256 * 1024;

    /// Our receive window: what the far side may have in flight, and the most of it that waits for `poll_event`.
    pub const RECEIVE_WINDOW: u32 = 256 * 1024;

    /// Waits for the far side's INIT. `remote_max_message_size` is the offer's `a=max-message-size` (0 means any).
    #[must_use]
    pub fn new(remote_max_message_size: u32) -> Self {
        let message_len_max = match remote_max_message_size {
            0 => Self::MESSAGE_LEN_MAX,
            limit => Self::MESSAGE_LEN_MAX.min(limit as usize),
        };
        Self {
            link: Link::Waiting,
            guard: SctpGuard::default(),
            channels: Vec::new(),
            message_len_max,
            readable: VecDeque::new(),
            events: VecDeque::new(),
            event_bytes: 0,
            packets: VecDeque::new(),
        }
    }

    /// Takes one SCTP packet out of DTLS.
    ///
    /// # Errors
    /// [`DropReason::SctpMalformed`] when it changed nothing; [`DropReason::DataRefused`] when it broke a limit.
    pub fn handle_packet(&mut self, now: Instant, packet: &[u8]) -> Result<(), DropReason> {
        let contents = match self.guard.check(packet) {
            Ok(contents) => contents,
            Err(Refusal::Packet) => return Err(DropReason::SctpMalformed),
            Err(Refusal::Association) => {
                self.end(now, true);
                return Err(DropReason::DataRefused);
            }
        };
        if contents.init {
            return self.handle_init(now, packet, contents);
        }
        let (Link::Answering { connection, .. } | Link::Up(connection)) = &mut self.link else {
            return Err(DropReason::SctpMalformed);
        };
        if !connection.handle_packet(now, packet) {
            return Err(DropReason::SctpMalformed);
        }
        self.guard.record_accepted(contents);
        self.handle_library_events(now)
    }

    /// Runs timers that are due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Some(association) = self.association() {
            association.handle_timeout(now);
            let _ = self.handle_library_events(now);
        }
    }

    /// When [`Self::handle_timeout`] wants to be called, if at all.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.link {
            Link::Waiting => None,
            Link::Answering { connection, .. } | Link::Up(connection) => connection.association.poll_timeout(),
        }
    }

    /// The next packet to send through DTLS.
    pub fn poll_packet(&mut self, now: Instant) -> Option<Bytes> {
        if self.packets.is_empty()
            && let Some(transmit) = self.association().and_then(|association| association.poll_transmit(now))
            && let Payload::RawEncode(packets) = transmit.message
        {
            self.packets.extend(packets);
        }
        let packet = self.packets.pop_front()?;
        self.guard.record_sent(&packet, Self::RECEIVE_WINDOW);
        if let Link::Answering { answer, .. } = &mut self.link {
            answer.get_or_insert_with(|| packet.clone());
        }
        Some(packet)
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<SctpEvent> {
        let event = self.events.pop_front()?;
        if let SctpEvent::Message { payload, .. } = &event {
            self.event_bytes -= event_cost(payload);
        }
        Some(event)
    }

    /// Queues a message; false when the channel is not open, the message too large or the buffers full.
    pub fn send(&mut self, now: Instant, channel: u16, text: bool, payload: &[u8]) -> bool {
        let open = self.channels.iter().any(|open| open.id == channel && open.unacknowledged.is_none());
        if !open || payload.len() > self.message_len_max || self.backlog() + payload.len() > Self::BUFFERED_BYTES_MAX {
            return false;
        }
        // SCTP has no empty messages: a zero byte with another identifier stands for one (RFC 8831 section 6.6).
        let (identifier, payload): (_, &[u8]) = match (text, payload) {
            (true, []) => (Ppid::StringEmpty, &[0]),
            (false, []) => (Ppid::BinaryEmpty, &[0]),
            (true, _) => (Ppid::String, payload),
            (false, _) => (Ppid::Binary, payload),
        };
        self.write(now, channel, identifier, &Bytes::copy_from_slice(payload))
    }

    /// Opens a reliable ordered channel from our side; `None` before the association is up or at the channel limit.
    /// [`SctpEvent::Open`] follows when the far side has acknowledged it.
    pub fn open(&mut self, now: Instant, label: &str) -> Option<u16> {
        if self.channels.len() >= Self::CHANNELS_MAX || label.len() > LABEL_LEN_MAX || !self.is_connected() {
            return None;
        }
        let association = self.association()?;
        // The DTLS server's channels have odd numbers (RFC 8832 section 6).
        let id = (1..STREAMS_MAX).step_by(2).find(|id| association.stream(*id).is_err())?;
        association.open_stream(id, Ppid::Binary).ok()?;
        let open = Open {
            unordered: false,
            reliability: Reliability::Reliable,
            label: label.to_owned(),
            protocol: String::new(),
        };
        self.write_control(now, id, &Dcep::Open(open));
        self.channels.push(Channel { id, unacknowledged: Some(label.to_owned()) });
        Some(id)
    }

    /// Resets a channel's streams; [`SctpEvent::Closed`] follows.
    pub fn close(&mut self, now: Instant, channel: u16) {
        if self.channels.iter().any(|open| open.id == channel) {
            self.reset(now, channel);
            self.remove_channel(channel);
        }
    }

    /// Whether the association is up.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        matches!(self.link, Link::Up(_))
    }

    fn association(&mut self) -> Option<&mut Association> {
        match &mut self.link {
            Link::Waiting => None,
            Link::Answering { connection, .. } | Link::Up(connection) => Some(&mut connection.association),
        }
    }

    fn handle_init(&mut self, now: Instant, packet: &[u8], contents: Contents) -> Result<(), DropReason> {
        match &self.link {
            // A restart needs a new DTLS association first; within one it can only be late or a forgery.
            Link::Up(_) => Err(DropReason::SctpMalformed),
            Link::Answering { init, answer, .. } if init == packet => {
                self.packets.extend(answer.clone());
                Ok(())
            }
            Link::Answering { .. } | Link::Waiting => {
                let plain = plain_init(packet).ok_or(DropReason::SctpMalformed)?;
                let connection = Connection::answer(now, plain).ok_or(DropReason::SctpMalformed)?;
                self.guard = SctpGuard::default();
                self.guard.record_accepted(contents);
                self.packets.clear();
                self.link = Link::Answering { connection: Box::new(connection), init: packet.to_vec(), answer: None };
                Ok(())
            }
        }
    }

    fn handle_library_events(&mut self, now: Instant) -> Result<(), DropReason> {
        let mut result = Ok(());
        while let Some(event) = self.association().and_then(Association::poll) {
            match event {
                Event::Connected => {
                    if let Link::Answering { connection, .. } = std::mem::replace(&mut self.link, Link::Waiting) {
                        self.link = Link::Up(connection);
                    }
                }
                Event::Stream(StreamEvent::Readable { id }) if !self.readable.contains(&id) => {
                    self.readable.push_back(id);
                }
                Event::AssociationLost { id, .. } => self.remove_channel(id),
                _ => {}
            }
        }
        while let Some(id) = self.readable.front().copied() {
            if self.event_bytes >= Self::RECEIVE_WINDOW as usize {
                break;
            }
            match self.read(id) {
                Some((identifier, message)) => {
                    result = result.and(self.handle_message(now, id, identifier, message));
                }
                None => drop(self.readable.pop_front()),
            }
        }
        if let Link::Up(connection) = &mut self.link {
            // Nobody asks for this list of new streams; it must not grow.
            while connection.association.accept_stream().is_some() {}
            if connection.association.is_closed() {
                self.end(now, false);
            }
        }
        result
    }

    /// The next whole message of a stream. An oversized one comes empty with an unknown identifier.
    fn read(&mut self, id: u16) -> Option<(Ppid, Vec<u8>)> {
        let chunks = self.association()?.stream(id).ok()?.read_sctp().ok()??;
        match chunks.to_payload(Self::MESSAGE_LEN_MAX) {
            Ok(payload) => Some((chunks.ppi, payload.into())),
            Err(_) => Some((Ppid::Unknown, Vec::new())),
        }
    }

    fn handle_message(&mut self, now: Instant, id: u16, identifier: Ppid, payload: Vec<u8>) -> Result<(), DropReason> {
        let (text, payload) = match identifier {
            Ppid::Dcep => return self.handle_control(now, id, &payload),
            Ppid::String => (true, payload),
            Ppid::Binary => (false, payload),
            Ppid::StringEmpty => (true, Vec::new()),
            Ppid::BinaryEmpty => (false, Vec::new()),
            _ => return Err(DropReason::DataRefused),
        };
        if !self.channels.iter().any(|open| open.id == id) {
            return Err(DropReason::DataRefused);
        }
        self.event_bytes += event_cost(&payload);
        self.events.push_back(SctpEvent::Message { channel: id, text, payload });
        Ok(())
    }

    fn handle_control(&mut self, now: Instant, id: u16, message: &[u8]) -> Result<(), DropReason> {
        let known = self.channels.iter().position(|open| open.id == id);
        match (Dcep::parse(message), known) {
            (Some(Dcep::Open(open)), None) => self.accept(now, id, open),
            (Some(Dcep::Ack), Some(index)) => {
                if let Some(label) = self.channels[index].unacknowledged.take() {
                    self.events.push_back(SctpEvent::Open { channel: id, label, protocol: String::new() });
                }
                Ok(())
            }
            _ => Err(DropReason::DataRefused),
        }
    }

    fn accept(&mut self, now: Instant, id: u16, open: Open) -> Result<(), DropReason> {
        let Some(Ok(mut stream)) = self.association().map(|association| association.stream(id)) else {
            return Err(DropReason::SctpMalformed);
        };
        let (reliability, parameter) = match open.reliability {
            Reliability::Reliable => (ReliabilityType::Reliable, 0),
            Reliability::Retransmissions(count) => (ReliabilityType::Rexmit, count),
            Reliability::Milliseconds(time) => (ReliabilityType::Timed, time),
        };
        let _ = stream.set_reliability_params(open.unordered, reliability, parameter);
        if self.channels.len() >= Self::CHANNELS_MAX || open.label.len() + open.protocol.len() > LABEL_LEN_MAX {
            self.reset(now, id);
            return Err(DropReason::DataRefused);
        }
        self.write_control(now, id, &Dcep::Ack);
        self.channels.push(Channel { id, unacknowledged: None });
        self.events.push_back(SctpEvent::Open { channel: id, label: open.label, protocol: open.protocol });
        Ok(())
    }

    fn reset(&mut self, now: Instant, id: u16) {
        if let Some(Ok(mut stream)) = self.association().map(|association| association.stream(id)) {
            let _ = stream.close(now);
        }
    }

    fn write_control(&mut self, now: Instant, id: u16, message: &Dcep) {
        self.write(now, id, Ppid::Dcep, &message.to_bytes().into());
    }

    fn write(&mut self, now: Instant, id: u16, identifier: Ppid, payload: &Bytes) -> bool {
        let Some(association) = self.association() else { return false };
        let Ok(mut stream) = association.stream(id) else { return false };
        stream.write_chunk_with_ppi(now, payload, identifier).is_ok()
    }

    /// Bytes that wait to be sent or acknowledged.
    pub fn backlog(&mut self) -> usize {
        let Link::Up(connection) = &mut self.link else { return 0 };
        let association = &mut connection.association;
        let of = |channel: &Channel| association.stream(channel.id).ok()?.buffered_amount().ok();
        self.channels.iter().filter_map(of).sum()
    }

    fn remove_channel(&mut self, id: u16) {
        if let Some(index) = self.channels.iter().position(|open| open.id == id) {
            self.channels.swap_remove(index);
            self.events.push_back(SctpEvent::Closed { channel: id });
        }
    }

    /// Forgets the association. With `abort`, the far side is told.
    fn end(&mut self, now: Instant, abort: bool) {
        if let Some(association) = self.association() {
            if abort {
                let _ = association.abort();
            }
            // What is left to say: ABORT or SHUTDOWN COMPLETE.
            let last = association.poll_transmit(now);
            if let Some(Payload::RawEncode(packets)) = last.map(|transmit| transmit.message) {
                self.packets.extend(packets);
            }
        }
        self.link = Link::Waiting;
        self.guard = SctpGuard::default();
        self.readable.clear();
        for channel in std::mem::take(&mut self.channels) {
            self.events.push_back(SctpEvent::Closed { channel: channel.id });
        }
    }
}

impl Connection {
    /// Lets the library answer an INIT; `None` when it refuses.
    fn answer(now: Instant, init: Vec<u8>) -> Option<Self> {
        let transport = TransportConfig::default()
            .with_max_receive_buffer_size(SctpEndpoint::RECEIVE_WINDOW)
            .with_max_message_size(SctpEndpoint::MESSAGE_LEN_MAX as u32)
            .with_max_num_inbound_streams(STREAMS_MAX)
            .with_max_num_outbound_streams(STREAMS_MAX);
        let server = Some(Arc::new(ServerConfig::new(transport)));
        let config = Arc::new(EndpointConfig::new());
        let mut endpoint = Endpoint::new(NO_ADDRESS, TransportProtocol::UDP, config, server);
        match endpoint.handle(now, NO_ADDRESS, None, init.into())? {
            (handle, DatagramEvent::NewAssociation(association)) => Some(Self { endpoint, handle, association }),
            _ => None,
        }
    }

    /// False when the packet has a bad checksum or tag.
    fn handle_packet(&mut self, now: Instant, packet: &[u8]) -> bool {
        match self.endpoint.handle(now, NO_ADDRESS, None, Bytes::copy_from_slice(packet)) {
            Some((handle, DatagramEvent::AssociationEvent(event))) if handle == self.handle => {
                self.association.handle_event(event);
                true
            }
            _ => false,
        }
    }
}

/// What a queued message costs towards the receive window, so that empty ones are bounded too.
fn event_cost(payload: &[u8]) -> usize {
    payload.len() + 64
}

/// Bytes of a channel's label and subprotocol together; ours have a dozen.
const LABEL_LEN_MAX: usize = 256;

/// Packets travel inside DTLS; the library only wants some address in its records.
const NO_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 5000);
