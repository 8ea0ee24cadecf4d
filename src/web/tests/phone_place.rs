//! A telephone on a seat: it waits, is let in on its own, is heard for its page, and goes with everything that ends its seat.

use colloque_signaling::message::{HandOverReason, MediaSource, PhoneInfo, Presence};

use crate::control::facts::Departure;
use crate::control::phone::place::{PhonePlace, PhoneRefusal};
use crate::control::phone::seat_phone::{Arrival, PhoneOut, PhoneStage, PhoneStanding};
use crate::ids::{LegId, SeatId, TrackId};
use crate::rtp::codec::Source;
use crate::sfu::command::{Command, Event, SeatPolicy};
use crate::worker::WorkerId;
use crate::worker::local::LocalPort;

use super::room::id;
use super::*;

const WAITS: PhoneStage = PhoneStage::Waiting { consent_due: false, encryption_ends: false };

impl Server {
    async fn arrives(&self, seat: &Value, how: Arrival) -> PhonePlace {
        self.tries(seat, how).await.unwrap()
    }

    async fn tries(&self, seat: &Value, how: Arrival) -> Result<PhonePlace, PhoneRefusal> {
        let (consultation, record) = self.consultations.journal().seat(id(seat)).await.unwrap().unwrap();
        self.consultations.phone_arrive(&consultation, &record, how).await
    }

    /// A telephone that dials in and is let in by its host.
    async fn phone_inside(&self, seat: &Value, doctor: &mut Page) -> PhonePlace {
        let mut place = self.arrives(seat, Arrival::DialledIn).await;
        assert_eq!(place.standing().stage, WAITS);
        admits(doctor, seat).await;
        stands(&mut place, PhoneStage::Inside).await;
        place
    }

    /// The local leg that was added last, with its seat.
    fn last_local_leg(&self) -> Option<(LegId, SeatId)> {
        let added = |command: Command| match command {
            Command::AddLocalLeg { leg, seat, .. } => Some((leg, seat)),
            _ => None,
        };
        self.media.take().into_iter().filter_map(added).next_back()
    }
}

async fn stands(place: &mut PhonePlace, stage: PhoneStage) {
    until(place, |standing| standing.stage == stage).await;
}

async fn until(place: &mut PhonePlace, fits: impl Fn(PhoneStanding) -> bool) {
    while !fits(place.standing()) {
        let changed = tokio::time::timeout(Duration::from_secs(5), place.changed());
        changed.await.unwrap_or_else(|_| panic!("still {:?}", place.standing()));
    }
}

async fn admits(doctor: &mut Page, seat: &Value) {
    doctor.say(&ClientMessage::Admit { seat: id(seat).into(), arrival: None }).await;
}

async fn sees(page: &mut Page, seat: &Value, presence: Presence, telephone: bool) {
    page.sees(seat, |info| (info.presence == presence && info.telephone.is_some() == telephone).then_some(())).await;
}

fn is_cut(port: &Option<LocalPort>) -> bool {
    port.as_ref().is_none_or(|port| !port.is_open())
}

