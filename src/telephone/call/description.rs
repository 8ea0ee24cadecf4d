//! The sound of one call as both sides describe it: from SIP's descriptions to what the media leg is told, and back.
//!
//! Every description of a call has the same session and key, and one more version than the last (RFC 3264 section 8). Not here: what
//! may be agreed on (`telephone::sdp`), packets (`telephone::media`).

use std::net::SocketAddr;
use std::time::Duration;

use colloque_sound::Codec;

use crate::config::telephone::TelephoneCodec;
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
        let Some(offer) = offer else { return Ok((None, self.offer())) };
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
