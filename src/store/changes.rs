//! Each change as SQL. Runs inside the writer's transaction; what is not applicable is told, and undone there.

use std::time::{SystemTime, UNIX_EPOCH};

use super::engine::{Connection, values};
use super::pin_key::PinKey;
use super::rows::{admission_name, gates, gates_json};
use super::{
    Admission, Change, ConsultationRecord, LiveChange, Login, OutgoingMessage, PassedGate, SeatRecord, Webhook,
};

/// Whether a change was applicable.
type Applied = Result<bool, sqlx::Error>;

pub(super) async fn apply(on: &mut Connection, pins: &PinKey, change: &Change) -> Applied {
    match change {
        Change::Live(change) => apply_live(on, change).await.map(|()| true),
        Change::CreateConsultation(consultation, seats) => create(on, pins, consultation, seats).await,
        Change::AddSeat { seat, of_role_max, seats_max } => add_seat(on, pins, seat, *of_role_max, *seats_max).await,
        Change::EndConsultation { consultation, at } => {
            let sql = "UPDATE consultations SET ended_at = $1 WHERE id = $2 AND ended_at IS NULL";
            Ok(on.execute(sql, values![*at, consultation]).await? == 1)
        }
        Change::SetLogin { seat, login } => set_login(on, seat, login).await,
        Change::AddMessage(message) => add_message(on, message).await,
        Change::DelayMessage { id, failures, retry_at } => {
            let sql = "UPDATE outbox SET failures = $1, retry_at = $2 WHERE id = $3";
            on.execute(sql, values![*failures, *retry_at, id]).await.map(|_| true)
        }
        Change::RemoveMessage { id } => on.execute("DELETE FROM outbox WHERE id = $1", values![id]).await.map(|_| true),
        administration => administer(on, administration).await,
    }
}

/// Clinics, their keys and webhooks, and the keys that sign.
async fn administer(on: &mut Connection, change: &Change) -> Applied {
    match change {
        Change::AddClinic(clinic) => {
            let sql = "INSERT INTO clinics (id, name, created_at, demands_login, demands_cards, acts_per_year) \
                       VALUES ($1, $2, $3, $4, $5, $6)";
            let demands = clinic.demands;
            let limit = demands.acts_per_year.map(i64::from);
            let values = values![&clinic.id, &clinic.name, unix_now(), demands.login, demands.cards, limit];
            on.execute(sql, values).await.map(|_| true)
        }
        Change::SetDemands { clinic, demands } => {
            let sql = "UPDATE clinics SET demands_login = $1, demands_cards = $2, acts_per_year = $3 WHERE id = $4";
            let limit = demands.acts_per_year.map(i64::from);
            Ok(on.execute(sql, values![demands.login, demands.cards, limit, clinic]).await? == 1)
        }
        Change::AddApiKey(key, at) => {
            let sql = "INSERT INTO api_keys (prefix, hash, clinic, created_at, scopes) VALUES ($1, $2, $3, $4, $5)";
            let values = values![&key.prefix, key.hash.0.as_slice(), &key.clinic, *at, &key.scopes];
            on.execute(sql, values).await.map(|_| true)
        }
        Change::RevokeApiKey { clinic, prefix } => {
            let sql = "DELETE FROM api_keys WHERE clinic = $1 AND prefix = $2";
            Ok(on.execute(sql, values![clinic, prefix]).await? == 1)
        }
        Change::AddSigningKey(key) => {
            let sql = "INSERT INTO signing_keys (kid, secret, created_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
            let added = on.execute(sql, values![key.kid, key.secret.0.as_slice(), key.created_at]).await? == 1;
            // The newest two verify; what older ones signed is worthless, and so are they.
            let sql =
                "DELETE FROM signing_keys WHERE kid NOT IN (SELECT kid FROM signing_keys ORDER BY kid DESC LIMIT 2)";
            on.execute(sql, Vec::new()).await?;
            Ok(added)
        }
        Change::SetWebhook(webhook) => set_webhook(on, webhook).await,
        Change::RemoveWebhook { clinic, id } => {
            let sql = "DELETE FROM webhooks WHERE clinic = $1 AND id = $2";
            Ok(on.execute(sql, values![clinic, id]).await? == 1)
        }
        Change::MoveWebhook { id, cursor, failures, retry_at, disabled } => {
            let sql = "UPDATE webhooks SET delivered = $1, failures = $2, retry_at = $3, disabled = $4 WHERE id = $5";
            on.execute(sql, values![*cursor, *failures, *retry_at, *disabled, id]).await.map(|_| true)
        }
        other => unreachable!("`apply` does this itself: {other:?}"),
    }
}

