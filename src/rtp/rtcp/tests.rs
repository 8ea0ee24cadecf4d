//! Round trips against `rtc-rtcp` in both directions, hand-made vectors from the RFCs, and hostile input.

use bytes::Bytes;
use rand::Rng;
use rtc_rtcp::goodbye::Goodbye;
use rtc_rtcp::packet::Packet;
use rtc_rtcp::payload_feedbacks::full_intra_request::{FirEntry as OracleFirEntry, FullIntraRequest};
use rtc_rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc_rtcp::payload_feedbacks::receiver_estimated_maximum_bitrate::ReceiverEstimatedMaximumBitrate;
use rtc_rtcp::receiver_report::ReceiverReport;
use rtc_rtcp::reception_report::ReceptionReport;
use rtc_rtcp::sender_report::SenderReport;
use rtc_rtcp::source_description::SourceDescription;
use rtc_rtcp::transport_feedbacks::transport_layer_cc::TransportLayerCc;
use rtc_rtcp::transport_feedbacks::transport_layer_nack::{TransportLayerNack, nack_pairs_from_sequence_numbers};

use super::*;
use crate::ids::Ssrc;
use crate::rtp::random;
use crate::rtp::seq::SeqNo;

const SENDER: SenderInfo = SenderInfo {
    ssrc: Ssrc(0x1111_2222),
    ntp: 0xe5f0_1234_8000_0001,
    rtp_timestamp: 90_000,
    packets: 12,
    octets: 3_456,
};

const REPORT: ReportBlock = ReportBlock {
    ssrc: Ssrc(0x3333_4444),
    fraction_lost: 25,
    cumulative_lost: 7,
    highest_sequence: 0x0002_fffe,
    jitter: 300,
    last_sr: 0x1234_8000,
    delay_since_last_sr: 65_536,
};

/// One of everything that the writer can write.
fn compound() -> Vec<u8> {
    let mut out = [0xff; 1200];
    let mut writer = CompoundWriter::new(&mut out);
    assert!(writer.sender_report(SENDER, [REPORT, ReportBlock { cumulative_lost: -3, ..REPORT }]));
    assert!(writer.receiver_report(Ssrc(5), [REPORT]));
    assert!(writer.sdes_cname(Ssrc(5), b"opaque"));
    assert!(writer.nack(Ssrc(5), Ssrc(6), [65_530, 65_534, 0, 10, 11, 500]));
    assert!(writer.pli(Ssrc(5), Ssrc(6)));
    assert!(writer.fir(Ssrc(5), [FirEntry { ssrc: Ssrc(6), sequence: 9 }]));
    assert_eq!(writer.transport_feedback(Ssrc(5), Ssrc(6), 3, &arrivals(&[(10, 0), (11, 1_000), (14, 900_000)])), 3);
    assert!(writer.bye(&[Ssrc(5), Ssrc(6)]));
    let len = writer.len();
    assert_eq!(len % 4, 0);
    out[..len].to_vec()
}

fn arrivals(told: &[(u64, i64)]) -> Vec<Arrival> {
    told.iter().map(|&(seq, micros)| Arrival { seq: SeqNo(seq), micros }).collect()
}

fn oracle(compound: &[u8]) -> Vec<Box<dyn Packet>> {
    rtc_rtcp::packet::unmarshal(&mut Bytes::copy_from_slice(compound)).expect("the oracle reads what we write")
}

fn found<T: 'static>(packets: &[Box<dyn Packet>]) -> &T {
    packets.iter().find_map(|packet| packet.as_any().downcast_ref()).expect("the packet is in the compound")
}

fn read(compound: &[u8]) -> Vec<Rtcp<'_>> {
    packets(compound).collect::<Result<_, _>>().expect("the compound is sound")
}

