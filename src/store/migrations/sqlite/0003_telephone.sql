-- The telephone: a seat is found by a keyed hash of its PIN, its person's consent to be called, and what a consultation wants of
-- end-to-end encryption.

-- Keys of the server that its processes share.
CREATE TABLE secrets (
    name  TEXT PRIMARY KEY NOT NULL,
    value BLOB NOT NULL
) STRICT;

-- HMAC-SHA-256 of the PIN; filled in when the store is opened, for seats from before.
ALTER TABLE seats ADD COLUMN pin_hash BLOB;
ALTER TABLE seats ADD COLUMN phone_consent INTEGER NOT NULL DEFAULT 0;
CREATE INDEX seats_by_pin ON seats (pin_hash);

ALTER TABLE consultations ADD COLUMN e2ee TEXT NOT NULL DEFAULT 'off';
