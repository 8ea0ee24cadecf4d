//! Telephone numbers: one written form, the patterns that allow and deny them, and how an operator wants them dialled.
//!
//! Not here: who may be called and how often. A [`Number`] is E.164 (a plus and 7 to 15 digits, ITU-T E.164 section 6.2.1): short
//! codes, emergency numbers and anything with letters are none. It is personal data: it prints redacted.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

/// An international number. Never shown whole: `Debug` says nothing, [`Number::ending`] the last two digits.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Number(String);

impl Number {
    /// Reads what people and operators write: `+33 6 12 34 56 78`, `0033612345678`, and `06 12 34 56 78` where `country` is the
    /// calling code of numbers that begin with a single zero. Extensions, letters and short codes are refused.
    #[must_use]
    pub fn parse(text: &str, country: CountryCode) -> Option<Number> {
        // The limit is on what is read, before anything is copied.
        if text.len() > WRITTEN_LEN_MAX {
            return None;
        }
        let bare: String =
            text.chars().filter(|c| !matches!(c, ' ' | '.' | '-' | '(' | ')' | '/' | '\u{a0}')).collect();
        let digits = if let Some(rest) = bare.strip_prefix('+') {
            rest.to_owned()
        } else if let Some(rest) = bare.strip_prefix("00") {
            rest.to_owned()
        } else {
            format!("{}{}", country.0, bare.strip_prefix('0')?)
        };
        let fits = (DIGITS_MIN..=DIGITS_MAX).contains(&digits.len()) && digits.bytes().all(|c| c.is_ascii_digit());
        (fits && !digits.starts_with('0')).then(|| Number(format!("+{digits}")))
    }

    /// With the plus, for the store and the INVITE.
    #[must_use]
    pub fn e164(&self) -> &str {
        &self.0
    }

    /// The last two digits: what a page may show.
    #[must_use]
    pub fn ending(&self) -> &str {
        &self.0[self.0.len() - 2..]
    }

    /// As an operator wants it in the request's address.
    #[must_use]
    pub fn dialled(&self, format: NumberFormat, country: CountryCode) -> String {
        let digits = &self.0[1..];
        match (format, digits.strip_prefix(&country.0.to_string())) {
            (NumberFormat::E164, _) => self.0.clone(),
            (NumberFormat::National, Some(national)) => format!("0{national}"),
            (NumberFormat::DoubleZero | NumberFormat::National, _) => format!("00{digits}"),
        }
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Calling code of a country: 1 to 999.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(try_from = "u16")]
pub struct CountryCode(u16);

impl CountryCode {
    /// 33
    pub const FRANCE: CountryCode = CountryCode(33);
}

impl TryFrom<u16> for CountryCode {
    type Error = String;

    fn try_from(code: u16) -> Result<Self, String> {
        if (1..=999).contains(&code) {
            Ok(CountryCode(code))
        } else {
            Err(format!("{code} is no country's calling code"))
        }
    }
}

/// How an operator wants numbers dialled.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum NumberFormat {
    /// `+33612345678`
    #[default]
    #[serde(rename = "e164")]
    E164,
    /// `0033612345678`
    #[serde(rename = "00")]
    DoubleZero,
    /// `0612345678`; numbers of other countries as with `00`
    #[serde(rename = "national")]
    National,
}

/// A pattern that the beginning of a number must match: `+`, digits, `[1-7]` or `[159]`, `{2,4}` behind one of these, and `$` where
/// the number must end. `+33[1-7]` is all French geographic and mobile numbers.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct NumberPattern {
    parts: Vec<Part>,
    /// The number must end where the pattern does.
    to_the_end: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Part {
    /// Bit n: digit n fits.
    digits: u16,
    least: u8,
    most: u8,
}

impl NumberPattern {
    /// Whether the number begins (or, with `$`, is) as the pattern says.
    #[must_use]
    pub fn matches(&self, number: &Number) -> bool {
        fit(&self.parts, &number.0.as_bytes()[1..], self.to_the_end)
    }
}

/// Longest repetition first, then shorter ones. A pattern has at most [`PARTS_MAX`] parts and a number 15 digits.
fn fit(parts: &[Part], digits: &[u8], to_the_end: bool) -> bool {
    let Some((part, rest)) = parts.split_first() else { return !to_the_end || digits.is_empty() };
    let run =
        digits.iter().take(part.most.into()).take_while(|digit| part.digits & (1 << (*digit - b'0')) != 0).count();
    (usize::from(part.least)..=run).rev().any(|taken| fit(rest, &digits[taken..], to_the_end))
}

impl FromStr for NumberPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fault = || format!("`{text}` is no pattern of numbers: write for example +33[1-7] or +33[0-9]{{2,4}}$");
        let mut rest = text.strip_prefix('+').ok_or_else(fault)?;
        let to_the_end = rest.ends_with('$');
        rest = rest.strip_suffix('$').unwrap_or(rest);
        let mut parts: Vec<Part> = Vec::new();
        while !rest.is_empty() {
            let digits;
            (digits, rest) = digit_set(rest).ok_or_else(fault)?;
            let (least, most);
            ((least, most), rest) = repetition(rest).ok_or_else(fault)?;
            parts.push(Part { digits, least, most });
            let open = parts.iter().filter(|part| part.least != part.most).count();
            if parts.len() > PARTS_MAX || open > OPEN_PARTS_MAX {
                return Err(fault());
            }
        }
        // "+" alone would be every number of the world.
        if parts.is_empty() { Err(fault()) } else { Ok(NumberPattern { parts, to_the_end }) }
    }
}

