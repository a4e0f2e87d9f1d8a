//! Keys replaced and retired while somebody still seals by the old one, holds rows locked, or has
//! broken one.

use std::path::Path;

use serde_json::json;
use sqlx::{Postgres, Transaction};
use tenant_service::crypto::{Keyring, KeyringEditor};

use super::rotation::{DEADLINE, Own, document, keys_held};
use crate::coherence::fleet::{full, put_token};
use crate::harness::rotation::copy_of;
use crate::harness::{eventually, run_cli, spawn_cli_in};

const RETIRED: &str = "SELECT count(*) FROM tenant_retired_keys";

/// Takes a tenant's credentials out of their table, as they were sealed.
async fn set_aside(own: &Own, tenant: &str) {
    let of = format!("FROM tenant_credentials WHERE tenant_id = '{tenant}'");
    own.database.execute(&format!("CREATE TABLE aside AS SELECT * {of}; DELETE {of}")).await;
}

/// Writes them again, in a transaction that goes on.
async fn written_by_the_old_key(own: &Own) -> Transaction<'static, Postgres> {
    let mut write = own.database.pool().await.begin().await.unwrap();
    let written = "INSERT INTO tenant_credentials SELECT * FROM aside";
    assert_eq!(sqlx::query(written).execute(&mut *write).await.unwrap().rows_affected(), 1);
    write
}

/// A write may have sealed by the old key, and not be there to be wrapped anew yet.
#[tokio::test]
async fn a_rotation_ends_when_every_write_by_the_old_key_has_ended() {
    let own = Own::new().await;
    let replica = own.replica(&own.file).await;
    for n in [1, 2] {
        put_token(&replica, n, &format!("made-up-token-{n}")).await;
    }
    set_aside(&own, "t1").await;
    let write = written_by_the_old_key(&own).await;
    let rotate = ["keys", "rotate", "--wait", "5"];
    let late = run_cli(&rotate, &own.environment()).await.expecting(1).stderr;
    assert!(late.contains("may have sealed by the old key"), "{late}");
    write.commit().await.unwrap();
    // With more patience: transactions of the whole server count, those of other tests too.
    run_cli(&["keys", "rotate"], &own.environment()).await.expecting(0);
    assert_eq!(document(Path::new(&own.file))["keys"].as_array().unwrap().len(), 2);
    run_cli(&["keys", "retire"], &own.environment()).await.expecting(0);
    keys_held(&replica, 1.0).await;
    assert_eq!(replica.get_json(&full(1)).await["access_token"], "made-up-token-1");
}

/// The rows are counted when no write is under way any more that began before the key was refused.
#[tokio::test]
async fn a_key_by_which_a_write_has_just_sealed_is_not_retired() {
    let own = Own::new().await;
    let replica = own.replica(&own.file).await;
    for n in [1, 2] {
        put_token(&replica, n, &format!("made-up-token-{n}")).await;
    }
    set_aside(&own, "t1").await;
    run_cli(&["keys", "rotate"], &own.environment()).await.expecting(0);
    let write = written_by_the_old_key(&own).await;
    let process = spawn_cli_in(&own.folder, &["keys", "retire"], &own.environment());
    eventually(DEADLINE, "the key is refused", async || {
        own.database.scalar::<i64>(RETIRED).await == 1
    })
    .await;
    write.commit().await.unwrap();
    assert_eq!(process.exited(DEADLINE).await.code(), Some(1));
    let why = process.stderr.text();
    assert!(why.contains("1 rows of tenant_credentials need the key"), "{why}");
    // Nothing was changed.
    assert_eq!(own.database.scalar::<i64>(RETIRED).await, 0);
    assert_eq!(Keyring::load(Path::new(&own.file)).unwrap().size(), 2);
    assert_eq!(replica.get_json(&full(1)).await["access_token"], "made-up-token-1");
    run_cli(&["keys", "rotate"], &own.environment()).await.expecting(0);
    run_cli(&["keys", "retire"], &own.environment()).await.expecting(0);
}

#[tokio::test]
async fn a_key_is_not_retired_while_a_replica_seals_by_it() {
    let own = Own::new().await;
    let file = Path::new(&own.file);
    let copy = copy_of(file, &own.folder, "copy.json");
    let mut editor = KeyringEditor::open(file).unwrap();
    editor.add_next().unwrap();
    editor.promote_next().unwrap();
    let apart = own.replica(copy.to_str().unwrap()).await;
    let process = spawn_cli_in(&own.folder, &["keys", "retire"], &own.environment());
    eventually(DEADLINE, "it waits for the replica", async || {
        let said = process.stderr.text();
        if said.contains("to seal by the primary key") { Ok(()) } else { Err(said) }
    })
    .await;
    assert_eq!(own.database.scalar::<i64>(RETIRED).await, 0);
    // Nothing keeps it from writing, and what it has written is a row that needs the key.
    put_token(&apart, 1, "made-up-token").await;
    copy_of(file, &own.folder, "copy.json");
    assert_eq!(process.exited(DEADLINE).await.code(), Some(1));
    let why = process.stderr.text();
    assert!(why.contains("1 rows of tenant_credentials need the key"), "{why}");
    assert_eq!(Keyring::load(file).unwrap().size(), 2);
}

