//! What the telephone says: prompts in two languages at both rates, shipped in the server, replaceable by the operator's recordings.
//!
//! The shipped voice is rendered when the server is built (`build/prompts.rs`) and lies in the binary as A-law at 16 kHz; the narrow
//! form is made of it at the start. A recording is `LANGUAGE/NAME.wav` in the configured folder, 8 or 16 kHz, 16 bits, mono: `fr/ask_pin.wav`.
//! Not here: when what is said (`telephone::call`), and playing (`telephone::media`).

mod texts;

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use colloque_signaling::message::Language;
use colloque_sound::level::Level;
use colloque_sound::resample::Resampler;
use colloque_sound::wav::Wav;
use colloque_sound::{Rate, g711};

use crate::config::unreadable;

pub use texts::Prompt;

/// Every prompt, ready to be played.
pub struct Prompts {
    clips: HashMap<(Language, Prompt), Clip>,
}

struct Clip {
    narrow: Arc<[i16]>,
    wide: Arc<[i16]>,
}

/// What is wrong with the operator's recordings, a line for each file.
#[derive(Debug, PartialEq, Eq)]
pub struct PromptsError(pub Vec<String>);

impl fmt::Display for PromptsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

impl std::error::Error for PromptsError {}

impl Prompts {
    /// The shipped prompts, with those replaced for which `folder` has a recording. Every file is read now, so that what is wrong is
    /// known before the first call.
    pub fn new(folder: Option<&Path>) -> Result<Self, PromptsError> {
        let mut recorded = match folder {
            Some(folder) => recordings(folder)?,
            None => HashMap::new(),
        };
        let mut clips = HashMap::new();
        for &(language, name, a_law) in SHIPPED {
            let Some((language, prompt)) = named(language, name) else {
                continue;
            };
            let clip = recorded.remove(&(language, prompt)).unwrap_or_else(|| {
                let mut wide = vec![0; a_law.len()];
                g711::decode_a_law(a_law, &mut wide);
                Clip::new(&Wav { hz: Rate::Wide.hz(), samples: wide })
            });
            clips.insert((language, prompt), clip);
        }
        Ok(Self { clips })
    }

    /// The prompt's samples at that rate.
    #[must_use]
    pub fn samples(&self, language: Language, prompt: Prompt, rate: Rate) -> &Arc<[i16]> {
        // Invariant: `build.rs` renders every prompt in every language; a test counts them.
        let clip = &self.clips[&(language, prompt)];
        match rate {
            Rate::Narrow => &clip.narrow,
            Rate::Wide => &clip.wide,
        }
    }
}

impl Clip {
    /// Both rates of a sound at one of them.
    fn new(sound: &Wav) -> Self {
        let (own, other) =
            if sound.hz == Rate::Wide.hz() { (Rate::Wide, Rate::Narrow) } else { (Rate::Narrow, Rate::Wide) };
        let mut resampler = Resampler::between(own, other);
        let mut resampled = Vec::with_capacity(sound.samples.len() * other.frame_samples() / own.frame_samples());
        let mut frame = vec![0; own.frame_samples()];
        let mut out = vec![0; other.frame_samples()];
        for samples in sound.samples.chunks(frame.len()) {
            frame[..samples.len()].copy_from_slice(samples);
            frame[samples.len()..].fill(0);
            resampler.process(&frame, &mut out);
            resampled.extend_from_slice(&out);
        }
        let (own_samples, other_samples) = (Arc::from(sound.samples.as_slice()), Arc::from(resampled));
        match own {
            Rate::Narrow => Self { narrow: own_samples, wide: other_samples },
            Rate::Wide => Self { narrow: other_samples, wide: own_samples },
        }
    }
}

fn named(language: &str, name: &str) -> Option<(Language, Prompt)> {
    let language = LANGUAGES.iter().find(|(folder, _)| *folder == language)?.1;
    let prompt = Prompt::ALL.iter().find(|prompt| prompt.name() == name)?;
    Some((language, *prompt))
}

