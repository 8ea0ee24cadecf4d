-- What a consultation is beyond a call: gates, logins, queues, the journal, webhooks, invitations, erasure.
-- Truth values are 0 and 1. `journal` and `chain` are written together and never changed but for pruning.

ALTER TABLE clinics ADD COLUMN demands_login INTEGER NOT NULL DEFAULT 0;
ALTER TABLE clinics ADD COLUMN demands_cards INTEGER NOT NULL DEFAULT 0;
ALTER TABLE clinics ADD COLUMN acts_per_year INTEGER;

-- Keys made before scopes existed could do everything.
ALTER TABLE api_keys ADD COLUMN scopes TEXT NOT NULL
    DEFAULT 'consultations:write consultations:read events:read record:read webhooks:write erase';
CREATE INDEX api_keys_by_clinic ON api_keys (clinic);

ALTER TABLE consultations ADD COLUMN gates TEXT;
ALTER TABLE consultations ADD COLUMN patient TEXT;
ALTER TABLE consultations ADD COLUMN postal_prefix TEXT;
ALTER TABLE consultations ADD COLUMN queue TEXT;
ALTER TABLE consultations ADD COLUMN login INTEGER NOT NULL DEFAULT 0;
ALTER TABLE consultations ADD COLUMN locked INTEGER NOT NULL DEFAULT 0;
-- Somebody joined.
ALTER TABLE consultations ADD COLUMN held INTEGER NOT NULL DEFAULT 0;
-- Counts up: the order of booking within a second.
ALTER TABLE consultations ADD COLUMN booking INTEGER NOT NULL DEFAULT 0;
CREATE INDEX consultations_by_booking ON consultations (booking);
CREATE INDEX consultations_by_patient ON consultations (clinic, patient) WHERE patient IS NOT NULL;
CREATE INDEX consultations_by_queue ON consultations (clinic, queue) WHERE queue IS NOT NULL;
CREATE INDEX consultations_by_creation ON consultations (created_at);

ALTER TABLE seats ADD COLUMN card TEXT;
ALTER TABLE seats ADD COLUMN vouched INTEGER NOT NULL DEFAULT 0;
ALTER TABLE seats ADD COLUMN other_device INTEGER NOT NULL DEFAULT 0;
-- JSON: gates are always read with their seat.
ALTER TABLE seats ADD COLUMN gates TEXT NOT NULL DEFAULT '[]';
ALTER TABLE seats ADD COLUMN login_rpps TEXT;
ALTER TABLE seats ADD COLUMN login_level TEXT;
ALTER TABLE seats ADD COLUMN login_at INTEGER;

-- What remains of a consultation whose retention is over: for yearly counts and usage figures.
CREATE TABLE past_acts (
    consultation  TEXT PRIMARY KEY NOT NULL,
    clinic        TEXT NOT NULL REFERENCES clinics (id),
    act           TEXT NOT NULL,
    patient       TEXT,
    postal_prefix TEXT,
    happened_at   INTEGER NOT NULL,
    created_at    INTEGER NOT NULL
) STRICT;
CREATE INDEX past_acts_by_patient ON past_acts (clinic, patient) WHERE patient IS NOT NULL;
CREATE INDEX past_acts_by_time ON past_acts (happened_at);

CREATE TABLE webhooks (
    id         TEXT PRIMARY KEY NOT NULL,
    clinic     TEXT NOT NULL REFERENCES clinics (id),
    url        TEXT NOT NULL,
    secret     BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    delivered  INTEGER NOT NULL,
    failures   INTEGER NOT NULL,
    retry_at   INTEGER NOT NULL,
    disabled   INTEGER NOT NULL
) STRICT;

-- Invitations that wait to leave, in order.
CREATE TABLE outbox (
    ordinal      INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    id           TEXT UNIQUE NOT NULL,
    seat         TEXT NOT NULL,
    consultation TEXT NOT NULL,
    clinic       TEXT NOT NULL,
    channel      TEXT NOT NULL,
    recipient    TEXT NOT NULL,
    body         TEXT NOT NULL,
    failures     INTEGER NOT NULL,
    retry_at     INTEGER NOT NULL
) STRICT;
CREATE INDEX outbox_by_consultation ON outbox (consultation);

-- One line for everything that happened. `at` in Unix milliseconds; no reference to other tables: entries outlive them.
CREATE TABLE journal (
    cursor       INTEGER PRIMARY KEY NOT NULL,
    id           TEXT UNIQUE NOT NULL,
    at           INTEGER NOT NULL,
    clinic       TEXT,
    consultation TEXT,
    seat         TEXT,
    kind         TEXT NOT NULL,
    data         TEXT NOT NULL,
    hash         BLOB NOT NULL
) STRICT;
CREATE INDEX journal_by_clinic ON journal (clinic, cursor) WHERE clinic IS NOT NULL;
CREATE INDEX journal_by_consultation ON journal (consultation, cursor) WHERE consultation IS NOT NULL;

-- `head`: the last entry. `begin`: the last entry before those that are kept. An empty signature: none yet.
CREATE TABLE chain (
    place     TEXT PRIMARY KEY NOT NULL,
    cursor    INTEGER NOT NULL,
    hash      BLOB NOT NULL,
    signature BLOB NOT NULL
) STRICT;
INSERT INTO chain (place, cursor, hash, signature) VALUES ('begin', 0, zeroblob(32), x''), ('head', 0, zeroblob(32), x'');

-- Consultations that were erased, by their random identifier.
CREATE TABLE erased (
    consultation TEXT PRIMARY KEY NOT NULL,
    at           INTEGER NOT NULL
) STRICT;
