//! What only SQLite has.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::json;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, SqliteConnection};
use tenant_service::domain::CredentialType;
use tenant_service::store::{MigrateError, Sqlite};

use super::bed::{Bed, lines, tenant_id};
use crate::harness::Scratch;
use crate::harness::keyring::keyring;

const THEIRS: &str = "CREATE TABLE Tenants (theirs text); INSERT INTO Tenants VALUES ('x')";
const THEIR_MIGRATIONS: &str =
    "CREATE TABLE _sqlx_migrations (version bigint); INSERT INTO _sqlx_migrations VALUES (1)";

/// Another program, which has written this to the file and has not closed it yet.
async fn another_program(path: &Path, sql: &str) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let mut connection = options.connect().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    connection
}

/// Every file of a folder, but for what SQLite writes into the index of a write-ahead log.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = folder.read_dir().unwrap().map(|entry| entry.unwrap().path());
    let content = |path: &Path| {
        if path.ends_with("tenants.db-shm") { Vec::new() } else { fs::read(path).unwrap() }
    };
    entries.map(|path| (path.display().to_string(), content(&path))).collect()
}

async fn is_refused_untouched(folder: &Path, what: &str) -> MigrateError {
    let before = files(folder);
    let store = Sqlite::at(&folder.join("tenants.db"), keyring());
    let refused = store.migrate().await.unwrap_err();
    assert!(before == files(folder), "{what}: {:?}, {refused}", files(folder).keys());
    refused
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_untouched() {
    let text = "not a database, but more than a hundred bytes: ".repeat(9);
    for content in ["no", text.as_str()] {
        let folder = Scratch::new("store");
        fs::write(folder.join("tenants.db"), content).unwrap();
        let refused = is_refused_untouched(&folder, content).await;
        assert!(refused.to_string().contains("cannot be used as a database"), "{refused}");
    }
}

#[tokio::test]
async fn a_file_of_another_program_is_refused_untouched() {
    for journal in ["DELETE", "WAL"] {
        for (sql, name) in [(THEIRS, "tenants"), (THEIR_MIGRATIONS, "_sqlx_migrations")] {
            let (folder, crashed) = (Scratch::new("store"), Scratch::new("store"));
            let path = folder.join("tenants.db");
            let sql = format!("PRAGMA journal_mode = {journal}; {sql}");
            let program = another_program(&path, &sql).await;
            // What a crash leaves: the log is not in the database yet.
            for file in folder.read_dir().unwrap().map(Result::unwrap) {
                fs::copy(file.path(), crashed.join(file.file_name())).unwrap();
            }
            let running = is_refused_untouched(&folder, &format!("{journal}, running")).await;
            program.close().await.unwrap();
            let ended = is_refused_untouched(&folder, &format!("{journal}, ended")).await;
            let crashed = is_refused_untouched(&crashed, &format!("{journal}, crashed")).await;
            for refused in [running, ended, crashed] {
                assert!(refused.to_string().contains(name), "{journal}: {refused}");
            }
        }
    }
}

#[cfg(unix)]
#[tokio::test]
async fn the_files_are_their_owners_alone() {
    use std::os::unix::fs::PermissionsExt;

    let scratch = Scratch::new("store");
    let folder = scratch.join("made").join("here");
    let store = Sqlite::at(&folder.join("tenants.db"), keyring());
    store.migrate().await.unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    let files: Vec<_> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    // The database, its write-ahead log and the index of that, the lock of the migration.
    assert_eq!(files.len(), 4, "{files:?}");
    assert!(files.iter().all(|file| mode(file) == 0o600), "{files:?}");
}

#[tokio::test]
async fn a_replace_names_what_it_replaced() {
    let bed = Bed::sqlite().await;
    bed.create("a", "1", "i1").await;
    bed.create("b", "2", "i2").await;
    let before = bed.snapshot().await;
    bed.by_hand(
        "INSERT OR REPLACE INTO tenants (id, name, phone_number_id) VALUES ('c', 'C', '1')",
    )
    .await
    .unwrap();
    bed.by_hand("UPDATE OR REPLACE tenants SET genesys_integration_id = 'i2' WHERE id = 'c'")
        .await
        .unwrap();
    assert_eq!(
        lines(&bed.since(&before).await),
        [
            "tenant.deleted: integration:i1 phone:1 tenant:a tenant:a:credentials:genesys \
             tenant:a:credentials:whatsapp",
            "tenant.created: phone:1 tenant:c",
            "tenant.deleted: integration:i2 phone:2 tenant:b tenant:b:credentials:genesys \
             tenant:b:credentials:whatsapp",
            "tenant.updated: integration:i2 phone:1 tenant:c",
        ]
    );
}

#[tokio::test]
async fn a_deletion_without_foreign_keys_leaves_no_secret() {
    let bed = Bed::sqlite().await;
    bed.create("a", "1", "i1").await;
    for _ in 0..2 {
        bed.set("a", CredentialType::Whatsapp, json!({"access_token": "made up"})).await;
    }
    bed.by_hand("PRAGMA foreign_keys = OFF; DELETE FROM tenants").await.unwrap();
    bed.create("a", "1", "i1").await;
    let found = bed.store.credentials(&tenant_id("a"), CredentialType::Whatsapp).await;
    assert!(found.unwrap().is_none());
    assert_eq!(bed.number("SELECT count(*) FROM tenant_credential_history").await, 0);
}
