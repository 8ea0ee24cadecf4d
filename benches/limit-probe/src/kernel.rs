//! Every system call of the probe and of the benchmarks' generator: clocks, pinning, batched receiving and sending.
//!
//! All `unsafe` is here. Invariant: the arrays that headers point into are allocated once and never grow, so that a
//! pointer taken in a constructor stays good for the array's life.

use std::mem::{size_of, zeroed};
use std::net::{SocketAddrV4, UdpSocket};
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// CPU time of the calling thread.
#[must_use]
pub fn thread_cpu_nanos() -> u64 {
    read_clock(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// CPU time of another thread of this process, by its kernel id; 0 when it is gone.
#[must_use]
pub fn thread_cpu_nanos_of(thread: i32) -> u64 {
    // The encoding behind pthread_getcpuclockid(3): inverted id, then "per thread" and "scheduler's clock".
    read_clock((!thread << 3) | 6)
}

/// Time that only moves forward.
#[must_use]
pub fn monotonic_nanos() -> u64 {
    read_clock(libc::CLOCK_MONOTONIC)
}

/// Nanoseconds since 1970, comparable with the kernel's receive stamps.
#[must_use]
pub fn wall_nanos() -> u64 {
    read_clock(libc::CLOCK_REALTIME)
}

fn read_clock(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live timespec.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Keeps the calling thread on one core. Without the permission it stays where it is.
pub fn pin_to_core(core: usize) {
    // SAFETY: all-zero bytes are a valid, empty set; the set outlives the call.
    unsafe {
        let mut set: libc::cpu_set_t = zeroed();
        libc::CPU_SET(core, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set);
    }
}

/// Asks for buffers of so many bytes in both directions.
pub fn set_buffers(socket: &UdpSocket, bytes: usize) {
    set_option(socket, libc::SOL_SOCKET, libc::SO_RCVBUF, bytes as i32);
    set_option(socket, libc::SOL_SOCKET, libc::SO_SNDBUF, bytes as i32);
}

fn set_option(socket: &UdpSocket, level: i32, option: i32, value: i32) {
    // SAFETY: pointer and length describe one live integer.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), size_of::<i32>() as u32)
    };
    assert_eq!(result, 0, "option {option}: {}", std::io::Error::last_os_error());
}

/// Waits for one socket.
pub struct Poll {
    epoll: OwnedFd,
}

impl Poll {
    /// Level-triggered, as the worker's.
    ///
    /// # Panics
    /// Without a free file descriptor.
    #[must_use]
    pub fn new(socket: &UdpSocket) -> Self {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 0 };
        // SAFETY: a fresh descriptor is owned from here on; the event outlives the call.
        unsafe {
            let epoll = OwnedFd::from_raw_fd(libc::epoll_create1(libc::EPOLL_CLOEXEC));
            let added = libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, socket.as_raw_fd(), &raw mut event);
            assert_eq!(added, 0, "{}", std::io::Error::last_os_error());
            Self { epoll }
        }
    }

    /// Whether the socket can be read; false after 50 ms.
    #[must_use]
    pub fn wait(&self) -> bool {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 8];
        // SAFETY: the array has room for as many events as are asked for.
        unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), events.as_mut_ptr(), events.len() as i32, 50) > 0 }
    }
}

/// Space for the control messages used here, aligned for their header.
type Control = [u64; 8];

/// Buffers of a recvmmsg call.
pub struct ReceiveArray {
    bytes: Box<[u8]>,
    slot_len: usize,
    coalescing: bool,
    headers: Box<[libc::mmsghdr]>,
    controls: Box<[Control]>,
    /// Pointed into by `headers`.
    _vectors: Box<[libc::iovec]>,
}

impl ReceiveArray {
    /// Room for `slots` datagrams of `slot_len` bytes.
    #[must_use]
    pub fn new(slots: usize, slot_len: usize) -> Self {
        let mut bytes = vec![0; slots * slot_len].into_boxed_slice();
        let mut vectors: Box<[libc::iovec]> = bytes
            .chunks_exact_mut(slot_len)
            .map(|slot| libc::iovec { iov_base: slot.as_mut_ptr().cast(), iov_len: slot_len })
            .collect();
        let headers = vectors.iter_mut().map(header).collect();
        Self { bytes, slot_len, coalescing: false, headers, controls: vec![[0; 8]; slots].into(), _vectors: vectors }
    }

    /// Room for `slots` coalesced messages, which `socket` gives from now on.
    #[must_use]
    pub fn coalescing(slots: usize, socket: &UdpSocket) -> Self {
        set_option(socket, libc::SOL_UDP, libc::UDP_GRO, 1);
        Self { coalescing: true, ..Self::new(slots, 65_536) }
    }

