//! The media sockets: recvmmsg with UDP_GRO in, sendmmsg of UDP_SEGMENT messages out (udp(7), Linux 5.0 or newer).
//!
//! One of the two places with `unsafe`: the kernel's structures hold raw pointers into buffers that this module owns.
//! Not here: what the bytes mean. Invariant: a pointer handed to the kernel is rebuilt from its buffer in the same
//! function that makes the call, so that nothing dangles when a `Vec` or the struct moves.

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::{Duration, SystemTime};

use rustix::net::sockopt;
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use crate::transport::batch::{Datagram, LocalSocket, Path, TransmitBatch};

use super::filter::media_filter;

/// A bound UDP socket of a worker.
pub struct MediaSocket {
    socket: Socket,
    address: SocketAddr,
    segmentation: bool,
    filtered: bool,
    /// The kernel's count as last read, and the sum of its steps: it wraps within hours under a flood.
    drops_seen: u32,
    drops: u64,
}

impl MediaSocket {
    /// Binds, asks for [`RECEIVE_BUFFER`], attaches the filter and switches receive coalescing on where the kernel has
    /// them.
    ///
    /// # Errors
    /// The address is taken or not ours.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        Self::open(address, &media_filter())
    }

    /// The same without the filter: for the far end, who takes answers where a server takes requests.
    ///
    /// # Errors
    /// The address is taken or not ours.
    pub fn bind_unfiltered(address: SocketAddr) -> io::Result<Self> {
        Self::open(address, &[])
    }

    /// For one telephone call: no filter, a buffer of that many bytes, and a mark on all that is sent by which routers
    /// know a voice (DSCP EF, RFC 3246).
    ///
    /// # Errors
    /// The address is taken or not ours.
    pub fn bind_for_voice(address: SocketAddr, receive_buffer: usize) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        socket.set_recv_buffer_size(receive_buffer)?;
        // A container may forbid the mark: then routers treat the call as any traffic.
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
            socket.set_tclass_v6(EXPEDITED_FORWARDING).ok();
        } else {
            socket.set_tos_v4(EXPEDITED_FORWARDING).ok();
        }
        socket.bind(&address.into())?;
        set_option(&socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1).ok();
        let address = socket.local_addr()?.as_socket().unwrap_or(address);
        Ok(Self { socket, address, segmentation: false, filtered: false, drops_seen: 0, drops: 0 })
    }

    /// Sends one datagram; never waits.
    ///
    /// # Errors
    /// The kernel refused it: no route, no room, or an answer of the far host that nobody listens there.
    pub fn send_to(&self, datagram: &[u8], remote: SocketAddr) -> io::Result<()> {
        self.socket.send_to(datagram, &remote.into()).map(|_| ())
    }

    /// Binds with another filter, or with an empty one: none.
    pub(super) fn open(address: SocketAddr, filter: &[SockFilter]) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_nonblocking(true)?;
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        if granted_buffer(&socket) < RECEIVE_BUFFER {
            // For the privileged, who need not mind net.core.rmem_max; refused to all others.
            sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER).ok();
        }
        socket.set_send_buffer_size(SEND_BUFFER)?;
        // Before the socket has an address: nothing comes in past it.
        let filtered = !filter.is_empty() && socket.attach_filter(filter).is_ok();
        socket.bind(&address.into())?;
        set_option(&socket, libc::SOL_UDP, libc::UDP_GRO, 1).ok();
        set_option(&socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1).ok();
        // Asking for no segmentation is refused by kernels that cannot segment at all.
        let segmentation = set_option(&socket, libc::SOL_UDP, libc::UDP_SEGMENT, 0).is_ok();
        let address = socket.local_addr()?.as_socket().unwrap_or(address);
        Ok(Self { socket, address, segmentation, filtered, drops_seen: 0, drops: 0 })
    }

    /// The address it is bound to, with the port the kernel chose when 0 was asked.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The receive buffer that the kernel granted, in bytes; [`RECEIVE_BUFFER`] was asked.
    #[must_use]
    pub fn receive_buffer(&self) -> usize {
        granted_buffer(&self.socket)
    }

    /// Whether the kernel took the filter.
    #[must_use]
    pub fn is_filtered(&self) -> bool {
        self.filtered
    }

    /// What the kernel dropped since the socket was made, because its filter refused it or its buffer was full. A
    /// coalesced message counts as one.
    pub fn poll_drops(&mut self) -> u64 {
        if let Some(now) = memory_info(&self.socket).map(|info| info[SK_MEMINFO_DROPS]) {
            self.drops += u64::from(now.wrapping_sub(self.drops_seen));
            self.drops_seen = now;
        }
        self.drops
    }
}

