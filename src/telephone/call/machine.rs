//! A call's machine, whichever way it was made.
//!
//! Not here: what a call does (`dial_in`, `dial_out`).

use std::time::Instant;

use super::dial_in::DialIn;
use super::dial_out::DialOut;
use super::{Action, Input};

/// A call in one of its two directions.
pub(in crate::telephone) enum Machine {
    In(DialIn),
    Out(DialOut),
}

impl Machine {
    pub(super) fn handle_input(&mut self, input: &Input, now: Instant) -> Vec<Action> {
        match self {
            Machine::In(call) => call.handle_input(input, now),
            Machine::Out(call) => call.handle_input(input, now),
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Vec<Action> {
        match self {
            Machine::In(call) => call.handle_timeout(now),
            Machine::Out(call) => call.handle_timeout(now),
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Machine::In(call) => call.poll_timeout(),
            Machine::Out(call) => call.poll_timeout(),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        match self {
            Machine::In(call) => call.is_over(),
            Machine::Out(call) => call.is_over(),
        }
    }

    /// For the label of a metric.
    pub(super) fn direction(&self) -> &'static str {
        match self {
            Machine::In(_) => "in",
            Machine::Out(_) => "out",
        }
    }
}
