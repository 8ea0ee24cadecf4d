//! From a trunk's name to the addresses of its servers, in the order in which they are to be tried (RFC 3263).
//!
//! A host with a port is looked up as it is; without one, SRV records say which hosts and ports there are, by priority and weight (RFC
//! 2782). Not here: what becomes of a server that does not answer. Names in what others send are never looked up.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;

use rsipstack::resolver::SipResolver;
use rsipstack::sip::{Domain, Transport};

use crate::config::telephone::{SipServer, SipTransport};

/// Addresses, best first; none: the name is not known.
pub type Found<'a> = Pin<Box<dyn Future<Output = Vec<SocketAddr>> + Send + 'a>>;

/// Who knows names.
pub trait Names: fmt::Debug + Send + Sync {
    /// The servers of a trunk. The caller limits the time.
    fn find<'a>(&'a self, server: &'a SipServer, transport: SipTransport) -> Found<'a>;
}

/// The name servers of this machine, asked anew each time: operators move.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemNames;

impl Names for SystemNames {
    fn find<'a>(&'a self, server: &'a SipServer, transport: SipTransport) -> Found<'a> {
        Box::pin(async move {
            if server.port.is_none() {
                let (host, kind) = (Domain(server.host.clone()), kind(transport));
                let found = SipResolver::default().lookup(&host, None, Some(kind), kind == Transport::Tls).await;
                if let Ok(found) = found {
                    return found.into_iter().map(|target| target.addr).collect();
                }
            }
            // With a port, or known to no name server but to a file of this machine.
            let port = server.port.unwrap_or(usual_port(transport));
            tokio::net::lookup_host((server.host.as_str(), port)).await.map(Iterator::collect).unwrap_or_default()
        })
    }
}

/// What is tried of what was found: each once, at most [`TRIED_MAX`], and over UDP only what our socket can reach.
pub(super) fn tried(found: Vec<SocketAddr>, udp: Option<SocketAddr>) -> Vec<SocketAddr> {
    let mut tried = Vec::new();
    for addr in found {
        if udp.is_none_or(|own| own.is_ipv4() == addr.is_ipv4()) && !tried.contains(&addr) && tried.len() < TRIED_MAX {
            tried.push(addr);
        }
    }
    tried
}

/// Where SIP is received when nobody says otherwise (RFC 3261 section 19.1.2).
pub(super) fn usual_port(transport: SipTransport) -> u16 {
    if transport == SipTransport::Tls { 5_061 } else { 5_060 }
}

fn kind(transport: SipTransport) -> Transport {
    match transport {
        SipTransport::Udp => Transport::Udp,
        SipTransport::Tcp => Transport::Tcp,
        SipTransport::Tls => Transport::Tls,
    }
}

/// Servers of one trunk. More share the time for a first answer, and each then has too little of it.
const TRIED_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use rsipstack::resolver::sip_resolver::{LookupSource, SrvRecord, resolve_logic};

    use super::*;

    /// Two servers of the first priority that share the calls, one for when both fail.
    struct Fixed;

    type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<Vec<T>, String>> + Send + 'a>>;

    impl LookupSource for Fixed {
        fn lookup_srv<'life0, 'life1, 'async_trait>(&'life0 self, name: &'life1 str) -> Answer<'async_trait, SrvRecord>
        where
            'life0: 'async_trait,
            'life1: 'async_trait,
            Self: 'async_trait,
        {
            let record =
                |target: &str, port, priority, weight| SrvRecord { target: target.to_owned(), port, priority, weight };
            let known = name == "_sip._udp.trunk.example";
            Box::pin(async move {
                if !known {
                    return Err("no such name".to_owned());
                }
                Ok(vec![record("last", 5_070, 20, 0), record("rare", 5_080, 10, 10), record("often", 5_090, 10, 90)])
            })
        }

        fn lookup_a_aaaa<'life0, 'life1, 'async_trait>(&'life0 self, name: &'life1 str) -> Answer<'async_trait, IpAddr>
        where
            'life0: 'async_trait,
            'life1: 'async_trait,
            Self: 'async_trait,
        {
            let host = match name {
                "last" => 3,
                "rare" => 2,
                _ => 1,
            };
            Box::pin(async move { Ok(vec![IpAddr::from([192, 0, 2, host])]) })
        }
    }

    /// Whoever takes a newer version of the library sees here whether it still orders.
    #[tokio::test]
    async fn servers_come_by_priority_and_then_by_chance_in_their_weights() {
        let trunk = Domain("trunk.example".to_owned());
        let mut often_first = 0;
        for _ in 0..400 {
            let found = resolve_logic(&Fixed, &trunk, None, Some(Transport::Udp), false).await.unwrap();
            let ports: Vec<u16> = found.iter().map(|target| target.addr.port()).collect();
            assert_eq!(ports[2], 5_070, "the second priority is last");
            often_first += u32::from(ports[0] == 5_090);
        }
        // 90 of 101, as RFC 2782 counts, and five standard deviations.
        assert!((320..400).contains(&often_first), "{often_first}");
    }

    #[test]
    fn each_address_is_tried_once_and_only_if_it_can_be_reached() {
        let found = ["192.0.2.1:5060", "[2001:db8::1]:5060", "192.0.2.1:5060", "192.0.2.1:5070"];
        let found: Vec<SocketAddr> = found.iter().map(|addr| addr.parse().unwrap()).collect();
        let ports = |udp: Option<&str>| -> Vec<(bool, u16)> {
            let own = udp.map(|own| own.parse().unwrap());
            tried(found.clone(), own).iter().map(|addr| (addr.is_ipv4(), addr.port())).collect()
        };
        assert_eq!(ports(None), [(true, 5_060), (false, 5_060), (true, 5_070)]);
        assert_eq!(ports(Some("127.0.0.1:5060")), [(true, 5_060), (true, 5_070)]);
        assert_eq!(ports(Some("[::1]:5060")), [(false, 5_060)]);
        let many = (0..100).map(|port| SocketAddr::from(([192, 0, 2, 1], 5_000 + port))).collect();
        assert_eq!(tried(many, None).len(), TRIED_MAX);
    }
}
