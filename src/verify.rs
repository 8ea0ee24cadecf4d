//! `colloque record verify`: says in words what a record's signed statement proves, or why it proves nothing.

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::{Args, Subcommand};
use colloque::control::record::document::TimeByMode;
use colloque::control::record::statement::{PublicKey, Statement};
use colloque::store::{HeadKey, KEY_FILE_NAME};

use crate::Configured;

#[derive(Subcommand)]
pub enum RecordCommand {
    /// Check the signed statement of minutes in a record, and say what it states
    Verify(Verify),
}

#[derive(Args)]
pub struct Verify {
    /// A record as the API gave it, or its signed statement alone; - for standard input
    file: PathBuf,
    /// The server's public key, as GET /v1/keys gives it (JSON or PEM); without it, the key in the data directory
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    #[command(flatten)]
    configured: Configured,
}

/// Fails unless the statement is genuine.
pub fn run(verify: Verify) -> anyhow::Result<()> {
    let text =
        if verify.file.as_os_str() == "-" { std::io::read_to_string(std::io::stdin())? } else { read(&verify.file)? };
    let keys = match &verify.key {
        Some(path) => PublicKey::read(&read(path)?)?,
        None => vec![own_key(verify.configured)?],
    };
    let (statement, key) = Statement::verify_file(&text, &keys)?;
    println!("genuine: signed by key {}", key.kid());
    print(&statement);
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<String> {
    crate::with_path(std::fs::read_to_string(path), "read", path)
}

/// Only reads: a key that was made now has signed nothing.
fn own_key(configured: Configured) -> anyhow::Result<PublicKey> {
    let data_dir = configured.resolve()?.data_dir;
    if !data_dir.join(KEY_FILE_NAME).exists() {
        bail!("there is no key in {}: give the server's with --key (GET /v1/keys)", data_dir.display());
    }
    Ok(PublicKey(HeadKey::open(&data_dir)?.public_key()))
}

fn print(statement: &Statement) {
    let or_none = |time: &Option<String>| time.clone().unwrap_or_else(|| "-".to_owned());
    println!("stated by:     {}", statement.issuer);
    println!("consultation:  {} ({})", statement.consultation, statement.act);
    println!("status:        {:?}", statement.status);
    println!("began:         {}", or_none(&statement.started_at));
    println!("ended:         {}", or_none(&statement.ended_at));
    println!("counted until: {}", or_none(&statement.counted_until));
    println!("with patient:  {}", in_words(&statement.with_patient));
    println!("colleagues:    {}", in_words(&statement.between_professionals));
    for who in &statement.participants {
        let level = who.level.as_ref().map(|level| format!(", {level}")).unwrap_or_default();
        let minutes = who.present_seconds / 60;
        println!("present:       {} {}, {:?}{level}, {minutes} min", who.role, who.seat, who.authentication);
    }
    for (what, counts) in [("incidents:    ", &statement.incidents), ("failed joins: ", &statement.failed_joins)] {
        let list: Vec<String> = counts.iter().map(|(cause, count)| format!("{cause} {count}")).collect();
        println!("{what} {}", if list.is_empty() { "none".to_owned() } else { list.join(", ") });
    }
    if !statement.complete {
        println!("note:          older entries of its journal had been removed when this was stated");
    }
}

fn in_words(time: &TimeByMode) -> String {
    let minutes = time.minutes;
    format!("{} min video, {} min audio, {} min telephone", minutes.video, minutes.audio, minutes.telephone)
}
