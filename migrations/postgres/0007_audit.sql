-- Who did what: a row for each write, each reveal and each denial, in the transaction of the write,
-- or before the answer that reveals. Names and never a value.
--
-- Rows are written without a place in the chain, for to give one would be a lock that all writers
-- share. One replica at a time gives those that are committed their numbers, and a hash over each
-- and the one before it.

-- No reference to tenants: what was done to one that is deleted stays.
CREATE TABLE tenant_audit (
    seq bigserial NOT NULL,
    occurred_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor_kind text NOT NULL,
    actor_id text,
    action text NOT NULL,
    tenant_id text COLLATE "C",
    credential_type text,
    version bigint,
    token_id text,
    fields text[] NOT NULL DEFAULT '{}',
    outcome text NOT NULL,
    -- How often, where what is alike was counted together.
    times bigint NOT NULL DEFAULT 1,
    address text,
    request_id text,
    -- The place in the chain, without gaps, and the chain's hash up to here.
    number bigint,
    hash bytea,
    CONSTRAINT tenant_audit_pkey PRIMARY KEY (seq),
    CONSTRAINT tenant_audit_number_key UNIQUE (number),
    CONSTRAINT tenant_audit_chained_check CHECK ((number IS NULL) = (hash IS NULL)),
    CONSTRAINT tenant_audit_times_check CHECK (times > 0)
);

CREATE INDEX tenant_audit_tenant_idx ON tenant_audit (tenant_id, number);
CREATE INDEX tenant_audit_unchained_idx ON tenant_audit (seq) WHERE number IS NULL;

-- Where the chain ends, and where it begins since rows were pruned, each signed. The key that hashes
-- and signs is sealed like credentials are.
CREATE TABLE tenant_audit_chain (
    one_row boolean NOT NULL DEFAULT true PRIMARY KEY CHECK (one_row),
    anchor bigint NOT NULL,
    anchor_hash bytea NOT NULL,
    anchor_mac bytea NOT NULL,
    head bigint NOT NULL,
    head_hash bytea NOT NULL,
    head_mac bytea NOT NULL,
    sealed bytea NOT NULL,
    key_id text COLLATE "C" NOT NULL,
    wrapped_key bytea NOT NULL,
    CONSTRAINT tenant_audit_chain_check CHECK (0 <= anchor AND anchor <= head)
);

CREATE FUNCTION tenant_audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit trail is only added to' USING ERRCODE = 'integrity_constraint_violation';
END
$$;

-- What may be deleted lies before the anchor, which is signed.
CREATE FUNCTION tenant_audit_prune() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM tenant_audit_chain WHERE anchor >= OLD.number) THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'the audit trail is only added to' USING ERRCODE = 'integrity_constraint_violation';
END
$$;

CREATE TRIGGER tenant_audit_update BEFORE UPDATE ON tenant_audit FOR EACH ROW
    WHEN (
        OLD.number IS NOT NULL OR NEW.number IS NULL
        OR (OLD.seq, OLD.occurred_at, OLD.actor_kind, OLD.actor_id, OLD.action, OLD.tenant_id,
            OLD.credential_type, OLD.version, OLD.token_id, OLD.fields, OLD.outcome, OLD.times, OLD.address,
            OLD.request_id)
        IS DISTINCT FROM
        (NEW.seq, NEW.occurred_at, NEW.actor_kind, NEW.actor_id, NEW.action, NEW.tenant_id,
            NEW.credential_type, NEW.version, NEW.token_id, NEW.fields, NEW.outcome, NEW.times, NEW.address,
            NEW.request_id)
    )
    EXECUTE FUNCTION tenant_audit_refuse();
CREATE TRIGGER tenant_audit_delete BEFORE DELETE ON tenant_audit FOR EACH ROW
    EXECUTE FUNCTION tenant_audit_prune();
CREATE TRIGGER tenant_audit_truncate BEFORE TRUNCATE ON tenant_audit
    EXECUTE FUNCTION tenant_audit_refuse();
CREATE TRIGGER tenant_audit_chain_update BEFORE UPDATE ON tenant_audit_chain FOR EACH ROW
    WHEN (NEW.head < OLD.head OR NEW.anchor < OLD.anchor)
    EXECUTE FUNCTION tenant_audit_refuse();
CREATE TRIGGER tenant_audit_chain_delete BEFORE DELETE ON tenant_audit_chain FOR EACH ROW
    EXECUTE FUNCTION tenant_audit_refuse();
CREATE TRIGGER tenant_audit_chain_truncate BEFORE TRUNCATE ON tenant_audit_chain
    EXECUTE FUNCTION tenant_audit_refuse();

ALTER TABLE tenant_audit
    ENABLE ALWAYS TRIGGER tenant_audit_update,
    ENABLE ALWAYS TRIGGER tenant_audit_delete,
    ENABLE ALWAYS TRIGGER tenant_audit_truncate;
ALTER TABLE tenant_audit_chain
    ENABLE ALWAYS TRIGGER tenant_audit_chain_update,
    ENABLE ALWAYS TRIGGER tenant_audit_chain_delete,
    ENABLE ALWAYS TRIGGER tenant_audit_chain_truncate;

DO $$
BEGIN
    EXECUTE format(
        'ALTER FUNCTION %I.tenant_audit_refuse() SET search_path = %I, pg_temp',
        current_schema(), current_schema()
    );
    EXECUTE format(
        'ALTER FUNCTION %I.tenant_audit_prune() SET search_path = %I, pg_temp',
        current_schema(), current_schema()
    );
END
$$;
