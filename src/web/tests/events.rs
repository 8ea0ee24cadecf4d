//! Events out: the feed and webhooks over HTTP, with receivers that refuse, redirect and vanish.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::routing::post;

use crate::config::outbound::HostRule;
use crate::control::facts::Fact;
use crate::control::journal;
use crate::store::{Change, Store, Transaction};

use super::*;

/// A clinic's receiver on loopback.
struct Receiver {
    port: u16,
    /// Bodies of acknowledged deliveries.
    taken: Arc<Mutex<Vec<Value>>>,
}

impl Receiver {
    /// `answer` says by which status a delivery of this event is answered.
    async fn start(answer: impl Fn(&Value) -> StatusCode + Clone + Send + Sync + 'static) -> Receiver {
        let taken = Arc::<Mutex<Vec<Value>>>::default();
        let kept = taken.clone();
        let handler = async move |body: String| {
            let event: Value = serde_json::from_str(&body).unwrap();
            let status = answer(&event);
            if status.is_success() {
                kept.lock().unwrap().push(event);
            }
            status
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let router = Router::new().route("/hook", post(handler));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Receiver { port, taken }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.port)
    }

    fn kinds(&self) -> Vec<String> {
        self.taken.lock().unwrap().iter().map(|event| event["kind"].as_str().unwrap().to_owned()).collect()
    }

