//! From frames to the telephone's packets: encoding, one numbering for the whole call, SRTP.
//!
//! The SSRC, the sequence numbers and the timestamps go on over hold, a new offer and another codec: far ends that see them
//! jump drop sound or play it late. Not here: sockets, what is said (`leg`). Invariant: the timestamp advances by 20 ms for
//! every frame, sent or not.

use colloque_sound::Codec;
use colloque_sound::codec::Encoder;
use colloque_sound::opus::{OPUS_PACKET_MAX, OpusError};
use rand::Rng;

use crate::ids::{PayloadType, Ssrc};
use crate::rtp::packet::{HEADER_LEN_MIN, HeaderFields, HeaderWriter};
use crate::rtp::seq::SeqNo;
use crate::transport::srtp::{EgressSrtp, OVERHEAD_MAX};

use super::sdes::CryptoLine;

/// One call's sound towards the telephone.
pub struct Outgoing {
    ssrc: Ssrc,
    next: SeqNo,
    timestamp: u32,
    codec: Codec,
    encoder: Encoder,
    payload_type: PayloadType,
    /// The next packet is the first of a talk spurt.
    marker: bool,
    key: Option<CryptoLine>,
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
    /// Numbers and SSRC are random (RFC 3550 section 5.1), the first number in the lower half of its range (RFC 3711
    /// section 3.3.1 recommends it: the first wrap is then far from the first loss).
    #[must_use]
    pub fn new(rng: &mut impl Rng) -> Self {
        let codec = Codec::Pcma;
        Self {
            ssrc: Ssrc(rng.random()),
            next: SeqNo::from_parts(0, rng.random_range(0..0x8000)),
            timestamp: rng.random(),
            codec,
            encoder: Encoder::Pcma,
            payload_type: PayloadType(8),
            marker: true,
            key: None,
            srtp: None,
            packet: Box::new([0; PACKET_LEN_MAX]),
        }
    }

    /// Who we are on this call.
    #[must_use]
    pub fn ssrc(&self) -> Ssrc {
        self.ssrc
    }

    /// The timestamp of the next frame.
    #[must_use]
    pub fn timestamp(&self) -> u32 {
        self.timestamp
    }

    /// Speaks that codec from now on.
    ///
    /// # Errors
    /// libopus has no memory.
    pub fn set_codec(&mut self, codec: Codec, payload_type: PayloadType) -> Result<(), OpusError> {
        self.payload_type = payload_type;
        if codec != self.codec {
            self.encoder = Encoder::new(codec)?;
            self.codec = codec;
            self.marker = true;
        }
        Ok(())
    }

    /// Seals with that key from now on, or not at all. The same key again changes nothing: its rollover counter goes on.
    pub fn set_key(&mut self, key: Option<&CryptoLine>) {
        let same = match (&self.key, key) {
            (Some(own), Some(new)) => own.is_same(new),
            (None, None) => true,
            _ => false,
        };
        if same {
            return;
        }
        self.srtp = key.map(CryptoLine::egress);
        self.key = key.cloned();
        // The far end begins a new key with a rollover counter of zero.
        self.next = SeqNo::from_parts(0, self.next.wire());
    }

