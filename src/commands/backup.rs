//! `colloque backup`: a consistent copy of everything that a restore needs, while the server runs.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use anyhow::Context;
use colloque::control::record::runs;
use colloque::store::{ERASED_FILE_NAME, KEY_FILE_NAME, STORE_FILE_NAME, Store};

use super::audit;
use crate::{Configured, serve};

/// Copies the store, the signing key and the list of erased consultations into a new directory, and checks the copy.
pub async fn run(to: &Path, configured: Configured) -> anyhow::Result<()> {
    let config = configured.resolve()?;
    let made = std::fs::DirBuilder::new().mode(0o700).create(to);
    made.with_context(|| format!("cannot make {}: it must be a new directory", to.display()))?;
    let store = serve::open_store(&config).await?;
    if config.store_url.is_none() {
        store.back_up(&to.join(STORE_FILE_NAME)).await?;
    }
    store.close().await;
    // After the store: what is on the list and in the copy is erased again at a restore, the other way round it would come back.
    for name in [KEY_FILE_NAME, ERASED_FILE_NAME, runs::FILE_NAME] {
        copy(&config.data_dir.join(name), &to.join(name)).with_context(|| format!("cannot copy {name}"))?;
    }
    File::open(to)?.sync_all()?;
    if config.store_url.is_some() {
        println!("{}: signing key and lists copied; back the database up with PostgreSQL's own tools", to.display());
        return Ok(());
    }
    let whole = audit::verify(to, None, audit::own_public_key(to)?, None).await.context("the copy")?;
    println!("{}: {}", to.display(), audit::sentence(&whole));
    Ok(())
}

/// On the disk, and for this user only, when it returns. Nothing to copy is no fault.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = match File::open(from) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut target = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    io::copy(&mut source, &mut target)?;
    target.sync_all()
}
