//! `SctpEndpoint` against the library's client over a bad network in virtual time, and against a hostile peer that
//! writes its own packets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use colloque::drops::DropReason;
use colloque::transport::sctp::{SctpEndpoint, SctpEvent};
use rtc_datachannel::message::Message;
use rtc_datachannel::message::message_channel_ack::DataChannelAck;
use rtc_datachannel::message::message_channel_open::{ChannelType, DataChannelOpen};
use rtc_sctp::{
    Association, ClientConfig, DatagramEvent, Endpoint, EndpointConfig, Event, Payload,
    PayloadProtocolIdentifier as Ppid, ReliabilityType, StreamEvent, TransportConfig,
};
use rtc_shared::TransportProtocol;
use rtc_shared::marshal::{Marshal, MarshalSize};

fn address() -> SocketAddr {
    ([192, 0, 2, 1], 5000).into()
}

/// xorshift64*: the same bad luck each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % limit
    }
}

fn message_bytes(message: &Message) -> Bytes {
    let mut bytes = BytesMut::zeroed(message.marshal_size());
    message.marshal_to(&mut bytes).unwrap();
    bytes.freeze()
}

fn open_message(channel_type: ChannelType, parameter: u32, label: &str) -> Bytes {
    message_bytes(&Message::DataChannelOpen(DataChannelOpen {
        channel_type,
        priority: 0,
        reliability_parameter: parameter,
        label: label.into(),
        protocol: Vec::new(),
    }))
}

/// A browser's side, the server's side and a network between them.
struct World {
    now: Instant,
    server: SctpEndpoint,
    endpoint: Endpoint,
    client: Association,
    flying: Vec<(Instant, bool, Bytes)>,
    dice: Dice,
    loss_percent: u64,
    events: Vec<SctpEvent>,
    drops: Vec<DropReason>,
    client_received: Vec<(u16, Ppid, Vec<u8>)>,
    client_lost: Vec<u16>,
}

impl World {
    fn new(seed: u64, loss_percent: u64) -> Self {
        let now = Instant::now();
        let config = Arc::new(EndpointConfig::new());
        let mut endpoint = Endpoint::new(address(), TransportProtocol::UDP, config, None);
        let transport = TransportConfig::default().with_max_message_size(1 << 20);
        let (_, client) = endpoint.connect(now, ClientConfig::new(transport), address()).unwrap();
        Self {
            now,
            server: SctpEndpoint::new(0),
            endpoint,
            client,
            flying: Vec::new(),
            dice: Dice(seed * 2 + 1),
            loss_percent,
            events: Vec::new(),
            drops: Vec::new(),
            client_received: Vec::new(),
            client_lost: Vec::new(),
        }
    }

    fn launch(&mut self, to_server: bool, packet: Bytes) {
        assert!(packet.len() <= 1191, "{} bytes do not fit DTLS in 1,280", packet.len());
        if self.dice.below(100) < self.loss_percent {
            return;
        }
        let delay = 20 + if self.loss_percent > 0 { self.dice.below(30) } else { 0 };
        self.flying.push((self.now + Duration::from_millis(delay), to_server, packet));
    }

    fn deliver(&mut self, to_server: bool, packet: Bytes) {
        if to_server {
            self.drops.extend(self.server.handle_packet(self.now, &packet).err());
        } else if let Some((_, DatagramEvent::AssociationEvent(event))) =
            self.endpoint.handle(self.now, address(), None, packet)
        {
            self.client.handle_event(event);
        }
    }

    fn collect(&mut self) {
        self.events.extend(std::iter::from_fn(|| self.server.poll_event()));
        while let Some(event) = self.client.poll() {
            match event {
                Event::Stream(StreamEvent::Readable { id }) => {
                    while let Some(chunks) = self.client.stream(id).ok().and_then(|mut stream| stream.read().unwrap()) {
                        self.client_received.push((id, chunks.ppi, chunks.to_payload(1 << 20).unwrap().to_vec()));
                    }
                }
                Event::AssociationLost { id, .. } => self.client_lost.push(id),
                _ => {}
            }
        }
        while let Some(packet) = self.server.poll_packet(self.now) {
            self.launch(false, packet);
        }
        while let Some(transmit) = self.client.poll_transmit(self.now) {
            let Payload::RawEncode(packets) = transmit.message else { unreachable!() };
            for packet in packets {
                self.launch(true, packet);
            }
        }
    }

