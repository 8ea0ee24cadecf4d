//! What holds in every act, built in or a clinic's, whatever its table says.

use std::sync::Arc;

use colloque_signaling::message::Role;

use crate::acts::{Act, Acts, ROLES, UNCONFIGURED, is_professional};
use crate::rtp::codec::Source;

use super::*;

/// Every act that a seat can be in.
fn every_act() -> Vec<Arc<Act>> {
    let acts = Acts::built_in();
    acts.iter().chain([acts.of_stored("an act of last year")]).cloned().collect()
}

#[test]
fn permissions_and_media_rights_follow_each_right_and_no_other() {
    for right in Right::ALL {
        let alone = Rights::from_iter([right]);
        let said = serde_json::to_value(permissions(alone)).unwrap();
        let granted: Vec<&String> =
            said.as_object().unwrap().iter().filter(|(_, value)| **value == true).map(|(name, _)| name).collect();
        assert_eq!(granted.len(), 1, "{right:?}: {granted:?}");
        let named: Right = serde_json::from_value(granted[0].as_str().into()).unwrap();
        assert_eq!(named, right, "the protocol's names are the configuration's");
        let media = seat_policy(alone);
        let of_media = [media.microphone, media.camera, media.screen, media.see, media.hear, media.data];
        let hosting =
            [Right::Admit, Right::Remove, Right::Mute, Right::Invite, Right::HandOver, Right::Aside, Right::End];
        assert_eq!(of_media.iter().filter(|on| **on).count(), usize::from(!hosting.contains(&right)), "{right:?}");
    }
    assert_eq!(permissions(Rights::NONE), Permissions::default());
    assert_eq!(seat_policy(Rights::NONE), SeatPolicy::default());
}

#[test]
fn a_role_without_a_seat_may_do_nothing_even_if_admitted() {
    let acts = Acts::built_in();
    let caller = acts.by_name("teleconsultation").unwrap().rule(Role::Caller);
    assert_eq!(seat_policy(caller.may), SeatPolicy::default());
    assert_eq!(permissions(caller.may), Permissions::default());
    assert_eq!(first_admission(caller, false), Admission::Waiting);
}

#[test]
fn a_device_passes_the_waiting_room_wherever_it_sits() {
    for act in every_act() {
        for role in ROLES {
            assert_eq!(first_admission(act.rule(role), true), Admission::Direct, "{} {role:?}", act.name);
        }
    }
}

#[test]
fn a_trainee_publishes_nothing_anywhere() {
    for act in every_act() {
        let policy = seat_policy(act.rule(Role::Trainee).may);
        for source in [Source::Microphone, Source::Camera, Source::Screen] {
            assert!(!policy.may_publish(source), "{}", act.name);
        }
        assert!(!policy.data && act.rule(Role::Trainee).waits, "{}", act.name);
    }
}

#[test]
fn every_act_has_somebody_who_passes_admits_and_can_end_it() {
    for act in every_act() {
        let host = act.roles.values().find(|rule| {
            let may = permissions(rule.may);
            may.admit && may.remove && may.mute && may.end && first_admission(**rule, false) == Admission::Direct
        });
        assert!(host.is_some(), "{}", act.name);
    }
}

#[test]
fn only_professionals_hold_rights_over_others() {
    for act in every_act() {
        for (&role, rule) in &act.roles {
            let may = permissions(rule.may);
            let over_others =
                may.admit || may.remove || may.mute || may.invite || may.hand_over || may.aside || may.end;
            assert!(!over_others || is_professional(role), "{} {role:?}", act.name);
        }
    }
}

#[test]
fn the_act_for_lost_names_grants_no_more_than_any_act_in_which_the_role_sits() {
    let acts = Acts::built_in();
    let lost = acts.of_stored("gone");
    assert_eq!(lost.name, UNCONFIGURED);
    assert!(ROLES.iter().all(|role| lost.roles.contains_key(role)), "whoever was booked keeps a seat");
    for act in acts.iter() {
        for (&role, rule) in &act.roles {
            let more: Vec<Right> = lost.rule(role).may.iter().filter(|&right| !rule.may.has(right)).collect();
            assert!(more.is_empty(), "{} {role:?}: {more:?}", act.name);
            assert!(lost.rule(role).waits || !rule.waits, "{} {role:?}", act.name);
        }
    }
}
