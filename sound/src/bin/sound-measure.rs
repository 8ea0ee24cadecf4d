//! Measures recordings, for scripts: `sound-measure FILE.wav [--tone HZ]... [--sent SENT.wav]`.
//!
//! Prints one line for each measure, `name value`: seconds, peak, dbfs, clipped, gaps, `tone_HZ` (amplitude of that frequency),
//! `delay_ms` and `likeness` of what was sent in the recording. Exits with 1 when a file cannot be read.

use std::path::Path;
use std::process::ExitCode;

use colloque_sound::measure::{amplitude_of, delay, gaps, summary};
use colloque_sound::wav::Wav;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match measure(&arguments) {
        Ok(lines) => {
            lines.iter().for_each(|line| println!("{line}"));
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("sound-measure: {why}");
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &[String]) -> Result<Vec<String>, String> {
    let (file, options) = arguments.split_first().ok_or("which recording?")?;
    let recording = read(Path::new(file))?;
    let told = summary(&recording.samples, recording.hz);
    let mut lines = vec![
        format!("seconds {:.2}", told.seconds),
        format!("peak {}", told.peak),
        format!("dbfs {:.1}", told.decibels),
        format!("clipped {}", told.clipped),
        format!("gaps {}", gaps(&recording.samples, recording.hz, QUIET)),
    ];
    for pair in options.chunks(2) {
        let [name, value] = pair else {
            return Err(format!("{} needs a value", pair[0]));
        };
        match name.as_str() {
            "--tone" => {
                let hz: f64 = value.parse().map_err(|_| format!("{value} is no frequency"))?;
                lines.push(format!("tone_{value} {:.0}", amplitude_of(&recording.samples, recording.hz, hz)));
            }
            "--sent" => {
                let sent = read(Path::new(value))?;
                if sent.hz != recording.hz {
                    return Err(format!("{value} has {} Hz, the recording {}", sent.hz, recording.hz));
                }
                let (start, likeness) =
                    delay(&sent.samples, &recording.samples).ok_or("the recording is shorter than what was sent")?;
                lines.push(format!("delay_ms {:.1}", start as f64 * 1_000.0 / f64::from(recording.hz)));
                lines.push(format!("likeness {likeness:.3}"));
            }
            other => return Err(format!("{other} is not known")),
        }
    }
    Ok(lines)
}

fn read(path: &Path) -> Result<Wav, String> {
    let bytes = std::fs::read(path).map_err(|why| format!("{}: {why}", path.display()))?;
    Wav::parse(&bytes).map_err(|why| format!("{} {why}", path.display()))
}

/// Softer than that is a hole, in dBFS.
const QUIET: f32 = -55.0;
