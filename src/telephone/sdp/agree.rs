//! Offer and answer (RFC 3264): one codec, one address, one direction, or a reason why not.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::config::telephone::SrtpPolicy;

use super::*;

/// Our side of a call's sound.
#[derive(Clone, Debug)]
pub struct Local {
    /// Where we receive.
    pub address: SocketAddr,
    /// The same in every description of a call.
    pub session: u64,
    /// One more with every description that differs.
    pub version: u64,
    /// Fresh for every call.
    pub key: MasterKey,
    /// What we want; an answer takes away what the offer does not allow.
    pub direction: Direction,
}

/// What we may agree to.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Best first.
    pub codecs: Vec<TelephoneCodec>,
    /// The trunk's policy.
    pub srtp: SrtpPolicy,
    /// Signalling is TLS: only then are keys in a description secret.
    pub secure: bool,
}

impl Rules {
    /// Whether an offer of ours may hold keys.
    #[must_use]
    pub fn offers_srtp(&self) -> bool {
        self.secure && self.srtp != SrtpPolicy::Off
    }
}

/// What both sides do from now on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Agreed {
    /// Codec and payload type, both ways.
    pub format: Format,
    /// Further codecs that the other side may send at any moment without asking.
    pub also: Vec<Format>,
    /// Keys of the telephone; the payload type that we must expect may differ from call to call, and change in one.
    pub events: Option<Event>,
    /// Payload type of comfort noise (RFC 3389) that may come.
    pub comfort_noise: Option<u8>,
    /// Milliseconds of a packet that we send: 10, 20, 30, 40, 50 or 60.
    pub ptime: u8,
    /// Where sound goes; unspecified while the other side holds the old way.
    pub to: SocketAddr,
    /// Where RTCP goes.
    pub rtcp: Option<SocketAddr>,
    /// From our side.
    pub direction: Direction,
    /// Suite, our key, theirs.
    pub srtp: Option<(Suite, MasterKey, MasterKey)>,
}

/// Why there is no agreement: 488 (RFC 3261 section 21.4.26).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// No codec that both sides know.
    #[error("no common codec")]
    Codec,
    /// They encrypt and we may not, or we must and they do not.
    #[error("no agreement on encryption")]
    Srtp,
    /// No usable address or port.
    #[error("no usable address")]
    Address,
}

/// An offer of ours that waits for its answer.
#[derive(Clone, Debug)]
pub struct Offered {
    /// For the body.
    pub text: String,
    /// Which media line is ours.
    line: usize,
    formats: Vec<Format>,
    local: Local,
    /// The key line: the answer takes it as it is (RFC 4568 section 5.1.3).
    keys: Option<(u32, Suite)>,
}

impl Remote {
    /// Answers an offer: what was agreed, and the body to send.
    pub fn answer(&self, local: &Local, rules: &Rules) -> Result<(Agreed, String), Refused> {
        let mut refused = Refused::Address;
        for (index, line) in self.lines.iter().enumerate() {
            let Line::Audio(audio) = line else { continue };
            match audio.agree(local, rules) {
                Ok((agreed, tag)) => {
                    let text = self.write_answer(index, audio, &agreed, tag, local);
                    return Ok((agreed, text));
                }
                // A codec or key that does not fit says more than a line that is switched off.
                Err(reason) if reason != Refused::Address => refused = reason,
                Err(_) => {}
            }
        }
        Err(refused)
    }

    fn write_answer(&self, chosen: usize, audio: &Audio, agreed: &Agreed, tag: Option<u32>, local: &Local) -> String {
        let mut text = head(local);
        for (index, line) in self.lines.iter().enumerate() {
            match line {
                Line::Audio(_) if index == chosen => {
                    let formats: Vec<Format> = std::iter::once(agreed.format).chain(agreed.also.clone()).collect();
                    let keys = agreed.srtp.as_ref().and_then(|(suite, own, _)| Some((tag?, *suite, own)));
                    let events: Vec<Event> = agreed.events.into_iter().collect();
                    let media = Media { formats: &formats, events: &events, keys, ptime: agreed.ptime };
                    media.write(&mut text, audio.feedback, audio.secure, agreed.direction, local);
                }
                Line::Audio(other) => {
                    let payload = other.codecs.first().map_or(0, |format| format.payload);
                    let _ = write!(text, "m=audio 0 {} {payload}\r\n", profile(other.secure, other.feedback));
                }
                Line::Other { kind, rest } => {
                    let _ = write!(text, "m={kind} 0 {rest}\r\n");
                }
            }
        }
        text
    }
}

