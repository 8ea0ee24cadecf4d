//! What clinics may write into a booking: lengths, forms, roles that fit the act, gates that can be played.
//!
//! Pure checks, each refused with a text that says what is wrong and repeats nothing of what was sent. Not here: storing it
//! (`booking`), and who may book (`clinics`).

use colloque_signaling::message::{Card, Role};

use crate::acts::{self, Act};
use crate::pii::Pii;
use crate::store::ClinicDemands;

use super::booking::{BookingError, NewConsultation, NewSeat};
use super::gates;

/// What holds for a consultation as a whole.
pub(super) fn check_consultation(new: &NewConsultation) -> Result<(), BookingError> {
    if new.seats.is_empty() || new.seats.len() > acts::SEATS_MAX {
        return Err(BookingError::Invalid("a consultation needs 1 to 50 seats"));
    }
    if new.queue.as_deref().is_some_and(|queue| !is_queue(queue)) {
        return Err(BookingError::Invalid("queue: 1 to 64 of a-z, A-Z, 0-9, - and _"));
    }
    if new.postal_prefix.as_deref().is_some_and(|prefix| !is_postal_prefix(prefix)) {
        return Err(BookingError::Invalid("postal_prefix: 1 to 5 letters and digits"));
    }
    if let Some(patient) = &new.patient {
        check_pseudonym(&patient.0)?;
    }
    new.seats.iter().try_for_each(check_seat)
}

/// What holds for every seat.
pub(super) fn check_seat(seat: &NewSeat) -> Result<(), BookingError> {
    if !fits(&seat.display_name, NAME_LEN_MAX) {
        Err(BookingError::Invalid("display_name has at most 200 bytes and no control characters"))
    } else if !fits(&seat.phone, PHONE_LEN_MAX) {
        Err(BookingError::Invalid("phone has at most 40 characters"))
    } else if !fits(&seat.email, EMAIL_LEN_MAX) {
        Err(BookingError::Invalid("email has at most 254 characters"))
    } else if seat.phone_consent && seat.phone.is_none() {
        Err(BookingError::Invalid("phone_consent: needs a phone to be called on"))
    } else if let Some(card) = &seat.card {
        check_card(seat.role, &card.0)
    } else {
        Ok(())
    }
}

fn check_card(role: Role, card: &Card) -> Result<(), BookingError> {
    if !acts::is_professional(role) {
        return Err(BookingError::Invalid("card: only a professional's seat has one"));
    }
    let line = |text: &Option<String>, len_max: usize| {
        text.as_ref()
            .is_none_or(|text| !text.trim().is_empty() && text.len() <= len_max && !text.chars().any(char::is_control))
    };
    let is_rpps = |rpps: &String| rpps.len() == RPPS_DIGITS && rpps.bytes().all(|byte| byte.is_ascii_digit());
    let Card { seat: _, title, name, specialty, rpps, address, fee } = card;
    let faults = [
        (line(title, TITLE_LEN_MAX), "card.title: 1 to 40 bytes on one line"),
        (line(name, NAME_LEN_MAX), "card.name: 1 to 200 bytes on one line"),
        (line(specialty, LINE_LEN_MAX), "card.specialty: 1 to 200 bytes on one line"),
        (rpps.as_ref().is_none_or(is_rpps), "card.rpps: 11 digits"),
        (line(address, ADDRESS_LEN_MAX), "card.address: 1 to 400 bytes on one line"),
        (line(fee, LINE_LEN_MAX), "card.fee: 1 to 200 bytes on one line"),
    ];
    faults.into_iter().find(|(fits, _)| !fits).map_or(Ok(()), |(_, why)| Err(BookingError::Invalid(why)))
}

/// Whether these seats fit the act.
pub(super) fn check_roles(act: &Act, roles: impl Iterator<Item = Role>) -> Result<(), BookingError> {
    match act.overfull(roles) {
        None => Ok(()),
        Some(role) if act.rule(role).seats == 0 => {
            Err(BookingError::Invalid("the act has no seat for one of the roles"))
        }
        Some(_) => Err(BookingError::Invalid("the act has fewer seats for one of the roles")),
    }
}

/// Whether a professional's seat has the card that its clinic demands. `shown`: somebody is to read it.
pub(super) fn check_demands(demands: ClinicDemands, shown: bool, seat: &NewSeat) -> Result<(), BookingError> {
    let complete = seat.card.as_ref().is_some_and(|card| gates::is_complete(&card.0));
    if demands.cards && shown && acts::is_professional(seat.role) && !complete {
        return Err(BookingError::Invalid("card: this clinic demands complete cards of its professionals"));
    }
    Ok(())
}

/// Whether everybody who would have to log in can: without a provider, a demand keeps media closed for good. `asked`: by the
/// booking itself, whoever is in it.
pub(super) fn check_login(
    has_provider: bool,
    asked: bool,
    demanded: bool,
    seats: &[NewSeat],
) -> Result<(), BookingError> {
    let logs_in = |seat: &NewSeat| !seat.admitted && acts::is_professional(seat.role);
    if !has_provider && (asked || (demanded && seats.iter().any(logs_in))) {
        return Err(BookingError::Invalid(
            "login: professionals could not log in, this server has no OpenID provider in its configuration",
        ));
    }
    Ok(())
}

