//! A whole leg against a simulated far side: handshake over loss, media both ways, messages, hostility, silence.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rtc_datachannel::message::Message;
use rtc_datachannel::message::message_channel_open::{ChannelType, DataChannelOpen};
use rtc_sctp::{
    Association, ClientConfig, DatagramEvent, Endpoint, EndpointConfig, Event, Payload,
    PayloadProtocolIdentifier as Ppid, ReliabilityType, StreamEvent, TransportConfig,
};
use rtc_shared::TransportProtocol;
use rtc_shared::marshal::{Marshal, MarshalSize};

use super::*;
use crate::pii::Pii;
use crate::transport::batch::LocalSocket;
use crate::transport::dtls::DtlsAcceptor;
use crate::transport::dtls_sim::{SimAcceptor, SimDtlsClient};
use crate::transport::ice_sim::SimCheck;
use crate::transport::parameters::Fingerprint;
use crate::transport::srtp::OVERHEAD_MAX;

const FINGERPRINT: [u8; 32] = [0xc1; 32];
const PASSWORD: &str = "our-password-of-22-chars";

fn path(port: u16) -> Path {
    Path { local: LocalSocket(0), remote: SocketAddr::from(([192, 0, 2, 1], port)) }
}

fn credentials(ufrag: &str, pwd: &str) -> IceCredentials {
    IceCredentials { ufrag: ufrag.into(), pwd: Pii(pwd.into()) }
}

/// A transport, its far side, and a network without delay that loses the datagrams named by number.
struct Lab {
    leg: Transport,
    client: SimDtlsClient,
    srtp: Option<(IngressSrtp, EgressSrtp)>,
    now: Instant,
    out: TransmitBatch,
    checks: u64,
    carried: usize,
    lost: Vec<usize>,
    to_client: Vec<Vec<u8>>,
}

impl Lab {
    fn new(announced: [u8; 32]) -> Self {
        let now = Instant::now();
        let acceptor = SimAcceptor::new(Profile::AeadAes128Gcm, 1);
        let parameters = TransportParameters {
            local: credentials("ours", PASSWORD),
            remote: credentials("theirs", "not-used-by-a-lite-agent"),
            remote_fingerprint: Fingerprint::Sha256(announced),
            data_channel: Some(0),
        };
        let dtls = acceptor.accept(now, &parameters.remote_fingerprint);
        Self {
            leg: Transport::new(now, parameters, dtls),
            client: SimDtlsClient::new(now, FINGERPRINT, acceptor.fingerprint(), 2),
            srtp: None,
            now,
            out: TransmitBatch::new(256 * 1024, 64),
            checks: 0,
            carried: 0,
            lost: Vec::new(),
            to_client: Vec::new(),
        }
    }

    fn connected() -> Self {
        let mut lab = Self::new(FINGERPRINT);
        lab.check(path(1));
        lab.exchange();
        assert!(matches!(lab.leg.poll_event(), Some(TransportEvent::Connected { .. })));
        assert!(lab.srtp.is_some());
        lab
    }

    fn check(&mut self, path: Path) -> StunOutcome {
        self.checks += 1;
        let check = SimCheck::new("ours:theirs", PASSWORD, self.checks).nominating();
        self.out.clear();
        let outcome = self.leg.handle_stun(self.now, path, &check.build(), &mut self.out).unwrap();
        let answer = self.out.datagrams()[0];
        assert_eq!(answer.path, path);
        assert!(check.is_answered_by(self.out.bytes(&answer)));
        outcome
    }

    /// Carries everything that either side has to send, until both are quiet.
    fn exchange(&mut self) {
        let mut buffer = [0; 2048];
        loop {
            let before = self.carried;
            while let Some(len) = self.client.poll_transmit(&mut buffer) {
                self.carried += 1;
                if !self.lost.contains(&(self.carried - 1)) {
                    let _ = self.leg.handle_dtls(self.now, path(1), &buffer[..len]);
                }
            }
            self.out.clear();
            self.leg.poll_transmit(self.now, &mut self.out);
            for datagram in self.out.datagrams() {
                self.carried += 1;
                if !self.lost.contains(&(self.carried - 1)) {
                    self.client.handle_datagram(self.now, self.out.bytes(datagram));
                }
            }
            while let Some(event) = self.client.poll_event() {
                match event {
                    DtlsEvent::Connected(DtlsConnected { profile, keys, .. }) => {
                        let srtp = (IngressSrtp::new(profile, &keys.server), EgressSrtp::new(profile, &keys.client));
                        self.srtp = Some(srtp);
                    }
                    DtlsEvent::Data(packet) => self.to_client.push(packet),
                    DtlsEvent::Closed | DtlsEvent::Failed(_) => {}
                }
            }
            if self.carried == before {
                return;
            }
        }
    }

