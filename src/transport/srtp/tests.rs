//! Behaviour of both directions together: rollover, replay, forgery, limits.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::replay::WINDOW;
use super::testing::{PROFILES, hex, master_key, rtcp, rtp};
use super::*;

fn sealed_rtp(egress: &EgressSrtp, ssrc: u32, index: u64) -> Vec<u8> {
    let mut packet = rtp(ssrc, index as u16, index.is_multiple_of(2));
    let (header_len, len) = (packet.header_len, packet.len);
    let sealed = egress.seal_rtp(&mut packet.bytes, header_len, len, SeqNo(index));
    assert!(sealed > len);
    packet.bytes.truncate(sealed);
    packet.bytes
}

fn sealed_rtcp(egress: &mut EgressSrtp, ssrc: u32) -> Vec<u8> {
    let mut packet = rtcp(ssrc);
    let sealed = egress.seal_rtcp(&mut packet.bytes, packet.len);
    packet.bytes.truncate(sealed);
    packet.bytes
}

fn pair(profile: Profile) -> (EgressSrtp, IngressSrtp) {
    (EgressSrtp::new(profile, &master_key()), IngressSrtp::new(profile, &master_key()))
}

fn open(ingress: &mut IngressSrtp, packet: &[u8]) -> Result<SeqNo, DropReason> {
    ingress.open_rtp(&mut packet.to_vec()).map(|(_, index)| index)
}

#[test]
fn opens_what_it_sealed_and_gives_the_plain_packet_back() {
    for profile in PROFILES {
        let (mut egress, mut ingress) = pair(profile);
        for index in [0_u64, 1, 2, 3] {
            let plain = rtp(7, index as u16, index.is_multiple_of(2));
            let mut packet = sealed_rtp(&egress, 7, index);
            assert_eq!(ingress.open_rtp(&mut packet), Ok((plain.len, SeqNo(index))));
            assert_eq!(&packet[..plain.len], plain.plain());
        }
        let plain = rtcp(7);
        let mut packet = sealed_rtcp(&mut egress, 7);
        assert_ne!(&packet[8..plain.len], &plain.plain()[8..], "the body is encrypted");
        assert_eq!(ingress.open_rtcp(&mut packet), Ok(plain.len));
        assert_eq!(&packet[..plain.len], plain.plain());
    }
}

/// The packet of libsrtp's `srtp_validate`, under the master key of RFC 3711 appendix B.3.
#[test]
fn seals_the_known_packet_of_the_hmac_profile() {
    let mut key = MasterKey { key: [0; 32], salt: hex("0EC675AD498AFEEBB6960B3AABE6").try_into().unwrap() };
    key.key[..16].copy_from_slice(&hex("E1F97A0D3E018BE0D64FA32C06DE4139"));
    let mut egress = EgressSrtp::new(Profile::Aes128CmSha1_80, &key);
    let mut packet = hex("800f1234decafbadcafebabe abababababababababababababababab 00000000000000000000");
    assert_eq!(egress.seal_rtp(&mut packet, 12, 28, SeqNo(0x1234)), 38);
    assert_eq!(packet, hex("800f1234decafbadcafebabe4e55dc4ce79978d88ca4d215949d2402b78d6acc99ea179b8dbb"));
    let mut packet = hex("81c8000bcafebabe abababababababababababababababab 0000000000000000000000000000");
    assert_eq!(egress.seal_rtcp(&mut packet, 24), 38);
    assert_eq!(packet, hex("81c8000bcafebabe7128035be487b9bdbef89041f977a5a880000001993e08cd54d6c1230798"));
}

#[test]
fn follows_the_rollover_counter_over_wraps() {
    for profile in PROFILES {
        let (egress, mut ingress) = pair(profile);
        for index in (65_000..3 * 65_536).step_by(997) {
            assert_eq!(open(&mut ingress, &sealed_rtp(&egress, 7, index)), Ok(SeqNo(index)), "{profile:?}");
        }
    }
}

