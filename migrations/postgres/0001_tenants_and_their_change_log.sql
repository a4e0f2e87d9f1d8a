-- Tenants, their credentials, and the log of every change to either.
-- PostgreSQL 13 or newer.
--
-- The log is written by triggers, so that it holds what any writer did, psql included. It carries
-- cache keys and never a value.

-- Collation "C": ids are ASCII, and both stores must order them alike.
-- The fill factor leaves room for the second version of a row that book-keeping writes.
CREATE TABLE tenants (
    id text COLLATE "C" NOT NULL,
    name text NOT NULL,
    email text,
    status text NOT NULL DEFAULT 'active',
    phone_number_id text COLLATE "C",
    display_phone_number text,
    genesys_integration_id text COLLATE "C",
    genesys_org_id text,
    genesys_region text,
    settings jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Number of the last change in the log; set by triggers alone.
    revision bigint NOT NULL DEFAULT 0,
    CONSTRAINT tenants_pkey PRIMARY KEY (id),
    -- Suspended tenants keep their numbers, so these hold for them too.
    CONSTRAINT tenants_phone_number_id_key UNIQUE (phone_number_id),
    CONSTRAINT tenants_genesys_integration_id_key UNIQUE (genesys_integration_id),
    CONSTRAINT tenants_id_check CHECK (
        id ~ '^[A-Za-z0-9][A-Za-z0-9_.-]{0,49}$' AND id NOT IN ('by-phone', 'by-integration')
    ),
    CONSTRAINT tenants_name_check CHECK (char_length(name) BETWEEN 1 AND 200),
    CONSTRAINT tenants_status_check CHECK (status IN ('active', 'suspended')),
    CONSTRAINT tenants_phone_number_id_check CHECK (phone_number_id ~ '^[0-9]{1,32}$'),
    CONSTRAINT tenants_genesys_integration_id_check CHECK (
        genesys_integration_id ~ '^[!-~]{1,128}$'
    ),
    CONSTRAINT tenants_settings_check CHECK (jsonb_typeof(settings) = 'object')
) WITH (fillfactor = 85);

CREATE INDEX tenants_created_at_idx ON tenants (created_at, id);

-- One current row a tenant and type.
CREATE TABLE tenant_credentials (
    tenant_id text COLLATE "C" NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    credential_type text NOT NULL,
    -- The same through all versions.
    id text NOT NULL DEFAULT gen_random_uuid()::text,
    credentials jsonb NOT NULL,
    version bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT tenant_credentials_pkey PRIMARY KEY (tenant_id, credential_type),
    CONSTRAINT tenant_credentials_id_key UNIQUE (id),
    CONSTRAINT tenant_credentials_type_check CHECK (credential_type IN ('whatsapp', 'genesys')),
    CONSTRAINT tenant_credentials_object_check CHECK (jsonb_typeof(credentials) = 'object'),
    CONSTRAINT tenant_credentials_version_check CHECK (version > 0)
);

-- Superseded and revoked versions. Nobody caches these, so nothing logs a change to them.
CREATE TABLE tenant_credential_history (
    tenant_id text COLLATE "C" NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    credential_type text NOT NULL,
    version bigint NOT NULL,
    id text NOT NULL,
    credentials jsonb NOT NULL,
    valid_from timestamptz NOT NULL,
    superseded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT tenant_credential_history_pkey PRIMARY KEY (tenant_id, credential_type, version)
);

-- No CHECK on kind: a newer version may add one while this one still runs.
CREATE TABLE tenant_changes (
    seq bigserial NOT NULL,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    tenant_id text,
    kind text NOT NULL,
    version bigint,
    keys text[] NOT NULL DEFAULT '{}',
    occurred_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT tenant_changes_pkey PRIMARY KEY (seq)
);

CREATE INDEX tenant_changes_xid_idx ON tenant_changes (xid, seq);
CREATE INDEX tenant_changes_occurred_at_idx ON tenant_changes (occurred_at);

-- One row that a crash of the server empties, as it does every unlogged table. The server may hand out
-- transaction ids again whose transactions it has lost, so what a replica read before says nothing
-- any more; a replica that finds another row here, or none, starts over.
CREATE UNLOGGED TABLE tenant_changes_incarnation (
    one_row boolean PRIMARY KEY DEFAULT true CHECK (one_row),
    incarnation text NOT NULL
);

