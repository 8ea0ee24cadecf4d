//! One call's sound, frame by frame: what comes from the telephone, what goes to the room, what the telephone hears.
//!
//! Not here: the thread and its clock (`thread`), the owner's side (`pool`). Everything happens in [`Leg::tick`], in the
//! order of a frame's way. Invariant: without a line to the room nothing that the telephone says leaves this leg but keys.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use colloque_sound::comfort_noise::ComfortNoise;
use colloque_sound::jitter::JitterCounts;
use colloque_sound::opus::OpusError;
use colloque_sound::{Codec, FRAME_SAMPLES_MAX, Rate};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::drops::DropReason;
use crate::ids::PayloadType;
use crate::rtp::demux::{Class, classify};
use crate::rtp::packet::RtpHeader;
use crate::sfu::egress::NtpReference;
use crate::transport::srtp::{IngressSrtp, OVERHEAD_MAX};
use crate::worker::socket::ReceiveBatch;

use super::clock::Effort;
use super::counters::Counters;
use super::desk::{Connection, Format, Inbox, KeyWay, LineWish, MediaEvent, Quality, Wishes};
use super::echo::Echo;
use super::incoming::{Incoming, Noticed};
use super::outgoing::Outgoing;
use super::ports::PortPair;
use super::prompt::{Player, WaitingTone};
use super::quality;
use super::room_line::{Numbering, RoomLine};
use super::rtcp::{REPORT_LEN_MAX, Reports};
use super::source::{Refusal, SourceRule};

/// What a frame is worked on with: the thread's, not the call's.
pub(super) struct Turn<'a> {
    pub(super) now: Instant,
    pub(super) batch: &'a mut ReceiveBatch,
    pub(super) counters: &'a mut Counters,
    pub(super) effort: Effort,
}

/// Whether a call goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Life {
    Goes,
    Over,
}

/// See the module.
pub(super) struct Leg {
    /// Before the inbox, and so dropped before it: who is told that a leg is gone finds its ports closed.
    ports: PortPair,
    inbox: Inbox,
    rule: SourceRule,
    reports: Reports,
    connection: Option<Connection>,
    srtp: Option<IngressSrtp>,
    incoming: Incoming,
    outgoing: Outgoing,
    player: Player,
    waiting: Option<WaitingTone>,
    echo: Option<Echo>,
    muted: bool,
    room: Option<RoomLine>,
    numbering: Numbering,
    complexity: u8,
    noise: ComfortNoise,
    frame: u64,
    /// The last packet of the telephone.
    heard: Option<Instant>,
    /// At the last quality report.
    counts_before: JitterCounts,
    quality_at: u64,
}

impl Leg {
    /// # Errors
    /// libopus has no memory.
    pub(super) fn new(
        now: Instant,
        inbox: Inbox,
        ports: PortPair,
        rule: SourceRule,
        ntp: NtpReference,
        complexity: u8,
        seed: u64,
    ) -> Result<Self, OpusError> {
        let mut rng = StdRng::seed_from_u64(seed);
        let outgoing = Outgoing::new(&mut rng);
        Ok(Self {
            reports: Reports::new(now, outgoing.ssrc(), ntp, rng.random()),
            inbox,
            ports,
            rule,
            connection: None,
            srtp: None,
            incoming: Incoming::new(Codec::Pcma, rng.random())?,
            outgoing,
            player: Player::default(),
            waiting: None,
            echo: None,
            muted: false,
            room: None,
            numbering: Numbering::new(rng.random()),
            complexity,
            noise: ComfortNoise::new(rng.random()),
            frame: 0,
            heard: None,
            counts_before: JitterCounts::default(),
            quality_at: 0,
        })
    }

    /// One frame.
    pub(super) fn tick(&mut self, turn: &mut Turn<'_>) -> Life {
        if self.inbox.is_closed() {
            self.say_goodbye(turn.now);
            return Life::Over;
        }
        if let Some(wishes) = self.inbox.take() {
            self.apply(wishes);
        }
        self.receive(turn);
        let mut voice = [0; FRAME_SAMPLES_MAX];
        let voice = &mut voice[..self.rate().frame_samples()];
        let noticed = self.incoming.poll_frame(turn.now, voice);
        self.tell(noticed, turn.counters);
        self.repeat(voice, noticed);
        self.publish(voice, noticed, turn.effort);
        let mut said = [0; FRAME_SAMPLES_MAX];
        let said = &mut said[..self.rate().frame_samples()];
        self.compose(turn.now, said);
        self.send(turn.now, said, turn.counters);
        self.report(turn.now);
        turn.counters.events_lost += self.inbox.take_lost();
        self.frame += 1;
        Life::Goes
    }

    /// Wakes the room's worker for what this frame published.
    pub(super) fn ring(&mut self) {
        if let Some(room) = &mut self.room {
            room.ring();
        }
    }

