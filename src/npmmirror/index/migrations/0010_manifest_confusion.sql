-- Tarballs whose package.json is not what the packument says of the version, or that could not be
-- held against it.
CREATE TABLE manifest_confusions (
    package_id INTEGER NOT NULL,
    version    TEXT NOT NULL,
    ordinal    INTEGER NOT NULL,
    reason     TEXT NOT NULL,
    detail     TEXT NOT NULL,
    PRIMARY KEY (package_id, version)
) STRICT, WITHOUT ROWID;

CREATE INDEX manifest_confusions_by_reason ON manifest_confusions (reason);
