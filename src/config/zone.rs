//! Local time for people: an instant as the clock on the clinic's wall shows it, with its distance from UTC.
//!
//! Knows fixed offsets (`+04:00`), the zones of the French departments and territories that keep one, and the European
//! Union's summer time (Directive 2000/84/EC: from the last Sunday of March to the last of October, 01:00 UTC). It is not the
//! time zone database: that would need a file that containers lack, for messages that always name their offset.

/// Where the clinics' wall clocks are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Zone {
    /// Minutes east of UTC in winter.
    standard: i64,
    /// One hour more in summer, by the European rule.
    summer: bool,
}

/// What a wall clock and a calendar show.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LocalTime {
    /// Of the common era.
    pub year: i64,
    /// 1 to 12.
    pub month: i64,
    /// 1 to 31.
    pub day: i64,
    /// 0 is Monday.
    pub weekday: usize,
    /// 0 to 23.
    pub hour: i64,
    /// 0 to 59.
    pub minute: i64,
    /// Minutes east of UTC.
    pub offset: i64,
}

impl Zone {
    /// Reads `Europe/Paris`, `Indian/Reunion`, `UTC` or `+04:00`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Zone> {
        if let Some(&(_, standard, summer)) = NAMED.iter().find(|(known, ..)| *known == name) {
            return Some(Zone { standard, summer });
        }
        let (sign, rest) = match name.as_bytes().first()? {
            b'+' => (1, &name[1..]),
            b'-' => (-1, &name[1..]),
            _ => return None,
        };
        let (hours, minutes) = rest.split_once(':')?;
        let number = |text: &str| (text.len() == 2).then(|| text.parse::<u8>().ok()).flatten().map(i64::from);
        let (hours, minutes) = (number(hours)?, number(minutes)?);
        (hours <= 14 && minutes < 60).then_some(Zone { standard: sign * (hours * 60 + minutes), summer: false })
    }

    /// What the wall clock shows at this instant (Unix seconds).
    #[must_use]
    pub fn at(self, unix: i64) -> LocalTime {
        let offset = self.standard + if self.summer && is_summer(unix) { 60 } else { 0 };
        let local = unix.saturating_add(offset * 60);
        let days = local.div_euclid(DAY);
        let (year, month, day) = date_of(days);
        let minutes = local.rem_euclid(DAY) / 60;
        LocalTime { year, month, day, weekday: weekday(days), hour: minutes / 60, minute: minutes % 60, offset }
    }
}

impl Default for Zone {
    fn default() -> Self {
        Zone { standard: 60, summer: true }
    }
}

/// Every name that [`Zone::from_name`] reads, for error messages.
pub(super) fn names() -> String {
    NAMED.map(|(name, ..)| name).join(", ")
}

fn is_summer(unix: i64) -> bool {
    let (year, ..) = date_of(unix.div_euclid(DAY));
    let change = |month| last_sunday(year, month) * DAY + 3_600;
    (change(3)..change(10)).contains(&unix)
}

/// Days since 1970 of the last Sunday of a month with 31 days.
fn last_sunday(year: i64, month: i64) -> i64 {
    let last = days_of(year, month, 31);
    last - (weekday(last) as i64 + 1) % 7
}

/// 1970-01-01 was a Thursday.
fn weekday(days: i64) -> usize {
    (days + 3).rem_euclid(7) as usize
}

/// Days since 1970 of a date of the Gregorian calendar, by years that begin in March (as Hinnant describes).
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - EPOCH
}

/// The date of a day since 1970.
fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days.clamp(-DAYS_MAX, DAYS_MAX) + EPOCH;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year + era * 400 + i64::from(month <= 2), month, of_year - (153 * shifted + 2) / 5 + 1)
}

const DAY: i64 = 86_400;
/// Days from the first of March of year 0 to 1970.
const EPOCH: i64 = 719_468;
/// Some 27,000 years: the sums above stay far inside 64 bits, whatever a clinic booked.
const DAYS_MAX: i64 = 10_000_000;
/// Name, minutes east of UTC in winter, European summer time.
const NAMED: [(&str, i64, bool); 18] = [
    ("UTC", 0, false),
    ("Europe/Paris", 60, true),
    ("Europe/Brussels", 60, true),
    ("Europe/Luxembourg", 60, true),
    ("Europe/Monaco", 60, true),
    ("Europe/Zurich", 60, true),
    ("Europe/Lisbon", 0, true),
    ("America/Guadeloupe", -240, false),
    ("America/Martinique", -240, false),
    ("America/Marigot", -240, false),
    ("America/St_Barthelemy", -240, false),
    ("America/Cayenne", -180, false),
    ("Indian/Mayotte", 180, false),
    ("Indian/Reunion", 240, false),
    ("Pacific/Noumea", 660, false),
    ("Pacific/Wallis", 720, false),
    ("Pacific/Tahiti", -600, false),
    ("Pacific/Gambier", -540, false),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(zone: &str, unix: i64) -> (i64, i64, i64, usize, i64, i64, i64) {
        let local = Zone::from_name(zone).unwrap().at(unix);
        (local.year, local.month, local.day, local.weekday, local.hour, local.minute, local.offset)
    }

    #[test]
    fn paris_changes_its_clocks_on_the_last_sundays_at_one_utc() {
        // 2026-03-29 and 2026-10-25 are Sundays.
        assert_eq!(shown("Europe/Paris", 1_774_745_999), (2026, 3, 29, 6, 1, 59, 60));
        assert_eq!(shown("Europe/Paris", 1_774_746_000), (2026, 3, 29, 6, 3, 0, 120));
        assert_eq!(shown("Europe/Paris", 1_792_889_999), (2026, 10, 25, 6, 2, 59, 120));
        assert_eq!(shown("Europe/Paris", 1_792_890_000), (2026, 10, 25, 6, 2, 0, 60));
        // 2027: the 28th of March and the 31st of October.
        assert_eq!(shown("Europe/Paris", 1_806_195_600).6, 120);
        assert_eq!(shown("Europe/Paris", 1_824_944_400).6, 60);
        assert_eq!(shown("Europe/Paris", 1_824_944_399).6, 120);
    }

    #[test]
    fn islands_keep_one_time_and_offsets_are_taken_as_they_are() {
        // 2026-07-01T12:00:00Z, a Wednesday.
        assert_eq!(shown("Indian/Reunion", 1_782_907_200), (2026, 7, 1, 2, 16, 0, 240));
        assert_eq!(shown("Pacific/Tahiti", 1_782_907_200), (2026, 7, 1, 2, 2, 0, -600));
        assert_eq!(shown("-09:30", 1_782_907_200), (2026, 7, 1, 2, 2, 30, -570));
        assert_eq!(shown("UTC", 951_825_600), (2000, 2, 29, 1, 12, 0, 0));
    }

    #[test]
    fn what_is_no_zone_is_refused_and_no_instant_overflows() {
        for name in ["", "Paris", "europe/paris", "+1:00", "+15:00", "+01:60", "+01", "+é1:00", "CET"] {
            assert_eq!(Zone::from_name(name), None, "{name}");
        }
        for unix in [i64::MIN, i64::MAX, -1, 253_402_300_799] {
            let local = Zone::default().at(unix);
            assert!((1..=12).contains(&local.month) && (1..=31).contains(&local.day), "{local:?}");
        }
    }
}
