//! The publisher's packets: real RTP with real payload headers, sealed one burst ahead of nothing, because the worker
//! refuses replays and so no pool of packets can be sent twice.
//!
//! A burst is a frame; single packets of video are a quarter of a frame each. Sealing happens on the generator's core.

use colloque::rtp::extension::{ExtensionKind, ExtensionMap};
use colloque::rtp::packet::{HeaderFields, HeaderWriter};
use colloque::rtp::seq::SeqNo;
use colloque::transport::srtp::{EgressSrtp, OVERHEAD_MAX};
use limit_probe::generator::PacketSource;
use limit_probe::packets::TAG_LEN;
use limit_probe::settings::Settings;

use crate::far_end::{PUBLISHER_SSRC, VIDEO, VOICE, extensions};

/// What one source sends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Media {
    /// Opus, a frame a packet.
    Voice,
    /// VP8 without layers.
    Video,
}

/// Numbers, writes and seals packets.
pub struct Publisher {
    media: Media,
    settings: Settings,
    keys: EgressSrtp,
    extensions: ExtensionMap,
    seq: SeqNo,
    timestamp: u32,
    transport_cc: u16,
    picture: u16,
    /// Packets of the current frame that were sent.
    of_frame: usize,
    packets: Vec<Vec<u8>>,
    sent: usize,
}

impl Publisher {
    pub fn new(media: Media, settings: &Settings, keys: EgressSrtp) -> Self {
        Self {
            media,
            settings: settings.clone(),
            keys,
            extensions: extensions(),
            seq: SeqNo(1000),
            timestamp: 0,
            transport_cc: 0,
            picture: 0,
            of_frame: 0,
            packets: vec![Vec::new(); settings.burst.max(1)],
            sent: 0,
        }
    }

    /// The number of the next packet.
    pub fn next_number(&self) -> u16 {
        self.seq.wire()
    }

    /// A key frame in one packet; for voice any packet.
    pub fn keyframe(&mut self) -> &[u8] {
        self.of_frame = 0;
        self.write(0, KEYFRAME_LEN, true, true);
        self.end_frame();
        &self.packets[0]
    }

    /// Writes a packet that is `len` bytes long once sealed.
    fn write(&mut self, at: usize, len: usize, keyframe: bool, last: bool) {
        self.transport_cc = self.transport_cc.wrapping_add(1);
        let voice = self.media == Media::Voice;
        let fields = HeaderFields {
            marker: last && !voice,
            payload_type: if voice { VOICE } else { VIDEO },
            sequence: self.seq.wire(),
            timestamp: self.timestamp,
            ssrc: PUBLISHER_SSRC,
        };
        let packet = &mut self.packets[at];
        let plain_len = len - TAG_LEN;
        packet.resize(plain_len + OVERHEAD_MAX, 0);
        let mut header = HeaderWriter::new(packet, fields, false);
        let id = |kind| self.extensions.id(kind).expect("offered");
        header.extension(id(ExtensionKind::TransportCc), &self.transport_cc.to_be_bytes());
        if voice {
            header.extension(id(ExtensionKind::AudioLevel), &[0x80 | 40]);
        }
        let header_len = header.finish();
        let payload = &mut packet[header_len..plain_len];
        if voice {
            payload[0] = 0xfc;
        } else {
            write_vp8(payload, self.picture, self.of_frame == 0, keyframe);
        }
        let sealed = self.keys.seal_rtp(packet, header_len, plain_len, self.seq);
        assert_eq!(sealed, len);
        packet.truncate(sealed);
        self.seq = self.seq.next();
        self.of_frame += 1;
    }

    fn end_frame(&mut self) {
        self.of_frame = 0;
        self.picture = (self.picture + 1) & 0x7fff;
        self.timestamp = self.timestamp.wrapping_add(if self.media == Media::Voice { 960 } else { 3000 });
    }
}

impl PacketSource for Publisher {
    fn next_burst(&mut self, len: usize) -> &[Vec<u8>] {
        let frame_len = match (self.media, len) {
            (Media::Voice, _) => 1,
            (Media::Video, 1) => SINGLE_PACKETS_A_FRAME,
            (Media::Video, len) => len,
        };
        for at in 0..len {
            let last = self.of_frame + 1 == frame_len;
            self.write(at, self.settings.size_of(self.sent), false, last);
            self.sent += 1;
            if last {
                self.end_frame();
            }
        }
        &self.packets[..len]
    }
}

/// Payload descriptor with picture id and base layer index (RFC 7741 section 4.2), then the frame's own header.
fn write_vp8(payload: &mut [u8], picture: u16, first: bool, keyframe: bool) {
    let [high, low] = picture.to_be_bytes();
    payload[..6].copy_from_slice(&[0x80 | u8::from(first) << 4, 0xe0, 0x80 | high, low, picture as u8, 0x20]);
    if first {
        payload[6..9].copy_from_slice(&[u8::from(!keyframe), 2, 0]);
    }
    if first && keyframe {
        // Start code, then 1280 x 720.
        payload[9..16].copy_from_slice(&[0x9d, 0x01, 0x2a, 0x00, 0x05, 0xd0, 0x02]);
    }
}

const KEYFRAME_LEN: usize = 200;
const SINGLE_PACKETS_A_FRAME: usize = 4;