#[tokio::test]
async fn a_telephone_may_come_first_and_nothing_reaches_it_before_it_is_let_in() {
    let server = Server::start().await;
    let (consultation, practitioner, patient) = server.booked_with_gates().await;
    let mut place = server.arrives(&patient, Arrival::DialledIn).await;
    assert_eq!(place.standing().stage, PhoneStage::Waiting { consent_due: true, encryption_ends: false });
    assert!(place.attach().is_none());
    assert!(place.standing().alone && !place.standing().host_present);
    assert_eq!(server.view(&consultation).await["seats"][1]["presence"], "waiting");

    // Not `page_inside`: the roster that tells of the telephone comes before the answer to an offer.
    let mut doctor = server.page(&practitioner).await;
    sees(&mut doctor, &patient, Presence::Waiting, false).await;
    until(&mut place, |standing| standing.host_present && !standing.alone).await;
    admits(&mut doctor, &patient).await;
    doctor.settled().await;
    assert!(place.attach().is_none(), "consent is due");
    assert_eq!(server.last_local_leg(), None);
    place.consent(true);
    stands(&mut place, PhoneStage::Inside).await;
    sees(&mut doctor, &patient, Presence::Present, true).await;

    let port = place.attach();
    assert!(!is_cut(&port));
    let commands = server.media.take();
    let added = commands.iter().position(|command| matches!(command, Command::AddLocalLeg { .. })).unwrap();
    let Command::AddLocalLeg { leg, seat: number, .. } = commands[added] else { unreachable!() };
    let opened = |command: &Command| matches!(command, Command::SetPolicy { seat, policy, .. } if *seat == number && policy.microphone && policy.hear);
    assert!(commands[..added].iter().any(opened), "the policy goes first");
    let track = TrackId(7);
    let started = Event::TrackStarted { seat: number, leg, track, source: Source::Microphone };
    server.consultations.handle_event(WorkerId(0), started);

    let told = server.told(&consultation, &[&practitioner, &patient]).await;
    let of_patient: Vec<&str> = told.iter().filter_map(|(kind, _)| kind.strip_prefix("1 ")).collect();
    let order = ["seat.waiting", "seat.admitted", "gate.spoken", "gate.passed", "seat.joined", "seat.media"];
    let mut from = of_patient.iter();
    assert!(order.iter().all(|kind| from.any(|told| told == kind)), "{of_patient:?}");
    let data = |kind: &str| told.iter().find(|(told, _)| told == kind).unwrap().1.clone();
    assert_eq!(data("1 gate.spoken"), json!({"gates": ["card", "third_person", "preference"]}));
    let media = json!({"microphone": false, "camera": false, "screen": false, "telephone": true});
    assert_eq!(data("1 seat.media"), media);
}

#[tokio::test]
async fn whoever_refuses_consent_by_key_is_out_and_told() {
    let server = Server::start().await;
    let (consultation, practitioner, patient) = server.booked_with_gates().await;
    let mut place = server.arrives(&patient, Arrival::DialledIn).await;
    place.consent(false);
    stands(&mut place, PhoneStage::Out(PhoneOut::Declined)).await;
    assert!(place.attach().is_none());
    let told = server.kinds(&consultation, &[&practitioner, &patient]).await;
    assert!(told.contains(&"1 gate.refused".to_owned()), "{told:?}");
    assert!(matches!(server.tries(&patient, Arrival::DialledIn).await, Err(PhoneRefusal::Join(_))));
}

#[tokio::test]
async fn a_pin_typed_beside_a_page_waits_and_a_call_that_we_made_does_not() {
    let server = Server::start().await;
    let (consultation, seats) = server.booked_roles("teleconsultation", &["practitioner", "patient"]).await;
    server.on_seat(&consultation, &seats[1], "admit", Value::Null).await;
    let mut doctor = server.page_inside(&seats[0]).await;
    let mut page = server.page_inside(&seats[1]).await;
    let dialled = server.arrives(&seats[1], Arrival::DialledIn).await;
    assert_eq!(dialled.standing().stage, WAITS, "whoever typed it may be somebody else");
    assert!(dialled.attach().is_none());
    drop(dialled);

    let mut called = server.arrives(&seats[1], Arrival::Called).await;
    stands(&mut called, PhoneStage::Inside).await;
    let port = called.attach();
    assert!(!is_cut(&port));
    sees(&mut doctor, &seats[1], Presence::Present, true).await;
    // One person: the page goes on, and comes back as the only one.
    assert!(server.consultations.census().present == 2);
    page.say(&ClientMessage::HangUp { seat: id(&seats[1]).into() }).await;
    stands(&mut called, PhoneStage::Out(PhoneOut::BackToPage)).await;
    assert!(is_cut(&port));
    sees(&mut doctor, &seats[1], Presence::Present, false).await;
    // The practitioner's own telephone waits too: his page lets it in.
    let mut own = server.phone_inside(&seats[0], &mut doctor).await;
    assert!(own.attach().is_some());
    doctor.say(&ClientMessage::End).await;
    stands(&mut own, PhoneStage::Out(PhoneOut::Over)).await;
}

