//! Data Channel Establishment Protocol (RFC 8832): the two messages that open a channel, bytes to values and back.
//!
//! Our own, because the codec of `rtc-datachannel` panics on a short message of a type of its internal use.

/// A DCEP message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Dcep {
    Open(Open),
    Ack,
}

/// DATA_CHANNEL_OPEN (section 5.1). The priority is not kept: nothing here is scheduled by it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Open {
    pub(super) unordered: bool,
    pub(super) reliability: Reliability,
    pub(super) label: String,
    pub(super) protocol: String,
}

/// What the sender of a message promises.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reliability {
    Reliable,
    /// At most so many retransmissions.
    Retransmissions(u32),
    /// Not after so many milliseconds.
    Milliseconds(u32),
}

impl Dcep {
    /// `None` for anything that RFC 8832 does not define.
    pub(super) fn parse(message: &[u8]) -> Option<Self> {
        match *message.first()? {
            TYPE_ACK => Some(Self::Ack),
            TYPE_OPEN => {
                let (header, names) = message.split_at_checked(OPEN_HEADER_LEN)?;
                let parameter = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
                let reliability = match header[1] & !UNORDERED {
                    0 => Reliability::Reliable,
                    1 => Reliability::Retransmissions(parameter),
                    2 => Reliability::Milliseconds(parameter),
                    _ => return None,
                };
                let label_len = usize::from(u16::from_be_bytes([header[8], header[9]]));
                let protocol_len = usize::from(u16::from_be_bytes([header[10], header[11]]));
                let (label, rest) = names.split_at_checked(label_len)?;
                let text = |bytes: &[u8]| Some(str::from_utf8(bytes).ok()?.to_owned());
                Some(Self::Open(Open {
                    unordered: header[1] & UNORDERED != 0,
                    reliability,
                    label: text(label)?,
                    protocol: text(rest.get(..protocol_len)?)?,
                }))
            }
            _ => None,
        }
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let Self::Open(open) = self else { return vec![TYPE_ACK] };
        let (kind, parameter) = match open.reliability {
            Reliability::Reliable => (0, 0),
            Reliability::Retransmissions(count) => (1, count),
            Reliability::Milliseconds(time) => (2, time),
        };
        let mut bytes = vec![TYPE_OPEN, kind | if open.unordered { UNORDERED } else { 0 }];
        bytes.extend_from_slice(&PRIORITY_NORMAL.to_be_bytes());
        bytes.extend_from_slice(&parameter.to_be_bytes());
        bytes.extend_from_slice(&(open.label.len() as u16).to_be_bytes());
        bytes.extend_from_slice(&(open.protocol.len() as u16).to_be_bytes());
        bytes.extend_from_slice(open.label.as_bytes());
        bytes.extend_from_slice(open.protocol.as_bytes());
        bytes
    }
}

const TYPE_ACK: u8 = 2;
const TYPE_OPEN: u8 = 3;
const UNORDERED: u8 = 0x80;
const OPEN_HEADER_LEN: usize = 12;
const PRIORITY_NORMAL: u16 = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_survives_the_round_trip_and_no_truncation_is_accepted() {
        for (unordered, reliability) in [
            (false, Reliability::Reliable),
            (true, Reliability::Retransmissions(3)),
            (false, Reliability::Milliseconds(u32::MAX)),
        ] {
            let open = Open { unordered, reliability, label: "größe".into(), protocol: "v1".into() };
            let bytes = Dcep::Open(open.clone()).to_bytes();
            assert_eq!(Dcep::parse(&bytes), Some(Dcep::Open(open)));
            for len in 0..bytes.len() {
                assert_eq!(Dcep::parse(&bytes[..len]), None, "{len} bytes");
            }
        }
    }

    #[test]
    fn what_the_rfc_does_not_define_is_refused() {
        let open = [3, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0];
        assert_eq!(Dcep::parse(&[&open[..], &[0xff]].concat()), None, "not UTF-8");
        assert_eq!(Dcep::parse(&[3, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), None, "channel type");
        for kind in [0, 1, 4, 255] {
            assert_eq!(Dcep::parse(&[kind, 0, 0]), None, "message type {kind}");
        }
        assert_eq!(Dcep::parse(&[2]), Some(Dcep::Ack));
    }
}
