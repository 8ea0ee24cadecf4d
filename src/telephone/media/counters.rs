//! Figures of the telephone's media: counted by each thread in plain numbers, published for `/metrics` once a second.
//!
//! Not here: what a call's own owner learns (`desk`). No number, address or key is part of any figure.

use std::sync::atomic::{AtomicU64, Ordering};

use super::desk::KeyWay;
use super::source::Refusal;

macro_rules! figures {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// What one thread counts, from its beginning.
        #[derive(Clone, Default, Debug)]
        pub(super) struct Counters {
            $($(#[$doc])* pub(super) $name: u64,)+
            /// Packets not used, by [`Refusal::index`].
            pub(super) refused: [u64; Refusal::ALL.len()],
        }

        #[derive(Default)]
        struct Figures { $($name: AtomicU64,)+ }

        impl Figures {
            fn publish(&self, counters: &Counters) { $(self.$name.store(counters.$name, Ordering::Relaxed);)+ }

            fn for_each(&self, each: &mut dyn FnMut(&'static str, Option<&'static str>, u64)) {
                $(each(concat!("telephone_", stringify!($name)), None, self.$name.load(Ordering::Relaxed));)+
            }
        }
    };
}

figures! {
    /// Frames made for telephones.
    frames,
    /// Frames that left too late for the telephone to play them in time, perhaps.
    frames_late,
    /// Those of them for which the thread's own work is to blame: late on a core of its own, too.
    frames_late_by_work,
    /// Times that the thread stood still for longer than can be caught up.
    stalls,
    /// Seconds in which encoders spent less, because frames were late or the thread had much to do.
    seconds_reduced,
    /// Seconds in which no further call was taken.
    seconds_refusing,
    /// CPU time of the thread.
    cpu_nanoseconds,
    /// RTP packets that were accepted.
    packets_in,
    /// RTP packets sent.
    packets_out,
    /// RTP packets that the kernel would not send.
    packets_refused_by_kernel,
    /// Reports that were accepted.
    reports_in,
    /// Keys that came as telephone-events.
    keys_event,
    /// Keys that came as tones.
    keys_in_band,
    /// Events that a call's owner did not take in time.
    events_lost,
    /// Calls that ended because their own work failed.
    failed_calls,
}

impl Counters {
    pub(super) fn record_key(&mut self, way: KeyWay) {
        match way {
            KeyWay::Event => self.keys_event += 1,
            KeyWay::InBand => self.keys_in_band += 1,
        }
    }

    pub(super) fn record_refusal(&mut self, refusal: Refusal) {
        self.refused[refusal.index()] += 1;
    }
}

/// One thread's figures, for others to read.
#[derive(Default)]
pub(super) struct Published {
    figures: Figures,
    refused: [AtomicU64; Refusal::ALL.len()],
}

impl Published {
    pub(super) fn publish(&self, counters: &Counters) {
        self.figures.publish(counters);
        for (published, &count) in self.refused.iter().zip(&counters.refused) {
            published.store(count, Ordering::Relaxed);
        }
    }

    /// Calls `each` with every figure: name, `reason` label, value.
    pub(super) fn for_each(&self, each: &mut dyn FnMut(&'static str, Option<&'static str>, u64)) {
        self.figures.for_each(each);
        for (refusal, count) in Refusal::ALL.iter().zip(&self.refused) {
            each("telephone_packets_refused", Some(refusal.label()), count.load(Ordering::Relaxed));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_read_again_by_name_and_reason() {
        let mut counters = Counters { frames: 7, ..Counters::default() };
        counters.record_key(KeyWay::InBand);
        counters.record_refusal(Refusal::Authentication);
        let published = Published::default();
        published.publish(&counters);
        let mut seen = Vec::new();
        published.for_each(&mut |name, reason, value| {
            if value > 0 {
                seen.push((name, reason, value));
            }
        });
        assert_eq!(
            seen,
            [
                ("telephone_frames", None, 7),
                ("telephone_keys_in_band", None, 1),
                ("telephone_packets_refused", Some("auth"), 1)
            ]
        );
    }

    #[test]
    fn every_refusal_has_its_own_place_and_label() {
        for (at, refusal) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(refusal.index(), at);
            assert_eq!(Refusal::ALL.iter().filter(|other| other.label() == refusal.label()).count(), 1);
        }
    }
}
