//! The jitter buffer against streams in virtual time.

use super::*;

const HZ: u32 = 8_000;

/// A sender of 20 ms packets whose payload is its number.
struct Line {
    start: Instant,
    buffer: JitterBuffer,
}

impl Line {
    fn new() -> Self {
        Self { start: Instant::now(), buffer: JitterBuffer::new(HZ) }
    }

    fn at(&self, millis: u64) -> Instant {
        self.start + Duration::from_millis(millis)
    }

    fn place(number: u32) -> Place {
        Place { ssrc: 1, sequence: number as u16, timestamp: number.wrapping_mul(160) }
    }

    fn send(&mut self, millis: u64, number: u32) -> Inserted {
        self.buffer.handle_packet(self.at(millis), Self::place(number), 160, &number.to_be_bytes())
    }

    fn hear(&mut self, millis: u64) -> Heard {
        let now = self.at(millis);
        Heard::of(self.buffer.poll_take(now, false))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    Packet(u32),
    Lost,
    LostBefore(u32),
    Empty,
}

impl Heard {
    fn of(taken: Taken<'_>) -> Self {
        let number = |payload: &[u8]| u32::from_be_bytes(payload.try_into().unwrap());
        match taken {
            Taken::Packet(payload) => Self::Packet(number(payload)),
            Taken::Lost { next: None, .. } => Self::Lost,
            Taken::Lost { next: Some(payload), .. } => Self::LostBefore(number(payload)),
            Taken::Empty { .. } => Self::Empty,
        }
    }
}

use Heard::{Empty, Lost, LostBefore, Packet};

#[test]
fn packets_come_out_in_order_one_frame_after_the_first() {
    let mut line = Line::new();
    assert_eq!(line.hear(0), Empty);
    for n in 0..10 {
        assert_eq!(line.send(20 * n, n as u32), Inserted::Stored);
        let expected = if n == 0 { Empty } else { Packet(n as u32 - 1) };
        assert_eq!(line.hear(20 * n + 5), expected);
    }
    assert_eq!(line.buffer.counts().received, 10);
    assert!(line.buffer.delay(line.at(185)) < Duration::from_millis(40));
}

#[test]
fn a_lost_packet_is_lost_once_and_its_neighbour_is_shown() {
    let mut line = Line::new();
    for n in [0, 1, 3, 4] {
        line.send(0, n);
    }
    let heard: Vec<Heard> = (1..6).map(|n| line.hear(20 * n)).collect();
    assert_eq!(heard, [Packet(0), Packet(1), LostBefore(3), Packet(3), Packet(4)]);
    let counts = line.buffer.counts();
    assert_eq!((counts.lost, counts.concealed, counts.late), (1, 1, 0));
    assert_eq!(line.send(130, 2), Inserted::Late);
}

#[test]
fn several_lost_are_counted_each() {
    let mut line = Line::new();
    line.send(0, 0);
    line.send(80, 4);
    let heard: Vec<Heard> = (4..9).map(|n| line.hear(20 * n)).collect();
    assert_eq!(heard, [Packet(0), Lost, Lost, LostBefore(4), Packet(4)]);
    assert_eq!(line.buffer.counts().lost, 3);
}

#[test]
fn order_is_restored_and_duplicates_are_dropped() {
    let mut line = Line::new();
    for n in [1, 0, 3, 2, 2, 5, 4] {
        let expected = if n == 2 && line.buffer.depth() == 4 { Inserted::Duplicate } else { Inserted::Stored };
        assert_eq!(line.send(0, n), expected);
    }
    let heard: Vec<Heard> = (1..7).map(|n| line.hear(20 * n)).collect();
    assert_eq!(heard, [0, 1, 2, 3, 4, 5].map(Packet));
    assert_eq!(line.buffer.counts().duplicates, 1);
}

#[test]
fn numbers_and_timestamps_may_wrap() {
    let mut line = Line::new();
    let place = |n: u32| Place {
        ssrc: 1,
        sequence: 65_530_u16.wrapping_add(n as u16),
        timestamp: (u32::MAX - 5 * 160).wrapping_add(n * 160),
    };
    for n in 0..20 {
        let now = line.at(20 * u64::from(n));
        assert_eq!(line.buffer.handle_packet(now, place(n), 160, &n.to_be_bytes()), Inserted::Stored);
        if n > 0 {
            assert_eq!(line.hear(20 * u64::from(n) + 5), Packet(n - 1));
        }
    }
    assert_eq!(line.buffer.counts().lost + line.buffer.counts().restarts, 0);
}

/// Once 75 false losses: telephone-events use the same sequence numbers as sound.
#[test]
fn a_held_key_is_a_pause_and_no_loss() {
    let mut line = Line::new();
    let mut heard = Vec::new();
    for n in 0..40_u32 {
        let millis = 20 * u64::from(n);
        if (10..20).contains(&n) {
            // The timestamp of a key is that of its start.
            let place = Place { timestamp: 1_600, ..Line::place(n) };
            assert_eq!(line.buffer.handle_other(line.at(millis), place), Inserted::Stored);
        } else {
            line.send(millis, n);
        }
        heard.push(line.hear(millis + 5));
    }
    assert_eq!(line.buffer.counts().lost, 0);
    assert_eq!(line.buffer.counts().concealed, 0);
    assert!(!heard.contains(&Lost));
    assert_eq!(heard[20..], [vec![Empty], (20..39).map(Packet).collect()].concat());
}

#[test]
fn a_senders_pause_counts_no_loss_and_keeps_the_delay() {
    let mut line = Line::new();
    let mut heard = Vec::new();
    for tick in 0..100_u32 {
        let millis = 20 * u64::from(tick);
        if !(20..60).contains(&tick) {
            let sequence = if tick < 20 { tick } else { tick - 40 };
            let place = Place { sequence: sequence as u16, ..Line::place(tick) };
            line.buffer.handle_packet(line.at(millis), place, 160, &tick.to_be_bytes());
        }
        heard.push(line.hear(millis + 5));
    }
    let counts = line.buffer.counts();
    assert_eq!((counts.lost, counts.concealed, counts.cut, counts.dropped), (0, 0, 0, 0));
    assert_eq!(heard[61..], (60..99).map(Packet).collect::<Vec<_>>());
}

#[test]
fn a_late_packet_is_still_played_and_nothing_after_it_is_lost() {
    let mut line = Line::new();
    let mut heard = Vec::new();
    for n in 0..30_u32 {
        // The tenth packet and those behind it are held up by 100 ms.
        for sent in 0..30_u32 {
            let arrives = 20 * sent + if (10..15).contains(&sent) { 100 - 20 * (sent - 10) } else { 0 };
            if arrives == 20 * n {
                line.send(u64::from(arrives), sent);
            }
        }
        heard.push(line.hear(20 * u64::from(n) + 5));
    }
    let played: Vec<u32> = heard.iter().filter_map(|h| if let Packet(n) = h { Some(*n) } else { None }).collect();
    assert_eq!(played, (0..played.len() as u32).collect::<Vec<_>>());
    assert_eq!(line.buffer.counts().lost, 0);
    assert!((1..=5).contains(&line.buffer.counts().concealed));
}

/// A telephone once sent 72 packets at once at its start, which left 1.4 s of delay for half a minute.
#[test]
fn a_burst_at_the_start_is_cut_at_once() {
    let mut line = Line::new();
    (0..75).for_each(|n| {
        line.send(0, n);
    });
    let mut delay = Duration::MAX;
    for tick in 0..50_u64 {
        line.send(20 * (tick + 1), 75 + tick as u32);
        line.hear(20 * (tick + 1) + 5);
        delay = line.buffer.delay(line.at(20 * (tick + 1) + 5));
        if tick >= 2 {
            assert!(delay <= Duration::from_millis(60), "{delay:?} after {tick} frames");
        }
    }
    assert!(delay <= Duration::from_millis(60), "{delay:?}");
    assert!(line.buffer.counts().cut >= 70, "{:?}", line.buffer.counts());
    assert_eq!(line.buffer.counts().lost, 0);
}

#[test]
fn another_sender_starts_anew() {
    let mut line = Line::new();
    for n in 0..5 {
        line.send(20 * n, n as u32);
        line.hear(20 * n + 5);
    }
    let other = |n: u32| Place { ssrc: 2, sequence: 40_000 + n as u16, timestamp: 3_000_000_000 + 160 * n };
    let mut heard = Vec::new();
    for n in 0..5_u32 {
        let now = line.at(100 + 20 * u64::from(n));
        assert_eq!(line.buffer.handle_packet(now, other(n), 160, &(100 + n).to_be_bytes()), Inserted::Stored);
        heard.push(line.hear(105 + 20 * u64::from(n)));
    }
    assert_eq!(heard, [Empty, Packet(100), Packet(101), Packet(102), Packet(103)]);
    assert_eq!((line.buffer.counts().restarts, line.buffer.counts().lost), (1, 0));
}

#[test]
fn one_wild_packet_changes_nothing_and_two_in_a_row_move_the_stream() {
    let mut line = Line::new();
    for n in 0..5 {
        line.send(20 * n, n as u32);
        line.hear(20 * n + 5);
    }
    let wild = |n: u16| Place { ssrc: 1, sequence: 5 + n, timestamp: 900_000 + 160 * u32::from(n) };
    assert_eq!(line.buffer.handle_packet(line.at(100), wild(0), 160, &[9; 4]), Inserted::Suspect);
    assert_eq!(line.send(100, 5), Inserted::Stored);
    assert_eq!(line.hear(105), Packet(4));
    assert_eq!(line.buffer.handle_packet(line.at(120), wild(10), 160, &[9; 4]), Inserted::Suspect);
    assert_eq!(line.buffer.handle_packet(line.at(120), wild(11), 160, &[9; 4]), Inserted::Stored);
    assert_eq!(line.buffer.counts().restarts, 1);
    assert_eq!(line.hear(145), Packet(0x0909_0909));
}

#[test]
fn clocks_200_ppm_apart_for_two_hours_lose_nothing_and_keep_the_delay() {
    for ppm in [-200_i64, 200] {
        let mut line = Line::new();
        let (mut sent, mut worst) = (0_u32, Duration::ZERO);
        for tick in 0..2 * 3_600 * 50_u64 {
            let now = line.start + Duration::from_millis(20 * tick);
            // The sender's clock, in ours.
            while i64::from(sent) * 20_000 * (1_000_000 - ppm) / 1_000_000 <= tick as i64 * 20_000 {
                line.buffer.handle_packet(now, Line::place(sent), 160, &[0; 4]);
                sent += 1;
            }
            // Two seconds of talk, one of silence.
            line.buffer.poll_take(now + Duration::from_millis(7), tick % 150 > 100);
            worst = worst.max(line.buffer.delay(now));
        }
        let counts = line.buffer.counts();
        assert_eq!((counts.lost, counts.cut, counts.late, counts.overflowed), (0, 0, 0, 0), "{ppm}");
        assert!(worst <= Duration::from_millis(65), "{ppm}: {worst:?}");
        // 1.44 s of sound too much or too little.
        let corrected = if ppm > 0 { counts.dropped } else { counts.stretched + counts.concealed };
        assert!((60..=90).contains(&corrected), "{ppm}: {counts:?}");
    }
}

/// A model of the promise: whatever comes in, what comes out is in order, once, and accounted for.
#[test]
fn whatever_the_network_does_packets_come_out_in_order_and_once() {
    let mut random = 1_u64;
    let mut below = |limit: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % limit
    };
    for _ in 0..40 {
        let (loss, spread) = (below(30), 1 + below(120));
        let mut arrivals: Vec<(u64, u32)> = Vec::new();
        for n in 0..500_u32 {
            if below(100) >= loss {
                arrivals.push((20 * u64::from(n) + below(spread), n));
            }
        }
        let again: Vec<(u64, u32)> = arrivals.iter().filter(|_| below(20) == 0).map(|&(t, n)| (t + 10, n)).collect();
        arrivals.extend(again);
        arrivals.sort_unstable();
        let mut line = Line::new();
        let mut played = Vec::new();
        let mut pending = arrivals.iter().peekable();
        for tick in 0..600_u64 {
            while let Some(&&(millis, n)) = pending.peek().filter(|(millis, _)| *millis <= 20 * tick) {
                line.send(millis, n);
                pending.next();
            }
            let is_quiet = below(4) == 0;
            if let Packet(n) = Heard::of(line.buffer.poll_take(line.at(20 * tick + 3), is_quiet)) {
                played.push(n);
            }
            assert!(line.buffer.depth() <= PACKETS_MAX);
        }
        assert!(played.is_sorted_by(|a, b| a < b), "{played:?}");
        let counts = line.buffer.counts();
        let out = played.len() as u64 + counts.late + counts.cut + counts.dropped + line.buffer.depth() as u64;
        assert!(counts.received <= out, "{counts:?}, {} played", played.len());
    }
}

