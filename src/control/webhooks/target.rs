//! Where webhooks may lead: hosts that the operator listed, and public addresses.
//!
//! A clinic chooses the URL, and the server stands inside the operator's network: without these rules it would be a way
//! into it. The list decides by name; the addresses of a name are looked up for each connection, and only those checked are
//! connected to, so that a name cannot lead elsewhere between check and use.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::config::outbound::{HostRule, Outbound};

/// The operator's rules.
#[derive(Clone, Debug)]
pub struct Targets {
    hosts: Vec<HostRule>,
    allow_http: bool,
    /// Addresses that are listed themselves, private or not.
    addresses: Arc<[IpAddr]>,
}

/// Why a URL is no target. Never repeats it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TargetError {
    /// The operator allows none.
    #[error("webhooks are off: the operator lists the hosts that they may lead to (webhook_hosts)")]
    Off,
    /// Not a URL that can be posted to.
    #[error("the url must be https, at most 2048 bytes, without user name, password and fragment")]
    Url,
    /// Another host.
    #[error("the url's host and port are not in the operator's list (webhook_hosts)")]
    Host,
}

impl Targets {
    /// From the configuration.
    #[must_use]
    pub fn new(outbound: &Outbound) -> Self {
        let hosts = outbound.webhook_hosts.clone();
        let addresses = hosts.iter().filter_map(HostRule::address).collect();
        Self { hosts, allow_http: outbound.allow_http_webhooks, addresses }
    }

    /// Whether there are webhooks at all.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.hosts.is_empty()
    }

    /// Reads a URL that events may be sent to. A listed address may be private: the operator wrote it there.
    pub fn check(&self, url: &str) -> Result<Url, TargetError> {
        if self.is_off() {
            return Err(TargetError::Off);
        }
        let parsed = Url::parse(url).ok().filter(|_| url.len() <= URL_LEN_MAX).ok_or(TargetError::Url)?;
        let scheme_fits = parsed.scheme() == "https" || self.allow_http && parsed.scheme() == "http";
        let bare = parsed.username().is_empty() && parsed.password().is_none() && parsed.fragment().is_none();
        if !scheme_fits || !bare {
            return Err(TargetError::Url);
        }
        let host = parsed.host_str().ok_or(TargetError::Url)?;
        let listed = |rule: &HostRule| rule.host == host && rule.port == parsed.port();
        if self.hosts.iter().any(listed) { Ok(parsed) } else { Err(TargetError::Host) }
    }

    /// Whether a name may lead to this address.
    fn allows(&self, address: IpAddr) -> bool {
        is_public(address) || self.addresses.contains(&address)
    }
}

impl Resolve for Targets {
    fn resolve(&self, name: Name) -> Resolving {
        let targets = self.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> = found.filter(|address| targets.allows(address.ip())).collect();
            if allowed.is_empty() {
                return Err("the name leads to no address that webhooks may be sent to".into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

/// Whether an address belongs to the public Internet (IANA's special-purpose registries, RFC 6890).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => match embedded_v4(v6) {
            Some(v4) => is_public_v4(v4),
            None => is_public_v6(v6),
        },
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_broadcast()
        || address.is_documentation()
        || address.is_multicast()
        || a == 0
        || a >= 240
        || (a, b & 0xc0) == (100, 64)
        || (a, b, c) == (192, 0, 0)
        || (a, b & 0xfe) == (198, 18)
        || (a, b, c) == (192, 88, 99);
    !special
}

/// Global unicast is 2000::/3; inside it, what only looks so.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    let documentation = (a, b) == (0x2001, 0x0db8) || (a & 0xfff0) == 0x3ff0;
    // 2001::/23: Teredo, ORCHID, benchmarking.
    let protocols = a == 0x2001 && b < 0x0200;
    a & 0xe000 == 0x2000 && !documentation && !protocols
}

/// The IPv4 address that an IPv6 one stands for: mapped, compatible, NAT64, 6to4.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let segments = address.segments();
    let tail = |at: usize| {
        let [a, b] = segments[at].to_be_bytes();
        let [c, d] = segments[at + 1].to_be_bytes();
        Ipv4Addr::new(a, b, c, d)
    };
    match segments {
        [0, 0, 0, 0, 0, 0 | 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => Some(tail(6)),
        [0x2002, ..] => Some(tail(1)),
        _ => None,
    }
}

/// Longer ones are no receiver's.
const URL_LEN_MAX: usize = 2_048;

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(hosts: &[&str], allow_http_webhooks: bool) -> Targets {
        let webhook_hosts = hosts.iter().map(|host| HostRule::parse(host).unwrap()).collect();
        Targets::new(&Outbound { webhook_hosts, allow_http_webhooks, ..Outbound::default() })
    }

    #[test]
    fn only_listed_hosts_and_ports_are_targets() {
        let targets = targets(&["hooks.example", "dev.example:8443", "10.0.0.7"], false);
        for good in [
            "https://hooks.example/a?b=c",
            "https://HOOKS.example:443/",
            "https://dev.example:8443/x",
            "https://10.0.0.7/",
            "https://10.7/",
        ] {
            assert!(targets.check(good).is_ok(), "{good}");
        }
        for other in [
            "https://hooks.example:8443/",
            "https://dev.example/",
            "https://evil.example/",
            "https://hooks.example.evil.example/",
            "https://hooks.example./",
            "https://xhooks.example/",
            "https://10.0.0.8/",
            "https://[::ffff:10.0.0.7]/",
        ] {
            assert_eq!(targets.check(other), Err(TargetError::Host), "{other}");
        }
        for bad in [
            "http://hooks.example/",
            "https://user@hooks.example/",
            "https://:secret@hooks.example/",
            "https://hooks.example/#x",
            "ftp://hooks.example/",
            "file:///etc/passwd",
            "hooks.example",
            "",
        ] {
            assert_eq!(targets.check(bad), Err(TargetError::Url), "{bad}");
        }
        assert_eq!(targets.check(&format!("https://hooks.example/{}", "a".repeat(2_048))), Err(TargetError::Url));
    }

    #[test]
    fn without_a_list_there_are_no_webhooks() {
        assert_eq!(targets(&[], true).check("https://hooks.example/"), Err(TargetError::Off));
        assert!(targets(&["hooks.example"], true).check("http://hooks.example/").is_ok());
    }

    #[test]
    fn private_and_special_addresses_are_not_public_in_any_disguise() {
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "0.1.2.3",
            "255.255.255.255",
            "224.0.0.1",
            "240.0.0.1",
            "198.18.0.1",
            "192.0.0.8",
            "203.0.113.9",
            "192.88.99.1",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "fec0::1",
            "2001:db8::1",
            "2001::1",
            "3fff::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::10.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::1",
            "64:ff9b:1::1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
        for public in
            ["1.1.1.1", "172.32.0.1", "100.128.0.1", "198.20.0.1", "2606:4700::1", "2a01:cb00::1", "64:ff9b::101:101"]
        {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_to_a_private_address_needs_that_address_listed() {
        let resolve = async |targets: Targets| targets.resolve("localhost".parse().unwrap()).await.map(Iterator::count);
        assert!(resolve(targets(&["localhost"], false)).await.is_err());
        assert!(resolve(targets(&["localhost", "127.0.0.1", "::1"], false)).await.unwrap() >= 1);
    }
}
