//! `colloque-loadtest`: the command line of the load generator.
//!
//! Exit status: 0 when every threshold of the scenario was met, 1 when one was not, 2 when the run could not be made.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;
use colloque_loadtest::api::Clinic;
use colloque_loadtest::scenario::{self, Plan};

/// Loads a teleconsultation server with participants and measures it
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// joins, consultation
    scenario: String,
    /// What is loaded
    #[arg(long, default_value = "colloque")]
    target: String,
    /// Address of the server's HTTP API; only addresses of this machine are taken
    #[arg(long)]
    url: String,
    /// Key of a clinic
    #[arg(long, env = "COLLOQUE_LOADTEST_API_KEY", hide_env_values = true)]
    api_key: String,
    /// Process of the server, to read its processor time and memory
    #[arg(long)]
    pid: Option<u32>,
    /// Length of the run
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Rooms; each scenario has its own default
    #[arg(long)]
    rooms: Option<usize>,
    /// Subscribers of a room, for scenarios with an audience
    #[arg(long)]
    subscribers: Option<usize>,
    /// Writes the figures there; standard output takes the table either way
    #[arg(long)]
    json: Option<PathBuf>,
    /// Loads other machines too
    #[arg(long)]
    allow_remote: bool,
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
    if arguments.target != "colloque" {
        bail!("there is no target `{}`; there is colloque", arguments.target);
    }
    if arguments.subscribers.is_some() {
        bail!("--subscribers: none of the scenarios has an audience");
    }
    let plan = Plan {
        clinic: Clinic::new(&arguments.url, &arguments.api_key, arguments.allow_remote)?,
        target: arguments.target,
        pid: arguments.pid,
        seconds: arguments.seconds,
        rooms: arguments.rooms,
    };
    plan.check()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = runtime.block_on(scenario::run(&arguments.scenario, &plan))?;
    print!("{}", report.table());
    if let Some(path) = arguments.json {
        let json = serde_json::to_string_pretty(&report)? + "\n";
        std::fs::write(&path, json).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(report.missed.is_empty())
}
