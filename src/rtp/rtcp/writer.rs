//! Builds a compound RTCP packet in the caller's buffer.
//!
//! Each method appends one packet, or nothing (false) when it does not fit. RFC 3550 wants a report first and an
//! SDES in every compound; feedback alone is a reduced-size packet (RFC 5506), which the far side must have
//! negotiated. Sealing (SRTCP) is the transport's.

use crate::ids::Ssrc;

use super::reader::ReportBlock;
use super::transport_feedback::{self, Arrival};
use super::{
    FORMAT_FIR, FORMAT_NACK, FORMAT_PLI, FORMAT_TRANSPORT_CC, FirEntry, GOODBYE, PAYLOAD_SPECIFIC_FEEDBACK,
    RECEIVER_REPORT, SENDER_REPORT, SOURCE_DESCRIPTION, TRANSPORT_LAYER_FEEDBACK,
};

/// The sender's part of a sender report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SenderInfo {
    /// Who reports.
    pub ssrc: Ssrc,
    /// NTP time, 32.32 fixed point seconds.
    pub ntp: u64,
    /// The same instant on the RTP clock.
    pub rtp_timestamp: u32,
    /// Packets sent so far, modulo 2^32.
    pub packets: u32,
    /// Payload bytes sent so far, modulo 2^32.
    pub octets: u32,
}

/// Appends packets to a compound. At most 31 report blocks go into one report.
#[derive(Debug)]
pub struct CompoundWriter<'a> {
    out: &'a mut [u8],
    len: usize,
}

impl<'a> CompoundWriter<'a> {
    /// Starts an empty compound in the front of `out`.
    pub fn new(out: &'a mut [u8]) -> Self {
        Self { out, len: 0 }
    }

    /// Bytes written so far, a multiple of four.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing was written yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that are still free.
    #[must_use]
    pub fn room(&self) -> usize {
        self.out.len() - self.len
    }

    /// RFC 3550 section 6.4.1.
    pub fn sender_report(&mut self, sender: SenderInfo, reports: impl IntoIterator<Item = ReportBlock>) -> bool {
        self.packet(SENDER_REPORT, |body| {
            body.word(sender.ssrc.0)?;
            body.bytes(&sender.ntp.to_be_bytes())?;
            body.word(sender.rtp_timestamp)?;
            body.word(sender.packets)?;
            body.word(sender.octets)?;
            body.report_blocks(reports)
        })
    }

    /// RFC 3550 section 6.4.2.
    pub fn receiver_report(&mut self, ssrc: Ssrc, reports: impl IntoIterator<Item = ReportBlock>) -> bool {
        self.packet(RECEIVER_REPORT, |body| {
            body.word(ssrc.0)?;
            body.report_blocks(reports)
        })
    }

    /// RFC 3550 section 6.5.1: one source with its canonical name, which is cut at 255 bytes.
    pub fn sdes_cname(&mut self, ssrc: Ssrc, cname: &[u8]) -> bool {
        let cname = &cname[..cname.len().min(255)];
        self.packet(SOURCE_DESCRIPTION, |body| {
            body.word(ssrc.0)?;
            body.bytes(&[1, cname.len() as u8])?;
            body.bytes(cname)?;
            // At least one zero ends the chunk; `packet` pads the rest with zeros.
            body.bytes(&[0])?;
            Some(1)
        })
    }

    /// RFC 3550 section 6.6.
    pub fn bye(&mut self, sources: &[Ssrc]) -> bool {
        self.packet(GOODBYE, |body| {
            for source in sources {
                body.word(source.0)?;
            }
            u8::try_from(sources.len()).ok().filter(|&count| count <= COUNT_MAX)
        })
    }

    /// RFC 4585 section 6.2.1. `lost` in ascending order (across a wrap) packs best; nothing is written for none.
    pub fn nack(&mut self, sender: Ssrc, media: Ssrc, lost: impl IntoIterator<Item = u16>) -> bool {
        let mut lost = lost.into_iter().peekable();
        if lost.peek().is_none() {
            return false;
        }
        self.packet(TRANSPORT_LAYER_FEEDBACK, |body| {
            body.word(sender.0)?;
            body.word(media.0)?;
            while let Some(base) = lost.next() {
                let mut mask = 0u16;
                while let Some(next) = lost.next_if(|next| (1..=16).contains(&next.wrapping_sub(base))) {
                    mask |= 1 << (next.wrapping_sub(base) - 1);
                }
                body.word(u32::from(base) << 16 | u32::from(mask))?;
            }
            Some(FORMAT_NACK)
        })
    }