#[test]
fn the_oracle_reads_what_we_write() {
    let compound = compound();
    let packets = oracle(&compound);
    assert_eq!(packets.len(), 8);

    let report: &SenderReport = found(&packets);
    assert_eq!((report.ssrc, report.ntp_time, report.rtp_time), (SENDER.ssrc.0, SENDER.ntp, SENDER.rtp_timestamp));
    assert_eq!((report.packet_count, report.octet_count), (SENDER.packets, SENDER.octets));
    let block = &report.reports[0];
    assert_eq!((block.ssrc, block.fraction_lost, block.total_lost), (REPORT.ssrc.0, 25, 7));
    assert_eq!((block.last_sequence_number, block.jitter), (REPORT.highest_sequence, REPORT.jitter));
    assert_eq!((block.last_sender_report, block.delay), (REPORT.last_sr, REPORT.delay_since_last_sr));
    assert_eq!(report.reports[1].total_lost, 0xff_fffd, "24 bits in two's complement");

    assert_eq!(found::<ReceiverReport>(&packets).reports.len(), 1);
    assert_eq!(found::<SourceDescription>(&packets).chunks[0].items[0].text, Bytes::from_static(b"opaque"));
    let lost: Vec<u16> =
        found::<TransportLayerNack>(&packets).nacks.iter().flat_map(|pair| pair.packet_list()).collect();
    assert_eq!(lost, [65_530, 65_534, 0, 10, 11, 500]);
    let pli: &PictureLossIndication = found(&packets);
    assert_eq!((pli.sender_ssrc, pli.media_ssrc), (5, 6));
    let fir: &FullIntraRequest = found(&packets);
    assert_eq!((fir.fir[0].ssrc, fir.fir[0].sequence_number), (6, 9));
    let feedback: &TransportLayerCc = found(&packets);
    assert_eq!((feedback.base_sequence_number, feedback.packet_status_count, feedback.fb_pkt_count), (10, 5, 3));
    let deltas: Vec<i64> = feedback.recv_deltas.iter().map(|delta| delta.delta).collect();
    assert_eq!(deltas, [0, 1_000, 899_000]);
    assert_eq!(found::<Goodbye>(&packets).sources, [5, 6]);
}

#[test]
fn reads_what_it_wrote() {
    let compound = compound();
    let packets = read(&compound);
    assert_eq!(packets.len(), 8);
    for packet in packets {
        match packet {
            Rtcp::SenderReport { ssrc, ntp, rtp_timestamp, packets, octets, reports } => {
                assert_eq!(SenderInfo { ssrc, ntp, rtp_timestamp, packets, octets }, SENDER);
                let expected = [REPORT, ReportBlock { cumulative_lost: -3, ..REPORT }];
                assert_eq!(reports.collect::<Vec<_>>(), expected);
            }
            Rtcp::ReceiverReport { ssrc, reports } => {
                assert_eq!((ssrc, reports.collect::<Vec<_>>()), (Ssrc(5), vec![REPORT]));
            }
            Rtcp::Sdes { chunks } => {
                assert_eq!(chunks.collect::<Vec<_>>(), [(Ssrc(5), Some(&b"opaque"[..]))]);
            }
            Rtcp::Nack { sender, media, lost } => {
                assert_eq!((sender, media), (Ssrc(5), Ssrc(6)));
                assert_eq!(lost.collect::<Vec<_>>(), [65_530, 65_534, 0, 10, 11, 500]);
            }
            Rtcp::Pli { sender, media } => assert_eq!((sender, media), (Ssrc(5), Ssrc(6))),
            Rtcp::Fir { sender, entries } => {
                assert_eq!(sender, Ssrc(5));
                assert_eq!(entries.collect::<Vec<_>>(), [FirEntry { ssrc: Ssrc(6), sequence: 9 }]);
            }
            Rtcp::TransportFeedback(feedback) => {
                assert_eq!((feedback.base, feedback.count, feedback.feedback_count), (10, 5, 3));
                let expected = [(10, Some(0)), (11, Some(1_000)), (12, None), (13, None), (14, Some(900_000))];
                assert_eq!(feedback.arrivals().collect::<Vec<_>>(), expected);
            }
            Rtcp::Bye { sources } => assert_eq!(sources.collect::<Vec<_>>(), [Ssrc(5), Ssrc(6)]),
            Rtcp::Remb { .. } | Rtcp::Other { .. } => panic!("never written"),
        }
    }
}

