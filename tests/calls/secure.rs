//! A line with TLS and encrypted sound, required: whole calls of a real telephone in both directions, heard on both sides.

use axum::http::StatusCode;
use colloque::telephone::prompts::Prompt;
use colloque_signaling::message::PhoneState;
use serde_json::json;
use tokio::net::TcpListener;

use crate::authority::Authority;
use crate::baresip::{Baresip, Identity};
use crate::page::Page;
use crate::phone::Call;
use crate::raw::Raw;
use crate::server::{Booked, Server, Setup, pin, tone_of, trunk};
use crate::voice::Speech;

/// A port for each of these, and for one before it.
async fn free_port() -> u16 {
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        if TcpListener::bind(("127.0.0.1", port - 1)).await.is_ok() {
            return port;
        }
    }
}

/// A server with a secure line to a telephone and a plain one, and a consultation in which a companion listens on the plain one.
struct Scene {
    authority: Authority,
    server: Server,
    /// For SIP over TLS.
    port: u16,
    /// Of the telephone behind the secure line.
    phone_port: u16,
    booked: Booked,
    doctor: Page,
    companion: Call,
}

impl Scene {
    async fn new() -> Scene {
        let authority = Authority::new();
        let files = authority.certify("server", "127.0.0.1", 2090);
        let (port, phone_port) = (free_port().await, free_port().await);
        // baresip names an address of the machine in its descriptions, and sends from loopback, as from behind a NAT.
        let lines = "transport = \"tls\"\nsrtp = \"require\"\npriority = 1\nmedia_allow = [\"127.0.0.1\"]";
        let secure = trunk("secure", phone_port, lines);
        let telephone = format!(
            "sip_tls = \"127.0.0.1:{port}\"\ntls_cert = \"{}\"\ntls_key = \"{}\"\n",
            files.cert.display(),
            files.key.display()
        );
        let setup = Setup::of(&[secure, trunk("plain", 9, "priority = 2")]).telephone(&telephone);
        let server = setup.trusting(authority.file("ca.pem")).start().await;
        let seats = json!([{"role": "practitioner"},
            {"role": "patient", "phone": "+33612345678", "admitted": true}, {"role": "companion", "admitted": true}]);
        let booked = server.book_seats(seats, json!({})).await;
        let mut doctor = server.page(&booked.seats[0]).await;
        doctor.is_let_in().await;
        let mut companion = Call::dial(Raw::new().await, server.sip, Speech::Tone(COMPANION)).await;
        companion.voice.press(pin(&booked.seats[2]));
        companion.voice.hears(tone_of(Prompt::Admitted)).await;
        Scene { authority, server, port, phone_port, booked, doctor, companion }
    }

    async fn phone(&self, encryption: &str) -> Baresip {
        let (ca, control) = (self.authority.file("ca.pem"), free_port().await);
        let certificate = self.authority.certify("phone", "127.0.0.1", 2090);
        let port = self.phone_port;
        Baresip::start(Identity { ca: &ca, certificate: &certificate, port, control, encryption, hz: PATIENT }).await
    }

    /// Both hear each other.
    async fn hear_each_other(&mut self, phone: &mut Baresip) {
        self.companion.voice.hears(PATIENT).await;
        // Long enough that half a second is whole on a busy machine.
        tokio::time::sleep(std::time::Duration::from_secs(5)).await;
        phone.hang_up().await;
        phone.sees("CALL_CLOSED").await;
        let [companion, own] = phone.heard([COMPANION, PATIENT]);
        assert!(companion > 0.5 && own < 0.2, "heard the other for {companion} s, itself for {own} s");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secure_line_brings_a_telephone_in_and_refuses_sound_in_the_clear() {
    let mut scene = Scene::new().await;
    let address = format!("sip:+33123456789@127.0.0.1:{};transport=tls", scene.port);
    let mut plain = scene.phone("").await;
    plain.dial(&address).await;
    let refused = plain.sees("CALL_CLOSED").await;
    assert!(refused.contains("488"), "{refused}");
    drop(plain);

    let mut phone = scene.phone("srtp-mand").await;
    phone.dial(&address).await;
    phone.sees("CALL_ESTABLISHED").await;
    phone.press(pin(&scene.booked.seats[1])).await;
    scene.doctor.is_told(&scene.booked.seats[1], PhoneState::In, None).await;
    scene.hear_each_other(&mut phone).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secure_line_takes_a_call_of_ours_and_both_sides_are_heard() {
    let mut scene = Scene::new().await;
    let mut phone = scene.phone("srtp-mand").await;
    let (status, body) = scene.server.call(&scene.booked, 1, "POST").await;
    assert_eq!(status, StatusCode::ACCEPTED, "{body}");
    phone.sees("CALL_ESTABLISHED").await;
    scene.doctor.is_told(&scene.booked.seats[1], PhoneState::Confirming, None).await;
    phone.press("1").await;
    scene.doctor.is_told(&scene.booked.seats[1], PhoneState::In, None).await;
    scene.hear_each_other(&mut phone).await;
}

/// Whoever can write the line's address on a datagram asked for our offer, and got one in the clear: nothing of what TLS and keys protect
/// held.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secure_line_takes_no_call_that_comes_without_tls() {
    let authority = Authority::new();
    let files = authority.certify("server", "127.0.0.1", 2090);
    let secure = trunk("secure", free_port().await, "transport = \"tls\"\nsrtp = \"require\"");
    let (certificate, key) = (files.cert.display(), files.key.display());
    let telephone = format!("sip_tls = \"127.0.0.1:0\"\ntls_cert = \"{certificate}\"\ntls_key = \"{key}\"\n");
    let setup = Setup::of(&[secure]).telephone(&telephone).trusting(authority.file("ca.pem"));
    let server = setup.start().await;
    for offers in [true, false] {
        let refused = Call::try_dial_so(Raw::new().await, server.sip, Speech::Silence, offers).await.err();
        assert!(refused.as_ref().is_some_and(|answer| answer.starts_with("SIP/2.0 403")), "{offers}: {refused:?}");
    }
}

/// Their voices, in hertz.
const PATIENT: f32 = 400.0;
const COMPANION: f32 = 300.0;