/// Every recording of the folder. A file that has no prompt's name is a mistake too: somebody believes that it is played.
fn recordings(folder: &Path) -> Result<HashMap<(Language, Prompt), Clip>, PromptsError> {
    let (mut clips, mut faults) = (HashMap::new(), Vec::new());
    let mut found_folder = false;
    for (language, _) in LANGUAGES {
        let Ok(entries) = folder.join(language).read_dir() else {
            continue;
        };
        found_folder = true;
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.extension().is_none_or(|extension| extension != "wav") {
                continue;
            }
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            let read = named(language, &name)
                .ok_or_else(|| "is no prompt's name".to_owned())
                .and_then(|key| Ok((key, recording(&path)?)));
            match read {
                Ok((key, clip)) => drop(clips.insert(key, clip)),
                Err(why) => faults.push(format!("{}: {why}", path.display())),
            }
        }
    }
    if !found_folder {
        faults.push(format!("{}: has no folder `fr` or `en`", folder.display()));
    }
    faults.sort();
    if faults.is_empty() { Ok(clips) } else { Err(PromptsError(faults)) }
}

fn recording(path: &Path) -> Result<Clip, String> {
    let len = path.metadata().map_err(|why| why.to_string())?.len();
    if len > FILE_MAX {
        return Err(format!("is longer than {SECONDS_MAX} seconds"));
    }
    let wav = Wav::parse(&std::fs::read(path).map_err(|why| unreadable(&why))?).map_err(|why| why.to_string())?;
    if ![Rate::Narrow, Rate::Wide].iter().any(|rate| rate.hz() == wav.hz) {
        return Err(format!("has {} Hz, and must have 8000 or 16000", wav.hz));
    }
    if wav.samples.len() > (SECONDS_MAX * wav.hz) as usize {
        return Err(format!("is longer than {SECONDS_MAX} seconds"));
    }
    if Level::of(&wav.samples).below_overload() > SOFTEST {
        return Err("is too soft to be heard".to_owned());
    }
    Ok(Clip::new(&wav))
}

/// As `build.rs` names them, and as folders are named.
const LANGUAGES: [(&str, Language); 2] = [("fr", Language::Fr), ("en", Language::En)];

/// Longer recordings are refused: nobody listens to a minute of prompt, and each costs memory.
const SECONDS_MAX: u32 = 60;
/// That long at 16 kHz, with room for a file's other chunks.
const FILE_MAX: u64 = SECONDS_MAX as u64 * 32_000 + 65_536;
/// A recording below -50 dB is an empty one.
const SOFTEST: u8 = 50;