#[test]
fn takes_packets_reordered_across_the_wrap_and_none_of_them_twice() {
    for profile in PROFILES {
        let (egress, mut ingress) = pair(profile);
        let order = [65_530, 65_538, 65_535, 65_536, 65_534, 65_537, 65_531];
        for index in order {
            assert_eq!(open(&mut ingress, &sealed_rtp(&egress, 7, index)), Ok(SeqNo(index)));
        }
        for index in order {
            assert_eq!(open(&mut ingress, &sealed_rtp(&egress, 7, index)), Err(DropReason::SrtpReplay));
        }
    }
}

#[test]
fn drops_what_is_older_than_the_window() {
    let (egress, mut ingress) = pair(Profile::AeadAes128Gcm);
    let newest = 5_000;
    open(&mut ingress, &sealed_rtp(&egress, 7, newest)).unwrap();
    let oldest = newest - WINDOW + 1;
    assert_eq!(open(&mut ingress, &sealed_rtp(&egress, 7, oldest)), Ok(SeqNo(oldest)));
    assert_eq!(open(&mut ingress, &sealed_rtp(&egress, 7, oldest - 1)), Err(DropReason::SrtpReplay));
}

#[test]
fn sources_have_their_own_counters() {
    let (egress, mut ingress) = pair(Profile::AeadAes128Gcm);
    for (ssrc, index) in [(1, 65_535), (2, 10), (1, 65_536), (2, 11), (2, 9)] {
        assert_eq!(open(&mut ingress, &sealed_rtp(&egress, ssrc, index)), Ok(SeqNo(index)));
    }
}

#[test]
fn replayed_rtcp_is_dropped_late_rtcp_is_not() {
    for profile in PROFILES {
        let (mut egress, mut ingress) = pair(profile);
        let packets: Vec<_> = (0..10).map(|_| sealed_rtcp(&mut egress, 9)).collect();
        for packet in packets.iter().rev() {
            assert!(ingress.open_rtcp(&mut packet.clone()).is_ok());
            assert_eq!(ingress.open_rtcp(&mut packet.clone()), Err(DropReason::SrtpReplay));
        }
    }
}