/// The kernel doubles what it grants, to have room for its own bookkeeping, and tells the double.
fn granted_buffer(socket: &Socket) -> usize {
    socket.recv_buffer_size().unwrap_or(0) / 2
}

impl AsFd for MediaSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Buffers for one recvmmsg call.
pub struct ReceiveBatch {
    buffers: Box<[u8]>,
    addresses: Vec<libc::sockaddr_storage>,
    controls: Vec<Control>,
    received: Vec<Received>,
}

/// One message of the kernel: one datagram, or several of equal length from one address that it coalesced.
#[derive(Clone, Copy)]
struct Received {
    remote: SocketAddr,
    start: usize,
    len: usize,
    segment: usize,
    /// How long it lay in the socket's buffer.
    age: Duration,
}

impl ReceiveBatch {
    /// Room for [`MESSAGES`] coalesced messages.
    #[must_use]
    pub fn new() -> Self {
        Self {
            buffers: vec![0; MESSAGES * BUFFER_STRIDE].into_boxed_slice(),
            // SAFETY: all-zero bytes are a valid sockaddr_storage (family AF_UNSPEC).
            addresses: vec![unsafe { zeroed() }; MESSAGES],
            controls: vec![NO_CONTROL; MESSAGES],
            received: Vec::with_capacity(MESSAGES),
        }
    }

    /// Takes what is ready, never waits. Returns whether the socket may hold more.
    pub fn receive(&mut self, socket: &MediaSocket) -> bool {
        self.received.clear();
        // SAFETY: all-zero bytes are valid iovec and mmsghdr values (null pointers, zero lengths).
        let mut vectors: [libc::iovec; MESSAGES] = unsafe { zeroed() };
        // SAFETY: as above.
        let mut headers: [libc::mmsghdr; MESSAGES] = unsafe { zeroed() };
        for (index, header) in headers.iter_mut().enumerate() {
            vectors[index].iov_base = self.buffers[index * BUFFER_STRIDE..].as_mut_ptr().cast();
            vectors[index].iov_len = MESSAGE_LEN;
            header.msg_hdr.msg_iov = &raw mut vectors[index];
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_name = (&raw mut self.addresses[index]).cast();
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_storage>() as u32;
            header.msg_hdr.msg_control = self.controls[index].0.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = size_of::<Control>();
        }
        // SAFETY: every pointer above points into arrays that live until the call returns, with their true lengths.
        let count = unsafe {
            libc::recvmmsg(
                socket.socket.as_raw_fd(),
                headers.as_mut_ptr(),
                MESSAGES as u32,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        let count = usize::try_from(count).unwrap_or(0);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        for (index, header) in headers[..count].iter().enumerate() {
            let facts = control_facts(&header.msg_hdr);
            let len = header.msg_len as usize;
            if let Some(remote) = to_socket_addr(&self.addresses[index]) {
                let segment = facts.segment.filter(|&s| s > 0).unwrap_or(len.max(1));
                let age = facts.arrived.map_or(Duration::ZERO, |at| now.saturating_sub(at)).min(AGE_MAX);
                self.received.push(Received { remote, start: index * BUFFER_STRIDE, len, segment, age });
            }
        }
        count == MESSAGES
    }

    /// Calls `each` with every datagram of the last [`ReceiveBatch::receive`], in arrival order: where it came from, how
    /// long it had waited in the socket's buffer, its bytes.
    pub fn for_each(&mut self, mut each: impl FnMut(SocketAddr, Duration, &mut [u8])) {
        for message in &self.received {
            let bytes = &mut self.buffers[message.start..message.start + message.len];
            for datagram in bytes.chunks_mut(message.segment) {
                each(message.remote, message.age, datagram);
            }
        }
    }
}

impl Default for ReceiveBatch {
    fn default() -> Self {
        Self::new()
    }
}

/// What one [`Sender::send`] did.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Sent {
    /// System calls made.
    pub calls: u32,
    /// Datagrams that the kernel took.
    pub datagrams: u32,
    /// Datagrams that it refused (buffer full, no route, address gone).
    pub refused: u32,
}

/// Turns a [`TransmitBatch`] into as few sendmmsg messages as the kernel allows.
pub struct Sender {
    runs: Vec<Run>,
    addresses: Vec<RawAddress>,
    vectors: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
    controls: Vec<SegmentControl>,
}

/// Neighbours of one path that share a message: all `segment` bytes long but the last, which may be shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    path: Path,
    offset: usize,
    len: usize,
    segment: usize,
    datagrams: u32,
    /// The last one is as long as the others, so that another may follow.
    open: bool,
}

