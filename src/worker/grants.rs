//! What the kernel granted to the media sockets, and what an administrator should know where it granted less.
//!
//! The server works with less; it says so once at start-up, and `colloque check` says so before.

use super::socket::{MediaSocket, RECEIVE_BUFFER};

/// The least that any of some sockets was granted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Grants {
    /// Receive buffer in bytes.
    pub receive_buffer: usize,
    /// Whether the kernel drops junk before the worker sees it.
    pub filtered: bool,
}

impl Grants {
    /// Of sockets that are bound.
    #[must_use]
    pub fn of<'a>(sockets: impl IntoIterator<Item = &'a MediaSocket>) -> Self {
        let all = Grants { receive_buffer: usize::MAX, filtered: true };
        sockets.into_iter().fold(all, |least, socket| {
            least.and(Grants { receive_buffer: socket.receive_buffer(), filtered: socket.is_filtered() })
        })
    }

    /// The lesser of both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Grants {
            receive_buffer: self.receive_buffer.min(other.receive_buffer),
            filtered: self.filtered && other.filtered,
        }
    }

    /// What is missing, a sentence each, with what to type where something can be typed.
    #[must_use]
    pub fn shortcomings(self) -> Vec<String> {
        let mut said = Vec::new();
        if self.receive_buffer < RECEIVE_BUFFER {
            said.push(format!(
                "UDP receive buffers of {} KiB instead of {} KiB: bursts will lose packets; as root: \
                 sysctl -w net.core.rmem_max={RECEIVE_BUFFER}",
                self.receive_buffer >> 10,
                RECEIVE_BUFFER >> 10,
            ));
        }
        if !self.filtered {
            said.push(
                "the kernel refuses the sockets' filter (SO_ATTACH_FILTER): junk will reach the media threads"
                    .to_owned(),
            );
        }
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_of_all_sockets_is_told_with_what_to_type() {
        let full = Grants { receive_buffer: RECEIVE_BUFFER, filtered: true };
        assert_eq!(full.shortcomings(), [""; 0]);
        let least = full.and(Grants { receive_buffer: 212_992, filtered: true });
        let [said] = &least.shortcomings()[..] else { panic!("one thing is missing") };
        assert!(said.contains("208 KiB") && said.contains("sysctl -w net.core.rmem_max=4194304"), "{said}");
        assert_eq!(least.and(Grants { filtered: false, ..full }).shortcomings().len(), 2);
    }
}
