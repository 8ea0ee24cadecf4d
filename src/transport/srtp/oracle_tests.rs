//! Against `rtc-srtp`, which shares no code with us: each opens what the other sealed, for every profile.

use rtc_srtp::context::Context;
use rtc_srtp::crypto::RTCCryptoProvider;
use rtc_srtp::crypto::providers::AwsLcRsProvider;
use rtc_srtp::protection_profile::ProtectionProfile;

use super::testing::{PROFILES, master_key, rtcp, rtp};
use super::*;

fn oracle(profile: Profile) -> Context {
    let (key_len, salt_len, theirs) = match profile {
        Profile::AeadAes128Gcm => (16, 12, ProtectionProfile::AeadAes128Gcm),
        Profile::AeadAes256Gcm => (32, 12, ProtectionProfile::AeadAes256Gcm),
        Profile::Aes128CmSha1_80 => (16, 14, ProtectionProfile::Aes128CmHmacSha1_80),
        Profile::Aes128CmSha1_32 => (16, 14, ProtectionProfile::Aes128CmHmacSha1_32),
    };
    let MasterKey { key, salt } = master_key();
    let provider = AwsLcRsProvider::new();
    Context::new(&key[..key_len], &salt[..salt_len], theirs, None, None, provider.crypto()).expect("a valid key")
}

/// Numbers around two wraps, in steps small enough for the oracle's own estimate.
fn indexes() -> impl Iterator<Item = u64> {
    (60_000..2 * 65_536 + 3_000).step_by(641)
}

#[test]
fn the_oracle_opens_our_rtp_over_wraps() {
    for profile in PROFILES {
        let (egress, mut oracle) = (EgressSrtp::new(profile, &master_key()), oracle(profile));
        for index in indexes() {
            let mut packet = rtp(7, index as u16, index.is_multiple_of(2));
            let plain = packet.plain().to_vec();
            let sealed = egress.seal_rtp(&mut packet.bytes, packet.header_len, packet.len, SeqNo(index));
            assert_eq!(oracle.decrypt_rtp(&packet.bytes[..sealed]).expect("our packet"), plain, "{profile:?} {index}");
        }
    }
}

#[test]
fn we_open_the_oracles_rtp_over_wraps() {
    for profile in PROFILES {
        let (mut ingress, mut oracle) = (IngressSrtp::new(profile, &master_key()), oracle(profile));
        for index in indexes() {
            let plain = rtp(7, index as u16, index.is_multiple_of(2));
            let mut packet = oracle.encrypt_rtp(plain.plain()).expect("a valid packet");
            assert_eq!(ingress.open_rtp(&mut packet), Ok((plain.len, SeqNo(index))), "{profile:?}");
            assert_eq!(&packet[..plain.len], plain.plain());
        }
    }
}

#[test]
fn rtcp_opens_both_ways() {
    for profile in PROFILES {
        let (mut egress, mut ingress) =
            (EgressSrtp::new(profile, &master_key()), IngressSrtp::new(profile, &master_key()));
        let (mut oracle_in, mut oracle_out) = (oracle(profile), oracle(profile));
        for ssrc in [7, 7, 8, 7] {
            let mut packet = rtcp(ssrc);
            let plain = packet.plain().to_vec();
            let sealed = egress.seal_rtcp(&mut packet.bytes, packet.len);
            assert_eq!(oracle_in.decrypt_rtcp(&packet.bytes[..sealed]).expect("our packet"), plain, "{profile:?}");

            let mut packet = oracle_out.encrypt_rtcp(&plain).expect("a valid packet");
            assert_eq!(ingress.open_rtcp(&mut packet), Ok(plain.len()), "{profile:?}");
            assert_eq!(&packet[..plain.len()], plain);
        }
    }
}
