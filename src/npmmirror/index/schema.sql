-- The index of npmmirror: one SQLite file, `index.db`, WAL, page size 8192.
--
-- Tables are DERIVED (made again from the archive by `npmmirror reindex`) or OPERATIONAL (what the
-- mirror has to do, has checked, or where it is; saved by `npmmirror backup` only).
--
-- Names, versions and tags compare byte by byte (collation BINARY). Times are UTC text that sorts,
-- `2026-11-20T10:00:00.123456Z`, except those that upstream's documents tell, which stand in their
-- own spelling. A seq is an integer or an opaque text, hence ANY. An ordinal is the number of a
-- record in the capture log. References between tables are not enforced: the writer holds them.

-- ------------------------------------------------------------------------------ the file itself

-- OPERATIONAL. About this file. The schema's version is in PRAGMA user_version.
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,  -- created_at, created_by (program and version); reconciled_at (the
                             -- last reconciliation); backfilled (JSON: what a backfill brought)
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- ---------------------------------------------------------------------- what upstream publishes

-- DERIVED, but for rows whose state is '': of those packages no document was captured, and the row
-- only gives their name a number that operational tables use.
CREATE TABLE packages (
    id                 INTEGER PRIMARY KEY,  -- of this file alone; another file has other numbers
    name               TEXT NOT NULL UNIQUE,
    state              TEXT NOT NULL DEFAULT ''
                       CHECK (state IN ('', 'live', 'unpublished', 'security_hold', 'removed',
                                        'erased')),
    ordinal            INTEGER,  -- the record that last changed the package: a document, `gone`, or
                                 -- the decision to erase it
    revision           INTEGER,  -- ordinal of the newest revision that is not stale
    stale_revision     INTEGER,  -- ordinal of the newest stale one
    seq                ANY,      -- of the change that brought that record; NULL if asked for by hand
    rev                TEXT,     -- `_rev` of the newest document
    observed_at        TEXT,     -- when that record was made
    created_at         TEXT,     -- `time.created`
    modified_at        TEXT,     -- `time.modified`
    latest             TEXT,     -- the version that the dist-tag `latest` names
    latest_author      TEXT,     -- its author's name
    license            TEXT,     -- its license
    version_count      INTEGER NOT NULL DEFAULT 0,  -- versions in the newest document
    modification_count INTEGER NOT NULL DEFAULT 0,  -- entries of versions in its `time`
    problems           TEXT,     -- JSON array: what could not be understood; NULL if nothing
    touched            INTEGER   -- the newest record by which anything that is served of it changed:
                                 -- as `ordinal`, or a file that was stored or dropped
) STRICT;

-- "What changed since ordinal N": one row a package, the order of our own feed.
CREATE INDEX packages_by_touched ON packages (touched) WHERE touched IS NOT NULL;

-- What upstream has no longer, in the order in which that was found out.
CREATE INDEX packages_gone ON packages (observed_at)
    WHERE state IN ('unpublished', 'security_hold', 'removed');

-- DERIVED. Every version that was ever seen in a document.
CREATE TABLE versions (
    package_id         INTEGER NOT NULL,  -- packages.id
    version            TEXT NOT NULL,
    digest             BLOB NOT NULL,     -- first 16 bytes of SHA-256 of the manifest's bytes;
                                          -- empty: known by its tarball alone
    present            INTEGER NOT NULL,  -- 0: upstream's newest document no longer names it
    published_at       TEXT,              -- `time[version]`
    tarball            TEXT,              -- `dist.tarball`, as upstream spells it
    shasum             TEXT,              -- `dist.shasum`: upstream's claim, SHA-1 hex
    integrity          TEXT,              -- `dist.integrity`: upstream's claim
    file_count         INTEGER,           -- `dist.fileCount`
    unpacked_size      INTEGER,           -- `dist.unpackedSize`, bytes
    license            TEXT,
    publisher          TEXT,              -- `_npmUser.name`
    deprecated         TEXT,              -- the message; NULL: not deprecated
    has_install_script INTEGER NOT NULL DEFAULT 0,
    state              TEXT NOT NULL DEFAULT ''  -- of our file; '': never stored
                       CHECK (state IN ('', 'held', 'unverifiable', 'dropped')),
    reason             TEXT,              -- why it was dropped
    path               TEXT,              -- of our file, relative to storage.packages_dir
    size               INTEGER,           -- of our file, bytes
    sha512             BLOB,              -- of our file, 64 bytes
    verified_at        TEXT,              -- when its bytes were matched as they were stored
    ordinal            INTEGER,           -- the record that made the state
    signature          TEXT NOT NULL DEFAULT ''  -- what `dist.signatures` are worth; '': not judged
                       CHECK (signature IN ('', 'valid', 'invalid', 'unsigned', 'unknown_key',
                                            'expired_key')),
    attested           INTEGER NOT NULL DEFAULT 0,  -- 1: the document tells of attestations
    PRIMARY KEY (package_id, version)
) STRICT, WITHOUT ROWID;

