-- `status` counts by reason: along an index, without sorting all rows in memory.
CREATE INDEX work_waiting ON work_list (reason) WHERE not_before IS NOT NULL;
CREATE INDEX work_dead ON work_list (reason) WHERE not_before IS NULL;
CREATE INDEX skips_by_reason ON skips (reason)
