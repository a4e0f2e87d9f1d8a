//! What is in the tables is sealed, and opens nowhere but in its place; in both stores.

use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use serde_json::{Value, json};
use tenant_service::crypto::Unopened;
use tenant_service::domain::CredentialType::{self, Genesys, Whatsapp};
use tenant_service::store::{Refusal, StoreError};
use tokio::task::JoinSet;

use super::bed::{ALWAYS, Backend, Bed, by, tenant_id};
use crate::harness::keyring::hex;

/// Of the tenant `a`, and told from the values of others.
const MARKER: &str = "hunter2-hunter2-hunter2";

async fn refusal(bed: &Bed, id: &str, kind: CredentialType) -> Refusal {
    match bed.store.credentials(&tenant_id(id), kind).await {
        Err(error @ StoreError::Refused { .. }) => {
            let told = format!("{error} {error:?}");
            assert!(told.contains(id) && !told.contains("hunter2"), "{told}");
            let StoreError::Refused { why, .. } = error else { unreachable!("matched above") };
            why
        }
        other => panic!("of {id}: {other:?}"),
    }
}

async fn is_forged(bed: &Bed, id: &str, kind: CredentialType) {
    let why = refusal(bed, id, kind).await;
    assert!(matches!(why, Refusal::Unopened(Unopened::Forged)), "of {id}: {why:?}");
}

async fn value(bed: &Bed, id: &str, kind: CredentialType) -> Value {
    let stored = bed.store.credentials(&tenant_id(id), kind).await.unwrap().unwrap();
    Value::Object(stored.credentials.reveal().clone())
}

/// Puts into a row what another row has.
async fn copy(bed: &Bed, into: &str, from: &str) {
    for column in ["sealed", "key_id", "wrapped_key"] {
        bed.by_hand(&format!(
            "UPDATE tenant_credentials SET {column} = (SELECT {column} FROM {from}) WHERE {into}"
        ))
        .await
        .unwrap();
    }
}

pub(super) async fn what_is_moved_does_not_open(bed: &Bed) {
    for (id, phone) in [("a", "1"), ("b", "2"), ("other", "3")] {
        bed.create(id, phone, id).await;
        bed.set(id, Whatsapp, json!({"access_token": id})).await;
        bed.set(id, Genesys, json!({"clientSecret": format!("first of {id}")})).await;
        bed.set(id, Genesys, json!({"clientSecret": MARKER})).await;
    }
    let row = |id: &str, kind: CredentialType| {
        format!("tenant_id = '{id}' AND credential_type = '{kind}'")
    };
    let current = |id, kind| format!("tenant_credentials WHERE {}", row(id, kind));

    // Between tenants; between types; an earlier version under the present one's number.
    copy(bed, &row("a", Genesys), &current("b", Genesys)).await;
    is_forged(bed, "a", Genesys).await;
    bed.set("a", Genesys, json!({"clientSecret": MARKER})).await;
    copy(bed, &row("a", Genesys), &current("a", Whatsapp)).await;
    is_forged(bed, "a", Genesys).await;
    bed.set("a", Genesys, json!({"clientSecret": MARKER})).await;
    let first = format!("tenant_credential_history WHERE {} AND version = 1", row("a", Genesys));
    copy(bed, &row("a", Genesys), &first).await;
    is_forged(bed, "a", Genesys).await;
    bed.set("a", Genesys, json!({"clientSecret": MARKER})).await;
    // The number alone; and the row as a whole.
    bed.by_hand("UPDATE tenant_credentials SET version = 99 WHERE tenant_id = 'b'").await.unwrap();
    is_forged(bed, "b", Genesys).await;
    is_forged(bed, "b", Whatsapp).await;
    bed.by_hand(&format!("DELETE FROM {}", current("b", Whatsapp))).await.unwrap();
    let moved =
        format!("UPDATE tenant_credentials SET tenant_id = 'b' WHERE {}", row("a", Whatsapp));
    bed.by_hand(&moved).await.unwrap();
    is_forged(bed, "b", Whatsapp).await;

    // What was written anew is right again, and nobody else ever was wrong.
    assert_eq!(value(bed, "a", Genesys).await, json!({"clientSecret": MARKER}));
    assert_eq!(value(bed, "other", Whatsapp).await, json!({"access_token": "other"}));
    assert_eq!(value(bed, "other", Genesys).await, json!({"clientSecret": MARKER}));
}

