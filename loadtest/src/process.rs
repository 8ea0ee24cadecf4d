//! What the server costs, from `/proc`: processor time and resident memory. Linux only, like the server.

use anyhow::{Context, Result};

/// A reading of one process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// User and system time since it began.
    pub cpu_seconds: f64,
    /// Resident set.
    pub rss_bytes: u64,
}

/// Reads a process's figures.
pub fn usage(pid: u32) -> Result<Usage> {
    let stat = read(pid, "stat")?;
    let status = read(pid, "status")?;
    let cpu_seconds = cpu_seconds(&stat).with_context(|| format!("/proc/{pid}/stat is not as expected"))?;
    let rss_bytes = rss_bytes(&status).with_context(|| format!("/proc/{pid}/status has no VmRSS"))?;
    Ok(Usage { cpu_seconds, rss_bytes })
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
    fn reads_times_past_a_name_with_parentheses() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194304 1 2 3 4 150 50 0 0 20 0 1 0 5 6 7";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(cpu_seconds("7 (a S 1"), None);
    }

    #[test]
    fn reads_itself() {
        assert!(usage(std::process::id()).unwrap().rss_bytes > 100_000);
        assert!(usage(u32::MAX).is_err());
    }
}
