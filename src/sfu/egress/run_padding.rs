//! How many bytes of RTP padding (RFC 3550 section 5.1) each packet of a batch gets, so that neighbours for one viewer
//! have one size and share a message to the kernel: browsers cut a frame into packets that differ by a byte.
//!
//! Decided once a batch and track, not once a viewer: packets with the same extensions get headers of one length for any
//! one viewer, so only their payloads differ. Pure. Not here: writing the padding (`packet_writer`), forming messages
//! (`worker::socket`), who gets which packet. Invariant: no packet becomes longer than the longest of its run.

use crate::sfu::ingress::{LayerIndex, PacketMeta};

/// What decides how long a packet is for a viewer, beside what all packets for that viewer have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PacketSize {
    layer: LayerIndex,
    extensions: [u8; PacketMeta::EXTENSIONS],
    payload_len: u16,
    padding: u8,
}

impl PacketSize {
    /// Without padding.
    #[must_use]
    pub fn of(meta: &PacketMeta) -> Self {
        let (layer, payload_len) = (meta.layer, meta.payload_len);
        Self { layer, extensions: meta.extension_sizes(), payload_len, padding: 0 }
    }

    /// What [`pad_runs`] gave it.
    #[must_use]
    pub fn padding(self) -> u8 {
        self.padding
    }
}

/// Pads the packets of each layer that only then share a message with their successor. `size` finds a packet's size.
pub fn pad_runs<T>(packets: &mut [T], size: impl Fn(&mut T) -> &mut PacketSize) {
    let mut runs = [None::<Run>; LayerIndex::COUNT_MAX];
    for at in 0..packets.len() {
        let next = *size(&mut packets[at]);
        // Nobody is sent a packet of padding alone.
        let Some(slot) = runs.get_mut(usize::from(next.layer.0)).filter(|_| next.payload_len > 0) else { continue };
        let Some(run) = slot else {
            *slot = Some(Run::begin(at, next));
            continue;
        };
        match run.step(next) {
            Step::Joins => run.extend(at, next),
            Step::Closes => {
                run.pad(packets, &size, Last::Padded);
                *slot = None;
            }
            Step::Breaks(last) => {
                run.pad(packets, &size, last);
                *slot = Some(Run::begin(at, next));
            }
        }
    }
    for run in runs.into_iter().flatten() {
        run.pad(packets, &size, Last::AsItIs);
    }
}

/// Packets of one layer that can be made one size.
#[derive(Clone, Copy)]
struct Run {
    first: usize,
    last: usize,
    /// Of the first: what the others must be like.
    size: PacketSize,
    shortest: u16,
    longest: u16,
}

/// What a packet means for the run before it.
enum Step {
    /// It becomes a part of it.
    Joins,
    /// It is shorter by far: a message may end with it as it is.
    Closes,
    /// It begins another run.
    Breaks(Last),
}

/// Whether the last packet of a run is padded.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    /// It must be as long as the others, because another packet may follow it in the same message.
    Padded,
    /// Nothing follows, and a message may end with a shorter packet.
    AsItIs,
}

impl Run {
    fn begin(at: usize, size: PacketSize) -> Self {
        Self { first: at, last: at, size, shortest: size.payload_len, longest: size.payload_len }
    }

    fn step(&self, next: PacketSize) -> Step {
        if next.extensions != self.size.extensions {
            // Its header has another length, so whether it ends the message is known only when it is written.
            return Step::Breaks(Last::Padded);
        }
        let len = next.payload_len;
        if self.longest.max(len) - self.shortest.min(len) <= PADDING_MAX {
            Step::Joins
        } else if len < self.longest {
            Step::Closes
        } else {
            Step::Breaks(Last::AsItIs)
        }
    }

    fn extend(&mut self, at: usize, next: PacketSize) {
        self.last = at;
        self.shortest = self.shortest.min(next.payload_len);
        self.longest = self.longest.max(next.payload_len);
    }

    fn pad<T>(&self, packets: &mut [T], size: impl Fn(&mut T) -> &mut PacketSize, last: Last) {
        if self.shortest == self.longest {
            return;
        }
        let end = self.last + usize::from(last == Last::Padded);
        for packet in &mut packets[self.first..end] {
            let size = size(packet);
            // Other layers lie in between.
            if size.layer == self.size.layer && size.payload_len > 0 {
                size.padding = (self.longest - size.payload_len) as u8;
            }
        }
    }
}

/// Chromium's VP8, VP9 and H264 and Firefox's VP8 need one byte (Chromium's AV1 comes in equal packets with a shorter last
/// one, and needs none); the rest is for other encoders and for frames that arrive together. Higher: every slow link pays
/// in bytes for hardly a message less (frames of six packets at a steady rate, three at once: 0.30 messages a packet
/// without padding, 0.17 with one byte, 0.16 with four or eight).
pub const PADDING_MAX: u16 = 4;

