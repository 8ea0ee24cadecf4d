//! DTLS 1.3 and 1.2 (RFC 9147, RFC 6347) on BoringSSL for DTLS-SRTP (RFC 5764). The server is always the DTLS server;
//! the client side is there for the load generator.
//!
//! The library runs over an in-memory pipe of datagrams: no socket, and `now` is a parameter. Its own
//! retransmission timers read the wall clock, so simulations in virtual time replace the whole trait.
//! There is no cookie exchange: the caller feeds only datagrams from a path that ICE proved.
//! Invariant: once connected, only an authenticated record may end the association. Before that, a forged one
//! from the proved path may; the far side then joins again.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use boring::asn1::Asn1Time;
use boring::bn::{BigNum, MsbOption};
use boring::ec::{EcGroup, EcKey};
use boring::error::ErrorStack;
use boring::hash::MessageDigest;
use boring::nid::Nid;
use boring::pkey::{PKey, Private};
use boring::srtp::SrtpProfileId;
use boring::ssl::{
    ErrorCode, Ssl, SslAlert, SslContext, SslMethod, SslOptions, SslRef, SslSessionCacheMode, SslStream,
    SslVerifyError, SslVerifyMode, SslVersion,
};
use boring::x509::{X509, X509NameBuilder, X509Ref};

use super::dtls::{Dtls, DtlsAcceptor, DtlsConnected, DtlsEvent, DtlsFailure};
use super::parameters::Fingerprint;
use super::srtp::{MasterKey, Profile, SessionKeys};

