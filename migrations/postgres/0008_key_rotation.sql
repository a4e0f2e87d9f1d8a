-- Which keys of the keyring a process holds: their ids, a blank between them. The first one is the
-- one that it seals by. A key becomes the one to seal by when all of them hold it.
ALTER TABLE tenant_replicas ADD COLUMN keys text COLLATE "C" NOT NULL DEFAULT '';

-- Keys that were taken out of the keyring. Who was asleep meanwhile, or has an old copy of the file,
-- would seal by one of them what nobody else could open.
CREATE TABLE tenant_retired_keys (
    key_id text COLLATE "C" PRIMARY KEY,
    retired_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE FUNCTION tenant_refuse_retired_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM tenant_retired_keys WHERE key_id = NEW.key_id) THEN
        RAISE EXCEPTION 'the key was taken out of the keyring'
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER tenant_credentials_retired_key BEFORE INSERT OR UPDATE OF key_id
    ON tenant_credentials FOR EACH ROW EXECUTE FUNCTION tenant_refuse_retired_key();

CREATE TRIGGER tenant_token_pepper_retired_key BEFORE INSERT OR UPDATE OF key_id
    ON tenant_token_pepper FOR EACH ROW EXECUTE FUNCTION tenant_refuse_retired_key();

CREATE TRIGGER tenant_audit_chain_retired_key BEFORE INSERT OR UPDATE OF key_id
    ON tenant_audit_chain FOR EACH ROW EXECUTE FUNCTION tenant_refuse_retired_key();

ALTER TABLE tenant_credentials ENABLE ALWAYS TRIGGER tenant_credentials_retired_key;
ALTER TABLE tenant_audit_chain ENABLE ALWAYS TRIGGER tenant_audit_chain_retired_key;
ALTER TABLE tenant_token_pepper ENABLE ALWAYS TRIGGER tenant_token_pepper_retired_key;

-- A writer may have another search_path than the one these tables were made under.
DO $$
BEGIN
    EXECUTE format(
        'ALTER FUNCTION %I.tenant_refuse_retired_key() SET search_path = %I, pg_temp',
        current_schema(), current_schema()
    );
END
$$;
