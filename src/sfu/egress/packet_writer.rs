//! Writes a packet for one receiving section: a fresh header with that leg's numbers, and a copy of the payload with
//! the few bytes that differ between viewers.
//!
//! Not here: which packet and under which sequence number (`forwarder`), encryption (`transport::srtp`).
//! Invariant: the same arguments give the same bytes, so that a packet sent again under the same number without RTX
//! encrypts to the same ciphertext (RFC 7714 section 8 forbids two plaintexts under one number).

use crate::ids::{PayloadType, Ssrc};
use crate::rtp::codec::{Codec, PayloadMap};
use crate::rtp::extension::{ExtensionKind, ExtensionMap};
use crate::rtp::frame::rewrite_picture_numbers;
use crate::rtp::packet::{HeaderFields, HeaderFront, HeaderWriter, pad};
use crate::rtp::red;
use crate::rtp::seq::SeqNo;
use crate::sfu::ingress::PacketMeta;
use crate::sfu::parameters::{EgressParameters, ShortName};

use super::forwarder::{Body, Outgoing};

/// What the leg puts on each packet at the moment of sending.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stamp {
    /// The leg's next transport-wide number; written when the section negotiated it.
    pub transport_cc: Option<u16>,
    /// [`super::NtpTime::abs_send_time`]
    pub abs_send_time: [u8; 3],
    /// Bytes of padding behind the payload ([`super::run_padding`]); a retransmission by RTX has none (RFC 4588 section 4).
    pub padding: u8,
}

/// A plaintext packet in the caller's buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Written {
    /// Bytes that stay readable.
    pub header_len: usize,
    /// Bytes in all.
    pub len: usize,
    /// SRTP packet index.
    pub index: SeqNo,
}

/// How this section numbers the codec being forwarded.
#[derive(Clone, Copy, Debug)]
struct CodecNumbers {
    codec: Codec,
    payload_type: PayloadType,
    rtx: Option<PayloadType>,
    red: Option<PayloadType>,
}

/// The header that every packet of a section begins with, and where the leg's stamp goes in it.
#[derive(Clone, Copy, Debug)]
struct Front {
    header: HeaderFront,
    transport_cc_at: Option<usize>,
    abs_send_time_at: Option<usize>,
}

/// One section's own numbers.
#[derive(Clone, Debug)]
pub struct PacketWriter {
    /// Written once, so that a packet costs a copy and a few patches.
    front: Option<Front>,
    ssrc: Ssrc,
    rtx_ssrc: Option<Ssrc>,
    extensions: ExtensionMap,
    /// Some id does not fit the one-byte form (RFC 8285 section 4.2).
    two_byte: bool,
    mid: ShortName,
    codec: Option<CodecNumbers>,
    payloads: PayloadMap,
}

impl PacketWriter {
    /// Keeps what was negotiated for the section.
    #[must_use]
    pub fn new(parameters: &EgressParameters) -> Self {
        let ids = ExtensionKind::ALL.into_iter().filter_map(|kind| parameters.extensions.id(kind));
        let mut writer = Self {
            front: None,
            ssrc: parameters.ssrc,
            rtx_ssrc: parameters.rtx_ssrc,
            extensions: parameters.extensions,
            two_byte: ids.into_iter().any(|id| id > 14),
            mid: parameters.mid,
            codec: None,
            payloads: parameters.payloads.clone(),
        };
        writer.front = writer.prepare_front();
        writer
    }

    /// SSRC of the media packets.
    #[must_use]
    pub fn ssrc(&self) -> Ssrc {
        self.ssrc
    }

    /// SSRC of the retransmissions, when negotiated.
    #[must_use]
    pub fn rtx_ssrc(&self) -> Option<Ssrc> {
        self.rtx_ssrc
    }

    /// Whether this section can take a codec at all.
    #[must_use]
    pub fn can_take(&self, codec: Codec) -> bool {
        self.payloads.mapping(codec).is_some()
    }

