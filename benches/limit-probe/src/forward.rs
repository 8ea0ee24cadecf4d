//! The probe's worker: receive, open, and for every viewer copy, renumber, seal and send.

use std::net::{SocketAddrV4, UdpSocket};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::generator::SendTimes;
use crate::kernel::{self, Message, Poll, ReceiveArray, SendArray};
use crate::packets::{HEADER_LEN, Publisher, TAG_LEN, Viewer, number_of};
use crate::settings::{Receive, Send, Settings};
use crate::{Figures, Latencies, Phase};

/// A plain packet among the received bytes, and the padding it is to get.
#[derive(Clone)]
struct Plain {
    bytes: Range<usize>,
    padding: usize,
}

/// One thread's work.
pub struct Forwarder<'a> {
    settings: &'a Settings,
    socket: UdpSocket,
    sent_at: &'a SendTimes,
    publisher: Publisher,
    viewers: Vec<Viewer>,
    receive: ReceiveArray,
    send: SendArray,
    received: Vec<Range<usize>>,
    plain: Vec<Plain>,
    arena: Box<[u8]>,
    used: usize,
    datagrams: usize,
    figures: Figures,
}

impl<'a> Forwarder<'a> {
    /// With the keys and addresses of worker `index`.
    ///
    /// # Panics
    /// When the kernel refuses an option.
    #[must_use]
    pub fn new(settings: &'a Settings, socket: UdpSocket, index: usize, sent_at: &'a SendTimes) -> Self {
        kernel::set_buffers(&socket, SOCKET_BUFFER);
        socket.set_nonblocking(true).expect("a socket");
        let port = FIRST_VIEWER_PORT + index as u16 * 100;
        let addresses = (0..settings.viewers).map(|n| SocketAddrV4::new(settings.viewers_at, port + n as u16));
        let receive = match settings.receive {
            Receive::From => ReceiveArray::new(1, DATAGRAM_LEN_MAX),
            Receive::Mmsg => ReceiveArray::new(RECEIVE_LEN_MAX, DATAGRAM_LEN_MAX),
            Receive::MmsgGro => ReceiveArray::coalescing(4, &socket),
        };
        Self {
            settings,
            sent_at,
            publisher: Publisher::new(),
            viewers: (0..settings.viewers).map(Viewer::new).collect(),
            receive,
            send: SendArray::new(addresses),
            received: Vec::with_capacity(1024),
            plain: Vec::with_capacity(1024),
            arena: vec![0; ARENA_LEN].into_boxed_slice(),
            used: 0,
            datagrams: 0,
            figures: Figures {
                latencies: if settings.latency { Latencies::reserved() } else { Latencies::default() },
                ..Figures::default()
            },
            socket,
        }
    }

    /// Forwards until the run is over. `processed` follows how many packets it is done with.
    pub fn run(mut self, phase: &Phase, processed: &AtomicU64) -> Figures {
        let poll = Poll::new(&self.socket);
        let (mut cpu, mut wall, mut measured) = (0, 0, false);
        while !phase.is_over() {
            if phase.is_measured() && !measured {
                measured = true;
                let mut latencies = std::mem::take(&mut self.figures.latencies);
                latencies.clear();
                self.figures = Figures { latencies, ..Figures::default() };
                (wall, cpu) = (kernel::monotonic_nanos(), kernel::thread_cpu_nanos());
            }
            let ready = poll.wait();
            self.figures.wakeups += 1;
            while ready && self.turn(processed) {}
        }
        self.figures.cpu_nanos = kernel::thread_cpu_nanos() - cpu;
        self.figures.wall_nanos = kernel::monotonic_nanos() - wall;
        self.figures
    }

