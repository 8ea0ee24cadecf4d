//! What proves a path, what selects one, what keeps consent; and what must not.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::super::batch::LocalSocket;
use super::super::ice_sim::SimCheck;
use super::super::oracle::{Read, read_answer};
use super::*;
use crate::pii::Pii;

const PASSWORD: &str = "our-password-of-22-chars";

fn credentials(ufrag: &str, pwd: &str) -> IceCredentials {
    IceCredentials { ufrag: ufrag.into(), pwd: Pii(pwd.into()) }
}

fn path(remote: &str) -> Path {
    Path { local: LocalSocket(0), remote: remote.parse().unwrap() }
}

fn wifi() -> Path {
    path("192.0.2.1:5000")
}

fn mobile() -> Path {
    path("[2001:db8::7]:6000")
}

/// An agent with a far side that sends checks at times in seconds since the start.
struct Lab {
    ice: IceLite,
    start: Instant,
    now: Instant,
    out: TransmitBatch,
    checks: u64,
}

impl Lab {
    fn new() -> Self {
        let start = Instant::now();
        let ice = IceLite::new(start, credentials("ours", PASSWORD), credentials("theirs", "unused-by-a-lite-agent"));
        Self { ice, start, now: start, out: TransmitBatch::new(64 * 1024, 16), checks: 0 }
    }

    fn check(&mut self) -> SimCheck {
        self.checks += 1;
        SimCheck::new("ours:theirs", PASSWORD, self.checks)
    }

    fn send(&mut self, path: Path, check: &SimCheck) -> Result<StunOutcome, DropReason> {
        self.out.clear();
        let result = self.ice.handle_check(self.now, path, &check.build(), &mut self.out);
        assert_eq!(self.out.datagrams().len(), usize::from(result.is_ok()), "answered if and only if used");
        result
    }

    fn answer(&self, check: &SimCheck) -> Read {
        let datagram = self.out.datagrams()[0];
        read_answer(self.out.bytes(&datagram), check.transaction, &check.password)
    }

    fn plain(&mut self, path: Path) -> StunOutcome {
        let check = self.check();
        self.send(path, &check).unwrap()
    }

    fn nominate(&mut self, path: Path) -> StunOutcome {
        let check = self.check().nominating();
        self.send(path, &check).unwrap()
    }

    /// Lets virtual time pass and runs every timer on its way.
    fn wait_until(&mut self, seconds: f64) {
        let end = self.start + Duration::from_secs_f64(seconds);
        while let Some(due) = self.ice.poll_timeout().filter(|due| *due <= end) {
            assert!(due >= self.now || due + TICK >= self.now, "timers do not spin");
            self.now = self.now.max(due);
            self.ice.handle_timeout(self.now);
        }
        self.now = end;
    }

    fn events(&mut self) -> Vec<IceEvent> {
        std::iter::from_fn(|| self.ice.poll_event()).collect()
    }
}

#[test]
fn a_check_without_use_candidate_is_answered_and_proves_a_provisional_path() {
    let mut lab = Lab::new();
    assert_eq!(lab.ice.egress_path(), None);
    let check = lab.check();
    let outcome = lab.send(wifi(), &check).unwrap();
    assert_eq!(outcome, StunOutcome { path_bound: true, selected: true, path_unbound: None });
    assert_eq!(lab.answer(&check), Read::Success(wifi().remote));
    assert_eq!(lab.ice.egress_path(), Some(wifi()));
    assert_eq!(lab.events(), []);
}

#[test]
fn ipv6_paths_get_their_own_address_back() {
    let mut lab = Lab::new();
    let check = lab.check();
    lab.send(mobile(), &check).unwrap();
    assert_eq!(lab.answer(&check), Read::Success(mobile().remote));
}

#[test]
fn the_last_nominated_path_is_selected_and_the_others_are_still_heard() {
    let mut lab = Lab::new();
    lab.plain(wifi());
    assert!(!lab.plain(mobile()).selected);
    assert_eq!(lab.ice.egress_path(), Some(wifi()));
    assert!(lab.nominate(mobile()).selected);
    assert_eq!(lab.ice.egress_path(), Some(mobile()));
    assert_eq!(lab.events(), [IceEvent::PathChanged]);
    assert!(lab.ice.is_proved(wifi()));
    lab.plain(wifi());
    assert_eq!(lab.ice.egress_path(), Some(mobile()), "a check alone does not move a nominated path");
}