    /// RFC 4585 section 6.3.1.
    pub fn pli(&mut self, sender: Ssrc, media: Ssrc) -> bool {
        self.packet(PAYLOAD_SPECIFIC_FEEDBACK, |body| {
            body.word(sender.0)?;
            body.word(media.0)?;
            Some(FORMAT_PLI)
        })
    }

    /// RFC 5104 section 4.3.1.
    pub fn fir(&mut self, sender: Ssrc, entries: impl IntoIterator<Item = FirEntry>) -> bool {
        self.packet(PAYLOAD_SPECIFIC_FEEDBACK, |body| {
            body.word(sender.0)?;
            body.word(0)?;
            for entry in entries {
                body.word(entry.ssrc.0)?;
                body.word(u32::from(entry.sequence) << 24)?;
            }
            Some(FORMAT_FIR)
        })
    }

    /// Transport-wide congestion control feedback for the front of `arrivals`, which must ascend by number. Returns
    /// how many were covered, 0 when not even one fits; call again with the rest and the next feedback count.
    pub fn transport_feedback(&mut self, sender: Ssrc, media: Ssrc, feedback_count: u8, arrivals: &[Arrival]) -> usize {
        let mut covered = 0;
        self.packet(TRANSPORT_LAYER_FEEDBACK, |body| {
            let (len, count) =
                transport_feedback::write_body(&mut body.out[body.len..], sender, media, feedback_count, arrivals)?;
            body.len += len;
            covered = count;
            Some(FORMAT_TRANSPORT_CC)
        });
        covered
    }

    /// Appends a packet whose body `fill` writes; it returns the count or format, or `None` when it does not fit.
    fn packet(&mut self, packet_type: u8, fill: impl FnOnce(&mut Body<'_>) -> Option<u8>) -> bool {
        // Whole words only, so that the padding at the end always fits.
        let room = self.room() & !3;
        let Some(out) = self.out.get_mut(self.len..self.len + room).filter(|out| out.len() >= 4) else {
            return false;
        };
        let mut body = Body { out, len: 4 };
        let Some(count) = fill(&mut body) else {
            return false;
        };
        let end = body.len.next_multiple_of(4);
        let words = (end / 4 - 1) as u16;
        body.out[body.len..end].fill(0);
        body.out[0] = 2 << 6 | count;
        body.out[1] = packet_type;
        body.out[2..4].copy_from_slice(&words.to_be_bytes());
        self.len += end;
        true
    }
}

/// A packet being written, its header's four bytes included.
struct Body<'a> {
    out: &'a mut [u8],
    len: usize,
}

impl Body<'_> {
    fn bytes(&mut self, bytes: &[u8]) -> Option<()> {
        self.out.get_mut(self.len..self.len + bytes.len())?.copy_from_slice(bytes);
        self.len += bytes.len();
        Some(())
    }

    fn word(&mut self, word: u32) -> Option<()> {
        self.bytes(&word.to_be_bytes())
    }

    /// Returns their count.
    fn report_blocks(&mut self, reports: impl IntoIterator<Item = ReportBlock>) -> Option<u8> {
        let mut count = 0;
        for report in reports.into_iter().take(usize::from(COUNT_MAX)) {
            let lost = report.cumulative_lost.clamp(-0x80_0000, 0x7f_ffff) as u32 & 0xff_ffff;
            self.word(report.ssrc.0)?;
            self.word(u32::from(report.fraction_lost) << 24 | lost)?;
            self.word(report.highest_sequence)?;
            self.word(report.jitter)?;
            self.word(report.last_sr)?;
            self.word(report.delay_since_last_sr)?;
            count += 1;
        }
        Some(count)
    }
}

/// What the header's five bits hold.
const COUNT_MAX: u8 = 31;