    fn rate(&self) -> Rate {
        self.incoming.rate()
    }

    fn apply(&mut self, wishes: Wishes) {
        if let Some(connection) = wishes.connection {
            self.connect(connection);
        }
        if let Some((id, clips)) = wishes.play {
            self.player.play(id, clips);
        }
        if let Some(muted) = wishes.muted {
            self.muted = muted;
        }
        if let Some(on) = wishes.waiting_tone {
            self.waiting = on.then(|| WaitingTone::new(self.rate()));
        }
        if let Some(on) = wishes.echo {
            self.echo = on.then(Echo::default);
        }
        match wishes.line {
            Some(LineWish::Attach(port)) => self.room = RoomLine::new(port, self.rate(), self.complexity).ok(),
            Some(LineWish::Detach) => self.room = None,
            None => {}
        }
    }

    /// What was agreed now. What is the same as before goes on undisturbed.
    fn connect(&mut self, connection: Connection) {
        self.rule.set_announced(connection.remote);
        let before = self.connection.as_ref().and_then(|connection| connection.keys.as_ref());
        match &connection.keys {
            Some(keys) => self.srtp = keys.new_ingress(before).or_else(|| self.srtp.take()),
            None => self.srtp = None,
        }
        self.outgoing.set_keys(connection.keys.as_ref(), before);
        // What the far end spoke last, if that is still agreed.
        let spoken = self.heard.map(|_| self.incoming.codec());
        let format = connection.formats.iter().find(|format| Some(format.codec) == spoken);
        let format = format.or(connection.formats.first()).copied();
        self.connection = Some(connection);
        if let Some(format) = format {
            self.speak(format);
        }
    }

    /// Both directions in that codec from now on.
    fn speak(&mut self, format: Format) {
        let packet = self.connection.as_ref().map_or(DEFAULT_PACKET, |connection| connection.packet);
        let changed = self.incoming.set_codec(format.codec);
        let changed = changed.and_then(|()| self.outgoing.set_codec(format.codec, format.payload_type, packet));
        if changed.is_err() {
            tracing::error!("libopus has no memory for a telephone call");
            return;
        }
        self.reports.set_clock(format.codec.clock_hz());
        let rate = format.codec.rate();
        self.room = self.room.take().and_then(|room| room.at_rate(rate).ok());
        if let Some(tone) = &mut self.waiting {
            tone.set_rate(rate);
        }
    }

    fn receive(&mut self, turn: &mut Turn<'_>) {
        // The kernel tells how long each has waited here: the tick sees packets late, their jitter and round trip must not.
        let now = turn.now;
        let arrival = |age: Duration| now.checked_sub(age).unwrap_or(now);
        for _ in 0..BATCHES_MAX {
            let more = turn.batch.receive(&self.ports.rtp);
            turn.batch.for_each(|from, age, datagram| {
                self.handle_datagram(arrival(age), from, datagram, turn.counters);
            });
            if !more {
                break;
            }
        }
        if self.frame.is_multiple_of(REPORTS_LOOKED_FOR) {
            turn.batch.receive(&self.ports.rtcp);
            turn.batch.for_each(|from, age, datagram| {
                self.handle_datagram(arrival(age), from, datagram, turn.counters);
            });
        }
    }

    fn handle_datagram(&mut self, at: Instant, from: SocketAddr, datagram: &mut [u8], counters: &mut Counters) {
        let outcome = match classify(datagram) {
            Some(Class::Rtp) => self.handle_rtp(at, from, datagram, counters),
            Some(Class::Rtcp) => self.handle_rtcp(at, from, datagram, counters),
            _ => Err(Refusal::Malformed),
        };
        if let Err(refusal) = outcome {
            counters.record_refusal(refusal);
        }
    }

    fn handle_rtp(
        &mut self,
        at: Instant,
        from: SocketAddr,
        datagram: &mut [u8],
        counters: &mut Counters,
    ) -> Result<(), Refusal> {
        self.rule.may_be_ours(from)?;
        let connection = self.connection.as_ref().ok_or(Refusal::Early)?;
        let len = match &mut self.srtp {
            Some(srtp) => srtp.open_rtp(datagram).map_err(refusal_of)?.0,
            None => datagram.len(),
        };
        let packet = &datagram[..len];
        let header = RtpHeader::parse(packet).map_err(|_| Refusal::Malformed)?;
        let accepted = self.rule.judge(at, from, &header, |number| connection.expects(number))?;
        counters.packets_in += 1;
        self.reports.record_received(at, header.ssrc, accepted.seq, header.timestamp, accepted.begins);
        self.inbox.record_sound(at);
        if self.heard.replace(at).is_none() {
            self.inbox.tell(MediaEvent::FirstPacket);
        }
        let payload = header.payload(packet);
        let (event_type, noise_type) = (connection.event_type, connection.noise_type);
        let format = connection.format(header.payload_type);
        if Some(header.payload_type) == event_type {
            if let Some(key) = self.incoming.handle_event(at, &header, payload) {
                counters.record_key(KeyWay::Event);
                self.inbox.tell(MediaEvent::Key(key, KeyWay::Event));
            }
        } else if Some(header.payload_type) == noise_type {
            self.incoming.handle_noise(at, &header, payload);
        } else if let Some(format) = format {
            if format.codec != self.incoming.codec() {
                self.speak(format);
            }
            if let Some(key) = self.incoming.handle_sound(at, &header, payload) {
                counters.record_key(KeyWay::InBand);
                self.inbox.tell(MediaEvent::Key(key, KeyWay::InBand));
            }
        }
        Ok(())
    }

