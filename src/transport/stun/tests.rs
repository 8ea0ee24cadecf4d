//! The wire format against RFC 5769 and against `rtc-stun`; hostile input.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::transport::ice_sim::SimCheck;
use crate::transport::oracle::{Read, read_answer};

const PASSWORD: &str = "VOkJxbRl1RmTxUk/WvJxBt";

/// RFC 5769 section 2.1, a sample request of an ICE agent.
#[rustfmt::skip]
const RFC_5769_REQUEST: [u8; 108] = [
    0x00, 0x01, 0x00, 0x58, 0x21, 0x12, 0xa4, 0x42, 0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae,
    0x80, 0x22, 0x00, 0x10, 0x53, 0x54, 0x55, 0x4e, 0x20, 0x74, 0x65, 0x73, 0x74, 0x20, 0x63, 0x6c, 0x69, 0x65, 0x6e, 0x74,
    0x00, 0x24, 0x00, 0x04, 0x6e, 0x00, 0x01, 0xff,
    0x80, 0x29, 0x00, 0x08, 0x93, 0x2f, 0xf9, 0xb1, 0x51, 0x26, 0x3b, 0x36,
    0x00, 0x06, 0x00, 0x09, 0x65, 0x76, 0x74, 0x6a, 0x3a, 0x68, 0x36, 0x76, 0x59, 0x20, 0x20, 0x20,
    0x00, 0x08, 0x00, 0x14, 0x9a, 0xea, 0xa7, 0x0c, 0xbf, 0xd8, 0xcb, 0x56, 0x78, 0x1e, 0xf2, 0xb5, 0xb2, 0xd3, 0xf2, 0x49, 0xc1, 0xb5, 0x71, 0xa2,
    0x80, 0x28, 0x00, 0x04, 0xe5, 0x7a, 0x3b, 0xcf,
];

#[test]
fn reads_the_request_of_rfc_5769() {
    let request = Request::parse(&RFC_5769_REQUEST).unwrap();
    assert_eq!(request.username, b"evtj:h6vY");
    assert!(request.claims_controlled && !request.nominates);
    assert_eq!(request.unknown_attribute, None);
    assert!(request.is_authentic(&integrity_key(PASSWORD)));
    assert!(!request.is_authentic(&integrity_key("VOkJxbRl1RmTxUk/WvJxBT")));
    assert_eq!(stun_username(&RFC_5769_REQUEST), Some(&b"evtj"[..]));
}

#[test]
fn every_flipped_bit_of_a_request_is_noticed() {
    let key = integrity_key(PASSWORD);
    for bit in 0..RFC_5769_REQUEST.len() * 8 {
        let mut forged = RFC_5769_REQUEST;
        forged[bit / 8] ^= 1 << (bit % 8);
        let accepted = Request::parse(&forged).is_ok_and(|request| request.is_authentic(&key));
        assert!(!accepted, "bit {bit}");
    }
}

#[test]
fn answers_are_read_by_another_library() {
    let transaction = *b"abcdefghijkl";
    let key = integrity_key(PASSWORD);
    let cases = [
        ("192.0.2.1:32853", "192.0.2.1:32853"),
        ("[2001:db8:1234:5678:11:2233:4455:6677]:32853", "[2001:db8:1234:5678:11:2233:4455:6677]:32853"),
        ("[::ffff:192.0.2.1]:7", "192.0.2.1:7"),
    ];
    let mut out = [0xff; ANSWER_LEN_MAX];
    for (from, mapped) in cases {
        let len = Answer::Success(from.parse().unwrap()).write(&transaction, &key, &mut out);
        assert_eq!(read_answer(&out[..len], transaction, PASSWORD), Read::Success(mapped.parse().unwrap()));
    }
    let len = Answer::RoleConflict.write(&transaction, &key, &mut out);
    assert_eq!(read_answer(&out[..len], transaction, PASSWORD), Read::Error(487));
    let len = Answer::UnknownAttribute(0x7ff0).write(&transaction, &key, &mut out);
    assert_eq!(read_answer(&out[..len], transaction, PASSWORD), Read::Error(420));
}

