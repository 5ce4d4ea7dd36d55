-- How long each version took from its publication until it was held.
ALTER TABLE revisions ADD COLUMN announced_at TEXT;
ALTER TABLE work_list ADD COLUMN announced_at TEXT;

CREATE TABLE latencies (
    package_id   INTEGER NOT NULL,
    version      TEXT NOT NULL,
    published_at TEXT NOT NULL,     -- `time[version]` of the document that first named it
    document     INTEGER NOT NULL,  -- ordinal of that document
    tarball      INTEGER,           -- ordinal of the record by which its file was first held
    PRIMARY KEY (package_id, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE latency_counts (
    hour   TEXT NOT NULL,     -- of the mark behind the record, `2026-11-20T10`
    leg    TEXT NOT NULL,     -- announced, observed, captured, held, until_captured, until_held
    bucket INTEGER NOT NULL,  -- 0: under a millisecond; n: up to 2 ** (n / 8) milliseconds
    number INTEGER NOT NULL,
    PRIMARY KEY (hour, leg, bucket)
) STRICT, WITHOUT ROWID;

CREATE VIEW capture_latencies AS
SELECT
    p.name                                                      AS package,
    l.version                                                   AS version,
    l.published_at                                              AS published_at,
    r.announced_at                                              AS announced_at,
    r.observed_at                                               AS observed_at,
    (SELECT committed_at FROM marks WHERE ordinal > l.document ORDER BY ordinal LIMIT 1)
                                                                AS captured_at,
    (SELECT committed_at FROM marks WHERE ordinal > l.tarball ORDER BY ordinal LIMIT 1)
                                                                AS held_at
FROM latencies AS l
JOIN packages AS p ON p.id = l.package_id
JOIN revisions AS r ON r.ordinal = l.document;
