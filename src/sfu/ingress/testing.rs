//! Packets for the tests of this module.

use crate::ids::{PayloadType, Ssrc};
use crate::rtp::extension::{ExtensionKind, ExtensionMap};
use crate::rtp::packet::{HeaderFields, HeaderWriter};
use crate::sfu::parameters::ShortName;

/// An id for every kind, in the order of [`ExtensionKind::ALL`].
pub(super) fn extension_map() -> ExtensionMap {
    let mut map = ExtensionMap::default();
    for (at, kind) in ExtensionKind::ALL.into_iter().enumerate() {
        map.set(kind, at as u8 + 1);
    }
    map
}

pub(super) fn name(name: &str) -> ShortName {
    ShortName::new(name.as_bytes()).unwrap()
}

/// Builds one RTP packet.
#[derive(Clone, Debug)]
pub(super) struct Packet {
    pub(super) fields: HeaderFields,
    extensions: Vec<(ExtensionKind, Vec<u8>)>,
    payload: Vec<u8>,
    padding: u8,
}

impl Packet {
    pub(super) fn new(ssrc: u32, sequence: u16) -> Self {
        let fields =
            HeaderFields { marker: false, payload_type: PayloadType(96), sequence, timestamp: 0, ssrc: Ssrc(ssrc) };
        Self { fields, extensions: Vec::new(), payload: vec![0; 8], padding: 0 }
    }

    pub(super) fn timestamp(mut self, timestamp: u32) -> Self {
        self.fields.timestamp = timestamp;
        self
    }

    pub(super) fn extension(mut self, kind: ExtensionKind, value: &[u8]) -> Self {
        self.extensions.push((kind, value.to_vec()));
        self
    }

    pub(super) fn payload(mut self, payload: &[u8]) -> Self {
        self.payload = payload.to_vec();
        self
    }

    pub(super) fn padding(mut self, padding: u8) -> Self {
        self.padding = padding;
        self
    }

    /// The same packet as an RFC 4588 repair on another SSRC.
    pub(super) fn repair(mut self, ssrc: u32, sequence: u16) -> Self {
        let original = std::mem::replace(&mut self.fields.sequence, sequence);
        self.fields.ssrc = Ssrc(ssrc);
        self.payload.splice(0..0, original.to_be_bytes());
        self
    }

    pub(super) fn build(&self) -> Vec<u8> {
        let map = extension_map();
        let mut header = [0; 256];
        let two_byte = self.extensions.iter().any(|(_, value)| value.len() > 16 || value.is_empty());
        let mut writer = HeaderWriter::new(&mut header, self.fields, two_byte);
        for (kind, value) in &self.extensions {
            assert!(writer.extension(map.id(*kind).unwrap(), value));
        }
        let len = writer.finish();
        let mut packet = header[..len].to_vec();
        packet.extend_from_slice(&self.payload);
        if self.padding > 0 {
            packet[0] |= 0x20;
            packet.extend(std::iter::repeat_n(0, usize::from(self.padding) - 1));
            packet.push(self.padding);
        }
        packet
    }
}
