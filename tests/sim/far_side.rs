//! A simulated page as the network sees it: ICE checks, handshake, SRTP both ways, RTCP like a browser's.
//!
//! Checks are written by `rtc-stun`, which shares no code with the product.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use colloque::ids::{LegId, PayloadType, SeatId, Ssrc};
use colloque::rtp::codec::{MediaKind, PayloadMap, PayloadMapping, Source};
use colloque::rtp::demux::{Class, classify};
use colloque::rtp::extension::{ExtensionKind, ExtensionMap};
use colloque::rtp::packet::{HeaderFields, HeaderWriter, RtpHeader};
use colloque::rtp::rtcp::{Arrival, CompoundWriter, ReportBlock, Rtcp, SenderInfo, packets};
use colloque::rtp::seq::{SeqExtender, SeqNo};
use colloque::transport::dtls::DtlsEvent;
use colloque::transport::dtls_sim::SimDtlsClient;
use colloque::transport::parameters::{Fingerprint, IceCredentials};
use colloque::transport::srtp::{EgressSrtp, IngressSrtp};
use rand::Rng;
use rand::rngs::StdRng;
use rtc_srtp::crypto::RTCCryptoProvider;
use rtc_srtp::crypto::providers::AwsLcRsProvider;
use rtc_stun::attributes::{ATTR_ICE_CONTROLLING, ATTR_PRIORITY, ATTR_USE_CANDIDATE, ATTR_USERNAME};
use rtc_stun::fingerprint::FINGERPRINT;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{BINDING_REQUEST, BINDING_SUCCESS, Message, Setter, TransactionId};

use super::data::DataSide;
use super::network::Link;
use super::publisher::{Plain, Publisher};
use super::receiver::{Heard, Receiver};
use super::wire::{Format, Marker, newest_block};

/// How a page numbers codecs and extensions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dialect {
    Chromium,
    Firefox,
}

impl Dialect {
    /// Payload types of the codec and of its retransmissions.
    pub fn payload_types(self, format: Format) -> (u8, Option<u8>) {
        match (self, format) {
            (Dialect::Chromium, Format::Opus) => (111, None),
            (Dialect::Chromium, Format::Vp8) => (96, Some(97)),
            (Dialect::Chromium, Format::Vp9 | Format::Vp9Flexible) => (98, Some(99)),
            (Dialect::Chromium, Format::H264) => (103, Some(104)),
            (Dialect::Chromium, Format::Av1Sealed) => (45, Some(46)),
            (Dialect::Firefox, Format::Opus) => (109, None),
            (Dialect::Firefox, Format::Vp8) => (120, Some(124)),
            (Dialect::Firefox, Format::Vp9 | Format::Vp9Flexible) => (121, Some(125)),
            (Dialect::Firefox, Format::H264) => (126, Some(127)),
            (Dialect::Firefox, Format::Av1Sealed) => (99, Some(100)),
        }
    }

    fn red(self) -> u8 {
        match self {
            Dialect::Chromium => 63,
            Dialect::Firefox => 118,
        }
    }

    pub fn extensions(self) -> ExtensionMap {
        use ExtensionKind::*;
        let ids = match self {
            Dialect::Chromium => [
                (AudioLevel, 1),
                (AbsSendTime, 2),
                (TransportCc, 3),
                (Mid, 4),
                (Rid, 10),
                (RepairedRid, 11),
                (DependencyDescriptor, 12),
            ],
            Dialect::Firefox => [
                (AudioLevel, 1),
                (Mid, 3),
                (AbsSendTime, 4),
                (TransportCc, 7),
                (Rid, 10),
                (RepairedRid, 9),
                (DependencyDescriptor, 15),
            ],
        };
        let mut map = ExtensionMap::default();
        ids.into_iter().for_each(|(kind, id)| map.set(kind, id));
        map
    }

