-- Credentials are sealed before they come here. What each row had in plaintext is sealed by the
-- program that applies this migration, right after it, and then tenant_sealing gets its row.
--
-- `sealed` is the value under a key of its own, and `wrapped_key` that key under the key `key_id` of
-- a file that the database never sees. When that one is replaced, `sealed` stays as it is.

ALTER TABLE tenant_credentials
    ALTER COLUMN credentials DROP NOT NULL,
    ADD COLUMN sealed bytea,
    ADD COLUMN key_id text COLLATE "C",
    ADD COLUMN wrapped_key bytea,
    -- Nobody writes plaintext from now on, psql included. Valid once the rows that are there have
    -- been sealed.
    ADD CONSTRAINT tenant_credentials_sealed_check CHECK (
        credentials IS NULL
        AND sealed IS NOT NULL AND key_id IS NOT NULL AND wrapped_key IS NOT NULL
    ) NOT VALID;
ALTER TABLE tenant_credential_history
    ALTER COLUMN credentials DROP NOT NULL,
    ADD COLUMN sealed bytea,
    ADD COLUMN key_id text COLLATE "C",
    ADD COLUMN wrapped_key bytea,
    ADD CONSTRAINT tenant_credential_history_sealed_check CHECK (credentials IS NULL) NOT VALID;

-- Once it has a row, no plaintext is ever sealed any more: who could write it here would have it
-- taken for ours.
CREATE TABLE tenant_sealing (
    one_row boolean NOT NULL DEFAULT true PRIMARY KEY CHECK (one_row),
    done_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Which key a data key is wrapped by changes nothing that anybody reads.
DROP TRIGGER tenant_credentials_touch ON tenant_credentials;
DROP TRIGGER tenant_credentials_log_update ON tenant_credentials;

CREATE TRIGGER tenant_credentials_touch BEFORE UPDATE ON tenant_credentials FOR EACH ROW
    WHEN (
        (OLD.tenant_id, OLD.credential_type, OLD.id, OLD.credentials::text, OLD.sealed, OLD.version,
            OLD.created_at, OLD.updated_at)
        IS DISTINCT FROM
        (NEW.tenant_id, NEW.credential_type, NEW.id, NEW.credentials::text, NEW.sealed, NEW.version,
            NEW.created_at, NEW.updated_at)
    )
    EXECUTE FUNCTION tenant_touch();

CREATE TRIGGER tenant_credentials_log_update AFTER UPDATE ON tenant_credentials FOR EACH ROW
    WHEN (
        (OLD.tenant_id, OLD.credential_type, OLD.id, OLD.credentials::text, OLD.sealed, OLD.version,
            OLD.created_at, OLD.updated_at)
        IS DISTINCT FROM
        (NEW.tenant_id, NEW.credential_type, NEW.id, NEW.credentials::text, NEW.sealed, NEW.version,
            NEW.created_at, NEW.updated_at)
    )
    EXECUTE FUNCTION tenant_log_credential();

ALTER TABLE tenant_credentials
    ENABLE ALWAYS TRIGGER tenant_credentials_touch,
    ENABLE ALWAYS TRIGGER tenant_credentials_log_update;

-- As before, but for the history, which gets what is sealed and never plaintext.
CREATE OR REPLACE FUNCTION tenant_log_credential() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    logged bigint;
    owner record;
    touched text[] := ARRAY[
        'tenant:' || OLD.tenant_id, 'tenant:' || NEW.tenant_id,
        'tenant:' || OLD.tenant_id || ':credentials:' || OLD.credential_type,
        'tenant:' || NEW.tenant_id || ':credentials:' || NEW.credential_type
    ];
BEGIN
    -- Locks the tenant before the number is drawn, and reads its latest version. There is none
    -- when the tenant's deletion brought us here. Two, in the order of their ids, when the row
    -- moved from one tenant to another.
    FOR owner IN
        SELECT id, phone_number_id, genesys_integration_id FROM tenants
        WHERE id IN (OLD.tenant_id, NEW.tenant_id) ORDER BY id FOR NO KEY UPDATE
    LOOP
        touched := touched || ARRAY[
            'phone:' || owner.phone_number_id, 'integration:' || owner.genesys_integration_id
        ];
    END LOOP;

    INSERT INTO tenant_changes (tenant_id, kind, version, keys)
    VALUES (
        coalesce(NEW.tenant_id, OLD.tenant_id),
        CASE TG_OP WHEN 'DELETE' THEN 'credentials.revoked' ELSE 'credentials.updated' END,
        coalesce(NEW.version, OLD.version),
        ARRAY(SELECT DISTINCT key FROM unnest(touched) AS key WHERE key IS NOT NULL ORDER BY key)
    )
    RETURNING seq INTO logged;

    UPDATE tenants SET revision = logged WHERE id IN (OLD.tenant_id, NEW.tenant_id);

    IF TG_OP = 'DELETE' THEN
        -- Keeps the counter going: the next version is one more than the history's highest.
        INSERT INTO tenant_credential_history
            (tenant_id, credential_type, version, id, sealed, key_id, wrapped_key, valid_from)
        SELECT OLD.tenant_id, OLD.credential_type, OLD.version, OLD.id, OLD.sealed, OLD.key_id,
            OLD.wrapped_key, OLD.updated_at
        FROM tenants WHERE id = OLD.tenant_id
        ON CONFLICT DO NOTHING;
    END IF;
    RETURN NULL;
END
$$;

-- A writer may have another search_path than the one these tables were made under.
DO $$
BEGIN
    EXECUTE format(
        'ALTER FUNCTION %I.tenant_log_credential() SET search_path = %I, pg_temp',
        current_schema(), current_schema()
    );
END
$$;
