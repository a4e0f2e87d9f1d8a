-- The processes that serve from cache: how far each has read the log, and that it is alive.
-- (One serves; a command that writes beside it waits until it has seen the change.)
--
-- No wall-clock time: whoever watches a row counts by a clock of its own.
CREATE TABLE tenant_replicas (
    instance TEXT NOT NULL PRIMARY KEY,
    renewals INTEGER NOT NULL DEFAULT 0,
    -- It has applied every change that this sees: `xmin:xmax:`, the row's number as transaction.
    applied TEXT NOT NULL
) WITHOUT ROWID;
