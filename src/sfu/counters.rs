//! What an `Sfu` counts: plain integers that the worker copies out a few times a second.

use crate::drops::DropReason;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// Counts since the start, and a few present sizes. Never per room or person.
        #[derive(Clone, PartialEq, Eq, Debug)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)+
            drops: [u64; DropReason::ALL.len()],
        }

        impl Default for Counters {
            fn default() -> Self {
                Self { $($name: 0,)+ drops: [0; DropReason::ALL.len()] }
            }
        }

        impl Counters {
            /// Calls `each` with every figure: name, `reason` label of a drop, value. The order never changes.
            pub fn for_each(&self, mut each: impl FnMut(&'static str, Option<&'static str>, u64)) {
                $(each(stringify!($name), None, self.$name);)+
                for (reason, &count) in DropReason::ALL.iter().zip(&self.drops) {
                    each("drops", Some(reason.label()), count);
                }
            }
        }
    };
}

counters! {
    /// Rooms that exist now.
    rooms,
    /// Legs that exist now.
    legs,
    /// Legs that are connected now.
    legs_connected,
    /// Tracks that are published now.
    tracks,
    /// Datagrams received.
    datagrams_in,
    /// Bytes of them.
    bytes_in,
    /// RTP packets accepted from publishers.
    rtp_in,
    /// Retransmissions of what is here already, or of nothing: publishers probe their bandwidth with them.
    probes_in,
    /// RTP packets forwarded, one for each receiver.
    rtp_forwarded,
    /// Those of them that were padded so that their neighbours could share a message with them.
    rtp_padded,
    /// Bytes of them on the wire.
    bytes_forwarded,
    /// Packets that publishers' numbering shows as lost before us.
    lost_in,
    /// Packets that receivers reported as lost after us.
    lost_out,
    /// Sequence numbers asked again from publishers.
    nacks_sent,
    /// Sequence numbers asked again by receivers.
    nacks_received,
    /// Packets sent again.
    retransmitted,
    /// Keyframe requests sent to publishers.
    keyframe_requests_sent,
    /// Keyframe requests from receivers.
    keyframe_requests_received,
    /// Simulcast layer switches done.
    layer_switches,
    /// Handshakes completed.
    handshakes,
    /// Handshakes failed.
    handshakes_failed,
    /// Legs whose path changed.
    path_changes,
    /// Legs that fell silent for the consent time.
    consent_lost,
    /// Legs within this process that exist now.
    legs_local,
    /// Voice packets accepted from them.
    local_in,
    /// Voice packets handed to them, one for each.
    local_out,
    /// Data-channel messages relayed, one for each receiver.
    data_relayed,
    /// Rooms closed by a bug.
    rooms_failed,
}

impl Counters {
    /// Counts a drop.
    pub fn record_drop(&mut self, reason: DropReason) {
        self.drops[reason.index()] += 1;
    }

    /// Counts as many drops.
    pub fn record_drops(&mut self, reason: DropReason, count: u64) {
        self.drops[reason.index()] += count;
    }

    /// How often this reason was counted.
    #[must_use]
    pub fn drops(&self, reason: DropReason) -> u64 {
        self.drops[reason.index()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_drop_reason_has_its_own_figure() {
        let mut counters = Counters::default();
        for &reason in DropReason::ALL {
            counters.record_drop(reason);
        }
        let mut labels = std::collections::HashSet::new();
        counters.for_each(|name, reason, value| {
            if name == "drops" {
                assert_eq!(value, 1);
                assert!(labels.insert(reason), "two drops share the label {reason:?}");
            }
        });
        assert_eq!(labels.len(), DropReason::ALL.len());
    }
}
