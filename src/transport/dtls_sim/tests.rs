//! The stand-in must behave as the real stack where the transport depends on it.

use super::*;

const CLIENT_FINGERPRINT: [u8; 32] = [0xc1; 32];

struct Pair {
    server: Box<dyn Dtls>,
    client: SimDtlsClient,
    now: Instant,
    datagrams: usize,
}

impl Pair {
    fn new(announced: [u8; 32], expected_server: Option<[u8; 32]>) -> Self {
        let now = Instant::now();
        let acceptor = SimAcceptor::new(Profile::AeadAes256Gcm, 9);
        let server = acceptor.accept(now, &Fingerprint::Sha256(announced));
        let expected = expected_server.unwrap_or_else(|| acceptor.fingerprint());
        Self { server, client: SimDtlsClient::new(now, CLIENT_FINGERPRINT, expected, 4), now, datagrams: 0 }
    }

    /// Exchanges everything that waits; the datagrams whose number is in `lost` do not arrive.
    fn exchange(&mut self, lost: &[usize]) {
        let mut buffer = [0; 2048];
        let mut busy = true;
        while busy {
            busy = false;
            while let Some(len) = self.client.poll_transmit(&mut buffer) {
                busy = true;
                if !lost.contains(&self.datagrams) {
                    self.server.handle_datagram(self.now, &buffer[..len]);
                }
                self.datagrams += 1;
            }
            while let Some(len) = self.server.poll_transmit(&mut buffer) {
                busy = true;
                if !lost.contains(&self.datagrams) {
                    self.client.handle_datagram(self.now, &buffer[..len]);
                }
                self.datagrams += 1;
            }
        }
    }

    fn run(&mut self, lost: &[usize]) {
        self.exchange(lost);
        for _ in 0..20 {
            let due = [self.client.poll_timeout(), self.server.poll_timeout()].into_iter().flatten().min();
            let Some(due) = due else { return };
            self.now = due;
            self.client.handle_timeout(due);
            self.server.handle_timeout(due);
            self.exchange(lost);
        }
    }

    fn connected(&mut self) -> (DtlsConnected, DtlsConnected) {
        match (self.client.poll_event(), self.server.poll_event()) {
            (Some(DtlsEvent::Connected(client)), Some(DtlsEvent::Connected(server))) => (client, server),
            other => panic!("not connected: {other:?}"),
        }
    }
}

#[test]
fn both_ends_connect_with_the_same_keys_and_fall_silent() {
    let mut pair = Pair::new(CLIENT_FINGERPRINT, None);
    pair.exchange(&[]);
    let (client, server) = pair.connected();
    assert_eq!(client.profile, Profile::AeadAes256Gcm);
    assert_eq!(client.keys.client.key, server.keys.client.key);
    assert_eq!(client.keys.server.salt, server.keys.server.salt);
    assert_ne!(client.keys.client.key, client.keys.server.key);
    assert_eq!((pair.client.poll_timeout(), pair.server.poll_timeout()), (None, None));
}

#[test]
fn any_lost_datagrams_of_the_handshake_are_recovered() {
    for first in 0..6 {
        for second in 0..8 {
            let mut pair = Pair::new(CLIENT_FINGERPRINT, None);
            pair.run(&[first, second]);
            pair.connected();
            assert_eq!((pair.client.poll_timeout(), pair.server.poll_timeout()), (None, None));
        }
    }
}

#[test]
fn data_flows_both_ways_and_close_is_told() {
    let mut pair = Pair::new(CLIENT_FINGERPRINT, None);
    assert!(!pair.server.send(b"early"));
    pair.exchange(&[]);
    pair.connected();
    assert!(pair.client.send(b"up") && pair.server.send(b"down"));
    pair.exchange(&[]);
    assert!(matches!(pair.server.poll_event(), Some(DtlsEvent::Data(data)) if data == b"up"));
    assert!(matches!(pair.client.poll_event(), Some(DtlsEvent::Data(data)) if data == b"down"));
    pair.client.close();
    pair.exchange(&[]);
    assert!(matches!(pair.server.poll_event(), Some(DtlsEvent::Closed)));
}

#[test]
fn a_wrong_certificate_fails_on_either_side() {
    let mut pair = Pair::new([0xbb; 32], None);
    pair.exchange(&[]);
    assert!(matches!(pair.server.poll_event(), Some(DtlsEvent::Failed(DtlsFailure::Fingerprint))));
    assert!(matches!(pair.client.poll_event(), Some(DtlsEvent::Failed(DtlsFailure::Handshake))));
    let mut pair = Pair::new(CLIENT_FINGERPRINT, Some([0xaa; 32]));
    pair.exchange(&[]);
    assert!(matches!(pair.client.poll_event(), Some(DtlsEvent::Failed(DtlsFailure::Fingerprint))));
    assert!(matches!(pair.server.poll_event(), Some(DtlsEvent::Failed(DtlsFailure::Handshake))));
}

#[test]
fn forged_records_do_not_end_an_association() {
    let mut pair = Pair::new(CLIENT_FINGERPRINT, None);
    pair.exchange(&[]);
    pair.connected();
    for forged in [
        record(ALERT, &[FAILURE]),
        record(ALERT, &[&[CLOSE], &[7; TAG_LEN][..]].concat()),
        record(DATA, &[7; 40]),
        record(HANDSHAKE, &[&[CLIENT_HELLO], &[1; 64][..]].concat()),
        record(HANDSHAKE, &[FINISHED]),
        vec![HANDSHAKE],
        vec![],
    ] {
        assert!(!pair.server.handle_datagram(pair.now, &forged));
    }
    assert!(pair.server.poll_event().is_none());
    assert!(pair.client.send(b"still here"));
    pair.exchange(&[]);
    assert!(matches!(pair.server.poll_event(), Some(DtlsEvent::Data(_))));
}
