//! `colloque audit`: checks the journal's chain, or writes the journal out. Reads alone.

use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, bail};
use clap::Subcommand;
use colloque::pii::Pii;
use colloque::store::verify::{Fault, NotedHead, Verifier, Whole};
use colloque::store::{HeadKey, JournalEntry, JournalReader, KEY_FILE_NAME};
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use crate::Configured;

#[derive(Subcommand)]
pub enum AuditCommand {
    /// Check the chain; name the first bad entry
    Verify {
        #[command(flatten)]
        configured: Configured,
        /// The server's public key, 64 hexadecimal digits; default: from the data directory's signing-key
        #[arg(long, value_name = "HEX")]
        public_key: Option<String>,
        /// A head that an earlier check printed: the chain must still hold it
        #[arg(long, value_name = "CURSOR:HASH")]
        noted_head: Option<String>,
    },
    /// Write the journal as JSON lines
    Export {
        #[command(flatten)]
        configured: Configured,
        /// Entries of this clinic alone
        #[arg(long, value_name = "ID")]
        clinic: Option<String>,
    },
}

/// Runs one of them.
pub async fn run(command: AuditCommand) -> anyhow::Result<()> {
    match command {
        AuditCommand::Verify { configured, public_key, noted_head } => {
            let config = configured.resolve()?;
            let key = match public_key {
                Some(hex) => digest(&hex).context("--public-key is not 64 hexadecimal digits")?,
                None => own_public_key(&config.data_dir)?,
            };
            let noted = noted_head.as_deref().map(noted).transpose()?;
            println!("{}", sentence(&verify(&config.data_dir, config.store_url.as_ref(), key, noted).await?));
            Ok(())
        }
        AuditCommand::Export { configured, clinic } => {
            let config = configured.resolve()?;
            export(&config.data_dir, config.store_url.as_ref(), clinic.as_deref()).await
        }
    }
}

/// Walks the chain from its signed beginning to its signed head.
pub async fn verify(
    data_dir: &Path,
    url: Option<&Pii<String>>,
    public_key: [u8; 32],
    noted: Option<NotedHead>,
) -> anyhow::Result<Whole> {
    let mut journal = JournalReader::open(data_dir, url).await?;
    let mut verifier = Verifier::new(public_key, journal.begin())?.expect(noted);
    loop {
        let entries = journal.entries_after(verifier.last()).await?;
        if entries.is_empty() {
            return Ok(verifier.finish(journal.head())?);
        }
        for entry in entries {
            verifier.feed(&entry.map_err(Fault::Hash)?)?;
        }
    }
}

/// What `verify` says of a whole chain.
pub fn sentence(whole: &Whole) -> String {
    format!("{} entries, chain whole, head {}:{}", whole.entries, whole.cursor, hex(&whole.hash))
}

/// The public half of a data directory's key, which is not made when it is missing.
pub fn own_public_key(data_dir: &Path) -> anyhow::Result<[u8; 32]> {
    let path = data_dir.join(KEY_FILE_NAME);
    if !path.exists() {
        bail!("there is no {}: give the server's key with --public-key (GET /v1/keys)", path.display());
    }
    Ok(HeadKey::open(data_dir)?.public_key())
}

async fn export(data_dir: &Path, url: Option<&Pii<String>>, clinic: Option<&str>) -> anyhow::Result<()> {
    let mut journal = JournalReader::open(data_dir, url).await?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut cursor = 0;
    loop {
        let entries = journal.entries_after(cursor).await?;
        let Some(last) = entries.last() else { break };
        cursor = last.as_ref().map_or_else(|cursor| *cursor, |entry| entry.cursor);
        for entry in entries {
            let entry = entry.map_err(Fault::Hash)?;
            if clinic.is_none_or(|id| entry.entry.clinic.as_deref() == Some(id)) {
                writeln!(out, "{}", line(&entry)?)?;
            }
        }
    }
    if let (None, Some(head)) = (clinic, journal.head()) {
        let head = json!({"cursor": head.cursor, "hash": hex(&head.hash), "signature": hex(&head.signature)});
        writeln!(out, "{}", json!({"head": head}))?;
    }
    Ok(out.flush()?)
}

/// An entry as one line. Its data stands there byte for byte: the hash covers these bytes.
fn line(entry: &JournalEntry) -> anyhow::Result<String> {
    let JournalEntry { cursor, entry, hash } = entry;
    let text = |value: &Option<String>| value.clone().map_or(Value::Null, Value::String).to_string();
    let data = &entry.data;
    serde_json::from_str::<IgnoredAny>(data).with_context(|| format!("entry {cursor} is not JSON"))?;
    Ok(format!(
        "{{\"cursor\":{cursor},\"id\":{},\"at\":{},\"clinic\":{},\"consultation\":{},\"seat\":{},\"kind\":{},\"data\":{data},\"hash\":\"{}\"}}",
        Value::String(entry.id.clone()),
        entry.at,
        text(&entry.clinic),
        text(&entry.consultation),
        text(&entry.seat),
        Value::String(entry.kind.clone()),
        hex(hash),
    ))
}

fn noted(text: &str) -> anyhow::Result<NotedHead> {
    let parsed = text
        .split_once(':')
        .and_then(|(cursor, hash)| Some(NotedHead { cursor: cursor.parse().ok()?, hash: digest(hash)? }));
    parsed.context("--noted-head is not CURSOR:HASH")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn digest(hex: &str) -> Option<[u8; 32]> {
    if hex.len() != 64 || !hex.is_ascii() {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&hex[at..at + 2], 16).ok()?;
    }
    Some(bytes)
}
