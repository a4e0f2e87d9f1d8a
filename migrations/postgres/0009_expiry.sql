-- Until when credentials are good, if whoever set them said so. Nothing ends by itself: it is told 30, 7
-- and 1 days ahead, and that is all.
--
-- None of these columns is in what is served, so no trigger asks for them: nothing is evicted when they
-- change.

ALTER TABLE tenant_credentials
    ADD COLUMN expires_at timestamptz,
    -- Of which version and which end it was told last, and how many days ahead. Another version, or
    -- another end, and it begins anew, whoever has written that.
    ADD COLUMN announced_version bigint,
    ADD COLUMN announced_expires_at timestamptz,
    ADD COLUMN announced_days smallint,
    ADD CONSTRAINT tenant_credentials_expires_at_check CHECK (isfinite(expires_at));

-- What it was to be of a version stays known.
ALTER TABLE tenant_credential_history
    ADD COLUMN expires_at timestamptz,
    ADD CONSTRAINT tenant_credential_history_expires_at_check CHECK (isfinite(expires_at));

-- Those few that end: asked every minute by every replica.
CREATE INDEX tenant_credentials_expires_at_idx ON tenant_credentials (expires_at)
    WHERE expires_at IS NOT NULL;

-- As before, but for the end that a deletion notes in the history.
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
            (tenant_id, credential_type, version, id, sealed, key_id, wrapped_key, expires_at,
                valid_from, superseded_at)
        SELECT OLD.tenant_id, OLD.credential_type, OLD.version, OLD.id, OLD.sealed, OLD.key_id,
            OLD.wrapped_key, OLD.expires_at, OLD.updated_at, gone
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
