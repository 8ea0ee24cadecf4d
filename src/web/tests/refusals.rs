//! What is refused, and how: never a panic, never a hint, always a problem document.

use std::io::Write;
use std::sync::Mutex;

use colloque_signaling::message::ErrorCode;

use super::*;

#[tokio::test]
async fn forged_unknown_and_revoked_tokens_are_told_apart_by_nobody() {
    let server = Server::start().await;
    let (id, _, patient) = server.book().await;
    let token = patient["token"].as_str().unwrap().to_owned();
    let mut forged = token.clone().into_bytes();
    let at = forged.len() / 2;
    forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
    let other = Server::start().await;
    let foreign = other.book().await.2["token"].clone();
    let path = format!("/v1/consultations/{id}/seats/{}/revoke", patient["id"].as_str().unwrap());
    let (status, renewed) = server.api("POST", &path, Value::Null).await;
    assert_eq!(status, StatusCode::OK);

    let mut answers = Vec::new();
    for bad in [json!(token), json!(String::from_utf8(forged).unwrap()), foreign, json!(""), json!("x".repeat(5_000))] {
        answers.push(server.join(&bad, "").await);
    }
    assert_eq!(answers[0].0, StatusCode::UNAUTHORIZED);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(server.join(&renewed["token"], "").await.0, StatusCode::OK);
}

