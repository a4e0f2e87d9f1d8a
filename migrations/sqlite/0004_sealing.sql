-- Credentials are sealed before they come here. What each row had in plaintext is sealed by the
-- program that applies this migration, right after it, and then tenant_sealing gets its row.
--
-- `sealed` is the value under a key of its own, and `wrapped_key` that key under the key `key_id` of
-- a file that the database never sees. When that one is replaced, `sealed` stays as it is.
--
-- SQLite can't take NOT NULL from a column, so both tables are made anew. Triggers of another table
-- that name one of them have to be away meanwhile.

DROP TRIGGER tenants_log_delete;

CREATE TABLE tenant_credentials_new (
    tenant_id TEXT NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    credential_type TEXT NOT NULL,
    -- The same through all versions.
    id TEXT NOT NULL UNIQUE,
    -- Plaintext that has not been sealed yet.
    credentials TEXT,
    sealed BLOB,
    key_id TEXT,
    wrapped_key BLOB,
    version INTEGER NOT NULL,
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    updated_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    PRIMARY KEY (tenant_id, credential_type),
    CONSTRAINT tenant_credentials_type_check CHECK (credential_type IN ('whatsapp', 'genesys')),
    CONSTRAINT tenant_credentials_object_check CHECK (
        credentials IS NULL OR json_valid(credentials) AND json_type(credentials) = 'object'
    ),
    CONSTRAINT tenant_credentials_sealed_check CHECK (
        (sealed IS NULL) = (credentials IS NOT NULL)
        AND (key_id IS NULL) = (sealed IS NULL) AND (wrapped_key IS NULL) = (sealed IS NULL)
    ),
    CONSTRAINT tenant_credentials_version_check CHECK (version > 0)
) STRICT;
INSERT INTO tenant_credentials_new
    (tenant_id, credential_type, id, credentials, version, created_at, updated_at)
SELECT tenant_id, credential_type, id, credentials, version, created_at, updated_at
FROM tenant_credentials;
DROP TABLE tenant_credentials;
ALTER TABLE tenant_credentials_new RENAME TO tenant_credentials;

CREATE TABLE tenant_credential_history_new (
    tenant_id TEXT NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    credential_type TEXT NOT NULL,
    version INTEGER NOT NULL,
    id TEXT NOT NULL,
    credentials TEXT,
    sealed BLOB,
    key_id TEXT,
    wrapped_key BLOB,
    valid_from TEXT NOT NULL,
    superseded_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    PRIMARY KEY (tenant_id, credential_type, version)
) STRICT;
INSERT INTO tenant_credential_history_new
    (tenant_id, credential_type, version, id, credentials, valid_from, superseded_at)
SELECT tenant_id, credential_type, version, id, credentials, valid_from, superseded_at
FROM tenant_credential_history;
DROP TABLE tenant_credential_history;
ALTER TABLE tenant_credential_history_new RENAME TO tenant_credential_history;

-- Once it has a row, no plaintext is ever sealed any more: who could write it here would have it
-- taken for ours.
CREATE TABLE tenant_sealing (
    one_row INTEGER NOT NULL PRIMARY KEY DEFAULT 1 CHECK (one_row = 1),
    done_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
) STRICT;

CREATE TRIGGER tenants_log_delete AFTER DELETE ON tenants
BEGIN
    INSERT INTO tenant_changes (tenant_id, kind, keys)
    VALUES (OLD.id, 'tenant.deleted', (
        SELECT json_group_array(key) FROM (
            SELECT 'phone:' || OLD.phone_number_id AS key
            UNION SELECT 'integration:' || OLD.genesys_integration_id
            UNION SELECT 'tenant:' || OLD.id
            UNION SELECT 'tenant:' || OLD.id || ':credentials:whatsapp'
            UNION SELECT 'tenant:' || OLD.id || ':credentials:genesys'
        ) WHERE key IS NOT NULL
    ));
    -- The foreign keys have done this, unless they are off: then a tenant created anew under this
    -- id would come into the old one's secrets.
    DELETE FROM tenant_credentials WHERE tenant_id = OLD.id;
    DELETE FROM tenant_credential_history WHERE tenant_id = OLD.id;
END;

CREATE TRIGGER tenant_credentials_log_insert AFTER INSERT ON tenant_credentials
BEGIN
    INSERT INTO tenant_changes (tenant_id, kind, version, keys)
    VALUES (NEW.tenant_id, 'credentials.updated', NEW.version, (
        SELECT json_group_array(key) FROM (
            SELECT 'phone:' || phone_number_id AS key FROM tenants WHERE id = NEW.tenant_id
            UNION
            SELECT 'integration:' || genesys_integration_id FROM tenants WHERE id = NEW.tenant_id
            UNION SELECT 'tenant:' || NEW.tenant_id
            UNION SELECT 'tenant:' || NEW.tenant_id || ':credentials:' || NEW.credential_type
        ) WHERE key IS NOT NULL
    ));
    UPDATE tenants SET revision = (SELECT max(seq) FROM tenant_changes)
    WHERE id = NEW.tenant_id;
END;

-- Which key a data key is wrapped by changes nothing that anybody reads.
CREATE TRIGGER tenant_credentials_log_update AFTER UPDATE ON tenant_credentials
WHEN
    (OLD.tenant_id, OLD.credential_type, OLD.id, OLD.credentials, OLD.sealed, OLD.version,
        OLD.created_at)
    IS NOT
    (NEW.tenant_id, NEW.credential_type, NEW.id, NEW.credentials, NEW.sealed, NEW.version,
        NEW.created_at)
BEGIN
    INSERT INTO tenant_changes (tenant_id, kind, version, keys)
    VALUES (NEW.tenant_id, 'credentials.updated', NEW.version, (
        SELECT json_group_array(key) FROM (
            SELECT 'phone:' || phone_number_id AS key FROM tenants
            WHERE id IN (OLD.tenant_id, NEW.tenant_id)
            UNION
            SELECT 'integration:' || genesys_integration_id FROM tenants
            WHERE id IN (OLD.tenant_id, NEW.tenant_id)
            UNION SELECT 'tenant:' || OLD.tenant_id
            UNION SELECT 'tenant:' || NEW.tenant_id
            UNION SELECT 'tenant:' || OLD.tenant_id || ':credentials:' || OLD.credential_type
            UNION SELECT 'tenant:' || NEW.tenant_id || ':credentials:' || NEW.credential_type
        ) WHERE key IS NOT NULL
    ));
    UPDATE tenants SET revision = (SELECT max(seq) FROM tenant_changes)
    WHERE id IN (OLD.tenant_id, NEW.tenant_id);
    UPDATE tenant_credentials SET updated_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now')
    WHERE tenant_id = NEW.tenant_id AND credential_type = NEW.credential_type;
END;

-- The history gets what is sealed and never plaintext.
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
    -- Keeps the counter going: the next version is one more than the history's highest.
    INSERT OR IGNORE INTO tenant_credential_history
        (tenant_id, credential_type, version, id, sealed, key_id, wrapped_key, valid_from)
    SELECT OLD.tenant_id, OLD.credential_type, OLD.version, OLD.id, OLD.sealed, OLD.key_id,
        OLD.wrapped_key, OLD.updated_at
    FROM tenants WHERE id = OLD.tenant_id;
END;
