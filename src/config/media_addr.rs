//! The addresses on which media is received, and which stand in candidates.
//!
//! Not here: ports, one a worker, which `media_port` counts from.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::Deserialize;

/// Where media is received, and what candidates say instead behind NAT.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct MediaAddr {
    /// Address to bind.
    pub bind: IpAddr,
    /// Address to advertise; the bound one when absent.
    pub advertised: Option<IpAddr>,
}

impl FromStr for MediaAddr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (bind, advertised) = match text.split_once('=') {
            Some((bind, advertised)) => (bind, Some(advertised)),
            None => (text, None),
        };
        let parse = |part: &str| {
            let bare = part.trim().trim_start_matches('[').trim_end_matches(']');
            bare.parse::<IpAddr>().map_err(|_| format!("`{part}` is not an IP address (the port is --media-port)"))
        };
        let addr = MediaAddr { bind: parse(bind)?, advertised: advertised.map(parse).transpose()? };
        match addr.advertised {
            Some(shown) if shown.is_ipv4() != addr.bind.is_ipv4() => {
                Err(format!("`{text}` mixes IPv4 and IPv6; give one --media-addr for each"))
            }
            None if addr.bind.is_unspecified() => {
                Err(format!("`{text}` listens everywhere, so it needs an address to advertise: {text}=ADDRESS"))
            }
            Some(shown) if shown.is_unspecified() => Err(format!("`{text}` advertises no usable address")),
            _ => Ok(addr),
        }
    }
}

impl TryFrom<String> for MediaAddr {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// Addresses for a demonstration: loopback and every address of this machine that another one could reach.
/// Link-local addresses are left out: they need a zone that candidates cannot carry.
#[must_use]
pub fn demo_media_addrs() -> Vec<MediaAddr> {
    let mut addrs = loopback();
    for interface in if_addrs::get_if_addrs().unwrap_or_default() {
        let ip = interface.ip();
        let link_local = match ip {
            IpAddr::V4(v4) => v4.is_link_local(),
            IpAddr::V6(v6) => v6.is_unicast_link_local(),
        };
        let addr = MediaAddr { bind: ip, advertised: None };
        if !link_local && !ip.is_loopback() && !addrs.contains(&addr) && addrs.len() < MEDIA_ADDRS_MAX {
            addrs.push(addr);
        }
    }
    addrs
}

pub(super) fn loopback() -> Vec<MediaAddr> {
    let mut addrs = vec![MediaAddr { bind: Ipv4Addr::LOCALHOST.into(), advertised: None }];
    // A kernel without IPv6 refuses the bind: then IPv4 alone must do.
    if std::net::UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
        addrs.push(MediaAddr { bind: Ipv6Addr::LOCALHOST.into(), advertised: None });
    }
    addrs
}

/// Sockets per worker; candidates in every answer.
const MEDIA_ADDRS_MAX: usize = 16;