#[tokio::test]
async fn a_host_lets_in_or_hangs_up_on_the_telephone_beside_a_page_and_the_page_stays() {
    let server = Server::start().await;
    let (consultation, seats) = server.booked_roles("teleconsultation", &["practitioner", "patient"]).await;
    let mut doctor = server.page_inside(&seats[0]).await;
    let _page = server.page(&seats[1]).await;
    let arrival = doctor.sees(&seats[1], |info| info.arrival).await;
    let admit = |arrival| ClientMessage::Admit { seat: id(&seats[1]).into(), arrival: Some(arrival) };
    doctor.say(&admit(arrival)).await;
    sees(&mut doctor, &seats[1], Presence::Present, false).await;

    let mut stranger = server.arrives(&seats[1], Arrival::DialledIn).await;
    doctor.say(&admit(arrival + 1)).await;
    doctor.settled().await;
    assert_eq!(stranger.standing().stage, WAITS, "whom the host saw is not who is there");
    doctor.say(&ClientMessage::HangUp { seat: id(&seats[1]).into() }).await;
    stands(&mut stranger, PhoneStage::Out(PhoneOut::Cancelled)).await;
    let seat = server.view(&consultation).await["seats"][1].clone();
    assert_eq!((&seat["presence"], &seat["admitted"]), (&json!("present"), &json!(true)));
    drop(stranger);

    let mut patient = server.arrives(&seats[1], Arrival::DialledIn).await;
    doctor.say(&admit(arrival)).await;
    stands(&mut patient, PhoneStage::Inside).await;
    sees(&mut doctor, &seats[1], Presence::Present, true).await;
}

#[tokio::test]
async fn a_seat_that_the_clinic_vouched_for_comes_in_by_telephone_at_once() {
    let server = Server::start().await;
    let seats = json!([{"role": "practitioner"}, {"role": "patient", "admitted": true}]);
    let body = server.booked(json!({"act": "teleconsultation", "seats": seats})).await;
    let mut place = server.arrives(&body["seats"][1], Arrival::DialledIn).await;
    stands(&mut place, PhoneStage::Inside).await;
    assert!(place.attach().is_some());
}

#[tokio::test]
async fn what_removes_a_seat_or_ends_the_room_puts_its_telephone_out() {
    let removed = (PhoneOut::Removed, "remove");
    let ended = (PhoneOut::Over, "end");
    let cases = [removed, ended, (PhoneOut::Cancelled, "hang up"), (PhoneOut::Removed, "clinic removes")];
    for (out, what) in cases {
        let server = Server::start().await;
        let (consultation, seats) = server.booked_roles("teleconsultation", &["practitioner", "patient"]).await;
        let mut doctor = server.page_inside(&seats[0]).await;
        let mut place = server.phone_inside(&seats[1], &mut doctor).await;
        let port = place.attach();
        match what {
            "remove" => doctor.say(&ClientMessage::Remove { seat: id(&seats[1]).into() }).await,
            "hang up" => doctor.say(&ClientMessage::HangUp { seat: id(&seats[1]).into() }).await,
            "clinic removes" => {
                server.on_seat(&consultation, &seats[1], "remove", Value::Null).await;
            }
            _ => doctor.say(&ClientMessage::End).await,
        }
        stands(&mut place, PhoneStage::Out(out)).await;
        assert!(is_cut(&port) && place.attach().is_none(), "{what}");
        drop(place);
    }
}

