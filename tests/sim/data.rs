//! A page's data channel: `rtc-sctp` as an independent client that opens one reliable channel.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use rtc_datachannel::message::Message;
use rtc_datachannel::message::message_channel_open::{ChannelType, DataChannelOpen};
use rtc_sctp::{
    Association, ClientConfig, DatagramEvent, Endpoint, EndpointConfig, Event, Payload,
    PayloadProtocolIdentifier as Ppid, StreamEvent, TransportConfig,
};
use rtc_shared::TransportProtocol;
use rtc_shared::marshal::{Marshal, MarshalSize};

pub struct DataSide {
    endpoint: Endpoint,
    association: Association,
    opened: bool,
    /// The server took the channel.
    pub open: bool,
    pub received: Vec<String>,
    waiting: Vec<String>,
}

fn address() -> SocketAddr {
    ([192, 0, 2, 1], 5000).into()
}

const CHANNEL: u16 = 0;

impl DataSide {
    pub fn new(now: Instant) -> Self {
        let mut endpoint = Endpoint::new(address(), TransportProtocol::UDP, Arc::new(EndpointConfig::new()), None);
        let config = ClientConfig::new(TransportConfig::default().with_max_message_size(1 << 16));
        let (_, association) = endpoint.connect(now, config, address()).expect("a first association");
        Self { endpoint, association, opened: false, open: false, received: Vec::new(), waiting: Vec::new() }
    }

    pub fn send(&mut self, text: &str) {
        self.waiting.push(text.to_owned());
    }

    pub fn handle(&mut self, now: Instant, packet: &[u8]) {
        let packet = Bytes::copy_from_slice(packet);
        if let Some((_, DatagramEvent::AssociationEvent(event))) = self.endpoint.handle(now, address(), None, packet) {
            self.association.handle_event(event);
        }
    }

    /// Runs timers and gives the packets to send.
    pub fn poll(&mut self, now: Instant) -> Vec<Bytes> {
        self.association.handle_timeout(now);
        while let Some(event) = self.association.poll() {
            if let Event::Stream(StreamEvent::Readable { id }) = event {
                while let Some(chunks) = self.association.stream(id).ok().and_then(|mut stream| stream.read().ok()?) {
                    let payload = chunks.to_payload(1 << 16).expect("a message").to_vec();
                    match chunks.ppi {
                        Ppid::Dcep => self.open = true,
                        _ => self.received.push(String::from_utf8(payload).expect("text")),
                    }
                }
            }
        }
        if !self.association.is_handshaking() && !self.opened {
            self.opened = true;
            let open = Message::DataChannelOpen(DataChannelOpen {
                channel_type: ChannelType::Reliable,
                priority: 0,
                reliability_parameter: 0,
                label: "seats".into(),
                protocol: Vec::new(),
            });
            let mut bytes = BytesMut::zeroed(open.marshal_size());
            open.marshal_to(&mut bytes).expect("a buffer of its size");
            let mut stream = self.association.open_stream(CHANNEL, Ppid::Binary).expect("a stream");
            stream.write_with_ppi(now, &bytes.freeze(), Ppid::Dcep).expect("room");
        }
        if self.open {
            for text in std::mem::take(&mut self.waiting) {
                let mut stream = self.association.stream(CHANNEL).expect("an open stream");
                stream.write_with_ppi(now, text.as_bytes(), Ppid::String).expect("room");
            }
        }
        let mut packets = Vec::new();
        while let Some(transmit) = self.association.poll_transmit(now) {
            if let Payload::RawEncode(raw) = transmit.message {
                packets.extend(raw);
            }
        }
        packets
    }
}
