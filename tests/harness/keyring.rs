//! The keyring that everything under test shares, and rows sealed by it.

use std::fmt::Write;
use std::sync::{Arc, OnceLock};

use serde_json::json;
use tenant_service::crypto::{Keyring, Sealed, Subject};
use tenant_service::domain::CredentialType;

use super::database::Database;
use super::scratch::Scratch;

struct Made {
    keyring: Arc<Keyring>,
    path: String,
    #[expect(dead_code, reason = "the guardian removes it in the end")]
    folder: Scratch,
}

fn made() -> &'static Made {
    static MADE: OnceLock<Made> = OnceLock::new();
    MADE.get_or_init(|| {
        let folder = Scratch::new("keyring");
        let file = folder.join("keyring.json");
        let keyring = Keyring::generate(&file).expect("a keyring in a new folder");
        let path = file.to_str().expect("a path of text").to_owned();
        Made { keyring: Arc::new(keyring), path, folder }
    })
}

/// What replicas and commands have as `KEYRING_FILE`, unless a test says otherwise.
pub fn file() -> &'static str {
    &made().path
}

pub fn keyring() -> Arc<Keyring> {
    Arc::clone(&made().keyring)
}

/// Whose a row is that is written by hand.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    pub tenant: &'a str,
    pub kind: CredentialType,
    pub version: i64,
}

impl Row<'_> {
    /// Another id for each, as rows have.
    pub fn id(&self) -> String {
        format!("{}-of-{}", self.kind, self.tenant)
    }

    /// What a value becomes in this row.
    pub fn sealed(&self, id: &str, value: &str) -> Sealed {
        let tenant = self.tenant.parse().expect("an id of a tenant");
        let subject =
            Subject { credential: id, tenant: &tenant, kind: self.kind, version: self.version };
        keyring().seal(&subject, value.as_bytes()).expect("there is randomness")
    }

    /// The row, for `INSERT INTO tenant_credentials` [`COLUMNS`] `VALUES`.
    pub fn values(&self, literal: Literal, value: &str) -> String {
        let Self { tenant, kind, version } = self;
        let id = self.id();
        let Sealed { sealed, key_id, wrapped_key } = self.sealed(&id, value);
        let (sealed, wrapped_key) = (literal(&sealed), literal(&wrapped_key));
        format!("('{tenant}', '{kind}', '{id}', {version}, {sealed}, '{key_id}', {wrapped_key})")
    }

    /// For `UPDATE tenant_credentials SET` of the row that has this id.
    pub fn assignment(&self, literal: Literal, id: &str, value: &str) -> String {
        let Sealed { sealed, key_id, wrapped_key } = self.sealed(id, value);
        let (sealed, wrapped_key) = (literal(&sealed), literal(&wrapped_key));
        format!("sealed = {sealed}, key_id = '{key_id}', wrapped_key = {wrapped_key}")
    }
}

pub const COLUMNS: &str = "(tenant_id, credential_type, id, version, sealed, key_id, wrapped_key)";

/// How a database writes bytes.
pub type Literal = fn(&[u8]) -> String;

pub fn in_postgres(bytes: &[u8]) -> String {
    format!("'\\x{}'", hex(bytes))
}

pub fn in_sqlite(bytes: &[u8]) -> String {
    format!("x'{}'", hex(bytes))
}

pub fn hex(bytes: &[u8]) -> String {
    let mut digits = String::new();
    for byte in bytes {
        // To a string nothing fails.
        let _ = write!(digits, "{byte:02x}");
    }
    digits
}

/// Inserts whatsapp credentials of these tenants as somebody with the keyring would, by SQL.
pub async fn insert_tokens(
    database: &Database,
    tenants: impl Iterator<Item = String>,
    token: &str,
) {
    let kind = CredentialType::Whatsapp;
    let value = json!({"access_token": token}).to_string();
    let rows: Vec<String> = tenants
        .map(|tenant| Row { tenant: &tenant, kind, version: 1 }.values(in_postgres, &value))
        .collect();
    for rows in rows.chunks(1_000) {
        let rows = rows.join(", ");
        database.execute(&format!("INSERT INTO tenant_credentials {COLUMNS} VALUES {rows}")).await;
    }
}

/// The assignment that replaces a tenant's whatsapp credentials by SQL.
pub async fn token_assignment(
    database: &Database,
    tenant: &str,
    version: i64,
    token: &str,
) -> String {
    let kind = CredentialType::Whatsapp;
    let id: String = database
        .scalar(&format!(
            "SELECT id FROM tenant_credentials
             WHERE tenant_id = '{tenant}' AND credential_type = '{kind}'"
        ))
        .await;
    let row = Row { tenant, kind, version };
    let assignment = row.assignment(in_postgres, &id, &json!({"access_token": token}).to_string());
    format!("{assignment}, version = {version}")
}
