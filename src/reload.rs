//! SIGHUP of `colloque serve`: the configuration file is read again, and the telephone's limits in it hold for what begins from now on.
//!
//! ```text
//!   SIGHUP --> file --valid as a whole?--> limits of the telephone --> Lines
//!                         \--no: one line in the log, nothing changes
//! ```
//!
//! Whatever else has changed is named, not taken: it is read at a start. Not here: which keys those are (`config::telephone`).

use std::path::PathBuf;
use std::sync::Arc;

use colloque::config::telephone::is_reloadable;
use colloque::config::{ConfigError, FileKeys, Settings};
use colloque::telephone::lines::Lines;
use tokio::signal::unix::Signal;

/// The file, and what goes before it.
pub struct ConfigFile {
    path: PathBuf,
    /// Flags and environment.
    flags: Settings,
    /// As it was at the start.
    started: FileKeys,
    /// As it was read last.
    last: FileKeys,
}

impl ConfigFile {
    /// Reads it for the first time; gives the settings with it.
    pub fn read(path: PathBuf, flags: Settings) -> Result<(Settings, ConfigFile), ConfigError> {
        let (settings, keys) = Settings::read_file(&path)?;
        let file = ConfigFile { path, flags: flags.clone(), started: keys.clone(), last: keys };
        Ok((flags.or(settings), file))
    }

    /// Reads it again at each signal, for as long as the process runs.
    pub async fn follow(mut self, mut hangups: Signal, lines: Option<Arc<Lines>>) {
        while hangups.recv().await.is_some() {
            let file = self.path.display().to_string();
            if let Err(ConfigError(faults)) = self.read_again(lines.as_deref()) {
                let faults = faults.join("; ");
                tracing::error!(
                    file,
                    faults,
                    "the configuration is not valid: nothing of it is taken, everything stays as it was"
                );
            }
        }
    }

    fn read_again(&mut self, lines: Option<&Lines>) -> Result<(), ConfigError> {
        let (settings, keys) = Settings::read_file(&self.path)?;
        let config = self.flags.clone().or(settings).resolve()?;
        let telephone = lines.zip(config.telephone.as_ref());
        let is_taken = |key: &String| telephone.is_some() && is_reloadable(key);
        let taken: Vec<String> = self.last.changed_in(&keys).into_iter().filter(|key| is_taken(key)).collect();
        let waiting: Vec<String> = self.started.changed_in(&keys).into_iter().filter(|key| !is_taken(key)).collect();
        if let Some((lines, telephone)) = telephone {
            lines.set_limits(telephone);
        }
        self.last = keys;
        let file = self.path.display().to_string();
        match taken.as_slice() {
            [] => tracing::info!(file, "the configuration was read again: no limit in it has changed"),
            _ => tracing::info!(
                file,
                keys = taken.join(", "),
                "the configuration was read again: this holds for new calls"
            ),
        }
        if !waiting.is_empty() {
            tracing::warn!(
                file,
                keys = waiting.join(", "),
                "this has changed too, and is read at a start only: restart the server"
            );
        }
        Ok(())
    }
}