/// A forged packet must neither create a source, nor move the rollover counter, nor fill the window.
#[test]
fn forged_packets_leave_the_state_unchanged() {
    for profile in PROFILES {
        let (mut egress, mut ingress) = pair(profile);
        let stranger_key = MasterKey { key: [0xee; 32], salt: [0xdd; 14] };
        let mut stranger = EgressSrtp::new(profile, &stranger_key);
        for ssrc in 0..1_000 {
            assert_eq!(open(&mut ingress, &sealed_rtp(&stranger, ssrc, 5)), Err(DropReason::SrtpAuth));
            assert_eq!(ingress.open_rtcp(&mut sealed_rtcp(&mut stranger, ssrc)), Err(DropReason::SrtpAuth));
        }
        assert_eq!((ingress.rtp.len(), ingress.rtcp.len()), (0, 0));

        open(&mut ingress, &sealed_rtp(&egress, 7, 100)).unwrap();
        for wire in (101..65_536).step_by(501) {
            assert_eq!(open(&mut ingress, &sealed_rtp(&stranger, 7, wire)), Err(DropReason::SrtpAuth));
        }
        for index in 101..200 {
            assert_eq!(open(&mut ingress, &sealed_rtp(&egress, 7, index)), Ok(SeqNo(index)));
        }
        assert!(ingress.open_rtcp(&mut sealed_rtcp(&mut egress, 7)).is_ok());
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    for profile in PROFILES {
        let (mut egress, mut ingress) = pair(profile);
        let packet = sealed_rtp(&egress, 7, 40);
        for bit in 0..packet.len() * 8 {
            let mut forged = packet.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(ingress.open_rtp(&mut forged).is_err(), "{profile:?} bit {bit}");
        }
        assert!(open(&mut ingress, &packet).is_ok());
        let packet = sealed_rtcp(&mut egress, 7);
        for bit in 32..packet.len() * 8 {
            let mut forged = packet.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(ingress.open_rtcp(&mut forged).is_err(), "{profile:?} bit {bit}");
        }
        assert!(ingress.open_rtcp(&mut packet.clone()).is_ok());
    }
}

#[test]
fn refuses_more_sources_than_a_leg_may_have_and_keeps_the_known_ones() {
    let (mut egress, mut ingress) = pair(Profile::AeadAes128Gcm);
    for ssrc in 0..IngressSrtp::SSRCS_MAX as u32 {
        open(&mut ingress, &sealed_rtp(&egress, ssrc, 1)).unwrap();
        ingress.open_rtcp(&mut sealed_rtcp(&mut egress, ssrc)).unwrap();
    }
    assert_eq!(open(&mut ingress, &sealed_rtp(&egress, 1_000, 1)), Err(DropReason::SrtpTooManySsrcs));
    assert_eq!(ingress.open_rtcp(&mut sealed_rtcp(&mut egress, 1_000)), Err(DropReason::SrtpTooManySsrcs));
    assert_eq!(open(&mut ingress, &sealed_rtp(&egress, 63, 2)), Ok(SeqNo(2)));
}

#[test]
fn unencrypted_srtcp_is_refused() {
    let (mut egress, mut ingress) = pair(Profile::AeadAes128Gcm);
    let mut packet = sealed_rtcp(&mut egress, 7);
    let word = packet.len() - 4;
    packet[word] &= 0x7f;
    assert_eq!(ingress.open_rtcp(&mut packet), Err(DropReason::SrtpAuth));
}

#[test]
fn lengths_that_do_not_fit_seal_nothing() {
    for profile in PROFILES {
        let (mut egress, _) = pair(profile);
        let mut packet = rtp(7, 1, false);
        let len = packet.len;
        assert_eq!(egress.seal_rtp(&mut packet.bytes, 11, len, SeqNo(1)), 0);
        assert_eq!(egress.seal_rtp(&mut packet.bytes, len + 1, len, SeqNo(1)), 0);
        assert_eq!(egress.seal_rtp(&mut packet.bytes[..len], 12, len, SeqNo(1)), 0);
        assert_eq!(egress.seal_rtp(&mut packet.bytes[..len], 12, len + 400, SeqNo(1)), 0);
        assert_eq!(egress.seal_rtcp(&mut packet.bytes[..12], 7), 0);
        assert_eq!(egress.seal_rtcp(&mut packet.bytes[..12], 12), 0);
    }
}

#[test]
fn an_exhausted_srtcp_index_is_never_used_again() {
    let (mut egress, _) = pair(Profile::AeadAes128Gcm);
    egress.srtcp_index = SRTCP_INDEX_MAX - 1;
    let mut packet = rtcp(7);
    assert!(egress.seal_rtcp(&mut packet.bytes, packet.len) > 0);
    assert_eq!(egress.seal_rtcp(&mut packet.bytes, packet.len), 0);
}

#[test]
fn random_datagrams_never_panic_nor_create_state() {
    let mut rng = StdRng::seed_from_u64(1);
    for profile in PROFILES {
        let (egress, mut ingress) = pair(profile);
        open(&mut ingress, &sealed_rtp(&egress, 7, 1)).unwrap();
        for _ in 0..20_000 {
            let len = rng.random_range(0..120);
            let mut datagram: Vec<u8> = (0..len).map(|_| rng.random()).collect();
            if len > 12 && rng.random() {
                datagram[0] = 0x80 | rng.random_range(0..32);
                datagram[8..12].copy_from_slice(&7_u32.to_be_bytes());
            }
            assert!(ingress.open_rtp(&mut datagram.clone()).is_err());
            assert!(ingress.open_rtcp(&mut datagram).is_err());
        }
        assert_eq!((ingress.rtp.len(), ingress.rtcp.len()), (1, 0));
        assert_eq!(open(&mut ingress, &sealed_rtp(&egress, 7, 2)), Ok(SeqNo(2)));
    }
}