    /// Takes what one call gives and forwards it. Returns whether the socket may hold more.
    fn turn(&mut self, processed: &AtomicU64) -> bool {
        self.received.clear();
        let more = self.receive.receive(&self.socket, &mut self.received);
        self.plain.clear();
        for range in &self.received {
            self.publisher.open(&mut self.receive.bytes_mut()[range.clone()]);
            self.plain.push(Plain { bytes: range.start..range.end - TAG_LEN, padding: 0 });
        }
        if !self.plain.is_empty() {
            pad(&mut self.plain, self.settings.padding_max);
            self.fan_out();
            let count = self.plain.len() as u64;
            self.figures.packets_in += count;
            self.figures.packets_out += count * self.viewers.len() as u64;
            processed.fetch_add(count, Ordering::Release);
        }
        more
    }

    fn fan_out(&mut self) {
        let mut first_unsent = 0;
        for viewer in 0..self.viewers.len() {
            self.write_for(viewer);
            let last = viewer + 1 == self.viewers.len();
            if last || self.datagrams >= CHUNK {
                self.figures.send_calls += self.send.flush(&self.socket, &self.arena);
                (self.used, self.datagrams) = (0, 0);
                self.record_latencies(viewer + 1 - first_unsent);
                first_unsent = viewer + 1;
            }
        }
    }

    fn write_for(&mut self, viewer: usize) {
        let mut run: Option<Message> = None;
        for packet in &self.plain {
            let out = &mut self.arena[self.used..];
            let plain = &self.receive.bytes()[packet.bytes.clone()];
            let len = self.viewers[viewer].write(plain, packet.padding, out);
            self.datagrams += 1;
            match self.settings.send {
                Send::Null => {
                    std::hint::black_box(&out[len - 1]);
                    continue;
                }
                Send::To => {
                    self.send.send_to(&self.socket, viewer, &out[..len]);
                    self.figures.send_calls += 1;
                    continue;
                }
                Send::Mmsg => self.send.push(Message { viewer, offset: self.used, len, segment: len }),
                Send::MmsgGso => {
                    run = match run {
                        Some(mut open) if open.takes(len) => {
                            open.len += len;
                            self.send.replace_last(open);
                            Some(open)
                        }
                        _ => {
                            let open = Message { viewer, offset: self.used, len, segment: len };
                            self.send.push(open);
                            Some(open)
                        }
                    }
                }
            }
            self.used += len;
        }
    }

    /// Every packet of this turn is now with so many more viewers.
    fn record_latencies(&mut self, viewers: usize) {
        if !self.settings.latency {
            return;
        }
        let now = kernel::wall_nanos();
        for packet in &self.plain {
            let sent = self.sent_at.of(number_of(&self.receive.bytes()[packet.bytes.clone()]));
            for _ in 0..viewers {
                self.figures.latencies.record(now.saturating_sub(sent));
            }
        }
    }
}

/// Gives neighbours that differ by no more than `max` bytes the size of the longest.
fn pad(packets: &mut [Plain], max: usize) {
    let mut start = 0;
    while max > 0 && start < packets.len() {
        let (mut longest, mut shortest, mut end) = (packets[start].bytes.len(), packets[start].bytes.len(), start + 1);
        while let Some(next) = packets.get(end).map(|packet| packet.bytes.len()) {
            if longest.max(next) - shortest.min(next) > max {
                break;
            }
            (longest, shortest, end) = (longest.max(next), shortest.min(next), end + 1);
        }
        // A shorter one may close the run as it is.
        let closes = packets.get(end).is_some_and(|packet| packet.bytes.len() < longest);
        for packet in &mut packets[start..end] {
            packet.padding = longest - packet.bytes.len();
        }
        start = end + usize::from(closes);
    }
}

const _: () = assert!(HEADER_LEN + TAG_LEN < DATAGRAM_LEN_MAX);
const DATAGRAM_LEN_MAX: usize = 2048;
/// Datagrams of one recvmmsg.
const RECEIVE_LEN_MAX: usize = 32;
/// Datagrams after which a batch is sent; more gains nothing and falls out of the cache.
const CHUNK: usize = 72;
const ARENA_LEN: usize = 8 << 20;
const SOCKET_BUFFER: usize = 4 << 20;
const FIRST_VIEWER_PORT: u16 = 30_000;