    /// Runs timers and exchanges for a while of virtual time.
    fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            self.exchange();
            let due = [self.leg.poll_timeout(), self.client.poll_timeout()].into_iter().flatten().min();
            let Some(due) = due.filter(|due| *due <= end) else { break };
            self.now = self.now.max(due);
            self.leg.handle_timeout(self.now);
            self.client.handle_timeout(self.now);
        }
        self.now = end;
    }

    fn events(&mut self) -> Vec<TransportEvent> {
        std::iter::from_fn(|| self.leg.poll_event()).collect()
    }

    /// An RTP packet sealed by the far side.
    fn their_rtp(&self, index: u64) -> Vec<u8> {
        let (mut packet, len) = plain_rtp(index);
        let (_, egress) = self.srtp.as_ref().expect("connected");
        let sealed = egress.seal_rtp(&mut packet, 12, len, SeqNo(index));
        packet.truncate(sealed);
        packet
    }
}

fn plain_rtp(index: u64) -> (Vec<u8>, usize) {
    let mut packet = vec![0x80, 111];
    packet.extend_from_slice(&(index as u16).to_be_bytes());
    packet.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 77]);
    packet.extend_from_slice(b"twenty bytes of opus");
    let len = packet.len();
    packet.resize(len + OVERHEAD_MAX, 0);
    (packet, len)
}

#[test]
fn media_flows_both_ways_after_the_handshake_and_not_before() {
    let mut lab = Lab::new(FINGERPRINT);
    let mut early = plain_rtp(0).0;
    assert_eq!(lab.leg.open_rtp(path(1), &mut early), Err(DropReason::UnknownAddress));
    lab.check(path(1));
    assert_eq!(lab.leg.open_rtp(path(1), &mut early), Err(DropReason::SrtpNoKeys));
    assert!(lab.leg.egress().is_none());
    lab.exchange();
    assert_eq!(
        lab.events(),
        [TransportEvent::Connected { profile: Profile::AeadAes128Gcm, version: "DTLSv1.3", group: "simulated" }]
    );

    let mut packet = lab.their_rtp(5);
    let (plain, len) = plain_rtp(5);
    assert_eq!(lab.leg.open_rtp(path(1), &mut packet), Ok((len, SeqNo(5))));
    assert_eq!(packet[..len], plain[..len]);

    let (mut packet, len) = plain_rtp(9);
    let (to, egress) = lab.leg.egress().unwrap();
    assert_eq!(to, path(1));
    let sealed = egress.seal_rtp(&mut packet, 12, len, SeqNo(9));
    let (ingress, _) = lab.srtp.as_mut().unwrap();
    assert_eq!(ingress.open_rtp(&mut packet[..sealed]), Ok((len, SeqNo(9))));
}

#[test]
fn the_handshake_survives_the_loss_of_any_two_datagrams() {
    for first in 0..5 {
        for second in first..8 {
            let mut lab = Lab::new(FINGERPRINT);
            lab.lost = vec![first, second];
            lab.check(path(1));
            lab.run(Duration::from_secs(5));
            assert!(matches!(lab.events()[..], [TransportEvent::Connected { .. }]), "{first} {second}");
            assert!(lab.srtp.is_some());
        }
    }
}

#[test]
fn dtls_is_heard_from_proved_paths_only() {
    let mut lab = Lab::new(FINGERPRINT);
    let mut hello = [0; 2048];
    let len = lab.client.poll_transmit(&mut hello).unwrap();
    assert_eq!(lab.leg.handle_dtls(lab.now, path(1), &hello[..len]), Err(DropReason::DtlsUnproved));
    lab.check(path(1));
    assert_eq!(lab.leg.handle_dtls(lab.now, path(2), &hello[..len]), Err(DropReason::DtlsUnproved));
    assert_eq!(lab.leg.handle_dtls(lab.now, path(1), &hello[..len]), Ok(()));
}

#[test]
fn a_certificate_that_was_not_announced_fails_the_leg() {
    let mut lab = Lab::new([0xee; 32]);
    lab.check(path(1));
    lab.exchange();
    assert_eq!(lab.events(), [TransportEvent::Failed(DtlsFailure::Fingerprint)]);
    assert!(lab.leg.egress().is_none());
    assert_eq!(lab.leg.handle_dtls(lab.now, path(1), &[22, 1]), Err(DropReason::DtlsRefused));
}

