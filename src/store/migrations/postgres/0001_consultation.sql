-- Forward only: never edit a migration that has been released, add the next one.
-- Times are Unix seconds (`journal.at`: milliseconds). Identifiers are random strings given by the control plane. Truth
-- values are 0 and 1, and every number is a BIGINT, so that one text of each query serves both engines.

CREATE TABLE clinics (
    id            TEXT PRIMARY KEY,
    name          TEXT NOT NULL,
    created_at    BIGINT NOT NULL,
    demands_login BIGINT NOT NULL,
    demands_cards BIGINT NOT NULL,
    acts_per_year BIGINT
);

-- A key is 256 random bits, so its plain SHA-256 cannot be guessed back; the prefix finds the row.
CREATE TABLE api_keys (
    prefix     TEXT PRIMARY KEY,
    hash       BYTEA NOT NULL,
    clinic     TEXT NOT NULL REFERENCES clinics (id),
    created_at BIGINT NOT NULL,
    scopes     TEXT NOT NULL
);
CREATE INDEX api_keys_by_clinic ON api_keys (clinic);

CREATE TABLE consultations (
    id            TEXT PRIMARY KEY,
    clinic        TEXT NOT NULL REFERENCES clinics (id),
    act           TEXT NOT NULL,
    language      TEXT NOT NULL,
    priority      TEXT,
    starts_at     BIGINT,
    created_at    BIGINT NOT NULL,
    ended_at      BIGINT,
    gates         TEXT,
    patient       TEXT,
    postal_prefix TEXT,
    queue         TEXT,
    login         BIGINT NOT NULL,
    locked        BIGINT NOT NULL,
    -- Somebody joined.
    held          BIGINT NOT NULL,
    -- Counts up: the order of booking within a second.
    booking       BIGINT NOT NULL
);
CREATE INDEX consultations_by_booking ON consultations (booking);
CREATE INDEX consultations_by_patient ON consultations (clinic, patient) WHERE patient IS NOT NULL;
CREATE INDEX consultations_by_queue ON consultations (clinic, queue) WHERE queue IS NOT NULL;
CREATE INDEX consultations_by_creation ON consultations (created_at);

CREATE TABLE seats (
    id           TEXT PRIMARY KEY,
    consultation TEXT NOT NULL REFERENCES consultations (id),
    ordinal      BIGINT NOT NULL,
    role         TEXT NOT NULL,
    display_name TEXT,
    phone        TEXT,
    email        TEXT,
    card         TEXT,
    pin          TEXT NOT NULL,
    admission    TEXT NOT NULL,
    vouched      BIGINT NOT NULL,
    token_epoch  BIGINT NOT NULL,
    device       BYTEA,
    other_device BIGINT NOT NULL,
    -- JSON: gates are always read with their seat.
    gates        TEXT NOT NULL,
    login_rpps   TEXT,
    login_level  TEXT,
    login_at     BIGINT
);
CREATE INDEX seats_by_consultation ON seats (consultation, ordinal);

-- Keys that sign links and sessions; the newest signs, the newest two verify.
CREATE TABLE signing_keys (
    kid        BIGINT PRIMARY KEY,
    secret     BYTEA NOT NULL,
    created_at BIGINT NOT NULL
);

-- What remains of a consultation whose retention is over: for yearly counts and usage figures.
CREATE TABLE past_acts (
    consultation  TEXT PRIMARY KEY,
    clinic        TEXT NOT NULL REFERENCES clinics (id),
    act           TEXT NOT NULL,
    patient       TEXT,
    postal_prefix TEXT,
    happened_at   BIGINT NOT NULL,
    created_at    BIGINT NOT NULL
);
CREATE INDEX past_acts_by_patient ON past_acts (clinic, patient) WHERE patient IS NOT NULL;
CREATE INDEX past_acts_by_time ON past_acts (happened_at);

CREATE TABLE webhooks (
    id         TEXT PRIMARY KEY,
    clinic     TEXT NOT NULL REFERENCES clinics (id),
    url        TEXT NOT NULL,
    secret     BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    delivered  BIGINT NOT NULL,
    failures   BIGINT NOT NULL,
    retry_at   BIGINT NOT NULL,
    disabled   BIGINT NOT NULL
);

-- Invitations that wait to leave, in order.
CREATE TABLE outbox (
    ordinal      BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id           TEXT UNIQUE NOT NULL,
    seat         TEXT NOT NULL,
    consultation TEXT NOT NULL,
    clinic       TEXT NOT NULL,
    channel      TEXT NOT NULL,
    recipient    TEXT NOT NULL,
    body         TEXT NOT NULL,
    failures     BIGINT NOT NULL,
    retry_at     BIGINT NOT NULL
);
CREATE INDEX outbox_by_consultation ON outbox (consultation);

-- One line for everything that happened; no reference to other tables: entries outlive them.
CREATE TABLE journal (
    cursor       BIGINT PRIMARY KEY,
    id           TEXT UNIQUE NOT NULL,
    at           BIGINT NOT NULL,
    clinic       TEXT,
    consultation TEXT,
    seat         TEXT,
    kind         TEXT NOT NULL,
    data         TEXT NOT NULL,
    hash         BYTEA NOT NULL
);
CREATE INDEX journal_by_clinic ON journal (clinic, cursor) WHERE clinic IS NOT NULL;
CREATE INDEX journal_by_consultation ON journal (consultation, cursor) WHERE consultation IS NOT NULL;

-- `head`: the last entry; whoever writes the journal locks this row. `begin`: the last entry before those that are kept.
-- An empty signature: none yet.
CREATE TABLE chain (
    place     TEXT PRIMARY KEY,
    cursor    BIGINT NOT NULL,
    hash      BYTEA NOT NULL,
    signature BYTEA NOT NULL
);
INSERT INTO chain (place, cursor, hash, signature)
    VALUES ('begin', 0, decode(repeat('00', 32), 'hex'), ''), ('head', 0, decode(repeat('00', 32), 'hex'), '');

-- Consultations that were erased, by their random identifier.
CREATE TABLE erased (
    consultation TEXT PRIMARY KEY,
    at           BIGINT NOT NULL
);
