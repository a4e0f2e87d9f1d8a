-- Who did what: a row for each write, each reveal and each denial, in the transaction of the write,
-- or before the answer that reveals. Names and never a value.
--
-- As in Postgres, where rows have to be written without a place in the chain, and get it afterwards.

-- No reference to tenants: what was done to one that is deleted stays.
CREATE TABLE tenant_audit (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    occurred_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    actor_kind TEXT NOT NULL,
    actor_id TEXT,
    action TEXT NOT NULL,
    tenant_id TEXT,
    credential_type TEXT,
    version INTEGER,
    token_id TEXT,
    fields TEXT NOT NULL DEFAULT '[]',
    outcome TEXT NOT NULL,
    -- How often, where what is alike was counted together.
    times INTEGER NOT NULL DEFAULT 1,
    address TEXT,
    request_id TEXT,
    -- The place in the chain, without gaps, and the chain's hash up to here.
    number INTEGER,
    hash BLOB,
    CONSTRAINT tenant_audit_number_key UNIQUE (number),
    CONSTRAINT tenant_audit_chained_check CHECK ((number IS NULL) = (hash IS NULL)),
    CONSTRAINT tenant_audit_fields_check CHECK (
        json_valid(fields) AND json_type(fields) = 'array'
    ),
    CONSTRAINT tenant_audit_times_check CHECK (times > 0)
) STRICT;

CREATE INDEX tenant_audit_tenant_idx ON tenant_audit (tenant_id, number);
CREATE INDEX tenant_audit_unchained_idx ON tenant_audit (seq) WHERE number IS NULL;

-- Where the chain ends, and where it begins since rows were pruned, each signed. The key that hashes
-- and signs is sealed like credentials are.
CREATE TABLE tenant_audit_chain (
    one_row INTEGER NOT NULL DEFAULT 1 PRIMARY KEY CHECK (one_row = 1),
    anchor INTEGER NOT NULL,
    anchor_hash BLOB NOT NULL,
    anchor_mac BLOB NOT NULL,
    head INTEGER NOT NULL,
    head_hash BLOB NOT NULL,
    head_mac BLOB NOT NULL,
    sealed BLOB NOT NULL,
    key_id TEXT NOT NULL,
    wrapped_key BLOB NOT NULL,
    CONSTRAINT tenant_audit_chain_check CHECK (0 <= anchor AND anchor <= head)
) STRICT;

CREATE TRIGGER tenant_audit_update BEFORE UPDATE ON tenant_audit
    WHEN OLD.number IS NOT NULL OR NEW.number IS NULL
        OR OLD.seq IS NOT NEW.seq OR OLD.occurred_at IS NOT NEW.occurred_at
        OR OLD.actor_kind IS NOT NEW.actor_kind OR OLD.actor_id IS NOT NEW.actor_id
        OR OLD.action IS NOT NEW.action OR OLD.tenant_id IS NOT NEW.tenant_id
        OR OLD.credential_type IS NOT NEW.credential_type OR OLD.version IS NOT NEW.version
        OR OLD.token_id IS NOT NEW.token_id
        OR OLD.fields IS NOT NEW.fields OR OLD.outcome IS NOT NEW.outcome
        OR OLD.times IS NOT NEW.times OR OLD.address IS NOT NEW.address
        OR OLD.request_id IS NOT NEW.request_id
BEGIN
    SELECT raise(ABORT, 'the audit trail is only added to');
END;
-- What may be deleted lies before the anchor, which is signed.
CREATE TRIGGER tenant_audit_delete BEFORE DELETE ON tenant_audit
    WHEN NOT EXISTS (SELECT 1 FROM tenant_audit_chain WHERE anchor >= OLD.number)
BEGIN
    SELECT raise(ABORT, 'the audit trail is only added to');
END;
CREATE TRIGGER tenant_audit_chain_update BEFORE UPDATE ON tenant_audit_chain
    WHEN NEW.head < OLD.head OR NEW.anchor < OLD.anchor
BEGIN
    SELECT raise(ABORT, 'the audit trail is only added to');
END;
CREATE TRIGGER tenant_audit_chain_delete BEFORE DELETE ON tenant_audit_chain
BEGIN
    SELECT raise(ABORT, 'the audit trail is only added to');
END;
