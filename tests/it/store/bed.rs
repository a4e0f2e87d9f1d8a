//! A store of one's own, and a way to its tables beside it.

use std::mem;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use serde_json::Value;
use sqlx::migrate::Migrator;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use tenant_service::coherence::Snapshot;
use tenant_service::crypto::Keyring;
use tenant_service::domain::{
    By, Change, CredentialType, Credentials, NewTenant, Precondition, Settings, Status, Tenant,
    TenantId,
};
use tenant_service::store::{MigrateError, Postgres, Sqlite, Store, Written};

use crate::harness::keyring::{COLUMNS, Literal, Row, in_postgres, in_sqlite, keyring};
use crate::harness::{self, Database, Scratch};

/// As many connections as the service takes by default.
pub(super) const CONNECTIONS: u32 = 14;

/// The condition of a write that has none.
pub(super) const ALWAYS: Precondition = Precondition { if_match: None, if_none_match: None };

pub(super) struct Bed {
    pub(super) store: Arc<dyn Store>,
    pub(super) backend: Backend,
}

pub(super) enum Backend {
    Postgres(Box<Postgres>, Database),
    Sqlite(Sqlite, #[expect(dead_code, reason = "removes the folder when dropped")] Scratch),
}

impl Bed {
    pub(super) async fn postgres() -> Self {
        let database = harness::Postgres::database().await;
        let store = connect(&database);
        store.migrate().await.unwrap();
        Self {
            store: Arc::new(store.clone()),
            backend: Backend::Postgres(Box::new(store), database),
        }
    }

    pub(super) async fn sqlite() -> Self {
        let folder = Scratch::new("store");
        let store = Sqlite::at(&folder.join("tenants.db"), keyring());
        store.migrate().await.unwrap();
        Self { store: Arc::new(store.clone()), backend: Backend::Sqlite(store, folder) }
    }

    /// A store of the same kind over a database of its own, with a keyring that is no other test's,
    /// and the file of that.
    pub(super) async fn with_own_keyring(&self) -> (Self, Arc<Keyring>, PathBuf) {
        let folder = Scratch::new("store");
        let file = folder.join("keyring.json");
        let own = Arc::new(Keyring::generate(&file).unwrap());
        let bed = match &self.backend {
            Backend::Postgres(..) => {
                let database = harness::Postgres::database().await;
                let url = SecretString::from(database.url.as_str());
                let store = Postgres::connect(&url, Arc::clone(&own), CONNECTIONS).unwrap();
                // The guardian removes it in the end.
                mem::forget(folder);
                Self {
                    store: Arc::new(store.clone()),
                    backend: Backend::Postgres(Box::new(store), database),
                }
            }
            Backend::Sqlite(..) => {
                let store = Sqlite::at(&folder.join("tenants.db"), Arc::clone(&own));
                store.migrate().await.unwrap();
                Self { store: Arc::new(store.clone()), backend: Backend::Sqlite(store, folder) }
            }
        };
        (bed, own, file)
    }

    /// A store of the same kind over an empty database.
    pub(super) async fn unmigrated(&self) -> Self {
        match &self.backend {
            Backend::Postgres(..) => {
                let database = harness::Postgres::empty_database().await;
                let store = connect(&database);
                Self {
                    store: Arc::new(store.clone()),
                    backend: Backend::Postgres(Box::new(store), database),
                }
            }
            Backend::Sqlite(..) => {
                let folder = Scratch::new("store");
                let store = Sqlite::at(&folder.join("tenants.db"), keyring());
                Self { store: Arc::new(store.clone()), backend: Backend::Sqlite(store, folder) }
            }
        }
    }

    /// Migrates as another process would, over connections of its own.
    pub(super) async fn migrate(&self) -> Result<(), MigrateError> {
        match &self.backend {
            Backend::Postgres(_, database) => connect(database).migrate().await,
            Backend::Sqlite(store, _) => Sqlite::at(store.path(), keyring()).migrate().await,
        }
    }

    /// Makes the tables as an older version has them, which knew the migrations up to this one.
    pub(super) async fn migrate_to(&self, migration: i64) {
        static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");
        match &self.backend {
            Backend::Postgres(_, database) => database.migrate_to(migration).await,
            Backend::Sqlite(store, _) => {
                let mut connection = shell(store).connect().await.unwrap();
                SQLITE.run_direct(Some(migration), &mut connection, false).await.unwrap();
                connection.close().await.unwrap();
            }
        }
    }

    /// Runs statements by hand, as `psql` and `sqlite3` do.
    pub(super) async fn by_hand(&self, sql: &str) -> Result<(), sqlx::Error> {
        let sql = AssertSqlSafe(sql);
        match &self.backend {
            Backend::Postgres(_, database) => {
                let mut connection = sqlx::PgConnection::connect(&database.url).await?;
                sqlx::raw_sql(sql).execute(&mut connection).await?;
                connection.close().await
            }
            Backend::Sqlite(store, _) => {
                let mut connection = shell(store).connect().await?;
                sqlx::raw_sql(sql).execute(&mut connection).await?;
                connection.close().await
            }
        }
    }

