-- In which database a bound has passed since its replicas first saw this incarnation: whoever
-- served from another one, or before the crash, has stopped by then, and a write need not wait for
-- it. (The database stands beside it, for a copy made from a template brings the row along.)
ALTER TABLE tenant_changes_incarnation ADD COLUMN settled_in text;

-- How long the replica serves on one proof. A write waits for the longest of them, so replicas may
-- differ, as they do while the setting is rolled out. (Before this, no write waited for a row.)
ALTER TABLE tenant_replicas ADD COLUMN bound_ms bigint NOT NULL DEFAULT 0;
