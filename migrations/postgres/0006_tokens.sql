-- Access tokens: who may do what, for callers that are not anonymous.
--
-- A token itself is nowhere in here. `hash` is a keyed hash of it, and the key (the pepper) is sealed
-- like a credential: by a key of a file that the database never sees. So who reads these tables can
-- neither use a token nor test a guess.

-- Made with the first token. When the key of the keyring is replaced, `sealed` stays as it is.
CREATE TABLE tenant_token_pepper (
    one_row boolean NOT NULL DEFAULT true PRIMARY KEY CHECK (one_row),
    sealed bytea NOT NULL,
    key_id text COLLATE "C" NOT NULL,
    wrapped_key bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- No CHECK on scopes and types: a newer version may add one while this one still runs, to which it
-- grants nothing.
CREATE TABLE tenant_tokens (
    id text COLLATE "C" NOT NULL,
    hash bytea NOT NULL,
    name text NOT NULL,
    description text,
    scopes text[] NOT NULL,
    -- Null: every tenant, and every type of credentials.
    tenants text[],
    types text[],
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    created_by text NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz,
    -- The token that was made to take its place.
    replaced_by text COLLATE "C",
    -- Book-keeping: nobody caches it, and no change is logged.
    last_used_at timestamptz,
    CONSTRAINT tenant_tokens_pkey PRIMARY KEY (id),
    CONSTRAINT tenant_tokens_id_check CHECK (id ~ '^[0-9a-z]{16}$'),
    CONSTRAINT tenant_tokens_hash_check CHECK (octet_length(hash) = 32),
    CONSTRAINT tenant_tokens_name_check CHECK (char_length(name) BETWEEN 1 AND 200)
) WITH (fillfactor = 85);

CREATE INDEX tenant_tokens_created_at_idx ON tenant_tokens (created_at, id);

CREATE FUNCTION tenant_log_token() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO tenant_changes (kind, keys)
    VALUES (
        CASE
            WHEN TG_OP = 'INSERT' THEN 'tokens.created'
            WHEN TG_OP = 'DELETE' THEN 'tokens.revoked'
            WHEN OLD.revoked_at IS NULL AND NEW.revoked_at IS NOT NULL THEN 'tokens.revoked'
            ELSE 'tokens.updated'
        END,
        ARRAY(
            SELECT DISTINCT 'token:' || id FROM unnest(ARRAY[OLD.id, NEW.id]) AS id
            WHERE id IS NOT NULL ORDER BY 1
        )
    );
    RETURN NULL;
END
$$;

-- A writer may have another search_path than the one these tables were made under.
DO $$
BEGIN
    EXECUTE format(
        'ALTER FUNCTION %I.tenant_log_token() SET search_path = %I, pg_temp',
        current_schema(), current_schema()
    );
END
$$;

CREATE TRIGGER tenant_tokens_log AFTER INSERT OR DELETE ON tenant_tokens FOR EACH ROW
    EXECUTE FUNCTION tenant_log_token();

CREATE TRIGGER tenant_tokens_log_update AFTER UPDATE ON tenant_tokens FOR EACH ROW
    WHEN (
        (OLD.id, OLD.hash, OLD.name, OLD.description, OLD.scopes, OLD.tenants, OLD.types,
            OLD.created_at, OLD.created_by, OLD.expires_at, OLD.revoked_at, OLD.replaced_by)
        IS DISTINCT FROM
        (NEW.id, NEW.hash, NEW.name, NEW.description, NEW.scopes, NEW.tenants, NEW.types,
            NEW.created_at, NEW.created_by, NEW.expires_at, NEW.revoked_at, NEW.replaced_by)
    )
    EXECUTE FUNCTION tenant_log_token();

CREATE TRIGGER tenant_tokens_truncate AFTER TRUNCATE ON tenant_tokens FOR EACH STATEMENT
    EXECUTE FUNCTION tenant_log_reset();

ALTER TABLE tenant_tokens
    ENABLE ALWAYS TRIGGER tenant_tokens_log,
    ENABLE ALWAYS TRIGGER tenant_tokens_log_update,
    ENABLE ALWAYS TRIGGER tenant_tokens_truncate;
