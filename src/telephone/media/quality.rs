//! How a call sounds, as one figure: the E-model (ITU-T G.107) in its usual simplification, and its MOS.
//!
//! `R = 93.2 - Id(delay) - Ie,eff(codec, loss)`, with the delay impairment after Cole and Rosenbluth ("Voice over IP
//! performance monitoring", 2001) and the codecs' figures of ITU-T G.113 appendix I. An estimate: it knows delay, loss and
//! codec, and neither noise nor echo. Not here: measuring. Pure.

use std::time::Duration;

use colloque_sound::Codec;

/// Mean opinion score, 1 (unusable) to 4.4 (as good as a telephone gets), in hundredths.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Mos(pub u16);

impl Mos {
    /// As people write it.
    #[must_use]
    pub fn value(self) -> f64 {
        f64::from(self.0) / 100.0
    }
}

/// The score of one direction: `delay` from mouth to ear, `lost` the part of the frames that was concealed, 0 to 1.
#[must_use]
pub fn estimate(codec: Codec, delay: Duration, lost: f64) -> Mos {
    let (equipment, robustness) = impairment(codec);
    let loss_percent = 100.0 * lost.clamp(0.0, 1.0);
    let effective = equipment + (95.0 - equipment) * loss_percent / (loss_percent + robustness);
    to_mos(BASIC - delay_impairment(delay) - effective)
}

/// Equipment impairment of the codec, and its robustness against random loss.
fn impairment(codec: Codec) -> (f64, f64) {
    match codec {
        Codec::Pcma | Codec::Pcmu => (0.0, 25.1),
        // G.113 has no narrow-band figures for these: no impairment of their own, and a robustness between G.711's with
        // concealment (25.1) and without (4.3).
        Codec::G722 => (0.0, 13.0),
        Codec::Opus => (0.0, 20.0),
    }
}

fn delay_impairment(delay: Duration) -> f64 {
    let millis = delay.as_secs_f64() * 1000.0;
    0.024 * millis + 0.11 * (millis - 177.3).max(0.0)
}

/// ITU-T G.107 annex B.
fn to_mos(rating: f64) -> Mos {
    let mos = match rating {
        rating if rating <= 0.0 => 1.0,
        rating if rating >= 100.0 => 4.5,
        // Below 6.5 the cubic dips under 1.
        rating => (1.0 + 0.035 * rating + rating * (rating - 60.0) * (100.0 - rating) * 7e-6).max(1.0),
    };
    Mos((mos * 100.0).round() as u16)
}

/// R of a call without any fault: G.107's default values.
const BASIC: f64 = 93.2;

#[cfg(test)]
mod tests {
    use super::*;

    fn mos(codec: Codec, millis: u64, lost: f64) -> u16 {
        estimate(codec, Duration::from_millis(millis), lost).0
    }

    /// R and MOS of G.107's own table: 93.2 is 4.41, 80 is 4.03, 70 is 3.60, 60 is 3.10, 50 is 2.58.
    #[test]
    fn ratings_become_scores_as_in_g_107() {
        for (rating, expected) in
            [(93.2, 441), (80.0, 403), (70.0, 360), (60.0, 310), (50.0, 258), (-3.0, 100), (3.0, 100)]
        {
            assert!(to_mos(rating).0.abs_diff(expected) <= 1, "{rating}: {:?}", to_mos(rating));
        }
    }

    #[test]
    fn a_clean_call_is_as_good_as_a_telephone_gets() {
        assert!(mos(Codec::Pcma, 0, 0.0) >= 440);
        assert!(mos(Codec::Pcma, 100, 0.0) >= 430);
    }

    #[test]
    fn loss_and_delay_each_cost() {
        for codec in [Codec::Pcma, Codec::G722, Codec::Opus] {
            let losses: Vec<u16> = (0..=10).map(|step| mos(codec, 50, f64::from(step) / 10.0)).collect();
            assert!(losses.windows(2).all(|pair| pair[0] > pair[1] || pair[1] == 100), "{losses:?}");
            let delays: Vec<u16> = (0..8).map(|step| mos(codec, step * 100, 0.01)).collect();
            assert!(delays.windows(2).all(|pair| pair[0] > pair[1]), "{delays:?}");
            assert!(mos(codec, 50, 1.0) < 120, "nothing arrives");
        }
        // G.113 appendix I: 5 % of random loss costs G.711 with concealment 15.8 points of R.
        assert!(mos(Codec::Pcma, 0, 0.05).abs_diff(to_mos(93.2 - 15.78).0) <= 1);
    }

    #[test]
    fn nonsense_gives_a_score_all_the_same() {
        for lost in [-1.0, 2.0, f64::INFINITY, f64::NEG_INFINITY] {
            assert!((100..=450).contains(&mos(Codec::Pcma, 10, lost)));
        }
        assert_eq!(mos(Codec::Pcma, u64::MAX / 2, 0.0), 100);
    }
}
