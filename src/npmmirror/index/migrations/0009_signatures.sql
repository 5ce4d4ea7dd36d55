-- What is known of signatures: the registry's keys, a state for each version, and documents whose
-- versions were signed with a key that was not known. Versions that are there have the state '':
-- `npmmirror reindex` makes it of the captures. Attestation bundles likewise.
ALTER TABLE versions ADD COLUMN signature TEXT NOT NULL DEFAULT ''
    CHECK (signature IN ('', 'valid', 'invalid', 'unsigned', 'unknown_key', 'expired_key'));
ALTER TABLE versions ADD COLUMN attested INTEGER NOT NULL DEFAULT 0;

CREATE TABLE keys (
    ordinal  INTEGER PRIMARY KEY,
    at       TEXT NOT NULL,
    document BLOB
) STRICT;

CREATE TABLE unknown_signers (
    ordinal    INTEGER PRIMARY KEY,
    package_id INTEGER NOT NULL,
    keys       INTEGER NOT NULL
) STRICT;

CREATE INDEX unknown_signers_by_keys ON unknown_signers (keys);

CREATE TABLE attestations (
    package_id  INTEGER NOT NULL,
    version     TEXT NOT NULL,
    ordinal     INTEGER NOT NULL,
    observed_at TEXT NOT NULL,
    sha256      BLOB,
    length      INTEGER,
    segment     INTEGER NOT NULL,
    "offset"    INTEGER NOT NULL,
    PRIMARY KEY (package_id, version)
) STRICT, WITHOUT ROWID;

CREATE INDEX versions_invalid ON versions (package_id, version) WHERE signature = 'invalid';
