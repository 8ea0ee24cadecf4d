//! A test call of the operator's: dials, listens for some seconds, hangs up and reports. It has no seat: nothing leads it anywhere.
//!
//! Not here: who may have one made, and to which number (`control::phone::test_call`). Every wait has a deadline; whoever asked may be
//! gone by the end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::sleep_until;

use crate::config::telephone::{Number, TrunkConfig};
use crate::control::phone::test_call::{TestOrder, TestReport};
use crate::pii::Pii;
use crate::telephone::lines::Lines;
use crate::telephone::media::quality::Mos;
use crate::telephone::media::{Connection, MediaEvent, MediaLeg, Quality};
use crate::telephone::prompts::Prompt;
use crate::telephone::sdp::Rules;
use crate::telephone::sip::{DialFailure, Dialog, DialogEvent, Progress, Reason};
use crate::telephone::trunk::{Dialled, Place};

use super::description::Description;

/// Makes the call and gives its report to whoever asked.
pub(in crate::telephone) async fn run(lines: Arc<Lines>, order: TestOrder) {
    let TestOrder { trunk, number, language, ticket, report } = order;
    let mut told = TestReport { trunk: trunk.to_string(), ..TestReport::default() };
    let Ok((leg, sound)) = lines.open_on(&trunk) else {
        told.outcome = "full".to_owned();
        return drop(report.send(told));
    };
    match dial(&lines, &mut told, &number, leg.port()).await {
        Ok(answered) => {
            ticket.handle_answer();
            leg.play(lines.clips(Prompt::SelfTest, language));
            listen(answered, &leg, sound, &mut told).await;
        }
        Err(failure) => told.outcome = failure.label().to_owned(),
    }
    tracing::info!(trunk = told.trunk, outcome = told.outcome, "a test call is over");
    drop(report.send(told));
}

/// A call that was answered.
struct Answered {
    dialog: Dialog,
    description: Description,
    connection: Connection,
    _place: Place,
}

async fn dial(lines: &Lines, told: &mut TestReport, number: &Pii<Number>, port: u16) -> Result<Answered, DialFailure> {
    let begun = Instant::now();
    let mut description = None;
    let offer = |_: &TrunkConfig, rules: &Rules| description.insert(lines.describe(port, rules.clone())).offer();
    let Dialled { mut call, first, place, .. } = lines.trunks().dial_on(&told.trunk, number, offer).await?;
    let mut progress = first;
    let mut rang = None;
    let (dialog, remote) = loop {
        match progress {
            Progress::Ringing => _ = rang.get_or_insert_with(Instant::now),
            Progress::Answered(dialog, remote) => break (dialog, remote),
            Progress::Failed(failure) => return Err(failure),
        }
        progress = call.next().await.unwrap_or(Progress::Failed(DialFailure::Other));
    };
    let rang = rang.unwrap_or_else(Instant::now);
    told.post_dial_ms = Some(millis(rang - begun));
    told.ring_ms = Some(millis(rang.elapsed()));
    let mut description = description.ok_or(DialFailure::Other)?;
    match description.accept(&remote) {
        Ok(connection) => Ok(Answered { dialog, description, connection, _place: place }),
        Err(_) => {
            dialog.bye(Reason::Fault).await;
            Err(DialFailure::Media)
        }
    }
}

async fn listen(answered: Answered, leg: &MediaLeg, mut sound: mpsc::Receiver<MediaEvent>, told: &mut TestReport) {
    let Answered { mut dialog, mut description, connection, _place } = answered;
    told.outcome = "answered".to_owned();
    told.encrypted = connection.keys.is_some();
    leg.connect(connection);
    let since = Instant::now();
    let mut hung_up = false;
    while !hung_up && since.elapsed() < LISTEN {
        let judged = since.elapsed() >= SOUND_WITHIN;
        let next = since + if judged { LISTEN } else { SOUND_WITHIN };
        tokio::select! {
            event = sound.recv() => match event {
                Some(MediaEvent::FirstPacket) => told.received |= since.elapsed() <= SOUND_WITHIN,
                Some(MediaEvent::Quality(quality)) => note(told, &quality),
                Some(_) => {}
                None => break,
            },
            event = dialog.next() => match event {
                DialogEvent::Reoffer(reoffer) => {
                    if let Ok((connection, text)) = description.answer(reoffer.offer.as_ref()) {
                        reoffer.answer(text);
                        connection.into_iter().for_each(|connection| leg.connect(connection));
                    }
                }
                DialogEvent::Ended(_) => hung_up = true,
                DialogEvent::Answer(_) | DialogEvent::Renewed { .. } | DialogEvent::Digit(_) => {}
            },
            () = sleep_until(next.into()) => {}
        }
        told.sent |= !judged && leg.last_sent().is_some();
    }
    if !hung_up {
        dialog.bye(Reason::Normal).await;
    }
}

/// The latest counts.
fn note(told: &mut TestReport, quality: &Quality) {
    told.loss_in = quality.score_in.map(|_| quality.lost);
    told.mos_in = quality.score_in.map(Mos::value);
    if quality.round_trip.is_some() {
        told.loss_out = Some(quality.lost_out);
        told.mos_out = Some(quality.score_out.value());
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// As for every call.
const SOUND_WITHIN: Duration = Duration::from_secs(5);
/// Until one whole interval of quality is known, and the words are said.
const LISTEN: Duration = Duration::from_secs(9);