    /// One frame's packet.
    ///
    /// # Errors
    /// The encoder refused; the frame is skipped.
    pub fn seal(&mut self, frame: &[i16]) -> Result<Sealed<'_>, OpusError> {
        let fields = HeaderFields {
            marker: self.marker,
            payload_type: self.payload_type,
            sequence: self.next.wire(),
            timestamp: self.timestamp,
            ssrc: self.ssrc,
        };
        let header_len = HeaderWriter::new(&mut self.packet[..HEADER_LEN_MIN], fields, false).finish();
        let encoded = self.encoder.encode(frame, &mut self.packet[header_len..header_len + OPUS_PACKET_MAX]);
        self.timestamp = self.timestamp.wrapping_add(self.codec.clock_hz() / FRAMES_A_SECOND);
        let payload_len = encoded?;
        let mut len = header_len + payload_len;
        if let Some(srtp) = &self.srtp {
            len = srtp.seal_rtp(&mut self.packet[..], header_len, len, self.next);
        }
        self.next = self.next.next();
        self.marker = false;
        Ok(Sealed { datagram: &self.packet[..len], payload_len })
    }

    /// One frame's time passes without a packet.
    pub fn skip(&mut self) {
        self.timestamp = self.timestamp.wrapping_add(self.codec.clock_hz() / FRAMES_A_SECOND);
        self.marker = true;
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
const PACKET_LEN_MAX: usize = HEADER_LEN_MIN + OPUS_PACKET_MAX + OVERHEAD_MAX;

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::rtp::packet::RtpHeader;
    use crate::telephone::media::sdes::Suite;

    fn outgoing(seed: u64) -> Outgoing {
        Outgoing::new(&mut StdRng::seed_from_u64(seed))
    }

    fn sent(outgoing: &mut Outgoing, samples: usize) -> (RtpHeader, usize) {
        let sealed = outgoing.seal(&vec![500; samples]).unwrap();
        (RtpHeader::parse_protected(sealed.datagram).unwrap(), sealed.payload_len)
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
        outgoing.set_codec(Codec::G722, PayloadType(9)).unwrap();
        let (wide, len) = sent(&mut outgoing, 320);
        assert_eq!((wide.sequence, wide.payload_type, wide.ssrc, len), (first.sequence + 2, PayloadType(9), first.ssrc, 160));
        assert_eq!(wide.timestamp.wrapping_sub(after.timestamp), 160, "G.722's clock says 8,000");
        outgoing.set_codec(Codec::Opus, PayloadType(107)).unwrap();
        let (opus, _) = sent(&mut outgoing, 320);
        let (next, _) = sent(&mut outgoing, 320);
        assert_eq!((opus.sequence, next.timestamp.wrapping_sub(opus.timestamp)), (first.sequence + 3, 960));
    }

    #[test]
    fn sealed_sound_opens_with_the_same_key_over_a_repeated_offer_and_a_wrap() {
        let mut rng = StdRng::seed_from_u64(3);
        let line = CryptoLine::generate(1, Suite::AesCm128HmacSha1_80, &mut rng);
        let mut outgoing = outgoing(4);
        outgoing.set_key(Some(&line));
        let mut ingress = line.ingress();
        for frame in 0..70_000 {
            if frame % 1_000 == 0 {
                outgoing.set_key(Some(&line.clone()));
            }
            let sealed = outgoing.seal(&[300; 160]).unwrap();
            let mut packet = sealed.datagram.to_vec();
            assert_eq!(ingress.open_rtp(&mut packet).map(|(len, _)| len), Ok(172), "frame {frame}");
        }
    }

    #[test]
    fn another_key_begins_with_a_rollover_counter_of_zero() {
        let mut rng = StdRng::seed_from_u64(5);
        let mut outgoing = outgoing(6);
        let lines = [(); 2].map(|()| CryptoLine::generate(1, Suite::AesCm128HmacSha1_32, &mut rng));
        outgoing.set_key(Some(&lines[0]));
        for _ in 0..66_000 {
            outgoing.seal(&[0; 160]).unwrap();
        }
        outgoing.set_key(Some(&lines[1]));
        let mut packet = outgoing.seal(&[0; 160]).unwrap().datagram.to_vec();
        assert!(lines[1].ingress().open_rtp(&mut packet).is_ok());
        outgoing.set_key(None);
        assert_eq!(outgoing.seal(&[0; 160]).unwrap().datagram.len(), 172, "in the clear");
    }

    #[test]
    fn reports_are_sealed_like_the_sound() {
        let mut rng = StdRng::seed_from_u64(7);
        let line = CryptoLine::generate(1, Suite::AesCm128HmacSha1_80, &mut rng);
        let mut outgoing = outgoing(8);
        let mut out = [0; 64];
        out[..8].copy_from_slice(&[0x80, 201, 0, 1, 0, 0, 0, 9]);
        assert_eq!(outgoing.seal_report(&mut out, 8), 8);
        outgoing.set_key(Some(&line));
        let len = outgoing.seal_report(&mut out, 8);
        assert_eq!(line.ingress().open_rtcp(&mut out[..len]), Ok(8));
    }
}
