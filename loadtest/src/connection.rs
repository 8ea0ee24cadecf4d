//! One peer connection: str0m, which shares no code with the server, on one UDP socket.
//!
//! Offers what a page offers (senders first, then slots, one bundle), drives ICE, DTLS, SRTP and SCTP, and hands out
//! str0m's events. RTP packets go in and out as they are. Not here: signalling, and what the packets mean.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket as StdSocket};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use colloque_signaling::message::{MediaSource, SenderInfo};
use str0m::change::{SdpAnswer, SdpApi, SdpPendingOffer};
use str0m::channel::ChannelId;
use str0m::format::Codec;
use str0m::media::{Direction, MediaKind, Mid, Pt};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{ExtensionValues, RtpWrite};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};
use tokio::net::UdpSocket;
use tokio::time::timeout_at;

pub use crate::leg::Offer;
use crate::media::Piece;

/// What the offer has, in this order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sections {
    /// Sends a voice.
    pub microphone: bool,
    /// Sends a picture.
    pub camera: bool,
    /// Shares a screen.
    pub screen: bool,
    /// Pairs of receiving sections.
    pub slots: usize,
    /// Opens a data channel of this label.
    pub channel: Option<&'static str>,
}

/// A peer connection.
pub struct Connection {
    rtc: Rtc,
    socket: UdpSocket,
    local: SocketAddr,
    buffer: Vec<u8>,
    pending: Option<SdpPendingOffer>,
    events: VecDeque<Event>,
    wake_at: Instant,
    microphone: Option<Track>,
    camera: Option<Track>,
    screen: Option<Track>,
    channel: Option<ChannelId>,
    srtp_overhead: Option<usize>,
    send_errors: u64,
}

struct Track {
    mid: Mid,
    pt: Pt,
    sequence: u64,
}

impl Connection {
    /// Binds a socket on the interface that reaches the server.
    pub fn open(server: SocketAddr) -> Result<Self> {
        Self::open_with(server, RtcConfig::new())
    }

    /// The same with a configuration of the caller's; codecs and RTP mode are set here.
    pub fn open_with(server: SocketAddr, config: RtcConfig) -> Result<Self> {
        let config = config.set_rtp_mode(true).clear_codecs().enable_opus(true, false).enable_vp8(true);
        let mut rtc = config.build(Instant::now());
        let (socket, local) = bind(server)?;
        rtc.add_local_candidate(Candidate::host(local, "udp")?).context("the local candidate")?;
        Ok(Self {
            rtc,
            socket,
            local,
            buffer: vec![0; DATAGRAM_LEN_MAX],
            pending: None,
            events: VecDeque::new(),
            wake_at: Instant::now(),
            microphone: None,
            camera: None,
            screen: None,
            channel: None,
            srtp_overhead: None,
            send_errors: 0,
        })
    }