-- Signatures that are wrong: an alarm, and few.
CREATE INDEX versions_invalid ON versions (package_id, version) WHERE signature = 'invalid';

-- DERIVED. Dependencies of the versions that a dist-tag names; all others are in the captures.
CREATE TABLE dependencies (
    package_id  INTEGER NOT NULL,
    version     TEXT NOT NULL,
    kind        TEXT NOT NULL,  -- dependencies, devDependencies, peerDependencies,
                                -- optionalDependencies, bundleDependencies
    name        TEXT NOT NULL,
    requirement TEXT NOT NULL,  -- the range as it is written; '' for bundleDependencies
    PRIMARY KEY (package_id, version, kind, name)
) STRICT, WITHOUT ROWID;

-- DERIVED. People that the newest document names.
CREATE TABLE people (
    package_id INTEGER NOT NULL,
    role       TEXT NOT NULL,     -- maintainer, or publisher (of `latest`)
    position   INTEGER NOT NULL,  -- the document's order, from 0
    name       TEXT NOT NULL,
    email      TEXT,
    PRIMARY KEY (package_id, role, position)
) STRICT, WITHOUT ROWID;

-- DERIVED. Dist-tags of the newest document; the version need not exist.
CREATE TABLE dist_tags (
    package_id INTEGER NOT NULL,
    tag        TEXT NOT NULL,
    version    TEXT NOT NULL,
    PRIMARY KEY (package_id, tag)
) STRICT, WITHOUT ROWID;

-- --------------------------------------------------------------------------- what was captured

-- DERIVED. The packuments in the capture log: where each lies, and how it was found.
CREATE TABLE revisions (
    ordinal       INTEGER PRIMARY KEY,
    package_id    INTEGER NOT NULL,
    rev           TEXT,              -- `_rev` of the document
    announced_rev TEXT,              -- what the feed had announced; NULL if asked for by hand
    seq           ANY,               -- of that announcement
    observed_at   TEXT NOT NULL,
    etag          TEXT,              -- of the answer
    stale         INTEGER NOT NULL,  -- 1: older than captured or announced; never a basis
    sha256        BLOB NOT NULL,     -- of the raw document, 32 bytes
    length        INTEGER NOT NULL,  -- of the raw document, bytes
    segment       INTEGER NOT NULL,  -- captures/<segment>.log
    "offset"      INTEGER NOT NULL,  -- of the record in it, bytes
    number        INTEGER NOT NULL,  -- place in the package's chain of deltas; 0: a whole frame
    erased        INTEGER NOT NULL DEFAULT 0, -- 1: its document was blanked by `npmmirror erase`
    announced_at  TEXT               -- when the follower first saw that announcement
) STRICT;

CREATE INDEX revisions_by_package ON revisions (package_id, ordinal);

-- DERIVED. The keys of the registry, whenever they had changed.
CREATE TABLE keys (
    ordinal  INTEGER PRIMARY KEY,
    at       TEXT NOT NULL,  -- when they were found so
    document BLOB            -- as upstream served it; NULL: upstream served none any more
) STRICT;