impl Audio {
    /// Ours first where both know several: wide-band beats the telephone's habit of naming A-law first.
    fn agree(&self, local: &Local, rules: &Rules) -> Result<(Agreed, Option<u32>), Refused> {
        let to = self.address.ok_or(Refused::Address)?;
        let known = |codec: &TelephoneCodec| self.codecs.iter().find(|format| format.codec == *codec).copied();
        let mut formats = rules.codecs.iter().filter_map(known);
        let format = formats.next().ok_or(Refused::Codec)?;
        let keys = match (self.secure, rules.srtp) {
            (false, SrtpPolicy::Require) | (true, SrtpPolicy::Off) => return Err(Refused::Srtp),
            (true, _) if !rules.secure => return Err(Refused::Srtp),
            (true, _) => Some(self.crypto.first().ok_or(Refused::Srtp)?),
            (false, _) => None,
        };
        let agreed = Agreed {
            format,
            also: formats.collect(),
            events: self.events(format.codec),
            comfort_noise: self.comfort_noise,
            ptime: self.ptime,
            to,
            rtcp: self.rtcp,
            direction: meet(local.direction, self.direction),
            srtp: keys.map(|theirs| (theirs.suite, local.key.clone(), theirs.key.clone())),
        };
        Ok((agreed, keys.map(|theirs| theirs.tag)))
    }

    /// The one with the codec's own clock, else whichever there is.
    fn events(&self, codec: TelephoneCodec) -> Option<Event> {
        let rate = if codec == TelephoneCodec::Opus { 48_000 } else { 8_000 };
        self.events.iter().find(|event| event.rate == rate).or(self.events.first()).copied()
    }
}

impl Offered {
    /// Our offer: all codecs of the rules, keys where they are allowed.
    #[must_use]
    pub fn new(local: Local, rules: &Rules) -> Offered {
        let keys = rules.offers_srtp().then_some(OFFERED);
        let formats: Vec<Format> =
            rules.codecs.iter().map(|codec| Format { codec: *codec, payload: usual_payload(*codec) }).collect();
        let mut events = vec![Event { payload: EVENTS, rate: 8_000 }];
        if rules.codecs.contains(&TelephoneCodec::Opus) {
            events.push(Event { payload: EVENTS_WIDE, rate: 48_000 });
        }
        let mut text = head(&local);
        let written = keys.map(|(tag, suite)| (tag, suite, &local.key));
        let media = Media { formats: &formats, events: &events, keys: written, ptime: 20 };
        media.write(&mut text, false, keys.is_some(), local.direction, &local);
        Offered { text, line: 0, formats, local, keys }
    }

    /// A description of ours, offer or answer, that is offered once more as it stands. None: it is not of our making.
    #[must_use]
    pub fn again(text: &str, local: Local) -> Option<Offered> {
        let lines = Remote::read(text.as_bytes()).ok()?.lines;
        let mut lines = lines.into_iter().enumerate();
        let (line, audio) = lines.find_map(|(line, described)| match described {
            Line::Audio(audio) if audio.address.is_some() => Some((line, audio)),
            _ => None,
        })?;
        let keys = audio.crypto.first().filter(|_| audio.secure).map(|crypto| (crypto.tag, crypto.suite));
        let local = Local { direction: audio.direction, ..local };
        Some(Offered { text: text.to_owned(), line, formats: audio.codecs, local, keys })
    }

