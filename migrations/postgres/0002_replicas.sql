-- The processes that serve from cache: how far each has read the log, and that it is alive.
--
-- Every one of them writes its row several times a second: the fill factor keeps the versions of a
-- row on one page, out of the index. No wall-clock time: whoever watches a row counts by a clock
-- of its own.
CREATE TABLE tenant_replicas (
    instance text COLLATE "C" NOT NULL,
    renewals bigint NOT NULL DEFAULT 0,
    -- It has applied every change that this sees.
    applied pg_snapshot NOT NULL,
    CONSTRAINT tenant_replicas_pkey PRIMARY KEY (instance)
) WITH (fillfactor = 20);
