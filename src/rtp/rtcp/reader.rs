//! Takes a compound RTCP packet apart, in place.
//!
//! Reads what an SFU acts upon; other packet types are passed over as [`Rtcp::Other`]. Reduced-size packets
//! (RFC 5506) are read like any other.

use crate::ids::Ssrc;

use super::TransportFeedback;
use super::{
    FORMAT_APPLICATION, FORMAT_FIR, FORMAT_NACK, FORMAT_PLI, FORMAT_TRANSPORT_CC, GOODBYE, PAYLOAD_SPECIFIC_FEEDBACK,
    RECEIVER_REPORT, SENDER_REPORT, SOURCE_DESCRIPTION, TRANSPORT_LAYER_FEEDBACK,
};

/// Why (the rest of) a compound packet is not RTCP. The sender is at fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RtcpError {
    /// Shorter than a header or than its length field says.
    #[error("RTCP packet shorter than its header says")]
    TooShort,
    /// Version is not 2.
    #[error("RTCP version is not 2")]
    Version,
    /// The padding count is zero or larger than the packet.
    #[error("RTCP padding does not fit the packet")]
    Padding,
    /// A body shorter than its type needs.
    #[error("RTCP body shorter than its type needs")]
    Body,
}

/// The packets of a compound, in order. Ends after the first error.
#[must_use]
pub fn packets(compound: &[u8]) -> RtcpIter<'_> {
    RtcpIter { rest: compound }
}

/// One packet of a compound.
#[derive(Clone, Debug)]
pub enum Rtcp<'a> {
    /// RFC 3550 section 6.4.1.
    SenderReport {
        /// Who reports.
        ssrc: Ssrc,
        /// NTP time, 32.32 fixed point seconds.
        ntp: u64,
        /// The same instant on the RTP clock.
        rtp_timestamp: u32,
        /// Packets sent so far.
        packets: u32,
        /// Payload bytes sent so far.
        octets: u32,
        /// What it received.
        reports: ReportIter<'a>,
    },
    /// RFC 3550 section 6.4.2.
    ReceiverReport {
        /// Who reports.
        ssrc: Ssrc,
        /// What it received.
        reports: ReportIter<'a>,
    },
    /// RFC 3550 section 6.5.
    Sdes {
        /// Sources with their canonical names.
        chunks: SdesIter<'a>,
    },
    /// RFC 3550 section 6.6.
    Bye {
        /// Who leaves.
        sources: SsrcIter<'a>,
    },
    /// RFC 4585 section 6.2.1.
    Nack {
        /// Who asks.
        sender: Ssrc,
        /// Whose packets are missing.
        media: Ssrc,
        /// Sequence numbers of the missing packets.
        lost: NackIter<'a>,
    },
    /// draft-holmer-rmcat-transport-wide-cc-extensions-01 section 3.1.
    TransportFeedback(TransportFeedback<'a>),
    /// RFC 4585 section 6.3.1.
    Pli {
        /// Who asks.
        sender: Ssrc,
        /// Of whom a keyframe is wanted.
        media: Ssrc,
    },
    /// RFC 5104 section 4.3.1.
    Fir {
        /// Who asks.
        sender: Ssrc,
        /// Of whom a keyframe is wanted.
        entries: FirIter<'a>,
    },
    /// draft-alvestrand-rmcat-remb-03 section 2.2.
    Remb {
        /// Who estimates.
        sender: Ssrc,
        /// Bits per second.
        bitrate: u64,
        /// For which streams together.
        sources: SsrcIter<'a>,
    },
    /// A type that nothing here acts upon.
    Other {
        /// The packet type field.
        packet_type: u8,
    },
}

/// Iterator over a compound packet, see [`packets`].
#[derive(Clone, Debug)]
pub struct RtcpIter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for RtcpIter<'a> {
    type Item = Result<Rtcp<'a>, RtcpError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let parsed = self.take_packet().and_then(|(header, body)| Rtcp::parse(header, body));
        if parsed.is_err() {
            self.rest = &[];
        }
        Some(parsed)
    }
}

/// The first word of a packet.
#[derive(Clone, Copy)]
struct CommonHeader {
    /// Count of report blocks, chunks or sources; feedback message type for feedback.
    count: u8,
    packet_type: u8,
}

impl<'a> RtcpIter<'a> {
    /// Splits one packet off: its header and its body without padding.
    fn take_packet(&mut self) -> Result<(CommonHeader, &'a [u8]), RtcpError> {
        let header: &[u8; 4] = self.rest.first_chunk().ok_or(RtcpError::TooShort)?;
        if header[0] >> 6 != 2 {
            return Err(RtcpError::Version);
        }
        let len = 4 + 4 * usize::from(u16::from_be_bytes([header[2], header[3]]));
        let (packet, rest) = self.rest.split_at_checked(len).ok_or(RtcpError::TooShort)?;
        self.rest = rest;
        let mut body = &packet[4..];
        if header[0] & 0x20 != 0 {
            let padding = usize::from(*body.last().ok_or(RtcpError::Padding)?);
            if padding == 0 || padding > body.len() {
                return Err(RtcpError::Padding);
            }
            body = &body[..body.len() - padding];
        }
        Ok((CommonHeader { count: header[0] & 0x1f, packet_type: header[1] }, body))
    }
}