#[test]
fn reads_what_the_oracle_writes() {
    let report = ReceptionReport { ssrc: 1, total_lost: 0xff_ffff, ..Default::default() };
    let written: Vec<Box<dyn Packet>> = vec![
        Box::new(ReceiverReport { ssrc: 7, reports: vec![report], profile_extensions: Bytes::from_static(b"extn") }),
        Box::new(TransportLayerNack {
            sender_ssrc: 7,
            media_ssrc: 8,
            nacks: nack_pairs_from_sequence_numbers(&[42, 43, 58, 59]),
        }),
        Box::new(FullIntraRequest {
            sender_ssrc: 7,
            media_ssrc: 0,
            fir: vec![OracleFirEntry { ssrc: 8, sequence_number: 1 }, OracleFirEntry { ssrc: 9, sequence_number: 2 }],
        }),
        Box::new(ReceiverEstimatedMaximumBitrate { sender_ssrc: 7, bitrate: 2_500_000.0, ssrcs: vec![8, 9] }),
        Box::new(Goodbye { sources: vec![7], reason: Bytes::from_static(b"done") }),
    ];
    let compound = rtc_rtcp::packet::marshal(&written).unwrap();
    let packets = read(&compound);
    let [
        Rtcp::ReceiverReport { reports, .. },
        Rtcp::Nack { lost, .. },
        Rtcp::Fir { entries, .. },
        Rtcp::Remb { bitrate, sources, .. },
        Rtcp::Bye { sources: leaving },
    ] = &packets[..]
    else {
        panic!("{packets:?}");
    };
    assert_eq!(reports.clone().next().unwrap().cumulative_lost, -1);
    assert_eq!(lost.clone().collect::<Vec<_>>(), [42, 43, 58, 59]);
    assert_eq!(entries.clone().map(|entry| entry.ssrc.0).collect::<Vec<_>>(), [8, 9]);
    assert!((2_490_000..=2_500_000).contains(bitrate), "{bitrate}: 18 bits of mantissa");
    assert_eq!(sources.clone().collect::<Vec<_>>(), [Ssrc(8), Ssrc(9)]);
    assert_eq!(leaving.clone().collect::<Vec<_>>(), [Ssrc(7)]);
}

#[test]
fn a_malformed_tail_ends_with_an_error_after_the_sound_packets() {
    let mut bytes = compound();
    bytes.extend_from_slice(&[0x80, 201, 0, 9, 1, 2, 3, 4]);
    let items: Vec<_> = packets(&bytes).collect();
    assert_eq!(items.len(), 9);
    assert_eq!(items[8].as_ref().unwrap_err(), &RtcpError::TooShort);
    assert!(items[..8].iter().all(Result::is_ok));

    let error = |bytes: &[u8]| packets(bytes).next().unwrap().unwrap_err();
    assert_eq!(error(&[0x80, 201, 0]), RtcpError::TooShort);
    assert_eq!(error(&[0x40, 201, 0, 0]), RtcpError::Version);
    assert_eq!(error(&[0xa0, 201, 0, 1, 0, 0, 0, 5]), RtcpError::Padding);
    assert_eq!(error(&[0xa0, 201, 0, 0]), RtcpError::Padding);
    assert_eq!(error(&[0x81, 201, 0, 1, 0, 0, 0, 5]), RtcpError::Body, "a report block that is not there");
    assert_eq!(error(&[0x82, 203, 0, 1, 0, 0, 0, 5]), RtcpError::Body, "a source that is not there");
    assert!(packets(&[]).next().is_none());
}

#[test]
fn padding_is_not_content() {
    let bytes = [0xa1, 203, 0, 2, 0, 0, 0, 5, 0, 0, 0, 4];
    let Rtcp::Bye { sources } = &read(&bytes)[0] else { panic!() };
    assert_eq!(sources.clone().collect::<Vec<_>>(), [Ssrc(5)]);
}

#[test]
fn unknown_types_are_passed_over() {
    let bytes = [0x80, 207, 0, 1, 0, 0, 0, 5, 0x8f, 206, 0, 3, 0, 0, 0, 5, 0, 0, 0, 0, b'N', b'O', b'N', b'E'];
    let packets = read(&bytes);
    assert!(matches!(packets[..], [Rtcp::Other { packet_type: 207 }, Rtcp::Other { packet_type: 206 }]));
}

#[test]
fn an_absurd_remb_is_the_largest_rate() {
    let bytes = [0x8f, 206, 0, 4, 0, 0, 0, 5, 0, 0, 0, 0, b'R', b'E', b'M', b'B', 0, 0xff, 0xff, 0xff];
    let Rtcp::Remb { bitrate, .. } = read(&bytes)[0] else { panic!() };
    assert_eq!(bitrate, u64::MAX);
}

