//! Tells apart why the kernel dropped datagrams of a worker's sockets: the filter refused them, which is its work, or
//! the receive buffer was full, which loses good packets and calls for an operator.
//!
//! The kernel counts both in one figure a socket. Full buffers it also counts by themselves, over all sockets of the
//! network namespace (`RcvbufErrors`), so that the smaller of the two steps is what this worker may have lost. Another
//! program's full buffer beside our filter's refusals is taken for ours, never ours for a refusal.

use std::fs;

/// The split so far.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct KernelDrops {
    /// At full receive buffers.
    pub overflowed: u64,
    /// By the filter.
    pub filtered: u64,
    sockets_seen: u64,
    host_seen: u64,
}

impl KernelDrops {
    /// Begins with what the host has counted before.
    #[must_use]
    pub fn new() -> Self {
        Self { host_seen: host_overflows().unwrap_or(0), ..Self::default() }
    }

    /// Takes the sum of the sockets' drops. `host` reads the namespace's count and is called only when there are new
    /// ones; without it, all of them count as overflowed: rather an alarm too many.
    pub fn record(&mut self, sockets: u64, host: impl FnOnce() -> Option<u64>) {
        let step = sockets.saturating_sub(self.sockets_seen);
        if step == 0 {
            return;
        }
        self.sockets_seen = sockets;
        let overflowed = match host() {
            Some(host) => {
                let host_step = host.saturating_sub(self.host_seen);
                self.host_seen = host;
                step.min(host_step)
            }
            None => step,
        };
        self.overflowed += overflowed;
        self.filtered += step - overflowed;
    }
}

/// What was dropped at full receive buffers in this network namespace, over IPv4 and IPv6.
#[must_use]
pub fn host_overflows() -> Option<u64> {
    let four = in_snmp(&fs::read_to_string("/proc/net/snmp").ok()?)?;
    // Absent without IPv6.
    let six = fs::read_to_string("/proc/net/snmp6").ok().and_then(|text| in_snmp6(&text)).unwrap_or(0);
    Some(four + six)
}

/// Two lines of `Udp:`, names and then values.
fn in_snmp(text: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Udp:"));
    let column = lines.next()?.split_whitespace().position(|name| name == "RcvbufErrors")?;
    lines.next()?.split_whitespace().nth(column)?.parse().ok()
}

fn in_snmp6(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("Udp6RcvbufErrors"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_writes() {
        let snmp = "Ip: Forwarding\nIp: 1\nUdp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors\n\
                    Udp: 131565 755 948 102214 947 0\nUdpLite: InDatagrams RcvbufErrors\nUdpLite: 1 2\n";
        assert_eq!(in_snmp(snmp), Some(947));
        assert_eq!(in_snmp("Udp: InDatagrams\nUdp: 1\n"), None);
        assert_eq!(in_snmp6("Udp6InErrors \t 3\nUdp6RcvbufErrors                \t12\n"), Some(12));
        assert!(host_overflows().is_some(), "this kernel tells");
    }

    #[test]
    fn refusals_of_the_filter_are_no_overflow() {
        let mut drops = KernelDrops { host_seen: 100, ..KernelDrops::default() };
        drops.record(5000, || Some(100));
        assert_eq!((drops.overflowed, drops.filtered), (0, 5000));
        drops.record(5000, || panic!("nothing new: nothing is read"));
    }

    #[test]
    fn an_overflow_is_counted_whatever_the_filter_refuses_meanwhile() {
        let mut drops = KernelDrops::default();
        drops.record(1030, || Some(30));
        assert_eq!((drops.overflowed, drops.filtered), (30, 1000));
        drops.record(1040, || Some(500));
        assert_eq!((drops.overflowed, drops.filtered), (40, 1000), "no more than was dropped here");
    }

    #[test]
    fn where_the_host_does_not_tell_every_drop_is_an_overflow() {
        let mut drops = KernelDrops::default();
        drops.record(7, || None);
        assert_eq!((drops.overflowed, drops.filtered), (7, 0));
    }
}
