//! What happened in a consultation, as its record lists it: gates, hand-overs, incidents.
//!
//! Not here: how long anything took (`timeline`), and the document that the lists stand in (`document`).

use std::collections::BTreeMap;

use colloque_signaling::message::{HandOverReason, PhoneCause};
use serde::Serialize;
use utoipa::ToSchema;

use crate::control::facts::{Cause, Fact, Passed, Refused};

use super::document::format_millis;
use super::timeline::{Moment, Timeline};

/// Something at a gate.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct GateEvent {
    /// When.
    pub at: String,
    /// Whose.
    pub seat: Option<String>,
    /// What.
    #[serde(flatten)]
    pub outcome: GateOutcome,
}

/// What came of a gate.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum GateOutcome {
    /// Passed, with its answer.
    Passed(Passed),
    /// Refused, or consent withdrawn.
    Refused(Refused),
    /// The clinic vouched for the seat: it was asked nothing.
    Waived(Waived),
}

/// Nothing more is to be said.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct Waived {}

/// A hand-over that was done.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct HandOverEvent {
    /// When the colleague had it.
    pub at: String,
    /// Who gave.
    pub from: Option<String>,
    /// Who took.
    pub to: String,
    /// Why.
    #[schema(value_type = Option<String>)]
    pub reason: Option<HandOverReason>,
}

/// Something that went wrong.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct IncidentEvent {
    /// When.
    pub at: String,
    /// Whose.
    pub seat: Option<String>,
    /// The one cause.
    pub cause: Cause,
}

pub(super) fn gates(moments: &[Moment]) -> Vec<GateEvent> {
    let event = |moment: &Moment| {
        let outcome = match &moment.fact {
            Fact::GatePassed { gate } => GateOutcome::Passed(gate.clone()),
            Fact::GateRefused { gate } => GateOutcome::Refused(*gate),
            Fact::GatesWaived {} => GateOutcome::Waived(Waived {}),
            _ => return None,
        };
        Some(GateEvent { at: format_millis(moment.at), seat: moment.seat.clone(), outcome })
    };
    moments.iter().filter_map(event).collect()
}

pub(super) fn hand_overs(moments: &[Moment]) -> Vec<HandOverEvent> {
    let mut done = Vec::new();
    let mut reasons: BTreeMap<&str, HandOverReason> = BTreeMap::new();
    for moment in moments {
        match &moment.fact {
            Fact::HandOverAnnounced { to, reason } => _ = reasons.insert(to, *reason),
            Fact::HandOverDone { to } => done.push(HandOverEvent {
                at: format_millis(moment.at),
                from: moment.seat.clone(),
                to: to.clone(),
                reason: reasons.get(to.as_str()).copied(),
            }),
            _ => {}
        }
    }
    done
}

/// Incidents in the room, the telephone's among them, and attempts to join that failed.
pub(super) fn incidents(moments: &[Moment], timeline: &Timeline) -> (Vec<IncidentEvent>, Vec<IncidentEvent>) {
    let event = |at: i64, seat: Option<&String>, cause| {
        (at, IncidentEvent { at: format_millis(at), seat: seat.cloned(), cause })
    };
    let (mut room, mut joins) = (Vec::new(), Vec::new());
    for moment in moments {
        let seat = moment.seat.as_ref();
        match moment.fact {
            Fact::Incident { cause } => room.push(event(moment.at, seat, cause)),
            Fact::PhoneSilent { never_heard: true } => room.push(event(moment.at, seat, Cause::TelephoneNoSound)),
            Fact::PhoneNothingSent {} => room.push(event(moment.at, seat, Cause::TelephoneNothingSent)),
            Fact::PhoneLost {} => room.push(event(moment.at, seat, Cause::TelephoneLost)),
            Fact::PhoneFailed { cause: PhoneCause::NoLine | PhoneCause::Fault }
            | Fact::PhoneLeft { cause: PhoneCause::Fault } => {
                room.push(event(moment.at, seat, Cause::TelephoneUnavailable));
            }
            Fact::JoinFailed { cause } => joins.push(event(moment.at, seat, cause)),
            _ => {}
        }
    }
    for stop in &timeline.interruptions {
        room.extend(stop.seats.iter().map(|seat| event(stop.from, Some(seat), Cause::ServerStopped)));
    }
    room.sort_by_key(|&(at, _)| at);
    let events = |list: Vec<(i64, IncidentEvent)>| list.into_iter().map(|(_, event)| event).collect();
    (events(room), events(joins))
}

pub(super) fn by_cause(events: &[IncidentEvent]) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    for event in events {
        *counts.entry(event.cause.name()).or_default() += 1;
    }
    counts
}