    /// Makes `codec` the one being forwarded; false when the section cannot take it.
    #[inline]
    pub fn set_codec(&mut self, codec: Codec) -> bool {
        if self.codec.is_some_and(|numbers| numbers.codec == codec) {
            return true;
        }
        let Some(mapping) = self.payloads.mapping(codec) else { return false };
        let (payload_type, rtx, red) = (mapping.payload_type, mapping.rtx, mapping.red);
        self.codec = Some(CodecNumbers { codec, payload_type, rtx, red });
        true
    }

    /// Whether retransmissions of the codec being forwarded have a stream of their own (RFC 4588).
    #[must_use]
    pub fn has_rtx(&self) -> bool {
        self.rtx_ssrc.is_some() && self.codec.is_some_and(|numbers| numbers.rtx.is_some())
    }

    /// Whether packets carry transport-wide numbers.
    #[must_use]
    pub fn has_transport_cc(&self) -> bool {
        self.extensions.id(ExtensionKind::TransportCc).is_some()
    }

    /// Writes a media packet. `None` when `out` is too small or the payload is malformed. A part of its caller, because
    /// every packet of every viewer comes through here and its arguments would all go through memory.
    #[inline(always)]
    pub fn write(
        &self,
        outgoing: &Outgoing,
        meta: &PacketMeta,
        packet: &[u8],
        stamp: Stamp,
        out: &mut [u8],
    ) -> Option<Written> {
        let numbers = self.codec.filter(|numbers| numbers.codec == meta.codec)?;
        let payload_type = if meta.red { numbers.red.unwrap_or(numbers.payload_type) } else { numbers.payload_type };
        let fields = HeaderFields {
            marker: outgoing.marker,
            payload_type,
            sequence: outgoing.seq.wire(),
            timestamp: outgoing.timestamp,
            ssrc: self.ssrc,
        };
        let header_len = self.write_header(fields, outgoing, meta, packet, stamp, out)?;
        let payload_len = write_payload(numbers, outgoing, meta, packet, &mut out[header_len..])?;
        let len = pad(out, header_len + payload_len, stamp.padding)?;
        Some(Written { header_len, len, index: outgoing.seq })
    }

    /// Writes the same packet as a retransmission numbered `rtx_seq` (RFC 4588 section 4): the original number, then
    /// the original payload.
    pub fn write_rtx(
        &self,
        rtx_seq: SeqNo,
        outgoing: &Outgoing,
        meta: &PacketMeta,
        packet: &[u8],
        stamp: Stamp,
        out: &mut [u8],
    ) -> Option<Written> {
        let numbers = self.codec.filter(|numbers| numbers.codec == meta.codec)?;
        let fields = HeaderFields {
            marker: outgoing.marker,
            payload_type: numbers.rtx?,
            sequence: rtx_seq.wire(),
            timestamp: outgoing.timestamp,
            ssrc: self.rtx_ssrc?,
        };
        let header_len = self.write_header(fields, outgoing, meta, packet, stamp, out)?;
        let (original, rest) = out[header_len..].split_first_chunk_mut::<2>()?;
        *original = outgoing.seq.wire().to_be_bytes();
        let payload_len = write_payload(numbers, outgoing, meta, packet, rest)?;
        Some(Written { header_len, len: header_len + 2 + payload_len, index: rtx_seq })
    }