impl<'a> Rtcp<'a> {
    fn parse(header: CommonHeader, body: &'a [u8]) -> Result<Self, RtcpError> {
        let parsed = match (header.packet_type, header.count) {
            (SENDER_REPORT, count) => Self::sender_report(body, count),
            (RECEIVER_REPORT, count) => Self::receiver_report(body, count),
            (SOURCE_DESCRIPTION, count) => Some(Rtcp::Sdes { chunks: SdesIter { rest: body, left: count } }),
            (GOODBYE, count) => {
                body.get(..4 * usize::from(count)).map(|sources| Rtcp::Bye { sources: SsrcIter { rest: sources } })
            }
            (TRANSPORT_LAYER_FEEDBACK, FORMAT_NACK) => Self::nack(body),
            (TRANSPORT_LAYER_FEEDBACK, FORMAT_TRANSPORT_CC) => {
                TransportFeedback::parse(body).map(Rtcp::TransportFeedback)
            }
            (PAYLOAD_SPECIFIC_FEEDBACK, FORMAT_PLI) => Self::pli(body),
            (PAYLOAD_SPECIFIC_FEEDBACK, FORMAT_FIR) => Self::fir(body),
            (PAYLOAD_SPECIFIC_FEEDBACK, FORMAT_APPLICATION) => Self::application_feedback(body),
            (packet_type, _) => Some(Rtcp::Other { packet_type }),
        };
        parsed.ok_or(RtcpError::Body)
    }

    fn sender_report(body: &'a [u8], count: u8) -> Option<Self> {
        let (fixed, rest) = body.split_first_chunk::<24>()?;
        Some(Rtcp::SenderReport {
            ssrc: ssrc_at(fixed, 0)?,
            ntp: u64::from(u32_at(fixed, 4)?) << 32 | u64::from(u32_at(fixed, 8)?),
            rtp_timestamp: u32_at(fixed, 12)?,
            packets: u32_at(fixed, 16)?,
            octets: u32_at(fixed, 20)?,
            reports: ReportIter::new(rest, count)?,
        })
    }

    fn receiver_report(body: &'a [u8], count: u8) -> Option<Self> {
        let (ssrc, rest) = body.split_first_chunk::<4>()?;
        Some(Rtcp::ReceiverReport { ssrc: ssrc_at(ssrc, 0)?, reports: ReportIter::new(rest, count)? })
    }

    fn nack(body: &'a [u8]) -> Option<Self> {
        let (sources, pairs) = body.split_first_chunk::<8>()?;
        Some(Rtcp::Nack {
            sender: ssrc_at(sources, 0)?,
            media: ssrc_at(sources, 4)?,
            lost: NackIter { pairs, mask: 0, base: 0 },
        })
    }

    fn pli(body: &'a [u8]) -> Option<Self> {
        Some(Rtcp::Pli { sender: ssrc_at(body, 0)?, media: ssrc_at(body, 4)? })
    }

    fn fir(body: &'a [u8]) -> Option<Self> {
        let (sources, entries) = body.split_first_chunk::<8>()?;
        Some(Rtcp::Fir { sender: ssrc_at(sources, 0)?, entries: FirIter { rest: entries } })
    }

    /// REMB, or another application's message.
    fn application_feedback(body: &'a [u8]) -> Option<Self> {
        if body.get(8..12) != Some(b"REMB") {
            return Some(Rtcp::Other { packet_type: PAYLOAD_SPECIFIC_FEEDBACK });
        }
        let word = u32_at(body, 12)?;
        let (count, exponent, mantissa) = (word >> 24, word >> 18 & 0x3f, u64::from(word & 0x3_ffff));
        // An exponent beyond what 64 bits hold is an absurd rate: the largest one stands for it.
        let bitrate = if mantissa.leading_zeros() < exponent { u64::MAX } else { mantissa << exponent };
        let sources = body.get(16..16 + 4 * count as usize)?;
        Some(Rtcp::Remb { sender: ssrc_at(body, 0)?, bitrate, sources: SsrcIter { rest: sources } })
    }
}

