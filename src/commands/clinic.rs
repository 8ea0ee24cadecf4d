//! `colloque clinic …`: clinics, what they demand, and their API keys. Works beside the server, whether it runs or not.
//!
//! Keys go to stdout and are shown once; what is for people goes to stderr.

use clap::{Args, Subcommand};
use colloque::control::clinics::{self, ClinicId, Scopes};
use colloque::pii::Pii;
use colloque::store::{ClinicDemands, SqlStore, Store};

use crate::{Configured, serve};

/// Clinics and their API keys.
#[derive(Subcommand)]
pub enum ClinicCommand {
    /// Create a clinic and print its API key, once
    Add {
        /// As people know it
        name: String,
        /// Professionals log in before they get media
        #[arg(long)]
        require_login: bool,
        /// Professionals' seats are booked with a complete card
        #[arg(long)]
        require_cards: bool,
        /// Acts of one patient in a year; a warning comes one before
        #[arg(long, value_name = "N")]
        acts_per_year: Option<u32>,
        #[command(flatten)]
        configured: Configured,
    },
    /// Show every clinic with its identifier and what it demands
    List {
        #[command(flatten)]
        configured: Configured,
    },
    /// Change what a clinic demands; what is not named stays as it is
    Set {
        /// Its identifier
        #[arg(allow_hyphen_values = true)]
        clinic: String,
        #[command(flatten)]
        changes: Changes,
        #[command(flatten)]
        configured: Configured,
    },
    /// Manage a clinic's API keys
    Key {
        #[command(subcommand)]
        command: KeyCommand,
    },
}

/// What may change of a clinic.
#[derive(Args)]
pub struct Changes {
    /// Professionals log in before they get media
    #[arg(long, value_name = "BOOL")]
    require_login: Option<bool>,
    /// Professionals' seats are booked with a complete card
    #[arg(long, value_name = "BOOL")]
    require_cards: Option<bool>,
    /// Acts of one patient in a year; 0 for no limit
    #[arg(long, value_name = "N")]
    acts_per_year: Option<u32>,
}

/// A clinic's API keys.
#[derive(Subcommand)]
pub enum KeyCommand {
    /// Make one more API key and print it, once
    Add {
        /// The clinic's identifier
        #[arg(allow_hyphen_values = true)]
        clinic: String,
        /// What it may do, separated by commas; default: everything
        #[arg(long, value_name = "SCOPES")]
        scopes: Option<String>,
        #[command(flatten)]
        configured: Configured,
    },
    /// Revoke a key: it is refused from the next call on
    Revoke {
        /// The clinic's identifier
        #[arg(allow_hyphen_values = true)]
        clinic: String,
        /// The key's first eleven characters
        prefix: String,
        #[command(flatten)]
        configured: Configured,
    },
    /// Show the prefixes and scopes of a clinic's keys
    List {
        /// The clinic's identifier
        #[arg(allow_hyphen_values = true)]
        clinic: String,
        #[command(flatten)]
        configured: Configured,
    },
}

/// Runs one of the commands about clinics.
pub async fn run(command: ClinicCommand) -> anyhow::Result<()> {
    match command {
        ClinicCommand::Add { name, require_login, require_cards, acts_per_year, configured } => {
            let demands = ClinicDemands { login: require_login, cards: require_cards, acts_per_year };
            let store = open(configured).await?;
            let (clinic, key) = clinics::add_clinic(&store, Pii(name), demands).await?;
            store.close().await;
            eprintln!("clinic {}", clinic.0);
            println!("{}", key.0);
        }
        ClinicCommand::List { configured } => {
            let store = open(configured).await?;
            for clinic in store.clinics().await? {
                println!("{}  {}  {}", clinic.id, clinic.name.0, demands_text(clinic.demands));
            }
            store.close().await;
        }
        ClinicCommand::Set { clinic, changes, configured } => set(ClinicId(clinic), changes, configured).await?,
        ClinicCommand::Key { command } => key(command).await?,
    }
    Ok(())
}

async fn set(clinic: ClinicId, changes: Changes, configured: Configured) -> anyhow::Result<()> {
    let store = open(configured).await?;
    let found = store.clinic(&clinic.0).await?.ok_or(clinics::ClinicError::NotFound)?;
    let demands = ClinicDemands {
        login: changes.require_login.unwrap_or(found.demands.login),
        cards: changes.require_cards.unwrap_or(found.demands.cards),
        acts_per_year: match changes.acts_per_year {
            Some(0) => None,
            given => given.or(found.demands.acts_per_year),
        },
    };
    clinics::set_demands(&store, &clinic, demands).await?;
    store.close().await;
    println!("{}  {}", clinic.0, demands_text(demands));
    Ok(())
}

async fn key(command: KeyCommand) -> anyhow::Result<()> {
    match command {
        KeyCommand::Add { clinic, scopes, configured } => {
            let scopes = scopes.map_or_else(|| Ok(Scopes::all()), |scopes| Scopes::parse(&scopes))?;
            let store = open(configured).await?;
            let key = clinics::add_key(&store, &ClinicId(clinic), scopes).await?;
            store.close().await;
            println!("{}", key.0);
        }
        KeyCommand::Revoke { clinic, prefix, configured } => {
            let store = open(configured).await?;
            clinics::revoke_key(&store, &ClinicId(clinic), &prefix).await?;
            store.close().await;
        }
        KeyCommand::List { clinic, configured } => {
            let store = open(configured).await?;
            for key in store.api_keys(&clinic).await? {
                println!("{}  {}", key.prefix, key.scopes);
            }
            store.close().await;
        }
    }
    Ok(())
}

async fn open(configured: Configured) -> anyhow::Result<SqlStore> {
    serve::open_store(&configured.resolve()?).await
}

fn demands_text(demands: ClinicDemands) -> String {
    let limit = demands.acts_per_year.map_or_else(|| "none".to_owned(), |limit| limit.to_string());
    format!("require-login={} require-cards={} acts-per-year={limit}", demands.login, demands.cards)
}
