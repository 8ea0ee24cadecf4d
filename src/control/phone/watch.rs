//! Looks once a second whose page is gone, says that the telephone will be called where the ladder says so, and has it called.
//!
//! ```text
//!   rooms --signs--> a ladder a seat --some seconds before--> told: may be called off --Telephone--> call
//!                          '--page well again--> nothing is called, or the call is called off before it is answered
//! ```
//!
//! Of the ladder's readings these alone are driven today: the page's signalling and media, from their last sign of life. Only a seat whose
//! person agreed beforehand, that was in the room, and that somebody is waiting for who runs the consultation. One call for one loss: whom
//! somebody called by hand meanwhile, or whose call was called off, is left alone until the page is well again. What the ladder knows of a
//! seat lasts as long as the seat in its room: while nobody waits for it, no call is made, and nothing is forgotten. Of telephones it calls
//! off its own calls alone, and only before they are answered. Not here: when to step (`ladder`), what pages are told (`told`), the call
//! itself.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use colloque_signaling::message::{PhoneCause, PhoneState, Presence};

use crate::config::telephone::Ladder as Rules;
use crate::control::Consultations;
use crate::control::facts::{Actor, Fact};
use crate::control::room::RoomState;
use crate::control::seat::{Attendance, LiveSeat, Visit};

use super::ladder::{Ladder, Move, Reading, Step, Telephone};

/// What is seen of a seat that may be called.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Sign {
    seat: String,
    /// Its page's socket is lost since.
    page_gone: Option<Instant>,
    media: Media,
    phone: Phone,
    /// Somebody who runs the consultation is there and waits for it.
    awaited: bool,
    /// Somebody has called off what was planned for it.
    called_off: bool,
}

/// The media connection of a seat's page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Media {
    /// Nobody is on the page, nor is anybody missed there.
    NoPage,
    /// There is none, as between two tries.
    Between,
    /// Its handshake is not done.
    Connecting,
    Connected,
    /// Nothing came since.
    Quiet(Instant),
}

/// What a seat's telephone does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phone {
    Nothing,
    /// It is being called, or waits on the line.
    Dialled,
    /// In the room.
    In,
}

/// A seat under watch.
#[derive(Default)]
struct Watched {
    ladder: Ladder,
    loss: Loss,
    /// Since when it is waited for.
    awaited: Option<Instant>,
    /// The last sign of life of its media. A page that makes a new connection meanwhile does not begin the count again.
    media_gone: Option<Instant>,
    was_on_phone: bool,
}

/// What was done about the loss of a page.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
enum Loss {
    /// Nothing: there is none, or it is short.
    #[default]
    Open,
    /// It was told that the telephone will be called.
    Told,
    /// Somebody has called by hand, or called the call off.
    Settled,
}

/// What is to be done for a seat.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Due {
    /// To tell that it will be called after so long.
    Tell(Duration),
    /// Its page is well again before it was called, or nobody waits for it any more.
    Withdraw,
    Call(Move),
    /// Its page is well again: a call of ours that is not answered is called off.
    CallOff(Move),
    /// The telephone was left: it stands on its page again.
    Back(Move),
}

impl Consultations {
    /// Watches for as long as the process runs.
    pub async fn watch_ladder(self: Arc<Self>) {
        let Some(board) = self.phones().cloned() else { return };
        let mut watched = HashMap::<String, Watched>::new();
        let mut beat = tokio::time::interval(BEAT);
        loop {
            beat.tick().await;
            self.tell_phone_minutes();
            let ladder = board.config().ladder.clone();
            let mut seen = HashMap::new();
            for room in self.rooms.iter().map(|entry| Arc::clone(&entry)).collect::<Vec<_>>() {
                let signs = room.lock().phone_signs();
                for sign in signs {
                    let mut seat = watched.remove(&sign.seat).unwrap_or_default();
                    let now = Instant::now();
                    match seat.handle(&sign, &ladder, now) {
                        Some(Due::Tell(left)) => room.lock().plan_call(&sign.seat, now + left),
                        Some(Due::Withdraw) => room.lock().withdraw_call(&sign.seat),
                        Some(Due::Call(moved)) => self.step(&sign.seat, moved, Follow::Call).await,
                        Some(Due::CallOff(moved)) => self.step(&sign.seat, moved, Follow::CallOff).await,
                        Some(Due::Back(moved)) => self.step(&sign.seat, moved, Follow::Nothing).await,
                        None => {}
                    }
                    seen.insert(sign.seat, seat);
                }
            }
            // Whoever is in no room any more is forgotten.
            watched = seen;
        }
    }

