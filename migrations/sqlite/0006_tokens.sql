-- Access tokens: who may do what, for callers that are not anonymous.
--
-- A token itself is nowhere in here. `hash` is a keyed hash of it, and the key (the pepper) is sealed
-- like a credential: by a key of a file that the database never sees. So who reads these tables can
-- neither use a token nor test a guess.

-- Made with the first token. When the key of the keyring is replaced, `sealed` stays as it is.
CREATE TABLE tenant_token_pepper (
    one_row INTEGER NOT NULL PRIMARY KEY DEFAULT 1 CHECK (one_row = 1),
    sealed BLOB NOT NULL,
    key_id TEXT NOT NULL,
    wrapped_key BLOB NOT NULL,
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
) STRICT;

-- No CHECK on scopes and types: a newer version may add one, and its rows stay readable to this one.
CREATE TABLE tenant_tokens (
    id TEXT NOT NULL PRIMARY KEY,
    hash BLOB NOT NULL,
    name TEXT NOT NULL,
    description TEXT,
    -- A JSON array, like the next two.
    scopes TEXT NOT NULL,
    -- Null: every tenant, and every type of credentials.
    tenants TEXT,
    types TEXT,
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    created_by TEXT NOT NULL,
    expires_at TEXT,
    revoked_at TEXT,
    -- The token that was made to take its place.
    replaced_by TEXT,
    -- Book-keeping: nobody caches it, and no change is logged.
    last_used_at TEXT,
    CONSTRAINT tenant_tokens_id_check CHECK (
        length(CAST(id AS BLOB)) = 16 AND id NOT GLOB '*[^0-9a-z]*'
    ),
    CONSTRAINT tenant_tokens_hash_check CHECK (length(hash) = 32),
    CONSTRAINT tenant_tokens_name_check CHECK (length(name) BETWEEN 1 AND 200),
    CONSTRAINT tenant_tokens_lists_check CHECK (
        json_valid(scopes) AND json_type(scopes) = 'array'
        AND (tenants IS NULL OR json_valid(tenants) AND json_type(tenants) = 'array')
        AND (types IS NULL OR json_valid(types) AND json_type(types) = 'array')
    )
) STRICT;

CREATE INDEX tenant_tokens_created_at_idx ON tenant_tokens (created_at, id);

CREATE TRIGGER tenant_tokens_log_insert AFTER INSERT ON tenant_tokens
BEGIN
    INSERT INTO tenant_changes (kind, keys)
    VALUES ('tokens.created', json_array('token:' || NEW.id));
END;

-- REPLACE removes the row in its way without firing its trigger; the key is the same.
CREATE TRIGGER tenant_tokens_log_update AFTER UPDATE ON tenant_tokens
WHEN
    (OLD.id, OLD.hash, OLD.name, OLD.description, OLD.scopes, OLD.tenants, OLD.types,
        OLD.created_at, OLD.created_by, OLD.expires_at, OLD.revoked_at, OLD.replaced_by)
    IS NOT
    (NEW.id, NEW.hash, NEW.name, NEW.description, NEW.scopes, NEW.tenants, NEW.types,
        NEW.created_at, NEW.created_by, NEW.expires_at, NEW.revoked_at, NEW.replaced_by)
BEGIN
    INSERT INTO tenant_changes (kind, keys)
    VALUES (
        CASE WHEN OLD.revoked_at IS NULL AND NEW.revoked_at IS NOT NULL
            THEN 'tokens.revoked' ELSE 'tokens.updated' END,
        (SELECT json_group_array(key) FROM (
            SELECT 'token:' || OLD.id AS key UNION SELECT 'token:' || NEW.id
        ))
    );
END;

CREATE TRIGGER tenant_tokens_log_delete AFTER DELETE ON tenant_tokens
BEGIN
    INSERT INTO tenant_changes (kind, keys)
    VALUES ('tokens.revoked', json_array('token:' || OLD.id));
END;