#[tokio::test]
async fn who_hangs_up_is_kept_and_let_in_when_calling_back() {
    let server = Server::start().await;
    let (consultation, seats) = server.booked_roles("teleconsultation", &["practitioner", "patient"]).await;
    let mut doctor = server.page_inside(&seats[0]).await;
    let place = server.phone_inside(&seats[1], &mut doctor).await;
    let port = place.attach();
    sees(&mut doctor, &seats[1], Presence::Present, true).await;
    place.hang_up();
    assert!(is_cut(&port));
    sees(&mut doctor, &seats[1], Presence::Reconnecting, false).await;
    let again = server.arrives(&seats[1], Arrival::DialledIn).await;
    assert_eq!(again.standing().stage, PhoneStage::Inside, "the PIN is good for coming back");
    sees(&mut doctor, &seats[1], Presence::Present, true).await;
    assert_eq!(of_patient(&server, &consultation, &seats).await, ["waiting", "admitted", "joined", "lost", "back"]);
}

#[tokio::test]
async fn a_line_that_broke_is_given_up_after_the_grace_period_and_the_next_call_waits() {
    let server = Server::start_with(Duration::from_millis(50), 10).await;
    let (consultation, seats) = server.booked_roles("teleconsultation", &["practitioner", "patient"]).await;
    let mut doctor = server.page_inside(&seats[0]).await;
    let place = server.phone_inside(&seats[1], &mut doctor).await;
    sees(&mut doctor, &seats[1], Presence::Present, true).await;
    drop(place);
    sees(&mut doctor, &seats[1], Presence::Absent, false).await;
    let late = server.arrives(&seats[1], Arrival::DialledIn).await;
    assert_eq!(late.standing().stage, WAITS);
    let told = of_patient(&server, &consultation, &seats).await;
    assert_eq!(told, ["waiting", "admitted", "joined", "lost", "left", "waiting"]);
    let told = server.told(&consultation, &seats.iter().collect::<Vec<_>>()).await;
    let left = told.iter().find(|(kind, _)| kind == "1 seat.left").unwrap();
    assert_eq!(left.1, json!({"cause": Departure::Lost}));
}

/// What the journal tells of the second seat: where it was.
async fn of_patient(server: &Server, consultation: &str, seats: &[Value]) -> Vec<String> {
    let told = server.kinds(consultation, &seats.iter().collect::<Vec<_>>()).await;
    let whereabouts = ["waiting", "admitted", "joined", "lost", "back", "left"];
    let kinds = told.iter().filter_map(|kind| kind.strip_prefix("1 seat."));
    kinds.filter(|kind| whereabouts.contains(kind)).map(str::to_owned).collect()
}

#[tokio::test]
async fn a_telephone_is_told_of_an_aside_and_of_a_host_who_mutes_it() {
    let server = Server::start().await;
    let roles = ["practitioner", "patient", "expert"];
    let (consultation, seats) = server.booked_roles("tele_expertise", &roles).await;
    server.on_seat(&consultation, &seats[2], "admit", Value::Null).await;
    let mut doctor = server.page_inside(&seats[0]).await;
    let _expert = server.page_inside(&seats[2]).await;
    let mut place = server.phone_inside(&seats[1], &mut doctor).await;
    let port = place.attach();
    let (_, number) = server.last_local_leg().unwrap();
    let policy = |server: &Server| {
        let of_seat = |command: Command| match command {
            Command::SetPolicy { seat, policy, .. } if seat == number => Some(policy),
            _ => None,
        };
        server.media.take().into_iter().filter_map(of_seat).next_back()
    };

    doctor.say(&ClientMessage::Aside { on: true }).await;
    until(&mut place, |standing| standing.aside).await;
    assert_eq!(policy(&server), Some(SeatPolicy::default()), "nothing flows in either direction");
    assert!(!is_cut(&port), "the line stays");
    doctor.say(&ClientMessage::Aside { on: false }).await;
    until(&mut place, |standing| !standing.aside).await;
    assert!(policy(&server).unwrap().hear);

    let mute = |muted| ClientMessage::Mute { seat: id(&seats[1]).into(), source: MediaSource::Microphone, muted };
    doctor.say(&mute(true)).await;
    until(&mut place, |standing| standing.silenced).await;
    assert!(!policy(&server).unwrap().microphone);
    doctor.say(&mute(false)).await;
    until(&mut place, |standing| !standing.silenced).await;

    // Its own keys.
    sees(&mut doctor, &seats[1], Presence::Present, true).await;
    place.set_muted(true);
    doctor.sees(&seats[1], |info| (!info.microphone).then_some(())).await;
    place.set_hand(true);
    doctor.sees(&seats[1], |info| (info.telephone == Some(PhoneInfo { hand: true })).then_some(())).await;
}

