//! Colloque: seats that behave like pages. A clinic books the room, each seat exchanges its link for a session, joins by
//! WebSocket, offers its senders and slots, and says how large it shows them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use colloque_signaling::message::{ClientMessage, Resume, Role, SenderInfo, ServerMessage};
use tokio::time::sleep;

use super::{MediaAddress, Seat, Target};
use crate::api::{Clinic, Consultation, Session};
use crate::engine::{Engine, Leg};
use crate::histogram::Histogram;
use crate::leg::LegPlan;
use crate::light::Replayer;
use crate::overheard::Overheard;
use crate::signalling::{Line, Signalling};
use crate::tally::{Milestones, Tally};

/// A Colloque server, seen by one of its clinics.
#[derive(Clone)]
pub struct Colloque {
    clinic: Clinic,
    server: SocketAddr,
}

impl Colloque {
    /// Resolves the server's address once.
    pub fn new(clinic: Clinic) -> Result<Self> {
        let server = clinic.address()?;
        Ok(Self { clinic, server })
    }
}

/// A page in a call.
pub struct Page {
    session: Session,
    leg: Leg,
    signalling: Connection,
    media_address: Option<MediaAddress>,
    offers: u32,
}

/// What a page has of its WebSocket.
enum Connection {
    /// Open and attended.
    Open(Line),
    /// In a tunnel: the old socket hangs, unread, until the server gives it up.
    Lost { resume: Resume, hanging: Box<Signalling> },
    /// Could not be brought back.
    Gone(String),
}

impl Target for Colloque {
    type Room = Arc<Consultation>;
    type Seat = Page;

    fn name(&self) -> &'static str {
        "colloque"
    }

    fn media_threads(&self) -> Option<&'static str> {
        Some("media-")
    }

    async fn open_room(&self, seats: usize) -> Result<Self::Room> {
        let role = |index| match index {
            0 => Role::Practitioner,
            1 => Role::Patient,
            _ => Role::Guest,
        };
        let roles: Vec<Role> = (0..seats).map(role).collect();
        // Two people are a consultation as clinics book it. More are a shape of media: nobody asks fifty people for consent.
        Ok(Arc::new(match seats {
            ..=2 => self.clinic.book_with_gates("teleconsultation", &roles).await?,
            _ => self.clinic.book(&roles).await?,
        }))
    }

    async fn join(
        &self,
        engine: &Engine,
        room: &Self::Room,
        index: usize,
        plan: LegPlan,
        started: Instant,
    ) -> Result<Page> {
        let invitation = room.seats.get(index).context("more people than seats")?;
        let mut leg = engine.open(self.server, plan)?;
        leg.count_from(started)?;
        let session = self.clinic.join(&invitation.token).await?;
        let mut signalling = Signalling::open(&session.ws_url).await?;
        signalling.enter(&session).await?;
        leg.set_welcomed(Instant::now());
        let offer = leg.offer().await?;
        let own = ufrag(&offer.sdp).map(str::to_owned);
        let answer = ask(&mut signalling, 1, offer.sdp, offer.senders).await?;
        leg.accept_answer(&answer).await?;
        let line = Line::start(signalling);
        let (width, height) = tile(plan.slots);
        for slot in 0..plan.slots as u16 {
            line.send(ClientMessage::View { slot, width, height }).await?;
        }
        let media_address = own.and_then(|own| media_address(&answer, &own));
        Ok(Page { session, leg, signalling: Connection::Open(line), media_address, offers: 1 })
    }

    async fn close_room(&self, room: Self::Room) -> Result<()> {
        self.clinic.end(&room.id).await
    }
}

impl Seat for Page {
    fn milestones(&self) -> Milestones {
        self.leg.milestones()
    }

    async fn wait(&mut self, until: impl Fn(&Milestones) -> bool + Send, deadline: Instant) -> Result<()> {
        let line_lost = async {
            while self.signalling.failure().is_none() {
                sleep(LOOK_EVERY).await;
            }
        };
        tokio::select! {
            outcome = self.leg.wait(until, deadline) => outcome,
            () = line_lost => bail!("{}", self.signalling.failure().unwrap_or_default()),
        }
    }

    async fn take_latency(&mut self) -> Result<Histogram> {
        self.leg.take_latency().await
    }

    fn failure(&self) -> Option<String> {
        self.signalling.failure()
    }

    fn media_address(&self) -> Option<MediaAddress> {
        self.media_address.clone()
    }

    async fn overheard(&mut self) -> Result<Vec<Overheard>> {
        self.leg.overheard().await
    }

