//! The far end of one leg, only as much as it takes to join: a check, a handshake, keys.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use colloque::ids::{PayloadType, SlotId, Ssrc};
use colloque::pii::Pii;
use colloque::rtp::codec::{Codec, MediaKind, PayloadMap, PayloadMapping, Source};
use colloque::rtp::extension::{ExtensionKind, ExtensionMap};
use colloque::sfu::parameters::{
    EgressParameters, IngressParameters, LegParameters, ShortName, SlotParameters, SlotRole,
};
use colloque::transport::dtls::DtlsEvent;
use colloque::transport::dtls_sim::SimDtlsClient;
use colloque::transport::ice_sim::SimCheck;
use colloque::transport::parameters::{Fingerprint, IceCredentials, TransportParameters};
use colloque::transport::srtp::EgressSrtp;

/// What the publisher sends, as its offer declares it.
pub const PUBLISHER_SSRC: Ssrc = Ssrc(0xcafe);
pub const VOICE: PayloadType = PayloadType(111);
pub const VIDEO: PayloadType = PayloadType(96);

/// The leg numbered `leg`: a publisher of `source`, or a viewer with one slot.
pub fn parameters(leg: u64, source: Option<Source>) -> LegParameters {
    let section = |source| IngressParameters {
        mid: name("0"),
        source,
        rids: Vec::new(),
        ssrcs: vec![(PUBLISHER_SSRC, Some(Ssrc(0xcaff)))],
    };
    LegParameters {
        transport: TransportParameters {
            local: credentials("server", leg),
            remote: credentials("page", leg),
            remote_fingerprint: Fingerprint::Sha256(FINGERPRINT),
            data_channel: None,
        },
        payloads: payloads(),
        extensions: extensions(),
        ingress: source.map(section).into_iter().collect(),
        slots: if source.is_none() { vec![slot(leg)] } else { Vec::new() },
    }
}

/// The extension ids that Chromium offers.
pub fn extensions() -> ExtensionMap {
    use ExtensionKind::*;
    let mut map = ExtensionMap::default();
    for (kind, id) in [(AudioLevel, 1), (AbsSendTime, 2), (TransportCc, 3), (Mid, 4), (DependencyDescriptor, 12)] {
        map.set(kind, id);
    }
    map
}

/// Joins from `local`: proves the path and completes the handshake. Gives the socket, and the keys to publish with.
///
/// # Panics
/// When the worker does not let it in: there is nothing to measure then.
pub fn join(leg: u64, local: SocketAddr, server: SocketAddr, certificate: [u8; 32]) -> (UdpSocket, EgressSrtp) {
    let socket = UdpSocket::bind(local).expect("a free address");
    socket.connect(server).expect("a local worker");
    socket.set_read_timeout(Some(ANSWER_WITHIN)).expect("a timeout");
    let mut buffer = [0; 2048];
    let (server, page) = (credentials("server", leg), credentials("page", leg));
    let check = SimCheck::new(&format!("{}:{}", server.ufrag, page.ufrag), &server.pwd.0, leg).nominating();
    let answered = (0..TRIES).any(|_| {
        socket.send(&check.build()).expect("a check");
        socket.recv(&mut buffer).is_ok_and(|len| check.is_answered_by(&buffer[..len]))
    });
    assert!(answered, "leg {leg}: no answer to its check");
    let mut dtls = SimDtlsClient::new(Instant::now(), FINGERPRINT, certificate, leg);
    let mut egress = None;
    for _ in 0..TRIES {
        while let Some(len) = dtls.poll_transmit(&mut buffer) {
            socket.send(&buffer[..len]).expect("a handshake datagram");
        }
        if egress.is_some() && dtls.poll_timeout().is_none() {
            break;
        }
        match socket.recv(&mut buffer) {
            Ok(len) => drop(dtls.handle_datagram(Instant::now(), &buffer[..len])),
            Err(_) => dtls.handle_timeout(Instant::now()),
        }
        while let Some(event) = dtls.poll_event() {
            if let DtlsEvent::Connected(connected) = event {
                egress = Some(EgressSrtp::new(connected.profile, &connected.keys.client));
            }
        }
    }
    (socket, egress.unwrap_or_else(|| panic!("leg {leg}: no keys")))
}

fn slot(leg: u64) -> SlotParameters {
    let section = |kind, mid, ssrc: u64| EgressParameters {
        mid: name(mid),
        kind,
        ssrc: Ssrc(ssrc as u32),
        rtx_ssrc: (kind == MediaKind::Video).then_some(Ssrc(ssrc as u32 + 1)),
        payloads: payloads(),
        extensions: extensions(),
    };
    SlotParameters {
        slot: SlotId(0),
        role: SlotRole::Seat,
        audio: Some(section(MediaKind::Audio, "a0", leg << 8)),
        video: Some(section(MediaKind::Video, "v0", leg << 8 | 2)),
    }
}

fn payloads() -> PayloadMap {
    let mapping = |payload_type, codec, rtx| PayloadMapping { payload_type, codec, rtx, red: None };
    PayloadMap::new(vec![mapping(VOICE, Codec::Opus, None), mapping(VIDEO, Codec::Vp8, Some(PayloadType(97)))])
}

fn credentials(side: &str, leg: u64) -> IceCredentials {
    IceCredentials { ufrag: format!("{side}{leg}"), pwd: Pii(format!("{side}-{leg}-password-of-a-leg")) }
}

fn name(name: &str) -> ShortName {
    ShortName::new(name.as_bytes()).expect("a short name")
}

/// Of every page's certificate: the simulated handshake looks at nothing else.
const FINGERPRINT: [u8; 32] = [7; 32];
const ANSWER_WITHIN: Duration = Duration::from_millis(50);
const TRIES: usize = 40;
