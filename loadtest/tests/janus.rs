//! The light engine against a real Janus: both of a pair hear and see the other, and a viewer sees who publishes.
//!
//! Not part of the ordinary run, because it needs Janus in a network namespace (`scripts/compare.sh` makes one):
//! `JANUS_URL=ws://ADDRESS:8188 cargo test -p colloque-loadtest --test janus -- --ignored`

use std::time::{Duration, Instant};

use colloque_loadtest::engine::{Engine, Kind};
use colloque_loadtest::leg::{Camera, LegPlan, camera_stream, voice_stream};
use colloque_loadtest::tally::{Phase, Shared};
use colloque_loadtest::target::janus::Janus;
use colloque_loadtest::target::{Seat, Target};
use tokio::time::sleep;

#[tokio::test]
#[ignore = "needs a Janus: see the file's header"]
async fn a_pair_hears_and_sees_each_other_and_a_viewer_sees_one_of_them() {
    let url = std::env::var("JANUS_URL").expect("JANUS_URL");
    let janus = Janus::connect(&url, false).await.unwrap();
    let shared = Shared::default();
    let engine = Engine::start(Kind::Light, 1, shared.clone()).unwrap();
    let room = janus.open_room(3).await.unwrap();
    let camera = Some(Camera { kbit_per_second: 1_000, frames_per_second: 30, layers: 1 });
    let mut seats = Vec::new();
    for number in 0..3 {
        let sends = number < 2;
        let plan = LegPlan { number, voice: sends, camera: camera.filter(|_| sends), slots: 1 };
        seats.push(janus.join(&engine, &room, number as usize, plan, Instant::now()).await.unwrap());
    }
    for seat in &mut seats {
        let both = |milestones: &colloque_loadtest::tally::Milestones| {
            milestones.voice.is_some() && milestones.picture.is_some()
        };
        seat.wait(both, Instant::now() + Duration::from_secs(10)).await.unwrap();
        eprintln!("{:?}", seat.milestones());
    }
    shared.set_phase(Phase::Count);
    sleep(Duration::from_secs(3)).await;
    shared.set_phase(Phase::Listen);
    sleep(Duration::from_secs(1)).await;
    let mut tallies = Vec::new();
    for seat in seats {
        assert_eq!(seat.failure(), None);
        tallies.push(seat.leave().await.unwrap());
    }
    janus.close_room(room).await.unwrap();
    for (receiver, sender) in [(0, 1), (1, 0)] {
        for stream in [voice_stream(sender), camera_stream(sender, 0)] {
            let (sent, tally) = (tallies[sender as usize].sent[&stream], &tallies[receiver]);
            assert!(sent > 100);
            assert_eq!(tally.received.get(&stream).map(|seen| seen.count()), Some(u64::from(sent)), "stream {stream}");
        }
    }
    assert_eq!(tallies[2].received.len(), 2, "one publisher's voice and picture");
    let profiles: Vec<_> = tallies.iter().map(|tally| tally.profile).collect();
    eprintln!("SRTP: {profiles:?}");
    assert!(profiles.iter().all(|profile| profile.is_some_and(|name| name.starts_with("AEAD"))), "{profiles:?}");
}