    /// Tells a ladder's step and does what follows from it.
    async fn step(&self, seat: &str, moved: Move, follow: Follow) {
        let Ok(Some((consultation, record))) = self.journal.seat(seat).await else { return };
        tracing::info!(from = ?moved.from, to = ?moved.to, cause = ?moved.cause, "a ladder's step");
        self.metrics.count_ladder_step(moved.to, moved.cause);
        let fact = Fact::LadderStep { from: moved.from, to: moved.to, cause: moved.cause };
        self.journal.record(Vec::new(), vec![self.told(&consultation, Some(seat), &fact)]);
        match follow {
            Follow::Call => {
                if let Err(cause) = self.call(&consultation, &record, &Actor::Server, false) {
                    self.tell_phone(&consultation, seat, None, PhoneState::Failed, Some(cause));
                }
            }
            // Nothing else: whoever has picked up, or dialled, leaves the telephone by the person's word.
            Follow::CallOff => {
                if let Some(board) = self.phones() {
                    board.call_off_own(seat, PhoneCause::BackToPage);
                }
            }
            Follow::Nothing => {}
        }
    }
}

/// What a step brings with it.
#[derive(Clone, Copy)]
enum Follow {
    Call,
    CallOff,
    Nothing,
}

impl RoomState {
    /// Seats that may be called when their page fails.
    fn phone_signs(&mut self) -> Vec<Sign> {
        // Who is lost as well waits for nobody: when the network is gone for all, nobody is called into an empty room.
        let hosts = |seat: &&LiveSeat| seat.attendance() == Attendance::Present && seat.permissions().admit;
        let hosts: Vec<String> = self.seats.iter().filter(hosts).map(|host| host.id.clone()).collect();
        let mut signs = Vec::new();
        for seat in self.seats_mut().filter(|seat| seat.was_inside && seat.telephone.may_be_called()) {
            let awaited = seat.is_on_phone() || hosts.iter().any(|host| *host != seat.id);
            signs.push(Sign::of(seat, awaited));
        }
        signs
    }
}

impl Sign {
    fn of(seat: &mut LiveSeat, awaited: bool) -> Self {
        let phone = match (seat.is_on_phone(), seat.telephone.is_dialled()) {
            (true, _) => Phone::In,
            (false, true) => Phone::Dialled,
            (false, false) => Phone::Nothing,
        };
        // Whose device is in the room is in it.
        let is_there = seat.page_presence() == Presence::Present;
        let media = match &seat.page_leg {
            _ if seat.visit == Visit::Absent => Media::NoPage,
            None => Media::Between,
            Some(page) if !page.connected => Media::Connecting,
            Some(page) => page.quiet_since.filter(|_| !is_there).map_or(Media::Connected, Media::Quiet),
        };
        let page_gone = match seat.visit {
            Visit::Away { since, .. } if !is_there => Some(since),
            Visit::Away { .. } | Visit::Connected { .. } | Visit::Absent => None,
        };
        let called_off = seat.telephone.take_called_off();
        Self { seat: seat.id.clone(), page_gone, media, phone, awaited, called_off }
    }
}