    fn handle_rtcp(
        &mut self,
        at: Instant,
        from: SocketAddr,
        datagram: &mut [u8],
        counters: &mut Counters,
    ) -> Result<(), Refusal> {
        if !self.rule.is_reporter(from) {
            return Err(Refusal::Address);
        }
        let len = match &mut self.srtp {
            Some(srtp) => srtp.open_rtcp(datagram).map_err(refusal_of)?,
            None => datagram.len(),
        };
        if !self.reports.handle_compound(at, &datagram[..len]) {
            return Err(Refusal::Malformed);
        }
        counters.reports_in += 1;
        self.inbox.record_report(at);
        Ok(())
    }

    fn tell(&mut self, noticed: Noticed, counters: &mut Counters) {
        if let Some(key) = noticed.key {
            counters.record_key(KeyWay::InBand);
            self.inbox.tell(MediaEvent::Key(key, KeyWay::InBand));
        }
        if noticed.fax {
            self.inbox.tell(MediaEvent::Fax);
        }
    }

    /// The telephone's voice to itself, where an echo is wished for.
    fn repeat(&mut self, voice: &[i16], noticed: Noticed) {
        if let Some(echo) = &mut self.echo
            && echo.handle_frame(voice, noticed.is_voice)
        {
            self.inbox.tell(MediaEvent::Spoke);
        }
    }

    /// The telephone's voice to the room, unless it is muted, held, or a key's tone.
    fn publish(&mut self, voice: &[i16], noticed: Noticed, effort: Effort) {
        if self.room.as_ref().is_some_and(|room| !room.is_open()) {
            self.room = None;
            self.inbox.tell(MediaEvent::Unplugged);
        }
        let receives = self.connection.as_ref().is_some_and(|connection| connection.receives);
        match &mut self.room {
            Some(room) if receives && self.heard.is_some() && !self.muted && !noticed.cut => {
                room.publish(&mut self.numbering, voice, noticed.is_voice);
                room.review(effort);
            }
            _ => self.numbering.skip(),
        }
    }

    /// What the telephone hears: the room, an announcement over it, the waiting tone, and never nothing.
    fn compose(&mut self, now: Instant, out: &mut [i16]) {
        let rate = self.rate();
        if let Some(room) = &mut self.room {
            room.hear(now, out);
        }
        let can_hear = self.connection.as_ref().is_some_and(|connection| connection.sends);
        if can_hear && self.player.is_playing() {
            let mut announcement = [0; FRAME_SAMPLES_MAX];
            let announcement = &mut announcement[..out.len()];
            if let Some(id) = self.player.poll_frame(rate, announcement) {
                self.inbox.tell(MediaEvent::PromptDone(id));
            }
            for (sample, &spoken) in out.iter_mut().zip(announcement.iter()) {
                *sample = (*sample / DUCKING).saturating_add(spoken);
            }
        } else if let Some(echo) = &mut self.echo {
            echo.poll_frame(out);
        } else if let Some(tone) = &mut self.waiting {
            let mut sounding = [0; FRAME_SAMPLES_MAX];
            let sounding = &mut sounding[..out.len()];
            if tone.poll_frame(sounding) {
                for (sample, &tone) in out.iter_mut().zip(sounding.iter()) {
                    *sample = sample.saturating_add(tone);
                }
            }
        }
        self.noise.add(out, 1.0, 1.0);
    }

    fn send(&mut self, now: Instant, said: &[i16], counters: &mut Counters) {
        let sends = self.connection.as_ref().is_some_and(|connection| connection.sends);
        let Some(to) = self.rule.destination().filter(|_| sends) else {
            self.outgoing.skip();
            return;
        };
        // A refused frame is silence for its time; the next one may do better.
        self.outgoing.handle_frame(said).ok();
        while let Some(sealed) = self.outgoing.poll_packet() {
            self.reports.record_sent(sealed.payload_len);
            match self.ports.rtp.send_to(sealed.datagram, to) {
                Ok(()) => {
                    counters.packets_out += 1;
                    self.inbox.record_sent(now);
                }
                Err(_) => counters.packets_refused_by_kernel += 1,
            }
        }
    }

