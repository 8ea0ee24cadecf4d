//! Numbers that a clinic wrote: each becomes one E.164 number, or is refused with a reason of its own; and where calls may go.
//!
//! ```text
//!   "06 12 34 56 78"  --read-->  +33612345678  --check-->  called
//!                      \--> emergency, short    \--> premium, satellite, not allowed
//! ```
//!
//! Pure. What a number is and what a pattern means is `config::telephone`; how often and by whom somebody may be called is `budget`.
//! Emergency services, short numbers, premium rates and satellite networks are called by nobody, whatever the configuration allows:
//! fraud that reaches one of these costs money at once, and an emergency service would be told a wrong place.

use crate::config::telephone::{CountryCode, DialOut, Number};

/// Why a number is not called.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum NumberRefusal {
    /// It is no telephone number.
    #[error("this is not a telephone number")]
    Unreadable,
    /// It belongs to an emergency service.
    #[error("emergency services are not called from here: dial the number on a telephone")]
    Emergency,
    /// It is a short number.
    #[error("short numbers are not called")]
    Short,
    /// Whoever calls it pays more than for a call, or a satellite network carries it.
    #[error("premium and satellite numbers are not called")]
    Premium,
    /// The operator of this server does not allow the destination.
    #[error("this server does not call numbers of this country or kind")]
    NotAllowed,
}

/// Reads a number as people write it: international with `+` or `00`, or national with one zero, with whatever stands between the
/// digits. The overseas departments, which write theirs as France does, get their own calling codes.
pub fn read(text: &str, country: CountryCode) -> Result<Number, NumberRefusal> {
    if text.len() > TEXT_LEN_MAX {
        return Err(NumberRefusal::Unreadable);
    }
    let text = text.trim();
    // `+33 (0)1`: a habit of letterheads.
    let text = text.strip_prefix("tel:").unwrap_or(text).replace("(0)", "");
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    // Only what has nothing but digits in it and between them is a number at all; `Number::parse` says so of longer ones.
    let is_plain = text.chars().all(|c| c.is_ascii_digit() || c == '+' || SEPARATORS.contains(&c));
    if is_plain && let Some(refusal) = service(&digits) {
        return Err(refusal);
    }
    let text: String = text.chars().filter(|c| !SEPARATORS.contains(c)).collect();
    let number = Number::parse(&text, country).ok_or(NumberRefusal::Unreadable)?;
    let number = if let Some(nine) = number.e164().strip_prefix("+33") { french(nine)? } else { number };
    Ok(number)
}

/// What a number is when it is none of a subscriber. Behind a country code it reaches the service all the same in some networks.
fn service(digits: &str) -> Option<NumberRefusal> {
    let bare = digits.strip_prefix("00").unwrap_or(digits);
    let national = HOME_CODES.iter().find_map(|code| bare.strip_prefix(code)).unwrap_or(bare);
    let is_emergency = |number: &str| EMERGENCY.contains(&number) || (number.len() == 6 && number.starts_with("116"));
    if is_emergency(bare) || is_emergency(national) {
        return Some(NumberRefusal::Emergency);
    }
    let is_short = |number: &str| (1..=SHORT_DIGITS_MAX).contains(&number.len());
    // Saint-Pierre-et-Miquelon's subscribers have six digits behind the code.
    let is_subscriber = bare.len() == 9 && (bare.starts_with("5084") || bare.starts_with("5085"));
    let is_short_behind_code = is_short(national) && national.len() < bare.len() && !is_subscriber;
    (is_short(digits) && !digits.starts_with('0') || is_short_behind_code).then_some(NumberRefusal::Short)
}

/// The nine digits behind `+33`. `+33 690…` for Guadeloupe is a mistake that is made often; `+590 690…` is right.
fn french(nine: &str) -> Result<Number, NumberRefusal> {
    let nine = if nine.len() == FRENCH_DIGITS + 1 { nine.strip_prefix('0').unwrap_or(nine) } else { nine };
    if nine.len() != FRENCH_DIGITS || nine.starts_with('0') {
        return Err(NumberRefusal::Unreadable);
    }
    let overseas = OVERSEAS.iter().find(|(_, blocks)| blocks.iter().any(|block| nine.starts_with(block)));
    let code = match overseas {
        // Its fixed numbers have six digits from abroad: 0508 41 23 45 is +508 41 23 45.
        Some((code, _)) if nine.starts_with("508") && *code == "508" => "",
        Some((code, _)) => code,
        None => "33",
    };
    Number::parse(&format!("+{code}{nine}"), CountryCode::FRANCE).ok_or(NumberRefusal::Unreadable)
}

/// Whether this number may be called.
pub fn check(number: &Number, rules: &DialOut) -> Result<(), NumberRefusal> {
    if NEVER.iter().any(|prefix| number.e164().starts_with(prefix)) {
        return Err(NumberRefusal::Premium);
    }
    let allowed = rules.allow.iter().any(|pattern| pattern.matches(number));
    let denied = rules.deny.iter().any(|pattern| pattern.matches(number));
    if allowed && !denied { Ok(()) } else { Err(NumberRefusal::NotAllowed) }
}

/// What people put between digits.
const SEPARATORS: [char; 9] = [' ', '.', '-', '/', '(', ')', '\u{a0}', '\u{202f}', '\u{2011}'];
/// As long as a booking takes, in bytes.
const TEXT_LEN_MAX: usize = 40;
/// Behind `+33`.
const FRENCH_DIGITS: usize = 9;
/// 15, 3639, 118218.
const SHORT_DIGITS_MAX: usize = 6;
/// Calling codes under which French short numbers are dialled.
const HOME_CODES: [&str; 6] = ["33", "262", "508", "590", "594", "596"];
/// Emergency services: France, Europe, and what people know from films. `116xxx` besides.
const EMERGENCY: [&str; 15] =
    ["15", "17", "18", "110", "112", "113", "114", "115", "119", "191", "196", "197", "911", "999", "000"];