#[test]
fn sdes_gives_only_canonical_names() {
    // Two chunks: NAME then CNAME; nothing.
    let bytes =
        [0x82, 202, 0, 6, 0, 0, 0, 1, 2, 2, b'x', b'y', 1, 3, b'a', b'b', b'c', 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0];
    let Rtcp::Sdes { chunks } = &read(&bytes)[0] else { panic!() };
    assert_eq!(chunks.clone().collect::<Vec<_>>(), [(Ssrc(1), Some(&b"abc"[..])), (Ssrc(2), None)]);
}

#[test]
fn canonical_names_of_every_length_keep_the_compound_aligned() {
    for len in 0..=255usize {
        let mut out = [0xff; 300];
        let mut writer = CompoundWriter::new(&mut out);
        assert!(writer.sdes_cname(Ssrc(1), &vec![b'c'; len]));
        assert!(writer.pli(Ssrc(1), Ssrc(2)));
        let len_written = writer.len();
        let packets = read(&out[..len_written]);
        let Rtcp::Sdes { chunks } = &packets[0] else { panic!() };
        assert_eq!(chunks.clone().next().unwrap().1.unwrap().len(), len);
        assert!(matches!(packets[1], Rtcp::Pli { .. }));
    }
}

#[test]
fn writes_a_packet_whole_or_not_at_all() {
    let whole = compound();
    for room in 0..whole.len() {
        let mut out = vec![0; room];
        let mut writer = CompoundWriter::new(&mut out);
        writer.sender_report(SENDER, [REPORT]);
        writer.sdes_cname(Ssrc(5), b"opaque");
        writer.nack(Ssrc(5), Ssrc(6), [1, 100, 200]);
        writer.transport_feedback(Ssrc(5), Ssrc(6), 0, &arrivals(&[(1, 0), (90, 5_000_000)]));
        writer.bye(&[Ssrc(5)]);
        let len = writer.len();
        assert!(packets(&out[..len]).all(|packet| packet.is_ok()), "{room} bytes of room");
    }
    let mut out = [0; 64];
    let mut writer = CompoundWriter::new(&mut out);
    assert!(!writer.nack(Ssrc(1), Ssrc(2), []), "an empty NACK is not worth a packet");
    assert_eq!(writer.transport_feedback(Ssrc(1), Ssrc(2), 0, &[]), 0);
    assert!(writer.is_empty());
}

#[test]
fn reads_every_kind_of_status_chunk() {
    // Base 1, 23 packets: run of 2 not received; one-bit vector 1 then zeros (14); two-bit vector 2, 1, 0...
    let mut bytes = vec![0x8f, 205, 0, 7, 0, 0, 0, 1, 0, 0, 0, 2, 0, 1, 0, 23, 0xff, 0xff, 0xff, 9];
    bytes.extend_from_slice(&[0x00, 0x02, 0xa0, 0x00, 0xe4, 0x00]);
    // Deltas: 4 ticks; -2 ticks in two bytes; 255 ticks.
    bytes.extend_from_slice(&[4, 0xff, 0xfe, 255, 0, 0]);
    let Rtcp::TransportFeedback(feedback) = read(&bytes)[0] else { panic!() };
    assert_eq!(feedback.reference_time, -1, "24 bits, signed");
    let arrived: Vec<(u16, i64)> = feedback.arrivals().filter_map(|(sequence, at)| Some((sequence, at?))).collect();
    let start = -64_000;
    assert_eq!(arrived, [(3, start + 1_000), (17, start + 500), (18, start + 500 + 255 * 250)]);
    assert_eq!(feedback.arrivals().count(), 23);
}

#[test]
fn feedback_without_its_deltas_ends_early() {
    // A run of 8,191 received packets and a single delta byte.
    let mut bytes = vec![0x8f, 205, 0, 5, 0, 0, 0, 1, 0, 0, 0, 2, 0, 1, 0xff, 0xff, 0, 0, 0, 9];
    bytes.extend_from_slice(&[0x3f, 0xff, 7, 0]);
    let Rtcp::TransportFeedback(feedback) = read(&bytes)[0] else { panic!() };
    assert_eq!(feedback.arrivals().count(), 0, "the chunks for 65,535 packets are missing");
    bytes[14..16].copy_from_slice(&[0x1f, 0xff]);
    let Rtcp::TransportFeedback(feedback) = read(&bytes)[0] else { panic!() };
    assert_eq!(feedback.arrivals().count(), 2);
}