impl Sender {
    /// Reserves for `messages_max` messages at once.
    #[must_use]
    pub fn new(messages_max: usize) -> Self {
        Self {
            runs: Vec::with_capacity(messages_max),
            addresses: Vec::with_capacity(messages_max),
            vectors: Vec::with_capacity(messages_max),
            headers: Vec::with_capacity(messages_max),
            controls: Vec::with_capacity(messages_max),
        }
    }

    /// Sends the batch in order. A message that the kernel refuses is dropped and counted; the rest goes on.
    pub fn send(&mut self, sockets: &mut [MediaSocket], batch: &TransmitBatch) -> Sent {
        let mut sent = Sent::default();
        let datagrams = batch.datagrams();
        let mut next = 0;
        while next < datagrams.len() {
            let local = datagrams[next].path.local;
            let end = next + datagrams[next..].iter().take_while(|d| d.path.local == local).count();
            let group = &datagrams[next..end];
            next = end;
            match sockets.get_mut(usize::from(local.0)) {
                Some(socket) => self.send_group(socket, group, batch.arena(), &mut sent),
                None => sent.refused += group.len() as u32,
            }
        }
        sent
    }

    fn send_group(&mut self, socket: &mut MediaSocket, group: &[Datagram], arena: &[u8], sent: &mut Sent) {
        self.runs.clear();
        merge_runs(group, if socket.segmentation { SEGMENTS_MAX } else { 1 }, &mut self.runs);
        self.fill(arena);
        let mut done = 0;
        while done < self.runs.len() {
            sent.calls += 1;
            // SAFETY: `fill` pointed every header at `addresses`, `vectors`, `controls` and `arena`, none of which
            // has moved or been freed since; the count is what is left of `headers`.
            let taken = unsafe {
                libc::sendmmsg(
                    socket.socket.as_raw_fd(),
                    self.headers[done..].as_mut_ptr(),
                    (self.headers.len() - done) as u32,
                    libc::MSG_DONTWAIT,
                )
            };
            if taken > 0 {
                let end = done + taken as usize;
                sent.datagrams += self.runs[done..end].iter().map(|run| run.datagrams).sum::<u32>();
                done = end;
                continue;
            }
            let run = self.runs[done];
            let error = io::Error::last_os_error().raw_os_error();
            if run.datagrams > 1 && matches!(error, Some(libc::EIO | libc::EINVAL | libc::EOPNOTSUPP)) {
                // A device or kernel that cannot segment after all: never ask this socket again.
                socket.segmentation = false;
                let skipped: usize = self.runs[..done].iter().map(|r| r.datagrams as usize).sum();
                return self.send_group(socket, &group[skipped..], arena, sent);
            }
            sent.refused += run.datagrams;
            done += 1;
        }
    }