-- DERIVED. Documents that brought versions signed with a key that was not known. A later record of
-- keys has them judged again, until none is left.
CREATE TABLE unknown_signers (
    ordinal    INTEGER PRIMARY KEY,  -- revisions.ordinal
    package_id INTEGER NOT NULL,
    keys       INTEGER NOT NULL      -- the newest keys that it was held against; 0: none
) STRICT;

CREATE INDEX unknown_signers_by_keys ON unknown_signers (keys);

-- DERIVED. Attestation bundles of versions: where each lies.
CREATE TABLE attestations (
    package_id  INTEGER NOT NULL,
    version     TEXT NOT NULL,
    ordinal     INTEGER NOT NULL,  -- of its record
    observed_at TEXT NOT NULL,
    sha256      BLOB,              -- of the answer, 32 bytes; NULL: upstream had none; of no bytes:
                                   -- the answer was blanked by `npmmirror erase`
    length      INTEGER,           -- of the answer, bytes
    segment     INTEGER NOT NULL,  -- captures/<segment>.log
    "offset"    INTEGER NOT NULL,  -- of the record in it, bytes
    PRIMARY KEY (package_id, version)
) STRICT, WITHOUT ROWID;

-- DERIVED. Files whose package.json is not what the packument said of the version, or that could not
-- be held against it. Of a file that was dropped it stays known.
CREATE TABLE manifest_confusions (
    package_id INTEGER NOT NULL,
    version    TEXT NOT NULL,
    ordinal    INTEGER NOT NULL,  -- of the file's record
    reason     TEXT NOT NULL,     -- differs, no_package_json, not_json, too_far, ...
    detail     TEXT NOT NULL,     -- JSON object: the record's fact `manifest`
    PRIMARY KEY (package_id, version)
) STRICT, WITHOUT ROWID;

CREATE INDEX manifest_confusions_by_reason ON manifest_confusions (reason);

-- DERIVED. Versions that were published since following began: how they came to be held.
CREATE TABLE latencies (
    package_id   INTEGER NOT NULL,
    version      TEXT NOT NULL,
    published_at TEXT NOT NULL,     -- `time[version]` of the document that first named it
    document     INTEGER NOT NULL,  -- ordinal of that document
    tarball      INTEGER,           -- ordinal of the record by which its file was first held
    PRIMARY KEY (package_id, version)
) STRICT, WITHOUT ROWID;

-- DERIVED. How many versions took how long, in each hour of the newest nine days.
CREATE TABLE latency_counts (
    hour   TEXT NOT NULL,     -- of the mark behind the record, `2026-11-20T10`
    leg    TEXT NOT NULL,     -- announced, observed, captured, held, until_captured, until_held
    bucket INTEGER NOT NULL,  -- 0: under a millisecond; n: up to 2 ** (n / 8) milliseconds
    number INTEGER NOT NULL,
    PRIMARY KEY (hour, leg, bucket)
) STRICT, WITHOUT ROWID;

-- DERIVED, append-only. Facts found by comparing two successive documents.
CREATE TABLE events (
    id          INTEGER PRIMARY KEY,  -- ordinal of the record * 1000000 + n
    package_id  INTEGER NOT NULL,
    seq         ANY,                  -- of the change that brought the record
    kind        TEXT NOT NULL,        -- version_published, dist_tag_set, ...
    version     TEXT,
    tag         TEXT,
    happened_at TEXT,                 -- by the document's word
    observed_at TEXT NOT NULL,
    publisher   TEXT,
    detail      TEXT NOT NULL         -- JSON object
) STRICT;

CREATE INDEX events_by_package ON events (package_id, id);

-- DERIVED. Ends of groups in the capture log; the last one says how far the index has read it.
CREATE TABLE marks (
    ordinal       INTEGER PRIMARY KEY,
    committed_at  TEXT NOT NULL,  -- never goes back
    header_sha256 BLOB NOT NULL,  -- of the mark's header, 32 bytes
    segment       INTEGER NOT NULL,  -- captures/<segment>.log
    "offset"      INTEGER NOT NULL,  -- of the mark in it, bytes
    cursor        ANY             -- of the feed, when the mark was made
) STRICT;

