//! What an SCTP packet of the far side may ask of the SCTP library.
//!
//! The library trusts its peer in places: one FORWARD TSN makes it count through up to 2^31 numbers, a message
//! without end or messages behind a gap fill memory past the receive window, every stream id and reset request is
//! kept, an ERROR chunk ends the association, and a chunk whose parsed length differs from its written one shifts what
//! follows, up to a panic. The far side is authenticated here, yet a hostile seat may cost only
//! its own data channels, so this guard reads the chunk headers first (RFC 9260 section 3.2, RFC 3758, RFC 6525).
//! Not here: checksums and everything else the library checks itself.

/// Limits over the life of one association.
#[derive(Default)]
pub(super) struct SctpGuard {
    tsn_highest: Option<u32>,
    unsettled_chunks: usize,
    reset_requests: usize,
}

/// What [`SctpGuard::check`] read from a packet.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Contents {
    /// The packet is an INIT.
    pub(super) init: bool,
    tsn_highest: Option<u32>,
    data_chunks: usize,
    reset_requests: usize,
}

/// Why a packet must not reach the library.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    /// Drop the packet; nothing else happens.
    Packet,
    /// The far side used up a limit: the association ends.
    Association,
}

impl SctpGuard {
    /// Reads a packet without changing anything.
    pub(super) fn check(&self, packet: &[u8]) -> Result<Contents, Refusal> {
        if packet.len() < COMMON_HEADER_LEN + CHUNK_HEADER_LEN || packet.len() > PACKET_LEN_MAX {
            return Err(Refusal::Packet);
        }
        let mut contents = Contents { tsn_highest: self.tsn_highest, ..Contents::default() };
        let mut rest = &packet[COMMON_HEADER_LEN..];
        while !rest.is_empty() {
            let (kind, value, following) = split_chunk(rest).ok_or(Refusal::Packet)?;
            contents.add(kind, value).ok_or(Refusal::Packet)?;
            if contents.init && !following.is_empty() {
                return Err(Refusal::Packet);
            }
            rest = following;
        }
        if self.unsettled_chunks + contents.data_chunks > UNSETTLED_CHUNKS_MAX
            || self.reset_requests + contents.reset_requests > RESET_REQUESTS_MAX
        {
            return Err(Refusal::Association);
        }
        Ok(contents)
    }

    /// The library took a packet with these contents.
    pub(super) fn record_accepted(&mut self, contents: Contents) {
        self.tsn_highest = contents.tsn_highest;
        self.unsettled_chunks += contents.data_chunks;
        self.reset_requests += contents.reset_requests;
    }

    /// The library sends this packet. A SACK that offers the whole window says that nothing waits in the library.
    pub(super) fn record_sent(&mut self, packet: &[u8], window: u32) {
        let mut rest = packet.get(COMMON_HEADER_LEN..).unwrap_or_default();
        while let Some((kind, value, following)) = split_chunk(rest) {
            if kind == SACK && read_u32(value, 4).is_some_and(|offered| offered >= window) {
                self.unsettled_chunks = 0;
            }
            rest = following;
        }
    }
}

impl Contents {
    /// `None` when the library must not see this chunk.
    fn add(&mut self, kind: u8, value: &[u8]) -> Option<()> {
        match kind {
            DATA => {
                if value.len() <= DATA_FIELDS_LEN || read_u16(value, 4)? >= STREAMS_MAX {
                    return None;
                }
                self.data_chunks += 1;
                self.advance(read_u32(value, 0)?)
            }
            FORWARD_TSN if value.len().is_multiple_of(4) => self.advance(read_u32(value, 0)?),
            INIT => {
                self.init = true;
                self.tsn_highest = Some(read_u32(value, 12)?.wrapping_sub(1));
                Some(())
            }
            RE_CONFIG if value.len() <= RE_CONFIG_LEN_MAX && is_reset(value) => {
                self.reset_requests += 1;
                Some(())
            }
            // One cause at most: the library forgets the padding between two.
            ABORT => (value.is_empty() || read_len(value) == Some(value.len())).then_some(()),
            HEARTBEAT => (value.starts_with(&[0, 1]) && read_len(value) == Some(value.len())).then_some(()),
            SACK => {
                let blocks = usize::from(read_u16(value, 8)?) + usize::from(read_u16(value, 10)?);
                (value.len() == SACK_FIELDS_LEN + 4 * blocks).then_some(())
            }
            SHUTDOWN => (value.len() == 4).then_some(()),
            SHUTDOWN_ACK | COOKIE_ACK | SHUTDOWN_COMPLETE => value.is_empty().then_some(()),
            COOKIE_ECHO => Some(()),
            // INIT ACK and HEARTBEAT ACK answer what we never send; the rest was not negotiated.
            _ => None,
        }
    }