    /// Moves to the next instant at which something happens; false when nothing ever will.
    fn step(&mut self) -> bool {
        self.collect();
        let landing = self.flying.iter().map(|(at, ..)| *at).min();
        let timers = [self.server.poll_timeout(), self.client.poll_timeout()];
        let Some(next) = timers.into_iter().flatten().chain(landing).min() else { return false };
        self.now = self.now.max(next);
        let now = self.now;
        let (landed, flying) = std::mem::take(&mut self.flying).into_iter().partition(|(at, ..)| *at <= now);
        self.flying = flying;
        let landed: Vec<_> = landed;
        for (_, to_server, packet) in landed {
            self.deliver(to_server, packet);
        }
        self.server.handle_timeout(now);
        self.client.handle_timeout(now);
        self.collect();
        true
    }

    fn run(&mut self, seconds: u64, done: impl Fn(&Self) -> bool) -> bool {
        let deadline = self.now + Duration::from_secs(seconds);
        while !done(self) {
            if self.now > deadline || !self.step() {
                return done(self);
            }
        }
        true
    }

    fn connected(seed: u64, loss_percent: u64) -> Self {
        let mut world = Self::new(seed, loss_percent);
        let up = world.run(120, |world| world.server.is_connected() && !world.client.is_handshaking());
        assert!(up, "no association with seed {seed}");
        world
    }

    fn client_open(&mut self, id: u16, channel_type: ChannelType, parameter: u32, label: &str) {
        let (unordered, reliability) = match channel_type {
            ChannelType::PartialReliableRexmit => (false, ReliabilityType::Rexmit),
            ChannelType::PartialReliableRexmitUnordered => (true, ReliabilityType::Rexmit),
            ChannelType::PartialReliableTimed => (false, ReliabilityType::Timed),
            ChannelType::PartialReliableTimedUnordered => (true, ReliabilityType::Timed),
            ChannelType::ReliableUnordered => (true, ReliabilityType::Reliable),
            _ => (false, ReliabilityType::Reliable),
        };
        let mut stream = self.client.open_stream(id, Ppid::Binary).unwrap();
        stream.set_reliability_params(unordered, reliability, parameter).unwrap();
        stream.write_with_ppi(self.now, &open_message(channel_type, parameter, label), Ppid::Dcep).unwrap();
    }

    fn client_send(&mut self, id: u16, identifier: Ppid, payload: &[u8]) {
        self.client.stream(id).unwrap().write_with_ppi(self.now, payload, identifier).unwrap();
    }

    /// A world with one reliable channel, number 0.
    fn with_channel(seed: u64, loss_percent: u64) -> Self {
        let mut world = Self::connected(seed, loss_percent);
        world.client_open(0, ChannelType::Reliable, 0, "chat");
        let opened = world.run(60, |world| !world.events.is_empty() && !world.client_received.is_empty());
        assert!(opened, "channel did not open with seed {seed}");
        let expected = SctpEvent::Open { channel: 0, label: "chat".into(), protocol: String::new() };
        assert_eq!(world.events.remove(0), expected);
        let (id, identifier, ack) = world.client_received.remove(0);
        assert_eq!((id, identifier, ack.as_slice()), (0, Ppid::Dcep, &[2][..]));
        world
    }

    fn payloads(&self) -> Vec<Vec<u8>> {
        let payload = |event: &SctpEvent| match event {
            SctpEvent::Message { payload, .. } => Some(payload.clone()),
            _ => None,
        };
        self.events.iter().filter_map(payload).collect()
    }
}

#[test]
fn an_endpoint_may_move_to_its_worker() {
    fn assert_send<T: Send>(_: &T) {}
    assert_send(&SctpEndpoint::new(0));
}

#[test]
fn association_comes_up_over_any_bad_network() {
    // Worse, and the client itself gives up now and then after its 8 attempts.
    for seed in 0..200 {
        let world = World::connected(seed, 20);
        assert!(world.server.is_connected());
    }
}

