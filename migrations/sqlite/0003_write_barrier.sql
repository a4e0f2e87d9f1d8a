-- How long the replica serves on one proof. A write waits for the longest of them.
ALTER TABLE tenant_replicas ADD COLUMN bound_ms INTEGER NOT NULL DEFAULT 0;
