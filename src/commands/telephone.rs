//! `colloque telephone …`: asks the running server, over its admin address, to try its lines.
//!
//! Not here: the call (the server makes it). The number goes in the request's body and is printed nowhere.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Subcommand;
use serde_json::{Value, json};

use crate::Configured;

/// The telephone of a running server.
#[derive(Subcommand)]
pub enum TelephoneCommand {
    /// Call your own number through one line, listen for some seconds, and say what came of it
    SelfTest {
        /// Name of the line
        #[arg(long)]
        trunk: String,
        /// Your number; default: `self_test_number` of the server's configuration
        #[arg(long)]
        number: Option<String>,
        #[command(flatten)]
        configured: Configured,
    },
}

/// Runs one of the commands about the telephone. Fails when the call was not answered, or is not heard in both directions.
pub async fn run(command: TelephoneCommand) -> anyhow::Result<ExitCode> {
    let TelephoneCommand::SelfTest { trunk, number, configured } = command;
    let mut admin = configured.resolve()?.admin_addr;
    if admin.ip().is_unspecified() {
        admin.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let http = reqwest::Client::builder().no_proxy().timeout(TEST_MAX).build()?;
    let request = http.post(format!("http://{admin}/admin/telephone/self-test"));
    let response = request.json(&json!({"trunk": trunk, "number": number})).send().await;
    let response = response.with_context(|| format!("no server answers on its admin address {admin}"))?;
    let accepted = response.status().is_success();
    let told: Value = response.json().await?;
    if !accepted {
        anyhow::bail!("{}", told["detail"].as_str().or(told["title"].as_str()).unwrap_or("the server refuses"));
    }
    for (name, value) in told.as_object().into_iter().flatten() {
        println!("{name} {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    }
    let well = told["outcome"] == "answered" && told["received"] == true && told["sent"] == true;
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A little more than the server takes for it.
const TEST_MAX: Duration = Duration::from_secs(170);
