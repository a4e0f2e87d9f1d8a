-- Tenants, their credentials, and the log of every change to either.
--
-- As in PostgreSQL, the log is written by triggers, so that it holds what any writer did, the
-- sqlite3 shell included; which has foreign keys off unless told otherwise, and REPLACE.
-- Moments are text in UTC to the millisecond, the best that SQLite's clock does.

CREATE TABLE tenants (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    email TEXT,
    status TEXT NOT NULL DEFAULT 'active',
    -- Suspended tenants keep their numbers, so these are unique among them too.
    phone_number_id TEXT UNIQUE,
    display_phone_number TEXT,
    genesys_integration_id TEXT UNIQUE,
    genesys_org_id TEXT,
    genesys_region TEXT,
    settings TEXT NOT NULL DEFAULT '{}',
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    updated_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    -- Number of the last change in the log; set by triggers alone.
    revision INTEGER NOT NULL DEFAULT 0,
    -- As many bytes as characters: ASCII, and no NUL, at which GLOB would stop reading.
    CONSTRAINT tenants_id_check CHECK (
        length(CAST(id AS BLOB)) BETWEEN 1 AND 50 AND length(id) = length(CAST(id AS BLOB))
        AND id GLOB '[A-Za-z0-9]*' AND id NOT GLOB '*[^A-Za-z0-9_.-]*'
        AND id NOT IN ('by-phone', 'by-integration')
    ),
    CONSTRAINT tenants_name_check CHECK (length(name) BETWEEN 1 AND 200),
    CONSTRAINT tenants_status_check CHECK (status IN ('active', 'suspended')),
    CONSTRAINT tenants_phone_number_id_check CHECK (
        length(CAST(phone_number_id AS BLOB)) BETWEEN 1 AND 32
        AND length(phone_number_id) = length(CAST(phone_number_id AS BLOB))
        AND phone_number_id NOT GLOB '*[^0-9]*'
    ),
    CONSTRAINT tenants_genesys_integration_id_check CHECK (
        length(CAST(genesys_integration_id AS BLOB)) BETWEEN 1 AND 128
        AND length(genesys_integration_id) = length(CAST(genesys_integration_id AS BLOB))
        AND genesys_integration_id NOT GLOB '*[^!-~]*'
    ),
    CONSTRAINT tenants_settings_check CHECK (
        json_valid(settings) AND json_type(settings) = 'object'
    )
) STRICT;

CREATE INDEX tenants_created_at_idx ON tenants (created_at, id);

-- One current row a tenant and type.
CREATE TABLE tenant_credentials (
    tenant_id TEXT NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    credential_type TEXT NOT NULL,
    -- The same through all versions.
    id TEXT NOT NULL UNIQUE DEFAULT (lower(
        hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2)
        || '-' || substr('89AB', 1 + abs(random() % 4), 1) || substr(hex(randomblob(2)), 2)
        || '-' || hex(randomblob(6))
    )),
    credentials TEXT NOT NULL,
    version INTEGER NOT NULL,
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    updated_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    PRIMARY KEY (tenant_id, credential_type),
    CONSTRAINT tenant_credentials_type_check CHECK (credential_type IN ('whatsapp', 'genesys')),
    CONSTRAINT tenant_credentials_object_check CHECK (
        json_valid(credentials) AND json_type(credentials) = 'object'
    ),
    CONSTRAINT tenant_credentials_version_check CHECK (version > 0)
) STRICT;

-- Superseded and revoked versions. Nobody caches these, so nothing logs a change to them.
CREATE TABLE tenant_credential_history (
    tenant_id TEXT NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    credential_type TEXT NOT NULL,
    version INTEGER NOT NULL,
    id TEXT NOT NULL,
    credentials TEXT NOT NULL,
    valid_from TEXT NOT NULL,
    superseded_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    PRIMARY KEY (tenant_id, credential_type, version)
) STRICT;

-- AUTOINCREMENT: no number is given twice, whatever was deleted. keys is a JSON array.
CREATE TABLE tenant_changes (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_id TEXT,
    kind TEXT NOT NULL,
    version INTEGER,
    keys TEXT NOT NULL DEFAULT '[]',
    occurred_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
) STRICT;

CREATE INDEX tenant_changes_occurred_at_idx ON tenant_changes (occurred_at);

-- Rows below pruned_below may be gone; identity tells this log from any other.
CREATE TABLE tenant_changes_horizon (
    one_row INTEGER NOT NULL PRIMARY KEY CHECK (one_row = 1),
    pruned_below INTEGER NOT NULL DEFAULT 0,
    identity TEXT NOT NULL
) STRICT;

INSERT INTO tenant_changes_horizon (one_row, identity) VALUES (1, lower(hex(randomblob(16))));

CREATE TRIGGER tenants_log_insert AFTER INSERT ON tenants
BEGIN
    INSERT INTO tenant_changes (tenant_id, kind, keys)
    VALUES (NEW.id, 'tenant.created', (
        SELECT json_group_array(key) FROM (
            SELECT 'phone:' || NEW.phone_number_id AS key
            UNION SELECT 'integration:' || NEW.genesys_integration_id
            UNION SELECT 'tenant:' || NEW.id
        ) WHERE key IS NOT NULL
    ));
    UPDATE tenants SET revision = (SELECT max(seq) FROM tenant_changes) WHERE id = NEW.id;
