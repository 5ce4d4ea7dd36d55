-- The order of our own feed: a package moves in it also when a file of it comes or goes.
ALTER TABLE packages ADD COLUMN touched INTEGER;

UPDATE packages SET touched = max(coalesce(ordinal, 0), coalesce(
    (SELECT max(v.ordinal) FROM versions AS v WHERE v.package_id = packages.id), 0));
UPDATE packages SET touched = NULL WHERE touched = 0;

DROP INDEX packages_by_ordinal;
CREATE INDEX packages_by_touched ON packages (touched) WHERE touched IS NOT NULL;
