//! `colloque-loadtest`: the command line of the load generator.
//!
//! Exit status: 0 when every threshold of the scenario was met, 1 when one was not, 2 when the run could not be made.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Parser;
use colloque_loadtest::api::Clinic;
use colloque_loadtest::engine;
use colloque_loadtest::report::Report;
use colloque_loadtest::scenario::{self, Limits, Plan, SCENARIOS};
use colloque_loadtest::target::colloque::Colloque;
use colloque_loadtest::target::janus::{self, Janus};

/// Loads a teleconsultation server with participants and measures it
#[derive(Parser)]
#[command(version, after_help = scenarios())]
struct Arguments {
    /// What the participants do; the list is below
    scenario: String,
    /// What is loaded: colloque, or janus with its VideoRoom plugin
    #[arg(long, default_value = "colloque")]
    target: String,
    /// Address of the server's HTTP API (of Janus: ws://ADDRESS:PORT); only addresses of this machine are taken
    #[arg(long)]
    url: String,
    /// Key of a clinic, for colloque
    #[arg(long, env = "COLLOQUE_LOADTEST_API_KEY", hide_env_values = true)]
    api_key: Option<String>,
    /// Process of the server, to read its processor time and memory
    #[arg(long)]
    pid: Option<u32>,
    /// Length of the measured window
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Seconds between the last join and the measured window
    #[arg(long, default_value_t = 2.0, value_name = "SECONDS")]
    window_warmup: f64,
    /// Rooms; each scenario has its own default
    #[arg(long)]
    rooms: Option<usize>,
    /// Subscribers of a webinar
    #[arg(long)]
    subscribers: Option<usize>,
    /// People of a reconnect storm
    #[arg(long)]
    participants: Option<usize>,
    /// A camera's bitrate, all layers together; each scenario has its own default
    #[arg(long, value_name = "KBIT_PER_SECOND")]
    bitrate: Option<u32>,
    /// Joins a second, for joins and soak
    #[arg(long)]
    rate: Option<f64>,
    /// Junk datagrams a second, for hostile
    #[arg(long)]
    junk: Option<u32>,
    /// The server's /metrics, from which hostile reads what was dropped
    #[arg(long, value_name = "URL")]
    metrics_url: Option<String>,
    /// The participants' media client: light loads, webrtc (the crate's peer connections) is slow but independent
    #[arg(long, value_enum, default_value_t = engine::Kind::Light)]
    engine: engine::Kind,
    /// Media threads of the light engine
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Writes the figures there; standard output takes the table either way
    #[arg(long)]
    json: Option<PathBuf>,
    /// Loads other machines too
    #[arg(long)]
    allow_remote: bool,
    #[command(flatten)]
    limits: Limits,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("colloque-loadtest: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: Arguments) -> Result<bool> {
    let plan = Plan {
        pid: arguments.pid,
        seconds: arguments.seconds,
        warm_up: Duration::try_from_secs_f64(arguments.window_warmup).context("--window-warmup")?,
        rooms: arguments.rooms,
        subscribers: arguments.subscribers,
        participants: arguments.participants,
        kbit_per_second: arguments.bitrate,
        rate: arguments.rate,
        junk: arguments.junk,
        metrics_url: arguments.metrics_url.clone(),
        engine: arguments.engine,
        threads: arguments.threads,
        limits: arguments.limits,
    };
    plan.check(&arguments.scenario)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = runtime.block_on(load(&arguments, &plan))?;
    print!("{}", report.table());
    if let Some(path) = arguments.json {
        let json = serde_json::to_string_pretty(&report)? + "\n";
        std::fs::write(&path, json).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(report.missed.is_empty())
}

/// Every target by its name.
async fn load(arguments: &Arguments, plan: &Plan) -> Result<Report> {
    match arguments.target.as_str() {
        "colloque" => {
            let api_key = arguments.api_key.as_deref().context("--api-key is missing")?;
            let clinic = Clinic::new(&arguments.url, api_key, arguments.allow_remote)?;
            scenario::run(&arguments.scenario, plan, Colloque::new(clinic)?).await
        }
        janus::NAME => {
            let janus = Janus::connect(&arguments.url, arguments.allow_remote).await?;
            scenario::run(&arguments.scenario, plan, janus).await
        }
        other => bail!("there is no target `{other}`; there are colloque and {}", janus::NAME),
    }
}

fn scenarios() -> String {
    let lines = SCENARIOS.iter().map(|(name, purpose)| format!("  {name:<17}{purpose}\n"));
    format!("Scenarios:\n{}", lines.collect::<String>())
}