/// A row that somebody has locked is passed over, and come back to.
#[tokio::test]
async fn a_rotation_does_not_wait_for_a_locked_row() {
    const TENANTS: usize = 40;
    let own = Own::with_tenants(TENANTS).await;
    let replica = own.replica(&own.file).await;
    for n in 1..=TENANTS {
        put_token(&replica, n, "made-up-token").await;
    }
    let old = Keyring::load(Path::new(&own.file)).unwrap().primary();
    let left = format!("SELECT count(*) FROM tenant_credentials WHERE key_id = '{old}'");
    let left = async || own.database.scalar::<i64>(&left).await;
    let rotate = ["keys", "rotate", "--rows-per-second", "5"];
    let process = spawn_cli_in(&own.folder, &rotate, &own.environment());
    // Not before: whatever is under way then is waited for.
    eventually(DEADLINE, "rows are wrapped anew", async || left().await < 40).await;
    let mut lock = own.database.pool().await.begin().await.unwrap();
    // The last one in the order of their texts.
    let row = "SELECT 1 FROM tenant_credentials WHERE tenant_id = 't9' FOR UPDATE";
    assert_eq!(sqlx::query(row).execute(&mut *lock).await.unwrap().rows_affected(), 1);
    eventually(DEADLINE, "all others have the new key", async || {
        let left = left().await;
        if left == 1 { Ok(()) } else { Err((left, process.stderr.text())) }
    })
    .await;
    assert!(process.exit_status().is_none(), "{}", process.stderr.text());
    lock.rollback().await.unwrap();
    let ended = process.exited(DEADLINE).await;
    assert!(ended.success(), "{}", process.stderr.text());
    assert_eq!(left().await, 0);
}

/// Whatever else there is gets the new key; the old one stays for the row that is to be repaired.
#[tokio::test]
async fn a_row_that_does_not_open_is_named_and_stops_nothing_else() {
    let own = Own::new().await;
    let replica = own.replica(&own.file).await;
    for n in 1..=3 {
        put_token(&replica, n, &format!("made-up-token-{n}")).await;
    }
    let broken = "UPDATE tenant_credentials SET wrapped_key = \
                  (SELECT wrapped_key FROM tenant_credentials WHERE tenant_id = 't1') \
                  WHERE tenant_id = 't2'";
    own.database.execute(broken).await;
    let told = run_cli(&["keys", "rotate"], &own.environment()).await.expecting(1).stderr;
    assert!(told.contains("1 rows are left") && told.contains("t2"), "{told}");
    let new = Keyring::load(Path::new(&own.file)).unwrap().primary();
    let others = format!("SELECT count(*) FROM tenant_credentials WHERE key_id = '{new}'");
    assert_eq!(own.database.scalar::<i64>(&others).await, 2);
    let refused = run_cli(&["keys", "retire"], &own.environment()).await.expecting(1).stderr;
    assert!(refused.contains("1 rows of tenant_credentials need the key"), "{refused}");

    // It keeps nobody from replacing a key that has leaked; nor does one that names a key of its own.
    assert!(told.contains("--instead-of"), "{told}");
    let made_up =
        "UPDATE tenant_credentials SET key_id = '0123456789abcdef' WHERE tenant_id = 't2'";
    own.database.execute(made_up).await;
    let told = run_cli(&["keys", "rotate"], &own.environment()).await.expecting(1).stderr;
    assert!(told.contains("0123456789abcdef"), "{told}");
    assert_eq!(Keyring::load(Path::new(&own.file)).unwrap().primary(), new);
    let nobody = ["keys", "rotate", "--instead-of", "fedcba9876543210"];
    let told = run_cli(&nobody, &own.environment()).await.expecting(1).stderr;
    assert!(told.contains("has no key fedcba9876543210"), "{told}");
    let rotate = ["keys", "rotate", "--instead-of", &new];
    let mut newest = new.clone();
    // Also when it is tried again.
    for size in [3, 3] {
        let told = run_cli(&rotate, &own.environment()).await.expecting(1).stderr;
        assert!(told.contains("1 rows are left") && told.contains("t2"), "{told}");
        let keyring = Keyring::load(Path::new(&own.file)).unwrap();
        newest = keyring.primary();
        assert_eq!(keyring.size(), size);
    }
    let others = format!("SELECT count(*) FROM tenant_credentials WHERE key_id = '{newest}'");
    assert_eq!((own.database.scalar::<i64>(&others).await, newest == new), (2, false));
    let body = json!({"type": "whatsapp", "credentials": {"access_token": "made-up-token-4"}});
    replica.put_json("/api/tenants/t3/credentials", &body).await.expecting(200);
    // What is destroyed need not open for that.
    let destroy = format!("{}/destroy", full(2));
    replica.post_json(&destroy, &json!({})).await.expecting(200);
    run_cli(&["keys", "rotate"], &own.environment()).await.expecting(0);
    run_cli(&["keys", "retire"], &own.environment()).await.expecting(0);
}