fn digit_set(text: &str) -> Option<(u16, &str)> {
    let first = text.as_bytes()[0];
    if first.is_ascii_digit() {
        return Some((1 << (first - b'0'), &text[1..]));
    }
    let (inside, rest) = text.strip_prefix('[')?.split_once(']')?;
    let mut set = 0;
    let bytes = inside.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let from = bytes[at];
        let to = if bytes.get(at + 1) == Some(&b'-') { *bytes.get(at + 2)? } else { from };
        if !from.is_ascii_digit() || !to.is_ascii_digit() || to < from {
            return None;
        }
        (from..=to).for_each(|digit| set |= 1 << (digit - b'0'));
        at += if bytes.get(at + 1) == Some(&b'-') { 3 } else { 1 };
    }
    (set != 0).then_some((set, rest))
}

fn repetition(text: &str) -> Option<((u8, u8), &str)> {
    let Some(inside) = text.strip_prefix('{') else { return Some(((1, 1), text)) };
    let (inside, rest) = inside.split_once('}')?;
    let (least, most) = inside.split_once(',').unwrap_or((inside, inside));
    let (least, most) = (least.parse().ok()?, most.parse().ok()?);
    (least <= most && (1..=DIGITS_MAX).contains(&usize::from(most))).then_some(((least, most), rest))
}

impl TryFrom<String> for NumberPattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// Shorter ones are service codes: 112, 15, 3639, 118218.
const DIGITS_MIN: usize = 7;
/// ITU-T E.164.
const DIGITS_MAX: usize = 15;
/// 15 digits with punctuation between all of them.
const WRITTEN_LEN_MAX: usize = 40;
/// A number has no more digits.
const PARTS_MAX: usize = DIGITS_MAX;
/// Parts that match a varying count of digits: the search tries at most 15 lengths for each.
const OPEN_PARTS_MAX: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Option<Number> {
        Number::parse(text, CountryCode::FRANCE)
    }

    #[test]
    fn numbers_have_one_written_form() {
        for (written, e164) in [
            ("+33 6 12 34 56 78", "+33612345678"),
            ("0033612345678", "+33612345678"),
            ("06.12.34.56.78", "+33612345678"),
            ("01-44-00-00-00", "+33144000000"),
            ("+1 (212) 555-0100", "+12125550100"),
            ("+262692000000", "+262692000000"),
        ] {
            assert_eq!(number(written).unwrap().e164(), e164, "{written}");
        }
        for bad in [
            "",
            "+",
            "15",
            "112",
            "3639",
            "118218",
            "+0612345678",
            "612345678",
            "sip:a@b.example",
            "+33 6 12 ext 5",
            "٠٦١٢٣٤٥٦٧٨",
            "+1234567890123456",
        ] {
            assert_eq!(number(bad), None, "{bad}");
        }
        assert!(Number::parse(&"0".repeat(1_000_000), CountryCode::FRANCE).is_none());
    }

    #[test]
    fn a_number_prints_nothing_but_its_ending_on_demand() {
        let number = number("0612345678").unwrap();
        assert_eq!(format!("{number:?}"), "***");
        assert_eq!(number.ending(), "78");
    }

    #[test]
    fn operators_get_the_form_they_want() {
        let (mobile, abroad) = (number("0612345678").unwrap(), number("+12125550100").unwrap());
        for (format, home, away) in [
            (NumberFormat::E164, "+33612345678", "+12125550100"),
            (NumberFormat::DoubleZero, "0033612345678", "0012125550100"),
            (NumberFormat::National, "0612345678", "0012125550100"),
        ] {
            assert_eq!(mobile.dialled(format, CountryCode::FRANCE), home);
            assert_eq!(abroad.dialled(format, CountryCode::FRANCE), away);
        }
    }

    #[test]
    fn patterns_match_beginnings_unless_they_end() {
        for (pattern, yes, no) in [
            ("+33[1-7]", &["+33612345678", "+33144000000"][..], &["+33812345678", "+33912345678", "+12125550100"][..]),
            ("+339", &["+33912345678"], &["+33612345678"]),
            ("+33[0-9]{2,5}$", &["+3336391"], &["+33612345678"]),
            ("+[159]", &["+12125550100", "+590590000000"], &["+33612345678"]),
            ("+33{2}6", &["+33361234567"], &["+33612345678"]),
        ] {
            let parsed: NumberPattern = pattern.parse().unwrap();
            for text in yes {
                assert!(parsed.matches(&number(text).unwrap()), "{pattern} {text}");
            }
            for text in no {
                assert!(!parsed.matches(&number(text).unwrap()), "{pattern} {text}");
            }
        }
        for bad in
            ["", "+", "33", "+33[", "+33[]", "+33[7-1]", "+33[a]", "+3.", "+33$1", "+33{3,2}", "+33{0}", "+33{99}"]
        {
            assert!(bad.parse::<NumberPattern>().is_err(), "{bad}");
        }
        assert!(format!("+{}", "[0-9]{0,9}".repeat(3)).parse::<NumberPattern>().is_err());
    }
}
