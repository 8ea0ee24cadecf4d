//! One leg's secure channel put together: ICE-lite proves paths, DTLS gives keys, SRTP carries media, SCTP messages.
//!
//! ```text
//!            handle_stun -> IceLite ----- selected path ----+
//! datagram   handle_dtls -> Dtls -> SctpEndpoint -> events  +-> poll_transmit / egress
//!            open_rtp(cp) -> IngressSrtp -> plain packet    |
//!                                           EgressSrtp -----+
//! ```
//!
//! Not here: classifying datagrams, rooms, tracks (`sfu`). Invariant: only an authenticated check may bind a path,
//! only a proved path is heard, and once connected nothing but the far side's close_notify ends the association.

use std::collections::VecDeque;
use std::time::Instant;

use super::batch::{Path, TransmitBatch};
use super::dtls::{Dtls, DtlsConnected, DtlsEvent, DtlsFailure};
use super::ice::{IceEvent, IceLite, StunOutcome};
use super::parameters::{IceCredentials, TransportParameters};
use super::sctp::{SctpEndpoint, SctpEvent};
use super::srtp::{EgressSrtp, IngressSrtp, Profile};
use crate::drops::DropReason;
use crate::rtp::seq::SeqNo;

/// What a transport reports.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TransportEvent {
    /// The handshake is done; media and messages may flow.
    Connected {
        /// Negotiated SRTP profile.
        profile: Profile,
        /// `DTLSv1.2` or `DTLSv1.3`.
        version: &'static str,
        /// Key exchange group.
        group: &'static str,
    },
    /// The handshake failed for good. Nothing follows.
    Failed(DtlsFailure),
    /// The far side closed the association. Nothing follows.
    Closed,
    /// 30 s without an authenticated check: nothing is sent until [`TransportEvent::Back`].
    Silent,
    /// Checks came back after [`TransportEvent::Silent`].
    Back,
    /// We send on another path than before.
    PathChanged,
    /// A data channel is open for both directions.
    ChannelOpen {
        /// SCTP stream of the channel.
        channel: u16,
        /// The far side's label.
        label: String,
    },
    /// A whole data-channel message.
    Message {
        /// SCTP stream of the channel.
        channel: u16,
        /// Sent as text. Not checked to be UTF-8.
        text: bool,
        /// The message.
        payload: Vec<u8>,
    },
    /// A data channel is closed.
    ChannelClosed {
        /// SCTP stream of the channel.
        channel: u16,
    },
}

/// One leg's secure channel.
pub struct Transport {
    ice: IceLite,
    dtls: Box<dyn Dtls>,
    channel: Channel,
    /// `a=max-message-size` of the far side, when it negotiated data channels.
    message_len_max: Option<u32>,
    events: VecDeque<TransportEvent>,
}

/// How far the association is.
enum Channel {
    /// Bytes of handshake in both directions so far.
    Handshaking {
        bytes: usize,
    },
    Connected(Box<Secured>),
    Ended,
}

/// What a finished handshake gave.
struct Secured {
    ingress: IngressSrtp,
    egress: EgressSrtp,
    sctp: Option<SctpEndpoint>,
}

impl Transport {
    /// Handshake bytes in both directions together: fifty times what a browser needs with every flight lost twice. Less
    /// could fail a large certificate on a bad network, more would let a leg that never connects cost more.
    pub const HANDSHAKE_BYTES_MAX: usize = 256 * 1024;

    /// Waits for the first check.
    #[must_use]
    pub fn new(now: Instant, parameters: TransportParameters, dtls: Box<dyn Dtls>) -> Self {
        Self {
            ice: IceLite::new(now, parameters.local, parameters.remote),
            dtls,
            channel: Channel::Handshaking { bytes: 0 },
            message_len_max: parameters.data_channel,
            events: VecDeque::new(),
        }
    }

    /// Takes a STUN datagram whose user name is this leg's. A verified check is answered into `out`.
    ///
    /// # Errors
    /// Why it was not used; nothing has then changed.
    pub fn handle_stun(
        &mut self,
        now: Instant,
        path: Path,
        datagram: &[u8],
        out: &mut TransmitBatch,
    ) -> Result<StunOutcome, DropReason> {
        let outcome = self.ice.handle_check(now, path, datagram, out)?;
        self.queue_ice_events();
        Ok(outcome)
    }

    /// Takes a DTLS datagram.
    ///
    /// # Errors
    /// Why it was not used. Once connected, a refused datagram changes nothing.
    pub fn handle_dtls(&mut self, now: Instant, path: Path, datagram: &[u8]) -> Result<(), DropReason> {
        if !self.ice.is_proved(path) {
            return Err(DropReason::DtlsUnproved);
        }
        if matches!(self.channel, Channel::Ended) || !self.record_handshake(datagram.len()) {
            return Err(DropReason::DtlsRefused);
        }
        let taken = self.dtls.handle_datagram(now, datagram);
        let carried = self.handle_dtls_events(now);
        if taken { carried } else { Err(DropReason::DtlsRefused) }
    }