#[test]
fn strangers_change_nothing_and_get_no_answer() {
    let mut lab = Lab::new();
    let cases = [
        (SimCheck::new("nobody:theirs", PASSWORD, 1), DropReason::StunUnknownUfrag),
        (SimCheck::new("ours:nobody", PASSWORD, 2), DropReason::StunUnknownUfrag),
        (SimCheck::new("ours", PASSWORD, 3), DropReason::StunUnknownUfrag),
        (SimCheck::new("oursxtheirs", PASSWORD, 4), DropReason::StunUnknownUfrag),
        (SimCheck::new("ours:theirs", "a-guess", 5), DropReason::StunIntegrity),
        (SimCheck::new("ours:theirs", "unused-by-a-lite-agent", 6), DropReason::StunIntegrity),
    ];
    for (mut check, reason) in cases {
        for controlled in [false, true] {
            check.controlled = controlled;
            check.nominates = true;
            assert_eq!(lab.send(wifi(), &check), Err(reason));
        }
    }
    assert_eq!(lab.ice.paths().count(), 0);
    assert_eq!(lab.ice.egress_path(), None);
    assert!(lab.ice.checks_seen.is_empty());
}

#[test]
fn a_claimed_wrong_role_is_refused_with_487_and_proves_nothing() {
    let mut lab = Lab::new();
    let mut check = lab.check().nominating();
    check.controlled = true;
    assert!(!lab.send(wifi(), &check).unwrap().path_bound);
    assert_eq!(lab.answer(&check), Read::Error(487));
    assert!(!lab.ice.is_proved(wifi()));
}

#[test]
fn an_attribute_that_must_be_understood_is_refused_with_420() {
    let mut lab = Lab::new();
    let mut check = lab.check();
    check.extra = Some(0x7abc);
    assert!(!lab.send(wifi(), &check).unwrap().path_bound);
    assert_eq!(lab.answer(&check), Read::Error(420));
    assert!(!lab.ice.is_proved(wifi()));
}

/// An eavesdropper who sends a captured check from an address of his own would otherwise receive the leg's media.
#[test]
fn a_replayed_check_proves_no_other_path_and_refreshes_no_consent() {
    let mut lab = Lab::new();
    let check = lab.check().nominating();
    lab.send(wifi(), &check).unwrap();
    assert_eq!(lab.send(path("198.51.100.66:1"), &check), Err(DropReason::StunReplay));
    lab.wait_until(29.0);
    assert!(lab.send(wifi(), &check).is_ok(), "a retransmission is answered");
    lab.wait_until(30.5);
    assert_eq!(lab.ice.egress_path(), None);
    assert_eq!(lab.events(), [IceEvent::Silent]);
}

/// An overheard check was accepted again once 128 later ones had pushed it out of the memory: sent from anywhere else it
/// carried USE-CANDIDATE and took the leg's media there until the next genuine check, and again with the next old one.
#[test]
fn a_check_older_than_the_memory_takes_no_media_away() {
    let mut lab = Lab::new();
    let overheard: Vec<_> = (0..200).map(|_| lab.check().nominating()).collect();
    for (number, check) in overheard.iter().enumerate() {
        lab.wait_until(number as f64 * 2.5);
        lab.ice.record_media(wifi());
        lab.send(wifi(), check).unwrap();
    }
    let forgotten = overheard.len() - CHECKS_REMEMBERED;
    let begun = 200.0 * 2.5;
    for (number, check) in overheard[..forgotten].iter().enumerate() {
        lab.wait_until(begun + number as f64);
        if number % 5 == 0 {
            // What a viewer sends at least: a report now and then.
            lab.ice.record_media(wifi());
        }
        if number % 5 == 2 {
            lab.nominate(wifi());
        }
        let stranger = path(&format!("198.51.100.66:{}", 1 + number % 12));
        assert!(!lab.send(stranger, check).unwrap().selected);
        assert_eq!(lab.ice.egress_path(), Some(wifi()), "after {number} replays");
    }
    assert_eq!(lab.events(), []);
    assert!(lab.ice.is_proved(wifi()));
}

#[test]
fn once_media_flows_a_nomination_waits_for_media_from_there() {
    let mut lab = Lab::new();
    lab.nominate(wifi());
    lab.ice.record_media(wifi());
    assert!(!lab.nominate(mobile()).selected);
    lab.ice.record_media(wifi());
    assert_eq!(lab.ice.egress_path(), Some(wifi()), "what was under way on the old path");
    lab.ice.record_media(mobile());
    assert_eq!(lab.ice.egress_path(), Some(mobile()));
    assert_eq!(lab.events(), [IceEvent::PathChanged]);
    lab.ice.record_media(wifi());
    assert_eq!(lab.ice.egress_path(), Some(mobile()), "a nomination counts once");
}

#[test]
fn nominating_the_selected_path_again_withdraws_another_nomination() {
    let mut lab = Lab::new();
    lab.nominate(wifi());
    lab.ice.record_media(wifi());
    lab.nominate(mobile());
    lab.nominate(wifi());
    lab.ice.record_media(mobile());
    assert_eq!(lab.ice.egress_path(), Some(wifi()));
}

