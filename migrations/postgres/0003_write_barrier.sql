-- In which database a bound has passed since its replicas first saw this incarnation: whoever
-- served from another one, or before the crash, has stopped by then, and a write need not wait for
-- it. (The database stands beside it, for a copy made from a template brings the row along.)
ALTER TABLE tenant_changes_incarnation ADD COLUMN settled_in text;

-- How long the replica serves on one proof. A write waits for the longest of them, so replicas may
-- differ, as they do while the setting is rolled out. (Before this, no write waited for a row.)
ALTER TABLE tenant_replicas ADD COLUMN bound_ms bigint NOT NULL DEFAULT 0;

-- Which write a write comes after: the last one of its tenant, also where that was its deletion.
CREATE INDEX tenant_changes_tenant_idx ON tenant_changes (tenant_id, seq);

-- To jsonb, 1 and 1.0 are the same; to whoever reads them they are not. So it is the text that tells
-- whether something was changed.
DROP TRIGGER tenants_touch ON tenants;
DROP TRIGGER tenants_log_update ON tenants;
DROP TRIGGER tenant_credentials_touch ON tenant_credentials;
DROP TRIGGER tenant_credentials_log_update ON tenant_credentials;

CREATE TRIGGER tenants_touch BEFORE UPDATE ON tenants FOR EACH ROW
    WHEN (
        (OLD.id, OLD.name, OLD.email, OLD.status, OLD.phone_number_id, OLD.display_phone_number,
            OLD.genesys_integration_id, OLD.genesys_org_id, OLD.genesys_region, OLD.settings::text,
            OLD.created_at, OLD.updated_at)
        IS DISTINCT FROM
        (NEW.id, NEW.name, NEW.email, NEW.status, NEW.phone_number_id, NEW.display_phone_number,
            NEW.genesys_integration_id, NEW.genesys_org_id, NEW.genesys_region, NEW.settings::text,
            NEW.created_at, NEW.updated_at)
    )
    EXECUTE FUNCTION tenant_touch();

CREATE TRIGGER tenants_log_update AFTER UPDATE ON tenants FOR EACH ROW
    WHEN (
        (OLD.id, OLD.name, OLD.email, OLD.status, OLD.phone_number_id, OLD.display_phone_number,
            OLD.genesys_integration_id, OLD.genesys_org_id, OLD.genesys_region, OLD.settings::text,
            OLD.created_at, OLD.updated_at)
        IS DISTINCT FROM
        (NEW.id, NEW.name, NEW.email, NEW.status, NEW.phone_number_id, NEW.display_phone_number,
            NEW.genesys_integration_id, NEW.genesys_org_id, NEW.genesys_region, NEW.settings::text,
            NEW.created_at, NEW.updated_at)
    )
    EXECUTE FUNCTION tenant_log_tenant();

CREATE TRIGGER tenant_credentials_touch BEFORE UPDATE ON tenant_credentials FOR EACH ROW
    WHEN (OLD::text IS DISTINCT FROM NEW::text)
    EXECUTE FUNCTION tenant_touch();

CREATE TRIGGER tenant_credentials_log_update AFTER UPDATE ON tenant_credentials FOR EACH ROW
    WHEN (OLD::text IS DISTINCT FROM NEW::text)
    EXECUTE FUNCTION tenant_log_credential();

ALTER TABLE tenants
    ENABLE ALWAYS TRIGGER tenants_touch,
    ENABLE ALWAYS TRIGGER tenants_log_update;
ALTER TABLE tenant_credentials
    ENABLE ALWAYS TRIGGER tenant_credentials_touch,
    ENABLE ALWAYS TRIGGER tenant_credentials_log_update;
