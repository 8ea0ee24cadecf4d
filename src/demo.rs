//! `colloque demo`: the server with a demo clinic and one teleconsultation, and its links for people or for programs.

use colloque::config::{self, Settings};
use colloque::control::booking::{NewConsultation, NewSeat};
use colloque::control::random;
use colloque::pii::Pii;
use colloque::web::tls;
use colloque_signaling::message::{Card, Language, Role};
use serde_json::json;

use crate::serve;

/// Runs until a signal ends it. Without `--data-dir` nothing outlives the demonstration.
pub async fn run(mut settings: Settings, json: bool, use_tls: bool) -> anyhow::Result<()> {
    let operator_token = settings.operator_token.get_or_insert_with(|| Pii(random::text::<24>())).clone();
    if settings.media_addr.is_empty() {
        settings.media_addr = config::demo_media_addrs();
    }
    // A demonstration is stopped by hand: it does not wait for an hour.
    settings.drain_seconds.get_or_insert(DRAIN_SECONDS);
    let own_dir = settings.data_dir.is_none();
    let data_dir = settings
        .data_dir
        .get_or_insert_with(|| std::env::temp_dir().join(format!("colloque-demo-{}", random::text::<6>())))
        .clone();
    let config = settings.resolve()?;
    let acceptor = match (&config.tls, use_tls) {
        (Some(files), _) => Some(tls::from_files(&files.cert, &files.key)?),
        (None, true) => Some(tls::self_signed(certificate_names(&config))?),
        (None, false) => None,
    };
    let running = serve::start(config, acceptor).await?;
    print(&running, &operator_token, json).await?;
    let ended = running.wait().await;
    if own_dir {
        std::fs::remove_dir_all(&data_dir).ok();
    }
    ended
}

async fn print(running: &serve::Running, operator_token: &Pii<String>, json: bool) -> anyhow::Result<()> {
    let consultations = &running.consultations;
    let (clinic, api_key) = consultations.add_clinic(Pii("Demo".to_owned())).await?;
    let practitioner = NewSeat { card: Some(Pii(card())), ..seat(Role::Practitioner, "Dr Claire Martin") };
    let seats = vec![practitioner, seat(Role::Patient, "Camille Durand")];
    let new = NewConsultation::of("teleconsultation", Language::Fr, seats);
    let (id, seats) = consultations.create(&clinic, new).await?;
    let link = |role| seats.iter().find(|seat| seat.role == role).map_or("", |seat| seat.link.0.as_str());
    let (practitioner, patient) = (link(Role::Practitioner), link(Role::Patient));
    let operator = format!("{}/#{}", running.admin_url, operator_token.0);
    if json {
        let facts = json!({
            "base_url": running.base_url,
            "api_key": api_key.0,
            "practitioner_url": practitioner,
            "patient_url": patient,
            "operator_url": operator,
            "admin_url": running.admin_url,
            "consultation_id": id,
            "pid": std::process::id(),
            "media_ports": running.media_ports,
            "dial_in": null,
        });
        println!("{facts}");
    } else {
        println!();
        println!("  Colloque — démonstration / demonstration");
        println!();
        println!("  Médecin / practitioner   {practitioner}");
        println!("  Patient / patient        {patient}");
        println!();
        println!("  Ouvrez chaque lien dans sa propre fenêtre. / Open each link in a window of its own.");
        println!("  Exploitation / operations  {}", running.admin_url);
        println!("  Clé d'API / API key        {}", api_key.0);
        println!("  Arrêt / stop               Ctrl-C");
        println!();
    }
    Ok(())
}

fn seat(role: Role, name: &str) -> NewSeat {
    NewSeat { display_name: Some(Pii(name.to_owned())), ..NewSeat::of(role) }
}

/// What the demo's patient reads before the call. The number is none that the register gives out.
fn card() -> Card {
    let text = |text: &str| Some(text.to_owned());
    Card {
        seat: String::new(),
        title: text("Dr"),
        name: text("Claire Martin"),
        specialty: text("Médecine générale"),
        rpps: text("00000000000"),
        address: text("1 rue de la Démonstration, 75000 Paris"),
        fee: text("30 €"),
    }
}

fn certificate_names(config: &config::Config) -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), config.http_addr.ip().to_string()];
    names.extend(config.media_addrs.iter().map(|addr| addr.bind.to_string()));
    names.sort();
    names.dedup();
    names
}

/// How long SIGTERM waits for a running demo call.
const DRAIN_SECONDS: u32 = 30;
