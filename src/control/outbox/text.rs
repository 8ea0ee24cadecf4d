//! What an invitation says, in French and English: who invites, when, and the link. Nothing else.
//!
//! No name, no act, no reason: an SMS shows on a locked screen, and a mailbox may be shared. Plain text: no picture and no
//! link that hides where it leads.

use colloque_signaling::message::Language;

use crate::config::zone::{LocalTime, Zone};

/// Everything a text is made of.
pub(super) struct Invitation<'a> {
    pub(super) language: Language,
    /// Who invites.
    pub(super) clinic: &'a str,
    /// Unix seconds; now when absent.
    pub(super) starts_at: Option<i64>,
    pub(super) link: &'a str,
    pub(super) zone: Zone,
}

impl Invitation<'_> {
    /// One line. The clinic's name is in the body: a subject is shown on locked screens.
    pub(super) fn subject(&self) -> &'static str {
        match self.language {
            Language::Fr => "Votre rendez-vous vidéo",
            Language::En => "Your video appointment",
        }
    }

    /// Body of an e-mail.
    pub(super) fn letter(&self) -> String {
        let (clinic, link, when) = (self.clinic(), self.link, self.when());
        match self.language {
            Language::Fr => format!(
                "Bonjour,\n\n\
                 {clinic} vous invite à un rendez-vous vidéo{when}.\n\n\
                 Pour le rejoindre, ouvrez ce lien dans un navigateur récent, sur un téléphone, une tablette ou un \
                 ordinateur :\n\n\
                 {link}\n\n\
                 Il n'y a rien à installer et aucun compte à créer.\n\
                 Ce lien est personnel : ne le transmettez à personne.\n\n\
                 Si vous n'attendiez pas ce message, ne tenez pas compte de celui-ci.\n"
            ),
            Language::En => format!(
                "Hello,\n\n\
                 {clinic} invites you to a video appointment{when}.\n\n\
                 To join it, open this link in a recent browser, on a phone, a tablet or a computer:\n\n\
                 {link}\n\n\
                 There is nothing to install and no account to create.\n\
                 The link is yours alone: do not pass it on.\n\n\
                 If you did not expect this message, please ignore it.\n"
            ),
        }
    }

    /// Text of an SMS.
    pub(super) fn short(&self) -> String {
        let (clinic, link, when) = (self.clinic(), self.link, self.when());
        match self.language {
            Language::Fr => format!("{clinic} : votre rendez-vous vidéo{when}. Lien personnel : {link}"),
            Language::En => format!("{clinic}: your video appointment{when}. Personal link: {link}"),
        }
    }

    /// As its administrator typed it, on one line.
    fn clinic(&self) -> String {
        let words: Vec<&str> = self.clinic.split(|c: char| c.is_whitespace() || c.is_control()).collect();
        words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
    }

    /// With a leading space; empty for an appointment without a planned begin.
    fn when(&self) -> String {
        let Some(starts_at) = self.starts_at else { return String::new() };
        let LocalTime { year, month, day, weekday, hour, minute, offset } = self.zone.at(starts_at);
        let at = (month - 1) as usize;
        let offset = offset_text(offset);
        match self.language {
            Language::Fr => {
                let first = if day == 1 { "er" } else { "" };
                let (weekday, month) = (DAYS_FR[weekday], MONTHS_FR[at]);
                format!(" le {weekday} {day}{first} {month} {year} à {hour} h {minute:02} ({offset})")
            }
            Language::En => {
                let (weekday, month) = (DAYS_EN[weekday], MONTHS_EN[at]);
                format!(" on {weekday} {day} {month} {year} at {hour:02}:{minute:02} ({offset})")
            }
        }
    }
}

/// `UTC`, `UTC+1`, `UTC-9:30`.
fn offset_text(minutes: i64) -> String {
    let (sign, hours, rest) = (if minutes < 0 { '-' } else { '+' }, minutes.abs() / 60, minutes.abs() % 60);
    match (hours, rest) {
        (0, 0) => "UTC".to_owned(),
        (hours, 0) => format!("UTC{sign}{hours}"),
        (hours, rest) => format!("UTC{sign}{hours}:{rest:02}"),
    }
}

const DAYS_FR: [&str; 7] = ["lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche"];
const DAYS_EN: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const MONTHS_FR: [&str; 12] = [
    "janvier",
    "février",
    "mars",
    "avril",
    "mai",
    "juin",
    "juillet",
    "août",
    "septembre",
    "octobre",
    "novembre",
    "décembre",
];
const MONTHS_EN: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn invitation(language: Language, starts_at: Option<i64>) -> Invitation<'static> {
        let (clinic, link) = ("Maison de santé\r\nBcc: x@y.example", "https://c.example/join#abc");
        Invitation { language, clinic, starts_at, link, zone: Zone::default() }
    }

    #[test]
    fn the_hour_is_the_wall_clocks_with_its_distance_from_utc() {
        // 2026-12-01T13:05:00Z and 2026-07-01T12:00:00Z.
        let winter = invitation(Language::Fr, Some(1_796_130_300)).short();
        assert!(winter.contains("le mardi 1er décembre 2026 à 14 h 05 (UTC+1)."), "{winter}");
        let summer = invitation(Language::En, Some(1_782_907_200)).letter();
        assert!(summer.contains("on Wednesday 1 July 2026 at 14:00 (UTC+2)."), "{summer}");
        assert!(invitation(Language::En, None).short().contains("your video appointment. Personal link: https://"));
    }

    #[test]
    fn a_clinics_name_stays_on_its_line() {
        for language in [Language::Fr, Language::En] {
            for text in [invitation(language, None).short(), invitation(language, None).letter()] {
                assert!(text.contains("Maison de santé Bcc: x@y.example") && !text.contains('\r'), "{text}");
            }
        }
    }

    #[test]
    fn offsets_are_written_as_people_read_them() {
        let offsets = [0, 60, -240, -570, 330].map(offset_text);
        assert_eq!(offsets, ["UTC", "UTC+1", "UTC-4", "UTC-9:30", "UTC+5:30"]);
    }
}
