//! The sound of one call as both sides describe it: from SIP's descriptions to what the media leg is told, and back.
//!
//! Every description of a call has the same session and key, and one more version than the last (RFC 3264 section 8). Not here: what
//! may be agreed on (`telephone::sdp`), packets (`telephone::media`).

use std::net::SocketAddr;
use std::time::Duration;

use colloque_sound::Codec;

use crate::config::telephone::{SrtpPolicy, TelephoneCodec};
use crate::ids::PayloadType;
use crate::pii::Pii;
use crate::telephone::media::{CallKeys, Connection, Format};
use crate::telephone::sdp::{Agreed, Direction, Local, Offered, Refused, Remote, Rules, Suite};
use crate::transport::srtp::Profile;

/// Our side of one call's descriptions.
#[derive(Clone, Debug)]
pub(in crate::telephone) struct Description {
    local: Local,
    rules: Rules,
    /// What we offered last, and not yet agreed on.
    offered: Option<Offered>,
}

impl Description {
    /// For a call whose sound we receive at `address`.
    pub(in crate::telephone) fn new(address: SocketAddr, rules: Rules) -> Self {
        let local = Local {
            address,
            session: rand::random::<u32>().into(),
            version: 1,
            key: Pii(rand::random()),
            direction: Direction::SendRecv,
        };
        Self { local, rules, offered: None }
    }

    /// Answers an offer; or, when there is none, makes ours, whose answer comes later.
    pub(in crate::telephone) fn answer(
        &mut self,
        offer: Option<&Remote>,
    ) -> Result<(Option<Connection>, String), Refused> {
        self.local.version += 1;
        let Some(offer) = offer else {
            // Ours could hold no key: sound would be in the clear, and nothing that is checked in an offer of theirs was.
            if self.rules.srtp == SrtpPolicy::Require && !self.rules.offers_srtp() {
                return Err(Refused::Srtp);
            }
            return Ok((None, self.offer()));
        };
        let (agreed, text) = offer.answer(&self.local, &self.rules)?;
        Ok((Some(connection(&agreed)), text))
    }

    /// A fresh offer.
    pub(super) fn offer(&mut self) -> String {
        self.local.version += 1;
        let offered = Offered::new(self.local.clone(), &self.rules);
        self.offered.insert(offered).text.clone()
    }

    /// What the answer to our last offer makes of it.
    pub(super) fn accept(&mut self, answer: &Remote) -> Result<Connection, Refused> {
        let offered = self.offered.take().ok_or(Refused::Codec)?;
        offered.accept(answer).map(|agreed| connection(&agreed))
    }

    /// What an answer makes of the description in force, when that was offered once more as it stands.
    pub(super) fn renew(&self, ours: &str, theirs: &Remote) -> Result<Connection, Refused> {
        let offered = Offered::again(ours, self.local.clone()).ok_or(Refused::Codec)?;
        offered.accept(theirs).map(|agreed| connection(&agreed))
    }
}

fn connection(agreed: &Agreed) -> Connection {
    let format = |format: &crate::telephone::sdp::Format| Format {
        codec: codec(format.codec),
        payload_type: PayloadType(format.payload),
    };
    let keys = agreed.srtp.as_ref().map(|(suite, ours, theirs)| CallKeys {
        profile: match suite {
            Suite::Sha1_80 => Profile::Aes128CmSha1_80,
            Suite::Sha1_32 => Profile::Aes128CmSha1_32,
        },
        ours: ours.clone(),
        theirs: theirs.clone(),
    });
    Connection {
        remote: agreed.to,
        remote_reports: agreed.rtcp,
        formats: std::iter::once(&agreed.format).chain(&agreed.also).map(format).collect(),
        event_type: agreed.events.map(|event| PayloadType(event.payload)),
        noise_type: agreed.comfort_noise.map(PayloadType),
        packet: Duration::from_millis(agreed.ptime.into()),
        keys,
        sends: matches!(agreed.direction, Direction::SendRecv | Direction::SendOnly),
        receives: matches!(agreed.direction, Direction::SendRecv | Direction::RecvOnly),
    }
}

