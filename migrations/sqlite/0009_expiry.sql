-- Until when credentials are good, if whoever set them said so. Nothing ends by itself: it is told 30, 7
-- and 1 days ahead, and that is all.
--
-- None of these columns is in what is served, so no trigger asks for them: nothing is evicted when they
-- change.

-- Moments are compared as text, so they have one form.
ALTER TABLE tenant_credentials ADD COLUMN expires_at TEXT
    CONSTRAINT tenant_credentials_expires_at_check CHECK (
        expires_at IS NULL OR julianday(expires_at) IS NOT NULL AND expires_at GLOB
            '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]T[0-9][0-9]:[0-9][0-9]:[0-9][0-9].[0-9][0-9][0-9]Z'
    );
-- Of which version and which end it was told last, and how many days ahead. Another version, or another
-- end, and it begins anew, whoever has written that.
ALTER TABLE tenant_credentials ADD COLUMN announced_version INTEGER;
ALTER TABLE tenant_credentials ADD COLUMN announced_expires_at TEXT;
ALTER TABLE tenant_credentials ADD COLUMN announced_days INTEGER;

-- What it was to be of a version stays known.
ALTER TABLE tenant_credential_history ADD COLUMN expires_at TEXT
    CONSTRAINT tenant_credential_history_expires_at_check CHECK (
        expires_at IS NULL OR julianday(expires_at) IS NOT NULL AND expires_at GLOB
            '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]T[0-9][0-9]:[0-9][0-9]:[0-9][0-9].[0-9][0-9][0-9]Z'
    );

-- Those few that end: asked every minute.
CREATE INDEX tenant_credentials_expires_at_idx ON tenant_credentials (expires_at)
    WHERE expires_at IS NOT NULL;

-- As before, but for the end that a deletion notes in the history.
DROP TRIGGER tenant_credentials_log_delete;

CREATE TRIGGER tenant_credentials_log_delete AFTER DELETE ON tenant_credentials
BEGIN
    INSERT INTO tenant_changes (tenant_id, kind, version, keys)
    VALUES (OLD.tenant_id, 'credentials.revoked', OLD.version, (
        SELECT json_group_array(key) FROM (
            SELECT 'phone:' || phone_number_id AS key FROM tenants WHERE id = OLD.tenant_id
            UNION
            SELECT 'integration:' || genesys_integration_id FROM tenants WHERE id = OLD.tenant_id
            UNION SELECT 'tenant:' || OLD.tenant_id
            UNION SELECT 'tenant:' || OLD.tenant_id || ':credentials:' || OLD.credential_type
        ) WHERE key IS NOT NULL
    ));
    UPDATE tenants SET revision = (SELECT max(seq) FROM tenant_changes)
    WHERE id = OLD.tenant_id;
    -- Keeps the counter going: the next version is one more than the history's highest. One that is
    -- there already was destroyed: its bytes don't come back.
    INSERT OR IGNORE INTO tenant_credential_history
        (tenant_id, credential_type, version, id, sealed, key_id, wrapped_key, expires_at, valid_from)
    SELECT OLD.tenant_id, OLD.credential_type, OLD.version, OLD.id, OLD.sealed, OLD.key_id,
        OLD.wrapped_key, OLD.expires_at, OLD.updated_at
    FROM tenants WHERE id = OLD.tenant_id;
    UPDATE tenant_credential_history SET deleted_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now')
    WHERE tenant_id = OLD.tenant_id AND credential_type = OLD.credential_type
        AND id = OLD.id AND deleted_at IS NULL;
END;