/// A stranger who appends an attribute behind MESSAGE-INTEGRITY can repair the FINGERPRINT, but must gain nothing.
#[test]
fn attributes_behind_the_integrity_are_not_seen() {
    let mut datagram = SimCheck::new("a:b", PASSWORD, 1).build();
    datagram.truncate(datagram.len() - 8);
    datagram.extend_from_slice(&[0, 0x25, 0, 0]);
    let len = (datagram.len() + 8 - HEADER_LEN) as u16;
    datagram[2..4].copy_from_slice(&len.to_be_bytes());
    let fingerprint = fingerprint_value(&datagram);
    datagram.extend_from_slice(&[0x80, 0x28, 0, 4]);
    datagram.extend_from_slice(&fingerprint.to_be_bytes());
    let request = Request::parse(&datagram).unwrap();
    assert!(request.is_authentic(&integrity_key(PASSWORD)));
    assert!(!request.nominates);
    assert!(Request::parse(&SimCheck::new("a:b", PASSWORD, 1).nominating().build()).unwrap().nominates);
}

#[test]
fn requests_without_what_ice_demands_are_refused() {
    let whole = SimCheck::new("a:b", PASSWORD, 1).build();
    let without_fingerprint = {
        let mut datagram = whole[..whole.len() - 8].to_vec();
        let len = (datagram.len() - HEADER_LEN) as u16;
        datagram[2..4].copy_from_slice(&len.to_be_bytes());
        datagram
    };
    let without_integrity = {
        let mut datagram = whole[..whole.len() - 32].to_vec();
        let len = (datagram.len() + 8 - HEADER_LEN) as u16;
        datagram[2..4].copy_from_slice(&len.to_be_bytes());
        let fingerprint = fingerprint_value(&datagram);
        datagram.extend_from_slice(&[0x80, 0x28, 0, 4]);
        datagram.extend_from_slice(&fingerprint.to_be_bytes());
        datagram
    };
    assert!(Request::parse(&whole).is_ok());
    assert_eq!(Request::parse(&without_fingerprint).unwrap_err(), DropReason::StunIntegrity);
    assert_eq!(Request::parse(&without_integrity).unwrap_err(), DropReason::StunIntegrity);
    assert_eq!(Request::parse(&SimCheck::new("", PASSWORD, 1).build()).unwrap_err(), DropReason::StunIntegrity);
}

#[test]
fn responses_and_indications_are_not_requests() {
    for kind in [0x0101_u16, 0x0111, 0x0011, 0x0003] {
        let mut datagram = RFC_5769_REQUEST;
        datagram[..2].copy_from_slice(&kind.to_be_bytes());
        assert_eq!(Request::parse(&datagram).unwrap_err(), DropReason::StunMalformed);
    }
}

#[test]
fn an_unknown_attribute_that_must_be_understood_is_reported() {
    let mut check = SimCheck::new("a:b", PASSWORD, 1);
    check.extra = Some(0x7ff0);
    assert_eq!(Request::parse(&check.build()).unwrap().unknown_attribute, Some(0x7ff0));
    check.extra = Some(0xfff0);
    assert_eq!(Request::parse(&check.build()).unwrap().unknown_attribute, None);
}

#[test]
fn hostile_datagrams_never_panic() {
    let mut rng = StdRng::seed_from_u64(3);
    let key = integrity_key(PASSWORD);
    for round in 0..20_000 {
        let mut datagram = RFC_5769_REQUEST.to_vec();
        if round % 2 == 0 {
            datagram.truncate(rng.random_range(0..datagram.len()));
            rng.fill(&mut datagram[..]);
        }
        for _ in 0..rng.random_range(1..5) {
            if !datagram.is_empty() {
                let at = rng.random_range(0..datagram.len());
                datagram[at] = rng.random();
            }
        }
        let _ = stun_username(&datagram);
        if let Ok(request) = Request::parse(&datagram) {
            assert!(!request.is_authentic(&key) || datagram == RFC_5769_REQUEST);
        }
    }
}
