//! Renders the telephone's prompts with espeak-ng when the server is built: `texts.rs` in, A-law at 16 kHz out.
//!
//! A prompt is rendered again only when its words or the voice changed: its file is named by both. A source tree that has all files
//! (a release archive) needs no espeak-ng. Not here: which prompts there are, and how the server plays them.
//!
//! ```text
//!   espeak-ng ─22 kHz─► high-pass 200 Hz, treble +4 dB ─► 16 kHz ─► silence cut ─► -20 dBFS ─► A-law
//! ```

use std::collections::{BTreeSet, HashMap};
use std::f64::consts::{PI, TAU};
use std::path::Path;
use std::process::Command;
use std::{fs, io};

#[allow(dead_code)]
#[path = "../sound/src/g711.rs"]
mod g711;
#[allow(dead_code)]
#[path = "../src/telephone/prompts/texts.rs"]
mod texts;
#[allow(dead_code)]
#[path = "../sound/src/wav.rs"]
mod wav;

/// What is watched beside `build.rs`.
pub const SOURCES: [&str; 4] =
    ["build/prompts.rs", "sound/src/g711.rs", "sound/src/wav.rs", "src/telephone/prompts/texts.rs"];

/// espeak-ng's arguments. 140 words a minute are a fifth slower than its usual: old people follow, and nobody is in a hurry yet. The
/// plain male voices: their pitch is where hearing is lost last, and their consonants are the sharpest.
const VOICES: [(&str, &[&str]); 2] =
    [("fr", &["-v", "fr", "-s", "140", "-p", "45"]), ("en", &["-v", "en-gb", "-s", "140", "-p", "45"])];

/// Counts up when what is below makes other sound of the same words.
const VERSION: u32 = 1;

const HZ: u64 = 16_000;
/// Speech is brought there (root mean square of what is not a pause), in dBFS; a little louder than the voices in a call.
const LEVEL: f64 = -20.0;
/// No sample is higher: 1 dB below full scale.
const PEAK: f64 = 0.89;
const KNEE: f64 = 0.6;

/// Renders what is missing into `voice/LANGUAGE/` under `folder`, throws away what is not needed any more, and writes the list of
/// all into `index`, a file to be included.
pub fn render(folder: &Path, index: &Path) -> io::Result<()> {
    let mut list = String::from("&[\n");
    for (language, voice) in VOICES {
        let voices = folder.join(language);
        fs::create_dir_all(&voices)?;
        let mut needed = BTreeSet::new();
        for &prompt in texts::Prompt::ALL {
            let words = if language == "fr" { prompt.words().fr } else { prompt.words().en };
            let file = format!("{}-{:016x}.alaw", prompt.name(), fingerprint(voice, words));
            let path = voices.join(&file);
            if !path.exists() {
                let sound = speak(voice, words)?;
                let mut bytes = vec![0; sound.len()];
                g711::encode_a_law(&sound, &mut bytes);
                // Renamed when it is whole, so that a build that is killed leaves no half prompt.
                let unfinished = voices.join(format!("{file}.{}", std::process::id()));
                fs::write(&unfinished, bytes)?;
                fs::rename(&unfinished, &path)?;
            }
            let path = fs::canonicalize(&path)?;
            list += &format!("    ({language:?}, {:?}, include_bytes!({path:?})),\n", prompt.name());
            needed.insert(file);
        }
        for entry in fs::read_dir(&voices)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(".alaw") && !needed.contains(&name) {
                fs::remove_file(entry.path())?;
            }
        }
    }
    fs::write(index, list + "]\n")
}