const _: () = assert!(PADDING_MAX <= u8::MAX as u16, "the last byte of the padding is its count");

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: [u8; PacketMeta::EXTENSIONS] = [0; PacketMeta::EXTENSIONS];
    const ROTATED: [u8; PacketMeta::EXTENSIONS] = [0, 1, 0, 0, 0];

    fn sized(layer: u8, extensions: [u8; PacketMeta::EXTENSIONS], payload_len: u16) -> PacketSize {
        PacketSize { layer: LayerIndex(layer), extensions, payload_len, padding: 0 }
    }

    fn padded(mut sizes: Vec<PacketSize>) -> Vec<u8> {
        pad_runs(&mut sizes, |size| size);
        sizes.iter().map(|size| size.padding()).collect()
    }

    /// Messages that the worker would form of one viewer's packets.
    fn messages(lens: &[u16]) -> usize {
        let mut messages = 0;
        let mut open = None;
        for &len in lens {
            if open.is_none_or(|segment| len > segment) {
                messages += 1;
                open = Some(len);
            } else if open != Some(len) {
                open = None;
            }
        }
        messages
    }

    #[test]
    fn packets_get_just_what_lets_their_neighbours_join_them() {
        let table: [(&str, &[u16], &[u8], usize); 14] = [
            ("nothing", &[], &[], 0),
            ("a packet alone", &[1100], &[0], 1),
            ("equal ones", &[1100, 1100, 1100], &[0, 0, 0], 1),
            ("as browsers cut a frame", &[1099, 1099, 1100, 1100], &[1, 1, 0, 0], 1),
            ("as others may", &[1100, 1100, 1099, 1099], &[0, 0, 1, 0], 1),
            ("the last may be shorter", &[1100, 1098], &[0, 0], 1),
            ("a short end of a frame", &[1100, 1099, 1100, 300], &[0, 1, 0, 0], 1),
            ("a short end behind a shorter packet", &[1100, 1099, 300], &[0, 1, 0], 1),
            ("two frames", &[1000, 1001, 900, 901, 901], &[1, 0, 0, 0, 0], 2),
            ("a longer one breaks a run", &[600, 599, 1100, 1100], &[0, 0, 0, 0], 2),
            ("just near enough", &[1096, 1100], &[4, 0], 1),
            ("just too far", &[1095, 1100], &[0, 0], 2),
            ("steps", &[1000, 1003, 1006, 1006], &[3, 0, 0, 0], 2),
            ("padding alone is nobody's neighbour", &[1099, 0, 1100], &[1, 0, 0], 2),
        ];
        for (what, lens, expected, messages_expected) in table {
            let padding = padded(lens.iter().map(|&len| sized(0, PLAIN, len)).collect());
            assert_eq!(padding, expected, "{what}");
            let sent: Vec<u16> = lens.iter().zip(&padding).map(|(len, &padding)| len + u16::from(padding)).collect();
            assert_eq!(messages(&sent), messages_expected, "{what}");
        }
    }

    #[test]
    fn layers_are_padded_apart_from_each_other() {
        let of = |layer, len| sized(layer, PLAIN, len);
        let padding =
            padded(vec![of(0, 500), of(1, 1099), of(0, 501), of(1, 1099), of(2, 502), of(1, 1100), of(0, 501)]);
        assert_eq!(padding, [1, 1, 0, 1, 0, 0, 0]);
        assert_eq!(padded(vec![of(9, 500), of(9, 501)]), [0, 0], "no such layer");
    }

    #[test]
    fn packets_with_other_extensions_are_not_compared() {
        let plain = |len| sized(0, PLAIN, len);
        let rotated = |len| sized(0, ROTATED, len);
        // A telephone held upright: the last packet of a frame says so, and has so much less payload.
        let frame = vec![plain(1099), plain(1100), plain(1100), rotated(1096)];
        assert_eq!(padded(frame), [1, 0, 0, 0]);
        assert_eq!(padded(vec![plain(1100), plain(1099), rotated(1096)]), [0, 1, 0], "it may close the run");
        assert_eq!(padded(vec![rotated(1099), plain(1100)]), [0, 0]);
    }

    #[test]
    fn no_run_becomes_more_messages_and_no_packet_longer_than_its_longest() {
        use rand::{Rng, SeedableRng};
        let mut random = rand::rngs::StdRng::seed_from_u64(5);
        let (mut before, mut after) = (0, 0);
        for _ in 0..20_000 {
            let spread = *[2, 5, 6, 20, 300].get(random.random_range(0..5)).expect("one of five");
            let count = random.random_range(0..12);
            let lens: Vec<u16> = (0..count).map(|_| 1000 + random.random_range(0..spread)).collect();
            let padding = padded(lens.iter().map(|&len| sized(0, PLAIN, len)).collect());
            let sent: Vec<u16> = lens.iter().zip(&padding).map(|(len, &padding)| len + u16::from(padding)).collect();
            assert!(padding.iter().all(|&padding| u16::from(padding) <= PADDING_MAX), "{lens:?}");
            assert!(sent.iter().max() == lens.iter().max(), "{lens:?} became {sent:?}");
            assert!(messages(&sent) <= messages(&lens), "{lens:?} became {sent:?}");
            before += messages(&lens);
            after += messages(&sent);
        }
        assert!(after * 3 < before * 2, "{after} messages instead of {before}");
    }
}