#[tokio::test]
async fn a_locked_room_keeps_a_telephone_out_until_it_is_let_in_by_hand() {
    let server = Server::start().await;
    let (consultation, seats) = server.booked_roles("teleconsultation", &["practitioner", "patient"]).await;
    server.on_seat(&consultation, &seats[1], "admit", Value::Null).await;
    let mut doctor = server.page_inside(&seats[0]).await;
    doctor.say(&ClientMessage::Lock { locked: true }).await;
    doctor.settled().await;
    let mut place = server.phone_inside(&seats[1], &mut doctor).await;
    assert!(place.attach().is_some());
    doctor.say(&ClientMessage::Lock { locked: false }).await;
    doctor.settled().await;
    stands(&mut place, PhoneStage::Inside).await;
}

/// A room whose only host went on by telephone stayed shut for the colleague too, and nobody inside could open it.
#[tokio::test]
async fn a_host_who_is_there_by_telephone_alone_keeps_no_colleague_out_of_a_locked_room() {
    let server = Server::start_with(Duration::from_millis(50), 10).await;
    let (_, seats) = server.booked_roles("teleconsultation", &["practitioner", "patient", "practitioner"]).await;
    let mut doctor = server.page_inside(&seats[0]).await;
    let own = server.phone_inside(&seats[0], &mut doctor).await;
    doctor.say(&ClientMessage::Lock { locked: true }).await;
    doctor.settled().await;
    let mut colleague = server.page_on(&seats[2], "").await;
    colleague.settled().await;
    sees(&mut doctor, &seats[2], Presence::Waiting, false).await;
    drop(doctor);
    colleague.is_let_in().await;
    assert_eq!(own.standing().stage, PhoneStage::Inside);
    let mut patient = server.page(&seats[1]).await;
    sees(&mut colleague, &seats[1], Presence::Waiting, false).await;
    patient.settled().await;
    own.hang_up();
}

#[tokio::test]
async fn a_second_call_takes_the_place_and_waits_and_the_first_one_can_do_nothing_more() {
    let server = Server::start().await;
    let (_, seats) = server.booked_roles("teleconsultation", &["practitioner", "patient"]).await;
    let mut doctor = server.page_inside(&seats[0]).await;
    let mut first = server.phone_inside(&seats[1], &mut doctor).await;
    let port = first.attach();
    let mut second = server.arrives(&seats[1], Arrival::DialledIn).await;
    stands(&mut first, PhoneStage::Out(PhoneOut::Replaced)).await;
    assert!(is_cut(&port) && first.attach().is_none());
    assert_eq!(second.standing().stage, WAITS);
    first.hang_up();
    assert_eq!(second.standing().stage, WAITS);
    admits(&mut doctor, &seats[1]).await;
    stands(&mut second, PhoneStage::Inside).await;
}

#[tokio::test]
async fn a_call_goes_on_and_waits_when_its_seat_is_opened_on_another_device() {
    let server = Server::start().await;
    let (_, seats) = server.booked_roles("teleconsultation", &["practitioner", "patient"]).await;
    let mut doctor = server.page_inside(&seats[0]).await;
    let page = server.page_on(&seats[1], "tablet").await;
    let mut place = server.phone_inside(&seats[1], &mut doctor).await;
    let port = place.attach();
    drop(page);
    let _elsewhere = server.page_on(&seats[1], "laptop").await;
    stands(&mut place, WAITS).await;
    assert!(is_cut(&port));
    admits(&mut doctor, &seats[1]).await;
    stands(&mut place, PhoneStage::Inside).await;
}

