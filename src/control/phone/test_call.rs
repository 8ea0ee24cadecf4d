//! Test calls that the operator makes: to a number of his own, through one line, as many at once as one person may make.
//!
//! Not here: making them (`telephone`). A test call has no seat and no consultation: there is nothing that it could be let into. It is
//! bound by the same rules as every other call: the switch, the numbers that may be called, attempts and minutes.

use std::sync::{Mutex, PoisonError};

use colloque_signaling::message::Language;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use utoipa::ToSchema;

use crate::config::telephone::{Number, TelephoneConfig, TrunkName};
use crate::control::booking::language_from_name;
use crate::pii::Pii;

use super::budget::{Asked, BudgetRefusal};
use super::numbers::{self, NumberRefusal};
use super::switchboard::{CallTicket, Switchboard};

/// A test call to be made.
pub struct TestOrder {
    /// On this line and no other.
    pub trunk: TrunkName,
    /// To this number.
    pub number: Pii<Number>,
    /// Of the words that are said.
    pub language: Language,
    /// In the books as long as the call lasts.
    pub ticket: CallTicket,
    /// What came of it.
    pub report: oneshot::Sender<TestReport>,
}

/// What came of a test call.
#[derive(Clone, PartialEq, Debug, Default, Serialize, ToSchema)]
pub struct TestReport {
    /// The line.
    pub trunk: String,
    /// `answered`, or why not: `busy`, `no_answer`, `auth`, `trunk_silent`, `trunk_busy`, `not_in_service`, `refused`, `media`,
    /// `redirected`, `lines_busy`, `full`, `other`.
    pub outcome: String,
    /// From dialling to ringing.
    pub post_dial_ms: Option<u64>,
    /// From ringing to the answer.
    pub ring_ms: Option<u64>,
    /// Sound came within five seconds of the answer.
    pub received: bool,
    /// Sound left within five seconds of the answer.
    pub sent: bool,
    /// The sound was encrypted between the line and this server.
    pub encrypted: bool,
    /// Part of their packets that did not come, 0 to 1.
    pub loss_in: Option<f64>,
    /// Part of ours that did not get there, where they report.
    pub loss_out: Option<f64>,
    /// Mean opinion score of what we heard.
    pub mos_in: Option<f64>,
    /// Of what they heard, where they report.
    pub mos_out: Option<f64>,
}

