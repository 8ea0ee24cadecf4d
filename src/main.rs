//! The `colloque` program: command line, wiring, signals. Nothing is decided here that a test would want to see.

mod commands;
mod demo;
mod reload;
mod serve;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use colloque::config::{self, Config, Settings};
use commands::{audit, backup, clinic, erase, keys, telephone};
use reload::ConfigFile;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// Self-hosted video teleconsultation server
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server
    Serve(Configured),
    /// Run the server with a demo clinic and one teleconsultation, and print the links
    Demo {
        #[command(flatten)]
        configured: Configured,
        /// Print one JSON object on the first line instead
        #[arg(long)]
        json: bool,
        /// Serve HTTPS with a self-signed certificate
        #[arg(long)]
        tls: bool,
    },
    /// Manage clinics
    Clinic {
        #[command(subcommand)]
        command: clinic::ClinicCommand,
    },
    /// Manage the keys that sign links
    Keys {
        #[command(subcommand)]
        command: keys::KeysCommand,
    },
    /// Check what the server has signed
    Record {
        #[command(subcommand)]
        command: verify::RecordCommand,
    },
    /// Validate the configuration and say what can be reached
    Check(Configured),
    /// Check or export the audit chain
    Audit {
        #[command(subcommand)]
        command: audit::AuditCommand,
    },
    /// Erase a patient's or a consultation's data
    Erase {
        #[command(subcommand)]
        command: erase::EraseCommand,
    },
    /// Try the telephone of a running server
    Telephone {
        #[command(subcommand)]
        command: telephone::TelephoneCommand,
    },
    /// Copy everything that a restore needs into a new directory, while the server runs
    Backup {
        /// The new directory
        to: PathBuf,
        #[command(flatten)]
        configured: Configured,
    },
}

/// Where settings come from: flags and environment first, then the file.
#[derive(Args)]
struct Configured {
    /// TOML file
    #[arg(long, env = "COLLOQUE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

impl Configured {
    fn settings(self) -> anyhow::Result<Settings> {
        Ok(match self.config {
            Some(path) => self.settings.or(Settings::from_file(&path)?),
            None => self.settings,
        })
    }

    fn resolve(self) -> anyhow::Result<Config> {
        Ok(self.settings()?.resolve()?)
    }
}

fn main() -> ExitCode {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    match runtime.enable_all().on_thread_start(give_way).build() {
        Ok(runtime) => runtime.block_on(start()),
        Err(error) => {
            eprintln!("error: no threads for the control plane: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Lowers the priority of the calling thread and of those that it starts: where cores are few, the control plane shares
/// one with a media worker, which must not wait for it. Media threads are started before.
fn give_way() {
    // A container may forbid it: then threads share evenly.
    rustix::process::nice(CONTROL_NICENESS).ok();
}

async fn start() -> ExitCode {
    start_log();
    for name in config::unknown_variables() {
        tracing::warn!(name, "this environment variable is not a setting of Colloque");
    }
    match run(Cli::parse().command).await {
        Ok(code) => code,
        Err(error) => {
            for line in format!("{error:#}").lines() {
                eprintln!("error: {line}");
            }
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Telephone { command } => return telephone::run(command).await,
        Command::Serve(Configured { config: None, settings }) => serve::run(settings.resolve()?, None).await?,
        Command::Serve(Configured { config: Some(path), settings }) => {
            let (settings, file) = ConfigFile::read(path, settings)?;
            serve::run(settings.resolve()?, Some(file)).await?;
        }
        Command::Demo { configured, json, tls } => demo::run(configured.settings()?, json, tls).await?,
        Command::Clinic { command } => clinic::run(command).await?,
        Command::Keys { command } => keys::run(command).await?,
        Command::Record { command: verify::RecordCommand::Verify(verify) } => verify::run(verify)?,
        Command::Check(configured) => serve::check(configured.resolve()?).await?,
        Command::Audit { command } => audit::run(command).await?,
        Command::Erase { command } => erase::run(command).await?,
        Command::Backup { to, configured } => backup::run(&to, configured).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Logs go to stderr: stdout belongs to links and keys. Whatever the variable says, libraries stay at `info`: below it they
/// write frames, headers and bound values, that is names and tokens. The SIP stack writes whole messages at `info`, with the
/// numbers in them: it is never heard.
fn start_log() {
    let filter = EnvFilter::try_from_env("COLLOQUE_LOG").unwrap_or_else(|_| EnvFilter::new("info,sqlx=warn"));
    let own_or_harmless = filter_fn(|metadata| {
        let own = metadata.target().starts_with("colloque");
        own || *metadata.level() <= tracing::Level::INFO && !metadata.target().starts_with("rsipstack")
    });
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_filter(own_or_harmless);
    tracing_subscriber::registry().with(filter).with(lines).init();
}

/// A free error context for paths.
fn cannot(what: &str, path: &std::path::Path) -> String {
    format!("cannot {what} {}", path.display())
}

/// Used by `serve` and `demo`.
fn with_path<T>(result: std::io::Result<T>, what: &str, path: &std::path::Path) -> anyhow::Result<T> {
    result.with_context(|| cannot(what, path))
}

/// How much the control plane gives way to media. More would starve joins on a core that media keeps half busy.
const CONTROL_NICENESS: i32 = 5;