/// What a receiver says of one source (RFC 3550 section 6.4.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReportBlock {
    /// Of which source.
    pub ssrc: Ssrc,
    /// Lost since the previous report, in 1/256.
    pub fraction_lost: u8,
    /// Lost since the beginning, 24 bits signed: negative with duplicates.
    pub cumulative_lost: i32,
    /// Highest sequence number received, extended to 32 bits by its receiver's count of wraps.
    pub highest_sequence: u32,
    /// Interarrival jitter in units of the RTP clock.
    pub jitter: u32,
    /// The middle 32 bits of the last sender report's NTP time; 0 when none was received.
    pub last_sr: u32,
    /// Since that report, in 1/65536 s.
    pub delay_since_last_sr: u32,
}

impl ReportBlock {
    pub(super) const LEN: usize = 24;

    fn parse(block: &[u8; Self::LEN]) -> Option<Self> {
        let lost = u32_at(block, 4)?;
        Some(ReportBlock {
            ssrc: ssrc_at(block, 0)?,
            fraction_lost: (lost >> 24) as u8,
            cumulative_lost: (lost << 8) as i32 >> 8,
            highest_sequence: u32_at(block, 8)?,
            jitter: u32_at(block, 12)?,
            last_sr: u32_at(block, 16)?,
            delay_since_last_sr: u32_at(block, 20)?,
        })
    }
}

/// Report blocks of a sender or receiver report.
#[derive(Clone, Debug)]
pub struct ReportIter<'a> {
    blocks: &'a [u8],
}

impl<'a> ReportIter<'a> {
    /// Profile-specific extensions after the blocks are passed over.
    fn new(rest: &'a [u8], count: u8) -> Option<Self> {
        rest.get(..ReportBlock::LEN * usize::from(count)).map(|blocks| Self { blocks })
    }
}

impl Iterator for ReportIter<'_> {
    type Item = ReportBlock;

    fn next(&mut self) -> Option<ReportBlock> {
        let (block, rest) = self.blocks.split_first_chunk()?;
        self.blocks = rest;
        ReportBlock::parse(block)
    }
}

/// A list of sources.
#[derive(Clone, Debug)]
pub struct SsrcIter<'a> {
    rest: &'a [u8],
}

impl Iterator for SsrcIter<'_> {
    type Item = Ssrc;

    fn next(&mut self) -> Option<Ssrc> {
        let ssrc = ssrc_at(self.rest, 0)?;
        self.rest = &self.rest[4..];
        Some(ssrc)
    }
}

/// Sources with the canonical name of each, when it has one. Other items are personal data and passed over.
#[derive(Clone, Debug)]
pub struct SdesIter<'a> {
    rest: &'a [u8],
    left: u8,
}

impl<'a> Iterator for SdesIter<'a> {
    type Item = (Ssrc, Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let ssrc = ssrc_at(self.rest, 0)?;
        let mut cname = None;
        let mut at = 4;
        // Items end with a zero type and zeros up to the next 32-bit border.
        while let Some(&kind) = self.rest.get(at).filter(|&&kind| kind != 0) {
            let len = usize::from(*self.rest.get(at + 1)?);
            let value = self.rest.get(at + 2..at + 2 + len)?;
            if kind == SDES_CNAME {
                cname = cname.or(Some(value));
            }
            at += 2 + len;
        }
        self.rest = self.rest.get((at + 1).next_multiple_of(4)..).unwrap_or_default();
        Some((ssrc, cname))
    }
}

/// Sequence numbers of a NACK.
#[derive(Clone, Debug)]
pub struct NackIter<'a> {
    pairs: &'a [u8],
    /// What is left of the pair's mask; its lowest bit stands for `base`.
    mask: u32,
    base: u16,
}

impl Iterator for NackIter<'_> {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        if self.mask == 0 {
            let (&[pid_high, pid_low, blp_high, blp_low], rest) = self.pairs.split_first_chunk()?;
            self.pairs = rest;
            self.base = u16::from_be_bytes([pid_high, pid_low]);
            self.mask = u32::from(u16::from_be_bytes([blp_high, blp_low])) << 1 | 1;
        }
        let offset = self.mask.trailing_zeros();
        self.mask &= self.mask - 1;
        Some(self.base.wrapping_add(offset as u16))
    }
}

/// One request of a FIR.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FirEntry {
    /// Of whom a keyframe is wanted.
    pub ssrc: Ssrc,
    /// Command number: a repetition has the same.
    pub sequence: u8,
}

/// Requests of a FIR.
#[derive(Clone, Debug)]
pub struct FirIter<'a> {
    rest: &'a [u8],
}

impl Iterator for FirIter<'_> {
    type Item = FirEntry;

    fn next(&mut self) -> Option<FirEntry> {
        let (entry, rest) = self.rest.split_first_chunk::<8>()?;
        self.rest = rest;
        Some(FirEntry { ssrc: ssrc_at(entry, 0)?, sequence: entry[4] })
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|&word| u32::from_be_bytes(word))
}

pub(super) fn ssrc_at(bytes: &[u8], at: usize) -> Option<Ssrc> {
    u32_at(bytes, at).map(Ssrc)
}

const SDES_CNAME: u8 = 1;
