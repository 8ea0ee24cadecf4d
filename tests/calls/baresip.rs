//! baresip as the telephone: a program of others that speaks SIP over TLS with encrypted sound, a tone for its voice, a recording for its ear.
//!
//! It is driven over its control socket (JSON in netstrings). A recording is whole once the call is over. Not here: what is tested.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use colloque::config::TlsFiles;
use colloque_sound::Rate;
use colloque_sound::measure::amplitude_of;
use colloque_sound::tones::Tone;
use colloque_sound::wav::Wav;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::voice::PATIENCE;

/// A running baresip.
pub struct Baresip {
    _child: Child,
    control: BufReader<TcpStream>,
    folder: PathBuf,
}

/// What a baresip is to be.
pub struct Identity<'a> {
    /// Whom it believes.
    pub ca: &'a Path,
    /// Its own certificate, for calls to it.
    pub certificate: &'a TlsFiles,
    /// Its SIP port for TLS; the port before is bound too.
    pub port: u16,
    pub control: u16,
    /// `srtp-mand`, or nothing.
    pub encryption: &'a str,
    /// Its voice.
    pub hz: f32,
}

impl Drop for Baresip {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Baresip {
    pub async fn start(identity: Identity<'_>) -> Baresip {
        let name = format!("colloque-baresip-{}-{:x}", std::process::id(), rand::random::<u64>());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(folder.join("recordings")).unwrap();
        let mut samples = vec![0; 8_000 * VOICE_SECONDS];
        Tone::new(identity.hz, 8_000.0, Rate::Narrow).fill(&mut samples);
        let voice = Wav { hz: Rate::Narrow.hz(), samples };
        std::fs::write(folder.join("voice.wav"), voice.to_bytes()).unwrap();
        let certificate =
            [&identity.certificate.cert, &identity.certificate.key].map(|file| std::fs::read(file).unwrap());
        std::fs::write(folder.join("own.pem"), certificate.concat()).unwrap();
        std::fs::write(folder.join("config"), configuration(&folder, &identity)).unwrap();
        let encryption =
            if identity.encryption.is_empty() { "" } else { &format!(";mediaenc={}", identity.encryption) };
        let account = format!(
            "<sip:+33612345678@127.0.0.1:{};transport=tls>;regint=0;answermode=auto;audio_codecs=PCMA{encryption}\n",
            identity.port
        );
        std::fs::write(folder.join("accounts"), account).unwrap();
        std::fs::write(folder.join("contacts"), "").unwrap();
        let mut command = Command::new("baresip");
        command.args(["-f", &folder.display().to_string()]).stdin(Stdio::null()).kill_on_drop(true);
        command.stdout(std::fs::File::create(folder.join("out")).unwrap());
        command.stderr(std::fs::File::create(folder.join("err")).unwrap());
        let child = command.spawn().expect("baresip is installed (scripts/setup.sh test)");
        let connected = tokio::time::timeout(PATIENCE, async {
            loop {
                if let Ok(stream) = TcpStream::connect(("127.0.0.1", identity.control)).await {
                    return stream;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        let control = BufReader::new(connected.await.expect("baresip's control socket"));
        Baresip { _child: child, control, folder }
    }

    pub async fn dial(&mut self, address: &str) {
        self.command("dial", address).await;
    }

    pub async fn hang_up(&mut self) {
        self.command("hangup", "").await;
    }

    /// One key after the other, as slowly as a person.
    pub async fn press(&mut self, keys: &str) {
        for key in keys.chars() {
            self.command("sndcode", &key.to_string()).await;
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    /// Waits for an event of this kind, as `CALL_ESTABLISHED`; gives what is said of it.
    pub async fn sees(&mut self, kind: &str) -> String {
        let mut passed = Vec::new();
        let found = async {
            loop {
                let event = self.event().await;
                if event["type"] == kind {
                    return event["param"].as_str().unwrap_or_default().to_owned();
                }
                passed.push(event.to_string());
            }
        };
        match tokio::time::timeout(PATIENCE, found).await {
            Ok(found) => found,
            Err(_) => panic!("never seen: {kind}; seen: {passed:?}; {}", self.told()),
        }
    }

    /// Seconds in which each of these tones stood out in what was heard during the last call.
    pub fn heard<const N: usize>(&self, tones: [f32; N]) -> [f64; N] {
        let recordings = std::fs::read_dir(self.folder.join("recordings")).unwrap().flatten().map(|entry| entry.path());
        let heard = recordings.filter(|path| path.display().to_string().contains("dec")).max();
        let heard = heard.unwrap_or_else(|| panic!("no recording: {}", self.told()));
        let wav = Wav::parse(&std::fs::read(heard).unwrap()).unwrap();
        let pieces = wav.samples.as_chunks::<800>().0;
        tones.map(|hz| {
            let loud = pieces.iter().filter(|piece| amplitude_of(&piece[..], wav.hz, f64::from(hz)) > LOUD);
            loud.count() as f64 / 10.0
        })
    }

    async fn command(&mut self, command: &str, params: &str) {
        let text = json!({"command": command, "params": params}).to_string();
        let netstring = format!("{}:{text},", text.len());
        self.control.get_mut().write_all(netstring.as_bytes()).await.unwrap();
    }

    async fn event(&mut self) -> Value {
        let mut length = Vec::new();
        self.control.read_until(b':', &mut length).await.unwrap();
        let length: usize = String::from_utf8_lossy(&length).trim_matches([',', ':']).parse().expect("a netstring");
        let mut text = vec![0; length];
        self.control.read_exact(&mut text).await.unwrap();
        assert_eq!(self.control.read_u8().await.unwrap(), b',');
        serde_json::from_slice(&text).unwrap()
    }

    fn told(&self) -> String {
        ["out", "err"].map(|name| std::fs::read_to_string(self.folder.join(name)).unwrap_or_default()).concat()
    }
}

fn configuration(folder: &Path, identity: &Identity<'_>) -> String {
    let (folder, Identity { ca, port, control, .. }) = (folder.display(), identity);
    let modules =
        ["g711.so", "aufile.so", "aubridge.so", "sndfile.so", "srtp.so"].map(|name| format!("module {name}\n"));
    let applications =
        ["account.so", "contact.so", "menu.so", "ctrl_tcp.so"].map(|name| format!("module_app {name}\n"));
    format!(
        "poll_method epoll\nsip_listen 127.0.0.1:{}\nsip_cafile {}\nsip_certificate {folder}/own.pem\n\
         audio_source aufile,{folder}/voice.wav\naudio_player aubridge,ear\naudio_alert aubridge,bell\naudio_buffer 20-160\n\
         ctrl_tcp_listen 127.0.0.1:{control}\nsnd_path {folder}/recordings\nmodule_path /usr/lib/baresip/modules\n{}{}",
        port - 1,
        ca.display(),
        modules.concat(),
        applications.concat()
    )
}

/// The file is played once.
const VOICE_SECONDS: usize = 60;
/// What stands out in a recording: voices and words have 4,000 and more.
const LOUD: f64 = 1_500.0;