#[test]
fn endless_handshake_bytes_fail_the_leg_instead_of_growing_it() {
    let mut lab = Lab::new(FINGERPRINT);
    lab.check(path(1));
    let junk = [22; 1024];
    for _ in 0..Transport::HANDSHAKE_BYTES_MAX / junk.len() {
        let _ = lab.leg.handle_dtls(lab.now, path(1), &junk);
    }
    assert_eq!(lab.events(), []);
    assert_eq!(lab.leg.handle_dtls(lab.now, path(1), &junk), Err(DropReason::DtlsRefused));
    assert_eq!(lab.events(), [TransportEvent::Failed(DtlsFailure::Handshake)]);
    let _ = lab.leg.handle_dtls(lab.now, path(1), &junk);
    assert_eq!(lab.events(), []);
}

/// The commonest self-made outage: reacting to a bad packet.
#[test]
fn forged_and_random_datagrams_never_end_a_connected_leg() {
    let mut lab = Lab::connected();
    let mut rng = StdRng::seed_from_u64(5);
    for round in 0..20_000 {
        let len = rng.random_range(0..200);
        let mut datagram: Vec<u8> = (0..len).map(|_| rng.random()).collect();
        if let Some(first) = datagram.first_mut() {
            *first = [20, 21, 22, 23, 0x80, 0, 1][round % 7];
        }
        if round % 3 == 0 && len > 5 {
            datagram[1..4].copy_from_slice(b"SIM");
        }
        lab.out.clear();
        assert!(lab.leg.handle_dtls(lab.now, path(1), &datagram).is_err());
        assert!(lab.leg.handle_stun(lab.now, path(1), &datagram, &mut lab.out).is_err());
        assert!(lab.leg.open_rtp(path(1), &mut datagram.clone()).is_err());
        assert!(lab.leg.open_rtcp(path(1), &mut datagram).is_err());
        assert!(lab.out.datagrams().is_empty());
    }
    assert_eq!(lab.events(), []);
    let mut packet = lab.their_rtp(5);
    assert!(lab.leg.open_rtp(path(1), &mut packet).is_ok());
    assert!(lab.leg.egress().is_some());
}

#[test]
fn close_notify_ends_the_leg_in_either_direction() {
    let mut lab = Lab::connected();
    lab.client.close();
    lab.exchange();
    assert_eq!(lab.events(), [TransportEvent::Closed]);
    assert!(lab.leg.egress().is_none());

    let mut lab = Lab::connected();
    lab.leg.close();
    assert!(lab.leg.egress().is_none());
    lab.out.clear();
    lab.leg.poll_transmit(lab.now, &mut lab.out);
    assert_eq!(lab.out.datagrams().len(), 1);
    let notify = lab.out.bytes(&lab.out.datagrams()[0]);
    lab.client.handle_datagram(lab.now, notify);
    assert!(matches!(lab.client.poll_event(), Some(DtlsEvent::Closed)));
    assert_eq!(lab.events(), []);
}

#[test]
fn keys_survive_lost_consent_and_a_changed_path() {
    let mut lab = Lab::connected();
    lab.run(Duration::from_secs(31));
    assert_eq!(lab.events(), [TransportEvent::Silent]);
    assert!(lab.leg.egress().is_none());
    lab.run(Duration::from_secs(60));
    let mut packet = lab.their_rtp(6);
    assert_eq!(lab.leg.open_rtp(path(2), &mut packet.clone()), Err(DropReason::UnknownAddress));
    let outcome = lab.check(path(2));
    assert_eq!(outcome, StunOutcome { path_bound: true, selected: true, path_unbound: None });
    assert_eq!(lab.events(), [TransportEvent::PathChanged, TransportEvent::Back]);
    assert!(lab.leg.open_rtp(path(2), &mut packet).is_ok());
    assert_eq!(lab.leg.egress().unwrap().0, path(2));
    assert_eq!(lab.leg.paths().collect::<Vec<_>>(), [path(1), path(2)]);
}

