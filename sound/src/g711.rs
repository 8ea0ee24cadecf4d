//! G.711 A-law and mu-law (ITU-T G.711, 1988).
//!
//! Not here: packets; a byte is a sample and a sample is a byte. Invariant: what was decoded encodes to the same byte again,
//! and no sample is moved by more than half a step.

/// A byte of A-law for each sample.
pub fn encode_a_law(samples: &[i16], out: &mut [u8]) {
    for (byte, &sample) in out.iter_mut().zip(samples) {
        *byte = a_law(sample);
    }
}

/// A sample for each byte of A-law.
pub fn decode_a_law(bytes: &[u8], out: &mut [i16]) {
    for (sample, &byte) in out.iter_mut().zip(bytes) {
        *sample = A_LAW[usize::from(byte)];
    }
}

/// A byte of mu-law for each sample.
pub fn encode_mu_law(samples: &[i16], out: &mut [u8]) {
    for (byte, &sample) in out.iter_mut().zip(samples) {
        *byte = mu_law(sample);
    }
}

/// A sample for each byte of mu-law.
pub fn decode_mu_law(bytes: &[u8], out: &mut [i16]) {
    for (sample, &byte) in out.iter_mut().zip(bytes) {
        *sample = MU_LAW[usize::from(byte)];
    }
}

/// Sign, three bits of segment, four of place in it; even bits inverted on the line.
fn a_law(sample: i16) -> u8 {
    // Thirteen bits are coded; of a negative number the complement, so that both signs have as many levels.
    let (sign, magnitude) = if sample >= 0 { (0x80, sample >> 3) } else { (0x00, !sample >> 3) };
    let bits = 16 - magnitude.leading_zeros();
    let segment = bits.saturating_sub(5);
    let place = (magnitude >> segment.max(1)) & 0x0f;
    (sign | (segment << 4) as u8 | place as u8) ^ 0x55
}

const fn from_a_law(byte: u8) -> i16 {
    let code = byte ^ 0x55;
    let segment = (code >> 4) & 0x07;
    let place = (((code & 0x0f) as i16) << 4) + 8;
    let magnitude = if segment == 0 { place } else { (place + 0x100) << (segment - 1) };
    if code & 0x80 != 0 { magnitude } else { -magnitude }
}

/// As A-law with a bias that makes the first segment like the others; all bits inverted on the line.
fn mu_law(sample: i16) -> u8 {
    let sign = if sample < 0 { 0x80 } else { 0x00 };
    let biased = i32::from(sample).abs().min(MU_LAW_MAX) + MU_LAW_BIAS;
    let segment = 24 - biased.leading_zeros();
    let place = (biased >> (segment + 3)) & 0x0f;
    !(sign | (segment << 4) as u8 | place as u8)
}

const fn from_mu_law(byte: u8) -> i16 {
    let code = !byte;
    let segment = (code >> 4) & 0x07;
    let biased = ((((code & 0x0f) as i32) << 3) + MU_LAW_BIAS) << segment;
    let magnitude = (biased - MU_LAW_BIAS) as i16;
    if code & 0x80 == 0 { magnitude } else { -magnitude }
}

const MU_LAW_BIAS: i32 = 132;
const MU_LAW_MAX: i32 = 32_635;

static A_LAW: [i16; 256] = levels(true);
static MU_LAW: [i16; 256] = levels(false);

const fn levels(is_a_law: bool) -> [i16; 256] {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = if is_a_law { from_a_law(code as u8) } else { from_mu_law(code as u8) };
        code += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For every sample there is: its level is one of the two around it and at most half a step away, and order is kept.
    fn every_sample_gets_a_near_level(levels: &[i16; 256], encode: fn(i16) -> u8) {
        let mut sorted: Vec<i32> = levels.iter().map(|&level| i32::from(level)).collect();
        sorted.sort_unstable();
        sorted.dedup();
        let mut before = i32::MIN;
        for sample in i16::MIN..=i16::MAX {
            let level = i32::from(levels[usize::from(encode(sample))]);
            let place = sorted.binary_search(&level).unwrap();
            let above = sorted.get(place + 1).map_or(1_300, |next| next - level);
            let below = if place == 0 { 1_300 } else { level - sorted[place - 1] };
            let away = (level - i32::from(sample)).abs();
            assert!(away <= above.max(below) / 2, "{sample} became {level}");
            assert!(level >= before, "{sample} became {level}, the one before {before}");
            before = level;
        }
    }

    #[test]
    fn a_law_codes_every_sample_within_half_a_step() {
        every_sample_gets_a_near_level(&A_LAW, a_law);
    }

    #[test]
    fn mu_law_codes_every_sample_within_half_a_step() {
        every_sample_gets_a_near_level(&MU_LAW, mu_law);
    }

    #[test]
    fn every_byte_survives_decoding_and_encoding() {
        for byte in 0..=u8::MAX {
            assert_eq!(a_law(from_a_law(byte)), byte);
            // Mu-law has two zeros; the negative one comes back as the positive.
            let expected = if byte == 0x7f { 0xff } else { byte };
            assert_eq!(mu_law(from_mu_law(byte)), expected);
        }
    }

    #[test]
    fn the_recommendations_own_figures_hold() {
        // G.711 tables 1a and 2a: the largest level, in 16-bit units, and the byte that silence is.
        assert_eq!((A_LAW.iter().max(), A_LAW.iter().min()), (Some(&32_256), Some(&-32_256)));
        assert_eq!((MU_LAW.iter().max(), MU_LAW.iter().min()), (Some(&32_124), Some(&-32_124)));
        assert_eq!((a_law(0), mu_law(0)), (0xd5, 0xff));
        // The 1 kHz reference of tables 5 and 6 is a full period of eight bytes at 0 dBm0: 3.14 and 3.17 dB below the top.
        let reference = [0x34, 0x21, 0x21, 0x34, 0xb4, 0xa1, 0xa1, 0xb4];
        let power: f64 = reference.iter().map(|&byte| f64::from(from_a_law(byte)).powi(2)).sum::<f64>() / 8.0;
        let level = 10.0 * (power / (32_768.0_f64.powi(2) / 2.0)).log10();
        assert!((-3.19..-3.09).contains(&level), "{level}");
        let reference = [0x1e, 0x0b, 0x0b, 0x1e, 0x9e, 0x8b, 0x8b, 0x9e];
        let power: f64 = reference.iter().map(|&byte| f64::from(from_mu_law(byte)).powi(2)).sum::<f64>() / 8.0;
        let level = 10.0 * (power / (32_768.0_f64.powi(2) / 2.0)).log10();
        assert!((-3.27..-3.07).contains(&level), "{level}");
    }
}
