//! From frames to the telephone's packets: encoding, packing, one numbering for the whole call, SRTP.
//!
//! The SSRC, the sequence numbers and the timestamps go on over hold, a new offer and another codec: far ends that see them
//! jump drop sound or play it late. Not here: sockets, what is said (`leg`). Invariant: the timestamp advances by 20 ms for
//! every frame, sent or not.

use std::time::Duration;

use colloque_sound::Codec;
use colloque_sound::codec::Encoder;
use colloque_sound::opus::{OPUS_PACKET_MAX, OpusError};
use rand::Rng;

use crate::ids::{PayloadType, Ssrc};
use crate::rtp::packet::{HEADER_LEN_MIN, HeaderFields, HeaderWriter};
use crate::rtp::seq::SeqNo;
use crate::transport::srtp::{EgressSrtp, OVERHEAD_MAX};

use super::keys::CallKeys;

/// One call's sound towards the telephone.
pub struct Outgoing {
    ssrc: Ssrc,
    next: SeqNo,
    /// Of the first byte of `encoded`.
    timestamp: u32,
    codec: Codec,
    encoder: Encoder,
    payload_type: PayloadType,
    /// Bytes of a packet, for codecs of a constant rate.
    packet_len: usize,
    /// Sound that waits for the rest of its packet.
    encoded: Vec<u8>,
    /// The next packet is the first of a talk spurt.
    marker: bool,
    srtp: Option<EgressSrtp>,
    packet: Box<[u8; PACKET_LEN_MAX]>,
}

/// A packet to send.
pub struct Sealed<'a> {
    /// The datagram.
    pub datagram: &'a [u8],
    /// Bytes of sound in it.
    pub payload_len: usize,
}

impl Outgoing {
    /// Numbers and SSRC are random (RFC 3550 section 5.1), the first number in the lower half of its range: the first wrap is
    /// then far from the first loss (RFC 3711 section 3.3.1).
    #[must_use]
    pub fn new(rng: &mut impl Rng) -> Self {
        Self {
            ssrc: Ssrc(rng.random()),
            next: SeqNo::from_parts(0, rng.random_range(0..0x8000)),
            timestamp: rng.random(),
            codec: Codec::Pcma,
            encoder: Encoder::Pcma,
            payload_type: PayloadType(8),
            packet_len: FRAME_LEN,
            encoded: Vec::with_capacity(PAYLOAD_LEN_MAX),
            marker: true,
            srtp: None,
            packet: Box::new([0; PACKET_LEN_MAX]),
        }
    }

    /// Who we are on this call.
    #[must_use]
    pub fn ssrc(&self) -> Ssrc {
        self.ssrc
    }

    /// The timestamp of the next packet.
    #[must_use]
    pub fn timestamp(&self) -> u32 {
        self.timestamp
    }

    /// Speaks that codec from now on, in packets of `packet` (10 to 60 ms; Opus always 20).
    ///
    /// # Errors
    /// libopus has no memory.
    pub fn set_codec(&mut self, codec: Codec, payload_type: PayloadType, packet: Duration) -> Result<(), OpusError> {
        let millis = (packet.as_millis() as usize).clamp(PACKET_MILLIS_MIN, PACKET_MILLIS_MAX);
        if codec != self.codec {
            self.encoder = Encoder::new(codec)?;
            self.drop_pending();
            self.codec = codec;
            self.marker = true;
        }
        self.payload_type = payload_type;
        self.packet_len = millis * BYTES_A_MILLI;
        Ok(())
    }

    /// Seals with other keys than before, or not at all.
    pub fn set_keys(&mut self, keys: Option<&CallKeys>, before: Option<&CallKeys>) {
        let Some(keys) = keys else {
            self.srtp = None;
            return;
        };
        if let Some(srtp) = keys.new_egress(before) {
            self.srtp = Some(srtp);
            // The far end begins a new key with a rollover counter of zero.
            self.next = SeqNo::from_parts(0, self.next.wire());
        }
    }

    /// One frame is said. Packets that it completes wait for [`Outgoing::poll_packet`].
    ///
    /// # Errors
    /// The encoder refused; the frame's time passes in silence.
    pub fn handle_frame(&mut self, frame: &[i16]) -> Result<(), OpusError> {
        let before = self.encoded.len();
        self.encoded.resize(before + OPUS_PACKET_MAX, 0);
        let len = self.encoder.encode(frame, &mut self.encoded[before..]);
        self.encoded.truncate(before + len.unwrap_or(0));
        if len.is_err() {
            self.skip();
        }
        len.map(|_| ())
    }