    /// How to write bytes by hand.
    pub(super) fn literal(&self) -> Literal {
        match &self.backend {
            Backend::Postgres(..) => in_postgres,
            Backend::Sqlite(..) => in_sqlite,
        }
    }

    /// The statement that inserts sealed credentials.
    pub(super) fn insert_sealed(&self, row: Row<'_>, value: &str) -> String {
        let values = row.values(self.literal(), value);
        format!("INSERT INTO tenant_credentials {COLUMNS} VALUES {values}")
    }

    /// The statement that replaces the sealed credentials of a row.
    pub(super) async fn update_sealed(&self, row: Row<'_>, value: &str) -> String {
        let Row { tenant, kind, version } = row;
        let place = format!("tenant_id = '{tenant}' AND credential_type = '{kind}'");
        let find = format!("SELECT id FROM tenant_credentials WHERE {place}");
        let id = self.texts(&find).await.pop().unwrap();
        let assignment = row.assignment(self.literal(), &id, value);
        format!("UPDATE tenant_credentials SET {assignment}, version = {version} WHERE {place}")
    }

    /// A number out of the tables.
    pub(super) async fn number(&self, sql: &str) -> i64 {
        match &self.backend {
            Backend::Postgres(_, database) => database.scalar(sql).await,
            Backend::Sqlite(store, _) => {
                let mut connection = shell(store).connect().await.unwrap();
                let sql = AssertSqlSafe(sql);
                sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap()
            }
        }
    }

    /// A column of text out of the tables.
    pub(super) async fn texts(&self, sql: &str) -> Vec<String> {
        let sql = AssertSqlSafe(sql);
        match &self.backend {
            Backend::Postgres(_, database) => {
                sqlx::query_scalar(sql).fetch_all(database.pool().await).await.unwrap()
            }
            Backend::Sqlite(store, _) => {
                let mut connection = shell(store).connect().await.unwrap();
                sqlx::query_scalar(sql).fetch_all(&mut connection).await.unwrap()
            }
        }
    }

    /// Where the log is now.
    pub(super) async fn snapshot(&self) -> Snapshot {
        self.store.log_head().await.unwrap().snapshot
    }

    /// Every change since then, page by page.
    pub(super) async fn since(&self, seen: &Snapshot) -> Vec<Change> {
        let mut read = self.store.log_since(seen, None).await.unwrap();
        let mut changes = read.changes;
        while let Some(page) = read.next {
            read = self.store.log_since(seen, Some(&page)).await.unwrap();
            changes.append(&mut read.changes);
        }
        changes
    }

    /// Creates a tenant with this id and name, and this phone number and integration.
    pub(super) async fn create(&self, id: &str, phone: &str, integration: &str) -> Written<Tenant> {
        self.store.create_tenant(&new_tenant(id, phone, integration), &by()).await.unwrap()
    }

    /// Sets credentials of this type and returns the version.
    pub(super) async fn set(&self, id: &str, kind: CredentialType, value: Value) -> i64 {
        let credentials = Credentials::new(kind, value).unwrap();
        let set = self
            .store
            .set_credentials(&tenant_id(id), kind, &credentials, None, &ALWAYS, &by())
            .await;
        set.unwrap().unwrap().value.version
    }
}

fn connect(database: &Database) -> Postgres {
    Postgres::connect(&SecretString::from(database.url.as_str()), keyring(), CONNECTIONS).unwrap()
}

fn shell(store: &Sqlite) -> SqliteConnectOptions {
    let busy = Duration::from_secs(5);
    let options = SqliteConnectOptions::new().filename(store.path());
    options.create_if_missing(true).busy_timeout(busy)
}

/// Whoever it is that writes in these tests.
pub(super) fn by() -> By {
    By::command("test")
}

pub(super) fn tenant_id(id: &str) -> TenantId {
    id.parse().unwrap()
}

/// A tenant whose other fields are of no concern. An empty text stands for none.
pub(super) fn new_tenant(id: &str, phone: &str, integration: &str) -> NewTenant {
    NewTenant {
        id: tenant_id(id),
        name: id.parse().unwrap(),
        email: None,
        status: Status::Active,
        phone_number_id: (!phone.is_empty()).then(|| phone.parse().unwrap()),
        display_phone_number: None,
        genesys_integration_id: (!integration.is_empty()).then(|| integration.parse().unwrap()),
        genesys_org_id: None,
        genesys_region: None,
        settings: Settings::default(),
        credentials: Vec::new(),
    }
}

/// A change as one line: its kind, its version, its keys in order.
pub(super) fn line(change: &Change) -> String {
    let mut keys: Vec<_> = change.keys.iter().map(ToString::to_string).collect();
    keys.sort();
    let version = change.version.map_or_else(String::new, |version| format!(" v{version}"));
    format!("{}{version}: {}", change.kind, keys.join(" "))
}

pub(super) fn lines(changes: &[Change]) -> Vec<String> {
    changes.iter().map(line).collect()
}
