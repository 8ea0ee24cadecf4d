//! What a run of the probe is like, as `key=value` words.

use std::net::Ipv4Addr;
use std::str::FromStr;

/// How the worker receives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Receive {
    /// recvfrom, one datagram a call.
    From,
    /// recvmmsg.
    Mmsg,
    /// recvmmsg of coalesced messages (UDP_GRO).
    MmsgGro,
}

/// How the worker sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Send {
    /// Not at all: what receiving and sealing cost.
    Null,
    /// sendto, one datagram a call.
    To,
    /// sendmmsg.
    Mmsg,
    /// sendmmsg of segmented messages (UDP_SEGMENT).
    MmsgGso,
}

/// Sizes of the packets of a burst.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sizes {
    /// All alike.
    Equal,
    /// The last one shorter, as when a frame is cut into full packets.
    Short,
    /// The first half a byte shorter, as Chromium and Firefox cut a frame.
    Byte,
    /// Any, as packets of many publishers.
    Mixed,
}

/// One run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `rx=from|mmsg|mmsggro`
    pub receive: Receive,
    /// `tx=null|to|mmsg|mmsggso`
    pub send: Send,
    /// `n=`: viewers of the one publisher.
    pub viewers: usize,
    /// `burst=`: packets that the publisher sends in one call.
    pub burst: usize,
    /// `size=`: bytes of a full datagram, sealed.
    pub size: usize,
    /// `pat=equal|short|byte|mix`
    pub sizes: Sizes,
    /// `window=`: bursts that may be under way; the next is sent when the worker is done with one.
    pub window: usize,
    /// `rate=`: bursts a second at random intervals instead of a window; 0 for the window.
    pub rate: f64,
    /// `pad=`: bytes of RTP padding that a packet may get so that its neighbours are of its size.
    pub padding_max: usize,
    /// `ms=`: how long it is measured.
    pub millis: u64,
    /// `lat=1`: measures latencies too.
    pub latency: bool,
    /// `workers=`: each with its own socket, publisher and viewers.
    pub workers: usize,
    /// `dst=`: where the viewers are: 127.9.0.1 is the driver that costs nothing.
    pub viewers_at: Ipv4Addr,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            receive: Receive::Mmsg,
            send: Send::MmsgGso,
            viewers: 9,
            burst: 8,
            size: 1200,
            sizes: Sizes::Short,
            window: 4,
            rate: 0.0,
            padding_max: 0,
            millis: 250,
            latency: false,
            workers: 1,
            viewers_at: Ipv4Addr::new(127, 9, 0, 1),
        }
    }
}

impl FromStr for Settings {
    type Err = String;

    fn from_str(words: &str) -> Result<Self, String> {
        let mut settings = Self::default();
        for word in words.split_whitespace() {
            let (key, value) = word.split_once('=').ok_or_else(|| format!("{word}: not key=value"))?;
            settings.set(key, value).ok_or_else(|| format!("{word}: not understood"))?;
        }
        Ok(settings)
    }
}

impl Settings {
    fn set(&mut self, key: &str, value: &str) -> Option<()> {
        match key {
            "rx" => {
                self.receive = match value {
                    "from" => Receive::From,
                    "mmsg" => Receive::Mmsg,
                    "mmsggro" => Receive::MmsgGro,
                    _ => return None,
                }
            }
            "tx" => {
                self.send = match value {
                    "null" => Send::Null,
                    "to" => Send::To,
                    "mmsg" => Send::Mmsg,
                    "mmsggso" => Send::MmsgGso,
                    _ => return None,
                }
            }
            "pat" => {
                self.sizes = match value {
                    "equal" => Sizes::Equal,
                    "short" => Sizes::Short,
                    "byte" => Sizes::Byte,
                    "mix" => Sizes::Mixed,
                    _ => return None,
                }
            }
            "n" => self.viewers = value.parse().ok()?,
            "burst" => self.burst = value.parse().ok()?,
            "size" => self.size = value.parse().ok()?,
            "window" => self.window = value.parse().ok()?,
            "rate" => self.rate = value.parse().ok()?,
            "pad" => self.padding_max = value.parse().ok()?,
            "ms" => self.millis = value.parse().ok()?,
            "lat" => self.latency = value == "1",
            "workers" => self.workers = value.parse().ok()?,
            "dst" => self.viewers_at = value.parse().ok()?,
            _ => return None,
        }
        Some(())
    }

    /// Bytes of the sealed datagram number `index`.
    #[must_use]
    pub fn size_of(&self, index: usize) -> usize {
        let position = index % self.burst;
        let scattered = (index as u32).wrapping_mul(2_654_435_761) as usize >> 12;
        match self.sizes {
            Sizes::Mixed => self.size - scattered % (self.size / 5),
            Sizes::Byte if self.burst > 1 && position < self.burst / 2 => self.size - 1,
            Sizes::Short if self.burst > 1 && position == self.burst - 1 => 200 + index * 7919 % (self.size - 200),
            _ => self.size,
        }
    }
}
