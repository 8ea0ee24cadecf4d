//! A lossy network of one leg's own: drops a share of its media, both ways, the same ones in every run.

/// Loses datagrams by a seeded sequence.
#[derive(Clone, Copy, Debug)]
pub(super) struct Impairment {
    per_mille: u32,
    random: u32,
}

impl Impairment {
    /// Loses nothing yet.
    pub(super) fn new(seed: u32) -> Self {
        Self { per_mille: 0, random: seed | 1 }
    }

    pub(super) fn set(&mut self, per_mille: u32) {
        self.per_mille = per_mille;
    }

    /// Whether the next datagram is lost.
    pub(super) fn loses(&mut self) -> bool {
        if self.per_mille == 0 {
            return false;
        }
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        self.random % 1_000 < self.per_mille
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loses_about_the_share_that_was_set_and_nothing_before() {
        let mut impairment = Impairment::new(77);
        assert!((0..1_000).all(|_| !impairment.loses()));
        impairment.set(50);
        let lost = (0..10_000).filter(|_| impairment.loses()).count();
        assert!((400..600).contains(&lost), "{lost}");
    }
}
