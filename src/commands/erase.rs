//! `colloque erase`: erases what is known of a consultation or a patient; erases again what a restored backup brought back.

use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use colloque::control::facts::Fact;
use colloque::control::journal;
use colloque::pii::Pii;
use colloque::store::{Change, ErasedList, Erasure, LiveChange, Store, Transaction};

use crate::{Configured, serve};

#[derive(Subcommand)]
pub enum EraseCommand {
    /// Erase one consultation with its seats; a running one is ended
    Consultation {
        /// Its identifier
        id: String,
        #[command(flatten)]
        of: Of,
    },
    /// Erase every consultation of a patient
    Patient {
        /// The clinic's pseudonym; - reads it from standard input, so that no other user of this machine sees it
        pseudonym: String,
        #[command(flatten)]
        of: Of,
    },
    /// Erase again whatever a restored backup brought back
    Replay {
        /// A list of erased consultations from elsewhere, to be heeded too
        #[arg(long, value_name = "FILE")]
        list: Option<PathBuf>,
        #[command(flatten)]
        configured: Configured,
    },
}

#[derive(Args)]
pub struct Of {
    /// The clinic's identifier
    #[arg(long, value_name = "ID")]
    clinic: String,
    #[command(flatten)]
    configured: Configured,
}

/// Runs one of them.
pub async fn run(command: EraseCommand) -> anyhow::Result<()> {
    match command {
        EraseCommand::Consultation { id, of } => {
            let whose = Erasure::Consultation { clinic: of.clinic.clone(), consultation: id.clone() };
            erase(of, Some(&id), whose).await
        }
        EraseCommand::Patient { pseudonym, of } => {
            let patient = if pseudonym == "-" { from_stdin()? } else { Pii(pseudonym) };
            let whose = Erasure::Patient { clinic: of.clinic.clone(), patient };
            erase(of, None, whose).await
        }
        EraseCommand::Replay { list, configured } => replay(list, configured).await,
    }
}

async fn erase(of: Of, consultation: Option<&str>, whose: Erasure) -> anyhow::Result<()> {
    let store = serve::open_store(&of.configured.resolve()?).await?;
    if let Some(id) = consultation
        && let Some((record, _)) = store.consultation(id).await?.filter(|(record, _)| record.clinic == of.clinic)
        && record.ended_at.is_none()
    {
        // A running server notices the erasure by itself; whoever comes meanwhile finds the consultation over.
        let told = Fact::ConsultationEnded { by: colloque::control::facts::Actor::Operator };
        let entries = vec![journal::entry(Some(&of.clinic), Some(id), None, &told)];
        let end = LiveChange::End { consultation: id.to_owned(), at: colloque::control::clock::unix_now() };
        store.commit(Transaction { changes: vec![Change::Live(end)], entries }).await?;
    }
    let entry = journal::entry(Some(&of.clinic), consultation, None, &Fact::Erased { consultations: 0 });
    let erased = store.erase(whose, entry).await?;
    store.close().await;
    if erased == 0 {
        bail!("this clinic has none such: nothing was erased");
    }
    println!("{erased} consultations erased");
    Ok(())
}

async fn replay(list: Option<PathBuf>, configured: Configured) -> anyhow::Result<()> {
    let config = configured.resolve()?;
    serve::make_data_dir(&config.data_dir)?;
    let own = ErasedList::of(&config.data_dir);
    if let Some(path) = list {
        let elsewhere = ErasedList::at(path.clone());
        if !path.exists() {
            bail!("there is no {}", path.display());
        }
        let known = own.read()?;
        let missing: Vec<String> = elsewhere.read()?.difference(&known).cloned().collect();
        own.add(&missing)?;
    }
    // Opening the store is what erases again, whoever opens it.
    serve::open_store(&config).await?.close().await;
    println!("nothing is left of the {} consultations on the list of erased ones", own.read()?.len());
    Ok(())
}

fn from_stdin() -> anyhow::Result<Pii<String>> {
    let mut text = String::new();
    std::io::stdin().take(PSEUDONYM_BYTES_MAX).read_to_string(&mut text).context("cannot read the pseudonym")?;
    Ok(Pii(text.trim_end_matches(['\r', '\n']).to_owned()))
}

/// Pseudonyms are shorter; whatever is piped in by mistake is not read whole.
const PSEUDONYM_BYTES_MAX: u64 = 4_096;
