-- Removals that the breaker holds, and an index over the packages that are gone upstream.
CREATE INDEX packages_gone ON packages (observed_at)
    WHERE state IN ('unpublished', 'security_hold', 'removed');

CREATE TABLE held_removals (
    package_id INTEGER PRIMARY KEY,
    held_at    TEXT NOT NULL,  -- when it would have been recorded first
    seq        ANY,            -- of the change that was looked at; NULL if there was none
    evidence   TEXT NOT NULL   -- JSON object: what shows that it is gone
) STRICT;

CREATE TABLE removal_breaker (
    one        INTEGER PRIMARY KEY CHECK (one = 1),
    decided_at TEXT NOT NULL   -- when the operator decided last; removals before do not count
) STRICT