    fn report(&mut self, now: Instant) {
        let mut out = [0; REPORT_LEN_MAX + OVERHEAD_MAX];
        if let Some(len) = self.reports.poll_report(now, self.outgoing.timestamp(), &mut out) {
            self.send_report(&mut out, len);
        }
        if self.frame >= self.quality_at + QUALITY_FRAMES && self.heard.is_some() {
            let quality = self.quality(now);
            self.inbox.tell(MediaEvent::Quality(quality));
        }
    }

    fn quality(&mut self, now: Instant) -> Quality {
        let buffer = self.incoming.buffer();
        let (counts, before) = (buffer.counts(), self.counts_before);
        let since = |now: u64, before: u64| now.saturating_sub(before);
        let frames = self.frame - self.quality_at;
        let came = since(counts.received, before.received);
        let (lost, late) = (since(counts.lost, before.lost), since(counts.late, before.late));
        let concealed = share(since(counts.concealed, before.concealed), frames);
        let lost = share(lost, came + lost);
        let receives = self.connection.as_ref().is_some_and(|connection| connection.receives);
        // What stopped is a pause, or the end of the line: the one is no fault, the other no sound, and neither a good one.
        let goes_on = came > 0 && self.heard.is_some_and(|heard| now.saturating_duration_since(heard) < PAUSE);
        let path = self.reports.path();
        let (waiting, jitter) = (buffer.delay(now), buffer.jitter());
        let one_way = path.round_trip.unwrap_or_default() / 2;
        let codec = self.incoming.codec();
        let quality = Quality {
            // A gap is concealed for its first moments alone, but lost as a whole.
            score_in: (receives && goes_on)
                .then(|| quality::estimate(codec, one_way + waiting + OWN_DELAY, concealed.max(lost))),
            score_out: quality::estimate(codec, one_way + path.jitter_out * 2 + OWN_DELAY, path.lost_out),
            lost,
            late: share(late, came),
            concealed,
            dry: share(since(counts.dry, before.dry), frames),
            lost_out: path.lost_out,
            jitter,
            buffer: waiting,
            target: buffer.target(),
            round_trip: path.round_trip,
        };
        (self.counts_before, self.quality_at) = (counts, self.frame);
        quality
    }

    fn send_report(&mut self, out: &mut [u8], len: usize) {
        let Some(connection) = &self.connection else { return };
        let Some(to) = connection.remote_reports.filter(|to| !to.ip().is_unspecified()) else { return };
        let shared = to == connection.remote;
        let to = if shared { self.rule.destination().unwrap_or(to) } else { to };
        let len = self.outgoing.seal_report(out, len);
        let socket = if shared { &self.ports.rtp } else { &self.ports.rtcp };
        // The next report says the same and more.
        socket.send_to(&out[..len], to).ok();
    }

    fn say_goodbye(&mut self, now: Instant) {
        let mut out = [0; REPORT_LEN_MAX + OVERHEAD_MAX];
        if let Some(len) = self.reports.write_goodbye(now, self.outgoing.timestamp(), &mut out) {
            self.send_report(&mut out, len);
        }
    }
}

impl Connection {
    fn expects(&self, number: PayloadType) -> bool {
        Some(number) == self.event_type || Some(number) == self.noise_type || self.format(number).is_some()
    }

    fn format(&self, number: PayloadType) -> Option<Format> {
        self.formats.iter().find(|format| format.payload_type == number).copied()
    }
}

/// 0 to 1.
fn share(of: u64, all: u64) -> f64 {
    (of as f64 / all.max(1) as f64).min(1.0)
}

fn refusal_of(reason: DropReason) -> Refusal {
    match reason {
        DropReason::SrtpAuth => Refusal::Authentication,
        DropReason::SrtpReplay => Refusal::Replay,
        DropReason::SrtpTooManySsrcs => Refusal::Ssrc,
        _ => Refusal::Malformed,
    }
}

/// Receive calls for one frame, 16 datagrams each: a burst of a second and a half. What a flood leaves behind waits in the
/// socket's buffer, which is bounded.
const BATCHES_MAX: u32 = 4;
/// Frames between two looks for reports, which come every few seconds.
const REPORTS_LOOKED_FOR: u64 = 10;
const QUALITY_FRAMES: u64 = 5 * 50;
/// Without packets for so long nobody is being heard.
const PAUSE: Duration = Duration::from_secs(1);
const DEFAULT_PACKET: Duration = Duration::from_millis(20);
/// What a frame and an encoder's look-ahead add to the way.
const OWN_DELAY: Duration = Duration::from_millis(27);
/// How much softer the room is under an announcement: 12 dB.
const DUCKING: i16 = 4;
