//! When this server ran: from each start to its last sign of life, in a small file of the data directory.
//!
//! A server that is killed can tell nobody that its rooms are over; the journal then has people in rooms that no longer are.
//! Every ten seconds the file gets the present instant, so that the next start knows when the run before ended: up to there,
//! and not further, the record counts who was in a room. Not in the store: it must be written also while the store is down.
//!
//! One line a run: its start and its last sign of life, Unix milliseconds.

use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::timeline::Stop;

/// The runs of a server on its data directory, the present one last.
pub struct Runs {
    path: PathBuf,
    runs: Mutex<Vec<Run>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Run {
    start: i64,
    last_sign: i64,
}

impl Runs {
    /// Reads what there is and begins a run.
    pub fn begin(data_dir: &Path, now: i64) -> io::Result<Runs> {
        let path = data_dir.join(FILE_NAME);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        // A line that is not ours counts as a run without a sign of life: less is counted, never more.
        let mut runs: Vec<Run> = text.lines().filter_map(read_line).collect();
        runs.drain(..runs.len().saturating_sub(RUNS_MAX - 1));
        runs.push(Run { start: now, last_sign: now });
        let runs = Runs { path, runs: Mutex::new(runs) };
        runs.write()?;
        Ok(runs)
    }

    /// The server is alive.
    pub fn beat(&self, now: i64) -> io::Result<()> {
        if let Some(run) = self.lock().last_mut() {
            run.last_sign = run.last_sign.max(now);
        }
        self.write()
    }

    /// When the server was down, in order. Before its first known run it was, for all that is known, too.
    #[must_use]
    pub fn stops(&self) -> Vec<Stop> {
        let runs = self.lock();
        let first = runs.first().map(|run| Stop { last_sign: i64::MIN, next_start: run.start });
        let later = runs.windows(2).map(|pair| Stop { last_sign: pair[0].last_sign, next_start: pair[1].start });
        first.into_iter().chain(later).collect()
    }

    /// Written beside and renamed: a crash leaves the one or the other, whole.
    fn write(&self) -> io::Result<()> {
        let runs = self.lock();
        let mut text = String::with_capacity(runs.len() * 28);
        for run in runs.iter() {
            // Writing into a String cannot fail.
            writeln!(text, "{} {}", run.start, run.last_sign).ok();
        }
        let draft = self.path.with_extension("new");
        std::fs::write(&draft, text)?;
        std::fs::rename(&draft, &self.path)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Run>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read_line(line: &str) -> Option<Run> {
    let (start, last_sign) = line.split_once(' ')?;
    Some(Run { start: start.parse().ok()?, last_sign: last_sign.parse().ok()? })
}

/// Between two signs of life: what a crash can cost a consultation, against writes to the disk.
pub const BEAT: Duration = Duration::from_secs(10);
/// File name inside the data directory.
pub const FILE_NAME: &str = "runs";
/// More starts than a year of weekly updates and some crashes; older stops are far behind the retention of the journal.
const RUNS_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    struct Directory(PathBuf);

    impl Directory {
        fn new() -> Self {
            let path = std::env::temp_dir().join(format!("colloque-runs-{:x}", rand::random::<u64>()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).ok();
        }
    }

    #[test]
    fn each_start_knows_when_the_run_before_gave_its_last_sign() {
        let dir = Directory::new();
        let first = Runs::begin(&dir.0, 1_000).unwrap();
        let unknown = Stop { last_sign: i64::MIN, next_start: 1_000 };
        assert_eq!(first.stops(), [unknown]);
        first.beat(11_000).unwrap();
        first.beat(21_000).unwrap();
        drop(first);
        let second = Runs::begin(&dir.0, 60_000).unwrap();
        let killed = Stop { last_sign: 21_000, next_start: 60_000 };
        assert_eq!(second.stops(), [unknown, killed]);
        drop(second);
        let third = Runs::begin(&dir.0, 70_000).unwrap();
        assert_eq!(third.stops(), [unknown, killed, Stop { last_sign: 60_000, next_start: 70_000 }]);
    }

    #[test]
    fn damage_to_the_file_makes_runs_unknown_and_stops_no_start() {
        let dir = Directory::new();
        std::fs::write(dir.0.join(FILE_NAME), "1 2\nnonsense\n3\n\u{fffd}\n9 12").unwrap();
        let runs = Runs::begin(&dir.0, 20).unwrap();
        assert_eq!(runs.stops().len(), 3);
    }

    #[test]
    fn old_runs_are_forgotten() {
        let dir = Directory::new();
        for start in 0..RUNS_MAX as i64 + 5 {
            Runs::begin(&dir.0, start).unwrap();
        }
        let stops = Runs::begin(&dir.0, 999).unwrap().stops();
        assert_eq!(stops.len(), RUNS_MAX);
        assert_eq!(stops[0], Stop { last_sign: i64::MIN, next_start: 6 });
    }
}
