-- `npmmirror erase`: a state of packages, and a mark on the revisions whose documents were blanked.
-- A CHECK cannot be changed in place, so the table is made anew.
DROP VIEW changes;

CREATE TABLE packages_2 (
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
    problems           TEXT      -- JSON array: what could not be understood; NULL if nothing
) STRICT;

INSERT INTO packages_2 SELECT
    id, name, state, ordinal, revision, stale_revision, seq, rev, observed_at, created_at,
    modified_at, latest, latest_author, license, version_count, modification_count, problems
FROM packages;

DROP TABLE packages;
ALTER TABLE packages_2 RENAME TO packages;
CREATE INDEX packages_by_ordinal ON packages (ordinal) WHERE ordinal IS NOT NULL;

ALTER TABLE revisions ADD COLUMN erased INTEGER NOT NULL DEFAULT 0;

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
WHERE p.state <> ''
