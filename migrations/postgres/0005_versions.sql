-- Credentials can be deleted, brought back, and destroyed for good.

ALTER TABLE tenant_credential_history
    -- When the credential was deleted that this is a version of; null again once it was brought back.
    ADD COLUMN deleted_at timestamptz,
    -- When the bytes of this version were removed. What it was, and when, stays.
    ADD COLUMN destroyed_at timestamptz,
    ADD CONSTRAINT tenant_credential_history_destroyed_check CHECK (
        destroyed_at IS NULL
        OR (credentials IS NULL AND sealed IS NULL AND key_id IS NULL AND wrapped_key IS NULL)
    );

-- What is still to be destroyed.
CREATE INDEX tenant_credential_history_deleted_at_idx ON tenant_credential_history (deleted_at)
    WHERE deleted_at IS NOT NULL AND sealed IS NOT NULL;

-- What was deleted by hand before this: its retention begins now. (What is still in plaintext can't be
-- updated, and stays until it is destroyed or its tenant is deleted.)
UPDATE tenant_credential_history AS h SET deleted_at = clock_timestamp()
WHERE h.credentials IS NULL AND NOT EXISTS (
    SELECT 1 FROM tenant_credentials AS c
    WHERE c.tenant_id = h.tenant_id AND c.credential_type = h.credential_type AND c.id = h.id
);

-- As before, but for what a deletion notes in the history.
CREATE OR REPLACE FUNCTION tenant_log_credential() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    logged bigint;
    owner record;
    gone timestamptz;
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
        gone := clock_timestamp();
        -- Keeps the counter going: the next version is one more than the history's highest. One that
        -- is there already was destroyed: its bytes don't come back.
        INSERT INTO tenant_credential_history
            (tenant_id, credential_type, version, id, sealed, key_id, wrapped_key, valid_from,
                superseded_at)
        SELECT OLD.tenant_id, OLD.credential_type, OLD.version, OLD.id, OLD.sealed, OLD.key_id,
            OLD.wrapped_key, OLD.updated_at, gone
        FROM tenants WHERE id = OLD.tenant_id
        ON CONFLICT DO NOTHING;
        UPDATE tenant_credential_history SET deleted_at = gone
        WHERE tenant_id = OLD.tenant_id AND credential_type = OLD.credential_type
            AND id = OLD.id AND deleted_at IS NULL;
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
