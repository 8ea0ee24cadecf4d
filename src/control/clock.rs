//! Wall-clock time for what outlives the process: expiry of links, begin and end of consultations.
//!
//! Unix seconds inside, RFC 3339 in UTC outside. Nothing that measures a duration uses it.

use std::time::{SystemTime, UNIX_EPOCH};

/// Unix seconds now.
#[must_use]
pub fn unix_now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}

/// Unix milliseconds now.
#[must_use]
pub fn unix_now_millis() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// Reads `2026-03-01T09:30:00Z` or with an offset such as `+01:00`; fractions of a second are ignored.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    if !text.is_ascii() || bytes.len() < 20 || bytes.len() > 40 {
        return None;
    }
    let number = |from: usize, len: usize| -> Option<i64> {
        let part = text.get(from..from + len)?;
        if part.bytes().all(|c| c.is_ascii_digit()) { part.parse().ok() } else { None }
    };
    let separators = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
    if separators.iter().any(|&(at, separator)| bytes[at] != separator) || !matches!(bytes[10], b'T' | b't' | b' ') {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
    let (hour, minute, second) = (number(11, 2)?, number(14, 2)?, number(17, 2)?);
    let valid = (1..=12).contains(&month)
        && (1..=days_in_month(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !valid {
        return None;
    }
    let mut zone = text.get(19..)?;
    if let Some(fraction) = zone.strip_prefix('.') {
        zone = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
    }
    Some(days_from_epoch(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - offset_seconds(zone)?)
}

/// Writes Unix seconds as `2026-03-01T09:30:00Z`.
#[must_use]
pub fn format_rfc3339(unix: i64) -> String {
    let seconds = unix.rem_euclid(86_400);
    let (year, month, day) = date_of(unix);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Year, month and day in UTC.
fn date_of(unix: i64) -> (i64, i64, i64) {
    let (mut year, mut rest) = (1970, unix.div_euclid(86_400));
    loop {
        let len = if is_leap(year) { 366 } else { 365 };
        if rest < 0 {
            year -= 1;
            rest += if is_leap(year) { 366 } else { 365 };
        } else if rest >= len {
            rest -= len;
            year += 1;
        } else {
            break;
        }
    }
    let mut month = 1;
    while rest >= days_in_month(year, month) {
        rest -= days_in_month(year, month);
        month += 1;
    }
    (year, month, rest + 1)
}

/// Begin and end (exclusive) of the calendar year of an instant, in UTC.
#[must_use]
pub fn year_of(unix: i64) -> (i64, i64) {
    let (year, _, _) = date_of(unix);
    (days_from_epoch(year, 1, 1) * 86_400, days_from_epoch(year + 1, 1, 1) * 86_400)
}

/// Begin and end (exclusive) of the calendar month of an instant, in UTC.
#[must_use]
pub fn month_of(unix: i64) -> (i64, i64) {
    let (year, month, _) = date_of(unix);
    let begin = days_from_epoch(year, month, 1);
    (begin * 86_400, (begin + days_in_month(year, month)) * 86_400)
}

/// Writes Unix milliseconds as `2026-03-01T09:30:00.250Z`.
#[must_use]
pub fn format_rfc3339_millis(unix_millis: i64) -> String {
    let seconds = format_rfc3339(unix_millis.div_euclid(1_000));
    format!("{}.{:03}Z", seconds.trim_end_matches('Z'), unix_millis.rem_euclid(1_000))
}

fn offset_seconds(zone: &str) -> Option<i64> {
    if matches!(zone, "Z" | "z") {
        return Some(0);
    }
    let sign = match zone.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = zone[1..].split_once(':')?;
    if hours.len() != 2 || minutes.len() != 2 {
        return None;
    }
    let (hours, minutes): (u8, u8) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours < 24 && minutes < 60).then(|| sign * (i64::from(hours) * 3_600 + i64::from(minutes) * 60))
}

fn days_from_epoch(year: i64, month: i64, day: i64) -> i64 {
    let leaps_before = |year: i64| (year - 1).div_euclid(4) - (year - 1).div_euclid(100) + (year - 1).div_euclid(400);
    let years = (year - 1970) * 365 + leaps_before(year) - leaps_before(1970);
    years + (1..month).map(|month| days_in_month(year, month)).sum::<i64>() + day - 1
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn is_leap(year: i64) -> bool {
    (year % 4 == 0 && year % 100 != 0) || year % 400 == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_instants_go_both_ways() {
        for (text, unix) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:00:00Z", 951_825_600),
            ("2026-11-22T00:06:59Z", 1_795_306_019),
            ("1969-12-31T23:59:59Z", -1),
        ] {
            assert_eq!(parse_rfc3339(text), Some(unix), "{text}");
            assert_eq!(format_rfc3339(unix), text);
        }
    }

    #[test]
    fn years_and_months_have_their_ends() {
        let at = |text: &str| parse_rfc3339(text).unwrap();
        let year = (at("2026-01-01T00:00:00Z"), at("2027-01-01T00:00:00Z"));
        assert_eq!(year_of(at("2026-12-31T23:59:59Z")), year);
        assert_eq!(year_of(year.0), year);
        let leap = (at("2028-02-01T00:00:00Z"), at("2028-03-01T00:00:00Z"));
        assert_eq!(month_of(at("2028-02-29T12:00:00Z")), leap);
        assert_eq!(month_of(-1), (at("1969-12-01T00:00:00Z"), 0));
    }

    #[test]
    fn offsets_and_fractions_are_understood() {
        assert_eq!(parse_rfc3339("1970-01-01T01:00:00+01:00"), Some(0));
        assert_eq!(parse_rfc3339("1969-12-31T20:00:00.123456-04:00"), Some(0));
    }

    #[test]
    fn milliseconds_follow_the_seconds() {
        assert_eq!(format_rfc3339_millis(951_825_600_007), "2000-02-29T12:00:00.007Z");
        assert_eq!(format_rfc3339_millis(-1), "1969-12-31T23:59:59.999Z");
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "tomorrow",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-01T00:00:00",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:00+1:00",
            "20é6-01-01T00:00:00Z",
            "2026-01-01T00:00:00+25:00",
        ] {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
    }
}