/// Why no acceptor could be made: the cryptographic library refused its own configuration.
#[derive(Debug, thiserror::Error)]
#[error("DTLS set-up failed: {0}")]
pub struct DtlsSetupError(#[from] ErrorStack);

/// One certificate and one configuration, shared by all associations of the process. Cheap to clone.
#[derive(Clone)]
pub struct BoringAcceptor {
    context: SslContext,
    fingerprint: [u8; 32],
}

impl BoringAcceptor {
    /// Makes a fresh P-256 key and self-signed certificate. Once a process: a restart rotates it.
    ///
    /// # Errors
    /// When the library cannot make a key or refuses a setting; never because of input.
    pub fn new() -> Result<Self, DtlsSetupError> {
        let (certificate, key) = self_signed()?;
        let mut context = SslContext::builder(SslMethod::dtls())?;
        context.set_min_proto_version(Some(SslVersion::DTLS1_2))?;
        context.set_max_proto_version(Some(SslVersion::DTLS1_3))?;
        // The library would otherwise ask the pipe for an MTU and fall back to 1,500 bytes of IPv4.
        context.set_options(SslOptions::CIPHER_SERVER_PREFERENCE | SslOptions::NO_TICKET | SslOptions::NO_QUERY_MTU);
        context.set_session_cache_mode(SslSessionCacheMode::OFF);
        context.set_curves_list(GROUPS)?;
        context.set_tlsext_use_srtp(SRTP_PROFILES)?;
        context.set_certificate(&certificate)?;
        context.set_private_key(&key)?;
        context.check_private_key()?;

        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(&certificate.digest(MessageDigest::sha256())?);
        Ok(Self { context: context.build(), fingerprint })
    }

    /// A fresh association that sends a ClientHello at once and accepts only a certificate with this fingerprint.
    #[must_use]
    pub fn connect(&self, now: Instant, remote_fingerprint: &Fingerprint) -> Box<dyn Dtls> {
        let Ok(stream) = self.stream(remote_fingerprint) else { return Box::new(BoringDtls::stillborn()) };
        let mut dtls = BoringDtls::new(stream, SslStream::connect);
        dtls.run();
        dtls.restart_timer(now);
        Box::new(dtls)
    }

    fn stream(&self, remote_fingerprint: &Fingerprint) -> Result<SslStream<Pipe>, ErrorStack> {
        let mut ssl = Ssl::new(&self.context)?;
        ssl.set_mtu(MTU)?;
        let expected = remote_fingerprint.clone();
        // The fingerprint in the authenticated offer is the whole proof: no chain, name or date counts (RFC 8122).
        ssl.set_custom_verify_callback(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT, move |ssl| match ssl
            .peer_certificate()
        {
            Some(certificate) if has_fingerprint(&certificate, &expected) => Ok(()),
            _ => Err(SslVerifyError::Invalid(SslAlert::BAD_CERTIFICATE)),
        });
        timer::set_initial(&ssl, RETRANSMISSION_INITIAL);
        SslStream::new(ssl, Pipe::default())
    }
}

impl DtlsAcceptor for BoringAcceptor {
    fn accept(&self, _now: Instant, remote_fingerprint: &Fingerprint) -> Box<dyn Dtls> {
        Box::new(match self.stream(remote_fingerprint) {
            Ok(stream) => BoringDtls::new(stream, SslStream::accept),
            Err(_) => BoringDtls::stillborn(),
        })
    }

    fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Handshaking { bytes: usize },
    Connected,
    Ended,
}

/// Goes on with the handshake, as the side that the association is.
type Handshake = fn(&mut SslStream<Pipe>) -> Result<(), boring::ssl::Error>;

/// One association. `None` only when the library could not even allocate one.
struct BoringDtls {
    stream: Option<SslStream<Pipe>>,
    handshake: Handshake,
    state: State,
    timer: Option<Instant>,
    events: VecDeque<DtlsEvent>,
}

impl BoringDtls {
    fn new(stream: SslStream<Pipe>, handshake: Handshake) -> Self {
        let state = State::Handshaking { bytes: 0 };
        Self { stream: Some(stream), handshake, state, timer: None, events: VecDeque::new() }
    }

    fn stillborn() -> Self {
        let events = VecDeque::from([DtlsEvent::Failed(DtlsFailure::Handshake)]);
        Self { stream: None, handshake: SslStream::accept, state: State::Ended, timer: None, events }
    }

    /// Lets the library take what lies in the pipe.
    fn run(&mut self) {
        if matches!(self.state, State::Handshaking { .. }) {
            self.continue_handshake();
        }
        if self.state == State::Connected {
            self.read_records();
        }
    }

    fn continue_handshake(&mut self) {
        let Some(stream) = &mut self.stream else { return };
        match (self.handshake)(stream) {
            Ok(()) => match outcome(stream.ssl()) {
                Ok(connected) => {
                    self.state = State::Connected;
                    self.events.push_back(DtlsEvent::Connected(connected));
                }
                Err(failure) => {
                    let _ = stream.shutdown();
                    self.fail(failure);
                }
            },
            Err(error) if error.would_block() => {}
            Err(error) => self.fail(failure_of(error.ssl_error())),
        }
    }

    fn read_records(&mut self) {
        let Some(stream) = &mut self.stream else { return };
        let mut plain = [0; PLAINTEXT_LEN_MAX];
        loop {
            match stream.ssl_read(&mut plain) {
                // Over the cap the packet is lost, as it may be on any network; SCTP sends it again.
                Ok(_) if self.events.len() >= EVENTS_LEN_MAX => {}
                Ok(len) => self.events.push_back(DtlsEvent::Data(plain[..len].to_vec())),
                Err(error) if error.would_block() => return,
                // close_notify, or an authenticated fatal alert or protocol violation: the far side ended it.
                Err(error) => {
                    if error.code() == ErrorCode::ZERO_RETURN {
                        let _ = stream.shutdown();
                    }
                    self.state = State::Ended;
                    self.events.push_back(DtlsEvent::Closed);
                    return;
                }
            }
        }
    }

    fn fail(&mut self, failure: DtlsFailure) {
        self.state = State::Ended;
        self.timer = None;
        self.events.push_back(DtlsEvent::Failed(failure));
    }

    fn restart_timer(&mut self, now: Instant) {
        self.timer = match (&self.stream, self.state) {
            (Some(stream), State::Handshaking { .. } | State::Connected) => {
                timer::remaining(stream.ssl()).map(|remaining| now + remaining)
            }
            _ => None,
        };
    }
}

impl Dtls for BoringDtls {
    fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) -> bool {
        let Some(stream) = &mut self.stream else { return false };
        match &mut self.state {
            State::Ended => return false,
            State::Handshaking { bytes } => {
                *bytes += datagram.len();
                if *bytes > HANDSHAKE_BYTES_MAX {
                    self.fail(DtlsFailure::Handshake);
                    return false;
                }
            }
            State::Connected => {}
        }
        if !stream.get_mut().put(datagram) {
            return false;
        }
        self.run();
        self.restart_timer(now);
        true
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.timer.is_none_or(|due| now < due) {
            return;
        }
        let Some(stream) = &mut self.stream else { return };
        if !timer::handle(stream.ssl()) && matches!(self.state, State::Handshaking { .. }) {
            self.fail(DtlsFailure::Handshake);
            return;
        }
        self.restart_timer(now);
        // The library's wall clock may lag behind `now`; asking again at the same instant would spin.
        self.timer = self.timer.map(|due| due.max(now + TIMER_STEP));
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.timer
    }

    fn poll_transmit(&mut self, out: &mut [u8]) -> Option<usize> {
        let datagram = self.stream.as_mut()?.get_mut().outgoing.pop_front()?;
        out.get_mut(..datagram.len())?.copy_from_slice(&datagram);
        Some(datagram.len())
    }

    fn poll_event(&mut self) -> Option<DtlsEvent> {
        self.events.pop_front()
    }

    fn send(&mut self, data: &[u8]) -> bool {
        match &mut self.stream {
            Some(stream) if self.state == State::Connected && data.len() <= SEND_LEN_MAX => {
                stream.get_ref().outgoing.len() < OUTGOING_LEN_MAX && stream.ssl_write(data).is_ok()
            }
            _ => false,
        }
    }

    fn close(&mut self) {
        if let (Some(stream), State::Connected) = (&mut self.stream, self.state) {
            let _ = stream.shutdown();
        }
        self.state = State::Ended;
        self.timer = None;
    }
}