/// FNV-1a of everything that the sound depends on.
fn fingerprint(voice: &[&str], words: &str) -> u64 {
    let text = format!("{VERSION} {} {words}", voice.join(" "));
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn speak(voice: &[&str], words: &str) -> io::Result<Vec<i16>> {
    let output = Command::new("espeak-ng").args(voice).args(["--stdout", words]).output().map_err(|why| {
        let what =
            if why.kind() == io::ErrorKind::NotFound { "espeak-ng is not installed".into() } else { why.to_string() };
        io::Error::new(why.kind(), what)
    })?;
    let spoken = wav::Wav::parse(&output.stdout).map_err(|why| {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        io::Error::other(format!("what espeak-ng gave {why}: {said}"))
    })?;
    let from = f64::from(spoken.hz);
    let mut sound: Vec<f64> = spoken.samples.iter().map(|&sample| f64::from(sample)).collect();
    high_pass(200.0, from).run(&mut sound);
    treble(1_500.0, 4.0, from).run(&mut sound);
    let sound = trimmed(&resampled(&sound, spoken.hz));
    if sound.is_empty() {
        return Err(io::Error::other("espeak-ng said nothing: is its data installed (espeak-ng-data)?"));
    }
    Ok(levelled(&sound))
}

/// A filter of second order (R. Bristow-Johnson's cookbook).
struct Biquad {
    b: [f64; 3],
    a: [f64; 2],
}

impl Biquad {
    fn run(&self, sound: &mut [f64]) {
        let (mut x1, mut x2, mut y1, mut y2) = (0.0, 0.0, 0.0, 0.0);
        for sample in sound {
            let y = self.b[0] * *sample + self.b[1] * x1 + self.b[2] * x2 - self.a[0] * y1 - self.a[1] * y2;
            (x2, x1, y2, y1) = (x1, *sample, y1, y);
            *sample = y;
        }
    }
}

/// No telephone carries what is below; it would only take room from what is heard.
fn high_pass(hz: f64, rate: f64) -> Biquad {
    let (sin, cos) = (TAU * hz / rate).sin_cos();
    let alpha = sin / 2.0_f64.sqrt();
    let a0 = 1.0 + alpha;
    let b = (1.0 + cos) / 2.0 / a0;
    Biquad { b: [b, -2.0 * b, b], a: [-2.0 * cos / a0, (1.0 - alpha) / a0] }
}

/// More of what consonants are told apart by, which telephones and old ears weaken.
fn treble(hz: f64, decibels: f64, rate: f64) -> Biquad {
    let (sin, cos) = (TAU * hz / rate).sin_cos();
    let gain = 10.0_f64.powf(decibels / 40.0);
    let slope = sin / 2.0_f64.sqrt() * 2.0 * gain.sqrt();
    let (plus, minus) = (gain + 1.0, gain - 1.0);
    let a0 = plus - minus * cos + slope;
    Biquad {
        b: [
            gain * (plus + minus * cos + slope) / a0,
            -2.0 * gain * (minus + plus * cos) / a0,
            gain * (plus + minus * cos - slope) / a0,
        ],
        a: [2.0 * (minus - plus * cos) / a0, (plus - minus * cos - slope) / a0],
    }
}

/// To 16 kHz, by a sinc under a Hann window, cut off at 7.4 kHz.
fn resampled(sound: &[f64], from: u32) -> Vec<f64> {
    let from = u64::from(from);
    let cut = 2.0 * 7_400.0_f64.min(from as f64 / 2.0) / from as f64;
    // Places between two samples come again and again: 320 of them for 22,050 Hz. The filter is worked out once for each.
    let mut filters: HashMap<u64, Vec<f64>> = HashMap::new();
    let len = sound.len() as u64 * HZ / from;
    let mut padded = vec![0.0; REACH];
    padded.extend_from_slice(sound);
    padded.resize(padded.len() + REACH, 0.0);
    let mut out = Vec::with_capacity(len as usize);
    for n in 0..len {
        let (whole, part) = (n * from / HZ, n * from % HZ);
        let filter = filters.entry(part).or_insert_with(|| taps(part as f64 / HZ as f64, cut));
        // The sample at `whole` has moved by the padding; the filter begins REACH - 1 before it.
        let start = whole as usize + 1;
        let sum: f64 = filter.iter().zip(&padded[start..start + 2 * REACH]).map(|(tap, sample)| tap * sample).sum();
        out.push(sum);
    }
    out
}

/// The filter for a place `part` after a sample.
fn taps(part: f64, cut: f64) -> Vec<f64> {
    (0..2 * REACH)
        .map(|tap| {
            let distance = part + (REACH - 1) as f64 - tap as f64;
            let window = 0.5 + 0.5 * (PI * distance / (REACH + 1) as f64).cos();
            let angle = PI * distance * cut;
            let sinc = if angle.abs() < 1e-9 { 1.0 } else { angle.sin() / angle };
            cut * sinc * window
        })
        .collect()
}

/// Samples that the filter looks at to either side.
const REACH: usize = 24;

/// From shortly before the first sound to shortly after the last, faded in and out.
fn trimmed(sound: &[f64]) -> Vec<f64> {
    let loudest = sound.iter().fold(0.0_f64, |loudest, sample| loudest.max(sample.abs()));
    let is_sound = |sample: &f64| sample.abs() > loudest / 200.0;
    let (Some(first), Some(last)) = (sound.iter().position(is_sound), sound.iter().rposition(is_sound)) else {
        return Vec::new();
    };
    let (before, after) = (HZ as usize * 30 / 1_000, HZ as usize * 150 / 1_000);
    let mut kept = sound[first.saturating_sub(before)..(last + after).min(sound.len())].to_vec();
    let fade = HZ as usize * 5 / 1_000;
    let len = kept.len();
    for n in 0..fade.min(len) {
        let share = n as f64 / fade as f64;
        kept[n] *= share;
        kept[len - 1 - n] *= share;
    }
    kept
}

fn levelled(sound: &[f64]) -> Vec<i16> {
    let squares: Vec<f64> = sound
        .chunks(HZ as usize * 20 / 1_000)
        .map(|frame| frame.iter().map(|sample| sample * sample).sum::<f64>() / frame.len() as f64)
        .collect();
    // What is 25 dB below the loudest frame is a pause.
    let loudest = squares.iter().fold(0.0_f64, |loudest, &square| loudest.max(square));
    let speech: Vec<f64> = squares.into_iter().filter(|&square| square > loudest / 316.0).collect();
    let level = (speech.iter().sum::<f64>() / speech.len() as f64).sqrt();
    let gain = 10.0_f64.powf(LEVEL / 20.0) / level;
    sound.iter().map(|sample| (32_768.0 * softened(sample * gain)).round() as i16).collect()
}

/// Full scale is 1. What is louder than [`KNEE`] is pressed together below [`PEAK`]: a plosive or two in a sentence, which would
/// otherwise make all of it softer.
fn softened(sample: f64) -> f64 {
    let (loud, room) = (sample.abs() - KNEE, PEAK - KNEE);
    if loud <= 0.0 { sample } else { (KNEE + room * (loud / room).tanh()).copysign(sample) }
}