    /// Makes the first offer.
    pub fn offer(&mut self, sections: Sections) -> Result<Offer> {
        let voice = self.payload_type(Codec::Opus)?;
        let picture = self.payload_type(Codec::Vp8)?;
        let mut changes = self.rtc.sdp_api();
        let mut senders = Vec::new();
        let mut sender = |changes: &mut SdpApi<'_>, kind, source, pt| {
            let mid = changes.add_media(kind, Direction::SendOnly, None, None, None);
            senders.push(SenderInfo { mid: mid.to_string(), source });
            Track { mid, pt, sequence: FIRST_SEQUENCE }
        };
        if sections.microphone {
            self.microphone = Some(sender(&mut changes, MediaKind::Audio, MediaSource::Microphone, voice));
        }
        if sections.camera {
            self.camera = Some(sender(&mut changes, MediaKind::Video, MediaSource::Camera, picture));
        }
        if sections.screen {
            self.screen = Some(sender(&mut changes, MediaKind::Video, MediaSource::Screen, picture));
        }
        for _ in 0..sections.slots {
            changes.add_media(MediaKind::Audio, Direction::RecvOnly, None, None, None);
            changes.add_media(MediaKind::Video, Direction::RecvOnly, None, None, None);
        }
        if let Some(label) = sections.channel {
            self.channel = Some(changes.add_channel(label.to_owned()));
        }
        let (offer, pending) = changes.apply().context("an offer without sections")?;
        self.pending = Some(pending);
        self.drain()?;
        Ok(Offer { sdp: offer.to_sdp_string(), senders })
    }

    /// Makes an offer with new ICE credentials and the sections there are.
    pub fn restart_ice(&mut self) -> Result<Offer> {
        let mut changes = self.rtc.sdp_api();
        changes.ice_restart(true);
        let (offer, pending) = changes.apply().context("an ICE restart is a change")?;
        self.pending = Some(pending);
        self.drain()?;
        let named = |track: &Option<Track>, source| {
            track.as_ref().map(|track| SenderInfo { mid: track.mid.to_string(), source })
        };
        let senders = [
            named(&self.microphone, MediaSource::Microphone),
            named(&self.camera, MediaSource::Camera),
            named(&self.screen, MediaSource::Screen),
        ];
        Ok(Offer { sdp: offer.to_sdp_string(), senders: senders.into_iter().flatten().collect() })
    }

    /// Takes the answer to the last offer.
    pub fn accept(&mut self, answer: &str) -> Result<()> {
        let pending = self.pending.take().context("no offer is pending")?;
        let answer = SdpAnswer::from_sdp_string(answer).context("the answer's SDP")?;
        self.rtc.sdp_api().accept_answer(pending, answer).context("the answer")?;
        self.drain()?;
        self.handle_timeout(Instant::now())
    }

    /// Goes on from a new UDP port, as after a change of network; the old port is dead at once.
    pub fn move_to_new_port(&mut self, server: SocketAddr) -> Result<()> {
        let (socket, local) = bind(server)?;
        let old = Candidate::host(self.local, "udp")?;
        self.socket = socket;
        self.local = local;
        self.rtc.add_local_candidate(Candidate::host(local, "udp")?).context("the new candidate")?;
        self.drain()?;
        self.rtc.direct_api().invalidate_candidate(&old);
        self.drain()?;
        self.handle_timeout(Instant::now())
    }

    /// Sends from a new UDP port without knowing it, as behind a NAT that forgot its binding.
    pub fn rebind_unnoticed(&mut self, server: SocketAddr) -> Result<()> {
        self.socket = bind(server)?.0;
        Ok(())
    }

    /// The next event; `None` at the deadline. Cancel safe.
    pub async fn next(&mut self, deadline: Instant) -> Result<Option<Event>> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            ensure!(self.rtc.is_alive(), "the peer connection is closed");
            let until = self.wake_at.min(deadline);
            match timeout_at(until.into(), self.socket.recv_from(&mut self.buffer)).await {
                Ok(Ok((len, source))) => self.handle_datagrams(len, source)?,
                // A port that closed: ICE finds out by itself.
                Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => {}
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => {
                    let now = Instant::now();
                    if now >= self.wake_at {
                        self.handle_timeout(now)?;
                    }
                    if now >= deadline && self.events.is_empty() {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Sends one of the microphone's packets.
    pub fn send_voice(&mut self, now: Instant, piece: Piece) -> Result<()> {
        let extensions =
            ExtensionValues { audio_level: Some(-30), voice_activity: Some(true), ..ExtensionValues::default() };
        write(&mut self.rtc, self.microphone.as_mut(), now, piece, extensions)?;
        self.handle_timeout(now)
    }

    /// Sends a frame of the camera.
    pub fn send_frame(&mut self, now: Instant, pieces: Vec<Piece>) -> Result<()> {
        for piece in pieces {
            write(&mut self.rtc, self.camera.as_mut(), now, piece, ExtensionValues::default())?;
        }
        self.handle_timeout(now)
    }

    /// Sends a frame of the shared screen.
    pub fn send_screen(&mut self, now: Instant, pieces: Vec<Piece>) -> Result<()> {
        for piece in pieces {
            write(&mut self.rtc, self.screen.as_mut(), now, piece, ExtensionValues::default())?;
        }
        self.handle_timeout(now)
    }

    /// Sends a text on the data channel. False when it is not open yet or full.
    pub fn send_text(&mut self, text: &str) -> Result<bool> {
        let Some(mut channel) = self.channel.and_then(|id| self.rtc.channel(id)) else { return Ok(false) };
        let taken = channel.write(false, text.as_bytes())?;
        self.handle_timeout(Instant::now())?;
        Ok(taken)
    }

    /// Whether the packet belongs to a voice.
    #[must_use]
    pub fn is_voice(&self, pt: Pt) -> bool {
        self.payload_type(Codec::Opus).is_ok_and(|voice| voice == pt)
    }

    /// How many bytes SRTP added to the RTP packet that came last: 16 for the AEAD profiles, 10 for the older one.
    #[must_use]
    pub fn srtp_overhead(&self) -> Option<usize> {
        self.srtp_overhead
    }

    /// Datagrams that this machine did not take for sending; they are losses the server has no part in.
    #[must_use]
    pub fn send_errors(&self) -> u64 {
        self.send_errors
    }

    fn payload_type(&self, codec: Codec) -> Result<Pt> {
        let found = self.rtc.codec_config().find(|params| params.spec().codec == codec);
        Ok(found.context("a codec that was switched on")?.pt())
    }

    /// Takes the datagram in the buffer, and those that wait behind it.
    fn handle_datagrams(&mut self, len: usize, source: SocketAddr) -> Result<()> {
        self.handle_datagram(len, source)?;
        for _ in 0..DATAGRAMS_AT_ONCE_MAX {
            match self.socket.try_recv_from(&mut self.buffer) {
                Ok((len, source)) => self.handle_datagram(len, source)?,
                Err(_) => break,
            }
        }
        Ok(())
    }

    fn handle_datagram(&mut self, len: usize, source: SocketAddr) -> Result<()> {
        let Ok(contents) = self.buffer[..len].try_into() else { return Ok(()) };
        let before = self.events.len();
        let receive = Receive { proto: Protocol::Udp, source, destination: self.local, contents };
        self.rtc.handle_input(Input::Receive(Instant::now(), receive))?;
        self.drain()?;
        if let Some(Event::RtpPacket(packet)) = self.events.get(before) {
            self.srtp_overhead = len.checked_sub(packet.header.header_len + packet.payload.len());
        }
        Ok(())
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<()> {
        self.rtc.handle_input(Input::Timeout(now))?;
        self.drain()
    }

    /// str0m wants all of its output taken after each input.
    fn drain(&mut self) -> Result<()> {
        loop {
            match self.rtc.poll_output()? {
                Output::Timeout(at) => {
                    self.wake_at = at;
                    return Ok(());
                }
                // From a port that is no more: lost, as on a phone that left its network.
                Output::Transmit(transmit) if transmit.source != self.local => {}
                Output::Transmit(transmit) => {
                    if self.socket.try_send_to(&transmit.contents, transmit.destination).is_err() {
                        self.send_errors += 1;
                    }
                }
                Output::Event(event) => self.events.push_back(event),
            }
        }
    }
}

fn write(
    rtc: &mut Rtc,
    track: Option<&mut Track>,
    now: Instant,
    piece: Piece,
    extensions: ExtensionValues,
) -> Result<()> {
    let track = track.context("nothing of this kind was offered")?;
    let mut direct = rtc.direct_api();
    let Some(stream) = direct.stream_tx_by_mid(track.mid, None) else { bail!("the section was not answered") };
    let packet = RtpWrite::new(track.pt, track.sequence.into(), piece.timestamp, now, piece.payload);
    stream.write_rtp(packet.marker(piece.marker).ext_vals(extensions).nackable(true));
    track.sequence += 1;
    Ok(())
}

fn bind(server: SocketAddr) -> Result<(UdpSocket, SocketAddr)> {
    let any = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let probe = StdSocket::bind(any)?;
    probe.connect(server).context("no route to the server")?;
    let socket = StdSocket::bind((probe.local_addr()?.ip(), 0))?;
    socket.set_nonblocking(true)?;
    let local = socket.local_addr()?;
    Ok((UdpSocket::from_std(socket)?, local))
}

/// Near the wrap of 16 bits, so that every run crosses it.
const FIRST_SEQUENCE: u64 = 65_400;
const DATAGRAM_LEN_MAX: usize = 2_000;
/// More would keep other participants of the same thread waiting.
const DATAGRAMS_AT_ONCE_MAX: usize = 64;
