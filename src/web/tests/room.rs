//! What the tests of rooms share: bookings, pages that answer and listen, what the journal and the media plane were told.

use colloque_signaling::message::{Choice, Gate, GateAnswer, MediaSource, Permissions, SeatInfo, SenderInfo};

use crate::ids::SeatId;
use crate::sfu::command::{Command, SeatPolicy};
use crate::store::Store;

use super::*;

/// The device of `page_inside`.
pub(super) const OWN_DEVICE: &str = "the person's own";

/// Everything the media plane was told.
pub(super) struct Wire(Vec<Command>);

impl Wire {
    pub(super) fn new() -> Self {
        Self(Vec::new())
    }

    fn number(&mut self, server: &Server, seat: &Value) -> SeatId {
        self.0.extend(server.media.take());
        let of_seat = |command: &Command| match command {
            Command::AddLeg { seat: number, stamp, .. } if **stamp == *id(seat) => Some(*number),
            _ => None,
        };
        self.0.iter().find_map(of_seat).expect("the seat has sent an offer")
    }

    /// What a seat that has sent an offer may do on the media plane now.
    pub(super) fn policy(&mut self, server: &Server, seat: &Value) -> SeatPolicy {
        let number = self.number(server, seat);
        let of_seat = |command: &Command| match command {
            Command::SetPolicy { seat, policy, .. } if *seat == number => Some(*policy),
            _ => None,
        };
        self.0.iter().rev().find_map(of_seat).expect("a policy goes before the leg")
    }

    /// How many legs were removed.
    pub(super) fn removed(&mut self, server: &Server) -> usize {
        self.0.extend(server.media.take());
        self.0.iter().filter(|command| matches!(command, Command::RemoveLeg(_))).count()
    }
}

/// Whether a policy lets anything at all through.
pub(super) fn is_shut(policy: SeatPolicy) -> bool {
    policy == SeatPolicy::default()
}

pub(super) fn id(seat: &Value) -> &str {
    seat["id"].as_str().unwrap()
}

/// A professional's card that says everything.
pub(super) fn card() -> Value {
    json!({"title": "Dr", "name": "Ada Planted", "specialty": "Cardiologie", "rpps": "10003456789",
        "address": "1 rue des Lilas, Paris", "fee": "30 €"})
}

impl Server {
    /// Books what this says, and gives the answer.
    pub(super) async fn booked(&self, body: Value) -> Value {
        let (status, answer) = self.api("POST", "/v1/consultations", body).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        answer
    }

    /// Books seats of these roles without gates.
    pub(super) async fn booked_roles(&self, act: &str, roles: &[&str]) -> (String, Vec<Value>) {
        let seats: Vec<Value> =
            roles.iter().map(|role| json!({"role": role, "display_name": format!("N. {role}")})).collect();
        let body = self.booked(json!({"act": act, "gates": no_gates(), "seats": seats})).await;
        (body["id"].as_str().unwrap().to_owned(), body["seats"].as_array().unwrap().clone())
    }

    /// A teleconsultation as the act wants it: with every gate, and the practitioner's card.
    pub(super) async fn booked_with_gates(&self) -> (String, Value, Value) {
        let seats = json!([{"role": "practitioner", "display_name": "Dr Planted", "card": card()},
            {"role": "patient", "display_name": "Patricia Planted"}]);
        let body = self.booked(json!({"act": "teleconsultation", "seats": seats})).await;
        (body["id"].as_str().unwrap().to_owned(), body["seats"][0].clone(), body["seats"][1].clone())
    }

    /// A call of the API on a seat.
    pub(super) async fn on_seat(&self, consultation: &str, seat: &Value, verb: &str, body: Value) -> StatusCode {
        self.api("POST", &format!("/v1/consultations/{consultation}/seats/{}/{verb}", id(seat)), body).await.0
    }

    /// A consultation as clinics see it.
    pub(super) async fn view(&self, consultation: &str) -> Value {
        self.api("GET", &format!("/v1/consultations/{consultation}"), Value::Null).await.1
    }

