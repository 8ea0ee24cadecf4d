//! The keys of an encrypted call, and the cipher state made of them.
//!
//! They come out of the SDP (SDES, RFC 4568; `telephone::sdp` reads and writes it). A repeated offer with the same keys must not
//! touch that state: the rollover counters and replay windows of both sides go on (RFC 4568 section 6.4).
//! Invariant: a key is never printed.

use aws_lc_rs::constant_time::verify_slices_are_equal;

use crate::pii::Pii;
use crate::transport::srtp::{EgressSrtp, IngressSrtp, MasterKey, Profile};

/// One key for each direction.
#[derive(Clone, Debug)]
pub struct CallKeys {
    /// One of the two AES_CM_128 profiles.
    pub profile: Profile,
    /// Under which we send: 16 bytes of key and 14 of salt, of our own SDP.
    pub ours: Pii<[u8; KEY_AND_SALT_LEN]>,
    /// Under which the far end sends.
    pub theirs: Pii<[u8; KEY_AND_SALT_LEN]>,
}

impl CallKeys {
    /// What seals our packets, when that is not what `before` makes already.
    pub(super) fn new_egress(&self, before: Option<&CallKeys>) -> Option<EgressSrtp> {
        let same = before.is_some_and(|before| self.profile == before.profile && is_same(&self.ours, &before.ours));
        (!same).then(|| EgressSrtp::new(self.profile, &master(&self.ours)))
    }

    /// What opens the far end's packets, when that is not what `before` makes already.
    pub(super) fn new_ingress(&self, before: Option<&CallKeys>) -> Option<IngressSrtp> {
        let same = before.is_some_and(|before| self.profile == before.profile && is_same(&self.theirs, &before.theirs));
        (!same).then(|| IngressSrtp::new(self.profile, &master(&self.theirs)))
    }
}

fn is_same(one: &Pii<[u8; KEY_AND_SALT_LEN]>, other: &Pii<[u8; KEY_AND_SALT_LEN]>) -> bool {
    verify_slices_are_equal(&one.0, &other.0).is_ok()
}

fn master(key_and_salt: &Pii<[u8; KEY_AND_SALT_LEN]>) -> MasterKey {
    let mut master = MasterKey { key: [0; 32], salt: [0; 14] };
    let (key, salt) = key_and_salt.0.split_at(KEY_LEN);
    master.key[..KEY_LEN].copy_from_slice(key);
    master.salt.copy_from_slice(salt);
    master
}

const KEY_LEN: usize = 16;
/// RFC 4568 section 6.2: both suites have the same lengths.
pub const KEY_AND_SALT_LEN: usize = KEY_LEN + 14;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::seq::SeqNo;

    fn keys(profile: Profile, ours: u8, theirs: u8) -> CallKeys {
        CallKeys { profile, ours: Pii([ours; 30]), theirs: Pii([theirs; 30]) }
    }

    #[test]
    fn each_side_opens_what_the_other_sealed_with_both_tag_lengths() {
        for (profile, tag) in [(Profile::Aes128CmSha1_80, 10), (Profile::Aes128CmSha1_32, 4)] {
            let (here, there) = (keys(profile, 1, 2), keys(profile, 2, 1));
            let mut packet = vec![0x80, 8, 0, 7, 0, 0, 0, 0, 0, 0, 0, 9, 1, 2, 3];
            packet.resize(40, 0);
            let len = here.new_egress(None).unwrap().seal_rtp(&mut packet, 12, 15, SeqNo(7));
            assert_eq!(len, 15 + tag);
            let mut copy = packet[..len].to_vec();
            assert!(here.new_ingress(None).unwrap().open_rtp(&mut copy).is_err(), "an echo of ours");
            let opened = there.new_ingress(None).unwrap().open_rtp(&mut packet[..len]);
            assert_eq!((opened, &packet[12..15]), (Ok((15, SeqNo(7))), &[1, 2, 3][..]));
        }
    }

    #[test]
    fn the_same_keys_again_make_no_new_state_and_each_direction_counts_alone() {
        let first = keys(Profile::Aes128CmSha1_80, 1, 2);
        assert!(first.new_egress(Some(&first.clone())).is_none() && first.new_ingress(Some(&first.clone())).is_none());
        let theirs_changed = keys(Profile::Aes128CmSha1_80, 1, 3);
        assert!(theirs_changed.new_egress(Some(&first)).is_none());
        assert!(theirs_changed.new_ingress(Some(&first)).is_some());
        let shorter = keys(Profile::Aes128CmSha1_32, 1, 2);
        assert!(shorter.new_egress(Some(&first)).is_some() && shorter.new_ingress(Some(&first)).is_some());
    }

    #[test]
    fn keys_are_never_printed() {
        let text = format!("{:?}", keys(Profile::Aes128CmSha1_80, 77, 88));
        assert!(!text.contains("77") && !text.contains("88"), "{text}");
    }
}
