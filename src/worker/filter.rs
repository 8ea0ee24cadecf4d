//! A classic BPF program for the media sockets: what cannot be ours is dropped by the kernel, before it takes room in the
//! receive buffer and before the worker wakes (SO_ATTACH_FILTER, socket(7); the instruction set of the kernel's
//! Documentation/networking/filter.rst).
//!
//! It asks for no more than what `transport` refuses anyway: a Binding request as ICE sends it (RFC 8489), a DTLS record
//! (RFC 6347, RFC 9147), an SRTP or SRTCP packet long enough for its tag (RFC 3711, RFC 7983). It knows no address: what
//! looks like media and is not, the worker drops after one look-up. The kernel runs it once on a coalesced message, which
//! is one sender's datagrams of one length: the first speaks for all.

use socket2::SockFilter;

/// The program.
#[must_use]
pub fn media_filter() -> Vec<SockFilter> {
    let steps = steps();
    let mut instructions = Vec::with_capacity(steps.len());
    for step in &steps {
        let at = instructions.len();
        let jump = |to: To| match to {
            To::Next => 0,
            To::Mark(mark) => distance(&steps, at, mark),
        };
        match *step {
            Step::Mark(_) => {}
            Step::Do(code, value) => instructions.push(SockFilter::new(code as u16, 0, 0, value)),
            Step::If(code, value, yes, no) => {
                instructions.push(SockFilter::new(code as u16, jump(yes), jump(no), value));
            }
        }
    }
    instructions
}

/// A line of the program.
enum Step {
    /// Where jumps lead.
    Mark(Mark),
    /// An instruction that never jumps.
    Do(u32, u32),
    /// Compares what was loaded with a value: where to go when it holds, and when not.
    If(u32, u32, To, To),
}

#[derive(Clone, Copy)]
enum To {
    Next,
    Mark(Mark),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    Stun,
    Dtls,
    Epoch,
    Unified,
    Secured,
    Take,
    Drop,
}

/// Instructions between the one at `at` and a mark, which always lies ahead.
fn distance(steps: &[Step], at: usize, mark: Mark) -> u8 {
    let mut next = 0;
    for step in steps {
        match step {
            Step::Mark(this) if *this == mark => break,
            Step::Mark(_) => {}
            Step::Do(..) | Step::If(..) => next += 1,
        }
    }
    u8::try_from(next - at - 1).expect("a program of fewer than 256 instructions")
}

/// Loads beyond the datagram's end drop it, so that no length is checked only for a load's sake.
fn steps() -> Vec<Step> {
    use Step::{Do, If};
    let (stun, dtls, unified) = (To::Mark(Mark::Stun), To::Mark(Mark::Dtls), To::Mark(Mark::Unified));
    let (secured, take, drop) = (To::Mark(Mark::Secured), To::Mark(Mark::Take), To::Mark(Mark::Drop));
    let next = To::Next;
    vec![
        // RFC 7983 section 7: the first byte.
        Do(BYTE, PAYLOAD),
        If(AT_LEAST, 192, drop, next),
        If(AT_LEAST, 128, secured, next),
        If(AT_LEAST, 64, drop, next),
        If(AT_LEAST, 20, dtls, next),
        If(AT_LEAST, 4, drop, stun),
        // A Binding request with the magic cookie and room for what ICE demands.
        Step::Mark(Mark::Stun),
        Do(HALF, PAYLOAD),
        If(EQUAL, BINDING_REQUEST, next, drop),
        Do(WORD, PAYLOAD + 4),
        If(EQUAL, MAGIC_COOKIE, next, drop),
        Do(HALF, PAYLOAD + 2),
        If(ANY_BIT_OF, 3, drop, next),
        If(AT_LEAST, STUN_ATTRIBUTES_MIN, next, drop),
        Do(ADD, PAYLOAD + 20),
        Do(KEEP, 0),
        Do(LENGTH, 0),
        If(AT_LEAST_KEPT, 0, take, drop),
        // A DTLS record in plaintext, or of version 1.2: its type, version, epoch and length.
        Step::Mark(Mark::Dtls),
        If(AT_LEAST, 32, unified, next),
        If(AT_LEAST, 27, drop, next),
        Do(HALF, PAYLOAD + 1),
        If(EQUAL, DTLS_1_2, To::Mark(Mark::Epoch), next),
        If(EQUAL, DTLS_1_0, next, drop),
        Step::Mark(Mark::Epoch),
        Do(HALF, PAYLOAD + 3),
        If(AT_LEAST, EPOCH_MAX + 1, drop, next),
        Do(HALF, PAYLOAD + 11),
        Do(ADD, PAYLOAD + 13),
        Do(KEEP, 0),
        Do(LENGTH, 0),
        If(AT_LEAST_KEPT, 0, take, drop),
        // An encrypted record of DTLS 1.3, without the connection identifier that nobody negotiates here.
        Step::Mark(Mark::Unified),
        If(ANY_BIT_OF, CONNECTION_ID_BIT, drop, next),
        Do(LENGTH, 0),
        If(AT_LEAST, PAYLOAD + UNIFIED_LEN_MIN, take, drop),
        // SRTP and SRTCP: room for header and tag, and a type of report that exists.
        Step::Mark(Mark::Secured),
        Do(LENGTH, 0),
        If(AT_LEAST, PAYLOAD + SECURED_LEN_MIN, next, drop),
        Do(BYTE, PAYLOAD + 1),
        If(AT_LEAST, 224, take, next),
        If(AT_LEAST, 208, drop, next),
        If(AT_LEAST, 200, take, next),
        If(AT_LEAST, 192, drop, take),
        Step::Mark(Mark::Take),
        Do(RETURN, u32::MAX),
        Step::Mark(Mark::Drop),
        Do(RETURN, 0),
    ]
}