-- Rows of transactions below pruned_below may be gone. Transaction ids mean something in one
-- database only, so the row says in which: a dump that is restored elsewhere brings numbers along
-- that would otherwise lie ahead of every cursor there.
CREATE TABLE tenant_changes_horizon (
    one_row boolean NOT NULL DEFAULT true PRIMARY KEY CHECK (one_row),
    pruned_below bigint NOT NULL DEFAULT 0,
    database text
);

INSERT INTO tenant_changes_horizon DEFAULT VALUES;

CREATE FUNCTION tenant_touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := clock_timestamp();
    RETURN NEW;
END
$$;

CREATE FUNCTION tenant_log_tenant() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    logged bigint;
    -- OLD is null on insert and NEW on delete, and so is the key made of it.
    touched text[] := ARRAY[
        'phone:' || OLD.phone_number_id, 'phone:' || NEW.phone_number_id,
        'integration:' || OLD.genesys_integration_id, 'integration:' || NEW.genesys_integration_id,
        'tenant:' || OLD.id, 'tenant:' || NEW.id
    ];
BEGIN
    IF TG_OP = 'DELETE'
        OR (TG_OP = 'UPDATE' AND (OLD.id, OLD.status) IS DISTINCT FROM (NEW.id, NEW.status))
    THEN
        touched := touched || ARRAY[
            'tenant:' || OLD.id || ':credentials:whatsapp',
            'tenant:' || OLD.id || ':credentials:genesys',
            'tenant:' || NEW.id || ':credentials:whatsapp',
            'tenant:' || NEW.id || ':credentials:genesys'
        ];
    END IF;

    -- The number is drawn here, after the row was locked or found unique: the numbers of one
    -- tenant are in the order of its commits.
    INSERT INTO tenant_changes (tenant_id, kind, keys)
    VALUES (
        coalesce(NEW.id, OLD.id),
        CASE TG_OP
            WHEN 'INSERT' THEN 'tenant.created'
            WHEN 'UPDATE' THEN 'tenant.updated'
            ELSE 'tenant.deleted'
        END,
        ARRAY(SELECT DISTINCT key FROM unnest(touched) AS key WHERE key IS NOT NULL ORDER BY key)
    )
    RETURNING seq INTO logged;

    IF TG_OP = 'DELETE' THEN
        -- The foreign keys have done this, unless they are off (session_replication_role): then a
        -- tenant created anew under this id would come into the old one's secrets.
        DELETE FROM tenant_credentials WHERE tenant_id = OLD.id;
        DELETE FROM tenant_credential_history WHERE tenant_id = OLD.id;
    ELSE
        -- Book-keeping: no data column changes, so no trigger fires.
        UPDATE tenants SET revision = logged WHERE id = NEW.id;
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION tenant_log_credential() RETURNS trigger LANGUAGE plpgsql AS $$
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
            (tenant_id, credential_type, version, id, credentials, valid_from)
        SELECT OLD.tenant_id, OLD.credential_type, OLD.version, OLD.id, OLD.credentials,
            OLD.updated_at
        FROM tenants WHERE id = OLD.tenant_id
        ON CONFLICT DO NOTHING;
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION tenant_log_reset() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO tenant_changes (kind) VALUES ('reset');
    RETURN NULL;
END
$$;

-- Whoever deletes rows of the log, by whatever statement: the horizon moves with them.
CREATE FUNCTION tenant_log_pruned() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE tenant_changes_horizon
    SET pruned_below = greatest(
        pruned_below, (SELECT max(xid::text::bigint) + 1 FROM pruned)
    );
    RETURN NULL;
END
$$;

-- The lock of a TRUNCATE leaves no other transaction with rows of its own in the log.
CREATE FUNCTION tenant_log_truncated() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE tenant_changes_horizon
    SET pruned_below = greatest(
        pruned_below,
        pg_snapshot_xmax(pg_current_snapshot())::text::bigint,
        pg_current_xact_id()::text::bigint + 1
    );
    RETURN NULL;
END
$$;

-- A writer may have another search_path than the one these tables were made under.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY[
        'tenant_touch', 'tenant_log_tenant', 'tenant_log_credential', 'tenant_log_reset',
        'tenant_log_pruned', 'tenant_log_truncated'
    ] LOOP
        EXECUTE format(
            'ALTER FUNCTION %I.%I() SET search_path = %I, pg_temp',
            current_schema(), name, current_schema()
        );
    END LOOP;
