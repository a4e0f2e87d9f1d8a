//! What only SQLite has.

use serde_json::json;
use tenant_service::domain::CredentialType;
use tenant_service::store::Sqlite;

use super::bed::{Bed, lines, tenant_id};
use crate::harness::Scratch;

#[cfg(unix)]
#[tokio::test]
async fn the_files_are_their_owners_alone() {
    use std::os::unix::fs::PermissionsExt;

    let scratch = Scratch::new("store");
    let folder = scratch.join("made").join("here");
    let store = Sqlite::at(&folder.join("tenants.db"));
    store.migrate().await.unwrap();
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
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