    #[inline(always)]
    fn write_header(
        &self,
        fields: HeaderFields,
        outgoing: &Outgoing,
        meta: &PacketMeta,
        packet: &[u8],
        stamp: Stamp,
        out: &mut [u8],
    ) -> Option<usize> {
        let descriptor = meta.dependency_descriptor.of(packet).filter(|_| outgoing.body == Body::Payload);
        let descriptor = descriptor.zip(self.extensions.id(ExtensionKind::DependencyDescriptor));
        let two_byte = self.two_byte || descriptor.is_some_and(|(value, _)| value.len() > ONE_BYTE_VALUE_MAX);
        let front = self.front.as_ref().filter(|front| {
            two_byte == self.two_byte
                && front.transport_cc_at.is_some() == stamp.transport_cc.is_some()
                && out.len() >= HeaderFront::LEN_MAX
        });
        let mut header = match front {
            Some(front) => resume(front, fields, stamp, out)?,
            None => self.begin(fields, two_byte, stamp, out),
        };
        let copied = [
            (ExtensionKind::AudioLevel, meta.audio_level),
            (ExtensionKind::VideoOrientation, meta.video_orientation),
            (ExtensionKind::PlayoutDelay, meta.playout_delay),
            (ExtensionKind::ColorSpace, meta.color_space),
        ];
        for (kind, range) in copied {
            // Colour space with HDR metadata is longer than the one-byte form can say.
            let value = range.of(packet).filter(|value| two_byte || value.len() <= ONE_BYTE_VALUE_MAX);
            if let (Some(value), Some(id)) = (value, self.extensions.id(kind)) {
                header.extension(id, value);
            }
        }
        if let Some((value, id)) = descriptor {
            write_descriptor(&mut header, id, value, outgoing.frame_number);
        }
        let len = header.finish();
        (len != 0).then_some(len)
    }

    /// The fixed header and the elements of every packet, element by element.
    fn begin<'a>(&self, fields: HeaderFields, two_byte: bool, stamp: Stamp, out: &'a mut [u8]) -> HeaderWriter<'a> {
        let mut header = HeaderWriter::new(out, fields, two_byte);
        if let Some(id) = self.extensions.id(ExtensionKind::Mid) {
            header.extension(id, self.mid.as_bytes());
        }
        if let (Some(id), Some(number)) = (self.extensions.id(ExtensionKind::TransportCc), stamp.transport_cc) {
            header.extension(id, &number.to_be_bytes());
        }
        if let Some(id) = self.extensions.id(ExtensionKind::AbsSendTime) {
            header.extension(id, &stamp.abs_send_time);
        }
        header
    }

    /// What [`Self::begin`] writes, with places instead of a stamp.
    fn prepare_front(&self) -> Option<Front> {
        let fields =
            HeaderFields { marker: false, payload_type: PayloadType(0), sequence: 0, timestamp: 0, ssrc: self.ssrc };
        let mut bytes = [0; HeaderFront::LEN_MAX];
        let with = |transport_cc| Stamp { transport_cc, ..Stamp::default() };
        let numbered = self.has_transport_cc().then_some(0);
        let header = self.begin(fields, self.two_byte, with(numbered), &mut bytes);
        let end = header.position();
        // The stamp comes last: its places count from the end.
        let abs_send_time_at = self.extensions.id(ExtensionKind::AbsSendTime).map(|_| end - 3);
        let element_len = if self.two_byte { 2 + 3 } else { 1 + 3 };
        let stamped_end = end - abs_send_time_at.map_or(0, |_| element_len);
        let transport_cc_at = numbered.map(|_| stamped_end - 2);
        Some(Front { header: header.front()?, transport_cc_at, abs_send_time_at })
    }
}

/// Begins a header with what was written once, and this packet's stamp.
#[inline]
fn resume<'a>(front: &Front, fields: HeaderFields, stamp: Stamp, out: &'a mut [u8]) -> Option<HeaderWriter<'a>> {
    let mut header = HeaderWriter::resume(out, fields, &front.header)?;
    if let (Some(at), Some(number)) = (front.transport_cc_at, stamp.transport_cc) {
        header.patch(at, number.to_be_bytes());
    }
    if let Some(at) = front.abs_send_time_at {
        header.patch(at, stamp.abs_send_time);
    }
    Some(header)
}

