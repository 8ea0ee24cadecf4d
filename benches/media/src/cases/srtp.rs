//! Sealing and opening one packet, for each protection profile.

use crate::ids::{PayloadType, Ssrc};
use crate::rtp::packet::{HeaderFields, HeaderWriter};
use crate::rtp::seq::SeqNo;
use crate::transport::srtp::{EgressSrtp, IngressSrtp, MasterKey, OVERHEAD_MAX, Profile};

use super::{BURST, Case, Row, SIZES};

pub(super) fn rows() -> Vec<Row> {
    let profiles =
        [("gcm128", Profile::AeadAes128Gcm), ("gcm256", Profile::AeadAes256Gcm), ("sha1_80", Profile::Aes128CmSha1_80)];
    let mut rows = Vec::new();
    for (name, profile) in profiles {
        for bytes in SIZES {
            let row = |what| format!("srtp/{what}/{name}/{bytes}");
            rows.push(Row::new(row("seal"), "packet", BURST as u64, move || Seal(Stream::new(profile, bytes))));
            rows.push(Row::new(row("open"), "packet", BURST as u64, move || Open::new(profile, bytes)));
        }
    }
    rows
}

/// A stream that goes on and on.
struct Stream {
    egress: EgressSrtp,
    payload_len: usize,
    next: SeqNo,
    packets: Vec<Packet>,
}

struct Packet {
    bytes: Vec<u8>,
    index: SeqNo,
    sealed: usize,
}

impl Stream {
    fn new(profile: Profile, payload_len: usize) -> Self {
        Self { egress: EgressSrtp::new(profile, &KEY), payload_len, next: SeqNo(1), packets: Vec::new() }
    }

    /// The next packets, plain.
    fn write(&mut self) {
        self.packets.clear();
        for _ in 0..BURST {
            let fields = HeaderFields {
                marker: false,
                payload_type: PayloadType(96),
                sequence: self.next.wire(),
                timestamp: self.next.0 as u32,
                ssrc: Ssrc(7),
            };
            let mut bytes = vec![0x5a; HEADER_LEN + self.payload_len + OVERHEAD_MAX];
            let header_len = HeaderWriter::new(&mut bytes, fields, false).finish();
            assert_eq!(header_len, HEADER_LEN);
            self.packets.push(Packet { bytes, index: self.next, sealed: 0 });
            self.next = self.next.next();
        }
    }

    fn seal(&mut self) {
        let len = HEADER_LEN + self.payload_len;
        for packet in &mut self.packets {
            packet.sealed = self.egress.seal_rtp(&mut packet.bytes, HEADER_LEN, len, packet.index);
        }
    }

    fn check(&self) {
        let longer = |packet: &Packet| packet.sealed > HEADER_LEN + self.payload_len;
        assert!(self.packets.iter().all(longer), "a tag behind each");
    }
}

struct Seal(Stream);

impl Case for Seal {
    fn prepare(&mut self) {
        self.0.write();
    }

    fn run(&mut self) {
        self.0.seal();
    }

    fn check(&mut self) {
        self.0.check();
    }
}

struct Open {
    far_side: Stream,
    ingress: IngressSrtp,
    opened: usize,
}

impl Open {
    fn new(profile: Profile, bytes: usize) -> Self {
        Self { far_side: Stream::new(profile, bytes), ingress: IngressSrtp::new(profile, &KEY), opened: 0 }
    }
}

impl Case for Open {
    fn prepare(&mut self) {
        self.far_side.write();
        self.far_side.seal();
        self.far_side.check();
        self.opened = 0;
    }

    fn run(&mut self) {
        for packet in &mut self.far_side.packets {
            let opened = self.ingress.open_rtp(&mut packet.bytes[..packet.sealed]);
            self.opened += usize::from(opened == Ok((HEADER_LEN + self.far_side.payload_len, packet.index)));
        }
    }

    fn check(&mut self) {
        assert_eq!(self.opened, BURST, "each opens under its number");
    }
}

const KEY: MasterKey = MasterKey { key: [0x3c; 32], salt: [0xa5; 14] };
const HEADER_LEN: usize = 12;