async fn apply_live(on: &mut Connection, change: &LiveChange) -> Result<(), sqlx::Error> {
    match change {
        LiveChange::SetAdmission { seat, admission } => {
            let sql = "UPDATE seats SET admission = $1, other_device = CASE WHEN $2 = 1 THEN 0 ELSE other_device END \
                       WHERE id = $3";
            let lifts = *admission == Admission::Admitted;
            on.execute(sql, values![admission_name(*admission), lifts, seat]).await?;
        }
        LiveChange::SetDevice { seat, device, other } => {
            let sql = "UPDATE seats SET device = $1, other_device = $2 WHERE id = $3";
            on.execute(sql, values![device.as_slice(), *other, seat]).await?;
        }
        LiveChange::PassGate { seat, passed } => {
            change_gates(on, seat, |gates| {
                gates.retain(|gate| gate.gate != passed.gate);
                gates.push(passed.clone());
            })
            .await?;
        }
        LiveChange::ForgetGate { seat, gate } => {
            change_gates(on, seat, |gates| gates.retain(|passed| passed.gate != *gate)).await?;
        }
        LiveChange::SetLocked { consultation, locked } => {
            on.execute("UPDATE consultations SET locked = $1 WHERE id = $2", values![*locked, consultation]).await?;
        }
        LiveChange::SetEpoch { seat, epoch } => {
            let sql = "UPDATE seats SET token_epoch = $1 WHERE id = $2 AND token_epoch < $1";
            on.execute(sql, values![*epoch, seat]).await?;
        }
        LiveChange::End { consultation, at } => {
            let sql = "UPDATE consultations SET ended_at = $1 WHERE id = $2 AND ended_at IS NULL";
            on.execute(sql, values![*at, consultation]).await?;
        }
    }
    Ok(())
}

/// Read and written again: nobody else writes meanwhile, because every writer holds the lock of the file or of the chain's head.
async fn change_gates(
    on: &mut Connection,
    seat: &str,
    change: impl FnOnce(&mut Vec<PassedGate>),
) -> Result<(), sqlx::Error> {
    let Some(row) = on.fetch_optional("SELECT gates FROM seats WHERE id = $1", values![seat]).await? else {
        return Ok(());
    };
    let mut passed = gates(&row.text("gates")?)?;
    change(&mut passed);
    on.execute("UPDATE seats SET gates = $1 WHERE id = $2", values![gates_json(&passed), seat]).await.map(drop)
}

async fn create(on: &mut Connection, pins: &PinKey, new: &ConsultationRecord, seats: &[SeatRecord]) -> Applied {
    let sql = "INSERT INTO consultations (id, clinic, act, language, priority, starts_at, created_at, ended_at, gates, \
               patient, postal_prefix, queue, login, locked, e2ee, held, booking) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, 0, \
               (SELECT COALESCE(MAX(booking), 0) + 1 FROM consultations))";
    let values = values![
        &new.id,
        &new.clinic,
        &new.act,
        &new.language,
        &new.priority,
        new.starts_at,
        new.created_at,
        new.ended_at,
        &new.gates,
        &new.patient,
        &new.postal_prefix,
        &new.queue,
        new.login,
        new.locked,
        &new.e2ee,
    ];
    on.execute(sql, values).await?;
    for (ordinal, seat) in (0..).zip(seats) {
        insert_seat(on, pins, seat, ordinal).await?;
    }
    Ok(true)
}

