-- `npmmirror backfill` and `npmmirror reconcile`: who brought a row, and finding such rows cheaply.
ALTER TABLE work_list ADD COLUMN origin TEXT NOT NULL DEFAULT '';

DROP INDEX work_due;
CREATE INDEX work_due ON work_list (not_before, package_id, origin) WHERE not_before IS NOT NULL;
CREATE INDEX work_brought ON work_list (origin, attempts, not_before) WHERE origin <> '';