#[test]
fn a_restart_needs_no_media_on_the_new_path() {
    let mut lab = Lab::new();
    lab.nominate(wifi());
    lab.ice.record_media(wifi());
    lab.ice.restart(credentials("ours2", PASSWORD), credentials("theirs2", "unused"));
    assert!(lab.send(mobile(), &SimCheck::new("ours2:theirs2", PASSWORD, 900).nominating()).unwrap().selected);
}

#[test]
fn consent_expires_after_30_s_and_returns_with_the_next_check() {
    let mut lab = Lab::new();
    lab.nominate(wifi());
    lab.wait_until(29.9);
    assert_eq!(lab.ice.egress_path(), Some(wifi()));
    lab.wait_until(30.1);
    assert_eq!(lab.ice.egress_path(), None);
    assert_eq!(lab.events(), [IceEvent::Silent]);
    lab.wait_until(100.0);
    assert_eq!(lab.events(), [], "told once");
    assert!(lab.plain(wifi()).selected);
    assert_eq!(lab.ice.egress_path(), Some(wifi()));
    assert_eq!(lab.events(), [IceEvent::Back]);
}

#[test]
fn after_lost_consent_any_authenticated_path_brings_the_leg_back() {
    let mut lab = Lab::new();
    lab.nominate(wifi());
    lab.wait_until(40.0);
    lab.events();
    lab.plain(mobile());
    assert_eq!(lab.ice.egress_path(), Some(mobile()));
    assert_eq!(lab.events(), [IceEvent::PathChanged, IceEvent::Back]);
}

#[test]
fn checks_every_five_seconds_keep_consent() {
    let mut lab = Lab::new();
    for round in 0..20 {
        lab.wait_until(f64::from(round) * 5.0);
        lab.nominate(wifi());
    }
    assert_eq!(lab.events(), []);
    assert_eq!(lab.ice.egress_path(), Some(wifi()));
}

#[test]
fn media_on_another_proved_path_moves_egress_when_the_selected_one_is_quiet() {
    let mut lab = Lab::new();
    lab.nominate(wifi());
    lab.plain(mobile());
    for tenth in 1..=30 {
        lab.wait_until(f64::from(tenth) / 10.0);
        lab.ice.record_media(mobile());
    }
    assert_eq!(lab.ice.egress_path(), Some(mobile()));
    assert_eq!(lab.events(), [IceEvent::PathChanged]);
}

#[test]
fn a_selected_path_that_carries_media_is_kept() {
    let mut lab = Lab::new();
    lab.nominate(wifi());
    for second in 0..60 {
        lab.wait_until(f64::from(second));
        lab.ice.record_media(wifi());
        lab.plain(mobile());
        if second % 5 == 0 {
            lab.plain(wifi());
        }
    }
    assert_eq!(lab.ice.egress_path(), Some(wifi()));
    assert_eq!(lab.events(), []);
}

#[test]
fn checks_alone_move_egress_after_a_longer_silence_only() {
    let mut lab = Lab::new();
    lab.nominate(wifi());
    for second in 1..=6 {
        lab.wait_until(f64::from(second));
        lab.plain(mobile());
    }
    assert_eq!(lab.ice.egress_path(), Some(wifi()));
    for second in 7..=8 {
        lab.wait_until(f64::from(second));
        lab.plain(mobile());
    }
    assert_eq!(lab.ice.egress_path(), Some(mobile()));
}

#[test]
fn proved_paths_are_bounded_and_the_idle_one_makes_room() {
    let mut lab = Lab::new();
    lab.nominate(wifi());
    for port in 1..=20_u16 {
        lab.wait_until(f64::from(port) / 10.0);
        let outcome = lab.plain(path(&format!("203.0.113.1:{port}")));
        let evicted = port >= IceLite::PATHS_MAX as u16;
        let expected = evicted.then(|| path(&format!("203.0.113.1:{}", port - (IceLite::PATHS_MAX as u16 - 1))));
        assert_eq!(outcome.path_unbound, expected, "port {port}");
    }
    assert_eq!(lab.ice.paths().count(), IceLite::PATHS_MAX);
    assert!(lab.ice.is_proved(wifi()), "the selected path stays");
}