/// Why no test call is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TestRefusal {
    /// There is no line of this name.
    #[error("there is no trunk of this name")]
    NoTrunk,
    /// Neither the request nor the configuration names one.
    #[error("no number to call: name one, or set telephone.self_test_number")]
    NoNumber,
    /// It may not be called.
    #[error(transparent)]
    Number(#[from] NumberRefusal),
    /// Not now.
    #[error(transparent)]
    Budget(#[from] BudgetRefusal),
    /// Another one begins just now, or nobody makes calls yet.
    #[error("the telephone takes no test call just now")]
    Busy,
}

/// The way of test calls to whoever makes them.
#[derive(Default)]
pub(super) struct TestOrders(Mutex<Option<mpsc::Sender<TestOrder>>>);

impl TestOrders {
    fn send(&self, order: TestOrder) -> Result<(), TestRefusal> {
        let sender = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sender.as_ref().and_then(|sender| sender.try_send(order).ok()).ok_or(TestRefusal::Busy)
    }
}

impl Switchboard {
    /// Whoever makes calls gets test calls from here on.
    #[must_use]
    pub fn test_orders(&self) -> mpsc::Receiver<TestOrder> {
        let (sender, orders) = mpsc::channel(ORDERS_MAX);
        *self.tests.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        orders
    }

    /// Has a test call made. `number`: as people write it; the configured one when there is none.
    pub fn test_call(
        &self,
        trunk: &str,
        number: Option<&Pii<String>>,
    ) -> Result<oneshot::Receiver<TestReport>, TestRefusal> {
        let config = self.config();
        let trunk = config.trunks.iter().find(|line| line.name.as_str() == trunk).ok_or(TestRefusal::NoTrunk)?;
        let number = number_of(&config, number)?;
        numbers::check(&number, &config.dialout)?;
        let asked = Asked { clinic: OPERATOR, consultation: OPERATOR, seat: OPERATOR, by: OPERATOR };
        let ticket = self.book_test(asked)?;
        let (report, reported) = oneshot::channel();
        let language = language_from_name(config.languages.first().map_or("", String::as_str));
        let order = TestOrder { trunk: trunk.name.clone(), number: Pii(number), language, ticket, report };
        self.tests.send(order)?;
        Ok(reported)
    }
}

fn number_of(config: &TelephoneConfig, given: Option<&Pii<String>>) -> Result<Number, TestRefusal> {
    match given {
        Some(given) => Ok(numbers::read(&given.0, config.country)?),
        None => config.self_test_number.as_ref().map(|number| number.0.clone()).ok_or(TestRefusal::NoNumber),
    }
}

/// In the place of a clinic in the books: no clinic has a name with brackets.
pub(super) const OPERATOR: &str = "(operator)";
/// Taken up at once.
const ORDERS_MAX: usize = 1;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::Settings;

    fn board(more: &str) -> Switchboard {
        let text = format!(
            "[telephone]\nenabled = true\nsip_udp = \"127.0.0.1:5060\"\n{more}\n\
             [[telephone.trunk]]\nname = \"a\"\nuri = \"sip:127.0.0.1\"\nallow = [\"127.0.0.1\"]\n"
        );
        let settings: Settings = toml::from_str(&text).unwrap();
        Switchboard::new(Arc::new(settings.resolve().unwrap().telephone.unwrap()), None).0
    }

    #[test]
    fn only_numbers_that_may_be_called_are_and_on_the_line_that_is_named() {
        let board = board("");
        let mut orders = board.test_orders();
        for (trunk, number, refusal) in [
            ("b", Some("+33612345678"), TestRefusal::NoTrunk),
            ("a", None, TestRefusal::NoNumber),
            ("a", Some("112"), TestRefusal::Number(NumberRefusal::Emergency)),
            ("a", Some("+33899123456"), TestRefusal::Number(NumberRefusal::Premium)),
            ("a", Some("+12125550100"), TestRefusal::Number(NumberRefusal::NotAllowed)),
            ("a", Some("me"), TestRefusal::Number(NumberRefusal::Unreadable)),
        ] {
            let number = number.map(|number| Pii(number.to_owned()));
            assert_eq!(board.test_call(trunk, number.as_ref()).unwrap_err(), refusal);
        }
        assert!(orders.try_recv().is_err(), "nothing was asked of the lines");
        let number = Pii("06 12 34 56 78".to_owned());
        board.test_call("a", Some(&number)).unwrap();
        let order = orders.try_recv().unwrap();
        assert_eq!((order.trunk.as_str(), order.number.0.e164()), ("a", "+33612345678"));
    }

    #[test]
    fn test_calls_have_the_limits_of_all_others_and_the_configured_number() {
        let board = board("self_test_number = \"+33198765432\"");
        assert_eq!(board.test_call("a", None).unwrap_err(), TestRefusal::Busy, "nobody makes calls yet");
        let mut orders = board.test_orders();
        let call = board.test_call("a", None).unwrap();
        assert_eq!(board.test_call("a", None).unwrap_err(), TestRefusal::Busy);
        assert_eq!(orders.try_recv().unwrap().number.0.e164(), "+33198765432");
        drop(call);
        assert_eq!(
            board.test_call("a", None).unwrap_err(),
            TestRefusal::Budget(BudgetRefusal::TooOften),
            "three tries"
        );
        board.set_calls_allowed(false);
        assert_eq!(board.test_call("a", None).unwrap_err(), TestRefusal::Budget(BudgetRefusal::SwitchedOff));
    }
}