#[test]
fn the_buffer_is_bounded() {
    let mut line = Line::new();
    for n in 0..1_000 {
        line.send(0, n);
    }
    assert_eq!(line.buffer.depth(), PACKETS_MAX);
    assert_eq!(line.buffer.counts().overflowed, 1_000 - PACKETS_MAX as u64);
    let place = Line::place(1_000);
    assert_eq!(line.buffer.handle_packet(line.at(0), place, 160, &[0; PAYLOAD_MAX + 1]), Inserted::Refused);
    assert_eq!(line.buffer.handle_packet(line.at(0), place, 160, &[]), Inserted::Refused);
}

#[test]
fn packets_of_30_ms_are_concealed_whole() {
    let mut line = Line::new();
    for n in [0_u32, 1, 3] {
        let place = Place { timestamp: 240 * n, ..Line::place(n) };
        line.buffer.handle_packet(line.at(0), place, 240, &n.to_be_bytes());
    }
    assert_eq!(line.hear(20), Packet(0));
    assert_eq!(line.hear(50), Packet(1));
    let now = line.at(80);
    assert_eq!(line.buffer.poll_take(now, false), Taken::Lost { ticks: 240, next: Some(&3_u32.to_be_bytes()) });
    assert_eq!(line.hear(110), Packet(3));
}
