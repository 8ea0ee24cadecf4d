//! Where the viewers' addresses lead: to the loopback while they join, to the free driver while the worker is measured.

use std::fs;
use std::net::Ipv4Addr;
use std::process::Command;

/// The viewers' address.
pub const VIEWERS: Ipv4Addr = Ipv4Addr::new(127, 9, 0, 1);

/// While it lives, the viewers' addresses are this machine's, so that they can join over sockets. Afterwards they lead
/// to the free driver again.
pub struct ViewersAreLocal;

impl ViewersAreLocal {
    pub fn new() -> Self {
        ip("add");
        Self
    }
}

impl Drop for ViewersAreLocal {
    fn drop(&mut self) {
        ip("del");
    }
}

/// Whether this is the namespace that `netns.sh` makes.
pub fn is_ready() -> bool {
    // Not /sys, which shows the namespace that mounted it.
    fs::read_to_string("/proc/self/net/dev").is_ok_and(|devices| devices.contains("free0:"))
}

fn ip(action: &str) {
    let words = ["route", action, "local", "127.9.0.0/16", "dev", "lo", "table", "local"];
    let status = Command::new("ip").args(words).status().expect("iproute2");
    assert!(status.success(), "ip route {action}: {status}");
}
