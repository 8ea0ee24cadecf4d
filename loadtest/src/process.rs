//! What a process costs, from `/proc`: processor time, in all and of the threads that carry media, and resident memory.
//! Linux only, like the server.

use std::collections::HashMap;

use anyhow::{Context, Result};

/// A reading of one process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// User and system time since it began, of threads that ended too.
    pub cpu_seconds: f64,
    /// The same of the threads whose names begin as asked for; `None` when nothing was asked.
    pub media_cpu_seconds: Option<f64>,
    /// Resident set.
    pub rss_bytes: u64,
}

impl Usage {
    /// The processor time between an earlier reading and this one: in all, and of the media threads.
    #[must_use]
    pub fn since(&self, before: &Usage) -> (f64, Option<f64>) {
        let media = self.media_cpu_seconds.zip(before.media_cpu_seconds).map(|(after, before)| after - before);
        (self.cpu_seconds - before.cpu_seconds, media)
    }
}

/// Reads a process's figures; `media_threads` is how the names of its threads that carry media begin.
pub fn usage(pid: u32, media_threads: Option<&str>) -> Result<Usage> {
    let stat = read(pid, "stat")?;
    let status = read(pid, "status")?;
    let cpu_seconds = cpu_seconds(&stat).with_context(|| format!("/proc/{pid}/stat is not as expected"))?;
    let rss_bytes = rss_bytes(&status).with_context(|| format!("/proc/{pid}/status has no VmRSS"))?;
    let media_cpu_seconds = media_threads
        .map(|name| threads_cpu_seconds(pid, name).map(|all| all.values().fold(0.0, |sum, one| sum + one)))
        .transpose()?;
    Ok(Usage { cpu_seconds, media_cpu_seconds, rss_bytes })
}

/// Processor time of each of a process's threads whose names begin so, by the threads' numbers.
pub fn threads_cpu_seconds(pid: u32, name: &str) -> Result<HashMap<u32, f64>> {
    let tasks =
        std::fs::read_dir(format!("/proc/{pid}/task")).with_context(|| format!("process {pid} cannot be read"))?;
    let mut threads = HashMap::new();
    for task in tasks.flatten() {
        // A thread may end between two reads: it is no longer one of those that are asked for.
        let Ok(stat) = std::fs::read_to_string(task.path().join("stat")) else { continue };
        let number = task.file_name().to_str().and_then(|number| number.parse().ok());
        if let Some(number) = number.filter(|_| thread_name(&stat).is_some_and(|thread| thread.starts_with(name))) {
            threads.insert(number, cpu_seconds(&stat).unwrap_or_default());
        }
    }
    Ok(threads)
}

/// Processor time of the whole machine since it started, in ticks.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct MachineTime {
    /// Of all processors, idle time included.
    all: u64,
    /// What a hypervisor gave to other machines while this one had work (proc(5)).
    stolen: u64,
}

impl MachineTime {
    /// Reads it now.
    pub fn now() -> Result<Self> {
        let stat = std::fs::read_to_string("/proc/stat").context("/proc/stat cannot be read")?;
        machine_time(&stat).context("/proc/stat is not as expected")
    }

    /// How much of the machine was stolen since.
    #[must_use]
    pub fn stolen_percent_until(self, later: MachineTime) -> f64 {
        let all = later.all.saturating_sub(self.all).max(1);
        100.0 * later.stolen.saturating_sub(self.stolen) as f64 / all as f64
    }
}

fn machine_time(stat: &str) -> Option<MachineTime> {
    let fields = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
    // user nice system idle iowait irq softirq steal; what follows is in the first two already.
    let ticks: Vec<u64> = fields.take(8).map(str::parse).collect::<Result<_, _>>().ok()?;
    Some(MachineTime { all: ticks.iter().sum(), stolen: *ticks.get(7)? })
}

fn thread_name(stat: &str) -> Option<&str> {
    Some(stat.split_once('(')?.1.rsplit_once(')')?.0)
}

fn read(pid: u32, name: &str) -> Result<String> {
    std::fs::read_to_string(format!("/proc/{pid}/{name}")).with_context(|| format!("process {pid} cannot be read"))
}

fn cpu_seconds(stat: &str) -> Option<f64> {
    // The command's name, second field, may hold spaces and parentheses: fields are counted after its end.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    Some(ticks / TICKS_PER_SECOND)
}

fn rss_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// `USER_HZ`, which Linux shows to programs as 100 whatever its own clock.
const TICKS_PER_SECOND: f64 = 100.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stolen_time_is_the_eighth_figure() {
        let before = machine_time("cpu  100 0 100 700 0 0 50 50 9 9\ncpu0 1 1 1\n").unwrap();
        let after = machine_time("cpu  150 0 150 780 0 0 50 70 9 9\ncpu0 1 1 1\n").unwrap();
        assert_eq!(before.stolen_percent_until(after), 10.0);
        assert_eq!(after.stolen_percent_until(after), 0.0);
        assert_eq!(machine_time("cpu  1 2 3 4 5 6 7\n"), None);
        assert!(MachineTime::now().is_ok());
    }

    #[test]
    fn reads_times_past_a_name_with_parentheses() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194304 1 2 3 4 150 50 0 0 20 0 1 0 5 6 7";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(cpu_seconds("7 (a S 1"), None);
    }

    #[test]
    fn reads_itself() {
        assert!(usage(std::process::id(), None).unwrap().rss_bytes > 100_000);
        assert!(usage(u32::MAX, None).is_err());
    }

    #[test]
    fn tells_threads_apart_by_their_names() {
        let (stop, wait) = std::sync::mpsc::channel::<()>();
        let busy = move || {
            let start = std::time::Instant::now();
            while start.elapsed() < std::time::Duration::from_millis(120) {
                std::hint::spin_loop();
            }
            wait.recv().ok();
        };
        std::thread::scope(|scope| {
            std::thread::Builder::new().name("busy-7".to_owned()).spawn_scoped(scope, busy).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(200));
            let read = |name| usage(std::process::id(), Some(name)).unwrap().media_cpu_seconds;
            let mut of_busy = read("busy-");
            // A loaded machine may not have let it run yet.
            for _ in 0..50 {
                if of_busy > Some(0.0) {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(50));
                of_busy = read("busy-");
            }
            assert!(of_busy > Some(0.0), "{of_busy:?}");
            assert_eq!(read("no such thread"), Some(0.0));
            drop(stop);
        });
    }
}
