//! Looks once a second whose page is gone, and has the telephone called where the ladder says so.
//!
//! ```text
//!   rooms --signs--> a ladder a seat --Telephone--> call;  page well again before it answers --> call off
//! ```
//!
//! Of the ladder's readings these alone are driven today: the page's signalling and media. Only a seat whose person agreed beforehand, that
//! was in the room, and that somebody is waiting for who runs the consultation. Not here: when to step (`ladder`), the call itself.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use colloque_signaling::message::{PhoneCause, PhoneState};

use crate::control::Consultations;
use crate::control::facts::{Actor, Fact};
use crate::control::room::RoomState;
use crate::control::seat::{LiveSeat, Visit};

use super::ladder::{Ladder, Move, Reading, Step, Telephone};
use super::seat_phone::PhoneOut;

/// What is seen of a seat that may be called.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Sign {
    seat: String,
    /// Its page's socket is lost.
    page_gone: bool,
    /// Nothing comes over its media connection.
    media_gone: bool,
    on_phone: bool,
}

/// A seat under watch.
#[derive(Default)]
struct Watched {
    ladder: Ladder,
    page_gone: Option<Instant>,
    media_gone: Option<Instant>,
    was_on_phone: bool,
}

/// What is to be done for a seat.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Due {
    Call(Move),
    /// Its page is well again before the telephone answered.
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
                    if let Some(due) = seat.handle(&sign, &ladder, Instant::now()) {
                        self.follow(&sign.seat, due).await;
                    }
                    seen.insert(sign.seat, seat);
                }
            }
            // Whoever is in no room any more is forgotten.
            watched = seen;
        }
    }

    async fn follow(&self, seat: &str, due: Due) {
        let Ok(Some((consultation, record))) = self.journal.seat(seat).await else { return };
        let (Due::Call(moved) | Due::CallOff(moved) | Due::Back(moved)) = due;
        tracing::info!(from = ?moved.from, to = ?moved.to, cause = ?moved.cause, "a ladder's step");
        let fact = Fact::LadderStep { from: moved.from, to: moved.to, cause: moved.cause };
        self.journal.record(Vec::new(), vec![self.told(&consultation, Some(seat), &fact)]);
        match due {
            Due::Call(_) => {
                if let Err(cause) = self.call(&consultation, &record, &Actor::Server, false) {
                    self.tell_phone(&consultation, seat, PhoneState::Failed, Some(cause));
                }
            }
            Due::CallOff(_) => {
                if !self.hang_up(seat, PhoneCause::BackToPage) {
                    self.put_phone_out(&consultation.id, seat, PhoneOut::BackToPage);
                }
            }
            Due::Back(_) => {}
        }
    }
}

impl RoomState {
    /// Seats that may be called when their page fails.
    fn phone_signs(&self) -> Vec<Sign> {
        let is_host = |seat: &&LiveSeat| seat.attends() && seat.permissions().admit;
        let awaited = |seat: &LiveSeat| self.seats.iter().filter(is_host).any(|host| host.id != seat.id);
        let callable = self.seats.iter().filter(|seat| seat.was_inside && seat.telephone.may_be_called());
        let sign = |seat: &LiveSeat| Sign {
            seat: seat.id.clone(),
            page_gone: matches!(seat.visit, Visit::Away { .. }),
            media_gone: seat.page_leg.as_ref().is_some_and(|page| page.quiet),
            on_phone: seat.is_on_phone(),
        };
        callable.filter(|seat| seat.is_on_phone() || awaited(seat)).map(sign).collect()
    }
}

impl Watched {
    fn handle(&mut self, sign: &Sign, rules: &crate::config::telephone::Ladder, now: Instant) -> Option<Due> {
        let since = |gone: bool, since: Option<Instant>| gone.then(|| since.unwrap_or(now));
        self.page_gone = since(sign.page_gone, self.page_gone);
        self.media_gone = since(sign.media_gone, self.media_gone);
        let reading = Reading { signalling_gone: self.page_gone, media_gone: self.media_gone, ..Reading::default() };
        let was_on_phone = std::mem::replace(&mut self.was_on_phone, sign.on_phone);
        let page_is_well = !sign.page_gone && !sign.media_gone;
        match (sign.on_phone, self.ladder.step()) {
            (true, _) => {
                self.ladder.set_step(Step::Telephone, reading);
                None
            }
            (false, Step::Telephone) if page_is_well => {
                let moved = self.ladder.set_step(Step::Full, reading)?;
                Some(if was_on_phone { Due::Back(moved) } else { Due::CallOff(moved) })
            }
            _ => {
                // The number and the consent were looked at by whoever made the sign.
                let telephone = Telephone { number: true, consent: true };
                self.ladder.handle_reading(reading, telephone, rules, now).map(Due::Call)
            }
        }
    }
}

/// Between two looks.
const BEAT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::super::ladder::Cause;
    use super::*;

    /// What is due in each second; `signs`: page gone, media gone, on the telephone.
    fn watch(seconds: u64, signs: impl Fn(u64) -> (bool, bool, bool)) -> Vec<(u64, &'static str, Cause)> {
        let (mut watched, start) = (Watched::default(), Instant::now());
        let rules = crate::config::telephone::Ladder::default();
        let mut all = Vec::new();
        for second in 0..seconds {
            let (page_gone, media_gone, on_phone) = signs(second);
            let sign = Sign { seat: "s".to_owned(), page_gone, media_gone, on_phone };
            let due = watched.handle(&sign, &rules, start + Duration::from_secs(second));
            all.extend(due.map(|due| match due {
                Due::Call(moved) => (second, "call", moved.cause),
                Due::CallOff(moved) => (second, "call off", moved.cause),
                Due::Back(moved) => (second, "back", moved.cause),
            }));
        }
        all
    }

    #[test]
    fn a_page_that_is_gone_for_fifteen_seconds_is_called_once() {
        assert_eq!(watch(100, |now| (now >= 10, false, false)), [(25, "call", Cause::PageGone)]);
        assert_eq!(watch(100, |now| (false, now >= 10, false)), [(20, "call", Cause::MediaGone)]);
        assert_eq!(watch(100, |now| (now % 15 != 0, false, false)), [], "it always came back");
    }

    #[test]
    fn the_call_is_called_off_when_the_page_is_back_before_it_is_answered() {
        let moves = watch(100, |now| ((10..30).contains(&now), false, false));
        assert_eq!(moves, [(25, "call", Cause::PageGone), (30, "call off", Cause::Chosen)]);
    }

    #[test]
    fn a_telephone_that_was_left_leaves_the_seat_on_its_page() {
        let moves = watch(100, |now| ((10..60).contains(&now), false, (30..70).contains(&now)));
        assert_eq!(moves, [(25, "call", Cause::PageGone), (70, "back", Cause::Chosen)]);
        // Somebody who dialled in by hand stands on the telephone as well.
        assert_eq!(watch(60, |now| (false, false, (10..20).contains(&now))), [(20, "back", Cause::Chosen)]);
    }
}
