//! A clinic's minutes of calls in a day: told when they are used, and found again after a restart.
//!
//! ```text
//!   budget --poll_news--> journal: `phone.charged`, `phone.minutes_used` --the next start--> budget
//! ```
//!
//! The journal is the only copy: what is told of a call is what counts against the day. Until the store takes it, it waits in the spool
//! like everything that happened. Lost is what a call that a crash cut short had used: one call's longest time at most for each line.
//! Not here: what may be spent (`budget`).

use crate::control::Consultations;
use crate::control::facts::Fact;
use crate::store::StoreError;

use super::Percent;
use super::budget::{Alarm, Charge, News};
use super::switchboard::{DAY, day_of, today};
use super::test_call::OPERATOR;

impl Consultations {
    /// Puts what was told of today's calls into the books. Before the first call.
    pub(in crate::control) async fn recall_phone_minutes(&self) -> Result<(), StoreError> {
        let Some(board) = self.phones() else { return Ok(()) };
        for entry in self.store.phone_minutes_since(today() * DAY * 1_000).await? {
            let Some(clinic) = &entry.clinic else { continue };
            let day = day_of(entry.at.div_euclid(1_000));
            match Fact::from_parts(&entry.kind, &entry.data) {
                Some(Fact::PhoneCharged { seconds }) => board.handle_earlier(clinic, seconds, Percent(0), day),
                Some(Fact::PhoneMinutesUsed { percent, .. }) => board.handle_earlier(clinic, 0, Percent(percent), day),
                _ => {}
            }
        }
        Ok(())
    }

    /// Tells journal and clinics what calls have used since it was told last.
    pub fn tell_phone_minutes(&self) {
        let Some(board) = self.phones() else { return };
        for news in board.poll_news() {
            let entry = match news {
                // A test of a line is in no consultation, and no clinic's.
                News::Charged(charge) if charge.clinic == OPERATOR => continue,
                News::Charged(Charge { clinic, consultation, seat, seconds }) => {
                    let fact = Fact::PhoneCharged { seconds };
                    self.journal.entry(Some(&clinic), Some(&consultation), Some(&seat), &fact)
                }
                News::Alarm(Alarm { clinic, used: Percent(percent), minutes }) => {
                    tracing::warn!(clinic, percent, "a clinic's minutes of telephone for today");
                    if clinic == OPERATOR {
                        continue;
                    }
                    let fact = Fact::PhoneMinutesUsed { percent, limit: minutes };
                    self.journal.entry(Some(&clinic), None, None, &fact)
                }
            };
            self.journal.record(Vec::new(), vec![entry]);
        }
    }
}