#[test]
fn answer_that_is_late_does_not_lose_the_association() {
    let mut world = World::new(1, 0);
    world.collect();
    let (_, _, init) = world.flying.remove(0);
    world.deliver(true, init.clone());
    let late = world.server.poll_packet(world.now).unwrap();
    world.deliver(true, init);
    assert_eq!(world.server.poll_packet(world.now).unwrap(), late, "the second answer must be the first one");
    world.deliver(false, late);
    assert!(world.run(10, |world| world.server.is_connected()));
}

#[test]
fn text_binary_empty_and_large_messages_arrive_in_order_in_both_directions() {
    for loss_percent in [0, 10] {
        let mut world = World::with_channel(3, loss_percent);
        let large: Vec<u8> = (0..40 * 1024u32).map(|byte| (byte % 251) as u8).collect();
        world.client_send(0, Ppid::String, "grüezi".as_bytes());
        world.client_send(0, Ppid::StringEmpty, &[0]);
        world.client_send(0, Ppid::BinaryEmpty, &[0]);
        world.client_send(0, Ppid::Binary, &large);
        assert!(world.server.send(world.now, 0, true, "bonjour".as_bytes()));
        assert!(world.server.send(world.now, 0, true, b""));
        assert!(world.server.send(world.now, 0, false, b""));
        assert!(world.server.send(world.now, 0, false, &large));
        assert!(world.run(120, |world| world.events.len() == 4 && world.client_received.len() == 4));
        let message = |text, payload: &[u8]| SctpEvent::Message { channel: 0, text, payload: payload.to_vec() };
        let expected = ["grüezi".as_bytes(), b"", b"", &large];
        let texts = [true, true, false, false];
        assert!(world.events.iter().eq(&std::array::from_fn::<_, 4, _>(|i| message(texts[i], expected[i]))));
        let received: Vec<_> =
            world.client_received.iter().map(|(_, ppi, payload)| (*ppi, payload.as_slice())).collect();
        let zero: &[u8] = &[0];
        let expected = [
            (Ppid::String, &b"bonjour"[..]),
            (Ppid::StringEmpty, zero),
            (Ppid::BinaryEmpty, zero),
            (Ppid::Binary, &large),
        ];
        assert_eq!(received, expected);
        assert!(world.drops.is_empty(), "{:?}", world.drops);
    }
}

#[test]
fn every_channel_type_opens_and_keeps_its_promise() {
    let types = [
        (ChannelType::Reliable, 0, true, true),
        (ChannelType::ReliableUnordered, 0, true, false),
        (ChannelType::PartialReliableRexmit, 0, false, true),
        (ChannelType::PartialReliableRexmitUnordered, 1, false, false),
        (ChannelType::PartialReliableTimed, 50, false, true),
        (ChannelType::PartialReliableTimedUnordered, 50, false, false),
    ];
    for (channel_type, parameter, reliable, ordered) in types {
        let mut world = World::connected(5, 15);
        world.client_open(4, channel_type, parameter, "vitals");
        assert!(world.run(60, |world| !world.events.is_empty() && !world.client_received.is_empty()));
        world.events.clear();
        world.client_received.clear();
        for number in 0..100u8 {
            world.client_send(4, Ppid::Binary, &[number]);
            assert!(world.server.send(world.now, 4, false, &[number]));
            world.run(1, |_| false);
        }
        world.run(120, |_| false);
        let ours: Vec<u8> = world.payloads().concat();
        let theirs: Vec<u8> = world.client_received.iter().flat_map(|(_, _, payload)| payload.clone()).collect();
        for numbers in [ours, theirs] {
            let mut sorted = numbers.clone();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(sorted.len(), numbers.len(), "{channel_type:?}: delivered twice");
            assert!(!ordered || numbers.is_sorted(), "{channel_type:?}: out of order");
            assert!(numbers.len() == 100 || (!reliable && numbers.len() > 50), "{channel_type:?}: {}", numbers.len());
        }
    }
}

