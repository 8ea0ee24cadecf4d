//! The load generator's scenarios against the whole server: each finds what it is there to find.
//!
//! Figures of time are not judged here: a test's machine is busy.

use std::time::Duration;

use colloque_loadtest::engine::Kind;
use colloque_loadtest::report::Report;
use colloque_loadtest::scenario::{self, Limits, Plan};
use colloque_loadtest::target::colloque::Colloque;

use crate::caller::Server;

/// A second of one small room, with limits of time and loss that a busy machine keeps.
fn plan() -> Plan {
    let limits = Limits {
        p99_ms_max: Some(2_000.0),
        p99_change_ms_max: Some(2_000.0),
        join_p95_ms_max: Some(9_000.0),
        loss_max: Some(5.0),
        // What junk there is must be refused; how fast it was made is the machine's.
        junk_min: Some(0.0),
        ..Limits::default()
    };
    Plan {
        pid: None,
        seconds: 1,
        warm_up: Duration::ZERO,
        rooms: Some(1),
        subscribers: None,
        participants: None,
        kbit_per_second: Some(300),
        rate: None,
        junk: None,
        metrics_url: None,
        engine: Kind::Light,
        threads: 1,
        limits,
    }
}

async fn run(name: &str, plan: &Plan, server: &Server) -> Report {
    let target = Colloque::new(server.clinic.clone()).unwrap();
    scenario::run(name, plan, target).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_legs_of_the_webrtc_crate_hear_and_see_each_other() {
    let server = Server::start();
    let plan = Plan { engine: Kind::Webrtc, seconds: 2, ..plan() };
    let report = run("consultation", &plan, &server).await;
    assert!(report.missed.is_empty(), "{:?}", report.missed);
    assert_eq!((report.engine, report.joins.count, report.joins.failed), ("webrtc", 2, 0));
    let steps: Vec<&str> = report.joins.steps.iter().map(|step| step.reached).collect();
    assert_eq!(steps, ["welcomed", "answered", "ICE path", "DTLS done", "first voice", "first picture"]);
    // Two voices of 50 packets a second, and pictures.
    assert!(report.packets_received > 250, "{}", report.packets_received);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pairs_of_the_webrtc_crate_come_and_go() {
    let server = Server::start();
    let plan = Plan { engine: Kind::Webrtc, rooms: Some(0), rate: Some(4.0), ..plan() };
    let report = run("joins", &plan, &server).await;
    assert!(report.missed.is_empty(), "{:?}", report.missed);
    assert_eq!((report.joins.count, report.joins.failed), (4, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_lost_the_network_resumes_the_visit_and_has_media_again() {
    let server = Server::start();
    let report = run("reconnect_storm", &Plan { participants: Some(4), ..plan() }, &server).await;
    assert!(report.missed.is_empty(), "{:?}", report.missed);
    assert_eq!((&report.extra["came_back"], &report.extra["came_back_failed"]), (&4.into(), &0.into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn junk_beside_a_call_is_dropped_for_its_reasons() {
    let server = Server::start();
    let metrics_url = Some(format!("{}/metrics", server.admin_url));
    let plan = Plan { junk: Some(500), metrics_url, ..plan() };
    let report = run("hostile", &plan, &server).await;
    assert!(report.missed.is_empty(), "{:?}", report.missed);
    let drops = report.extra["server_drops"].as_object().unwrap();
    let counted = |reason: &str| drops.keys().any(|name| name.contains(reason));
    for reason in ["unknown_address", "stun_unknown_ufrag", "stun_integrity", "stun_replay", "srtp_replay"] {
        assert!(counted(reason), "{reason}: {drops:?}");
    }
    for (sender, class) in [("replayed_by_strangers", "stun"), ("replayed_from_own_sockets", "rtp")] {
        assert!(report.extra[sender][class].as_u64() > Some(0), "{sender}: {:?}", report.extra[sender]);
    }
    // What cannot be ours ends in the kernel, where that takes filters.
    assert!(counted("filtered") || (counted("unclassified") && counted("stun_malformed")), "{drops:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_viewer_of_a_webinar_gets_the_whole_picture() {
    let server = Server::start();
    let report = run("webinar", &Plan { subscribers: Some(5), ..plan() }, &server).await;
    assert!(report.missed.is_empty(), "{:?}", report.missed);
    assert_eq!(report.packets_forwarded_expected, 5 * report.packets_sent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ward_round_a_simulcast_room_and_a_soak_lose_nobody() {
    let server = Server::start();
    for (name, rooms, seconds) in [("ward_round", 1, 1), ("simulcast", 2, 1), ("soak", 3, 4)] {
        let report = run(name, &Plan { rooms: Some(rooms), seconds, ..plan() }, &server).await;
        assert!(report.missed.is_empty(), "{name}: {:?}", report.missed);
        assert_eq!(report.joins.failed, 0, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_room_costs_memory_that_is_measured_and_judged() {
    let server = Server::start();
    let limits = Limits { room_kb_max: Some(0.001), ..plan().limits };
    let plan = Plan { pid: Some(server.pid()), limits, ..plan() };
    let report = run("idle", &plan, &server).await;
    assert_eq!(report.packets_sent, 0);
    assert!(report.server_rss_bytes > report.server_rss_before_bytes, "two people came");
    assert!(report.server_media_cpu_seconds.is_some() && report.server_control_cpu_seconds.is_some());
    assert!(report.missed.iter().any(|missed| missed.starts_with("memory for each idle room")), "{:?}", report.missed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_that_is_not_met_is_named() {
    let server = Server::start();
    let limits = Limits { p99_ms_max: Some(0.0), ..plan().limits };
    let report = run("audio", &Plan { limits, ..plan() }, &server).await;
    assert!(report.missed.iter().any(|missed| missed.starts_with("one-way p99")), "{:?}", report.missed);
}
