//! Rows read as records, and the words that stand for states.

use crate::pii::Pii;

use super::engine::{Row, digest};
use super::{
    Admission, ApiKeyRecord, ChainMark, Clinic, ClinicDemands, ConsultationRecord, Entry, JournalEntry, Login,
    OutgoingMessage, SeatRecord, SigningKey, Webhook,
};

pub(super) fn clinic(row: &Row) -> Result<Clinic, sqlx::Error> {
    let demands = ClinicDemands {
        login: row.flag("demands_login")?,
        cards: row.flag("demands_cards")?,
        acts_per_year: row.read::<Option<i64>>("acts_per_year")?.and_then(|limit| u32::try_from(limit).ok()),
    };
    Ok(Clinic { id: row.text("id")?, name: Pii(row.text("name")?), demands })
}

pub(super) fn api_key(row: &Row) -> Result<ApiKeyRecord, sqlx::Error> {
    Ok(ApiKeyRecord {
        prefix: row.text("prefix")?,
        hash: Pii(row.digest("hash")?),
        clinic: row.text("clinic")?,
        scopes: row.text("scopes")?,
    })
}

pub(super) fn consultation(row: &Row) -> Result<ConsultationRecord, sqlx::Error> {
    Ok(ConsultationRecord {
        id: row.text("id")?,
        clinic: row.text("clinic")?,
        act: row.text("act")?,
        language: row.text("language")?,
        priority: row.read("priority")?,
        starts_at: row.read("starts_at")?,
        created_at: row.integer("created_at")?,
        booking: row.integer("booking")?,
        ended_at: row.read("ended_at")?,
        gates: row.read("gates")?,
        patient: row.secret_text("patient")?,
        postal_prefix: row.read("postal_prefix")?,
        queue: row.read("queue")?,
        login: row.flag("login")?,
        locked: row.flag("locked")?,
        e2ee: row.text("e2ee")?,
    })
}

pub(super) fn seat(row: &Row) -> Result<SeatRecord, sqlx::Error> {
    let login = match (row.read::<Option<String>>("login_level")?, row.read::<Option<i64>>("login_at")?) {
        (Some(level), Some(at)) => Some(Login { rpps: row.secret_text("login_rpps")?, level, at }),
        _ => None,
    };
    Ok(SeatRecord {
        id: row.text("id")?,
        consultation: row.text("consultation")?,
        role: row.text("role")?,
        display_name: row.secret_text("display_name")?,
        phone: row.secret_text("phone")?,
        email: row.secret_text("email")?,
        card: row.secret_text("card")?,
        pin: Pii(row.text("pin")?),
        phone_consent: row.flag("phone_consent")?,
        admission: admission(&row.text("admission")?)?,
        vouched: row.flag("vouched")?,
        token_epoch: row.count("token_epoch")?,
        device: row.read::<Option<Vec<u8>>>("device")?.map(digest).transpose()?,
        other_device: row.flag("other_device")?,
        gates: gates(&row.text("gates")?)?,
        login,
    })
}

pub(super) fn signing_key(row: &Row) -> Result<SigningKey, sqlx::Error> {
    Ok(SigningKey { kid: row.count("kid")?, secret: Pii(row.read("secret")?), created_at: row.integer("created_at")? })
}

pub(super) fn webhook(row: &Row) -> Result<Webhook, sqlx::Error> {
    Ok(Webhook {
        id: row.text("id")?,
        clinic: row.text("clinic")?,
        url: Pii(row.text("url")?),
        secret: Pii(row.read("secret")?),
        created_at: row.integer("created_at")?,
        cursor: row.integer("delivered")?,
        failures: row.count("failures")?,
        retry_at: row.integer("retry_at")?,
        disabled: row.flag("disabled")?,
    })
}

pub(super) fn message(row: &Row) -> Result<OutgoingMessage, sqlx::Error> {
    Ok(OutgoingMessage {
        id: row.text("id")?,
        seat: row.text("seat")?,
        consultation: row.text("consultation")?,
        clinic: row.text("clinic")?,
        channel: row.text("channel")?,
        to: Pii(row.text("recipient")?),
        body: Pii(row.text("body")?),
        failures: row.count("failures")?,
        retry_at: row.integer("retry_at")?,
    })
}

pub(super) fn journal_entry(row: &Row) -> Result<JournalEntry, sqlx::Error> {
    let entry = Entry {
        id: row.text("id")?,
        at: row.integer("at")?,
        clinic: row.read("clinic")?,
        consultation: row.read("consultation")?,
        seat: row.read("seat")?,
        kind: row.text("kind")?,
        data: row.text("data")?,
    };
    Ok(JournalEntry { cursor: row.integer("cursor")?, entry, hash: row.digest("hash")? })
}

/// Nothing when it was never signed.
pub(super) fn chain_mark(row: &Row) -> Result<Option<ChainMark>, sqlx::Error> {
    let signature: Vec<u8> = row.read("signature")?;
    if signature.is_empty() {
        return Ok(None);
    }
    Ok(Some(ChainMark { cursor: row.integer("cursor")?, hash: row.digest("hash")?, signature }))
}

pub(super) fn gates(json: &str) -> Result<Vec<super::PassedGate>, sqlx::Error> {
    serde_json::from_str(json).map_err(|_| sqlx::Error::Decode("gates of a newer version".into()))
}

pub(super) fn gates_json(gates: &[super::PassedGate]) -> String {
    serde_json::to_string(gates).expect("gates are plain data")
}

pub(super) fn admission_name(admission: Admission) -> &'static str {
    match admission {
        Admission::Waiting => "waiting",
        Admission::Admitted => "admitted",
        Admission::Direct => "direct",
        Admission::Refused => "refused",
        Admission::Declined => "declined",
    }
}

fn admission(name: &str) -> Result<Admission, sqlx::Error> {
    match name {
        "waiting" => Ok(Admission::Waiting),
        "admitted" => Ok(Admission::Admitted),
        "direct" => Ok(Admission::Direct),
        "refused" => Ok(Admission::Refused),
        "declined" => Ok(Admission::Declined),
        _ => Err(sqlx::Error::Decode("admission state of a newer version".into())),
    }
}
