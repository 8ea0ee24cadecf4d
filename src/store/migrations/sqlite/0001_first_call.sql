-- Forward only: never edit a migration that has been released, add the next one.
-- Times are Unix seconds. Identifiers are random strings given by the control plane.

CREATE TABLE clinics (
    id         TEXT PRIMARY KEY NOT NULL,
    name       TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

-- A key is 256 random bits, so its plain SHA-256 cannot be guessed back; the prefix finds the row.
CREATE TABLE api_keys (
    prefix     TEXT PRIMARY KEY NOT NULL,
    hash       BLOB NOT NULL,
    clinic     TEXT NOT NULL REFERENCES clinics (id),
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE consultations (
    id         TEXT PRIMARY KEY NOT NULL,
    clinic     TEXT NOT NULL REFERENCES clinics (id),
    act        TEXT NOT NULL,
    language   TEXT NOT NULL,
    priority   TEXT,
    starts_at  INTEGER,
    created_at INTEGER NOT NULL,
    ended_at   INTEGER
) STRICT;

CREATE TABLE seats (
    id           TEXT PRIMARY KEY NOT NULL,
    consultation TEXT NOT NULL REFERENCES consultations (id),
    ordinal      INTEGER NOT NULL,
    role         TEXT NOT NULL,
    display_name TEXT,
    phone        TEXT,
    email        TEXT,
    pin          TEXT NOT NULL,
    admission    TEXT NOT NULL,
    token_epoch  INTEGER NOT NULL,
    device       BLOB
) STRICT;

CREATE INDEX seats_by_consultation ON seats (consultation, ordinal);

-- Keys that sign links and sessions; the newest signs, all verify.
CREATE TABLE signing_keys (
    kid        INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    secret     BLOB NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
