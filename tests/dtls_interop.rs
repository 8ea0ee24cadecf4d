//! `BoringAcceptor` against a DTLS client: profiles, versions, certificates, losses, junk and forgeries.
//!
//! The client is BoringSSL as in Chromium, driven over in-memory datagrams in real time (the library's timers read
//! the wall clock). Cases run on threads because nearly all of their time is waiting for a retransmission.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::{PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use boring::asn1::Asn1Time;
use boring::bn::BigNum;
use boring::ec::{EcGroup, EcKey};
use boring::hash::MessageDigest;
use boring::nid::Nid;
use boring::pkey::{PKey, Private};
use boring::rsa::Rsa;
use boring::ssl::{ErrorCode, Ssl, SslContext, SslMethod, SslOptions, SslStream, SslVerifyMode, SslVersion};
use boring::x509::{X509, X509NameBuilder};
use colloque::transport::boring_dtls::BoringAcceptor;
use colloque::transport::dtls::{Dtls, DtlsAcceptor, DtlsConnected, DtlsEvent, DtlsFailure};
use colloque::transport::parameters::Fingerprint;
use colloque::transport::srtp::Profile;
use foreign_types_shared::ForeignTypeRef;

const CHROMIUM_PROFILES: &str = "SRTP_AES128_CM_SHA1_80:SRTP_AEAD_AES_256_GCM:SRTP_AEAD_AES_128_GCM";
const POST_QUANTUM: &str = "X25519MLKEM768:X25519:P-256";

#[derive(Clone, Copy, PartialEq, Debug)]
enum KeyKind {
    Rsa2048,
    P256,
    P384,
}

#[derive(Clone)]
struct ClientConfig {
    version: SslVersion,
    profiles: Option<&'static str>,
    groups: &'static str,
    certificate: Option<(X509, PKey<Private>)>,
}

impl ClientConfig {
    fn chromium() -> Self {
        Self {
            version: SslVersion::DTLS1_3,
            profiles: Some(CHROMIUM_PROFILES),
            groups: POST_QUANTUM,
            certificate: Some(certificate(KeyKind::P256)),
        }
    }

    fn legacy() -> Self {
        Self { version: SslVersion::DTLS1_2, groups: "X25519:P-256", ..Self::chromium() }
    }

    fn fingerprint(&self) -> Fingerprint {
        let digest = self.certificate.as_ref().map(|(x509, _)| x509.digest(MessageDigest::sha256()).unwrap());
        Fingerprint::Sha256(digest.map_or([0; 32], |digest| (&*digest).try_into().unwrap()))
    }
}

fn certificate(kind: KeyKind) -> (X509, PKey<Private>) {
    let elliptic = |nid| PKey::from_ec_key(EcKey::generate(&EcGroup::from_curve_name(nid).unwrap()).unwrap()).unwrap();
    let key = match kind {
        KeyKind::Rsa2048 => PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap(),
        KeyKind::P256 => elliptic(Nid::X9_62_PRIME256V1),
        KeyKind::P384 => elliptic(Nid::SECP384R1),
    };
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_text("CN", "far side").unwrap();
    let name = name.build();
    let mut x509 = X509::builder().unwrap();
    x509.set_version(2).unwrap();
    x509.set_serial_number(&BigNum::from_u32(7).unwrap().to_asn1_integer().unwrap()).unwrap();
    x509.set_subject_name(&name).unwrap();
    x509.set_issuer_name(&name).unwrap();
    x509.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    x509.set_not_after(&Asn1Time::days_from_now(30).unwrap()).unwrap();
    x509.set_pubkey(&key).unwrap();
    x509.sign(&key, MessageDigest::sha256()).unwrap();
    (x509.build(), key)
}

#[derive(Default)]
struct Wire {
    incoming: VecDeque<Vec<u8>>,
    outgoing: VecDeque<Vec<u8>>,
}