    fn fill(&mut self, arena: &[u8]) {
        self.addresses.clear();
        self.vectors.clear();
        self.controls.clear();
        self.headers.clear();
        // First the arrays that headers point into: none of them may grow once a pointer has been taken.
        for run in &self.runs {
            self.addresses.push(RawAddress::new(run.path.remote));
            let bytes = &arena[run.offset..run.offset + run.len];
            self.vectors.push(libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() });
            self.controls.push(SegmentControl::default());
        }
        for (index, run) in self.runs.iter().enumerate() {
            // SAFETY: all-zero bytes are a valid mmsghdr.
            let mut header: libc::mmsghdr = unsafe { zeroed() };
            let address = &mut self.addresses[index];
            header.msg_hdr.msg_name = (&raw mut address.storage).cast();
            header.msg_hdr.msg_namelen = address.len;
            header.msg_hdr.msg_iov = &raw mut self.vectors[index];
            header.msg_hdr.msg_iovlen = 1;
            if run.datagrams > 1 {
                set_segment(&mut header.msg_hdr, &mut self.controls[index], run.segment as u16);
            }
            self.headers.push(header);
        }
    }
}

/// Appends to `runs` the messages that carry `group`, at most `segments_max` datagrams each.
fn merge_runs(group: &[Datagram], segments_max: u32, runs: &mut Vec<Run>) {
    for datagram in group {
        if let Some(run) = runs.last_mut()
            && run.open
            && run.path == datagram.path
            && run.datagrams < segments_max
            && datagram.len <= run.segment
            && run.offset + run.len == datagram.offset
            && run.len + datagram.len <= MESSAGE_LEN_OUT
        {
            run.len += datagram.len;
            run.datagrams += 1;
            run.open = datagram.len == run.segment;
            continue;
        }
        runs.push(Run {
            path: datagram.path,
            offset: datagram.offset,
            len: datagram.len,
            segment: datagram.len,
            datagrams: 1,
            open: true,
        });
    }
}

/// Space for the control messages that come in (an int and a timespec), aligned for cmsghdr.
#[derive(Clone, Copy)]
#[repr(align(8))]
struct Control([u8; 128]);

/// Space for the one that goes out, a 16-bit segment size. No larger than that: one is filled for every message.
#[derive(Clone, Copy, Default)]
#[repr(align(8))]
struct SegmentControl([u8; 24]);

const NO_CONTROL: Control = Control([0; 128]);

/// What the kernel said beside a received message.
#[derive(Default)]
struct ControlFacts {
    segment: Option<usize>,
    /// Wall clock.
    arrived: Option<Duration>,
}

fn control_facts(header: &libc::msghdr) -> ControlFacts {
    let mut facts = ControlFacts::default();
    // SAFETY: the kernel filled `msg_control` up to `msg_controllen`; the CMSG macros stay inside it, and each
    // value is read unaligned with the length that its type documents.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while !message.is_null() {
            match ((*message).cmsg_level, (*message).cmsg_type) {
                (libc::SOL_UDP, libc::UDP_GRO) => {
                    let size = libc::CMSG_DATA(message).cast::<libc::c_int>().read_unaligned();
                    facts.segment = usize::try_from(size).ok();
                }
                (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                    let at = libc::CMSG_DATA(message).cast::<libc::timespec>().read_unaligned();
                    facts.arrived =
                        u64::try_from(at.tv_sec).ok().map(|seconds| Duration::new(seconds, at.tv_nsec as u32));
                }
                _ => {}
            }
            message = libc::CMSG_NXTHDR(header, message);
        }
    }
    facts
}

fn set_segment(header: &mut libc::msghdr, control: &mut SegmentControl, segment: u16) {
    header.msg_control = control.0.as_mut_ptr().cast();
    // SAFETY: `control` has room for one control message with a u16 (CMSG_SPACE(2) = 24) and is aligned.
    unsafe {
        header.msg_controllen = libc::CMSG_SPACE(size_of::<u16>() as u32) as usize;
        let message = libc::CMSG_FIRSTHDR(header);
        (*message).cmsg_level = libc::SOL_UDP;
        (*message).cmsg_type = libc::UDP_SEGMENT;
        (*message).cmsg_len = libc::CMSG_LEN(size_of::<u16>() as u32) as usize;
        libc::CMSG_DATA(message).cast::<u16>().write_unaligned(segment);
    }
}