    /// Takes what is ready, without waiting, and appends where each datagram lies. Returns whether there may be more.
    pub fn receive(&mut self, socket: &UdpSocket, datagrams: &mut Vec<Range<usize>>) -> bool {
        if self.coalescing {
            for (header, control) in self.headers.iter_mut().zip(&mut self.controls) {
                header.msg_hdr.msg_control = control.as_mut_ptr().cast();
                header.msg_hdr.msg_controllen = size_of::<Control>();
            }
        }
        // SAFETY: headers point into arrays of this struct (see the module's invariant) with their true lengths.
        let count = unsafe {
            let len = self.headers.len() as u32;
            libc::recvmmsg(socket.as_raw_fd(), self.headers.as_mut_ptr(), len, 0, std::ptr::null_mut())
        };
        let count = usize::try_from(count).unwrap_or(0);
        for (index, header) in self.headers[..count].iter().enumerate() {
            let (start, len) = (index * self.slot_len, header.msg_len as usize);
            let facts = if self.coalescing { ControlFacts::read(&header.msg_hdr) } else { ControlFacts::default() };
            let segment = facts.segment.unwrap_or(len).max(1);
            for offset in (0..len).step_by(segment) {
                datagrams.push(start + offset..start + len.min(offset + segment));
            }
        }
        count == self.headers.len()
    }

    /// What ranges point into.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What ranges point into.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

/// What the kernel said beside a message.
#[derive(Default)]
struct ControlFacts {
    segment: Option<usize>,
    arrived_nanos: Option<u64>,
}

impl ControlFacts {
    fn read(header: &libc::msghdr) -> Self {
        let mut facts = Self::default();
        // SAFETY: the kernel filled `msg_control` up to `msg_controllen`, and the macros stay inside it.
        unsafe {
            let mut message = libc::CMSG_FIRSTHDR(header);
            while !message.is_null() {
                match ((*message).cmsg_level, (*message).cmsg_type) {
                    (libc::SOL_UDP, libc::UDP_GRO) => {
                        let segment = libc::CMSG_DATA(message).cast::<i32>().read_unaligned();
                        facts.segment = usize::try_from(segment).ok();
                    }
                    (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                        let at = libc::CMSG_DATA(message).cast::<libc::timespec>().read_unaligned();
                        facts.arrived_nanos = Some(at.tv_sec as u64 * 1_000_000_000 + at.tv_nsec as u64);
                    }
                    _ => {}
                }
                message = libc::CMSG_NXTHDR(header, message);
            }
        }
        facts
    }
}

/// A socket whose datagrams carry the time at which the kernel received them.
pub struct StampedSocket {
    socket: UdpSocket,
    buffer: Box<[u8]>,
}

impl StampedSocket {
    /// Makes it coalesce (so that the sender is not charged for taking messages apart) and stamp.
    ///
    /// # Panics
    /// When the kernel refuses an option.
    #[must_use]
    pub fn new(socket: UdpSocket) -> Self {
        set_option(&socket, libc::SOL_UDP, libc::UDP_GRO, 1);
        set_option(&socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1);
        set_buffers(&socket, 4 << 20);
        socket.set_nonblocking(true).expect("a socket");
        Self { socket, buffer: vec![0; 65_536].into() }
    }

    /// Calls `each` with every datagram of one waiting message and the wall clock of its arrival. False when none waits.
    pub fn receive(&mut self, mut each: impl FnMut(&[u8], u64)) -> bool {
        let mut vector = libc::iovec { iov_base: self.buffer.as_mut_ptr().cast(), iov_len: self.buffer.len() };
        let mut control: Control = [0; 8];
        let mut header = header(&mut vector).msg_hdr;
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = size_of::<Control>();
        // SAFETY: the header points at live locals and at our own buffer, with their true lengths.
        let len = unsafe { libc::recvmsg(self.socket.as_raw_fd(), &raw mut header, libc::MSG_DONTWAIT) };
        let Ok(len) = usize::try_from(len) else { return false };
        let facts = ControlFacts::read(&header);
        for datagram in self.buffer[..len].chunks(facts.segment.unwrap_or(len).max(1)) {
            each(datagram, facts.arrived_nanos.unwrap_or(0));
        }
        true
    }
}

/// One message to send: `len` bytes of the arena, cut by the kernel into datagrams of `segment` bytes.
#[derive(Clone, Copy)]
pub struct Message {
    /// Whose address.
    pub viewer: usize,
    /// First byte in the arena.
    pub offset: usize,
    /// Bytes in all.
    pub len: usize,
    /// Bytes of every datagram but the last, which may be shorter.
    pub segment: usize,
}

impl Message {
    /// Whether a datagram of `len` bytes may follow the ones that are in it.
    #[must_use]
    pub fn takes(&self, len: usize) -> bool {
        let segments = self.len / self.segment;
        self.len.is_multiple_of(self.segment)
            && len <= self.segment
            && segments < SEGMENTS_MAX
            && self.len + len <= MESSAGE_LEN_MAX
    }
}

/// Messages of a sendmmsg call.
pub struct SendArray {
    addresses: Box<[libc::sockaddr_in]>,
    messages: Vec<Message>,
    vectors: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
    controls: Vec<Control>,
}

impl SendArray {
    /// To these viewers.
    #[must_use]
    pub fn new(addresses: impl Iterator<Item = SocketAddrV4>) -> Self {
        Self {
            addresses: addresses.map(raw_address).collect(),
            messages: Vec::with_capacity(MESSAGES_MAX),
            vectors: Vec::with_capacity(MESSAGES_MAX),
            headers: Vec::with_capacity(MESSAGES_MAX),
            controls: Vec::with_capacity(MESSAGES_MAX),
        }
    }