impl Read for Wire {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let datagram = self.incoming.pop_front().ok_or(io::ErrorKind::WouldBlock)?;
        out[..datagram.len()].copy_from_slice(&datagram);
        Ok(datagram.len())
    }
}

impl Write for Wire {
    fn write(&mut self, datagram: &[u8]) -> io::Result<usize> {
        self.outgoing.push_back(datagram.to_vec());
        Ok(datagram.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Client {
    stream: SslStream<Wire>,
    connected: bool,
    failed: bool,
    received: Vec<Vec<u8>>,
    closed: bool,
}

impl Client {
    fn new(config: &ClientConfig) -> Self {
        let mut context = SslContext::builder(SslMethod::dtls()).unwrap();
        context.set_min_proto_version(Some(config.version)).unwrap();
        context.set_max_proto_version(Some(config.version)).unwrap();
        context.set_options(SslOptions::NO_QUERY_MTU);
        context.set_curves_list(config.groups).unwrap();
        context.set_custom_verify_callback(SslVerifyMode::PEER, |_| Ok(()));
        if let Some(profiles) = config.profiles {
            context.set_tlsext_use_srtp(profiles).unwrap();
        }
        if let Some((x509, key)) = &config.certificate {
            context.set_certificate(x509).unwrap();
            context.set_private_key(key).unwrap();
        }
        let mut ssl = Ssl::new(&context.build()).unwrap();
        ssl.set_mtu(1200).unwrap();
        // SAFETY: the pointer comes from a live `Ssl`; the call only stores the number.
        unsafe { boring_sys::DTLSv1_set_initial_timeout_duration(ssl.as_ptr(), 60) };
        let stream = SslStream::new(ssl, Wire::default()).unwrap();
        Self { stream, connected: false, failed: false, received: Vec::new(), closed: false }
    }

    fn run(&mut self) {
        if !self.connected && !self.failed {
            match self.stream.connect() {
                Ok(()) => self.connected = true,
                Err(error) if error.would_block() => {}
                Err(_) => self.failed = true,
            }
        }
        let mut plain = [0; 4096];
        while self.connected && !self.closed {
            match self.stream.ssl_read(&mut plain) {
                Ok(len) => self.received.push(plain[..len].to_vec()),
                Err(error) if error.would_block() => break,
                Err(error) => {
                    self.closed = true;
                    self.failed |= error.code() != ErrorCode::ZERO_RETURN;
                }
            }
        }
    }

    fn handle_timeout(&mut self) {
        // SAFETY: the pointer comes from the live association; the call checks its own clock.
        unsafe { boring_sys::DTLSv1_handle_timeout(self.stream.ssl().as_ptr()) };
    }

    fn keys(&self, key_len: usize, salt_len: usize) -> Vec<u8> {
        let mut material = vec![0; 2 * (key_len + salt_len)];
        self.stream.ssl().export_keying_material(&mut material, "EXTRACTOR-dtls_srtp", None).unwrap();
        material
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Direction {
    ToServer,
    ToClient,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Damage {
    Lost,
    SwappedWithNext,
    Doubled,
}

/// A client and a server with a network between them that damages one datagram.
struct Pair {
    client: Client,
    server: Box<dyn Dtls>,
    damage: Option<(Direction, usize, Damage)>,
    sent: [Vec<Vec<u8>>; 2],
    held: Option<Vec<u8>>,
    outcome: Option<DtlsConnected>,
    failure: Option<DtlsFailure>,
    received: Vec<Vec<u8>>,
    server_closed: bool,
}

impl Pair {
    fn new(config: &ClientConfig) -> Self {
        Self::with_fingerprint(config, &config.fingerprint())
    }

    fn with_fingerprint(config: &ClientConfig, fingerprint: &Fingerprint) -> Self {
        let acceptor = BoringAcceptor::new().unwrap();
        Self {
            client: Client::new(config),
            server: acceptor.accept(Instant::now(), fingerprint),
            damage: None,
            sent: [Vec::new(), Vec::new()],
            held: None,
            outcome: None,
            failure: None,
            received: Vec::new(),
            server_closed: false,
        }
    }

    /// What arrives when `datagram` is sent.
    fn damaged(&mut self, direction: Direction, datagram: Vec<u8>) -> Vec<Vec<u8>> {
        let index = self.sent[direction as usize].len();
        self.sent[direction as usize].push(datagram.clone());
        let Some((damaged, position, damage)) = self.damage else { return vec![datagram] };
        if damaged != direction {
            return vec![datagram];
        }
        match damage {
            Damage::Lost if index == position => vec![],
            Damage::Doubled if index == position => vec![datagram.clone(), datagram],
            Damage::SwappedWithNext if index == position => {
                self.held = Some(datagram);
                vec![]
            }
            Damage::SwappedWithNext if index == position + 1 => vec![datagram, self.held.take().unwrap()],
            _ => vec![datagram],
        }
    }

    /// One round; false when nothing moved.
    fn step(&mut self) -> bool {
        let mut moved = false;
        self.client.run();
        while let Some(datagram) = self.client.stream.get_mut().outgoing.pop_front() {
            moved = true;
            for arriving in self.damaged(Direction::ToServer, datagram) {
                self.server.handle_datagram(Instant::now(), &arriving);
            }
        }
        let mut out = [0; 2048];
        while let Some(len) = self.server.poll_transmit(&mut out) {
            moved = true;
            assert!(len <= 1200, "a datagram of {len} bytes");
            for arriving in self.damaged(Direction::ToClient, out[..len].to_vec()) {
                self.client.stream.get_mut().incoming.push_back(arriving);
            }
        }
        self.client.run();
        while let Some(event) = self.server.poll_event() {
            match event {
                DtlsEvent::Connected(connected) => {
                    assert!(self.outcome.replace(connected).is_none(), "connected twice");
                }
                DtlsEvent::Data(data) => self.received.push(data),
                DtlsEvent::Closed => self.server_closed = true,
                DtlsEvent::Failed(failure) => self.failure = Some(failure),
            }
        }
        moved
    }

    fn run_until(&mut self, done: impl Fn(&Self) -> bool) -> bool {
        let deadline = Instant::now() + Duration::from_secs(8);
        while !done(self) {
            if Instant::now() > deadline {
                return false;
            }
            if !self.step() {
                thread::sleep(Duration::from_millis(2));
                self.client.handle_timeout();
                let now = Instant::now();
                if self.server.poll_timeout().is_some_and(|due| due <= now) {
                    self.server.handle_timeout(now);
                }
            }
        }
        true
    }

    fn connect(&mut self) -> &DtlsConnected {
        let done = self.run_until(|pair| pair.client.connected && pair.outcome.is_some());
        assert!(done, "no handshake: client {}, server {:?}", self.client.connected, self.failure);
        self.outcome.as_ref().unwrap()
    }

    fn assert_carries_data(&mut self) {
        self.received.clear();
        self.client.received.clear();
        self.client.stream.ssl_write(b"from the client").unwrap();
        assert!(self.server.send(b"from the server"));
        let done = self.run_until(|pair| !pair.received.is_empty() && !pair.client.received.is_empty());
        assert!(done, "data is stuck");
        assert_eq!(self.received, [b"from the client"]);
        assert_eq!(self.client.received, [b"from the server"]);
    }
}

fn key_bytes(outcome: &DtlsConnected, key_len: usize, salt_len: usize) -> Vec<u8> {
    let keys = &outcome.keys;
    let parts = [
        &keys.client.key[..key_len],
        &keys.server.key[..key_len],
        &keys.client.salt[..salt_len],
        &keys.server.salt[..salt_len],
    ];
    parts.concat()
}

#[test]
fn each_profile_gives_both_sides_the_same_keys_in_both_versions() {
    let profiles = [
        ("SRTP_AEAD_AES_128_GCM", Profile::AeadAes128Gcm, 16, 12),
        ("SRTP_AEAD_AES_256_GCM", Profile::AeadAes256Gcm, 32, 12),
        ("SRTP_AES128_CM_SHA1_80", Profile::Aes128CmSha1_80, 16, 14),
    ];
    for config in [ClientConfig::chromium(), ClientConfig::legacy()] {
        for (name, profile, key_len, salt_len) in profiles {
            let mut pair = Pair::new(&ClientConfig { profiles: Some(name), ..config.clone() });
            let outcome = pair.connect();
            assert_eq!(outcome.profile, profile);
            let ours = key_bytes(outcome, key_len, salt_len);
            assert_eq!(ours, pair.client.keys(key_len, salt_len));
            pair.assert_carries_data();
        }
    }
}

#[test]
fn server_order_decides_the_profile_whatever_the_client_prefers() {
    let orders = [
        CHROMIUM_PROFILES,
        "SRTP_AEAD_AES_128_GCM:SRTP_AEAD_AES_256_GCM:SRTP_AES128_CM_SHA1_80",
        "SRTP_AEAD_AES_256_GCM:SRTP_AEAD_AES_128_GCM",
    ];
    for order in orders {
        let mut pair = Pair::new(&ClientConfig { profiles: Some(order), ..ClientConfig::chromium() });
        assert_eq!(pair.connect().profile, Profile::AeadAes128Gcm, "client order {order}");
    }
    let without_128 = "SRTP_AES128_CM_SHA1_80:SRTP_AEAD_AES_256_GCM";
    let mut pair = Pair::new(&ClientConfig { profiles: Some(without_128), ..ClientConfig::chromium() });
    assert_eq!(pair.connect().profile, Profile::AeadAes256Gcm);
}

/// Handshake type and fragment offset of an epoch-0 handshake record.
fn handshake_fragment(datagram: &[u8]) -> (u8, usize) {
    assert_eq!(datagram[0], 22);
    (datagram[13], usize::from(datagram[20]) << 8 | usize::from(datagram[21]))
}

#[test]
fn post_quantum_client_hello_in_two_datagrams_connects_in_either_order() {
    for damage in [None, Some((Direction::ToServer, 0, Damage::SwappedWithNext))] {
        let mut pair = Pair::new(&ClientConfig::chromium());
        pair.damage = damage;
        // No timer runs here: it must not take a retransmission.
        while pair.step() {}
        let outcome = pair.outcome.as_ref().expect("connected");
        assert_eq!((outcome.version, outcome.group), ("DTLSv1.3", "X25519MLKEM768"));
        assert_eq!(handshake_fragment(&pair.sent[0][0]), (1, 0));
        let (kind, offset) = handshake_fragment(&pair.sent[0][1]);
        assert!(kind == 1 && offset > 0, "the ClientHello was not fragmented");
    }
}

#[test]
fn dtls_1_2_clients_connect() {
    let mut pair = Pair::new(&ClientConfig::legacy());
    let outcome = pair.connect();
    assert_eq!((outcome.version, outcome.group), ("DTLSv1.2", "X25519"));
}

#[test]
fn client_without_a_key_share_we_prefer_connects() {
    for groups in ["P-256", "P-384", "P-256:X25519"] {
        let mut pair = Pair::new(&ClientConfig { groups, ..ClientConfig::chromium() });
        pair.connect();
        pair.assert_carries_data();
    }
}

#[test]
fn any_single_handshake_datagram_may_be_lost_swapped_or_doubled() {
    let _memory = MEMORY.read().unwrap_or_else(PoisonError::into_inner);
    let mut cases = Vec::new();
    for config in [ClientConfig::chromium(), ClientConfig::legacy()] {
        let mut clean = Pair::new(&config);
        clean.connect();
        while clean.step() {}
        for direction in [Direction::ToServer, Direction::ToClient] {
            let datagrams = clean.sent[direction as usize].len();
            assert!(datagrams >= 2, "{direction:?}: {datagrams}");
            for index in 0..datagrams {
                for damage in [Damage::Lost, Damage::SwappedWithNext, Damage::Doubled] {
                    cases.push((config.clone(), direction, index, damage));
                }
            }
        }
    }
    let cases: Vec<_> = cases
        .into_iter()
        .map(|(config, direction, index, damage)| {
            let name = format!("{:?} {direction:?} {index} {damage:?}", config.version);
            let case = thread::spawn(move || {
                let mut pair = Pair::new(&config);
                pair.damage = Some((direction, index, damage));
                pair.connect();
                pair.assert_carries_data();
            });
            (name, case)
        })
        .collect();
    let failed: Vec<_> = cases.into_iter().filter_map(|(name, case)| case.join().is_err().then_some(name)).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn rsa_p256_and_p384_certificates_are_accepted() {
    for kind in [KeyKind::Rsa2048, KeyKind::P256, KeyKind::P384] {
        let pair = Some(certificate(kind));
        for config in [ClientConfig::chromium(), ClientConfig::legacy()] {
            Pair::new(&ClientConfig { certificate: pair.clone(), ..config }).connect();
        }
    }
}

#[test]
fn sha384_and_sha512_fingerprints_are_compared_whole() {
    let config = ClientConfig::chromium();
    let x509 = &config.certificate.as_ref().unwrap().0;
    let mut sha384: [u8; 48] = (&*x509.digest(MessageDigest::sha384()).unwrap()).try_into().unwrap();
    let sha512: [u8; 64] = (&*x509.digest(MessageDigest::sha512()).unwrap()).try_into().unwrap();
    Pair::with_fingerprint(&config, &Fingerprint::Sha384(sha384)).connect();
    Pair::with_fingerprint(&config, &Fingerprint::Sha512(sha512)).connect();
    sha384[47] ^= 1;
    let mut pair = Pair::with_fingerprint(&config, &Fingerprint::Sha384(sha384));
    assert!(pair.run_until(|pair| pair.failure.is_some()));
    assert_eq!(pair.failure, Some(DtlsFailure::Fingerprint));
}

#[test]
fn certificate_with_another_fingerprint_is_refused_and_the_client_told() {
    for config in [ClientConfig::chromium(), ClientConfig::legacy()] {
        let mut pair = Pair::with_fingerprint(&config, &Fingerprint::Sha256([7; 32]));
        assert!(pair.run_until(|pair| pair.failure.is_some() && pair.client.failed));
        assert_eq!(pair.failure, Some(DtlsFailure::Fingerprint));
        assert!(pair.outcome.is_none());
        assert!(!pair.server.send(b"no"));
        assert!(pair.server.poll_timeout().is_none());
    }
}

#[test]
fn client_without_srtp_is_refused() {
    for config in [ClientConfig::chromium(), ClientConfig::legacy()] {
        let mut pair = Pair::new(&ClientConfig { profiles: None, ..config });
        assert!(pair.run_until(|pair| pair.failure.is_some()));
        assert_eq!(pair.failure, Some(DtlsFailure::NoSrtpProfile));
        assert!(pair.outcome.is_none());
    }
}

#[test]
fn client_without_certificate_is_refused() {
    for config in [ClientConfig::chromium(), ClientConfig::legacy()] {
        let mut pair = Pair::new(&ClientConfig { certificate: None, ..config });
        assert!(pair.run_until(|pair| pair.failure.is_some()));
        assert_eq!(pair.failure, Some(DtlsFailure::Handshake));
        assert!(pair.outcome.is_none());
    }
}

#[test]
fn close_notify_ends_the_association_from_either_side() {
    for config in [ClientConfig::chromium(), ClientConfig::legacy()] {
        let mut pair = Pair::new(&config);
        pair.connect();
        pair.client.stream.shutdown().unwrap();
        assert!(pair.run_until(|pair| pair.server_closed));
        assert!(!pair.server.send(b"late"));

        let mut pair = Pair::new(&config);
        pair.connect();
        pair.server.close();
        assert!(pair.run_until(|pair| pair.client.closed));
        assert!(!pair.client.failed);
    }
}

/// Held for writing by the tests that measure the process's memory, for reading by the one that needs much of it.
static MEMORY: RwLock<()> = RwLock::new(());

/// xorshift64*: enough for junk, and the same junk each run.
struct Junk(u64);

impl Junk {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Noise, an epoch-0 record, a record of a later epoch, a DTLS 1.3 ciphertext, or a real one with a changed bit.
    fn datagram(&mut self, real: &[Vec<u8>]) -> Vec<u8> {
        let len = 1 + (self.next() % 1400) as usize;
        let mut datagram: Vec<u8> = (0..len).map(|_| (self.next() >> 32) as u8).collect();
        let kind = self.next() % 5;
        if kind == 4 {
            datagram = real[(self.next() as usize) % real.len()].clone();
            let position = (self.next() as usize) % datagram.len();
            datagram[position] ^= 1 << (self.next() % 8);
            return datagram;
        }
        if len < 32 {
            return datagram;
        }
        let body = (len - 13) as u16;
        match kind {
            1 | 2 => {
                datagram[0] = 20 + (self.next() % 6) as u8;
                datagram[1..3].copy_from_slice(&[0xfe, 0xfd]);
                datagram[3..5].copy_from_slice(&(if kind == 1 { 0 } else { self.next() as u16 % 5 }).to_be_bytes());
                datagram[11..13].copy_from_slice(&body.to_be_bytes());
            }
            3 => datagram[0] = 0x20 | (self.next() % 32) as u8,
            _ => {}
        }
        datagram
    }
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// Feeds junk and returns how many datagrams and events it provoked.
fn feed_junk(server: &mut dyn Dtls, junk: &mut Junk, real: &[Vec<u8>], count: usize) -> (usize, usize) {
    let (mut sent, mut events, mut out) = (0, 0, [0; 2048]);
    for _ in 0..count {
        server.handle_datagram(Instant::now(), &junk.datagram(real));
        while server.poll_transmit(&mut out).is_some() {
            sent += 1;
        }
        while server.poll_event().is_some() {
            events += 1;
        }
    }
    (sent, events)
}

#[test]
fn junk_into_unfinished_associations_takes_no_memory() {
    let _memory = MEMORY.write().unwrap_or_else(PoisonError::into_inner);
    let mut reference = Pair::new(&ClientConfig::chromium());
    reference.connect();
    let acceptor = BoringAcceptor::new().unwrap();
    let mut junk = Junk(1);
    let mut before = 0;
    for round in 0..50 {
        let mut server = acceptor.accept(Instant::now(), &Fingerprint::Sha256([1; 32]));
        if round % 2 == 1 {
            server.handle_datagram(Instant::now(), &reference.sent[0][0]);
        }
        let (sent, events) = feed_junk(server.as_mut(), &mut junk, &reference.sent[0], 1000);
        assert!(sent < 100 && events <= 1, "{sent} datagrams, {events} events");
        // The first rounds fill the allocator's caches.
        if round == 9 {
            before = resident_bytes();
        }
    }
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 16 << 20, "grew by {grown} bytes");
}

#[test]
fn junk_and_forgeries_do_nothing_to_an_established_association() {
    let _memory = MEMORY.write().unwrap_or_else(PoisonError::into_inner);
    for config in [ClientConfig::chromium(), ClientConfig::legacy()] {
        let mut pair = Pair::new(&config);
        pair.connect();
        pair.assert_carries_data();
        let real = pair.sent[0].clone();
        let mut junk = Junk(2);
        feed_junk(pair.server.as_mut(), &mut junk, &real, 5_000);
        let before = resident_bytes();
        let (_, events) = feed_junk(pair.server.as_mut(), &mut junk, &real, 50_000);
        assert_eq!(events, 0);
        let grown = resident_bytes().saturating_sub(before);
        assert!(grown < 16 << 20, "grew by {grown} bytes");

        // Alerts without protection in every plausible epoch: close_notify, handshake_failure; a new ClientHello;
        // and every genuine datagram of the past once more.
        for epoch in 0..4u8 {
            for alert in [[1, 0], [2, 40]] {
                let mut forged = vec![21, 0xfe, 0xfd, 0, epoch, 0, 0, 0, 0, 1, 0, 0, 2];
                forged.extend_from_slice(&alert);
                pair.server.handle_datagram(Instant::now(), &forged);
            }
        }
        let mut stranger = Client::new(&config);
        stranger.run();
        for datagram in stranger.stream.get_mut().outgoing.iter().chain(&real) {
            pair.server.handle_datagram(Instant::now(), datagram);
        }
        assert!(pair.server.poll_event().is_none());
        pair.assert_carries_data();
        assert!(!pair.server_closed);
    }
}

#[test]
fn unread_data_and_unsent_datagrams_are_bounded() {
    let mut pair = Pair::new(&ClientConfig::chromium());
    pair.connect();
    let taken = (0..1000).filter(|_| pair.server.send(&[0; 1100])).count();
    assert!((16..=256).contains(&taken), "{taken}");
    for _ in 0..1000 {
        pair.client.stream.ssl_write(&[0; 1100]).unwrap();
    }
    for datagram in std::mem::take(&mut pair.client.stream.get_mut().outgoing) {
        pair.server.handle_datagram(Instant::now(), &datagram);
    }
    let events = std::iter::from_fn(|| pair.server.poll_event()).count();
    assert!((16..=64).contains(&events), "{events}");
    assert!(!pair.server.send(&[0; 4000]));
}

#[test]
fn handshake_that_never_ends_is_given_up() {
    let mut pair = Pair::new(&ClientConfig::chromium());
    pair.client.run();
    let first_half = pair.client.stream.get_mut().outgoing.pop_front().unwrap();
    let refused = (0..1000).position(|_| !pair.server.handle_datagram(Instant::now(), &first_half));
    assert!(refused.is_some_and(|count| count > 50), "{refused:?}");
    assert!(matches!(pair.server.poll_event(), Some(DtlsEvent::Failed(DtlsFailure::Handshake))));
}

/// CPU of one association's handshake on our side alone, and what it keeps. `--ignored --nocapture`, release.
#[test]
#[ignore = "a measurement"]
fn cost_of_a_handshake() {
    let config = ClientConfig::chromium();
    let acceptor = BoringAcceptor::new().unwrap();
    let (mut spent, rounds) = (Duration::ZERO, 300);
    let mut kept = Vec::new();
    let before = resident_bytes();
    for _ in 0..rounds {
        let mut client = Client::new(&config);
        let mut out = [0; 2048];
        let mut done = false;
        let started = Instant::now();
        let mut server = acceptor.accept(Instant::now(), &config.fingerprint());
        spent += started.elapsed();
        while !done {
            client.run();
            while let Some(datagram) = client.stream.get_mut().outgoing.pop_front() {
                let started = Instant::now();
                server.handle_datagram(Instant::now(), &datagram);
                spent += started.elapsed();
            }
            while let Some(len) = server.poll_transmit(&mut out) {
                client.stream.get_mut().incoming.push_back(out[..len].to_vec());
            }
            done = matches!(server.poll_event(), Some(DtlsEvent::Connected(_)));
        }
        kept.push(server);
    }
    let memory = resident_bytes().saturating_sub(before) / rounds;
    println!("{} us a handshake, {memory} bytes an association", spent.as_micros() as usize / rounds);
}
