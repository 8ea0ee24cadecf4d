//! Networks of addresses (RFC 4632 notation): who may speak SIP or send sound to us.
//!
//! Not here: sockets. An IPv4 address that came over an IPv6 socket (`::ffff:192.0.2.1`) counts as the IPv4 address that it is.

use std::net::IpAddr;
use std::str::FromStr;

use serde::Deserialize;

/// An address and how many of its leading bits count.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Whether the address belongs to it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                own.to_bits() & mask == other.to_bits() & mask
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                own.to_bits() & mask == other.to_bits() & mask
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address
            .parse::<IpAddr>()
            .map_err(|_| format!("`{text}` is no network: write 203.0.113.0/28, 203.0.113.7 or 2001:db8::/48"))?
            .to_canonical();
        let (least, whole) = if address.is_ipv4() { (PREFIX_MIN_V4, 32) } else { (PREFIX_MIN_V6, 128) };
        let prefix = prefix.map_or(Ok(whole), str::parse::<u8>).ok().filter(|prefix| (least..=whole).contains(prefix));
        match prefix {
            Some(prefix) => Ok(Network { address, prefix }),
            None => Err(format!("`{text}`: the part behind the slash must be {least} to {whole}")),
        }
    }
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// A wider list would let the whole Internet in.
const PREFIX_MIN_V4: u8 = 8;
/// As above.
const PREFIX_MIN_V6: u8 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_contains_its_addresses_and_no_others() {
        for (network, inside, outside) in [
            ("203.0.113.0/28", "203.0.113.15", "203.0.113.16"),
            ("203.0.113.7", "203.0.113.7", "203.0.113.8"),
            ("203.0.113.0/28", "::ffff:203.0.113.1", "::ffff:203.0.114.1"),
            ("2001:db8::/48", "2001:db8:0:ffff::1", "2001:db8:1::1"),
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("2001:db8::1/128", "2001:db8::1", "10.0.0.1"),
        ] {
            let parsed: Network = network.parse().unwrap();
            assert!(parsed.contains(inside.parse().unwrap()), "{network} {inside}");
            assert!(!parsed.contains(outside.parse().unwrap()), "{network} {outside}");
        }
    }

    #[test]
    fn nobody_allows_the_whole_internet_by_mistake() {
        for bad in ["0.0.0.0/0", "::/0", "10.0.0.0/33", "host", "10.0.0.0/", "10.0.0.0/-1", ""] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }
}