    /// Opens an SRTP packet in place: plain length and extended number.
    ///
    /// # Errors
    /// Why it is dropped.
    #[inline]
    pub fn open_rtp(&mut self, path: Path, packet: &mut [u8]) -> Result<(usize, SeqNo), DropReason> {
        let opened = self.ingress(path)?.open_rtp(packet)?;
        self.ice.record_media(path);
        Ok(opened)
    }

    /// Opens an SRTCP packet in place: plain length.
    ///
    /// # Errors
    /// Why it is dropped.
    pub fn open_rtcp(&mut self, path: Path, packet: &mut [u8]) -> Result<usize, DropReason> {
        let len = self.ingress(path)?.open_rtcp(packet)?;
        self.ice.record_media(path);
        Ok(len)
    }

    /// Where and with what to send media; `None` before keys, after the end and while consent is lost.
    #[inline]
    pub fn egress(&mut self) -> Option<(Path, &mut EgressSrtp)> {
        let path = self.ice.egress_path()?;
        match &mut self.channel {
            Channel::Connected(secured) => Some((path, &mut secured.egress)),
            Channel::Handshaking { .. } | Channel::Ended => None,
        }
    }

    /// Where media goes, keys or not; `None` while consent is lost.
    #[must_use]
    pub fn egress_path(&self) -> Option<Path> {
        self.ice.egress_path()
    }

    /// Queues a data-channel message; false when the channel is not open or the buffers are full.
    pub fn send_message(&mut self, now: Instant, channel: u16, text: bool, payload: &[u8]) -> bool {
        self.sctp().is_some_and(|sctp| sctp.send(now, channel, text, payload))
    }

    /// Bytes of messages that wait to be sent or acknowledged.
    pub fn message_backlog(&mut self) -> usize {
        self.sctp().map_or(0, SctpEndpoint::backlog)
    }

    /// Opens a reliable ordered data channel from our side; `None` before SCTP is up or at its limit of channels.
    pub fn open_channel(&mut self, now: Instant, label: &str) -> Option<u16> {
        self.sctp()?.open(now, label)
    }

    /// Closes a data channel.
    pub fn close_channel(&mut self, now: Instant, channel: u16) {
        if let Some(sctp) = self.sctp() {
            sctp.close(now, channel);
        }
    }

    /// New credentials for an ICE restart (RFC 8445 section 9). The old ones work until the new ones are proved; keys
    /// and channels live on.
    pub fn restart_ice(&mut self, local: IceCredentials, remote: IceCredentials) {
        self.ice.restart(local, remote);
    }

    /// Ends the association with a close_notify, which the next [`Self::poll_transmit`] sends. No event follows.
    pub fn close(&mut self) {
        self.dtls.close();
        self.channel = Channel::Ended;
    }

    /// Stops hearing and using a path, because another leg has proved it since.
    pub fn forget_path(&mut self, path: Path) {
        self.ice.forget(path);
        self.queue_ice_events();
    }