    /// Only a number near the highest one so far can be honest.
    fn advance(&mut self, tsn: u32) -> Option<()> {
        let ahead = tsn.wrapping_sub(self.tsn_highest?) as i32;
        if ahead > TSN_WINDOW {
            return None;
        }
        if ahead > 0 {
            self.tsn_highest = Some(tsn);
        }
        Some(())
    }
}

/// Type and value of the first chunk, and what follows it; `None` when it does not fit.
fn split_chunk(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let kind = *bytes.first()?;
    let len = read_len(bytes)?;
    let value = bytes.get(CHUNK_HEADER_LEN..len)?;
    // The last chunk may come without its padding.
    let following = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
    Some((kind, value, following))
}

/// The same INIT with nothing but its fixed fields and the one extension that matters, FORWARD TSN (RFC 3758).
/// `None` when its checksum is wrong or a parameter does not fit.
pub(super) fn plain_init(packet: &[u8]) -> Option<Vec<u8>> {
    let (_, value, _) = split_chunk(packet.get(COMMON_HEADER_LEN..)?)?;
    let (fields, mut parameters) = value.split_at_checked(INIT_FIELDS_LEN)?;
    let mut forward_tsn = false;
    while !parameters.is_empty() {
        let len = read_len(parameters)?;
        let value = parameters.get(CHUNK_HEADER_LEN..len)?;
        match read_u16(parameters, 0)? {
            PARAMETER_FORWARD_TSN => forward_tsn = true,
            PARAMETER_EXTENSIONS => forward_tsn |= value.contains(&FORWARD_TSN),
            _ => {}
        }
        parameters = parameters.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    let mut checked = packet.to_vec();
    checked[CHECKSUM].fill(0);
    if packet[CHECKSUM] != crc32c::crc32c(&checked).to_le_bytes() {
        return None;
    }

    let extensions: &[u8] = if forward_tsn { &[0x80, 0x08, 0, 6, FORWARD_TSN, RE_CONFIG, 0, 0] } else { &[] };
    let len = (CHUNK_HEADER_LEN + fields.len() + extensions.len()) as u16;
    let mut plain = [&packet[..CHECKSUM.start], &[0; 4], &[INIT, 0], &len.to_be_bytes(), fields, extensions].concat();
    let checksum = crc32c::crc32c(&plain).to_le_bytes();
    plain[CHECKSUM].copy_from_slice(&checksum);
    Some(plain)
}

/// Whether a RE-CONFIG chunk holds one or two of the parameters that reset a stream, of their exact lengths.
fn is_reset(value: &[u8]) -> bool {
    let fits = |bytes: &[u8], len: usize| match read_u16(bytes, 0) {
        Some(PARAMETER_OUTGOING_RESET) => len >= 16 && len.is_multiple_of(2) && len <= bytes.len(),
        Some(PARAMETER_RESET_RESPONSE) => len == 12 && len <= bytes.len(),
        _ => false,
    };
    let Some(len) = read_len(value).filter(|len| fits(value, *len)) else { return false };
    match value.get(len.next_multiple_of(4)..) {
        None | Some([]) => len == value.len(),
        Some(second) => read_len(second).is_some_and(|len| fits(second, len) && len == second.len()),
    }
}

/// The length field of a chunk, parameter or error cause.
fn read_len(bytes: &[u8]) -> Option<usize> {
    read_u16(bytes, 2).map(usize::from)
}

fn read_u16(bytes: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(offset..offset + 2)?.try_into().ok()?))
}

