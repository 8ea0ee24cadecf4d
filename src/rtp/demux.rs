//! Which protocol a datagram on the one media port belongs to (RFC 7983; RTP and RTCP apart by RFC 5761 section 4).
//!
//! Looks at the first two bytes and the length only; says nothing about whether the rest is sound. TURN channels and
//! ZRTP share the scheme but are not spoken here.

/// A protocol on the media port.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Class {
    /// RFC 8489: connectivity checks.
    Stun,
    /// RFC 9147 and RFC 6347: handshake and data channels.
    Dtls,
    /// RFC 3711, encrypted media.
    Rtp,
    /// RFC 3711, encrypted reports and feedback.
    Rtcp,
}

/// The protocol of a datagram, or `None` when its first byte is in no range that is used here or when it is shorter
/// than that protocol's header.
#[must_use]
pub fn classify(datagram: &[u8]) -> Option<Class> {
    let (class, len_min) = match *datagram {
        [0..=3, ..] => (Class::Stun, 20),
        [20..=63, ..] => (Class::Dtls, 13),
        [128..=191, 192..=223, ..] => (Class::Rtcp, 8),
        [128..=191, _, ..] => (Class::Rtp, 12),
        _ => return None,
    };
    (datagram.len() >= len_min).then_some(class)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::random;

    fn datagram(first: u8, second: u8) -> [u8; 20] {
        let mut bytes = [0; 20];
        (bytes[0], bytes[1]) = (first, second);
        bytes
    }

    #[test]
    fn follows_the_ranges_of_rfc_7983() {
        for first in 0..=255 {
            let expected = match first {
                0..=3 => Some(Class::Stun),
                20..=63 => Some(Class::Dtls),
                128..=191 => Some(Class::Rtp),
                _ => None,
            };
            assert_eq!(classify(&datagram(first, 96)), expected, "first byte {first}");
        }
    }

    #[test]
    fn splits_rtp_from_rtcp_by_the_second_byte() {
        assert_eq!(classify(&datagram(0x80, 200)), Some(Class::Rtcp));
        assert_eq!(classify(&datagram(0x81, 206)), Some(Class::Rtcp));
        assert_eq!(classify(&datagram(0x80, 191)), Some(Class::Rtp));
        assert_eq!(classify(&datagram(0x80, 224)), Some(Class::Rtp));
        assert_eq!(classify(&datagram(0x80, 0x80 | 111)), Some(Class::Rtp), "a marker bit is not RTCP");
    }

    #[test]
    fn refuses_what_is_shorter_than_its_header() {
        assert_eq!(classify(&[]), None);
        assert_eq!(classify(&[0x80]), None);
        assert_eq!(classify(&datagram(0, 1)[..19]), None);
        assert_eq!(classify(&datagram(22, 254)[..12]), None);
        assert_eq!(classify(&datagram(0x80, 200)[..7]), None);
        assert_eq!(classify(&datagram(0x80, 96)[..11]), None);
    }

    #[test]
    fn survives_hostile_input() {
        random::for_hostile_inputs(2, &[], |input| {
            if classify(input).is_some() {
                assert!(input.len() >= 8);
            }
        });
    }
}
