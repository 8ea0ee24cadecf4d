//! The newer Internet: calls in both directions over `::1`, with their sound.
//!
//! Not here: what is said; a sound is a packet that arrives.

use std::net::{IpAddr, Ipv6Addr, UdpSocket};
use std::time::Duration;

use colloque::config::telephone::{SipTransport, TelephoneCodec};
use colloque::ids::PayloadType;
use colloque::telephone::media::{Connection, Format, LegSpec, MediaEvent, MediaLeg, MediaPool, MediaSettings};
use colloque::telephone::sdp::{Agreed, Direction, Local, Offered};
use colloque::telephone::sip::{Dialog, DialogEvent, EndCause, Progress, Reason};
use colloque_sound::Codec;
use tokio::sync::mpsc::Receiver;

use super::sipp::{Sipp, Step, What, free_port, listening, request, response, sdp_at};
use super::{Server, local, next, number, rules, soon};

const LOCALHOST: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
const SIPP: &str = "[::1]";

/// Whether this kernel has it; a machine without is no fault of ours.
fn is_here() -> bool {
    let here = UdpSocket::bind((LOCALHOST, 0)).is_ok();
    if !here {
        eprintln!("skipped: this kernel has no IPv6");
    }
    here
}

async fn server(peer: u16) -> Server {
    Server::with(peer, "udp", "", |settings| {
        settings.sip_udp = Some("[::1]:0".parse().unwrap());
        settings.trunks[0].server.host = "::1".to_owned();
        settings.trunks[0].allow = vec!["::1".parse().unwrap()];
    })
    .await
}

/// Our sound, and a telephone's socket for the other end.
struct Sound {
    _pool: MediaPool,
    leg: MediaLeg,
    events: Receiver<MediaEvent>,
    phone: UdpSocket,
}

impl Sound {
    fn open() -> Sound {
        let settings = MediaSettings {
            bind: LOCALHOST,
            ports: 30_000..=39_999,
            port_rest: Duration::from_secs(1),
            threads: 1,
            legs_max: 1,
            complexity: 2,
        };
        let pool = MediaPool::start(&settings).unwrap();
        let (leg, events) = pool.open(LegSpec::default()).unwrap();
        let phone = UdpSocket::bind((LOCALHOST, 0)).unwrap();
        phone.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Sound { _pool: pool, leg, events, phone }
    }

    fn local(&self) -> Local {
        Local { address: (LOCALHOST, self.leg.port()).into(), ..local(1, Direction::SendRecv) }
    }

    /// The description of the telephone.
    fn sdp(&self) -> String {
        sdp_at("IP6 ::1", self.phone.local_addr().unwrap().port(), "")
    }

    /// A packet goes through in each direction.
    async fn flows(mut self, agreed: &Agreed) {
        assert_eq!((agreed.to, agreed.format.codec), (self.phone.local_addr().unwrap(), TelephoneCodec::Pcma));
        self.leg.connect(Connection {
            remote: agreed.to,
            remote_reports: None,
            formats: vec![Format { codec: Codec::Pcma, payload_type: PayloadType(agreed.format.payload) }],
            event_type: None,
            noise_type: None,
            packet: Duration::from_millis(20),
            keys: None,
            sends: true,
            receives: true,
        });
        let said = [&[0x80, 8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9][..], &[0xd5; 160]].concat();
        let ours = (LOCALHOST, self.leg.port());
        let (mut heard, from) = ([0; 400], self.phone.try_clone().unwrap());
        let (len, source) =
            soon(tokio::task::spawn_blocking(move || from.recv_from(&mut heard))).await.unwrap().unwrap();
        assert_eq!((len, source), (172, ours.into()));
        // Until the leg has taken up what was agreed, it hears nobody.
        soon(async {
            loop {
                self.phone.send_to(&said, ours).unwrap();
                let event = tokio::time::timeout(Duration::from_millis(40), self.events.recv()).await;
                if matches!(event, Ok(Some(MediaEvent::FirstPacket))) {
                    return;
                }
            }
        })
        .await;
    }
}

async fn ends(mut dialog: Dialog) {
    assert!(matches!(next(&mut dialog).await, DialogEvent::Ended(EndCause::Bye)));
}

#[tokio::test]
async fn a_call_comes_in_by_ipv6_and_is_heard_both_ways() {
    if !is_here() {
        return;
    }
    let (mut server, sound) = (server(9).await, Sound::open());
    let peer = Sipp::start_at(
        SIPP,
        &[
            Step::Say(request("INVITE", 1, "", &sound.sdp())),
            Step::Maybe(100),
            Step::Holding(What::Status(200), "c=IN IP6 ::1"),
            Step::Once(request("ACK", 1, "", "")),
            Step::Pause(1_500),
            Step::Say(request("BYE", 2, "", "")),
            Step::Status(200),
        ],
        free_port(),
        Some(server.port(SipTransport::Udp)),
        &[],
    );
    let call = server.call().await;
    let (agreed, text) = call.offer.unwrap().answer(&sound.local(), &rules()).unwrap();
    let dialog = call.call.answer(text).await.unwrap();
    sound.flows(&agreed).await;
    ends(dialog).await;
    peer.finish().await;
    server.is_empty().await;
}

#[tokio::test]
async fn a_call_goes_out_by_ipv6_and_is_heard_both_ways() {
    if !is_here() {
        return;
    }
    let (port, sound) = (free_port(), Sound::open());
    let peer = Sipp::start_at(
        SIPP,
        &[
            Step::Holding(What::Request("INVITE"), "INVITE sip:.33612345678@\\[::1\\]:"),
            Step::Once(response("180 Ringing", "p1", "", "")),
            Step::Say(response("200 OK", "p1", "", &sound.sdp())),
            Step::Expect("ACK"),
            Step::Expect("BYE"),
            Step::Once(response("200 OK", "", "", "")),
        ],
        port,
        None,
        &[],
    );
    listening(port).await;
    let server = server(port).await;
    let offered = Offered::new(sound.local(), &rules());
    let ring = Duration::from_secs(20);
    let mut call = server.endpoint.dial(&server.trunk, &number(), offered.text.clone(), ring);
    assert!(matches!(soon(call.next()).await, Some(Progress::Ringing)));
    let Some(Progress::Answered(dialog, answer)) = soon(call.next()).await else { panic!("not answered") };
    sound.flows(&offered.accept(&answer).unwrap()).await;
    soon(dialog.bye(Reason::Normal)).await;
    peer.finish().await;
    server.is_empty().await;
}
