-- Trailing-window re-reads of the feed, and heads that went back.
CREATE TABLE cursors (
    number  INTEGER PRIMARY KEY,
    seen_at TEXT NOT NULL,     -- when the feed was read as far as this
    cursor  ANY NOT NULL,
    rows    INTEGER NOT NULL   -- how many rows lie between the one before and this
) STRICT;

CREATE TABLE regressions (
    at     TEXT PRIMARY KEY,
    before ANY NOT NULL,       -- the cursor, which the feed's head fell below
    after  ANY NOT NULL        -- the head that following went on from
) STRICT, WITHOUT ROWID;