/// Blocks of the overseas departments and collectivities that share the French national form (national numbering plan, ARCEP decision
/// 2018-0881). Behind 262 are La Réunion (0262, 0263, 0692, 0693, 07092) and Mayotte (0269, 0639).
const OVERSEAS: [(&str, &[&str]); 5] = [
    ("590", &["590", "690", "691"]),
    ("594", &["594", "694"]),
    ("596", &["596", "696", "697", "7091"]),
    ("262", &["262", "263", "269", "639", "692", "693", "7092"]),
    ("508", &["508", "708"]),
];
/// Special tariffs of France (08), international premium, shared cost and universal numbers, satellite and global networks.
const NEVER: [&str; 9] = ["+338", "+979", "+808", "+878", "+870", "+881", "+882", "+883", "+888"];

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Number {
        read(text, CountryCode::FRANCE).unwrap()
    }

    /// The rules of an operator who wrote nothing but these.
    fn rules(allow: &[&str], deny: &[&str]) -> DialOut {
        let patterns = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        DialOut { allow: patterns(allow), deny: patterns(deny), ..DialOut::default() }
    }

    #[test]
    fn every_way_of_writing_a_number_gives_the_same() {
        for (written, meant) in [
            ("0612345678", "+33612345678"),
            ("06 12 34 56 78", "+33612345678"),
            ("06.12.34.56.78", "+33612345678"),
            ("06-12-34-56-78", "+33612345678"),
            (" 06\u{a0}12\u{202f}34 56 78 ", "+33612345678"),
            ("+33612345678", "+33612345678"),
            ("+33 6 12 34 56 78", "+33612345678"),
            ("+33 (0)6 12 34 56 78", "+33612345678"),
            ("+33 06 12 34 56 78", "+33612345678"),
            ("0033612345678", "+33612345678"),
            ("tel:+33612345678", "+33612345678"),
            ("01 23 45 67 89", "+33123456789"),
            ("0590 12 34 56", "+590590123456"),
            ("0690123456", "+590690123456"),
            ("+33 690 12 34 56", "+590690123456"),
            ("0594123456", "+594594123456"),
            ("0696123456", "+596696123456"),
            ("0262123456", "+262262123456"),
            // Mayotte's mobile numbers: not Réunion's, and behind the same code.
            ("0639 12 34 56", "+262639123456"),
            ("07 09 21 23 45", "+262709212345"),
            ("0508 41 23 45", "+508412345"),
            ("+508 41 23 45", "+508412345"),
            ("+262 692 12 34 56", "+262692123456"),
            ("+41 22 345 67 89", "+41223456789"),
            ("0044 20 7946 0000", "+442079460000"),
        ] {
            assert_eq!(number(written).e164(), meant, "{written}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused_with_its_own_reason() {
        use NumberRefusal::{Emergency, Short, Unreadable};
        for (written, refusal) in [
            ("", Unreadable),
            ("+", Unreadable),
            ("call me", Unreadable),
            ("call 15", Unreadable),
            ("061234567", Unreadable),
            ("06123456789", Unreadable),
            ("0012", Unreadable),
            ("+3361234567", Unreadable),
            ("+336123456789", Unreadable),
            ("+1234567890123456", Unreadable),
            ("612345678", Unreadable),
            ("sip:martin@example.org", Unreadable),
            ("06+12345678", Unreadable),
            ("٠٦١٢٣٤٥٦٧٨", Unreadable),
            ("15", Emergency),
            ("1 1 2", Emergency),
            ("112", Emergency),
            ("911", Emergency),
            ("116 000", Emergency),
            ("+33112", Emergency),
            ("0033 15", Emergency),
            ("+590 15", Emergency),
            ("3639", Short),
            ("118218", Short),
            ("10 14", Short),
            ("+33 3639", Short),
        ] {
            assert_eq!(read(written, CountryCode::FRANCE), Err(refusal), "{written}");
        }
        assert_eq!(read(&"0".repeat(1_000_000), CountryCode::FRANCE), Err(Unreadable));
    }

    #[test]
    fn calls_go_where_the_operator_allows_and_never_to_premium_numbers() {
        use NumberRefusal::{NotAllowed, Premium};
        let usual = DialOut::default();
        let overseas = rules(&["+33[1-7]", "+590", "+8"], &["+33612"]);
        for (rules, written, expected) in [
            (&usual, "0123456789", Ok(())),
            (&usual, "0712345678", Ok(())),
            (&usual, "0912345678", Ok(())),
            (&usual, "0812345678", Err(Premium)),
            (&usual, "0800123456", Err(Premium)),
            (&usual, "+8816 1234 5678", Err(Premium)),
            (&usual, "+97912345678", Err(Premium)),
            (&usual, "0690123456", Err(NotAllowed)),
            (&usual, "+41223456789", Err(NotAllowed)),
            (&overseas, "0690123456", Ok(())),
            (&overseas, "0612345678", Err(NotAllowed)),
            (&overseas, "0912345678", Err(NotAllowed)),
            // What nobody calls is not allowed by a pattern either.
            (&overseas, "+8816 1234 5678", Err(Premium)),
        ] {
            assert_eq!(check(&number(written), rules), expected, "{written}");
        }
    }
}