    /// The next whole packet.
    pub fn poll_packet(&mut self) -> Option<Sealed<'_>> {
        let (payload_len, ticks) = match self.codec {
            Codec::Opus => (self.encoded.len(), self.codec.clock_hz() / FRAMES_A_SECOND),
            // A byte is a tick of these clocks.
            Codec::Pcma | Codec::Pcmu | Codec::G722 => (self.packet_len, self.packet_len as u32),
        };
        if payload_len == 0 || self.encoded.len() < payload_len {
            return None;
        }
        let fields = HeaderFields {
            marker: self.marker,
            payload_type: self.payload_type,
            sequence: self.next.wire(),
            timestamp: self.timestamp,
            ssrc: self.ssrc,
        };
        let header_len = HeaderWriter::new(&mut self.packet[..HEADER_LEN_MIN], fields, false).finish();
        let mut len = header_len + payload_len;
        self.packet[header_len..len].copy_from_slice(&self.encoded[..payload_len]);
        self.encoded.drain(..payload_len);
        if let Some(srtp) = &self.srtp {
            len = srtp.seal_rtp(&mut self.packet[..], header_len, len, self.next);
        }
        self.next = self.next.next();
        self.timestamp = self.timestamp.wrapping_add(ticks);
        self.marker = false;
        Some(Sealed { datagram: &self.packet[..len], payload_len })
    }

    /// One frame's time passes without a word.
    pub fn skip(&mut self) {
        self.drop_pending();
        self.timestamp = self.timestamp.wrapping_add(self.codec.clock_hz() / FRAMES_A_SECOND);
        self.marker = true;
    }

    /// Sound of a packet that will never be whole: its time has passed.
    fn drop_pending(&mut self) {
        if self.codec != Codec::Opus {
            self.timestamp = self.timestamp.wrapping_add(self.encoded.len() as u32);
        }
        self.encoded.clear();
    }

    /// Seals a report of `len` bytes in the front of `out`. Its length; 0 when it does not fit.
    #[must_use]
    pub fn seal_report(&mut self, out: &mut [u8], len: usize) -> usize {
        match &mut self.srtp {
            Some(srtp) => srtp.seal_rtcp(out, len),
            None => len,
        }
    }
}