END
$$;

CREATE TRIGGER tenants_touch BEFORE UPDATE ON tenants FOR EACH ROW
    WHEN (
        (OLD.id, OLD.name, OLD.email, OLD.status, OLD.phone_number_id, OLD.display_phone_number,
            OLD.genesys_integration_id, OLD.genesys_org_id, OLD.genesys_region, OLD.settings,
            OLD.created_at, OLD.updated_at)
        IS DISTINCT FROM
        (NEW.id, NEW.name, NEW.email, NEW.status, NEW.phone_number_id, NEW.display_phone_number,
            NEW.genesys_integration_id, NEW.genesys_org_id, NEW.genesys_region, NEW.settings,
            NEW.created_at, NEW.updated_at)
    )
    EXECUTE FUNCTION tenant_touch();

-- One trigger an event, for OLD and NEW can't stand in a condition where they don't exist.
CREATE TRIGGER tenants_log AFTER INSERT OR DELETE ON tenants FOR EACH ROW
    EXECUTE FUNCTION tenant_log_tenant();

-- A condition, not UPDATE OF: it holds for what another trigger changed, and not for a statement
-- that names a column and leaves it as it was.
CREATE TRIGGER tenants_log_update AFTER UPDATE ON tenants FOR EACH ROW
    WHEN (
        (OLD.id, OLD.name, OLD.email, OLD.status, OLD.phone_number_id, OLD.display_phone_number,
            OLD.genesys_integration_id, OLD.genesys_org_id, OLD.genesys_region, OLD.settings,
            OLD.created_at, OLD.updated_at)
        IS DISTINCT FROM
        (NEW.id, NEW.name, NEW.email, NEW.status, NEW.phone_number_id, NEW.display_phone_number,
            NEW.genesys_integration_id, NEW.genesys_org_id, NEW.genesys_region, NEW.settings,
            NEW.created_at, NEW.updated_at)
    )
    EXECUTE FUNCTION tenant_log_tenant();

CREATE TRIGGER tenants_truncate AFTER TRUNCATE ON tenants FOR EACH STATEMENT
    EXECUTE FUNCTION tenant_log_reset();

CREATE TRIGGER tenant_credentials_touch BEFORE UPDATE ON tenant_credentials FOR EACH ROW
    WHEN (OLD.* IS DISTINCT FROM NEW.*)
    EXECUTE FUNCTION tenant_touch();

CREATE TRIGGER tenant_credentials_log AFTER INSERT OR DELETE ON tenant_credentials FOR EACH ROW
    EXECUTE FUNCTION tenant_log_credential();

CREATE TRIGGER tenant_credentials_log_update AFTER UPDATE ON tenant_credentials FOR EACH ROW
    WHEN (OLD.* IS DISTINCT FROM NEW.*)
    EXECUTE FUNCTION tenant_log_credential();

CREATE TRIGGER tenant_credentials_truncate AFTER TRUNCATE ON tenant_credentials
    FOR EACH STATEMENT EXECUTE FUNCTION tenant_log_reset();

CREATE TRIGGER tenant_changes_pruned AFTER DELETE ON tenant_changes
    REFERENCING OLD TABLE AS pruned
    FOR EACH STATEMENT EXECUTE FUNCTION tenant_log_pruned();

CREATE TRIGGER tenant_changes_truncated AFTER TRUNCATE ON tenant_changes
    FOR EACH STATEMENT EXECUTE FUNCTION tenant_log_truncated();

-- ALWAYS: a session that replays another server's changes logs them too.
ALTER TABLE tenants
    ENABLE ALWAYS TRIGGER tenants_touch,
    ENABLE ALWAYS TRIGGER tenants_log,
    ENABLE ALWAYS TRIGGER tenants_log_update,
    ENABLE ALWAYS TRIGGER tenants_truncate;
ALTER TABLE tenant_credentials
    ENABLE ALWAYS TRIGGER tenant_credentials_touch,
    ENABLE ALWAYS TRIGGER tenant_credentials_log,
    ENABLE ALWAYS TRIGGER tenant_credentials_log_update,
    ENABLE ALWAYS TRIGGER tenant_credentials_truncate;
ALTER TABLE tenant_changes
    ENABLE ALWAYS TRIGGER tenant_changes_pruned,
    ENABLE ALWAYS TRIGGER tenant_changes_truncated;