#[tokio::test]
async fn a_telephone_whose_leg_was_lost_gets_another_one() {
    let server = Server::start().await;
    let (consultation, seats) = server.booked_roles("teleconsultation", &["practitioner", "patient"]).await;
    let mut doctor = server.page_inside(&seats[0]).await;
    let place = server.phone_inside(&seats[1], &mut doctor).await;
    let port = place.attach();
    let (leg, _) = server.last_local_leg().unwrap();
    server.media.locals.lock().unwrap().clear();
    server.consultations.handle_event(WorkerId(0), Event::LegGone(leg));
    assert!(is_cut(&port));
    assert_eq!(place.standing().stage, PhoneStage::Inside);
    let again = place.attach();
    assert!(!is_cut(&again));
    let (another, _) = server.last_local_leg().unwrap();
    assert_ne!(another, leg);
    place.detach();
    assert!(is_cut(&again));
    let told = server.kinds(&consultation, &[]).await;
    assert!(!told.contains(&"seat.left".to_owned()), "{told:?}");
}

#[tokio::test]
async fn a_consultation_is_handed_to_a_colleague_on_the_telephone() {
    let server = Server::start().await;
    let roles = ["practitioner", "patient", "practitioner"];
    let (consultation, seats) = server.booked_roles("teleconsultation", &roles).await;
    let mut doctor = server.page_inside(&seats[0]).await;
    let place = server.phone_inside(&seats[2], &mut doctor).await;
    let reason = HandOverReason::ShiftEnd;
    doctor.say(&ClientMessage::HandOver { to: id(&seats[2]).into(), reason }).await;
    doctor.settled().await;
    let told = server.kinds(&consultation, &[]).await;
    assert!(told.contains(&"hand_over.done".to_owned()), "{told:?}");
    assert_eq!(place.standing().stage, PhoneStage::Inside);
}

#[tokio::test]
async fn encryption_keeps_a_telephone_out_or_waiting_for_the_practitioners_yes() {
    let server = Server::start().await;
    let book = |e2ee: &str| {
        json!({"act": "teleconsultation", "gates": no_gates(), "e2ee": e2ee,
            "seats": [{"role": "practitioner"}, {"role": "patient"}]})
    };
    let required = server.booked(book("required")).await;
    let refused = server.tries(&required["seats"][1], Arrival::DialledIn).await;
    assert!(matches!(refused, Err(PhoneRefusal::EncryptionRequired)));

    let preferred = server.booked(book("preferred")).await;
    let (practitioner, patient) = (&preferred["seats"][0], &preferred["seats"][1]);
    let mut doctor = server.page_inside(practitioner).await;
    let mut place = server.arrives(patient, Arrival::DialledIn).await;
    admits(&mut doctor, patient).await;
    stands(&mut place, PhoneStage::Waiting { consent_due: false, encryption_ends: true }).await;
    assert!(place.attach().is_none());
    doctor.say(&ClientMessage::Call { seat: id(patient).into(), encryption_ends: true }).await;
    stands(&mut place, PhoneStage::Inside).await;
    assert!(place.attach().is_some());
}

#[tokio::test]
async fn a_room_with_a_telephone_alone_lives_and_closes_when_it_goes() {
    let server = Server::start_with(Duration::from_millis(100), 10).await;
    let (_, seats) = server.booked_roles("teleconsultation", &["practitioner", "patient"]).await;
    let place = server.arrives(&seats[1], Arrival::DialledIn).await;
    let census = server.consultations.census();
    assert_eq!((census.rooms, census.waiting, census.present), (1, 1, 0));
    place.hang_up();
    assert_eq!(server.consultations.census().rooms, 0, "nobody keeps a seat for who only waited");
}