    /// Adds a message to the next call.
    pub fn push(&mut self, message: Message) {
        self.messages.push(message);
    }

    /// Makes the last message another one.
    pub fn replace_last(&mut self, message: Message) {
        if let Some(last) = self.messages.last_mut() {
            *last = message;
        }
    }

    /// Sends what was pushed, out of `arena`; returns how many calls that took.
    ///
    /// # Panics
    /// When the kernel refuses: no figure is better than a wrong one.
    pub fn flush(&mut self, socket: &UdpSocket, arena: &[u8]) -> u64 {
        assert!(self.messages.len() <= MESSAGES_MAX);
        self.vectors.clear();
        self.headers.clear();
        self.controls.resize(self.messages.len(), [0; 8]);
        for message in &self.messages {
            let bytes = &arena[message.offset..message.offset + message.len];
            self.vectors.push(libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() });
        }
        for (index, message) in self.messages.iter().enumerate() {
            let mut header = header(&mut self.vectors[index]);
            header.msg_hdr.msg_name = (&raw mut self.addresses[message.viewer]).cast();
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_in>() as u32;
            if message.len > message.segment {
                set_segment(&mut header.msg_hdr, &mut self.controls[index], message.segment as u16);
            }
            self.headers.push(header);
        }
        self.messages.clear();
        let (mut done, mut calls) = (0, 0);
        while done < self.headers.len() {
            let rest = &mut self.headers[done..];
            // SAFETY: every header points at vectors, controls and addresses of this struct and at the arena.
            let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), rest.as_mut_ptr(), rest.len().min(1024) as u32, 0) };
            assert!(sent > 0, "sendmmsg: {}", std::io::Error::last_os_error());
            done += sent as usize;
            calls += 1;
        }
        calls
    }

    /// Sends one datagram in one call.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn send_to(&self, socket: &UdpSocket, viewer: usize, datagram: &[u8]) {
        let address = &raw const self.addresses[viewer];
        // SAFETY: both pointers are to live values of the lengths given.
        let sent = unsafe {
            let len = size_of::<libc::sockaddr_in>() as u32;
            libc::sendto(socket.as_raw_fd(), datagram.as_ptr().cast(), datagram.len(), 0, address.cast(), len)
        };
        assert!(sent >= 0, "sendto: {}", std::io::Error::last_os_error());
    }
}

/// Sends the packets in one call to where the socket is connected.
///
/// # Panics
/// With more than [`BURST_MAX`] packets.
pub fn send_burst(socket: &UdpSocket, packets: &[Vec<u8>]) {
    // SAFETY: all-zero bytes are valid values of both types.
    let (mut vectors, mut headers): ([libc::iovec; BURST_MAX], [libc::mmsghdr; BURST_MAX]) =
        unsafe { (zeroed(), zeroed()) };
    for (index, packet) in packets.iter().enumerate() {
        vectors[index] = libc::iovec { iov_base: packet.as_ptr().cast_mut().cast(), iov_len: packet.len() };
        headers[index] = header(&mut vectors[index]);
    }
    // SAFETY: the headers point at live vectors, and those at the packets. What a full buffer refuses is lost, as on any
    // network.
    unsafe { libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), packets.len() as u32, 0) };
}

fn header(vector: &mut libc::iovec) -> libc::mmsghdr {
    // SAFETY: all-zero bytes are a valid mmsghdr.
    let mut header: libc::mmsghdr = unsafe { zeroed() };
    header.msg_hdr.msg_iov = vector;
    header.msg_hdr.msg_iovlen = 1;
    header
}

fn set_segment(header: &mut libc::msghdr, control: &mut Control, segment: u16) {
    header.msg_control = control.as_mut_ptr().cast();
    // SAFETY: `control` has room for one control message with a u16 and is aligned for its header.
    unsafe {
        header.msg_controllen = libc::CMSG_SPACE(size_of::<u16>() as u32) as usize;
        let message = libc::CMSG_FIRSTHDR(header);
        (*message).cmsg_level = libc::SOL_UDP;
        (*message).cmsg_type = libc::UDP_SEGMENT;
        (*message).cmsg_len = libc::CMSG_LEN(size_of::<u16>() as u32) as usize;
        libc::CMSG_DATA(message).cast::<u16>().write_unaligned(segment);
    }
}

fn raw_address(address: SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
        sin_zero: [0; 8],
    }
}

/// Packets of one burst.
pub const BURST_MAX: usize = 64;
/// The kernel takes 64, less some for the headers.
const SEGMENTS_MAX: usize = 60;
/// The longest IP datagram less headers.
const MESSAGE_LEN_MAX: usize = 65_000;
const MESSAGES_MAX: usize = 8192;