#[test]
fn we_open_a_channel_with_an_odd_number_and_wait_for_the_acknowledgement() {
    let mut world = World::connected(1, 0);
    let id = world.server.open(world.now, "control").unwrap();
    assert_eq!(id, 1);
    assert!(!world.server.send(world.now, id, true, b"too early"));
    assert!(world.run(10, |world| !world.client_received.is_empty()));
    assert_eq!(world.client_received[0].1, Ppid::Dcep);
    world.client_send(id, Ppid::Dcep, &message_bytes(&Message::DataChannelAck(DataChannelAck)));
    assert!(world.run(10, |world| !world.events.is_empty()));
    assert_eq!(world.events[0], SctpEvent::Open { channel: 1, label: "control".into(), protocol: String::new() });
    assert!(world.server.send(world.now, id, true, b"now"));
    assert!(world.run(10, |world| world.client_received.len() == 2));
    assert_eq!(world.server.open(world.now, "another"), Some(3));
}

#[test]
fn channels_past_the_limit_are_reset_and_the_others_live() {
    let mut world = World::connected(1, 0);
    for channel in 0..=SctpEndpoint::CHANNELS_MAX as u16 {
        world.client_open(2 * channel, ChannelType::Reliable, 0, "many");
        world.run(5, |_| false);
    }
    let opened = world.events.iter().filter(|event| matches!(event, SctpEvent::Open { .. })).count();
    assert_eq!(opened, SctpEndpoint::CHANNELS_MAX);
    assert_eq!(world.drops, [DropReason::DataRefused]);
    assert!(world.run(60, |world| world.client_lost.contains(&32)), "the refused channel stays open there");
    assert!(world.server.send(world.now, 30, true, b"alive"));
    assert_eq!(world.server.open(world.now, "ours"), None);
}

#[test]
fn messages_over_a_limit_are_refused_and_the_channel_lives() {
    let mut world = World::with_channel(1, 0);
    world.client_send(0, Ppid::Binary, &vec![1; SctpEndpoint::MESSAGE_LEN_MAX + 1]);
    world.client_send(0, Ppid::Binary, &vec![2; SctpEndpoint::MESSAGE_LEN_MAX]);
    assert!(world.run(60, |world| !world.events.is_empty()));
    assert_eq!(world.payloads(), [vec![2; SctpEndpoint::MESSAGE_LEN_MAX]]);
    assert_eq!(world.drops, [DropReason::DataRefused]);

    assert!(!world.server.send(world.now, 0, false, &vec![0; SctpEndpoint::MESSAGE_LEN_MAX + 1]));
    assert!(!world.server.send(world.now, 2, false, b"no such channel"));
    let accepted = (0..100).filter(|_| world.server.send(world.now, 0, false, &[0; 16 * 1024])).count();
    assert_eq!(accepted * 16 * 1024, SctpEndpoint::BUFFERED_BYTES_MAX);
    assert!(world.run(60, |world| world.client_received.len() == accepted));
    assert!(world.server.send(world.now, 0, false, b"there is room again"));

    let mut small = SctpEndpoint::new(1000);
    assert!(!small.send(world.now, 0, false, b"not connected"));
}

#[test]
fn the_far_side_s_message_limit_is_kept() {
    let mut world = World::new(1, 0);
    world.server = SctpEndpoint::new(1000);
    assert!(world.run(10, |world| world.server.is_connected() && !world.client.is_handshaking()));
    world.client_open(0, ChannelType::Reliable, 0, "small");
    assert!(world.run(10, |world| !world.events.is_empty()));
    assert!(world.server.send(world.now, 0, false, &[0; 1000]));
    assert!(!world.server.send(world.now, 0, false, &[0; 1001]));
}

#[test]
fn a_channel_closes_from_either_side_and_its_number_can_be_used_again() {
    let mut world = World::with_channel(1, 0);
    world.client_send(0, Ppid::String, b"last words");
    let now = world.now;
    world.client.stream(0).unwrap().close(now).unwrap();
    assert!(world.run(60, |world| world.events.contains(&SctpEvent::Closed { channel: 0 })));
    assert_eq!(world.payloads(), [b"last words"]);
    assert!(!world.server.send(world.now, 0, true, b"late"));

    world.run(10, |_| false);
    world.events.clear();
    world.client_open(2, ChannelType::Reliable, 0, "next");
    assert!(world.run(10, |world| !world.events.is_empty()));
    world.server.close(world.now, 2);
    assert!(world.run(60, |world| world.client_lost.contains(&2)));
    assert_eq!(world.events.last(), Some(&SctpEvent::Closed { channel: 2 }));
}