async fn add_seat(on: &mut Connection, pins: &PinKey, seat: &SeatRecord, of_role_max: u32, seats_max: u32) -> Applied {
    let sql = "SELECT COUNT(*) AS seats, \
               COALESCE(SUM(CASE WHEN admission NOT IN ('refused', 'declined') THEN 1 ELSE 0 END), 0) AS open, \
               COALESCE(SUM(CASE WHEN admission NOT IN ('refused', 'declined') AND role = $2 THEN 1 ELSE 0 END), 0) \
               AS of_role \
               FROM seats WHERE consultation = $1";
    let running = "SELECT 1 AS running FROM consultations WHERE id = $1 AND ended_at IS NULL";
    if on.fetch_optional(running, values![&seat.consultation]).await?.is_none() {
        return Ok(false);
    }
    let row = on.fetch_one(sql, values![&seat.consultation, &seat.role]).await?;
    if row.count("open")? >= seats_max || row.count("of_role")? >= of_role_max {
        return Ok(false);
    }
    insert_seat(on, pins, seat, row.integer("seats")?).await?;
    Ok(true)
}

async fn insert_seat(on: &mut Connection, pins: &PinKey, seat: &SeatRecord, ordinal: i64) -> Result<(), sqlx::Error> {
    let sql = "INSERT INTO seats (id, consultation, ordinal, role, display_name, phone, email, card, pin, admission, \
               vouched, token_epoch, device, other_device, gates, login_rpps, login_level, login_at, pin_hash, phone_consent) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)";
    let login = seat.login.as_ref();
    let values = values![
        &seat.id,
        &seat.consultation,
        ordinal,
        &seat.role,
        &seat.display_name,
        &seat.phone,
        &seat.email,
        &seat.card,
        &seat.pin,
        admission_name(seat.admission),
        seat.vouched,
        seat.token_epoch,
        seat.device,
        seat.other_device,
        gates_json(&seat.gates),
        &login.and_then(|login| login.rpps.clone()),
        &login.map(|login| login.level.clone()),
        login.map(|login| login.at),
        pins.hash(&seat.pin.0).as_slice(),
        seat.phone_consent,
    ];
    on.execute(sql, values).await.map(drop)
}

async fn set_login(on: &mut Connection, seat: &str, login: &Login) -> Applied {
    let sql = "UPDATE seats SET login_rpps = $1, login_level = $2, login_at = $3 WHERE id = $4";
    on.execute(sql, values![&login.rpps, &login.level, login.at, seat]).await.map(|_| true)
}

async fn set_webhook(on: &mut Connection, webhook: &Webhook) -> Applied {
    let sql = "INSERT INTO webhooks (id, clinic, url, secret, created_at, delivered, failures, retry_at, disabled) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
               ON CONFLICT (id) DO UPDATE SET url = excluded.url, secret = excluded.secret, \
               created_at = excluded.created_at, delivered = excluded.delivered, failures = excluded.failures, \
               retry_at = excluded.retry_at, disabled = excluded.disabled WHERE webhooks.clinic = excluded.clinic";
    let values = values![
        &webhook.id,
        &webhook.clinic,
        &webhook.url,
        webhook.secret.0.as_slice(),
        webhook.created_at,
        webhook.cursor,
        webhook.failures,
        webhook.retry_at,
        webhook.disabled,
    ];
    Ok(on.execute(sql, values).await? == 1)
}

async fn add_message(on: &mut Connection, message: &OutgoingMessage) -> Applied {
    let sql = "INSERT INTO outbox (id, seat, consultation, clinic, channel, recipient, body, failures, retry_at) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    let values = values![
        &message.id,
        &message.seat,
        &message.consultation,
        &message.clinic,
        &message.channel,
        &message.to,
        &message.body,
        message.failures,
        message.retry_at,
    ];
    on.execute(sql, values).await.map(|_| true)
}

/// Unix seconds. For what no caller dates.
pub(super) fn unix_now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}