#[test]
fn a_small_packet_cannot_claim_endless_work() {
    let mut bytes = vec![0x8f, 205, 0, 8, 0, 0, 0, 1, 0, 0, 0, 2, 0, 1, 0xff, 0xff, 0, 0, 0, 9];
    for _ in 0..8 {
        bytes.extend_from_slice(&[0x1f, 0xff]);
    }
    let Rtcp::TransportFeedback(feedback) = read(&bytes)[0] else { panic!() };
    assert_eq!((feedback.count, feedback.arrivals().count()), (65_535, 8_192));
}

#[test]
fn any_arrivals_survive_feedback_to_the_nearest_tick() {
    let mut rng = random::rng(7);
    for round in 0..600 {
        let mut seq = SeqNo(rng.random_range(0..200_000));
        let mut micros: i64 = rng.random_range(0..1_000_000_000);
        let gap_max = [1, 3, 40, 9_000][round % 4];
        let mut sent = Vec::new();
        for _ in 0..rng.random_range(1..120) {
            sent.push(Arrival { seq, micros });
            seq = seq + rng.random_range(1..=gap_max);
            micros = (micros + rng.random_range(-2_000..[3_000, 200_000][round % 2])).max(0);
        }
        let mut rest = &sent[..];
        let mut feedback_count = 0;
        while !rest.is_empty() {
            let mut out = [0; 400];
            let mut writer = CompoundWriter::new(&mut out);
            let covered = writer.transport_feedback(Ssrc(1), Ssrc(2), feedback_count, rest);
            assert!(covered > 0);
            let len = writer.len();
            check_feedback(&out[..len], &rest[..covered]);
            rest = &rest[covered..];
            feedback_count += 1;
        }
    }
}

/// Our reader and the oracle find exactly `sent` in a feedback packet.
fn check_feedback(packet: &[u8], sent: &[Arrival]) {
    let Rtcp::TransportFeedback(feedback) = read(packet)[0] else { panic!() };
    let mut expected = sent.iter().copied().peekable();
    let mut next = sent[0].seq;
    for (sequence, micros) in feedback.arrivals() {
        assert_eq!(sequence, next.wire());
        let arrival = expected.next_if(|arrival| arrival.seq == next);
        assert_eq!(micros, arrival.map(|arrival| arrival.micros.div_euclid(TICK_MICROS) * TICK_MICROS));
        next = next.next();
    }
    assert_eq!(expected.next(), None);
    let packets = oracle(packet);
    let told: &TransportLayerCc = found(&packets);
    assert_eq!((told.recv_deltas.len(), told.packet_status_count), (sent.len(), feedback.count));
}

#[test]
fn feedback_stops_before_a_delta_that_does_not_fit() {
    let mut out = [0; 400];
    let mut writer = CompoundWriter::new(&mut out);
    let sent = arrivals(&[(1, 0), (2, 8_000_000), (3, 16_500_000)]);
    assert_eq!(writer.transport_feedback(Ssrc(1), Ssrc(2), 0, &sent), 2);
    assert_eq!(writer.transport_feedback(Ssrc(1), Ssrc(2), 1, &arrivals(&[(5, 0), (4, 0)])), 1, "unsorted");
    assert_eq!(writer.transport_feedback(Ssrc(1), Ssrc(2), 2, &arrivals(&[(5, 0), (5, 0)])), 1, "twice the same");
}

#[test]
fn survives_hostile_input() {
    let whole = compound();
    let starts: Vec<&[u8]> = (0..whole.len()).step_by(4).map(|at| &whole[at..]).collect();
    random::for_hostile_inputs(8, &starts, |input| {
        for packet in packets(input) {
            match packet {
                Ok(Rtcp::SenderReport { reports, .. } | Rtcp::ReceiverReport { reports, .. }) => {
                    assert!(reports.count() <= 31);
                }
                Ok(Rtcp::Sdes { chunks }) => assert!(chunks.count() <= 31),
                Ok(Rtcp::Bye { sources } | Rtcp::Remb { sources, .. }) => assert!(sources.count() <= 255),
                Ok(Rtcp::Nack { lost, .. }) => assert!(lost.count() <= input.len() / 4 * 17),
                Ok(Rtcp::Fir { entries, .. }) => assert!(entries.count() <= input.len() / 8),
                Ok(Rtcp::TransportFeedback(feedback)) => {
                    assert!(feedback.arrivals().count() <= usize::from(feedback.count));
                }
                Ok(Rtcp::Pli { .. } | Rtcp::Other { .. }) | Err(_) => {}
            }
        }
    });
}
