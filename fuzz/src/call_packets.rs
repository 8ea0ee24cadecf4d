//! Targets of the telephone's sound: what reaches a call's port, from the trunk or from a stranger.

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use colloque::ids::{PayloadType, Ssrc};
use colloque::rtp::demux::{Class, classify};
use colloque::rtp::packet::RtpHeader;
use colloque::sfu::egress::{NtpReference, NtpTime};
use colloque::telephone::media::rtcp::{REPORT_LEN_MAX, Reports};
use colloque::telephone::media::source::SourceRule;
use colloque_sound::event::EventReader;
use colloque_sound::jitter::Place;
use colloque_sound::reception::Reception;
use colloque_sound::{Codec, FRAME_SAMPLES_MAX};

use crate::channel::pieces;

const EVENTS: PayloadType = PayloadType(101);
const NOISE: PayloadType = PayloadType(13);

/// Datagrams of a call, cut out of the input by a length byte each. The first byte of each says who sends: the announced
/// address, one of the trunk's others, or a stranger, who must never be taken for the telephone. A frame is taken now and then.
pub fn telephone_packets(input: &[u8]) {
    let Some((&first, input)) = input.split_first() else { return };
    let codec = [Codec::Pcma, Codec::Pcmu, Codec::G722, Codec::Opus][usize::from(first % 4)];
    let voice = PayloadType(codec.static_payload_type().unwrap_or(107));
    let senders = ["203.0.113.1:4000", "198.51.100.7:5000", "192.0.2.9:4000"].map(|text| text.parse::<SocketAddr>());
    let senders = senders.map(|address| address.expect("an address"));
    let mut rule = SourceRule::new(vec!["198.51.100.0/24".parse().expect("a network")]);
    rule.set_announced(senders[0]);
    let mut now = Instant::now();
    let mut reports = Reports::new(now, Ssrc(1), NtpReference { instant: now, ntp: NtpTime(1 << 40) }, 7);
    let mut reception = Reception::new(codec, codec.rate(), 1).expect("libopus has memory");
    let mut events = EventReader::default();
    for piece in pieces(input) {
        let Some((&how, datagram)) = piece.split_first() else { continue };
        let sender = usize::from(how % 3);
        now += Duration::from_millis(u64::from(how >> 3));
        match classify(datagram) {
            Some(Class::Rtp) => {
                let Ok(header) = RtpHeader::parse(datagram) else { continue };
                let judged =
                    rule.judge(now, senders[sender], &header, |number| [voice, EVENTS, NOISE].contains(&number));
                let Ok(accepted) = judged else { continue };
                assert_ne!(sender, 2, "a stranger was taken for the telephone");
                assert_eq!(accepted.seq.wire(), header.sequence);
                reports.record_received(now, header.ssrc, accepted.seq, header.timestamp, accepted.begins);
                let place = Place { ssrc: header.ssrc.0, sequence: header.sequence, timestamp: header.timestamp };
                let payload = header.payload(datagram);
                if header.payload_type == EVENTS {
                    black_box(events.handle_packet(header.ssrc.0, header.timestamp, header.marker, payload));
                    reception.handle_event(now, place);
                } else if header.payload_type == NOISE {
                    reception.handle_noise(now, place, payload);
                } else {
                    reception.handle_packet(now, place, payload);
                }
            }
            Some(Class::Rtcp) => {
                reports.handle_compound(now, datagram);
                assert!(reports.path().lost_out <= 1.0);
            }
            _ => {}
        }
        let mut frame = [0; FRAME_SAMPLES_MAX];
        reception.poll_frame(now, &mut frame[..codec.rate().frame_samples()]);
        assert!(reception.buffer().depth() <= colloque_sound::jitter::PACKETS_MAX);
        black_box(reports.poll_report(now, 0, &mut [0; REPORT_LEN_MAX]));
    }
}