pub(super) async fn a_tenant_made_anew_is_another_one(bed: &Bed) {
    bed.create("a", "1", "i1").await;
    bed.set("a", Genesys, json!({"clientSecret": MARKER})).await;
    bed.by_hand("CREATE TABLE kept AS SELECT * FROM tenant_credentials").await.unwrap();
    bed.store.delete_tenant(&tenant_id("a"), &ALWAYS, &by()).await.unwrap().unwrap();
    bed.create("a", "1", "i1").await;
    let version = bed.set("a", Genesys, json!({"clientSecret": "new"})).await;
    assert_eq!(version, 1, "the same place, but for the row's id");
    copy(bed, "tenant_id = 'a'", "kept").await;
    is_forged(bed, "a", Genesys).await;
}

pub(super) async fn each_way_to_refuse_has_its_reason(bed: &Bed) {
    bed.create("a", "1", "i1").await;
    bed.set("a", Genesys, json!({"clientSecret": MARKER})).await;
    let write = async |assignment: &str| {
        bed.by_hand(&format!("UPDATE tenant_credentials SET {assignment}")).await.unwrap();
    };
    write("key_id = '0123456789abcdef'").await;
    let unknown = refusal(bed, "a", Genesys).await;
    let Refusal::Unopened(Unopened::UnknownKey { key_id }) = unknown else { panic!("{unknown:?}") };
    assert_eq!(key_id, "0123456789abcdef");
    let empty = bed.literal()(b"");
    for malformed in ["key_id = 'hunter2'", &format!("sealed = {empty}")] {
        bed.set("a", Genesys, json!({"clientSecret": MARKER})).await;
        write(malformed).await;
        let why = refusal(bed, "a", Genesys).await;
        assert!(matches!(why, Refusal::Unopened(Unopened::Malformed)), "{malformed}: {why:?}");
    }

    // Who can alter the table can write plaintext, beside what is sealed or instead of it.
    if matches!(bed.backend, Backend::Postgres(..)) {
        let drop = "ALTER TABLE tenant_credentials DROP CONSTRAINT tenant_credentials_sealed_check";
        bed.by_hand(drop).await.unwrap();
        bed.set("a", Genesys, json!({"clientSecret": MARKER})).await;
        write("credentials = '{}'").await;
        assert!(matches!(refusal(bed, "a", Genesys).await, Refusal::Unsealed));
    }
    let parts = "sealed = NULL, key_id = NULL, wrapped_key = NULL";
    write(&format!("{parts}, credentials = '{{\"clientSecret\": \"theirs-theirs-theirs\"}}'"))
        .await;
    assert!(matches!(refusal(bed, "a", Genesys).await, Refusal::Unsealed));
    // Nor does the next start take it for ours.
    bed.migrate().await.unwrap();
    assert!(matches!(refusal(bed, "a", Genesys).await, Refusal::Unsealed));
    bed.set("a", Genesys, json!({"clientSecret": "ours"})).await;
    assert_eq!(value(bed, "a", Genesys).await, json!({"clientSecret": "ours"}));
    no_table_holds(bed, "theirs-theirs-theirs").await;
}

/// Every table as a dump has it.
pub(super) async fn dump(bed: &Bed) -> String {
    let mut dump = String::new();
    match &bed.backend {
        Backend::Postgres(..) => {
            let tables = "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'";
            for table in bed.texts(tables).await {
                dump += &bed.texts(&format!("SELECT t::text FROM {table} t")).await.join("\n");
            }
        }
        Backend::Sqlite(..) => {
            let columns = "SELECT m.name || ' ' || c.name FROM sqlite_schema m \
                 JOIN pragma_table_info(m.name) c WHERE m.type = 'table'";
            for column in bed.texts(columns).await {
                let (table, column) = column.split_once(' ').unwrap();
                let read = format!("SELECT coalesce(quote({column}), '') FROM {table}");
                dump += &bed.texts(&read).await.join("\n");
            }
        }
    }
    assert!(dump.contains("clientSecret") || dump.len() > 500, "something was read");
    dump
}

/// Neither as it is, nor in hexadecimal digits or base64, wherever a group of three bytes begins.
async fn no_table_holds(bed: &Bed, secret: &str) {
    is_not_in(&dump(bed).await, secret);
}

/// Nor a file that the tables are in, whose free space keeps what was in them before; nor the
/// write-ahead log of SQLite.
async fn no_file_holds(bed: &Bed, secret: &str) {
    let store = match &bed.backend {
        Backend::Sqlite(store, _) => store,
        Backend::Postgres(_, database) => {
            database.execute_as_admin("CHECKPOINT").await;
            for table in ["tenant_credentials", "tenant_credential_history"] {
                let file = format!("pg_read_binary_file(pg_relation_filepath('{table}'))");
                let bytes: Vec<u8> = database.scalar(&format!("SELECT {file}")).await;
                is_not_in(&String::from_utf8_lossy(&bytes), secret);
            }
            return;
        }
    };
    for file in store.path().parent().unwrap().read_dir().unwrap() {
        // Those that are there while a connection is may be gone by now.
        if let Ok(bytes) = std::fs::read(file.unwrap().path()) {
            is_not_in(&String::from_utf8_lossy(&bytes), secret);
        }
    }
}