/// Where a datagram's payload begins: a filter of a UDP socket sees the UDP header first.
const PAYLOAD: u32 = 8;
/// RFC 8489 section 5.
const BINDING_REQUEST: u32 = 0x0001;
const MAGIC_COOKIE: u32 = 0x2112_a442;
/// USERNAME (4 and at least 4 bytes), MESSAGE-INTEGRITY (24) and FINGERPRINT (8), all of which ICE demands.
const STUN_ATTRIBUTES_MIN: u32 = 40;
/// In record headers; a client's first message may say 1.0 whatever it speaks.
const DTLS_1_2: u32 = 0xfefd;
const DTLS_1_0: u32 = 0xfeff;
/// 0 in plaintext, 1 under DTLS 1.2's keys; nothing here negotiates a second time.
const EPOCH_MAX: u32 = 1;
/// RFC 9147 section 4: the C bit of `001CSLEE`.
const CONNECTION_ID_BIT: u32 = 0x10;
/// First byte, one byte of number, the content's type and a tag of 16 bytes.
const UNIFIED_LEN_MIN: u32 = 19;
/// An RTP header (12) and the shortest tag (10), or an RTCP header (8), an index (4) and that tag.
const SECURED_LEN_MIN: u32 = 22;

const BYTE: u32 = libc::BPF_LD | libc::BPF_B | libc::BPF_ABS;
const HALF: u32 = libc::BPF_LD | libc::BPF_H | libc::BPF_ABS;
const WORD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const LENGTH: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_LEN;
const ADD: u32 = libc::BPF_ALU | libc::BPF_ADD | libc::BPF_K;
/// Into the second register.
const KEEP: u32 = libc::BPF_MISC | libc::BPF_TAX;
const EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const AT_LEAST: u32 = libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K;
const AT_LEAST_KEPT: u32 = libc::BPF_JMP | libc::BPF_JGE | libc::BPF_X;
const ANY_BIT_OF: u32 = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use crate::transport::batch::{LocalSocket, Path, TransmitBatch};

    use super::super::socket::{MediaSocket, ReceiveBatch, Sender};

    const LOOPBACK: [&str; 2] = ["127.0.0.1:0", "[::1]:0"];

    /// Sends to a socket with the filter what the kernel may coalesce. Gives what arrives, and how many messages were
    /// refused.
    fn send_through(address: &str, datagrams: &[Vec<u8>]) -> (Vec<Vec<u8>>, u64) {
        let mut receiver = MediaSocket::bind(address.parse().expect("address")).expect("bind");
        assert!(receiver.is_filtered(), "this kernel takes filters");
        let mut batch = TransmitBatch::new(1 << 20, 512);
        for datagram in datagrams {
            batch.push(Path { local: LocalSocket(0), remote: receiver.address() }, |out| {
                out[..datagram.len()].copy_from_slice(datagram);
                datagram.len()
            });
        }
        let mut sockets = [MediaSocket::bind(address.parse().expect("address")).expect("bind")];
        assert_eq!(Sender::new(512).send(&mut sockets, &batch).refused, 0);
        (received(&receiver), receiver.poll_drops())
    }

    /// Over loopback everything is there when `sendmmsg` returns.
    fn received(socket: &MediaSocket) -> Vec<Vec<u8>> {
        let mut batch = ReceiveBatch::new();
        let mut all = Vec::new();
        loop {
            let more = batch.receive(socket);
            batch.for_each(|_, _, datagram| all.push(datagram.to_vec()));
            if !more {
                return all;
            }
        }
    }

    fn bytes(start: &[u8], len: usize) -> Vec<u8> {
        let mut bytes = start.to_vec();
        bytes.resize(len, 0xa5);
        bytes
    }

    fn stun(kind: [u8; 2], attributes_len: u16, cookie: [u8; 4], len: usize) -> Vec<u8> {
        bytes(&[&kind[..], &attributes_len.to_be_bytes(), &cookie].concat(), len)
    }

    fn record(kind: u8, version: [u8; 2], epoch: u16, body_len: u16, len: usize) -> Vec<u8> {
        let epoch = epoch.to_be_bytes();
        bytes(&[&[kind], &version[..], &epoch, &[0; 6], &body_len.to_be_bytes()].concat(), len)
    }

    const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
    const DTLS_1_2: [u8; 2] = [0xfe, 0xfd];
    const DTLS_1_0: [u8; 2] = [0xfe, 0xff];

    #[test]
    fn what_a_leg_may_send_passes_the_filter() {
        let good = [
            stun([0, 1], 40, COOKIE, 60),
            stun([0, 1], 88, COOKIE, 108),
            record(22, DTLS_1_0, 0, 200, 213),
            record(22, DTLS_1_2, 0, 100, 240),
            record(20, DTLS_1_2, 0, 1, 14),
            record(23, DTLS_1_2, 1, 40, 53),
            record(26, DTLS_1_2, 0, 10, 23),
            bytes(&[0b0010_1100], 40),
            bytes(&[0b0010_0000], 19),
            bytes(&[0x80, 96], 22),
            bytes(&[0x90, 0x80 | 111], 1200),
            bytes(&[0x80, 35], 1400),
            bytes(&[0xbf, 0x80 | 127], 100),
            bytes(&[0x80, 200], 22),
            bytes(&[0x8f, 205], 60),
            bytes(&[0x81, 207], 60),
        ];
        for address in LOOPBACK {
            for datagram in &good {
                let (got, refused) = send_through(address, std::slice::from_ref(datagram));
                assert_eq!(got, std::slice::from_ref(datagram), "{address}: {:02x?}", &datagram[..14]);
                assert_eq!(refused, 0);
            }
        }
    }

    #[test]
    fn what_no_leg_sends_never_leaves_the_kernel() {
        let junk = [
            vec![0],
            vec![0x80],
            bytes(&[4], 100),
            bytes(&[16], 100),
            bytes(&[19], 100),
            bytes(&[64], 100),
            bytes(&[127], 100),
            bytes(&[192], 100),
            bytes(&[255], 1200),
            // STUN: an indication, a response, no cookie, odd lengths, too short for what ICE demands, cut off.
            stun([0, 0x11], 40, COOKIE, 60),
            stun([1, 1], 40, COOKIE, 60),
            stun([0, 1], 40, [0x21, 0x12, 0xa4, 0x43], 60),
            stun([0, 1], 42, COOKIE, 62),
            stun([0, 1], 0, COOKIE, 20),
            stun([0, 1], 36, COOKIE, 56),
            stun([0, 1], 88, COOKIE, 107),
            stun([0, 1], 0xfffc, COOKIE, 200),
            // DTLS: types and versions that do not exist, an epoch nobody reaches, cut off.
            record(27, DTLS_1_2, 0, 20, 33),
            record(22, [0xfe, 0xfe], 0, 20, 33),
            record(22, [3, 3], 0, 20, 33),
            record(23, DTLS_1_2, 2, 20, 33),
            record(22, DTLS_1_2, 0, 21, 33),
            record(22, DTLS_1_2, 0, 0, 12),
            bytes(&[0b0010_0000], 18),
            bytes(&[0b0011_1100], 60),
            bytes(&[48], 60),
            // Too short for a tag, and reports that do not exist.
            bytes(&[0x80, 96], 21),
            bytes(&[0x80, 200], 21),
            bytes(&[0x80, 192], 60),
            bytes(&[0x80, 199], 60),
            bytes(&[0x80, 208], 60),
            bytes(&[0x80, 223], 60),
        ];
        for address in LOOPBACK {
            for datagram in &junk {
                let (got, refused) = send_through(address, std::slice::from_ref(datagram));
                assert_eq!(got, [[0; 0]; 0], "{address}: {datagram:02x?}");
                assert_eq!(refused, 1);
            }
        }
    }

    #[test]
    fn coalesced_packets_pass_the_filter_whole_and_coalesced_junk_not_at_all() {
        for address in LOOPBACK {
            let good: Vec<_> = (0..40).map(|number| bytes(&[0x80, 96, 0, number], 1100)).collect();
            assert_eq!(send_through(address, &good), (good, 0));
            let records: Vec<_> = (0..20).map(|_| record(22, DTLS_1_2, 0, 187, 200)).collect();
            assert_eq!(send_through(address, &records), (records, 0));
            let junk: Vec<_> = (0..40).map(|number| bytes(&[0xff, 96, 0, number], 1100)).collect();
            let (got, refused) = send_through(address, &junk);
            assert_eq!(got, [[0; 0]; 0]);
            assert!(refused < 40, "the kernel coalesced them: {refused} messages");
        }
    }

    #[test]
    fn an_empty_datagram_never_leaves_the_kernel() {
        for address in LOOPBACK {
            let receiver = MediaSocket::bind(address.parse().expect("address")).expect("bind");
            UdpSocket::bind(address).expect("bind").send_to(&[], receiver.address()).expect("sent");
            assert_eq!(received(&receiver), [[0; 0]; 0]);
        }
    }
}