impl Watched {
    fn handle(&mut self, sign: &Sign, rules: &Rules, now: Instant) -> Option<Due> {
        let reading = self.read(sign, now);
        self.awaited = sign.awaited.then(|| self.awaited.unwrap_or(now));
        let was_on_phone = std::mem::replace(&mut self.was_on_phone, sign.phone == Phone::In);
        let is_well = reading.signalling_gone.is_none() && reading.media_gone.is_none();
        let loss = self.loss;
        if is_well || sign.phone == Phone::In {
            self.loss = Loss::Open;
        }
        match (sign.phone, self.ladder.step()) {
            (Phone::In, _) => {
                self.ladder.set_step(Step::Telephone, reading);
                None
            }
            (_, Step::Telephone) if is_well => {
                let moved = self.ladder.set_step(Step::Full, reading)?;
                Some(if was_on_phone { Due::Back(moved) } else { Due::CallOff(moved) })
            }
            (_, Step::Telephone) => None,
            _ if is_well => (loss == Loss::Told).then_some(Due::Withdraw),
            (Phone::Nothing, _) if !sign.called_off && loss != Loss::Settled => match self.awaited {
                Some(since) => self.approach(reading, since, rules, now),
                None => {
                    self.loss = Loss::Open;
                    (loss == Loss::Told).then_some(Due::Withdraw)
                }
            },
            _ => {
                self.loss = Loss::Settled;
                None
            }
        }
    }

    fn read(&mut self, sign: &Sign, now: Instant) -> Reading {
        match sign.media {
            Media::Connected | Media::NoPage => self.media_gone = None,
            Media::Quiet(since) => self.media_gone = Some(self.media_gone.map_or(since, |before| before.min(since))),
            Media::Connecting => self.media_gone = self.media_gone.or(Some(now)),
            Media::Between => {}
        }
        Reading { signalling_gone: sign.page_gone, media_gone: self.media_gone, ..Reading::default() }
    }

    /// The page is gone, and nobody has done anything about it. `awaited`: since when anybody is there who could.
    fn approach(&mut self, reading: Reading, awaited: Instant, rules: &Rules, now: Instant) -> Option<Due> {
        let reading = reading_since(reading, awaited, rules);
        // The number and the consent were looked at by whoever made the sign.
        let telephone = Telephone { number: true, consent: true };
        if let Some(moved) = self.ladder.handle_reading(reading, telephone, rules, now) {
            return (moved.to == Step::Telephone).then_some(Due::Call(moved));
        }
        let (left, _) = self.ladder.telephone_in(&reading, telephone, rules, now)?;
        if self.loss == Loss::Told || left > rules.cancel {
            return None;
        }
        self.loss = Loss::Told;
        Some(Due::Tell(left))
    }
}

/// A loss that was there before anybody waited counts from where its call is told: nobody is called without that warning.
fn reading_since(reading: Reading, awaited: Instant, rules: &Rules) -> Reading {
    let not_before = |gone: Option<Instant>, span: Duration| {
        let first = awaited.checked_sub(span.saturating_sub(rules.cancel));
        gone.map(|gone| first.map_or(gone, |first| gone.max(first)))
    };
    Reading {
        signalling_gone: not_before(reading.signalling_gone, rules.gone),
        media_gone: not_before(reading.media_gone, rules.media_gone),
        ..reading
    }
}