    pub fn payloads(self, formats: &[Format], red: bool) -> PayloadMap {
        let mapping = |&format: &Format| {
            let (media, rtx) = self.payload_types(format);
            PayloadMapping {
                payload_type: PayloadType(media),
                codec: format.codec(),
                rtx: rtx.map(PayloadType),
                red: (red && format == Format::Opus).then(|| PayloadType(self.red())),
            }
        };
        PayloadMap::new(formats.iter().map(mapping).collect())
    }

    fn format(self, formats: &[Format], payload_type: u8) -> Option<Format> {
        formats.iter().copied().find(|&format| self.payload_types(format).0 == payload_type)
    }
}

/// The far side of one leg.
pub struct FarSide {
    pub seat: SeatId,
    pub leg: LegId,
    pub dialect: Dialect,
    pub formats: Vec<Format>,
    pub red: bool,
    pub address: SocketAddr,
    pub up: Link,
    pub down: Link,
    pub up_last: Instant,
    pub down_last: Instant,
    pub publishers: Vec<Publisher>,
    pub receivers: Vec<Receiver>,
    /// Slot and publisher of every packet since the world looked.
    pub heard: Vec<(usize, u32)>,
    /// Packets of each publisher's that came, those sent again included.
    pub heard_of: HashMap<u32, u64>,
    pub data: Option<DataSide>,
    pub connected_at: Option<Instant>,
    pub feedback_heard: u64,
    /// Gone: says and hears nothing.
    pub dead: bool,
    /// RTP packets that came, retransmissions included.
    pub rtp_heard: u64,
    /// Sent with every packet until then.
    names_until: Instant,
    start: Instant,
    local: IceCredentials,
    server: IceCredentials,
    check: Option<([u8; 12], Instant)>,
    check_due: Instant,
    answered: bool,
    dtls: SimDtlsClient,
    srtp: Option<(EgressSrtp, IngressSrtp)>,
    transport_cc: u16,
    arrivals: Vec<Arrival>,
    arrival_numbers: SeqExtender,
    feedback_count: u8,
    feedback_due: Instant,
    reports_due: Instant,
    reporter: Ssrc,
    /// Their wall clock, in NTP format, when the simulation began.
    clock: u64,
    random: StdRng,
    pub outbox: Vec<Vec<u8>>,
    fingerprint: [u8; 32],
}

/// What a far side begins with.
pub struct Beginning {
    pub seat: SeatId,
    pub leg: LegId,
    pub dialect: Dialect,
    pub formats: Vec<Format>,
    pub red: bool,
    pub address: SocketAddr,
    pub link: Link,
    pub publishers: Vec<Publisher>,
    pub receivers: Vec<Receiver>,
    pub data: bool,
    pub local: IceCredentials,
    pub server: IceCredentials,
    pub dtls: SimDtlsClient,
    pub fingerprint: [u8; 32],
    pub random: StdRng,
}

impl FarSide {
    pub fn new(start: Instant, now: Instant, begin: Beginning) -> Self {
        let mut random = begin.random;
        Self {
            seat: begin.seat,
            leg: begin.leg,
            dialect: begin.dialect,
            formats: begin.formats,
            red: begin.red,
            address: begin.address,
            up: begin.link,
            down: begin.link,
            up_last: now,
            down_last: now,
            publishers: begin.publishers,
            receivers: begin.receivers,
            heard: Vec::new(),
            heard_of: HashMap::new(),
            data: begin.data.then(|| DataSide::new(now)),
            connected_at: None,
            feedback_heard: 0,
            dead: false,
            rtp_heard: 0,
            names_until: now + Duration::from_secs(2),
            start,
            local: begin.local,
            server: begin.server,
            check: None,
            check_due: now,
            answered: false,
            dtls: begin.dtls,
            srtp: None,
            transport_cc: random.random(),
            arrivals: Vec::new(),
            arrival_numbers: SeqExtender::new(),
            feedback_count: 0,
            feedback_due: now,
            reports_due: now + Duration::from_millis(random.random_range(50..1000)),
            reporter: Ssrc(random.random()),
            clock: random.random_range(1 << 60..1 << 62),
            random,
            outbox: Vec::new(),
            fingerprint: begin.fingerprint,
        }
    }