/// Of sound: frames are 20 ms.
pub const FRAMES_A_SECOND: u32 = 50;
/// G.711 and G.722: 64 kbit/s.
const BYTES_A_MILLI: usize = 8;
const FRAME_LEN: usize = 20 * BYTES_A_MILLI;
/// What an answer may ask for. Shorter packets would be more header than sound, longer ones are long gaps when lost.
const PACKET_MILLIS_MIN: usize = 10;
const PACKET_MILLIS_MAX: usize = 60;
/// The longest packet and the frame that completes it, or one of Opus.
const PAYLOAD_LEN_MAX: usize = PACKET_MILLIS_MAX * BYTES_A_MILLI + OPUS_PACKET_MAX;
const PACKET_LEN_MAX: usize = HEADER_LEN_MIN + PAYLOAD_LEN_MAX + OVERHEAD_MAX;

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::pii::Pii;
    use crate::rtp::packet::RtpHeader;
    use crate::transport::srtp::Profile;

    const MILLIS_20: Duration = Duration::from_millis(20);

    fn outgoing(seed: u64) -> Outgoing {
        Outgoing::new(&mut StdRng::seed_from_u64(seed))
    }

    fn all_sent(outgoing: &mut Outgoing, samples: usize) -> Vec<(RtpHeader, usize)> {
        outgoing.handle_frame(&vec![500; samples]).unwrap();
        let mut packets = Vec::new();
        while let Some(sealed) = outgoing.poll_packet() {
            packets.push((RtpHeader::parse_protected(sealed.datagram).unwrap(), sealed.payload_len));
        }
        packets
    }

    fn sent(outgoing: &mut Outgoing, samples: usize) -> (RtpHeader, usize) {
        let packets = all_sent(outgoing, samples);
        assert_eq!(packets.len(), 1);
        packets[0]
    }

    #[test]
    fn a_law_packets_are_160_bytes_with_running_numbers() {
        let mut outgoing = outgoing(1);
        let (first, len) = sent(&mut outgoing, 160);
        assert_eq!((len, first.payload_type, first.marker, first.ssrc), (160, PayloadType(8), true, outgoing.ssrc()));
        let (second, _) = sent(&mut outgoing, 160);
        assert_eq!(second.sequence, first.sequence + 1);
        assert_eq!((second.timestamp.wrapping_sub(first.timestamp), second.marker), (160, false));
    }

    #[test]
    fn numbers_go_on_over_a_pause_and_other_codecs() {
        let mut outgoing = outgoing(2);
        let (first, _) = sent(&mut outgoing, 160);
        for _ in 0..50 {
            outgoing.skip();
        }
        let (after, _) = sent(&mut outgoing, 160);
        assert_eq!((after.sequence, after.marker, after.ssrc), (first.sequence + 1, true, first.ssrc));
        assert_eq!(after.timestamp.wrapping_sub(first.timestamp), 51 * 160);
        outgoing.set_codec(Codec::G722, PayloadType(9), MILLIS_20).unwrap();
        let (wide, len) = sent(&mut outgoing, 320);
        assert_eq!((wide.sequence, wide.payload_type, wide.ssrc), (first.sequence + 2, PayloadType(9), first.ssrc));
        assert_eq!((wide.timestamp.wrapping_sub(after.timestamp), len), (160, 160), "G.722's clock says 8,000");
        outgoing.set_codec(Codec::Opus, PayloadType(107), MILLIS_20).unwrap();
        let (opus, _) = sent(&mut outgoing, 320);
        let (next, _) = sent(&mut outgoing, 320);
        assert_eq!((opus.sequence, next.timestamp.wrapping_sub(opus.timestamp)), (first.sequence + 3, 960));
    }

    #[test]
    fn packets_are_as_long_as_the_far_end_asked_and_no_sound_is_lost_between_them() {
        for millis in [10, 20, 30, 40, 50, 60] {
            let mut outgoing = outgoing(millis);
            outgoing.set_codec(Codec::Pcmu, PayloadType(0), Duration::from_millis(millis)).unwrap();
            let packets: Vec<_> = (0..30).flat_map(|_| all_sent(&mut outgoing, 160)).collect();
            assert_eq!(packets.len() as u64, 600 / millis, "of {millis} ms");
            for pair in packets.windows(2) {
                assert_eq!(pair[1].0.timestamp.wrapping_sub(pair[0].0.timestamp) as u64, millis * 8);
                assert_eq!((pair[1].1 as u64, pair[1].0.sequence), (millis * 8, pair[0].0.sequence + 1));
            }
        }
    }

    #[test]
    fn a_half_packet_at_a_pause_is_dropped_and_its_time_passes() {
        let mut outgoing = outgoing(9);
        outgoing.set_codec(Codec::Pcma, PayloadType(8), Duration::from_millis(40)).unwrap();
        let begin = outgoing.timestamp();
        assert_eq!(all_sent(&mut outgoing, 160).len(), 0);
        outgoing.skip();
        assert_eq!(outgoing.timestamp().wrapping_sub(begin), 320);
        assert_eq!(all_sent(&mut outgoing, 160).len(), 0);
        let packets = all_sent(&mut outgoing, 160);
        assert_eq!((packets.len(), packets[0].0.timestamp.wrapping_sub(begin)), (1, 320));
    }

    fn keys(ours: u8) -> CallKeys {
        CallKeys { profile: Profile::Aes128CmSha1_80, ours: Pii([ours; 30]), theirs: Pii([0; 30]) }
    }

    /// What the far end opens our packets with.
    fn mirrored(keys: &CallKeys) -> CallKeys {
        CallKeys { profile: keys.profile, ours: keys.theirs.clone(), theirs: keys.ours.clone() }
    }

    #[test]
    fn sealed_sound_opens_over_repeated_offers_and_a_wrap() {
        let keys = keys(1);
        let mut outgoing = outgoing(4);
        outgoing.set_keys(Some(&keys), None);
        let mut ingress = mirrored(&keys).new_ingress(None).unwrap();
        for frame in 0..70_000 {
            if frame % 1_000 == 0 {
                outgoing.set_keys(Some(&keys.clone()), Some(&keys));
            }
            outgoing.handle_frame(&[300; 160]).unwrap();
            let mut packet = outgoing.poll_packet().unwrap().datagram.to_vec();
            assert_eq!(ingress.open_rtp(&mut packet).map(|(len, _)| len), Ok(172), "frame {frame}");
        }
    }

    #[test]
    fn other_keys_begin_with_a_rollover_counter_of_zero() {
        let mut outgoing = outgoing(6);
        let (first, second) = (keys(1), keys(2));
        outgoing.set_keys(Some(&first), None);
        for _ in 0..66_000 {
            sent(&mut outgoing, 160);
        }
        outgoing.set_keys(Some(&second), Some(&first));
        outgoing.handle_frame(&[0; 160]).unwrap();
        let mut packet = outgoing.poll_packet().unwrap().datagram.to_vec();
        assert!(mirrored(&second).new_ingress(None).unwrap().open_rtp(&mut packet).is_ok());
        outgoing.set_keys(None, Some(&second));
        outgoing.handle_frame(&[0; 160]).unwrap();
        assert_eq!(outgoing.poll_packet().unwrap().datagram.len(), 172, "in the clear");
    }

    #[test]
    fn reports_are_sealed_like_the_sound() {
        let keys = keys(3);
        let mut outgoing = outgoing(8);
        let mut out = [0; 64];
        out[..8].copy_from_slice(&[0x80, 201, 0, 1, 0, 0, 0, 9]);
        assert_eq!(outgoing.seal_report(&mut out, 8), 8);
        outgoing.set_keys(Some(&keys), None);
        let len = outgoing.seal_report(&mut out, 8);
        assert_eq!(mirrored(&keys).new_ingress(None).unwrap().open_rtcp(&mut out[..len]), Ok(8));
    }
}