#[test]
fn abort_closes_every_channel() {
    let mut world = World::with_channel(1, 0);
    world.client.abort().unwrap();
    assert!(world.run(10, |world| world.events.contains(&SctpEvent::Closed { channel: 0 })));
    assert!(!world.server.is_connected());
    assert!(!world.server.send(world.now, 0, true, b"late"));
    assert_eq!(world.server.poll_timeout(), None);
}

/// A peer that writes its own packets.
struct Hostile {
    now: Instant,
    server: SctpEndpoint,
    tag: u32,
}

fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0x82F6_3B78 & (crc & 1).wrapping_neg()))
    })
}

fn chunk(kind: u8, flags: u8, value: &[u8]) -> Vec<u8> {
    let mut chunk = vec![kind, flags];
    chunk.extend_from_slice(&((4 + value.len()) as u16).to_be_bytes());
    chunk.extend_from_slice(value);
    chunk.resize(chunk.len().next_multiple_of(4), 0);
    chunk
}

const WHOLE: u8 = 3;
const BEGIN: u8 = 2;
const MIDDLE: u8 = 0;
const END: u8 = 1;

fn data(flags: u8, tsn: u32, stream: u16, ssn: u16, identifier: u32, payload: &[u8]) -> Vec<u8> {
    let fields =
        [&tsn.to_be_bytes()[..], &stream.to_be_bytes(), &ssn.to_be_bytes(), &identifier.to_be_bytes(), payload];
    chunk(0, flags, &fields.concat())
}

impl Hostile {
    fn connected(initial_tsn: u32) -> Self {
        let mut hostile = Self { now: Instant::now(), server: SctpEndpoint::new(0), tag: 0 };
        let init = [&77u32.to_be_bytes()[..], &[0, 4, 0, 0, 4, 0, 4, 0], &initial_tsn.to_be_bytes()].concat();
        // With the FORWARD TSN extension (RFC 3758), as browsers do.
        hostile.send(&[chunk(1, 0, &[&init[..], &[0xc0, 0, 0, 4], &[0x80, 8, 0, 5, 192, 0, 0, 0]].concat())]).unwrap();
        let answer = hostile.server.poll_packet(hostile.now).unwrap();
        hostile.tag = u32::from_be_bytes(answer[16..20].try_into().unwrap());
        let cookie = answer.windows(2).enumerate().skip(32).find(|(_, kind)| *kind == [0, 7]).unwrap().0;
        let len = usize::from(u16::from_be_bytes([answer[cookie + 2], answer[cookie + 3]]));
        let cookie = answer[cookie + 4..cookie + len].to_vec();
        hostile.send(&[chunk(10, 0, &cookie)]).unwrap();
        assert!(hostile.server.is_connected());
        hostile
    }

    fn packet(&self, chunks: &[Vec<u8>]) -> Vec<u8> {
        let mut packet = [&[0x13, 0x88, 0x13, 0x88][..], &self.tag.to_be_bytes(), &[0; 4], &chunks.concat()].concat();
        let checksum = crc32c(&packet).to_le_bytes();
        packet[8..12].copy_from_slice(&checksum);
        packet
    }

    fn send(&mut self, chunks: &[Vec<u8>]) -> Result<(), DropReason> {
        let packet = self.packet(chunks);
        self.server.handle_packet(self.now, &packet)
    }

    fn sent_by_server(&mut self) -> Vec<Bytes> {
        std::iter::from_fn(|| self.server.poll_packet(self.now)).collect()
    }

    fn open(&mut self, tsn: u32) {
        self.send(&[data(WHOLE, tsn, 0, 0, 50, &open_message(ChannelType::Reliable, 0, "x"))]).unwrap();
        assert!(matches!(self.server.poll_event(), Some(SctpEvent::Open { channel: 0, .. })));
        self.sent_by_server();
    }
}

