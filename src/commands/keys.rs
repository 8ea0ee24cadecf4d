//! `colloque keys …`: the keys that sign links. Works beside the server, which reads a new one within a minute.

use clap::Subcommand;
use colloque::control::tokens;

use crate::{Configured, serve};

/// Keys that sign links.
#[derive(Subcommand)]
pub enum KeysCommand {
    /// Make a new key sign links; those of the one before go on working, older ones do not
    Rotate {
        #[command(flatten)]
        configured: Configured,
    },
}

/// Runs one of the commands about keys that sign links.
pub async fn run(command: KeysCommand) -> anyhow::Result<()> {
    let KeysCommand::Rotate { configured } = command;
    let store = serve::open_store(&configured.resolve()?).await?;
    tokens::rotate(&store).await?;
    store.close().await;
    eprintln!(
        "a new key signs links from two minutes on; links that were given out before the last rotation are worthless"
    );
    Ok(())
}
