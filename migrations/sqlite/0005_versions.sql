-- Credentials can be deleted, brought back, and destroyed for good.

-- When the credential was deleted that this is a version of; null again once it was brought back.
ALTER TABLE tenant_credential_history ADD COLUMN deleted_at TEXT;
-- When the bytes of this version were removed. What it was, and when, stays.
ALTER TABLE tenant_credential_history ADD COLUMN destroyed_at TEXT
    CONSTRAINT tenant_credential_history_destroyed_check CHECK (
        destroyed_at IS NULL
        OR (credentials IS NULL AND sealed IS NULL AND key_id IS NULL AND wrapped_key IS NULL)
    );

-- What is still to be destroyed.
CREATE INDEX tenant_credential_history_deleted_at_idx ON tenant_credential_history (deleted_at)
    WHERE deleted_at IS NOT NULL AND sealed IS NOT NULL;

-- What was deleted by hand before this: its retention begins now.
UPDATE tenant_credential_history AS h SET deleted_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now')
WHERE NOT EXISTS (
    SELECT 1 FROM tenant_credentials AS c
    WHERE c.tenant_id = h.tenant_id AND c.credential_type = h.credential_type AND c.id = h.id
);

-- As before, but for what a deletion notes in the history.
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
        (tenant_id, credential_type, version, id, sealed, key_id, wrapped_key, valid_from)
    SELECT OLD.tenant_id, OLD.credential_type, OLD.version, OLD.id, OLD.sealed, OLD.key_id,
        OLD.wrapped_key, OLD.updated_at
    FROM tenants WHERE id = OLD.tenant_id;
    UPDATE tenant_credential_history SET deleted_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now')
    WHERE tenant_id = OLD.tenant_id AND credential_type = OLD.credential_type
        AND id = OLD.id AND deleted_at IS NULL;
END;