#[test]
fn a_restart_keeps_the_old_credentials_until_the_new_ones_are_proved() {
    let mut lab = Lab::new();
    lab.nominate(wifi());
    lab.ice.restart(credentials("ours2", "our-second-password-here"), credentials("theirs2", "unused"));
    assert_eq!(lab.ice.local_ufrags().collect::<Vec<_>>(), ["ours", "ours2"]);
    lab.plain(wifi());
    assert_eq!(lab.send(mobile(), &SimCheck::new("ours2:theirs2", PASSWORD, 900)), Err(DropReason::StunIntegrity));
    assert_eq!(lab.send(mobile(), &SimCheck::new("ours2:theirs", "x", 901)), Err(DropReason::StunUnknownUfrag));
    assert_eq!(lab.ice.egress_path(), Some(wifi()));

    let renewed = SimCheck::new("ours2:theirs2", "our-second-password-here", 902);
    assert!(lab.send(mobile(), &renewed).unwrap().selected);
    assert_eq!(lab.answer(&renewed), Read::Success(mobile().remote));
    assert_eq!(lab.ice.egress_path(), Some(mobile()));
    assert_eq!(lab.events(), [IceEvent::PathChanged]);
    let old = lab.check();
    assert_eq!(lab.send(wifi(), &old), Err(DropReason::StunUnknownUfrag));
    assert!(lab.ice.is_proved(wifi()), "late media of the old path is still heard");
}

#[test]
fn answers_are_rate_bounded_and_strangers_cannot_starve_the_proved_path() {
    let mut lab = Lab::new();
    lab.nominate(wifi());
    let mut refused = 0;
    for port in 1..=200_u16 {
        let check = lab.check();
        refused += usize::from(lab.send(path(&format!("203.0.113.9:{port}")), &check) == Err(DropReason::StunRate));
    }
    assert_eq!(refused, 200 - CHECKS_FROM_STRANGERS.burst as usize + 1);
    lab.plain(wifi());
    for _ in 0..CHECKS_FROM_PROVED.burst {
        let check = lab.check();
        let _ = lab.send(wifi(), &check);
    }
    let check = lab.check();
    assert_eq!(lab.send(wifi(), &check), Err(DropReason::StunRate));
    lab.wait_until(1.0);
    lab.plain(wifi());
}

/// Under the leg's own address a flood of one overheard check left no answer for the leg's fresh ones, and consent ran out.
#[test]
fn repeated_checks_cannot_starve_fresh_ones() {
    let mut lab = Lab::new();
    let overheard = lab.check().nominating();
    lab.send(wifi(), &overheard).unwrap();
    let mut refused = 0;
    for second in 1..=40_u32 {
        for step in 0..200 {
            lab.wait_until(f64::from(second) + f64::from(step) / 1_000.0);
            refused += u32::from(lab.send(wifi(), &overheard) == Err(DropReason::StunRate));
        }
        lab.nominate(wifi());
    }
    assert!(refused > 6_000, "{refused} of 8,000");
    assert_eq!(lab.events(), []);
    assert_eq!(lab.ice.egress_path(), Some(wifi()));
}

#[test]
fn a_forgotten_path_is_not_used_any_more() {
    let mut lab = Lab::new();
    lab.nominate(wifi());
    lab.plain(mobile());
    lab.ice.forget(wifi());
    assert!(!lab.ice.is_proved(wifi()));
    assert_eq!(lab.ice.egress_path(), Some(mobile()));
    lab.ice.forget(mobile());
    assert_eq!(lab.ice.egress_path(), None);
    assert_eq!(lab.events(), [IceEvent::PathChanged, IceEvent::Silent]);
    lab.plain(wifi());
    assert_eq!(lab.ice.egress_path(), Some(wifi()));
    assert_eq!(lab.events(), [IceEvent::Back]);
}

#[test]
fn a_full_batch_proves_nothing() {
    let mut lab = Lab::new();
    lab.out = TransmitBatch::new(100, 1);
    let check = lab.check();
    assert_eq!(lab.ice.handle_check(lab.now, wifi(), &check.build(), &mut lab.out), Err(DropReason::TransmitFull));
    assert!(!lab.ice.is_proved(wifi()));
}

#[test]
fn random_datagrams_change_no_state() {
    let mut lab = Lab::new();
    lab.nominate(wifi());
    let genuine = lab.check().build();
    let mut rng = StdRng::seed_from_u64(11);
    for _ in 0..20_000 {
        let mut datagram = genuine.clone();
        for _ in 0..rng.random_range(1..6) {
            let at = rng.random_range(0..datagram.len());
            datagram[at] ^= rng.random_range(1..=255_u8);
        }
        datagram.truncate(rng.random_range(0..=datagram.len()));
        if datagram == genuine {
            continue;
        }
        lab.out.clear();
        assert!(lab.ice.handle_check(lab.now, mobile(), &datagram, &mut lab.out).is_err());
        assert!(lab.out.datagrams().is_empty());
    }
    assert_eq!(lab.ice.paths().collect::<Vec<_>>(), [wifi()]);
    assert_eq!(lab.ice.checks_seen.len(), 1);
    assert_eq!(lab.events(), []);
}