fn read_u32(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(offset..offset + 4)?.try_into().ok()?))
}

/// Streams that may carry data; browsers number their channels upwards from 0. Each costs the library some hundred
/// bytes for as long as the association lives.
pub(super) const STREAMS_MAX: u16 = 1024;

/// DATA chunks that may wait in the library. A full receive window is about 240 of the usual size, but thousands when
/// messages are tiny and the first is lost. Bounds its memory at about 10 MB for a hostile far side.
const UNSETTLED_CHUNKS_MAX: usize = 8192;

/// How far ahead of the highest number so far a TSN may be: more than any window of ours lets be in flight.
const TSN_WINDOW: i32 = 8192;

/// Stream resets in the life of an association: a page closes a few channels in a call.
const RESET_REQUESTS_MAX: usize = 1024;

/// Bytes of one RE-CONFIG chunk: 16 channels closed at once take 48.
const RE_CONFIG_LEN_MAX: usize = 256;

/// Largest packet: more than any DTLS record that fits a path.
const PACKET_LEN_MAX: usize = 9216;

const COMMON_HEADER_LEN: usize = 12;
const CHUNK_HEADER_LEN: usize = 4;
const DATA_FIELDS_LEN: usize = 12;
const INIT_FIELDS_LEN: usize = 16;
const SACK_FIELDS_LEN: usize = 12;
const CHECKSUM: std::ops::Range<usize> = 8..12;

const DATA: u8 = 0;
const INIT: u8 = 1;
const SACK: u8 = 3;
const HEARTBEAT: u8 = 4;
const ABORT: u8 = 6;
const SHUTDOWN: u8 = 7;
const SHUTDOWN_ACK: u8 = 8;
const COOKIE_ECHO: u8 = 10;
const COOKIE_ACK: u8 = 11;
const SHUTDOWN_COMPLETE: u8 = 14;
const RE_CONFIG: u8 = 130;
const FORWARD_TSN: u8 = 192;