    /// What the answer makes of it.
    pub fn accept(&self, answer: &Remote) -> Result<Agreed, Refused> {
        let Some(Line::Audio(audio)) = answer.lines.get(self.line) else { return Err(Refused::Address) };
        if audio.address.is_none() {
            return Err(Refused::Address);
        }
        let rules = Rules {
            codecs: audio.codecs.iter().map(|format| format.codec).collect(),
            srtp: if self.keys.is_some() { SrtpPolicy::Require } else { SrtpPolicy::Off },
            secure: self.keys.is_some(),
        };
        // Only what we offered; with the answer's first choice first.
        let mut audio = audio.clone();
        audio.codecs.retain(|format| self.formats.iter().any(|own| own.codec == format.codec));
        audio.crypto.retain(|crypto| Some((crypto.tag, crypto.suite)) == self.keys);
        audio.agree(&self.local, &rules).map(|(agreed, _)| agreed)
    }
}

/// One audio line as we write it.
struct Media<'a> {
    formats: &'a [Format],
    events: &'a [Event],
    keys: Option<(u32, Suite, &'a MasterKey)>,
    ptime: u8,
}

impl Media<'_> {
    fn write(&self, text: &mut String, feedback: bool, secure: bool, direction: Direction, local: &Local) {
        let _ = write!(text, "m=audio {} {}", local.address.port(), profile(secure, feedback));
        for payload in self.formats.iter().map(|f| f.payload).chain(self.events.iter().map(|event| event.payload)) {
            let _ = write!(text, " {payload}");
        }
        text.push_str("\r\n");
        for Format { codec, payload } in self.formats {
            let _ = write!(text, "a=rtpmap:{payload} {}\r\n", codec_name(*codec));
            if *codec == TelephoneCodec::Opus {
                let _ = write!(text, "a=fmtp:{payload} useinbandfec=1;maxplaybackrate=16000;stereo=0\r\n");
            }
        }
        for Event { payload, rate } in self.events {
            let _ = write!(text, "a=rtpmap:{payload} telephone-event/{rate}\r\na=fmtp:{payload} 0-15\r\n");
        }
        if let Some((tag, suite, key)) = self.keys {
            let _ = write!(text, "a=crypto:{tag} {} inline:{}\r\n", suite.name(), STANDARD.encode(key.0));
        }
        let _ = write!(text, "a=ptime:{}\r\na={}\r\n", self.ptime, direction.name());
    }
}

fn head(local: &Local) -> String {
    let family = if local.address.is_ipv4() { "IP4" } else { "IP6" };
    let (ip, Local { session, version, .. }) = (local.address.ip(), local);
    // The name of the session says nothing of anybody (RFC 8866 section 5.3).
    format!("v=0\r\no=- {session} {version} IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\n")
}

fn profile(secure: bool, feedback: bool) -> &'static str {
    match (secure, feedback) {
        (false, false) => "RTP/AVP",
        (false, true) => "RTP/AVPF",
        (true, false) => "RTP/SAVP",
        (true, true) => "RTP/SAVPF",
    }
}

/// Our direction, given what we want and what they described.
fn meet(wanted: Direction, theirs: Direction) -> Direction {
    let sends = |direction| matches!(direction, Direction::SendRecv | Direction::SendOnly);
    let receives = |direction| matches!(direction, Direction::SendRecv | Direction::RecvOnly);
    match (sends(wanted) && receives(theirs), receives(wanted) && sends(theirs)) {
        (true, true) => Direction::SendRecv,
        (true, false) => Direction::SendOnly,
        (false, true) => Direction::RecvOnly,
        (false, false) => Direction::Inactive,
    }
}

fn codec_name(codec: TelephoneCodec) -> &'static str {
    match codec {
        TelephoneCodec::Opus => "opus/48000/2",
        TelephoneCodec::G722 => "G722/8000",
        TelephoneCodec::Pcma => "PCMA/8000",
        TelephoneCodec::Pcmu => "PCMU/8000",
    }
}

fn usual_payload(codec: TelephoneCodec) -> u8 {
    match codec {
        TelephoneCodec::Pcmu => 0,
        TelephoneCodec::Pcma => 8,
        TelephoneCodec::G722 => 9,
        TelephoneCodec::Opus => 96,
    }
}

/// Tag and suite of the only key line that we offer.
const OFFERED: (u32, Suite) = (1, Suite::Sha1_80);
/// What nearly every telephone uses.
const EVENTS: u8 = 101;
const EVENTS_WIDE: u8 = 102;
