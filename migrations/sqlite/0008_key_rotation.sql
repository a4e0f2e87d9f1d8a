-- Which keys of the keyring a process holds: their ids, a blank between them. The first one is the
-- one that it seals by. A key becomes the one to seal by when all of them hold it.
ALTER TABLE tenant_replicas ADD COLUMN keys TEXT NOT NULL DEFAULT '';

-- Keys that were taken out of the keyring. Who was asleep meanwhile, or has an old copy of the file,
-- would seal by one of them what nobody else could open.
CREATE TABLE tenant_retired_keys (
    key_id TEXT NOT NULL PRIMARY KEY,
    retired_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
) STRICT;

CREATE TRIGGER tenant_credentials_retired_key_insert BEFORE INSERT ON tenant_credentials
WHEN EXISTS (SELECT 1 FROM tenant_retired_keys WHERE key_id = NEW.key_id)
BEGIN
    SELECT RAISE(ABORT, 'the key was taken out of the keyring');
END;

CREATE TRIGGER tenant_credentials_retired_key_update BEFORE UPDATE OF key_id ON tenant_credentials
WHEN EXISTS (SELECT 1 FROM tenant_retired_keys WHERE key_id = NEW.key_id)
BEGIN
    SELECT RAISE(ABORT, 'the key was taken out of the keyring');
END;

CREATE TRIGGER tenant_token_pepper_retired_key_insert BEFORE INSERT ON tenant_token_pepper
WHEN EXISTS (SELECT 1 FROM tenant_retired_keys WHERE key_id = NEW.key_id)
BEGIN
    SELECT RAISE(ABORT, 'the key was taken out of the keyring');
END;

CREATE TRIGGER tenant_token_pepper_retired_key_update BEFORE UPDATE OF key_id ON tenant_token_pepper
WHEN EXISTS (SELECT 1 FROM tenant_retired_keys WHERE key_id = NEW.key_id)
BEGIN
    SELECT RAISE(ABORT, 'the key was taken out of the keyring');
END;

CREATE TRIGGER tenant_audit_chain_retired_key_insert BEFORE INSERT ON tenant_audit_chain
WHEN EXISTS (SELECT 1 FROM tenant_retired_keys WHERE key_id = NEW.key_id)
BEGIN
    SELECT RAISE(ABORT, 'the key was taken out of the keyring');
END;

CREATE TRIGGER tenant_audit_chain_retired_key_update BEFORE UPDATE OF key_id ON tenant_audit_chain
WHEN EXISTS (SELECT 1 FROM tenant_retired_keys WHERE key_id = NEW.key_id)
BEGIN
    SELECT RAISE(ABORT, 'the key was taken out of the keyring');
END;