#[test]
fn sequence_numbers_wrap_in_the_middle_of_a_message() {
    let mut hostile = Hostile::connected(u32::MAX - 1);
    hostile.open(u32::MAX - 1);
    for (flags, tsn, letter) in [(BEGIN, u32::MAX, b"a"), (MIDDLE, 0, b"b"), (END, 1, b"c")] {
        hostile.send(&[data(flags, tsn, 0, 1, 51, letter)]).unwrap();
    }
    let expected = SctpEvent::Message { channel: 0, text: true, payload: b"abc".to_vec() };
    assert_eq!(hostile.server.poll_event(), Some(expected));
}

#[test]
fn a_message_without_end_ends_the_association_and_is_told_so() {
    let mut hostile = Hostile::connected(1);
    hostile.open(1);
    let mut accepted = 0;
    let refused = loop {
        let flags = if accepted == 0 { BEGIN } else { MIDDLE };
        if let Err(reason) = hostile.send(&[data(flags, 2 + accepted, 0, 1, 53, &[0; 1000])]) {
            break reason;
        }
        hostile.sent_by_server();
        accepted += 1;
        assert!(accepted < 20_000, "memory grows without end");
    };
    assert_eq!(refused, DropReason::DataRefused);
    assert_eq!(hostile.server.poll_event(), Some(SctpEvent::Closed { channel: 0 }));
    assert_eq!(hostile.sent_by_server().last().unwrap()[12], 6, "no ABORT");
    assert_eq!(hostile.send(&[data(END, 9000, 0, 1, 53, b"x")]), Err(DropReason::SctpMalformed));
}

#[test]
fn a_jump_of_the_sequence_numbers_costs_no_time() {
    let mut hostile = Hostile::connected(1);
    hostile.open(1);
    let started = Instant::now();
    for distance in [10_000u32, 1 << 20, (1 << 31) - 2] {
        assert_eq!(hostile.send(&[chunk(192, 0, &distance.to_be_bytes())]), Err(DropReason::SctpMalformed));
    }
    assert!(started.elapsed() < Duration::from_secs(1));
    hostile.send(&[data(WHOLE, 2, 0, 1, 51, b"still here")]).unwrap();
    assert!(matches!(hostile.server.poll_event(), Some(SctpEvent::Message { .. })));
}

#[test]
fn packets_with_a_bad_checksum_or_tag_change_nothing() {
    let mut hostile = Hostile::connected(1);
    hostile.open(1);
    let good = hostile.packet(&[data(WHOLE, 2, 0, 1, 51, b"hello")]);
    let now = hostile.now;
    for position in 0..good.len() {
        let mut bad = good.clone();
        bad[position] ^= 0x40;
        assert_eq!(hostile.server.handle_packet(now, &bad), Err(DropReason::SctpMalformed), "byte {position}");
    }
    hostile.tag ^= 1;
    assert_eq!(hostile.send(&[data(WHOLE, 2, 0, 1, 51, b"hello")]), Err(DropReason::SctpMalformed));
    assert_eq!(hostile.send(&[chunk(6, 0, &[])]), Err(DropReason::SctpMalformed));
    assert!(hostile.server.poll_event().is_none());
    hostile.server.handle_packet(now, &good).unwrap();
    assert!(hostile.server.poll_event().is_some());
}