#[tokio::test]
async fn every_bad_request_is_a_problem_document() {
    let server = Server::start().await;
    let (id, ..) = server.book().await;
    let own = format!("/v1/consultations/{id}");
    let seats = |n: usize| json!({"act": "teleconsultation", "seats": vec![json!({"role": "guest"}); n]});
    let cases = [
        ("POST", "/v1/consultations", "{", 400),
        ("POST", "/v1/consultations", r#"{"act":"surgery","seats":[{"role":"patient"}]}"#, 400),
        ("POST", "/v1/consultations", r#"{"act":"regulation","seats":[{"role":"admin"}]}"#, 400),
        ("POST", "/v1/consultations", r#"{"act":"regulation","seats":[],"typo":1}"#, 400),
        ("POST", "/v1/consultations", &seats(0).to_string(), 422),
        ("POST", "/v1/consultations", &seats(51).to_string(), 422),
        ("POST", "/v1/consultations", r#"{"act":"regulation","starts_at":"soon","seats":[{"role":"caller"}]}"#, 422),
        (
            "POST",
            "/v1/consultations",
            r#"{"act":"regulation","gates":{"consent":true},"seats":[{"role":"caller"}]}"#,
            400,
        ),
        (
            "POST",
            "/v1/consultations",
            r#"{"act":"regulation","gates":{"card":["patient"]},"seats":[{"role":"caller"}]}"#,
            422,
        ),
        ("GET", "/v1/consultations/unknown", "", 404),
        ("DELETE", "/v1/consultations/unknown", "", 404),
        ("PUT", &own, "", 405),
        ("POST", "/v1/join", "[]", 400),
        ("POST", "/whip", "{}", 401),
        ("GET", "/no/such/page", "", 404),
        ("GET", "/metrics", "", 404),
        ("POST", "/admin/drain", "", 404),
        ("POST", "/admin/telephone/self-test", r#"{"trunk":"a"}"#, 404),
    ];
    for (method, path, body, expected) in cases {
        let mut request = Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, "application/json");
        if path.starts_with("/v1/consultations") {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", server.api_key));
        }
        let response = server.send(request.body(Body::from(body.to_owned())).unwrap()).await;
        assert_eq!(response.status(), expected, "{method} {path} {body}");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json", "{method} {path}");
        assert_eq!(response.headers()["x-content-type-options"], "nosniff");
        let (_, problem) = json_of(response).await;
        assert!(problem["type"].as_str().unwrap().starts_with("urn:colloque:problem:"), "{problem}");
    }
    let huge = "x".repeat(BODY_BYTES_MAX + 1);
    let (status, _) = server.api("POST", "/v1/join", json!(huge)).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn another_clinics_consultation_does_not_exist() {
    let server = Server::start().await;
    let (id, _, patient) = server.book().await;
    let (_, other) = server.consultations.add_clinic(Pii("Other".into())).await.unwrap();
    let seat = patient["id"].as_str().unwrap();
    for (key, expected) in [(other.0.as_str(), 404), ("ck_wrong", 401), ("", 401)] {
        for (method, path) in [
            ("GET", format!("/v1/consultations/{id}")),
            ("DELETE", format!("/v1/consultations/{id}")),
            ("POST", format!("/v1/consultations/{id}/seats/{seat}/admit")),
            ("POST", format!("/v1/consultations/{id}/seats/{seat}/remove")),
        ] {
            let request =
                Request::builder().method(method).uri(&path).header(header::AUTHORIZATION, format!("Bearer {key}"));
            let response = server.send(request.body(Body::empty()).unwrap()).await;
            assert_eq!(response.status(), expected, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn a_patient_may_do_nothing_a_host_may() {
    let server = Server::start().await;
    let (id, practitioner, patient) = server.book().await;
    let path = format!("/v1/consultations/{id}/seats/{}/admit", patient["id"].as_str().unwrap());
    server.api("POST", &path, Value::Null).await;
    let mut page = server.page(&patient).await;
    let host = practitioner["id"].as_str().unwrap().to_owned();
    for message in [
        ClientMessage::End,
        ClientMessage::Remove { seat: host.clone() },
        ClientMessage::Admit { seat: host.clone(), arrival: None },
        ClientMessage::Mute { seat: host, source: colloque_signaling::message::MediaSource::Camera, muted: true },
    ] {
        page.say(&message).await;
        assert_eq!(page.hear_error().await.1, ErrorCode::NotPermitted);
    }
    page.say_text("not json").await;
    assert_eq!(page.hear_error().await.1, ErrorCode::BadMessage);
}

#[tokio::test]
async fn a_removed_seat_is_told_closed_and_cannot_come_back() {
    let server = Server::start().await;
    let (_, practitioner, patient) = server.book().await;
    let mut doctor = server.page(&practitioner).await;
    let mut page = server.page(&patient).await;
    page.hear().await;
    doctor.say(&ClientMessage::Remove { seat: patient["id"].as_str().unwrap().to_owned() }).await;
    assert!(page.closes_after(&ServerMessage::Removed).await);
    let (status, problem) = server.join(&patient["token"], "").await;
    assert_eq!((status, &problem["type"]), (StatusCode::FORBIDDEN, &json!("urn:colloque:problem:seat-removed")));
    let mut again = Page::open(server.address).await;
    again.say(&ClientMessage::Join { version: VERSION, session: page.session.clone(), resume: None }).await;
    assert_eq!(again.hear_error().await.1, ErrorCode::BadSession);
    assert!(again.hear().await.is_none());
}

#[tokio::test]
async fn a_drain_refuses_new_rooms_and_keeps_running_ones() {
    let server = Server::start().await;
    let (_, practitioner, patient) = server.book().await;
    let (_, late, _) = server.book().await;
    let mut doctor = server.page(&practitioner).await;
    doctor.hear().await;
    let operator = |method: &str, path: &str| {
        let token = format!("Bearer {}", "o".repeat(32));
        server.send(
            Request::builder()
                .method(method)
                .uri(path)
                .header(header::AUTHORIZATION, token)
                .body(Body::empty())
                .unwrap(),
        )
    };
    assert_eq!(operator("POST", "/admin/drain").await.status(), StatusCode::NO_CONTENT);
    assert_eq!(operator("GET", "/ready").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    let mut refused = server.page(&late).await;
    assert_eq!(refused.hear_error().await.1, ErrorCode::Unavailable);
    let mut patient = server.page(&patient).await;
    assert!(matches!(patient.hear().await, Some(ServerMessage::Welcome { .. })));
    assert_eq!(operator("POST", "/admin/undrain").await.status(), StatusCode::NO_CONTENT);
    assert_eq!(operator("GET", "/ready").await.status(), StatusCode::OK);

    let metrics = operator("GET", "/metrics").await;
    let text = axum::body::to_bytes(metrics.into_body(), 1 << 20).await.unwrap();
    let text = String::from_utf8(text.into()).unwrap();
    assert!(
        text.contains("colloque_rooms_live 1") && text.contains("colloque_participants{state=\"waiting\"} 1"),
        "{text}"
    );
    assert!(text.contains("colloque_drops_total{worker=\"1\",reason=\"srtp_auth\"} 3"), "{text}");
    let names = text.lines().filter(|line| !line.starts_with('#'));
    assert!(names.into_iter().all(|line| line.starts_with("colloque_")));
}

#[tokio::test]
async fn an_overloaded_worker_is_told_as_a_full_server() {
    let server = Server::start().await;
    let (_, practitioner, _) = server.book().await;
    server.media.busy.store(true, std::sync::atomic::Ordering::Relaxed);
    let mut page = server.page(&practitioner).await;
    assert_eq!(page.hear_error().await.1, ErrorCode::Unavailable);
    assert_eq!(server.consultations.census().rooms, 0);
}

#[tokio::test]
async fn only_configured_portals_get_cross_origin_access() {
    let server = Server::start().await;
    for (origin, path, allowed) in [
        ("https://portal.example", "/v1/join", true),
        ("https://portal.example", "/v1/consultations", false),
        ("https://evil.example", "/v1/join", false),
    ] {
        let request = Request::builder()
            .method("OPTIONS")
            .uri(path)
            .header(header::ORIGIN, origin)
            .header(header::ACCESS_CONTROL_REQUEST_METHOD, "POST");
        let response = server.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(response.headers().contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN), allowed, "{origin} {path}");
        let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.contains("frame-ancestors https://portal.example") && !policy.contains("unsafe"));
    }
}

#[tokio::test]
async fn the_api_describes_itself() {
    let server = Server::start().await;
    let request = |path: &str| Request::builder().uri(path).body(Body::empty()).unwrap();
    let (_, api) = json_of(server.send(request("/openapi.json")).await).await;
    for path in ["/v1/consultations", "/v1/join", "/whip", "/whep", "/ws", "/capabilities"] {
        assert!(api["paths"][path].is_object(), "{path}");
    }
    let (_, capabilities) = json_of(server.send(request("/capabilities")).await).await;
    assert_eq!(capabilities["recording"], "absent");
}

/// Collects everything that is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn nothing_personal_is_logged() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone()).finish();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let token = tracing::subscriber::with_default(subscriber, || {
        runtime.block_on(async {
            let server = Server::start().await;
            let (_, practitioner, patient) = server.book().await;
            let mut doctor = server.page(&practitioner).await;
            doctor.hear().await;
            let mut page = server.page(&patient).await;
            page.hear().await;
            server.consultations.handle_event(
                crate::worker::WorkerId(0),
                crate::sfu::command::Event::RoomFailed(crate::ids::RoomId(9_999)),
            );
            server.api("POST", "/v1/join", json!({"token": "Patricia Planted"})).await;
            patient["token"].as_str().unwrap().to_owned()
        })
    });
    let text = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    assert!(text.contains("room failed") || text.contains("failed on its worker"), "the capture works: {text}");
    for planted in ["Patricia", "Planted", "+33 6 00 00 00 01", &token, "Clinique"] {
        assert!(!text.contains(planted), "{planted} was logged");
    }
}