fn set_option(socket: &Socket, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the pointer and length describe one live c_int.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// sock_diag(7): memory and drops of a socket; `None` from kernels before 4.12.
fn memory_info(socket: &Socket) -> Option<[u32; SK_MEMINFO_VARS]> {
    let mut info = [0; SK_MEMINFO_VARS];
    let mut len = size_of_val(&info) as libc::socklen_t;
    // SAFETY: the pointer and length describe one live array, of which the kernel fills no more than it has.
    let result = unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_MEMINFO, (&raw mut info).cast(), &raw mut len)
    };
    (result == 0).then_some(info)
}

/// A destination as the kernel reads it: the larger of the two address types holds either.
#[derive(Clone, Copy)]
struct RawAddress {
    storage: libc::sockaddr_in6,
    len: libc::socklen_t,
}

impl RawAddress {
    fn new(address: SocketAddr) -> Self {
        // SAFETY: all-zero bytes are a valid sockaddr_in6.
        let mut storage: libc::sockaddr_in6 = unsafe { zeroed() };
        let len = match address {
            SocketAddr::V4(v4) => {
                let raw = libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: v4.port().to_be(),
                    sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                    sin_zero: [0; 8],
                };
                // SAFETY: a sockaddr_in6 is larger than a sockaddr_in and aligned alike.
                unsafe { (&raw mut storage).cast::<libc::sockaddr_in>().write(raw) };
                size_of::<libc::sockaddr_in>()
            }
            SocketAddr::V6(v6) => {
                storage = libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as libc::sa_family_t,
                    sin6_port: v6.port().to_be(),
                    sin6_flowinfo: v6.flowinfo(),
                    sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                    sin6_scope_id: v6.scope_id(),
                };
                size_of::<libc::sockaddr_in6>()
            }
        };
        Self { storage, len: len as libc::socklen_t }
    }
}

fn to_socket_addr(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match libc::c_int::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that the kernel wrote a sockaddr_in.
            let raw = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(raw.sin_addr.s_addr.to_ne_bytes());
            Some(SocketAddrV4::new(ip, u16::from_be(raw.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that the kernel wrote a sockaddr_in6.
            let raw = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(raw.sin6_addr.s6_addr);
            // The flow label is the sender's business: two packets of one peer may differ in it.
            Some(SocketAddrV6::new(ip, u16::from_be(raw.sin6_port), 0, raw.sin6_scope_id).into())
        }
        _ => None,
    }
}

/// The index of a socket in its worker, as paths carry it.
#[must_use]
pub fn local_socket(index: usize) -> LocalSocket {
    LocalSocket(index as u8)
}

/// Messages a recvmmsg call takes. More saves calls under load and costs 64 KiB each.
const MESSAGES: usize = 16;
/// A coalesced message is at most one maximal IP datagram.
const MESSAGE_LEN: usize = 65_536;
/// Buffers lie apart by a packet more than a power of two, or their first bytes would share a few sets of the cache.
const BUFFER_STRIDE: usize = MESSAGE_LEN + 20 * 64;
/// Bytes one segmented message may carry: the IP datagram limit less headers.
const MESSAGE_LEN_OUT: usize = 65_000;
/// Datagrams in one segmented message. More is cheaper here and a burst on a slow access link; as many as messages are
/// received at once, so that a viewer's share of a batch is one message.
const SEGMENTS_MAX: u32 = 16;
/// A wall clock that was set meanwhile must not make packets old.
const AGE_MAX: Duration = Duration::from_millis(500);
/// Asked receive buffer. A full buffer loses good packets; 4 MiB is about 30 ms of a saturated gigabit link.
pub const RECEIVE_BUFFER: usize = 4 << 20;
/// The traffic class byte of DSCP 46 (RFC 3246 section 2.2): the code point stands in its upper six bits.
const EXPEDITED_FORWARDING: u32 = 46 << 2;
/// Words of SO_MEMINFO, and the one that counts drops.
const SK_MEMINFO_VARS: usize = 9;
const SK_MEMINFO_DROPS: usize = 8;
/// Asked send buffer; a larger one was measured to gain nothing.
const SEND_BUFFER: usize = 1 << 20;

#[cfg(test)]
mod tests;