/// Between two looks.
const BEAT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    /// What a test says of a second: since which one the page and its media are gone, the telephone, that it was called off.
    #[derive(Clone, Copy)]
    struct Second {
        page: Option<u64>,
        media: Option<u64>,
        /// Its person has left.
        left: bool,
        connecting: bool,
        phone: Phone,
        /// Nobody is there who runs the consultation.
        alone: bool,
        called_off: bool,
    }

    const WELL: Second = Second {
        page: None,
        media: None,
        left: false,
        connecting: false,
        phone: Phone::Nothing,
        alone: false,
        called_off: false,
    };

    fn gone(since: u64, now: u64) -> Option<u64> {
        (now >= since).then_some(since)
    }

    /// What is due in each second; what is told with the seconds that are left.
    fn watch(seconds: u64, signs: impl Fn(u64) -> Second) -> Vec<(u64, String)> {
        let (mut watched, start) = (Watched::default(), Instant::now());
        let rules = Rules::default();
        let at = |second: u64| start + Duration::from_secs(second);
        let mut all = Vec::new();
        for second in 0..seconds {
            let Second { page, media, left, connecting, phone, alone, called_off } = signs(second);
            let media = match media {
                _ if left => Media::NoPage,
                Some(since) => Media::Quiet(at(since)),
                None if connecting => Media::Connecting,
                None => Media::Connected,
            };
            let sign =
                Sign { seat: "s".to_owned(), page_gone: page.map(at), media, phone, awaited: !alone, called_off };
            let due = watched.handle(&sign, &rules, at(second));
            all.extend(due.map(|due| match due {
                Due::Tell(left) => (second, format!("call in {}", left.as_secs())),
                Due::Withdraw => (second, "withdraw".to_owned()),
                Due::Call(Move { cause, .. }) => (second, format!("call: {cause:?}")),
                Due::CallOff(_) => (second, "call off".to_owned()),
                Due::Back(_) => (second, "back".to_owned()),
            }));
        }
        all
    }

    fn moves(expected: &[(u64, &str)]) -> Vec<(u64, String)> {
        expected.iter().map(|(second, what)| (*second, (*what).to_owned())).collect()
    }

    #[test]
    fn a_page_that_is_gone_for_fifteen_seconds_is_called_once_and_it_is_told_eight_before() {
        let page = watch(100, |now| Second { page: gone(10, now), ..WELL });
        assert_eq!(page, moves(&[(17, "call in 8"), (25, "call: PageGone")]));
        // The media plane says after seven seconds, or eight, that nothing comes; the fifteen count from the last packet.
        for heard_of in [17, 18] {
            let media = watch(100, |now| Second { media: gone(heard_of, now).map(|_| 10), ..WELL });
            let left = format!("call in {}", 25 - heard_of);
            assert_eq!(media, moves(&[(heard_of, left.as_str()), (25, "call: MediaGone")]));
        }
        let both = watch(100, |now| Second { media: gone(17, now).map(|_| 10), page: gone(20, now), ..WELL });
        assert_eq!(both, moves(&[(17, "call in 8"), (25, "call: MediaGone")]), "the earlier of the two counts");
        assert_eq!(watch(100, |now| Second { page: gone(now / 7 * 7 + 1, now), ..WELL }), [], "it always came back");
    }

    #[test]
    fn a_page_whose_media_never_connects_is_called_as_well() {
        let never = watch(100, |now| Second { connecting: now >= 5, ..WELL });
        assert_eq!(never, moves(&[(12, "call in 8"), (20, "call: MediaGone")]));
        assert_eq!(watch(100, |now| Second { connecting: now % 7 != 0, ..WELL }), [], "it does every time");
        let again = watch(100, |now| match now {
            17..20 => Second { media: Some(10), ..WELL },
            20.. => Second { connecting: true, ..WELL },
            _ => WELL,
        });
        assert_eq!(again, moves(&[(17, "call in 8"), (25, "call: MediaGone")]), "a new try is no sign of life");
    }

    #[test]
    fn whoever_leaves_while_the_media_is_gone_is_not_called() {
        let left = watch(100, |now| Second { media: gone(17, now).map(|_| 10), left: now >= 20, ..WELL });
        assert_eq!(left, moves(&[(17, "call in 8"), (20, "withdraw")]));
    }

    #[test]
    fn nothing_is_called_when_the_page_is_back_in_time_and_the_next_loss_counts_afresh() {
        let back = watch(100, |now| match now {
            10..20 => Second { page: Some(10), ..WELL },
            50.. => Second { page: Some(50), ..WELL },
            _ => WELL,
        });
        assert_eq!(back, moves(&[(17, "call in 8"), (20, "withdraw"), (57, "call in 8"), (65, "call: PageGone")]));
    }

    #[test]
    fn whoever_calls_it_off_is_not_called_until_the_page_was_well_again() {
        let called_off = watch(100, |now| Second {
            media: if (40..45).contains(&now) { None } else { gone(10, now).map(|_| if now < 40 { 10 } else { 45 }) },
            called_off: now == 19,
            ..WELL
        });
        assert_eq!(called_off, moves(&[(17, "call in 8"), (52, "call in 8"), (60, "call: MediaGone")]));
    }

    /// The host's page is reloaded, at any moment: the ladder had forgotten all it knew of everybody else's.
    #[test]
    fn a_host_who_is_gone_for_a_moment_makes_no_second_call_and_none_without_warning() {
        let lost = |now| Second { page: gone(10, now), alone: matches!(now, 22 | 30 | 41), ..WELL };
        let again = [(23, "call in 8"), (30, "withdraw"), (31, "call in 8"), (39, "call: PageGone")];
        let all = [(17, "call in 8"), (22, "withdraw")].into_iter().chain(again).collect::<Vec<_>>();
        assert_eq!(watch(100, lost), moves(&all));
        let called_off = watch(100, |now| Second { called_off: now == 19, ..lost(now) });
        assert_eq!(called_off, moves(&[(17, "call in 8")]));
        let at_once = watch(100, |now| Second { called_off: now == 22, ..lost(now) });
        assert_eq!(at_once, moves(&[(17, "call in 8")]), "called off in the same second");
        let unanswered = watch(100, |now| Second {
            page: if now < 60 { gone(10, now) } else { None },
            phone: if (26..50).contains(&now) { Phone::Dialled } else { Phone::Nothing },
            alone: matches!(now, 30 | 55),
            ..WELL
        });
        assert_eq!(unanswered, moves(&[(17, "call in 8"), (25, "call: PageGone"), (60, "call off")]));
        let nobody = watch(100, |now| Second { page: gone(10, now), alone: now < 70, ..WELL });
        assert_eq!(nobody, moves(&[(70, "call in 8"), (78, "call: PageGone")]), "the host comes last");
    }

    #[test]
    fn whom_somebody_calls_by_hand_meanwhile_is_not_called_beside_nor_called_off() {
        let by_hand = watch(100, |now| Second {
            page: if now < 60 { gone(10, now) } else { None },
            phone: if (20..40).contains(&now) { Phone::Dialled } else { Phone::Nothing },
            ..WELL
        });
        assert_eq!(by_hand, moves(&[(17, "call in 8")]), "nobody answered: that is for people to see");
        let dials_in = watch(40, |now| Second { page: gone(10, now), phone: Phone::Dialled, ..WELL });
        assert_eq!(dials_in, []);
    }

    #[test]
    fn the_call_is_called_off_when_the_page_is_back_before_it_is_answered() {
        let back = watch(100, |now| Second {
            page: if now < 30 { gone(10, now) } else { None },
            phone: if (26..31).contains(&now) { Phone::Dialled } else { Phone::Nothing },
            ..WELL
        });
        assert_eq!(back, moves(&[(17, "call in 8"), (25, "call: PageGone"), (30, "call off")]));
    }

    #[test]
    fn a_telephone_that_was_left_leaves_the_seat_on_its_page() {
        let left = watch(100, |now| Second {
            page: if now < 60 { gone(10, now) } else { None },
            phone: if (30..70).contains(&now) { Phone::In } else { Phone::Nothing },
            ..WELL
        });
        assert_eq!(left, moves(&[(17, "call in 8"), (25, "call: PageGone"), (70, "back")]));
        // Somebody who dialled in by hand stands on the telephone as well.
        let by_hand =
            watch(60, |now| Second { phone: if (10..20).contains(&now) { Phone::In } else { Phone::Nothing }, ..WELL });
        assert_eq!(by_hand, moves(&[(20, "back")]));
    }
}