/// The frame number is bits 8 to 23 of every descriptor (AV1 RTP specification, appendix A.8.2).
fn write_descriptor(header: &mut HeaderWriter<'_>, id: u8, value: &[u8], frame_number: Option<u16>) {
    let mut copy = [0; u8::MAX as usize];
    let Some(copy) = copy.get_mut(..value.len()) else { return };
    copy.copy_from_slice(value);
    if let (Some(number), Some(place)) = (frame_number, copy.get_mut(1..3)) {
        place.copy_from_slice(&number.to_be_bytes());
    }
    header.extension(id, copy);
}

/// Copies the payload to the front of `out`; its length, or `None` when it does not fit or is malformed.
#[inline]
fn write_payload(
    numbers: CodecNumbers,
    outgoing: &Outgoing,
    meta: &PacketMeta,
    packet: &[u8],
    out: &mut [u8],
) -> Option<usize> {
    if outgoing.body == Body::Empty {
        return Some(0);
    }
    let mut payload = meta.payload(packet);
    if meta.red && numbers.red.is_none() {
        payload = payload.get(red::primary(payload)?.1).filter(|primary| !primary.is_empty())?;
    }
    let copy = out.get_mut(..payload.len())?;
    copy.copy_from_slice(payload);
    if let Some((picture_id, tl0_pic_idx)) = outgoing.pictures {
        rewrite_picture_numbers(meta.codec, copy, picture_id, tl0_pic_idx);
    }
    if meta.red && numbers.red.is_some() {
        renumber_blocks(copy, numbers.payload_type);
    }
    Some(payload.len())
}

/// Gives every block header of a RED payload (RFC 2198 section 3) this leg's payload type of the codec inside.
fn renumber_blocks(payload: &mut [u8], payload_type: PayloadType) {
    let mut at = 0;
    while let Some(first) = payload.get_mut(at) {
        let more = *first & 0x80;
        *first = more | payload_type.0 & 0x7f;
        if more == 0 {
            return;
        }
        at += 4;
    }
}

/// Longest value of the one-byte form (RFC 8285 section 4.2).
const ONE_BYTE_VALUE_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::codec::MediaKind;
    use crate::sfu::egress::testing::parameters;

    fn bytes_of(fill: impl FnOnce(&mut [u8]) -> usize) -> Vec<u8> {
        let mut out = vec![0xaa; 256];
        let len = fill(&mut out);
        out.truncate(len);
        out
    }

    #[test]
    fn a_header_that_was_begun_before_is_the_same_as_one_written_anew() {
        let kinds = [ExtensionKind::Mid, ExtensionKind::TransportCc, ExtensionKind::AbsSendTime];
        let stamp = |numbered: bool| Stamp {
            transport_cc: numbered.then_some(0x1234),
            abs_send_time: [0xab, 0xcd, 0xef],
            padding: 0,
        };
        let fields = HeaderFields {
            marker: true,
            payload_type: PayloadType(96),
            sequence: 7,
            timestamp: 0xdead_beef,
            ssrc: Ssrc(0xcafe),
        };
        for negotiated in 0..1 << kinds.len() {
            for first_id in [1, 13, 15] {
                let mut parameters = parameters(MediaKind::Video);
                parameters.extensions = ExtensionMap::default();
                for (index, kind) in kinds.into_iter().enumerate().filter(|(index, _)| negotiated & 1 << index != 0) {
                    parameters.extensions.set(kind, first_id + index as u8);
                }
                let writer = PacketWriter::new(&parameters);
                let stamp = stamp(writer.has_transport_cc());
                let front = writer.front.expect("three elements fit");
                let anew = bytes_of(|out| writer.begin(fields, writer.two_byte, stamp, out).finish());
                let resumed = bytes_of(|out| resume(&front, fields, stamp, out).expect("room").finish());
                assert_eq!(resumed, anew, "{negotiated:#b} from id {first_id}");
            }
        }
    }
}