const PARAMETER_OUTGOING_RESET: u16 = 13;
const PARAMETER_RESET_RESPONSE: u16 = 16;
const PARAMETER_EXTENSIONS: u16 = 0x8008;
const PARAMETER_FORWARD_TSN: u16 = 0xc000;

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(chunks: &[(u8, &[u8])]) -> Vec<u8> {
        let mut packet = vec![0; COMMON_HEADER_LEN];
        for (kind, value) in chunks {
            packet.extend_from_slice(&[*kind, 0]);
            packet.extend_from_slice(&((CHUNK_HEADER_LEN + value.len()) as u16).to_be_bytes());
            packet.extend_from_slice(value);
            packet.resize(packet.len().next_multiple_of(4), 0);
        }
        packet
    }

    fn data(tsn: u32, stream: u16) -> Vec<u8> {
        [&tsn.to_be_bytes()[..], &stream.to_be_bytes(), &[0; 6], b"x"].concat()
    }

    const RESET: [u8; 18] = [0, 13, 0, 18, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 4];

    fn after_init(initial_tsn: u32) -> SctpGuard {
        let mut guard = SctpGuard::default();
        let init = [&[0; 12][..], &initial_tsn.to_be_bytes()].concat();
        let contents = guard.check(&packet(&[(INIT, &init)])).unwrap();
        assert!(contents.init);
        guard.record_accepted(contents);
        guard
    }

    #[test]
    fn numbers_far_ahead_are_refused_also_across_the_wrap() {
        let mut guard = after_init(u32::MAX - 1);
        for tsn in [u32::MAX - 1, u32::MAX, 0, 1, 8000] {
            let contents = guard.check(&packet(&[(DATA, &data(tsn, 0))])).unwrap();
            guard.record_accepted(contents);
        }
        let far = 8000u32 + 8193;
        assert_eq!(guard.check(&packet(&[(DATA, &data(far, 0))])), Err(Refusal::Packet));
        assert_eq!(guard.check(&packet(&[(FORWARD_TSN, &far.to_be_bytes())])), Err(Refusal::Packet));
        assert!(guard.check(&packet(&[(FORWARD_TSN, &8100u32.to_be_bytes())])).is_ok());
    }

    #[test]
    fn data_before_init_high_streams_and_unknown_chunks_are_refused() {
        assert_eq!(SctpGuard::default().check(&packet(&[(DATA, &data(1, 0))])), Err(Refusal::Packet));
        let guard = after_init(1);
        assert!(guard.check(&packet(&[(DATA, &data(1, STREAMS_MAX - 1))])).is_ok());
        assert_eq!(guard.check(&packet(&[(DATA, &data(1, STREAMS_MAX))])), Err(Refusal::Packet));
        for kind in [2, 5, 9, 64, 128, 255] {
            assert_eq!(guard.check(&packet(&[(kind, &[0; 16])])), Err(Refusal::Packet), "chunk type {kind}");
        }
    }

    #[test]
    fn chunks_that_never_settle_end_the_association() {
        let mut guard = after_init(1);
        let mut tsn = 1;
        let refusal = loop {
            match guard.check(&packet(&[(DATA, &data(tsn, 0))])) {
                Ok(contents) => guard.record_accepted(contents),
                Err(refusal) => break refusal,
            }
            tsn += 1;
        };
        assert_eq!((refusal, tsn as usize), (Refusal::Association, UNSETTLED_CHUNKS_MAX + 1));

        let sack = |offered: u32| packet(&[(SACK, &[&[0; 4][..], &offered.to_be_bytes(), &[0; 4]].concat())]);
        guard.record_sent(&sack(999), 1000);
        assert!(guard.check(&packet(&[(DATA, &data(tsn, 0))])).is_err());
        guard.record_sent(&sack(1000), 1000);
        assert!(guard.check(&packet(&[(DATA, &data(tsn, 0))])).is_ok());
    }

    #[test]
    fn chunks_whose_contents_do_not_fill_their_length_are_refused() {
        let guard = after_init(1);
        let response = [0, 16, 0, 12, 0, 0, 0, 1, 0, 0, 0, 1];
        let both = [&RESET[..], &[0, 0], &response].concat();
        for good in [&RESET[..], &response, &both] {
            assert!(guard.check(&packet(&[(RE_CONFIG, good)])).is_ok(), "{good:?}");
        }
        let long_response = [&[0, 16, 0, 20][..], &[0; 16]].concat();
        let trailing = [&response[..], &[0; 4]].concat();
        for bad in [&RESET[..16], &long_response, &trailing, &[0, 7, 0, 4], &[]] {
            assert!(guard.check(&packet(&[(RE_CONFIG, bad)])).is_err(), "{bad:?}");
        }
        assert!(guard.check(&packet(&[(HEARTBEAT, &[0, 1, 0, 6, 1, 2])])).is_ok());
        assert!(guard.check(&packet(&[(HEARTBEAT, &[0, 1, 0, 4, 0, 1, 0, 4])])).is_err());
        assert!(guard.check(&packet(&[(ABORT, &[0, 12, 0, 4, 0, 12, 0, 4])])).is_err());
        assert!(guard.check(&packet(&[(SACK, &[0; 16])])).is_err());
        assert!(guard.check(&packet(&[(FORWARD_TSN, &[0, 0, 0, 1, 0, 0])])).is_err());
    }

    #[test]
    fn reset_requests_are_counted() {
        let mut guard = after_init(1);
        for _ in 0..RESET_REQUESTS_MAX {
            let contents = guard.check(&packet(&[(RE_CONFIG, &RESET)])).unwrap();
            guard.record_accepted(contents);
        }
        assert_eq!(guard.check(&packet(&[(RE_CONFIG, &RESET)])), Err(Refusal::Association));
        assert_eq!(after_init(1).check(&packet(&[(RE_CONFIG, &[0, 13, 1, 44].repeat(75))])), Err(Refusal::Packet));
    }
}