    async fn until(&self, done: impl Fn(&[String]) -> bool) {
        for _ in 0..400 {
            if done(&self.kinds()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("not delivered: {:?}", self.kinds());
    }
}

/// A server whose clinics may have events sent to these ports of loopback.
async fn server_for(ports: &[u16]) -> (Server, Server) {
    let base = Server::start().await;
    let webhook_hosts = ports.iter().map(|port| HostRule::parse(&format!("127.0.0.1:{port}")).unwrap()).collect();
    let outbound = Outbound { webhook_hosts, allow_http_webhooks: true, ..Outbound::default() };
    let settings = ControlSettings { outbound, ..settings(&base.dir) };
    let server = Server::start_on(base.dir.clone(), base.store.clone(), base.api_key.clone(), settings).await;
    (base, server)
}

async fn page(server: &Server, query: &str) -> (StatusCode, Value) {
    server.api("GET", &format!("/v1/events{query}"), Value::Null).await
}

#[tokio::test]
async fn the_feed_gives_every_event_once_and_in_order_whatever_the_page_size() {
    let server = Server::start().await;
    let (id, ..) = server.book().await;
    server.api("DELETE", &format!("/v1/consultations/{id}"), Value::Null).await;
    let (status, whole) = page(&server, "?limit=500").await;
    assert_eq!(status, StatusCode::OK, "{whole}");
    let kinds: Vec<&str> = whole["events"].as_array().unwrap().iter().map(|e| e["kind"].as_str().unwrap()).collect();
    assert!(kinds.contains(&"consultation.created") && kinds.last() == Some(&"consultation.ended"), "{kinds:?}");
    let (mut pieces, mut query) = (Vec::new(), "?limit=1".to_owned());
    loop {
        let (_, part) = page(&server, &query).await;
        pieces.extend(part["events"].as_array().unwrap().clone());
        query = format!("?limit=1&after={}", part["cursor"].as_str().unwrap());
        if part["more"] == false {
            break;
        }
    }
    assert_eq!(whole["events"], Value::from(pieces));
    let (_, rest) = page(&server, &format!("?after={}", whole["cursor"].as_str().unwrap())).await;
    assert_eq!((&rest["events"], &rest["more"], &rest["cursor"]), (&json!([]), &json!(false), &whole["cursor"]));
}

#[tokio::test]
async fn a_waiting_feed_answers_when_something_happens() {
    let server = Server::start().await;
    let (_, before) = page(&server, "").await;
    let query = format!("?wait=20&after={}", before["cursor"].as_str().unwrap());
    let (waited, (id, ..)) = tokio::join!(page(&server, &query), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        server.book().await
    });
    let (status, body) = waited;
    assert_eq!((status, &body["events"][0]["consultation"]), (StatusCode::OK, &Value::from(id)), "{body}");
}

#[tokio::test]
async fn a_feed_that_cannot_be_given_says_why() {
    let server = Server::start().await;
    server.book().await;
    for bad in ["?limit=0", "?limit=501", "?limit=x", "?after=abc", "?after=-1", "?before=1", "?wait=-1"] {
        assert_eq!(page(&server, bad).await.0, StatusCode::BAD_REQUEST, "{bad}");
    }
    let (status, body) = page(&server, "?after=9000000000000000").await;
    assert_eq!(status, StatusCode::GONE, "a cursor of another journal: {body}");
    assert_eq!(body["type"], "urn:colloque:problem:cursor-gone");
}

#[tokio::test]
async fn a_cursor_older_than_what_is_kept_is_told_where_the_feed_begins() {
    let server = Server::start().await;
    server.book().await;
    let (_, old) = page(&server, "?limit=1").await;
    let (before, told) = (crate::control::clock::unix_now() + 10, Fact::Pruned { entries: 0 });
    assert!(server.store.prune(before, journal::entry(None, None, None, &told)).await.unwrap().entries >= 3);
    let (id, ..) = server.book().await;
    let (status, gone) = page(&server, &format!("?after={}", old["cursor"].as_str().unwrap())).await;
    assert_eq!((status, &gone["type"]), (StatusCode::GONE, &json!("urn:colloque:problem:cursor-gone")));
    let first = gone["detail"].as_str().unwrap().split_once("after=").unwrap().1;
    for query in [format!("?after={first}"), "?after=0".to_owned(), String::new()] {
        let (status, body) = page(&server, &query).await;
        assert_eq!((status, &body["events"][0]["consultation"]), (StatusCode::OK, &json!(id)), "{query}: {body}");
    }
}

#[tokio::test]
async fn a_clinic_reads_nothing_of_another() {
    let server = Server::start().await;
    server.book().await;
    let (_, key) = server.consultations.add_clinic(Pii("Other".into())).await.unwrap();
    let other = Server::start_on(server.dir.clone(), server.store.clone(), key.0, settings(&server.dir)).await;
    let (_, body) = page(&other, "").await;
    let events = body["events"].as_array().unwrap();
    assert!(events.iter().all(|event| event["consultation"].is_null()), "{body}");
    assert!(!events.is_empty(), "its own key was made");
}

#[tokio::test]
async fn webhooks_are_off_until_the_operator_lists_hosts() {
    let server = Server::start().await;
    let (status, body) = server.api("POST", "/v1/webhooks", json!({"url": "https://hooks.example/x"})).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(body["detail"].as_str().unwrap().contains("webhook_hosts"), "{body}");
}

#[tokio::test]
async fn a_webhook_gets_what_the_feed_gives() {
    let receiver = Receiver::start(|_| StatusCode::NO_CONTENT).await;
    let (_base, server) = server_for(&[receiver.port]).await;
    server.consultations.start_sending();
    let (status, hook) = server.api("POST", "/v1/webhooks", json!({"url": receiver.url()})).await;
    assert_eq!(status, StatusCode::CREATED, "{hook}");
    assert!(hook["secret"].as_str().unwrap().starts_with("whsec_"));
    let (id, ..) = server.book().await;
    server.api("DELETE", &format!("/v1/consultations/{id}"), Value::Null).await;
    receiver.until(|kinds| kinds.last().is_some_and(|last| last == "consultation.ended")).await;
    let (_, feed) = page(&server, &format!("?after={}", hook["cursor"].as_str().unwrap())).await;
    assert_eq!(feed["events"], Value::from(receiver.taken.lock().unwrap().clone()));
    let path = format!("/v1/webhooks/{}", hook["id"].as_str().unwrap());
    let (_, shown) = server.api("GET", &path, Value::Null).await;
    assert!(shown.get("secret").is_none() && shown["disabled"] == false, "{shown}");
    assert_eq!(server.api("DELETE", &path, Value::Null).await.0, StatusCode::NO_CONTENT);
    assert_eq!(server.api("GET", &path, Value::Null).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_event_that_is_never_taken_is_passed_over_when_the_next_one_is() {
    let receiver = Receiver::start(|event| {
        let poison = event["kind"] == "consultation.created";
        if poison { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK }
    })
    .await;
    let (_base, server) = server_for(&[receiver.port]).await;
    let (_, hook) = server.api("POST", "/v1/webhooks", json!({"url": receiver.url()})).await;
    server.book().await;
    // As after twenty minutes of refusals of the booking, which follows the webhook's own beginning.
    let id = hook["id"].as_str().unwrap().to_owned();
    let cursor = hook["cursor"].as_str().unwrap().parse::<i64>().unwrap() + 1;
    let tried = Change::MoveWebhook { id, cursor, failures: 6, retry_at: 0, disabled: false };
    server.store.commit(Transaction { changes: vec![tried], entries: Vec::new() }).await.unwrap();
    server.consultations.start_sending();
    receiver.until(|kinds| kinds.iter().any(|kind| kind == "webhook.skipped")).await;
    let kinds = receiver.kinds();
    let rest: Vec<&str> = kinds.iter().map(String::as_str).filter(|kind| !kind.starts_with("webhook.")).collect();
    assert_eq!(rest, ["seat.invited", "seat.invited"]);
}

#[tokio::test]
async fn an_event_that_is_refused_at_first_holds_back_what_is_behind_it() {
    let refused = Arc::new(AtomicUsize::new(0));
    let count = refused.clone();
    let receiver = Receiver::start(move |_| {
        let first = count.fetch_add(1, Ordering::Relaxed) == 0;
        if first { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }
    })
    .await;
    let (_base, server) = server_for(&[receiver.port]).await;
    server.consultations.start_sending();
    let (_, hook) = server.api("POST", "/v1/webhooks", json!({"url": receiver.url()})).await;
    server.book().await;
    receiver.until(|kinds| kinds.len() >= 3).await;
    let (_, feed) = page(&server, &format!("?after={}", hook["cursor"].as_str().unwrap())).await;
    assert_eq!(feed["events"], Value::from(receiver.taken.lock().unwrap().clone()), "in order, from the first on");
    assert!(refused.load(Ordering::Relaxed) > receiver.kinds().len());
}

#[tokio::test]
async fn a_receiver_that_is_gone_gets_nothing_until_it_is_replayed() {
    let gone = Arc::new(AtomicUsize::new(1));
    let state = gone.clone();
    let receiver =
        Receiver::start(move |_| if state.load(Ordering::Relaxed) == 1 { StatusCode::GONE } else { StatusCode::OK })
            .await;
    let (_base, server) = server_for(&[receiver.port]).await;
    server.consultations.start_sending();
    let (_, hook) = server.api("POST", "/v1/webhooks", json!({"url": receiver.url()})).await;
    let path = format!("/v1/webhooks/{}", hook["id"].as_str().unwrap());
    server.book().await;
    for _ in 0..200 {
        if server.api("GET", &path, Value::Null).await.1["disabled"] == true {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    gone.store(0, Ordering::Relaxed);
    server.book().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(receiver.kinds().is_empty(), "given up");
    let (_, feed) = page(&server, "").await;
    assert!(feed["events"].as_array().unwrap().iter().any(|event| event["kind"] == "webhook.disabled"), "{feed}");
    let (status, shown) = server.api("POST", &format!("{path}/replay"), json!({})).await;
    assert_eq!((status, &shown["disabled"]), (StatusCode::OK, &json!(false)));
    receiver.until(|kinds| kinds.iter().filter(|kind| *kind == "consultation.created").count() == 2).await;
}

#[tokio::test]
async fn another_clinics_webhook_looks_like_none() {
    let receiver = Receiver::start(|_| StatusCode::OK).await;
    let (_base, server) = server_for(&[receiver.port]).await;
    let (_, hook) = server.api("POST", "/v1/webhooks", json!({"url": receiver.url()})).await;
    let path = format!("/v1/webhooks/{}", hook["id"].as_str().unwrap());
    let (_, key) = server.consultations.add_clinic(Pii("Other".into())).await.unwrap();
    for (method, path, body) in [
        ("GET", path.clone(), ""),
        ("DELETE", path.clone(), ""),
        ("POST", format!("{path}/test"), ""),
        ("POST", format!("{path}/rotate"), ""),
        ("POST", format!("{path}/replay"), "{}"),
    ] {
        let request = Request::builder()
            .method(method)
            .uri(&path)
            .header(header::AUTHORIZATION, format!("Bearer {}", key.0))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body))
            .unwrap();
        assert_eq!(json_of(server.send(request).await).await.0, StatusCode::NOT_FOUND, "{method} {path}");
    }
    assert_eq!(server.api("GET", &path, Value::Null).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_clinic_has_a_limited_number_of_webhooks() {
    let receiver = Receiver::start(|_| StatusCode::OK).await;
    let (_base, server) = server_for(&[receiver.port]).await;
    for _ in 0..crate::control::webhooks::WEBHOOKS_MAX {
        assert_eq!(server.api("POST", "/v1/webhooks", json!({"url": receiver.url()})).await.0, StatusCode::CREATED);
    }
    assert_eq!(server.api("POST", "/v1/webhooks", json!({"url": receiver.url()})).await.0, StatusCode::CONFLICT);
}

#[tokio::test]
async fn what_cannot_be_sent_is_not_booked() {
    let server = Server::start().await;
    for (notify, detail) in [(json!(["email"]), "sends no e-mail"), (json!(["sms"]), "sends no SMS")] {
        let seat = json!({"role": "patient", "email": "a@b.example", "phone": "+33600000000", "notify": notify});
        let booking = json!({"act": "teleconsultation", "seats": [seat]});
        let (status, body) = server.api("POST", "/v1/consultations", booking).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        assert!(body["detail"].as_str().unwrap().contains(detail), "{body}");
    }
}