fn is_not_in(dump: &str, secret: &str) {
    let dump = dump.to_lowercase();
    let base64 = |skipped: usize| BASE64_STANDARD_NO_PAD.encode(&secret.as_bytes()[skipped..]);
    let whole = |text: String| text[..text.len() / 4 * 4 - 4].to_owned();
    let forms = (0..3).map(|skipped| whole(base64(skipped)));
    for form in forms.chain([secret.to_owned(), hex(secret.as_bytes())]) {
        assert!(!dump.contains(&form.to_lowercase()), "{form}");
    }
}

pub(super) async fn no_table_holds_a_secret(bed: &Bed) {
    bed.create("a", "1", "i1").await;
    for _ in 0..3 {
        bed.set("a", Genesys, json!({"clientSecret": MARKER})).await;
    }
    bed.by_hand("DELETE FROM tenant_credentials").await.unwrap();
    bed.set("a", Whatsapp, json!({"access_token": MARKER})).await;
    assert_eq!(bed.number("SELECT count(*) FROM tenant_credential_history").await, 3);
    no_table_holds(bed, MARKER).await;
    no_file_holds(bed, MARKER).await;
}

pub(super) async fn replicas_may_seal_at_once(bed: &Bed) {
    let bed = Arc::new(bed.unmigrated().await);
    with_plaintext(&bed).await;
    let mut replicas = JoinSet::new();
    for _ in 0..4 {
        let bed = Arc::clone(&bed);
        replicas.spawn(async move { bed.migrate().await });
    }
    for migrated in replicas.join_all().await {
        migrated.unwrap();
    }
    no_table_holds(&bed, MARKER).await;
    assert_eq!(value(&bed, "t1100", Genesys).await, json!({"clientSecret": MARKER}));
}

/// More than two batches.
const MANY: i64 = 1_100;

async fn with_plaintext(bed: &Bed) {
    bed.migrate_to(3).await;
    bed.by_hand(&format!(
        "INSERT INTO tenants (id, name) \
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MANY}) \
         SELECT 't' || i, 'Many' FROM n; \
         INSERT INTO tenant_credentials (tenant_id, credential_type, credentials, version) \
         SELECT id, 'genesys', '{{\"clientSecret\": \"{MARKER}\"}}', 2 FROM tenants; \
         INSERT INTO tenant_credential_history \
             (tenant_id, credential_type, version, id, credentials, valid_from) \
         SELECT tenant_id, credential_type, 1, id, credentials, updated_at FROM tenant_credentials"
    ))
    .await
    .unwrap();
    assert!(dump(bed).await.contains(MARKER));
}

pub(super) async fn plaintext_of_before_is_sealed(bed: &Bed) {
    let bed = bed.unmigrated().await;
    with_plaintext(&bed).await;
    bed.migrate().await.unwrap();
    no_table_holds(&bed, MARKER).await;
    no_file_holds(&bed, MARKER).await;
    for table in ["tenant_credentials", "tenant_credential_history"] {
        let sealed = "credentials IS NULL AND sealed IS NOT NULL AND wrapped_key IS NOT NULL";
        let sealed = format!("SELECT count(*) FROM {table} WHERE {sealed}");
        assert_eq!(bed.number(&sealed).await, MANY, "{table}");
    }
    let secret = json!({"clientSecret": MARKER});
    for id in ["t1", "t550", "t1100"] {
        assert_eq!(value(&bed, id, Genesys).await, secret, "{id}");
    }
    // The history opens in its place as well: put back as a whole, it is what it was.
    bed.by_hand(
        "UPDATE tenant_credentials SET (version, sealed, key_id, wrapped_key) = ( \
             SELECT version, sealed, key_id, wrapped_key FROM tenant_credential_history \
             WHERE tenant_id = 't1') WHERE tenant_id = 't1'",
    )
    .await
    .unwrap();
    assert_eq!(value(&bed, "t1", Genesys).await, secret);
    assert_eq!(bed.number("SELECT count(*) FROM tenant_sealing").await, 1);
    assert_eq!(bed.set("t2", Genesys, json!({"clientSecret": "new"})).await, 3);
}