/// Language, name and A-law at 16 kHz of every prompt.
static SHIPPED: &[(&str, &str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/prompts.rs"));

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::fs;
    use std::path::PathBuf;

    use colloque_sound::level::{decibels, mean_square};
    use colloque_sound::measure::{amplitude_of, summary};
    use colloque_sound::tones::{FaxDetector, KeyDetector};

    use super::*;

    fn each(prompts: &Prompts) -> impl Iterator<Item = (Language, Prompt, Rate, &[i16])> {
        LANGUAGES.into_iter().flat_map(move |(_, language)| {
            Prompt::ALL.iter().flat_map(move |&prompt| {
                [Rate::Narrow, Rate::Wide]
                    .map(|rate| (language, prompt, rate, &**prompts.samples(language, prompt, rate)))
            })
        })
    }

    /// An empty folder of this test's own.
    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("colloque-prompts-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("fr")).unwrap();
        folder
    }

    #[test]
    fn every_prompt_is_there_at_speech_level_and_without_clipping() {
        let prompts = Prompts::new(None).unwrap();
        assert_eq!(each(&prompts).count(), 4 * Prompt::ALL.len());
        for (language, prompt, rate, samples) in each(&prompts) {
            let what = format!("{language:?} {} {rate:?}", prompt.name());
            let told = summary(samples, rate.hz());
            assert!((0.3..14.0).contains(&told.seconds), "{what}: {told:?}");
            assert!(told.clipped == 0 && told.peak < 31_500, "{what}: {told:?}");
            // Of what is not a pause.
            let speech: Vec<f32> = samples
                .chunks_exact(rate.frame_samples())
                .map(mean_square)
                .filter(|&square| decibels(square) > -40.0)
                .collect();
            let level = decibels(speech.iter().sum::<f32>() / speech.len() as f32);
            assert!((-23.5..-17.0).contains(&level), "{what}: {level}");
            // It begins and ends near silence, and does not wait long.
            assert!(samples[..8].iter().chain(&samples[samples.len() - 8..]).all(|s| s.unsigned_abs() < 900), "{what}");
            let ten = rate.samples(10);
            let before = samples.chunks(ten).take_while(|piece| decibels(mean_square(piece)) < -50.0).count();
            assert!(before <= 6, "{what} begins after {before}0 ms");
        }
    }

    #[test]
    fn both_rates_are_the_same_sound() {
        let prompts = Prompts::new(None).unwrap();
        for (_, language) in LANGUAGES {
            for &prompt in Prompt::ALL {
                let narrow = prompts.samples(language, prompt, Rate::Narrow);
                let wide = prompts.samples(language, prompt, Rate::Wide);
                assert!(narrow.len().abs_diff(wide.len() / 2) <= 160);
                for hz in [300.0, 500.0, 1_000.0] {
                    let (own, other) = (amplitude_of(narrow, 8_000, hz), amplitude_of(wide, 16_000, hz));
                    assert!((own - other).abs() < 0.1 * other + 2.0, "{} at {hz} Hz: {own}, {other}", prompt.name());
                }
            }
        }
    }

    /// Four minutes of speech in two languages in which nobody pressed a key.
    #[test]
    fn no_prompt_is_taken_for_a_key_or_a_fax() {
        let prompts = Prompts::new(None).unwrap();
        let mut seconds = 0.0;
        for (_, prompt, rate, samples) in each(&prompts) {
            let (mut keys, mut fax) = (KeyDetector::new(rate), FaxDetector::new(rate));
            for frame in samples.chunks_exact(rate.frame_samples()) {
                assert!(keys.handle_frame(frame).is_none(), "a key in {}", prompt.name());
                assert!(!fax.handle_frame(frame), "a fax in {}", prompt.name());
            }
            seconds += samples.len() as f64 / f64::from(rate.hz());
        }
        assert!(seconds > 400.0, "{seconds}");
    }

    #[test]
    fn words_are_neutral_and_say_goodbye_where_the_call_ends() {
        for &prompt in Prompt::ALL {
            for words in [prompt.words().fr, prompt.words().en] {
                let lower = words.to_lowercase();
                for telling in ["médecin", "docteur", "doctor", "patient", "colloque", "santé", "health", "hospital"]
                {
                    let says_it = lower.split(|c: char| !c.is_alphabetic()).any(|word| word == telling);
                    assert!(!says_it, "{} says {telling}", prompt.name());
                }
            }
            assert_eq!(
                prompt.words().fr.contains("Au revoir"),
                prompt.words().en.contains("Goodbye"),
                "{}",
                prompt.name()
            );
        }
    }

    /// Two prompts were rendered, shipped and documented as replaceable, and never said.
    #[test]
    fn every_prompt_is_said_somewhere() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/telephone");
        let mut said = String::new();
        for folder in [source.join("call"), source] {
            for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                if path.extension().is_some_and(|extension| extension == "rs") {
                    let text = fs::read_to_string(path).unwrap();
                    said += text.split("#[cfg(test)]").next().unwrap();
                }
            }
        }
        let words: HashSet<&str> = said.split(|c: char| !c.is_alphanumeric() && c != ':').collect();
        for prompt in Prompt::ALL {
            assert!(words.contains(format!("Prompt::{prompt:?}").as_str()), "{} is never said", prompt.name());
        }
    }

    #[test]
    fn a_recording_replaces_its_prompt_and_no_other() {
        let folder = folder("replaces");
        let tone: Vec<i16> = (0..8_000).map(|n| if n % 16 < 8 { 5_000 } else { -5_000 }).collect();
        let recording = Wav { hz: 8_000, samples: tone };
        fs::write(folder.join("fr/goodbye.wav"), recording.to_bytes()).unwrap();
        let (shipped, replaced) = (Prompts::new(None).unwrap(), Prompts::new(Some(&folder)).unwrap());
        assert_eq!(**replaced.samples(Language::Fr, Prompt::Goodbye, Rate::Narrow), *recording.samples);
        assert_eq!(replaced.samples(Language::Fr, Prompt::Goodbye, Rate::Wide).len(), 16_000);
        for (language, prompt) in [(Language::En, Prompt::Goodbye), (Language::Fr, Prompt::AskPin)] {
            let [before, after] = [&shipped, &replaced].map(|prompts| prompts.samples(language, prompt, Rate::Wide));
            assert_eq!(before, after);
        }
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_is_wrong_with_recordings_is_said_file_by_file() {
        let folder = folder("wrong");
        let sound = |hz: u32, samples: usize, level: i16| Wav { hz, samples: vec![level; samples] }.to_bytes();
        fs::write(folder.join("fr/good_bye.wav"), sound(8_000, 800, 3_000)).unwrap();
        fs::write(folder.join("fr/over.wav"), sound(44_100, 4_410, 3_000)).unwrap();
        fs::write(folder.join("fr/muted.wav"), sound(8_000, 61 * 8_000, 3_000)).unwrap();
        fs::write(folder.join("fr/alone.wav"), sound(8_000, 8_000, 0)).unwrap();
        fs::write(folder.join("fr/help.wav"), b"hello").unwrap();
        fs::write(folder.join("fr/notes.txt"), b"by Anne, in June").unwrap();
        let faults = Prompts::new(Some(&folder)).err().unwrap().0;
        let expected = [
            "alone.wav: is too soft to be heard",
            "good_bye.wav: is no prompt's name",
            "help.wav: is no WAV file",
            "muted.wav: is longer than 60 seconds",
            "over.wav: has 44100 Hz, and must have 8000 or 16000",
        ];
        assert_eq!(faults.len(), expected.len(), "{faults:?}");
        assert!(faults.iter().zip(expected).all(|(fault, end)| fault.ends_with(end)), "{faults:?}");
        fs::remove_dir_all(&folder).unwrap();
        let missing = Prompts::new(Some(&folder)).err().unwrap().to_string();
        assert!(missing.ends_with("has no folder `fr` or `en`"), "{missing}");
    }

    #[test]
    fn every_prompt_stands_in_the_documentation() {
        let mut rows = "| file | says |\n| --- | --- |\n".to_owned();
        for prompt in Prompt::ALL {
            let words = prompt.words();
            rows += &format!("| `{}.wav` | {} — {} |\n", prompt.name(), words.fr, words.en);
        }
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/telephone.md");
        let text = fs::read_to_string(file).unwrap();
        let (before, rest) = text.split_once("<!-- prompts -->\n").unwrap();
        let (written, after) = rest.split_once("<!-- /prompts -->").unwrap();
        if std::env::var_os("COLLOQUE_WRITE_DOCS").is_some() {
            fs::write(file, format!("{before}<!-- prompts -->\n{rows}<!-- /prompts -->{after}")).unwrap();
        } else {
            assert_eq!(written, rows, "renew it: COLLOQUE_WRITE_DOCS=1 cargo test --lib every_prompt");
        }
    }
}