fn codec(codec: TelephoneCodec) -> Codec {
    match codec {
        TelephoneCodec::Opus => Codec::Opus,
        TelephoneCodec::G722 => Codec::G722,
        TelephoneCodec::Pcma => Codec::Pcma,
        TelephoneCodec::Pcmu => Codec::Pcmu,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description(srtp: SrtpPolicy, secure: bool) -> Description {
        let rules = Rules { codecs: vec![TelephoneCodec::G722, TelephoneCodec::Pcma], srtp, secure };
        Description::new("192.0.2.1:20000".parse().unwrap(), rules)
    }

    fn remote(media: &str) -> Remote {
        let text = format!("v=0\r\no=- 1 5 IN IP4 198.51.100.7\r\ns=x\r\nc=IN IP4 198.51.100.7\r\nt=0 0\r\n{media}");
        Remote::read(text.as_bytes()).unwrap()
    }

    /// A call without an offer lets us make it. What the line requires of offers was not looked for in our own: it went out in the clear.
    #[test]
    fn a_line_that_requires_keys_offers_none_in_the_clear() {
        assert_eq!(description(SrtpPolicy::Require, false).answer(None).unwrap_err(), Refused::Srtp);
        let (_, text) = description(SrtpPolicy::Require, true).answer(None).unwrap();
        assert!(text.contains("RTP/SAVP"), "{text}");
        for secure in [false, true] {
            let (_, text) = description(SrtpPolicy::Off, secure).answer(None).unwrap();
            assert!(text.contains("RTP/AVP "), "{text}");
        }
    }

    /// A session is renewed with the description in force, whoever offered it first; the answer may name another port, codec and key.
    #[test]
    fn the_answer_to_a_description_that_is_offered_once_more_moves_the_sound() {
        let keys = |letter: &str| format!("a=crypto:3 AES_CM_128_HMAC_SHA1_32 inline:{}\r\n", letter.repeat(40));
        let mut plain = description(SrtpPolicy::Off, false);
        let refused = "m=video 5000 RTP/AVP 96\r\n";
        let (before, ours) = plain.answer(Some(&remote(&format!("{refused}m=audio 4000 RTP/AVP 8 9\r\n")))).unwrap();
        let answer = "m=video 0 RTP/AVP 96\r\nm=audio 4002 RTP/AVP 8\r\na=sendonly\r\n";
        let after = plain.renew(&ours, &remote(answer)).unwrap();
        assert_eq!((before.unwrap().remote.port(), after.remote.port()), (4000, 4002));
        assert_eq!((after.formats[0].codec, after.sends, after.receives), (Codec::Pcma, false, true));
        assert_eq!(plain.renew(&ours, &remote("m=audio 4002 RTP/AVP 8\r\n")).unwrap_err(), Refused::Address);

        let mut called = description(SrtpPolicy::Off, false);
        let ours = called.offer();
        called.accept(&remote("m=audio 4000 RTP/AVP 9\r\n")).unwrap();
        let after = called.renew(&ours, &remote("m=audio 4004 RTP/AVP 8\r\n")).unwrap();
        assert_eq!((after.remote.port(), after.formats.len(), after.formats[0].codec), (4004, 1, Codec::Pcma));
        assert_eq!(called.renew(&ours, &remote("m=audio 4004 RTP/AVP 0\r\n")).unwrap_err(), Refused::Codec);

        let mut secure = description(SrtpPolicy::Require, true);
        let offer = format!("m=audio 4000 RTP/SAVP 8\r\n{}", keys("A"));
        let (before, ours) = secure.answer(Some(&remote(&offer))).unwrap();
        let after = secure.renew(&ours, &remote(&format!("m=audio 4002 RTP/SAVP 8\r\n{}", keys("B")))).unwrap();
        let (before, after) = (before.unwrap().keys.unwrap(), after.keys.unwrap());
        assert!(before.ours == after.ours && before.theirs != after.theirs && after.profile == before.profile);
        assert_eq!(secure.renew(&ours, &remote("m=audio 4002 RTP/AVP 8\r\n")).unwrap_err(), Refused::Srtp);
        let other = format!("m=audio 4002 RTP/SAVP 8\r\n{}", keys("B").replace("a=crypto:3", "a=crypto:1"));
        assert_eq!(secure.renew(&ours, &remote(&other)).unwrap_err(), Refused::Srtp);
    }
}