#[test]
fn an_ice_restart_keeps_keys() {
    let mut lab = Lab::connected();
    lab.leg.restart_ice(credentials("again", "another-password-for-ours"), credentials("theirs2", "x"));
    assert_eq!(lab.leg.local_ufrags().collect::<Vec<_>>(), ["ours", "again"]);
    let check = SimCheck::new("again:theirs2", "another-password-for-ours", 77).build();
    lab.out.clear();
    assert!(lab.leg.handle_stun(lab.now, path(3), &check, &mut lab.out).unwrap().selected);
    assert_eq!(lab.leg.local_ufrags().collect::<Vec<_>>(), ["again"]);
    let mut packet = lab.their_rtp(5);
    assert!(lab.leg.open_rtp(path(3), &mut packet).is_ok());
}

#[test]
fn a_full_batch_delays_flights_and_loses_none() {
    let mut lab = Lab::new(FINGERPRINT);
    lab.check(path(1));
    let mut hello = [0; 2048];
    let len = lab.client.poll_transmit(&mut hello).unwrap();
    lab.leg.handle_dtls(lab.now, path(1), &hello[..len]).unwrap();
    let mut full = TransmitBatch::new(100, 1);
    lab.leg.poll_transmit(lab.now, &mut full);
    assert!(full.datagrams().is_empty());
    lab.exchange();
    assert!(lab.srtp.is_some());
}

/// The far side's SCTP, inside the simulated DTLS.
struct SctpClient {
    endpoint: Endpoint,
    association: Association,
    received: Vec<(u16, Ppid, Vec<u8>)>,
}

impl SctpClient {
    fn new(now: Instant) -> Self {
        let mut endpoint = Endpoint::new(path(1).remote, TransportProtocol::UDP, Arc::new(EndpointConfig::new()), None);
        let config = ClientConfig::new(TransportConfig::default());
        let (_, association) = endpoint.connect(now, config, path(1).remote).unwrap();
        Self { endpoint, association, received: Vec::new() }
    }

    fn run(&mut self, lab: &mut Lab, duration: Duration) {
        let end = lab.now + duration;
        while lab.now < end {
            while let Some(transmit) = self.association.poll_transmit(lab.now) {
                let Payload::RawEncode(packets) = transmit.message else { unreachable!() };
                for packet in packets {
                    assert!(lab.client.send(&packet));
                }
            }
            lab.run(Duration::from_millis(20));
            for packet in std::mem::take(&mut lab.to_client) {
                let handled = self.endpoint.handle(lab.now, path(1).remote, None, Bytes::from(packet));
                if let Some((_, DatagramEvent::AssociationEvent(event))) = handled {
                    self.association.handle_event(event);
                }
            }
            self.association.handle_timeout(lab.now);
            while let Some(event) = self.association.poll() {
                if let Event::Stream(StreamEvent::Readable { id }) = event {
                    while let Ok(Some(chunks)) = self.association.stream(id).unwrap().read() {
                        self.received.push((id, chunks.ppi, chunks.to_payload(1 << 16).unwrap().to_vec()));
                    }
                }
            }
        }
    }
}

#[test]
fn data_channel_messages_flow_both_ways() {
    let mut lab = Lab::connected();
    let mut sctp = SctpClient::new(lab.now);
    assert!(!lab.leg.send_message(lab.now, 0, true, b"too early"));
    sctp.run(&mut lab, Duration::from_secs(2));
    let open = Message::DataChannelOpen(DataChannelOpen {
        channel_type: ChannelType::Reliable,
        priority: 0,
        reliability_parameter: 0,
        label: "chat".into(),
        protocol: Vec::new(),
    });
    let mut bytes = BytesMut::zeroed(open.marshal_size());
    open.marshal_to(&mut bytes).unwrap();
    let mut stream = sctp.association.open_stream(0, Ppid::Dcep).unwrap();
    stream.set_reliability_params(false, ReliabilityType::Reliable, 0).unwrap();
    stream.write_sctp(lab.now, &bytes.freeze(), Ppid::Dcep).unwrap();
    sctp.association.stream(0).unwrap().write_sctp(lab.now, &Bytes::from_static(b"hello"), Ppid::String).unwrap();
    sctp.run(&mut lab, Duration::from_secs(1));
    assert_eq!(
        lab.events(),
        [
            TransportEvent::ChannelOpen { channel: 0, label: "chat".into() },
            TransportEvent::Message { channel: 0, text: true, payload: b"hello".to_vec() },
        ]
    );
    assert!(lab.leg.send_message(lab.now, 0, false, b"answer"));
    sctp.run(&mut lab, Duration::from_secs(1));
    assert!(sctp.received.contains(&(0, Ppid::Binary, b"answer".to_vec())));
}