    /// The paths that datagrams may come from: for the look-up table, when the leg goes.
    pub fn paths(&self) -> impl Iterator<Item = Path> + '_ {
        self.ice.paths()
    }

    /// The user name fragments that checks may name: one, or two during an ICE restart.
    pub fn local_ufrags(&self) -> impl Iterator<Item = &str> {
        self.ice.local_ufrags()
    }

    /// Writes what DTLS and SCTP have to send, as far as `out` has room.
    pub fn poll_transmit(&mut self, now: Instant, out: &mut TransmitBatch) {
        let Some(path) = self.ice.egress_path() else { return };
        while self.write_dtls(path, out) {
            let Some(packet) = self.sctp().and_then(|sctp| sctp.poll_packet(now)) else { return };
            if !self.dtls.send(&packet) {
                // Lost, as on any network: SCTP sends it again.
                return;
            }
        }
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<TransportEvent> {
        // Messages stay in SCTP until they are asked for, so that its receive window bounds them.
        self.events.pop_front().or_else(|| self.sctp()?.poll_event().map(TransportEvent::from))
    }

    /// When [`Self::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let sctp = match &self.channel {
            Channel::Connected(secured) => secured.sctp.as_ref().and_then(SctpEndpoint::poll_timeout),
            Channel::Handshaking { .. } | Channel::Ended => None,
        };
        [self.ice.poll_timeout(), self.dtls.poll_timeout(), sctp].into_iter().flatten().min()
    }

    /// Runs timers that are due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.ice.handle_timeout(now);
        self.queue_ice_events();
        if self.dtls.poll_timeout().is_some_and(|due| due <= now) {
            self.dtls.handle_timeout(now);
            // A timer brings no data, so there is no packet to refuse.
            let _ = self.handle_dtls_events(now);
        }
        if let Some(sctp) = self.sctp()
            && sctp.poll_timeout().is_some_and(|due| due <= now)
        {
            sctp.handle_timeout(now);
        }
    }

    #[inline]
    fn ingress(&mut self, path: Path) -> Result<&mut IngressSrtp, DropReason> {
        if !self.ice.is_proved(path) {
            return Err(DropReason::UnknownAddress);
        }
        match &mut self.channel {
            Channel::Connected(secured) => Ok(&mut secured.ingress),
            Channel::Handshaking { .. } | Channel::Ended => Err(DropReason::SrtpNoKeys),
        }
    }

    fn sctp(&mut self) -> Option<&mut SctpEndpoint> {
        match &mut self.channel {
            Channel::Connected(secured) => secured.sctp.as_mut(),
            Channel::Handshaking { .. } | Channel::Ended => None,
        }
    }

    /// Counts bytes while the handshake lasts; false when they passed the cap, which fails it.
    fn record_handshake(&mut self, len: usize) -> bool {
        let Channel::Handshaking { bytes } = &mut self.channel else { return true };
        *bytes += len;
        if *bytes <= Self::HANDSHAKE_BYTES_MAX {
            return true;
        }
        self.fail(DtlsFailure::Handshake);
        false
    }

    fn handle_dtls_events(&mut self, now: Instant) -> Result<(), DropReason> {
        let mut result = Ok(());
        while let Some(event) = self.dtls.poll_event() {
            match event {
                DtlsEvent::Connected(connected) => self.secure(connected),
                DtlsEvent::Data(packet) => {
                    let taken = match self.sctp() {
                        Some(sctp) => sctp.handle_packet(now, &packet),
                        None => Err(DropReason::SctpMalformed),
                    };
                    result = result.and(taken);
                }
                DtlsEvent::Closed => {
                    if !matches!(self.channel, Channel::Ended) {
                        self.channel = Channel::Ended;
                        self.events.push_back(TransportEvent::Closed);
                    }
                }
                DtlsEvent::Failed(failure) => self.fail(failure),
            }
        }
        result
    }

    fn secure(&mut self, connected: DtlsConnected) {
        if !matches!(self.channel, Channel::Handshaking { .. }) {
            return;
        }
        let DtlsConnected { profile, keys, version, group } = connected;
        self.channel = Channel::Connected(Box::new(Secured {
            ingress: IngressSrtp::new(profile, &keys.client),
            egress: EgressSrtp::new(profile, &keys.server),
            sctp: self.message_len_max.map(SctpEndpoint::new),
        }));
        self.events.push_back(TransportEvent::Connected { profile, version, group });
    }

    fn fail(&mut self, failure: DtlsFailure) {
        if matches!(self.channel, Channel::Handshaking { .. }) {
            self.channel = Channel::Ended;
            self.events.push_back(TransportEvent::Failed(failure));
        }
    }

    /// Writes the datagrams that DTLS holds; false when `out` is full before there are no more.
    fn write_dtls(&mut self, path: Path, out: &mut TransmitBatch) -> bool {
        loop {
            let dtls = &mut self.dtls;
            match out.push(path, |buffer| dtls.poll_transmit(buffer).unwrap_or(0)) {
                None => return false,
                Some(0) => return true,
                Some(len) => {
                    if !self.record_handshake(len) {
                        return false;
                    }
                }
            }
        }
    }

    fn queue_ice_events(&mut self) {
        while let Some(event) = self.ice.poll_event() {
            if matches!(self.channel, Channel::Ended) {
                continue;
            }
            let event = match event {
                IceEvent::Silent => TransportEvent::Silent,
                IceEvent::Back => TransportEvent::Back,
                IceEvent::PathChanged => TransportEvent::PathChanged,
            };
            // Only the last state of a path that flaps unobserved matters.
            if self.events.back() != Some(&event) {
                self.events.push_back(event);
            }
        }
    }
}

impl From<SctpEvent> for TransportEvent {
    fn from(event: SctpEvent) -> Self {
        match event {
            SctpEvent::Open { channel, label, .. } => TransportEvent::ChannelOpen { channel, label },
            SctpEvent::Message { channel, text, payload } => TransportEvent::Message { channel, text, payload },
            SctpEvent::Closed { channel } => TransportEvent::ChannelClosed { channel },
        }
    }
}

#[cfg(test)]
mod tests;