    /// What the journal tells of a consultation: kinds with the place of their seat in the booking, and their data.
    pub(super) async fn told(&self, consultation: &str, seats: &[&Value]) -> Vec<(String, Value)> {
        self.consultations.journal().flush().await;
        let entries = self.store.entries_of(consultation).await.unwrap();
        let told = entries.into_iter().map(|entry| {
            let place = seats.iter().position(|seat| Some(id(seat)) == entry.entry.seat.as_deref());
            let whose = place.map_or(String::new(), |place| format!("{place} "));
            (format!("{whose}{}", entry.entry.kind), serde_json::from_str(&entry.entry.data).unwrap())
        });
        told.collect()
    }

    /// The kinds alone.
    pub(super) async fn kinds(&self, consultation: &str, seats: &[&Value]) -> Vec<String> {
        self.told(consultation, seats).await.into_iter().map(|(kind, _)| kind).collect()
    }

    /// A page that is let in: waits for it, then sends an offer. Always the same device.
    pub(super) async fn page_inside(&self, seat: &Value) -> Page {
        let mut page = self.page_on(seat, OWN_DEVICE).await;
        page.is_let_in().await;
        page.offers().await;
        page
    }
}

impl Page {
    pub(super) async fn is_let_in(&mut self) {
        self.hear_until(|message| {
            matches!(message, ServerMessage::Admitted | ServerMessage::Welcome { admitted: true, .. }).then_some(())
        })
        .await;
    }

    /// Sends an offer and waits for the answer.
    pub(super) async fn offers(&mut self) {
        let sender = |mid: &str, source| SenderInfo { mid: mid.into(), source };
        let senders = vec![sender("0", MediaSource::Microphone), sender("1", MediaSource::Camera)];
        self.say(&ClientMessage::Offer { id: 1, sdp: CHROMIUM_SEND.into(), senders }).await;
        self.hear_until(|message| matches!(message, ServerMessage::Answer { .. }).then_some(())).await;
    }

    pub(super) async fn answers(&mut self, answer: GateAnswer) {
        self.say(&ClientMessage::Gate { answer }).await;
    }

    /// Answers whatever is asked the way that opens the door.
    pub(super) async fn passes_gates(&mut self) {
        for gate in self.hears_gates().await {
            self.answers(match gate {
                Gate::Login => panic!("a login is not answered here"),
                Gate::Card { cards } => GateAnswer::Card { seats: cards.into_iter().map(|card| card.seat).collect() },
                Gate::Consent { text } => GateAnswer::Consent { text, accepted: true },
                Gate::ThirdPerson => GateAnswer::ThirdPerson { present: false },
                Gate::Preference => GateAnswer::Preference { choice: Choice::Video },
            })
            .await;
        }
        while !self.hears_gates().await.is_empty() {}
    }

    pub(super) async fn hears_gates(&mut self) -> Vec<Gate> {
        self.hear_until(|message| match message {
            ServerMessage::Gates { pending } => Some(pending.clone()),
            _ => None,
        })
        .await
    }

    pub(super) async fn hears_permissions(&mut self) -> Permissions {
        self.hear_until(|message| match message {
            ServerMessage::Permissions { permissions } => Some(*permissions),
            _ => None,
        })
        .await
    }

    pub(super) async fn hears(&mut self, expected: ServerMessage) {
        self.hear_until(|message| (*message == expected).then_some(())).await;
    }

    /// Everything that was said before is carried out. Gives what came in meanwhile.
    pub(super) async fn settled(&mut self) -> Vec<ServerMessage> {
        self.say(&ClientMessage::Ping { id: 99 }).await;
        let mut heard = Vec::new();
        loop {
            match self.hear().await.expect("the socket is open") {
                ServerMessage::Pong { id: 99 } => return heard,
                message => heard.push(message),
            }
        }
    }

    /// What the roster says of a seat once it fits.
    pub(super) async fn sees<T>(&mut self, seat: &Value, mut fits: impl FnMut(&SeatInfo) -> Option<T>) -> T {
        self.hear_until(|message| match message {
            ServerMessage::Roster { seats } => seats.iter().find(|info| info.seat == id(seat)).and_then(&mut fits),
            _ => None,
        })
        .await
    }

    /// The last message before the socket closed.
    pub(super) async fn last_words(&mut self) -> ServerMessage {
        let mut last = None;
        while let Some(message) = self.hear().await {
            last = Some(message);
        }
        last.expect("something was said before the end")
    }
}