    fn replayer(&self) -> Option<Replayer> {
        self.leg.replayer()
    }

    async fn leave(self) -> Result<Tally> {
        match self.signalling {
            Connection::Open(line) => line.stop().await?.leave().await.context("leaving")?,
            Connection::Lost { .. } => {}
            Connection::Gone(why) => bail!(why),
        }
        self.leg.close().await
    }

    async fn lose_network(&mut self) -> Result<()> {
        self.leg.silence(true)?;
        let before = std::mem::replace(&mut self.signalling, Connection::Gone("the network was lost twice".to_owned()));
        let Connection::Open(line) = before else { bail!("the network is lost already") };
        let hanging = line.stop().await?;
        let resume = hanging.resumption().context("no ticket")?;
        self.signalling = Connection::Lost { resume, hanging: Box::new(hanging) };
        Ok(())
    }

    async fn come_back(&mut self, started: Instant) -> Result<()> {
        let before = std::mem::replace(&mut self.signalling, Connection::Gone("did not come back".to_owned()));
        let Connection::Lost { resume, hanging } = before else { bail!("the network was not lost") };
        self.leg.count_from(started)?;
        let mut signalling = Signalling::open(&self.session.ws_url).await?;
        ensure!(signalling.resume(&self.session, resume).await?, "the visit was not resumed");
        drop(hanging);
        self.leg.set_welcomed(Instant::now());
        self.leg.silence(false)?;
        self.leg.move_to_new_port()?;
        let offer = self.leg.restart_ice().await?;
        self.offers += 1;
        let answer = ask(&mut signalling, self.offers, offer.sdp, offer.senders).await?;
        self.leg.accept_answer(&answer).await?;
        self.signalling = Connection::Open(Line::start(signalling));
        Ok(())
    }
}

impl Connection {
    fn failure(&self) -> Option<String> {
        match self {
            Connection::Open(line) => line.failure(),
            Connection::Lost { .. } => None,
            Connection::Gone(why) => Some(why.clone()),
        }
    }
}

async fn ask(signalling: &mut Signalling, id: u32, sdp: String, senders: Vec<SenderInfo>) -> Result<String> {
    signalling.send(&ClientMessage::Offer { id, sdp, senders }).await?;
    signalling
        .wait(|message| match message {
            ServerMessage::Answer { id: answered, sdp } if *answered == id => Some(sdp.clone()),
            _ => None,
        })
        .await
}

/// How large a page that shows so many others shows each.
fn tile(slots: usize) -> (u16, u16) {
    match slots {
        0 | 1 => (1_280, 720),
        2..=3 => (640, 360),
        _ => (320, 180),
    }
}

fn ufrag(sdp: &str) -> Option<&str> {
    Some(sdp.lines().find_map(|line| line.strip_prefix("a=ice-ufrag:"))?.trim())
}

/// The first UDP candidate of an answer, and the user name of checks for it.
fn media_address(answer: &str, own: &str) -> Option<MediaAddress> {
    let user = format!("{}:{own}", ufrag(answer)?);
    let address = answer.lines().find_map(|line| {
        // a=candidate:FOUNDATION COMPONENT udp PRIORITY ADDRESS PORT typ host
        let mut fields = line.strip_prefix("a=candidate:")?.split_whitespace().skip(2);
        if !fields.next()?.eq_ignore_ascii_case("udp") {
            return None;
        }
        let ip = fields.nth(1)?.parse().ok()?;
        Some(SocketAddr::new(ip, fields.next()?.parse().ok()?))
    })?;
    Some(MediaAddress { address, user })
}

/// How soon a lost WebSocket ends a wait.
const LOOK_EVERY: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answers_first_udp_candidate_is_where_media_goes() {
        let answer = "v=0\r\na=ice-ufrag:abcd\r\na=candidate:1 1 tcp 9 10.0.0.9 9 typ host\r\n\
                      a=candidate:1 1 udp 2130706431 127.0.0.1 40000 typ host\r\n";
        let found = media_address(answer, "wxyz").unwrap();
        assert_eq!((found.address.to_string().as_str(), found.user.as_str()), ("127.0.0.1:40000", "abcd:wxyz"));
        assert_eq!(media_address("v=0\r\na=ice-ufrag:abcd\r\n", "wxyz"), None);
        assert_eq!(media_address("", "wxyz"), None);
    }

    #[test]
    fn the_more_are_shown_the_smaller_each() {
        assert_eq!([1, 3, 7].map(tile), [(1_280, 720), (640, 360), (320, 180)]);
    }
}