    /// Moves to another address, as a telephone that leaves its WLAN.
    pub fn move_to(&mut self, now: Instant, address: SocketAddr) {
        self.address = address;
        self.check_due = now;
    }

    pub fn restart_ice(&mut self, now: Instant, local: IceCredentials, server: IceCredentials) {
        (self.local, self.server, self.check_due, self.check) = (local, server, now, None);
    }

    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::Sha256(self.fingerprint)
    }

    pub fn credentials(&self) -> IceCredentials {
        self.local.clone()
    }

    pub fn publisher(&mut self, source: Source) -> &mut Publisher {
        self.publishers.iter_mut().find(|publisher| publisher.source == source).expect("a published source")
    }

    pub fn receiver(&self, slot: u16, kind: MediaKind) -> &Receiver {
        let is = |receiver: &&Receiver| receiver.slot.0 == slot && receiver.kind == kind;
        self.receivers.iter().find(is).expect("a receiving section")
    }

    /// Shuts DTLS down, as a page that is closed properly.
    pub fn close(&mut self) {
        self.dtls.close();
        self.drain_dtls(self.start);
    }

    pub fn handle(&mut self, now: Instant, bytes: &mut [u8]) {
        if self.dead {
            return;
        }
        match classify(bytes) {
            Some(Class::Stun) => self.handle_stun(now, bytes),
            Some(Class::Dtls) => {
                self.dtls.handle_datagram(now, bytes);
                self.drain_dtls(now);
            }
            Some(Class::Rtp) => self.handle_rtp(now, bytes),
            Some(Class::Rtcp) => self.handle_rtcp(now, bytes),
            None => panic!("the server sent what nobody can classify"),
        }
    }

    /// Does what is due.
    pub fn poll(&mut self, now: Instant) {
        if self.dead {
            return;
        }
        if now >= self.check_due {
            self.send_check(now);
        }
        if !self.answered {
            return;
        }
        if self.dtls.poll_timeout().is_some_and(|due| due <= now) {
            self.dtls.handle_timeout(now);
        }
        self.drain_dtls(now);
        if self.srtp.is_none() {
            return;
        }
        self.publish(now);
        let mut wanted = Vec::new();
        let mut lost = Vec::new();
        for receiver in &mut self.receivers {
            if receiver.play(now) {
                wanted.push(receiver.ssrc);
            }
            let missing = receiver.poll_nack(now);
            if !missing.is_empty() {
                lost.push((receiver.ssrc, missing));
            }
        }
        let reporter = self.reporter;
        for (media, missing) in lost {
            self.send_rtcp(|writer| writer.nack(reporter, media, missing));
        }
        for media in wanted {
            self.send_rtcp(|writer| writer.pli(reporter, media));
        }
        self.send_reports(now);
    }

    /// The page asks for a keyframe, whatever for.
    pub fn ask_keyframe(&mut self, slot: u16) {
        let (reporter, media) = (self.reporter, self.receiver(slot, MediaKind::Video).ssrc);
        self.send_rtcp(|writer| writer.pli(reporter, media));
    }

    /// Sends plain bytes sealed as RTCP, to see what the server makes of them.
    pub fn send_rtcp(&mut self, fill: impl FnOnce(&mut CompoundWriter<'_>) -> bool) {
        let Some((egress, _)) = &mut self.srtp else { return };
        let mut bytes = vec![0; 1500];
        let mut writer = CompoundWriter::new(&mut bytes[..1400]);
        assert!(fill(&mut writer), "an RTCP packet that fits");
        let len = writer.len();
        let sealed = egress.seal_rtcp(&mut bytes, len);
        bytes.truncate(sealed);
        self.outbox.push(bytes);
    }

    /// Seals a plain RTP packet of any content.
    pub fn send_plain(&mut self, now: Instant, publisher: usize, plain: &Plain) {
        let names = now < self.names_until;
        let format = self.publishers[publisher].format;
        let (media, rtx) = self.dialect.payload_types(format);
        let payload_type = match (plain.repair, plain.red) {
            (true, _) => rtx.expect("a codec with retransmissions"),
            (false, true) => self.dialect.red(),
            (false, false) => media,
        };
        let fields = HeaderFields {
            marker: plain.marker,
            payload_type: PayloadType(payload_type),
            sequence: plain.seq as u16,
            timestamp: plain.timestamp,
            ssrc: plain.ssrc,
        };
        let map = self.dialect.extensions();
        let id = |kind| map.id(kind).expect("every dialect has it");
        let mut bytes = vec![0; 1600];
        let mut writer = HeaderWriter::new(&mut bytes, fields, map.needs_two_byte());
        self.transport_cc = self.transport_cc.wrapping_add(1);
        writer.extension(id(ExtensionKind::TransportCc), &self.transport_cc.to_be_bytes());
        if names || plain.repair {
            writer.extension(id(ExtensionKind::Mid), self.publishers[publisher].mid.as_bytes());
            if let Some(rid) = plain.rid {
                let kind = if plain.repair { ExtensionKind::RepairedRid } else { ExtensionKind::Rid };
                writer.extension(id(kind), rid.as_bytes());
            }
        }
        if let Some(level) = plain.level {
            writer.extension(id(ExtensionKind::AudioLevel), &[u8::from(level < 100) << 7 | level]);
        }
        if let Some(descriptor) = &plain.descriptor {
            assert!(writer.extension(id(ExtensionKind::DependencyDescriptor), descriptor));
        }
        let header_len = writer.finish();
        let len = header_len + plain.payload.len();
        bytes[header_len..len].copy_from_slice(&plain.payload);
        let Some((egress, _)) = &self.srtp else { return };
        let sealed = egress.seal_rtp(&mut bytes, header_len, len, SeqNo(plain.seq));
        assert!(sealed > len);
        bytes.truncate(sealed);
        self.outbox.push(bytes);
    }

    fn publish(&mut self, now: Instant) {
        for at in 0..self.publishers.len() {
            for plain in self.publishers[at].poll(self.start, now, &mut self.random) {
                self.send_plain(now, at, &plain);
            }
        }
    }

    fn send_check(&mut self, now: Instant) {
        // Quick while unanswered, as a browser on a path that fell silent.
        let unanswered = self.check.is_some() || !self.answered;
        self.check_due = now + Duration::from_millis(if unanswered { 200 } else { 2500 });
        let transaction: [u8; 12] = self.random.random();
        self.check = Some((transaction, now));
        let mut message = Message::new();
        message
            .build(&[Box::new(BINDING_REQUEST), Box::new(TransactionId(transaction))])
            .expect("a header that can be written");
        message.add(ATTR_USERNAME, format!("{}:{}", self.server.ufrag, self.local.ufrag).as_bytes());
        message.add(ATTR_ICE_CONTROLLING, &[7; 8]);
        message.add(ATTR_USE_CANDIDATE, &[]);
        message.add(ATTR_PRIORITY, &[0x6e, 0, 0x1e, 0xff]);
        let provider = AwsLcRsProvider::new();
        let password = self.server.pwd.0.clone();
        let integrity = MessageIntegrity::new_short_term_integrity_with_provider(password, provider.crypto());
        integrity.add_to(&mut message).expect("integrity");
        FINGERPRINT.add_to(&mut message).expect("fingerprint");
        self.outbox.push(message.raw.to_vec());
    }

    fn handle_stun(&mut self, now: Instant, bytes: &[u8]) {
        let mut message = Message::new();
        message.unmarshal_binary(bytes).expect("a STUN message");
        let provider = AwsLcRsProvider::new();
        let password = self.server.pwd.0.clone();
        let Some((transaction, _)) = self.check else { return };
        if message.transaction_id.0 != transaction {
            return;
        }
        MessageIntegrity::check(&mut message, password.as_bytes(), provider.crypto()).expect("integrity of an answer");
        FINGERPRINT.check(&message).expect("fingerprint of an answer");
        assert_eq!(message.typ, BINDING_SUCCESS);
        self.check = None;
        self.check_due = now + Duration::from_millis(2500);
        self.answered = true;
    }

    fn drain_dtls(&mut self, now: Instant) {
        while let Some(event) = self.dtls.poll_event() {
            match event {
                DtlsEvent::Connected(connected) => {
                    let profile = connected.profile;
                    let egress = EgressSrtp::new(profile, &connected.keys.client);
                    self.srtp = Some((egress, IngressSrtp::new(profile, &connected.keys.server)));
                    self.connected_at = Some(now);
                    self.names_until = now + Duration::from_secs(2);
                }
                DtlsEvent::Data(data) => {
                    if let Some(side) = &mut self.data {
                        side.handle(now, &data);
                    }
                }
                DtlsEvent::Closed | DtlsEvent::Failed(_) => self.dead = true,
            }
        }
        if self.srtp.is_some()
            && let Some(side) = &mut self.data
        {
            for packet in side.poll(now) {
                self.dtls.send(&packet);
            }
        }
        let mut bytes = [0; 2048];
        while let Some(len) = self.dtls.poll_transmit(&mut bytes) {
            self.outbox.push(bytes[..len].to_vec());
        }
    }

    fn handle_rtp(&mut self, now: Instant, bytes: &mut [u8]) {
        let Some((_, ingress)) = &mut self.srtp else { return };
        // A doubled datagram is a replay; anything else must open.
        let Ok((len, index)) = ingress.open_rtp(bytes) else { return };
        self.rtp_heard += 1;
        let packet = &bytes[..len];
        let header = RtpHeader::parse(packet).expect("a well-formed packet");
        let map = self.dialect.extensions();
        let extension = |kind| map.id(kind).and_then(|id| header.extension(packet, id));
        if let Some(number) = extension(ExtensionKind::TransportCc) {
            let seq = self.arrival_numbers.extend(u16::from_be_bytes([number[0], number[1]]));
            self.arrivals.push(Arrival { seq, micros: (now - self.start).as_micros() as i64 });
        }
        for (id, _) in header.extensions(packet) {
            assert!(map.kind(id).is_some(), "extension {id} was not negotiated");
        }
        let is = |r: &&mut Receiver| r.ssrc == header.ssrc || r.rtx == Some(header.ssrc);
        let Some(receiver) = self.receivers.iter_mut().find(is) else {
            panic!("a packet on an SSRC that the answer did not declare");
        };
        let payload = header.payload(packet);
        let repair = receiver.rtx == Some(header.ssrc);
        let (seq, payload, media) = if repair {
            if payload.len() < 2 {
                return;
            }
            let wire = u16::from_be_bytes([payload[0], payload[1]]);
            let rtx = header.payload_type.0;
            let format = self.formats.iter().find(|&&f| self.dialect.payload_types(f).1 == Some(rtx));
            let format = *format.expect("a negotiated retransmission");
            (receiver.nearest(wire), &payload[2..], self.dialect.payload_types(format).0)
        } else if self.red && header.payload_type.0 == self.dialect.red() {
            (index.0, newest_block(payload), self.dialect.payload_types(Format::Opus).0)
        } else {
            (index.0, payload, header.payload_type.0)
        };
        let Some(format) = self.dialect.format(&self.formats, media) else {
            panic!("payload type {media} was not negotiated");
        };
        if let Some(marker) = Marker::find(payload) {
            self.heard.push((usize::from(receiver.slot.0), marker.publisher));
            *self.heard_of.entry(marker.publisher).or_default() += 1;
        }
        receiver.level = extension(ExtensionKind::AudioLevel).map(|value| value[0] & 0x7f);
        // Of the Vp9 formats only one is negotiated at a time.
        let heard = Heard {
            at: now,
            timestamp: header.timestamp,
            marker: header.marker,
            format,
            descriptor: extension(ExtensionKind::DependencyDescriptor).map(<[u8]>::to_vec),
            payload: payload.to_vec(),
        };
        receiver.handle(seq, heard, repair);
    }

    fn handle_rtcp(&mut self, now: Instant, bytes: &mut [u8]) {
        let Some((_, ingress)) = &mut self.srtp else { return };
        let Ok(len) = ingress.open_rtcp(bytes) else { return };
        for packet in packets(&bytes[..len]) {
            match packet.expect("a well-formed compound") {
                Rtcp::SenderReport { ssrc, ntp, rtp_timestamp, .. } => {
                    if let Some(receiver) = self.receivers.iter_mut().find(|receiver| receiver.ssrc == ssrc) {
                        (receiver.clock, receiver.report_at) = (Some((ntp, rtp_timestamp)), Some(now));
                    }
                }
                Rtcp::Nack { media, lost, .. } => {
                    for wire in lost {
                        let found =
                            self.publishers.iter_mut().enumerate().find_map(|(at, publisher)| {
                                publisher.handle_nack(media, wire).map(|plain| (at, plain))
                            });
                        if let Some((at, plain)) = found {
                            self.send_plain(now, at, &plain);
                        }
                    }
                }
                Rtcp::Pli { media, .. } => {
                    let known = self.publishers.iter_mut().any(|p| p.handle_keyframe_request(now, media));
                    assert!(known, "a keyframe request for a stream that is not ours");
                }
                Rtcp::TransportFeedback(feedback) => {
                    self.feedback_heard += feedback.arrivals().filter(|(_, at)| at.is_some()).count() as u64;
                }
                _ => {}
            }
        }
    }

    fn send_reports(&mut self, now: Instant) {
        let reporter = self.reporter;
        if now >= self.feedback_due && !self.arrivals.is_empty() {
            self.feedback_due = now + Duration::from_millis(100);
            let mut arrivals = std::mem::take(&mut self.arrivals);
            arrivals.sort_by_key(|arrival| arrival.seq);
            arrivals.dedup_by_key(|arrival| arrival.seq);
            let media = self.receivers.first().map_or(Ssrc(0), |receiver| receiver.ssrc);
            let count = self.feedback_count;
            self.feedback_count = count.wrapping_add(1);
            self.send_rtcp(|writer| writer.transport_feedback(reporter, media, count, &arrivals) > 0);
        }
        if now < self.reports_due {
            return;
        }
        self.reports_due = now + Duration::from_secs(1);
        let elapsed = (now - self.start).as_nanos();
        let ntp = self.clock.wrapping_add(((elapsed << 32) / 1_000_000_000) as u64);
        let mut senders = Vec::new();
        for publisher in &self.publishers {
            let clock = u64::from(publisher.format.codec().clock_rate());
            for layer in &publisher.layers {
                if let Some((at, timestamp)) = layer.last {
                    let ticks = ((now - at).as_micros() as u64 * clock / 1_000_000) as u32;
                    senders.push(SenderInfo {
                        ssrc: layer.ssrc,
                        ntp,
                        rtp_timestamp: timestamp.wrapping_add(ticks),
                        packets: layer.packets,
                        octets: layer.octets,
                    });
                }
            }
        }
        for sender in senders {
            self.send_rtcp(|writer| writer.sender_report(sender, []) && writer.sdes_cname(sender.ssrc, b"sim"));
        }
        let blocks: Vec<ReportBlock> = self.receivers.iter_mut().filter_map(|receiver| receiver.report(now)).collect();
        for chunk in blocks.chunks(31) {
            self.send_rtcp(|writer| writer.receiver_report(reporter, chunk.iter().copied()));
        }
    }
}