#[test]
fn messages_on_unopened_channels_and_bad_control_messages_are_refused() {
    let mut hostile = Hostile::connected(1);
    let bad: [(u16, u32, &[u8]); 6] = [
        (0, 51, b"no channel"),
        (2, 50, &[0, 1, 2, 3]),
        (4, 50, &[3, 0, 0, 0]),
        (6, 50, &[3, 0x55, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        (8, 50, &[3, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]),
        (10, 50, &[3, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0xff, 0xfe]),
    ];
    for (tsn, (stream, identifier, payload)) in (1..).zip(bad) {
        let result = hostile.send(&[data(WHOLE, tsn, stream, 0, identifier, payload)]);
        assert_eq!(result, Err(DropReason::DataRefused), "stream {stream}");
    }
    assert!(hostile.server.poll_event().is_none());
    assert!(hostile.server.is_connected());
}

/// Noise in which small numbers, which reach further, are common.
fn noise(dice: &mut Dice, len: u64) -> Vec<u8> {
    (0..len).map(|_| if dice.below(3) > 0 { dice.below(3) as u8 } else { dice.below(256) as u8 }).collect()
}

/// Parameters or error causes of types that the library knows, mostly with honest lengths.
fn parameters(dice: &mut Dice) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..dice.below(4) {
        let kind = [1u16, 7, 12, 13, 13, 16, 5, 192, 0x8002, 0x8003, 0x8004, 0x8008, 0xc000, 0xc123];
        let kind = kind[dice.below(kind.len() as u64) as usize];
        let extent = [0, 4, 8, 12, 14, 16, 33][dice.below(7) as usize];
        let value = noise(dice, extent);
        let len = if dice.below(15) == 0 { dice.below(40) } else { 4 + value.len() as u64 };
        bytes.extend_from_slice(&kind.to_be_bytes());
        bytes.extend_from_slice(&(len as u16).to_be_bytes());
        bytes.extend_from_slice(&value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}

fn random_chunk(dice: &mut Dice, tsn: u32) -> Vec<u8> {
    let near = |dice: &mut Dice| tsn.wrapping_add(dice.below(12) as u32).wrapping_sub(4).to_be_bytes();
    let kinds = [0, 0, 0, 0, 0, 1, 2, 3, 3, 4, 5, 7, 8, 9, 10, 11, 14, 64, 130, 130, 192, 192, 6, 255];
    let kind = kinds[dice.below(kinds.len() as u64) as usize];
    let extent = dice.below(40);
    let value = match kind {
        0 => {
            let fields = [&near(dice)[..], &[0, dice.below(3) as u8, 0, dice.below(4) as u8, 0, 0, 0]].concat();
            [fields, vec![50 + dice.below(8) as u8], noise(dice, extent)].concat()
        }
        1 => [noise(dice, 16), parameters(dice)].concat(),
        3 => {
            let counts = [0, dice.below(3) as u8, 0, dice.below(2) as u8];
            [&near(dice)[..], &[0, 4, 0, 0], &counts, &noise(dice, extent)].concat()
        }
        4 | 6 | 130 => parameters(dice),
        192 => [&near(dice)[..], &noise(dice, extent)].concat(),
        _ => noise(dice, extent),
    };
    let mut bytes = chunk(kind, dice.below(8) as u8, &value);
    if dice.below(20) == 0 {
        bytes[3] = dice.below(80) as u8;
    }
    bytes
}

#[test]
fn random_chunks_never_panic_and_never_take_long() {
    let mut dice = Dice(9);
    let (started, mut taken) = (Instant::now(), 0);
    for _ in 0..5000 {
        let tsn = [5, u32::MAX - 3, 1 << 31][dice.below(3) as usize];
        let mut hostile = Hostile::connected(tsn);
        hostile.open(tsn);
        for _ in 0..40 {
            let chunks: Vec<_> = (0..1 + dice.below(3)).map(|_| random_chunk(&mut dice, tsn)).collect();
            taken += usize::from(hostile.send(&chunks).is_ok());
            hostile.server.send(hostile.now, 0, false, &[1; 3000]);
            if dice.below(5) == 0 {
                hostile.now += Duration::from_millis(dice.below(3000));
                let now = hostile.now;
                hostile.server.handle_timeout(now);
            }
            assert!(hostile.sent_by_server().len() < 300);
            while hostile.server.poll_event().is_some() {}
            if !hostile.server.is_connected() {
                break;
            }
        }
    }
    assert!(taken > 10_000, "only {taken} packets reached the library");
    assert!(started.elapsed() < Duration::from_secs(60));
}

#[test]
fn random_first_packets_never_panic() {
    let mut dice = Dice(4);
    for _ in 0..50_000 {
        let mut hostile = Hostile { now: Instant::now(), server: SctpEndpoint::new(0), tag: 0 };
        let init = [noise(&mut dice, 16), parameters(&mut dice)].concat();
        let _ = hostile.send(&[chunk(1, 0, &init)]);
        let second = random_chunk(&mut dice, 1);
        let _ = hostile.send(&[second]);
        let len = dice.below(120);
        let _ = hostile.server.handle_packet(hostile.now, &noise(&mut dice, len));
        hostile.sent_by_server();
    }
}