CREATE INDEX marks_by_time ON marks (committed_at);

-- DERIVED. Starts of following; what is older than the first is history, not news.
CREATE TABLE followings (
    ordinal  INTEGER PRIMARY KEY,
    at       TEXT NOT NULL,
    upstream TEXT NOT NULL,  -- the feed's address
    since    ANY             -- the cursor that following began at
) STRICT;

-- DERIVED. Sums over the tables above, kept with each commit so that nobody has to count.
CREATE TABLE totals (
    what   TEXT PRIMARY KEY,  -- revisions, events, versions, tarballs, tarball_bytes, and
                              -- packages_live, packages_removed, ... for each state
    number INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- ------------------------------------------------------------------------------- where we are

-- OPERATIONAL. One row: how far the feed is read, and how far the buffer is worked off.
CREATE TABLE progress (
    one               INTEGER PRIMARY KEY CHECK (one = 1),
    cursor            ANY,   -- of the feed: everything before it is in the buffer
    checkpoint_buffer TEXT,  -- the buffer's identity, and
    checkpoint        TEXT   -- the position in it before which everything is finished
) STRICT;

-- OPERATIONAL. Proofs that pages of the feed lie whole in the buffer, oldest first.
CREATE TABLE receipts (
    number        INTEGER PRIMARY KEY AUTOINCREMENT,
    received_at   TEXT NOT NULL,
    cursor_before ANY,
    cursor_after  ANY NOT NULL,
    buffer        TEXT NOT NULL,     -- the buffer's identity, and
    position      TEXT NOT NULL,     -- the position in it behind the page
    tail          TEXT NOT NULL,     -- lets the buffer recognise the page's last rows
    finished      INTEGER NOT NULL   -- 1: the checkpoint is past it
) STRICT;

-- OPERATIONAL. Where the cursor was when: by them the trailing window of the feed is read again.
CREATE TABLE cursors (
    number  INTEGER PRIMARY KEY,
    seen_at TEXT NOT NULL,     -- when the feed was read as far as this
    cursor  ANY NOT NULL,
    rows    INTEGER NOT NULL   -- how many rows lie between the one before and this
) STRICT;

-- OPERATIONAL. When the head of the feed was found below the cursor.
CREATE TABLE regressions (
    at     TEXT PRIMARY KEY,
    before ANY NOT NULL,       -- the cursor, which the feed's head fell below
    after  ANY NOT NULL        -- the head that following went on from
) STRICT, WITHOUT ROWID;

-- OPERATIONAL. The last change of each package that is finished, so that a row of the feed that is
-- seen twice is known.
CREATE TABLE finished (
    package_id INTEGER PRIMARY KEY,
    seq        ANY NOT NULL,
    rev        TEXT,
    deleted    INTEGER NOT NULL
) STRICT;

-- ------------------------------------------------------------------------------ what is to do

-- OPERATIONAL. What is left to do. A row put again gets a new id.
CREATE TABLE work_list (
    id         INTEGER PRIMARY KEY,
    package_id INTEGER NOT NULL,
    item       TEXT NOT NULL,     -- '' for the packument, else the version whose tarball it is
    reason     TEXT NOT NULL,     -- why it is not done yet
    not_before TEXT,              -- when to try; NULL: never by itself (a dead letter)
    attempts   INTEGER NOT NULL,
    rev        TEXT,              -- what was announced (packument)
    seq        ANY,
    deleted    INTEGER NOT NULL,
    since      TEXT NOT NULL,     -- when the trouble began
    detail     TEXT NOT NULL,
    announced_at TEXT,            -- when the follower first saw what was announced
    origin     TEXT NOT NULL DEFAULT '',  -- backfill or reconcile, where one of them brought it;
                                          -- with _metadata behind it: documents alone are wanted
    UNIQUE (package_id, item)
) STRICT;

-- With the origin in it, so that rows of a backfill that is paused are passed over cheaply.
CREATE INDEX work_due ON work_list (not_before, package_id, origin) WHERE not_before IS NOT NULL;
CREATE INDEX work_brought ON work_list (origin, attempts, not_before) WHERE origin <> '';
CREATE INDEX work_failed ON work_list (id) WHERE attempts > 0 OR not_before IS NULL;
-- Counting by reason goes along it: to sort a million rows for that takes seconds, and their size.
CREATE INDEX work_waiting ON work_list (reason) WHERE not_before IS NOT NULL;
CREATE INDEX work_dead ON work_list (reason) WHERE not_before IS NULL;

-- OPERATIONAL. Confirmed removals that the breaker holds until the operator decides: they have had no
-- effect yet. The breaker is tripped while there is any.
CREATE TABLE held_removals (
    package_id INTEGER PRIMARY KEY,
    held_at    TEXT NOT NULL,  -- when it would have been recorded first
    seq        ANY,            -- of the change that was looked at; NULL if there was none
    evidence   TEXT NOT NULL   -- JSON object: what shows that it is gone
) STRICT;

-- OPERATIONAL. At most one row: when the operator decided about the last of them.
CREATE TABLE removal_breaker (
    one        INTEGER PRIMARY KEY CHECK (one = 1),
    decided_at TEXT NOT NULL   -- when the operator decided last; removals before do not count
) STRICT;

-- OPERATIONAL. What is not wanted, and why.
CREATE TABLE skips (
    package_id INTEGER NOT NULL,
    version    TEXT NOT NULL,  -- '' for the package as a whole
    reason     TEXT NOT NULL,
    detail     TEXT NOT NULL,
    at         TEXT NOT NULL,
    PRIMARY KEY (package_id, version)
) STRICT;

CREATE INDEX skips_by_reason ON skips (reason);

-- OPERATIONAL. When a held file was last hashed again, and what came of it.
CREATE TABLE checks (
    package_id INTEGER NOT NULL,
    version    TEXT NOT NULL,
    checked_at TEXT NOT NULL,
    result     TEXT NOT NULL,  -- ok, missing, altered, ...
    detail     TEXT NOT NULL,
    PRIMARY KEY (package_id, version)
) STRICT, WITHOUT ROWID;

-- OPERATIONAL. How far a long command came, so that its next start goes on from there.
CREATE TABLE resumptions (
    command    TEXT PRIMARY KEY,
    started_at TEXT NOT NULL,
    place      TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- -------------------------------------------------------------------------------------- views

-- When each version that was published since following began came to be here.
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

-- The last change of each captured package, with what the first NPM-Mirror kept of it.
CREATE VIEW changes AS
SELECT
    p.name                                                      AS package,
    p.seq                                                       AS seq,
    p.rev                                                       AS revision,
    p.latest                                                    AS latest_version,
    p.latest_author                                             AS author,
    (SELECT json_group_array(m.name) FROM
        (SELECT name FROM people
         WHERE package_id = p.id AND role = 'maintainer' ORDER BY position) AS m)
                                                                AS maintainers,
    (SELECT json_group_object(d.name, d.requirement) FROM dependencies AS d
     WHERE d.package_id = p.id AND d.version = p.latest AND d.kind = 'dependencies')
                                                                AS dependencies,
    p.version_count                                             AS versions,
    p.modification_count                                        AS modifications,
    p.modified_at                                               AS modified_at,
    (SELECT json_group_object(t.tag, t.version) FROM dist_tags AS t WHERE t.package_id = p.id)
                                                                AS dist_tags,
    p.state IN ('removed', 'unpublished', 'erased')             AS deleted,
    (SELECT v.path FROM versions AS v WHERE v.package_id = p.id AND v.version = p.latest)
                                                                AS path,
    p.ordinal                                                   AS ordinal,
    p.observed_at                                               AS observed_at
FROM packages AS p
WHERE p.state <> '';
