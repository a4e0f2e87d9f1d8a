//! Data keys wrapped anew, in both stores.

use serde_json::json;
use tenant_service::crypto::KeyringEditor;
use tenant_service::domain::CredentialType::{Genesys, Whatsapp};
use tenant_service::domain::{AccessToken, Limits};
use tenant_service::store::{KeyUse, StoreError, WrapPlace};

use super::audit::unguard;
use super::bed::{Bed, tenant_id};
use super::tokens::{create, new};

/// What names the first key then: credentials, those that were superseded, and the pepper of tokens.
const ROWS: u64 = 6 + 3 + 1;

/// A bed whose keyring is its own, with credentials and a token under its first key, and a second one
/// that seals from now on.
async fn rotated(bed: &Bed) -> (Bed, String, AccessToken) {
    let (bed, keyring, file) = bed.with_own_keyring().await;
    for id in ["a", "b", "c"] {
        bed.create(id, "", "").await;
        bed.set(id, Genesys, json!({"clientSecret": format!("of-{id}-1")})).await;
        bed.set(id, Genesys, json!({"clientSecret": format!("of-{id}-2")})).await;
        bed.set(id, Whatsapp, json!({"access_token": format!("of-{id}")})).await;
    }
    let token = create(&bed, &new(Limits::NONE)).await;
    let old = keyring.primary();
    let mut editor = KeyringEditor::open(&file).unwrap();
    editor.add_next().unwrap();
    editor.promote_next().unwrap();
    assert!(keyring.reload(&file).unwrap());
    (bed, old, token)
}

/// A whole pass, a few rows at a time.
async fn pass(bed: &Bed) -> (u64, Vec<StoreError>) {
    let (mut place, mut rows, mut refused) = (Some(WrapPlace::default()), 0, Vec::new());
    while let Some(from) = place {
        let step = bed.store.rewrap(from, 2).await.unwrap();
        rows += step.rewrapped;
        refused.extend(step.refused);
        place = step.next;
    }
    (rows, refused)
}

fn rows_of(uses: &[KeyUse], key: &str) -> u64 {
    uses.iter().filter(|used| used.key_id == key).map(|used| used.rows).sum()
}

pub(super) async fn a_pass_changes_nothing_but_the_keys(bed: &Bed) {
    let (bed, old, token) = rotated(bed).await;
    let seen = bed.snapshot().await;
    let columns =
        "SELECT tenant_id || '|' || credential_type || '|' || version || '|' || id || '|'";
    let current = format!("{columns} || updated_at FROM tenant_credentials ORDER BY 1");
    let revisions = "SELECT id || '|' || revision || '|' || updated_at FROM tenants ORDER BY id";
    let before = (bed.texts(&current).await, bed.texts(revisions).await);
    assert_eq!(rows_of(&bed.store.key_uses().await.unwrap(), &old), ROWS);

    let (rows, refused) = pass(&bed).await;
    assert_eq!((rows, refused.len()), (ROWS, 0));
    assert_eq!(pass(&bed).await.0, 0, "and there is nothing left");
    let uses = bed.store.key_uses().await.unwrap();
    assert_eq!((rows_of(&uses, &old), uses.iter().map(|used| used.rows).sum::<u64>()), (0, ROWS));
    assert_eq!((bed.texts(&current).await, bed.texts(revisions).await), before);
    assert_eq!(bed.since(&seen).await.len(), 0);
    for id in ["a", "b", "c"] {
        let found = bed.store.credentials(&tenant_id(id), Genesys).await.unwrap().unwrap();
        assert_eq!(found.credentials.reveal()["clientSecret"], format!("of-{id}-2"));
    }
    let peppers = "SELECT count(*) FROM tenant_token_pepper";
    assert_eq!(bed.number(&format!("{peppers} WHERE key_id = '{old}'")).await, 0);
    let issued = bed.store.token(token.id()).await.unwrap().unwrap();
    assert!(bed.store.pepper().await.unwrap().unwrap().verifies(&token, &issued.hash));
}

