//! `colloque demo`: the server with a demo clinic and one teleconsultation, and its links for people or for programs.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};

use colloque::config::telephone::{TelephoneSettings, TrunkSettings};
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
    if settings.telephone.enabled.is_none() && settings.telephone.trunk.is_empty() {
        settings.telephone = demo_telephone(json);
    }
    // There is a softphone, and no number.
    settings.telephone.shows_address = true;
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
    let phone = Some(Pii(PATIENT_NUMBER.to_owned()));
    let patient = NewSeat { phone, phone_consent: true, ..seat(Role::Patient, "Camille Durand") };
    let seats = vec![practitioner, patient];
    let new = NewConsultation::of("teleconsultation", Language::Fr, seats);
    let (id, seats) = consultations.create(&clinic, new).await?;
    let link = |role| seats.iter().find(|seat| seat.role == role).map_or("", |seat| seat.link.0.as_str());
    let (practitioner, patient) = (link(Role::Practitioner), link(Role::Patient));
    let of_patient = seats.iter().find(|seat| seat.role == Role::Patient);
    let dial_in = of_patient.and_then(|seat| Some((seat.dial_in.clone()?, seat.pin.0.clone())));
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
            "dial_in": dial_in.map(|(sip_uri, pin)| json!({"sip_uri": sip_uri, "pin": pin})),
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
        if let Some((address, pin)) = dial_in {
            print_telephone(&address, &pin);
        }
    }
    Ok(())
}

/// How a softphone on this machine comes in, and is called.
fn print_telephone(address: &str, pin: &str) {
    let host = address.rsplit_once('@').map_or(address, |(_, host)| host);
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    println!("  Téléphone : un logiciel sur cette machine / telephone: a softphone on this machine");
    println!("    appeler / dial in        {address}   code / PIN  {pin} #");
    println!("    baresip                  baresip -e '/uanew <sip:demo@{host}>;regint=0' -e '/dial {address}'");
    println!("    « Appelez-moi » sonne chez qui a appelé en dernier. / \"Call me\" rings whoever dialled in last.");
    println!();
}

/// A line without an operator: a softphone on this machine calls the printed address, and is called where it called from; before it
/// has called, on this machine's port 5060. Nobody else's machine is heard.
fn demo_telephone(json: bool) -> TelephoneSettings {
    let own: Vec<IpAddr> = config::demo_media_addrs().iter().map(|addr| addr.bind).filter(IpAddr::is_ipv4).collect();
    let shown = own.iter().find(|ip| !ip.is_loopback()).copied().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let allow: Vec<String> = own.iter().map(|ip| format!("\"{ip}\"")).collect();
    // A person finds the same one each time, which can be typed again or stand in a softphone's list. A program reads what it is, and
    // starts several demonstrations at the same moment.
    let is_free = || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, SIP_PORT)).is_ok();
    let port = if !json && is_free() { SIP_PORT } else { 0 };
    // Its keys are those of the sample configuration: a person reads there what they mean.
    let text = format!(
        "enabled = true\npublic_ip = [\"{shown}\"]\nsip_udp = \"0.0.0.0:{port}\"\nmax_legs = 8\nself_test_code = \"0000\"\n[[trunk]]\nname = \"demo\"\n\
         uri = \"sip:{shown}\"\nallow = [{}]\noptions_s = 0\nmedia_allow = [{}]\n",
        allow.join(", "),
        allow.join(", ")
    );
    let mut settings: TelephoneSettings =
        toml::from_str(&text).expect("the demonstration's telephone is written correctly");
    settings.trunk = settings.trunk.into_iter().map(TrunkSettings::for_demonstration).collect();
    settings
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

/// Of a block that is kept for films and demonstrations: nobody's.
const PATIENT_NUMBER: &str = "01 99 00 12 34";
/// Beside the port that softphones take for themselves.
const SIP_PORT: u16 = 5_070;
/// How long SIGTERM waits for a running demo call.
const DRAIN_SECONDS: u32 = 30;