/// A pseudonym stands in place of whatever names a person: a national number is none.
fn check_pseudonym(patient: &str) -> Result<(), BookingError> {
    if patient.trim().is_empty() || patient.len() > PSEUDONYM_LEN_MAX || patient.chars().any(char::is_control) {
        return Err(BookingError::Invalid("patient: 1 to 64 bytes without control characters"));
    }
    let compact: String = patient.chars().filter(|c| !matches!(c, ' ' | '.' | '-')).collect();
    let digits = compact.bytes().filter(u8::is_ascii_digit).count();
    // Corsican ones have a letter in them (2A, 2B).
    let is_national_number = matches!(compact.len(), 13 | 15) && digits + 1 >= compact.len();
    if is_national_number {
        return Err(BookingError::Invalid(
            "patient: this looks like a national health number; send a pseudonym of yours",
        ));
    }
    Ok(())
}

/// Whether this can name a queue.
pub(super) fn is_queue(queue: &str) -> bool {
    (1..=QUEUE_LEN_MAX).contains(&queue.len())
        && queue.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

fn is_postal_prefix(prefix: &str) -> bool {
    (1..=POSTAL_PREFIX_LEN_MAX).contains(&prefix.len()) && prefix.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn fits(text: &Option<Pii<String>>, len_max: usize) -> bool {
    text.as_ref().is_none_or(|text| text.0.len() <= len_max && !text.0.chars().any(char::is_control))
}

/// Long enough for every real name; the roster repeats it to every seat.
const NAME_LEN_MAX: usize = 200;
/// An international number with spaces, or a SIP address.
const PHONE_LEN_MAX: usize = 40;
/// RFC 5321 section 4.5.3.1.3.
const EMAIL_LEN_MAX: usize = 254;
/// `Professeur`, and room for two of them.
const TITLE_LEN_MAX: usize = 40;
/// The longest specialties of the national list, and fees with the reimbursed part in words.
const LINE_LEN_MAX: usize = 200;
/// Six lines of a postal address.
const ADDRESS_LEN_MAX: usize = 400;
/// Répertoire partagé des professionnels de santé.
const RPPS_DIGITS: usize = 11;
/// A UUID, or a SHA-256 in hexadecimal.
const PSEUDONYM_LEN_MAX: usize = 64;
/// Stands in URLs and in every message about the queue.
const QUEUE_LEN_MAX: usize = 64;
/// A whole French postal code.
const POSTAL_PREFIX_LEN_MAX: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    fn with_card(card: Card) -> NewSeat {
        NewSeat { card: Some(Pii(card)), ..NewSeat::of(Role::Practitioner) }
    }

    #[test]
    fn cards_are_of_professionals_and_each_line_has_its_form() {
        let text = |text: &str| Some(text.to_owned());
        let long = "x".repeat(401);
        for (card, refused) in [
            (Card::default(), None),
            (Card { rpps: text("10003456789"), ..Card::default() }, None),
            (Card { rpps: text("1000345678"), ..Card::default() }, Some("card.rpps")),
            (Card { rpps: text("1000345678a"), ..Card::default() }, Some("card.rpps")),
            (Card { name: text(" "), ..Card::default() }, Some("card.name")),
            (Card { title: text("D\nr"), ..Card::default() }, Some("card.title")),
            (Card { address: text(&long), ..Card::default() }, Some("card.address")),
            (Card { fee: text(&long), ..Card::default() }, Some("card.fee")),
            (Card { specialty: text(""), ..Card::default() }, Some("card.specialty")),
        ] {
            let found = check_seat(&with_card(card)).err().map(|error| error.to_string());
            assert_eq!(found.is_some(), refused.is_some(), "{refused:?} {found:?}");
            assert!(found.unwrap_or_default().starts_with(refused.unwrap_or_default()), "{refused:?}");
        }
        let patient = NewSeat { card: Some(Pii(Card::default())), ..NewSeat::of(Role::Patient) };
        assert!(check_seat(&patient).is_err());
    }

    #[test]
    fn a_national_number_is_no_pseudonym() {
        for (patient, taken) in [
            ("p-1", true),
            ("0d4c1f6e-9f5e-4a53-8a0e-1c4b2f6d7e8f", true),
            ("269054958815780", false),
            ("2 69 05 49 588 157 80", false),
            ("2690549588157", false),
            ("2A9052A588157", true),
            ("294032A00100247", false),
            ("12345678901234", true),
            ("", false),
            (" ", false),
            ("a\nb", false),
        ] {
            assert_eq!(check_pseudonym(patient).is_ok(), taken, "{patient}");
        }
        assert!(check_pseudonym(&"x".repeat(65)).is_err());
    }

    #[test]
    fn queues_and_postal_prefixes_are_short_words() {
        assert!(is_queue("dr-martin_2026") && !is_queue("") && !is_queue("é") && !is_queue("a b"));
        assert!(!is_queue(&"q".repeat(65)) && is_queue(&"q".repeat(64)));
        assert!(is_postal_prefix("97") && is_postal_prefix("2A") && is_postal_prefix("75011"));
        assert!(!is_postal_prefix("") && !is_postal_prefix("750110") && !is_postal_prefix("7 5"));
    }

    #[test]
    fn a_demanded_card_is_complete_where_somebody_reads_it() {
        let text = || Some("12345678901".to_owned());
        let whole = Card {
            seat: String::new(),
            title: text(),
            name: text(),
            specialty: text(),
            rpps: text(),
            address: text(),
            fee: text(),
        };
        let half = Card { fee: None, ..whole.clone() };
        let demands = |cards| ClinicDemands { cards, ..ClinicDemands::default() };
        for (cards, shown, seat, fits) in [
            (false, true, with_card(half.clone()), true),
            (true, false, with_card(half.clone()), true),
            (true, true, with_card(half), false),
            (true, true, with_card(whole), true),
            (true, true, NewSeat::of(Role::Practitioner), false),
            (true, true, NewSeat::of(Role::Patient), true),
        ] {
            assert_eq!(check_demands(demands(cards), shown, &seat).is_ok(), fits, "{cards} {shown} {seat:?}");
        }
    }
}
