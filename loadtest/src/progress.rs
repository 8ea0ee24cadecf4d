//! A progress bar that overwrites itself, on terminals only: logs and files get nothing.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Shows how far a run is. Clears its line when dropped.
pub struct Progress {
    shown_at: Option<Instant>,
    terminal: bool,
}

impl Default for Progress {
    fn default() -> Self {
        Self { shown_at: None, terminal: std::io::stderr().is_terminal() }
    }
}

impl Progress {
    /// Shows `done` of `whole` and what is being done.
    pub fn show(&mut self, done: f64, whole: f64, what: &str) {
        if self.terminal && self.shown_at.is_none_or(|at| at.elapsed() >= SHOW_EVERY) {
            self.shown_at = Some(Instant::now());
            eprint!("\r\x1b[K{}", line(done, whole, what));
            // A bar that cannot be drawn is no reason to end a measurement.
            let _ = std::io::stderr().flush();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.terminal {
            eprint!("\r\x1b[K");
        }
    }
}

fn line(done: f64, whole: f64, what: &str) -> String {
    let share = if whole > 0.0 { (done / whole).clamp(0.0, 1.0) } else { 1.0 };
    let full = (share * BAR_LEN as f64).round() as usize;
    format!("[{}{}] {:>3.0} %  {what}", "#".repeat(full), ".".repeat(BAR_LEN - full), share * 100.0)
}

const BAR_LEN: usize = 30;
const SHOW_EVERY: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_fills_and_never_overflows() {
        assert!(line(0.0, 10.0, "x").starts_with(&format!("[{}]   0 %", ".".repeat(30))));
        assert!(line(5.0, 10.0, "x").starts_with(&format!("[{}{}]  50 %", "#".repeat(15), ".".repeat(15))));
        assert!(line(99.0, 10.0, "x").starts_with(&format!("[{}] 100 %", "#".repeat(30))));
        assert!(line(0.0, 0.0, "calls").ends_with("100 %  calls"));
    }
}