/// However many rows have the new key already: each look is at so many, and goes on behind them.
pub(super) async fn rows_that_are_done_are_passed_over(bed: &Bed) {
    const DONE: u64 = 12_000;
    let (bed, ..) = rotated(bed).await;
    assert_eq!(pass(&bed).await.0, ROWS);
    // Of versions that nobody has, before one that is left.
    let copy = format!(
        "INSERT INTO tenant_credential_history (tenant_id, credential_type, version, id, key_id, \
             wrapped_key, sealed, valid_from, superseded_at) \
         WITH RECURSIVE n (n) AS (SELECT 3 UNION ALL SELECT n + 1 FROM n WHERE n < {DONE} + 2) \
         SELECT tenant_id, credential_type, n, id, key_id, wrapped_key, sealed, valid_from, superseded_at \
         FROM tenant_credential_history, n WHERE tenant_id = 'a'"
    );
    bed.by_hand(&copy).await.unwrap();
    let (mut place, mut looks) = (Some(WrapPlace::default()), 0);
    while let Some(from) = place {
        let step = bed.store.rewrap(from, 200).await.unwrap();
        assert_eq!((step.rewrapped, step.refused.len()), (0, 0));
        (place, looks) = (step.next, looks + 1);
    }
    // Three of the history, one of the current ones, and one at the end of each of four tables.
    assert!((8..=10).contains(&looks), "{looks}");
}

pub(super) async fn what_does_not_open_is_refused_and_stays(bed: &Bed) {
    let (bed, old, _) = rotated(bed).await;
    bed.by_hand(
        "UPDATE tenant_credentials SET wrapped_key = (
             SELECT wrapped_key FROM tenant_credentials o
             WHERE o.tenant_id = 'a' AND o.credential_type = 'genesys')
         WHERE tenant_id = 'b' AND credential_type = 'genesys'",
    )
    .await
    .unwrap();
    let (rows, refused) = pass(&bed).await;
    assert_eq!(rows, ROWS - 1);
    assert!(matches!(&refused[..], [StoreError::Refused { .. }]), "{refused:?}");
    assert_eq!(rows_of(&bed.store.key_uses().await.unwrap(), &old), 1);
}

pub(super) async fn a_pepper_that_does_not_open_is_left_as_it_is(bed: &Bed) {
    let (bed, old, _) = rotated(bed).await;
    bed.by_hand("UPDATE tenant_token_pepper SET wrapped_key = (SELECT wrapped_key FROM tenant_credentials LIMIT 1)")
        .await
        .unwrap();
    let (rows, refused) = pass(&bed).await;
    assert_eq!(rows, ROWS - 1);
    assert!(matches!(&refused[..], [StoreError::PepperRefused(_)]), "{refused:?}");
    let uses = bed.store.key_uses().await.unwrap();
    let left = KeyUse { table: "tenant_token_pepper", key_id: old, rows: 1 };
    assert!(uses.contains(&left), "{uses:?}");
}

pub(super) async fn a_retired_key_is_refused_whoever_writes(bed: &Bed) {
    let (bed, old, _) = rotated(bed).await;
    bed.store.chain().await.unwrap();
    assert_eq!(pass(&bed).await.0, ROWS);
    let keys = [old.clone()];
    bed.store.retire_keys(&keys).await.unwrap();
    bed.store.retire_keys(&keys).await.unwrap();
    let put_back = format!("UPDATE tenant_credentials SET key_id = '{old}' WHERE tenant_id = 'a'");
    unguard(&bed).await;
    for table in ["tenant_credentials", "tenant_token_pepper", "tenant_audit_chain"] {
        let kept = format!("CREATE TABLE kept AS SELECT * FROM {table}");
        bed.by_hand(&format!("{kept}; UPDATE kept SET key_id = '{old}'")).await.unwrap();
        let anew = format!("DELETE FROM {table}; INSERT INTO {table} SELECT * FROM kept");
        for refused in [
            format!("UPDATE {table} SET key_id = '{old}'"),
            // In one transaction, that fails as a whole.
            format!("BEGIN; {anew}; COMMIT"),
        ] {
            let why = bed.by_hand(&refused).await.unwrap_err().to_string();
            assert!(why.contains("taken out of the keyring"), "{refused}: {why}");
        }
        bed.by_hand("DROP TABLE kept").await.unwrap();
    }
    assert!(bed.store.pepper().await.unwrap().is_some());
    bed.set("a", Genesys, json!({"clientSecret": "of-a-3"})).await;
    bed.store.reinstate_keys(&keys).await.unwrap();
    bed.by_hand(&put_back).await.unwrap();
}

pub(super) async fn one_rotation_at_a_time(bed: &Bed) {
    let first = bed.store.lock_rotation().await.unwrap();
    assert!(first.is_some());
    assert!(bed.store.lock_rotation().await.unwrap().is_none());
    drop(first);
    crate::harness::eventually(
        std::time::Duration::from_secs(20),
        "the lock goes with whoever has it",
        async || bed.store.lock_rotation().await.unwrap().is_some(),
    )
    .await;
}