/// The datagram "socket" under the library: at most one datagram in, a bounded queue out.
#[derive(Default)]
struct Pipe {
    incoming: Vec<u8>,
    unread: bool,
    outgoing: VecDeque<Vec<u8>>,
}

impl Pipe {
    /// False for what cannot be a record; a read of 0 bytes would mean "end of file" to the library.
    fn put(&mut self, datagram: &[u8]) -> bool {
        if datagram.is_empty() || datagram.len() > DATAGRAM_LEN_MAX {
            return false;
        }
        self.incoming.clear();
        self.incoming.extend_from_slice(datagram);
        self.unread = true;
        true
    }
}

impl Read for Pipe {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if !self.unread {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.unread = false;
        let len = self.incoming.len().min(out.len());
        out[..len].copy_from_slice(&self.incoming[..len]);
        Ok(len)
    }
}

impl Write for Pipe {
    fn write(&mut self, datagram: &[u8]) -> io::Result<usize> {
        // When full it is lost, as it may be on any network; an error would make the library give up instead.
        if self.outgoing.len() < OUTGOING_LEN_MAX {
            self.outgoing.push_back(datagram.to_vec());
        }
        Ok(datagram.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn self_signed() -> Result<(X509, PKey<Private>), ErrorStack> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    let key = PKey::from_ec_key(EcKey::generate(&group)?)?;
    let mut name = X509NameBuilder::new()?;
    // What Chromium writes too; the certificate must not tell one installation from another.
    name.append_entry_by_text("CN", "WebRTC")?;
    let name = name.build();
    let mut serial = BigNum::new()?;
    serial.rand(64, MsbOption::ONE, false)?;

    let mut certificate = X509::builder()?;
    certificate.set_version(2)?;
    certificate.set_serial_number(&*serial.to_asn1_integer()?)?;
    certificate.set_subject_name(&name)?;
    certificate.set_issuer_name(&name)?;
    // Nobody checks the dates (RFC 8122 section 5), so they need not bound how long a process may run.
    certificate.set_not_before(&*Asn1Time::days_from_now(0)?)?;
    certificate.set_not_after(&*Asn1Time::days_from_now(3650)?)?;
    certificate.set_pubkey(&key)?;
    certificate.sign(&key, MessageDigest::sha256())?;
    Ok((certificate.build(), key))
}

fn has_fingerprint(certificate: &X509Ref, expected: &Fingerprint) -> bool {
    let (hash, expected): (_, &[u8]) = match expected {
        Fingerprint::Sha256(bytes) => (MessageDigest::sha256(), bytes),
        Fingerprint::Sha384(bytes) => (MessageDigest::sha384(), bytes),
        Fingerprint::Sha512(bytes) => (MessageDigest::sha512(), bytes),
    };
    certificate.digest(hash).is_ok_and(|digest| *digest == *expected)
}

/// What a finished handshake agreed on.
fn outcome(ssl: &SslRef) -> Result<DtlsConnected, DtlsFailure> {
    let profile = match ssl.selected_srtp_profile().map(|profile| profile.id()) {
        Some(SrtpProfileId::SRTP_AEAD_AES_128_GCM) => Profile::AeadAes128Gcm,
        Some(SrtpProfileId::SRTP_AEAD_AES_256_GCM) => Profile::AeadAes256Gcm,
        Some(SrtpProfileId::SRTP_AES128_CM_SHA1_80) => Profile::Aes128CmSha1_80,
        _ => return Err(DtlsFailure::NoSrtpProfile),
    };
    Ok(DtlsConnected {
        profile,
        keys: export_keys(ssl, profile).map_err(|_| DtlsFailure::Handshake)?,
        version: ssl.version_str(),
        group: ssl.curve_name().unwrap_or("unknown"),
    })
}

/// RFC 5764 section 4.2: client key, server key, client salt, server salt.
fn export_keys(ssl: &SslRef, profile: Profile) -> Result<SessionKeys, ErrorStack> {
    let (key_len, salt_len) = match profile {
        Profile::AeadAes128Gcm => (16, 12),
        Profile::AeadAes256Gcm => (32, 12),
        Profile::Aes128CmSha1_80 | Profile::Aes128CmSha1_32 => (16, 14),
    };
    let mut material = [0; 2 * (32 + 14)];
    let material = &mut material[..2 * (key_len + salt_len)];
    ssl.export_keying_material(material, "EXTRACTOR-dtls_srtp", None)?;
    let (keys, salts) = material.split_at(2 * key_len);
    let master = |side: usize| {
        let mut master = MasterKey { key: [0; 32], salt: [0; 14] };
        master.key[..key_len].copy_from_slice(&keys[side * key_len..][..key_len]);
        master.salt[..salt_len].copy_from_slice(&salts[side * salt_len..][..salt_len]);
        master
    };
    Ok(SessionKeys { client: master(0), server: master(1) })
}

fn failure_of(errors: Option<&ErrorStack>) -> DtlsFailure {
    let refused_certificate = errors.into_iter().flat_map(ErrorStack::errors).any(|error| {
        error.library_reason(boring_sys::ERR_LIB_SSL) == Some(boring_sys::SSL_R_CERTIFICATE_VERIFY_FAILED)
    });
    if refused_certificate { DtlsFailure::Fingerprint } else { DtlsFailure::Handshake }
}

/// The library's retransmission timer, for which `boring` has no safe calls.
mod timer {
    use std::time::Duration;

    use boring::ssl::SslRef;
    use foreign_types_shared::ForeignTypeRef;

    pub(super) fn set_initial(ssl: &SslRef, duration: Duration) {
        // SAFETY: the pointer comes from a live `SslRef` and the call keeps nothing. `as_ptr` of a shared
        // reference is how the whole `boring` crate reaches it; no other thread can hold this association.
        unsafe { boring_sys::DTLSv1_set_initial_timeout_duration(ssl.as_ptr(), duration.as_millis() as u32) }
    }

    /// Time until the library wants to send again; zero means due now, `None` that no timer runs.
    pub(super) fn remaining(ssl: &SslRef) -> Option<Duration> {
        let mut left = boring_sys::timeval { tv_sec: 0, tv_usec: 0 };
        // SAFETY: a live `SslRef` as above; `left` outlives the call, which only writes one `timeval` into it.
        let running = unsafe { boring_sys::DTLSv1_get_timeout(ssl.as_ptr(), &raw mut left) } == 1;
        running.then(|| {
            let seconds = u64::try_from(left.tv_sec).unwrap_or(0);
            Duration::from_secs(seconds) + Duration::from_micros(u64::try_from(left.tv_usec).unwrap_or(0))
        })
    }

    /// Retransmits when due. False when the library gave up (12 times in a row) or failed.
    pub(super) fn handle(ssl: &SslRef) -> bool {
        // SAFETY: a live `SslRef` as above. The call writes to the pipe, which this module does not hold borrowed.
        let result = unsafe { boring_sys::DTLSv1_handle_timeout(ssl.as_ptr()) };
        if result < 0 {
            // The library keeps a queue of errors per thread; left there, the next association would report it.
            drop(boring::error::ErrorStack::get());
        }
        result >= 0
    }
}

/// Post-quantum first, as both browsers offer it; P-384 only for devices that have nothing else.
const GROUPS: &str = "X25519MLKEM768:X25519:P-256:P-384";

/// Server order decides. 128-bit GCM is the cheapest; SHA1-80 costs almost five times as much.
const SRTP_PROFILES: &str = "SRTP_AEAD_AES_128_GCM:SRTP_AEAD_AES_256_GCM:SRTP_AES128_CM_SHA1_80";

/// Bytes of a datagram of our flights. IPv6 guarantees 1,232; a lower value costs one more datagram a flight.
const MTU: u32 = 1200;

/// First retransmission; doubles each time. Higher, and one loss delays the call's start by that much; lower, and
/// every join over a satellite link sends its flights several times.
const RETRANSMISSION_INITIAL: Duration = Duration::from_millis(150);

/// Least time between two looks at the library's timer.
const TIMER_STEP: Duration = Duration::from_millis(1);

/// Bytes that an unfinished handshake may receive. A whole one is 2 to 6 KiB; 12 retransmissions of it must fit.
const HANDSHAKE_BYTES_MAX: usize = 128 * 1024;

/// Largest datagram accepted; nothing on the Internet is larger than a jumbo frame.
const DATAGRAM_LEN_MAX: usize = 9216;

/// Most plaintext of one datagram.
const PLAINTEXT_LEN_MAX: usize = DATAGRAM_LEN_MAX;

/// Datagrams that wait for `poll_transmit`. A flight has 2 to 4, SCTP's window of 256 KiB about 240. Lower loses data
/// of a burst, higher only delays it.
const OUTGOING_LEN_MAX: usize = 256;

/// Events that wait for `poll_event`; the caller polls after every datagram, which brings a few at most.
const EVENTS_LEN_MAX: usize = 64;

/// Largest application datum: an SCTP packet, kept below the MTU by SCTP itself.
const SEND_LEN_MAX: usize = 1500;