END;

-- The first condition: data changed. The second: somebody set updated_at alone. Book-keeping sets
-- it too, but never without the revision, so that the trigger doesn't answer to its own work.
CREATE TRIGGER tenants_log_update AFTER UPDATE ON tenants
WHEN
    (OLD.id, OLD.name, OLD.email, OLD.status, OLD.phone_number_id, OLD.display_phone_number,
        OLD.genesys_integration_id, OLD.genesys_org_id, OLD.genesys_region, OLD.settings,
        OLD.created_at)
    IS NOT
    (NEW.id, NEW.name, NEW.email, NEW.status, NEW.phone_number_id, NEW.display_phone_number,
        NEW.genesys_integration_id, NEW.genesys_org_id, NEW.genesys_region, NEW.settings,
        NEW.created_at)
    OR (OLD.updated_at IS NOT NEW.updated_at AND OLD.revision = NEW.revision)
BEGIN
    INSERT INTO tenant_changes (tenant_id, kind, keys)
    VALUES (NEW.id, 'tenant.updated', (
        SELECT json_group_array(key) FROM (
            SELECT 'phone:' || OLD.phone_number_id AS key
            UNION SELECT 'phone:' || NEW.phone_number_id
            UNION SELECT 'integration:' || OLD.genesys_integration_id
            UNION SELECT 'integration:' || NEW.genesys_integration_id
            UNION SELECT 'tenant:' || OLD.id
            UNION SELECT 'tenant:' || NEW.id
            UNION
            SELECT 'tenant:' || touched.id || ':credentials:' || types.value
            FROM (SELECT OLD.id AS id UNION SELECT NEW.id) AS touched
            JOIN json_each('["whatsapp","genesys"]') AS types
            WHERE (OLD.id, OLD.status) IS NOT (NEW.id, NEW.status)
        ) WHERE key IS NOT NULL
    ));
    UPDATE tenants
    SET revision = (SELECT max(seq) FROM tenant_changes),
        updated_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now')
    WHERE id = NEW.id;
END;

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

-- REPLACE removes the rows in its way without firing their triggers. Where it doesn't come to
-- that, the statement fails and takes these rows of the log with it; or it is an upsert, and some
-- keys are evicted in vain.
CREATE TRIGGER tenants_log_replaced_by_insert BEFORE INSERT ON tenants
BEGIN
    INSERT INTO tenant_changes (tenant_id, kind, keys)
    SELECT gone.id, 'tenant.deleted', (
        SELECT json_group_array(key) FROM (
            SELECT 'phone:' || gone.phone_number_id AS key
            UNION SELECT 'integration:' || gone.genesys_integration_id
            UNION SELECT 'tenant:' || gone.id
            UNION SELECT 'tenant:' || gone.id || ':credentials:whatsapp'
            UNION SELECT 'tenant:' || gone.id || ':credentials:genesys'
        ) WHERE key IS NOT NULL
    )
    FROM tenants AS gone
    WHERE gone.id = NEW.id OR gone.phone_number_id = NEW.phone_number_id
        OR gone.genesys_integration_id = NEW.genesys_integration_id;
END;

CREATE TRIGGER tenants_log_replaced_by_update
BEFORE UPDATE OF id, phone_number_id, genesys_integration_id ON tenants
BEGIN
    INSERT INTO tenant_changes (tenant_id, kind, keys)
    SELECT gone.id, 'tenant.deleted', (
        SELECT json_group_array(key) FROM (
            SELECT 'phone:' || gone.phone_number_id AS key
            UNION SELECT 'integration:' || gone.genesys_integration_id
            UNION SELECT 'tenant:' || gone.id
            UNION SELECT 'tenant:' || gone.id || ':credentials:whatsapp'
            UNION SELECT 'tenant:' || gone.id || ':credentials:genesys'
        ) WHERE key IS NOT NULL
    )
    FROM tenants AS gone
    WHERE gone.id <> OLD.id
        AND (gone.id = NEW.id OR gone.phone_number_id = NEW.phone_number_id
            OR gone.genesys_integration_id = NEW.genesys_integration_id);
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

CREATE TRIGGER tenant_credentials_log_update AFTER UPDATE ON tenant_credentials
WHEN
    (OLD.tenant_id, OLD.credential_type, OLD.id, OLD.credentials, OLD.version, OLD.created_at)
    IS NOT
    (NEW.tenant_id, NEW.credential_type, NEW.id, NEW.credentials, NEW.version, NEW.created_at)
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
        (tenant_id, credential_type, version, id, credentials, valid_from)
    SELECT OLD.tenant_id, OLD.credential_type, OLD.version, OLD.id, OLD.credentials, OLD.updated_at
    FROM tenants WHERE id = OLD.tenant_id;
END;

-- Whoever deletes rows of the log, by whatever statement: the horizon moves with them.
CREATE TRIGGER tenant_changes_pruned AFTER DELETE ON tenant_changes
BEGIN
    UPDATE tenant_changes_horizon SET pruned_below = max(pruned_below, OLD.seq + 1);
END;
