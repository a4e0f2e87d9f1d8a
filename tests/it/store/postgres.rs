//! What only Postgres has.

use std::time::{Duration, Instant};

use secrecy::SecretString;
use serde_json::json;
use tenant_service::domain::{ChangeKind, CredentialType, Credentials, Edit, TenantPatch};
use tenant_service::store::{CredentialStore, MigrateError, Postgres, Store, StoreError, Tenants};

use super::bed::{ALWAYS, Backend, Bed, by, lines, new_tenant, tenant_id};
use crate::harness::keyring::keyring;
use crate::harness::{self, Database, eventually};

fn database(bed: &Bed) -> &Database {
    match &bed.backend {
        Backend::Postgres(_, database) => database,
        Backend::Sqlite(..) => unreachable!("a bed of Postgres"),
    }
}

#[tokio::test]
async fn a_truncation_is_a_reset() {
    let bed = Bed::postgres().await;
    bed.create("a", "1", "i1").await;
    for (statement, resets) in [("TRUNCATE tenant_credentials", 1), ("TRUNCATE tenants CASCADE", 2)]
    {
        let before = bed.snapshot().await;
        bed.by_hand(statement).await.unwrap();
        let changes = bed.since(&before).await;
        assert_eq!(changes.len(), resets, "{statement}");
        for change in changes {
            assert_eq!((change.kind, change.tenant_id), (ChangeKind::Reset, None));
            assert_eq!(change.keys, []);
        }
    }
}

#[tokio::test]
async fn a_session_that_replays_is_logged_and_leaves_no_secret() {
    let bed = Bed::postgres().await;
    bed.create("a", "1", "i1").await;
    bed.set("a", CredentialType::Genesys, json!({"clientId": "c"})).await;
    let before = bed.snapshot().await;
    // Foreign keys are off in such a session.
    database(&bed)
        .execute_as_admin(
            "SET session_replication_role = replica; \
             UPDATE tenants SET phone_number_id = '2'; \
             UPDATE tenant_credentials SET sealed = ''; \
             DELETE FROM tenants; TRUNCATE tenant_credentials",
        )
        .await;
    let mut found = lines(&bed.since(&before).await);
    found.sort();
    assert_eq!(
        found,
        [
            "credentials.revoked v1: tenant:a tenant:a:credentials:genesys",
            "credentials.updated v1: integration:i1 phone:2 tenant:a tenant:a:credentials:genesys",
            "reset: ",
            "tenant.deleted: integration:i1 phone:2 tenant:a tenant:a:credentials:genesys \
             tenant:a:credentials:whatsapp",
            "tenant.updated: integration:i1 phone:1 phone:2 tenant:a",
        ]
    );
    assert_eq!(bed.number("SELECT count(*) FROM tenant_credentials").await, 0);
}

/// Whichever table they are on, and whatever is added to them.
#[tokio::test]
async fn every_trigger_fires_always_and_finds_our_tables() {
    let bed = Bed::postgres().await;
    let triggers = "FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
         WHERE NOT t.tgisinternal AND c.relnamespace = 'public'::regnamespace";
    assert!(bed.number(&format!("SELECT count(*) {triggers}")).await > 10);
    let sometimes = format!("SELECT t.tgname::text {triggers} AND t.tgenabled <> 'A'");
    assert_eq!(bed.texts(&sometimes).await, Vec::<String>::new());
    let anywhere = "SELECT p.proname::text FROM pg_proc p
         WHERE p.pronamespace = 'public'::regnamespace AND p.prorettype = 'trigger'::regtype
             AND NOT coalesce('search_path=public, pg_temp' = ANY (p.proconfig), false)";
    assert_eq!(bed.texts(anywhere).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_writer_may_have_any_search_path() {
    let bed = Bed::postgres().await;
    let before = bed.snapshot().await;
    database(&bed)
        .execute_as_admin(
            "SET search_path = pg_catalog; \
             INSERT INTO public.tenants (id, name) VALUES ('a', 'A'); \
             DELETE FROM public.tenants",
        )
        .await;
    assert_eq!(bed.since(&before).await.len(), 2);
}

fn to_phone(phone: &str) -> TenantPatch {
    let phone_number_id = Edit::Set(phone.parse().unwrap());
    TenantPatch { phone_number_id, ..TenantPatch::default() }
}

/// Two patches that would each wait for the other at a unique index, if they waited.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_of_phones_is_refused() {
    let bed = Bed::postgres().await;
    bed.create("a", "1", "i1").await;
    bed.create("b", "2", "i2").await;
    for _ in 0..20 {
        let give = async |id, phone| {
            bed.store.patch_tenant(&tenant_id(id), &to_phone(phone), &ALWAYS, &by()).await
        };
        let (one, other) = tokio::join!(give("a", "2"), give("b", "1"));
        for refused in [one, other] {
            let duplicate = matches!(refused, Err(StoreError::Duplicate("phone_number_id")));
            assert!(duplicate, "{refused:?}");
        }
    }
}

#[tokio::test]
async fn a_number_that_another_transaction_is_about_to_release_is_not_waited_for() {
    let bed = Bed::postgres().await;
    bed.create("a", "1", "i1").await;
    bed.create("b", "2", "i2").await;
    let mut other = database(&bed).pool().await.begin().await.unwrap();
    sqlx::query(
        "UPDATE tenants SET phone_number_id = NULL, genesys_integration_id = NULL WHERE id = 'b'",
    )
    .execute(&mut *other)
    .await
    .unwrap();
    let refused = bed.store.patch_tenant(&tenant_id("a"), &to_phone("2"), &ALWAYS, &by()).await;
    assert!(matches!(refused, Err(StoreError::Duplicate("phone_number_id"))), "{refused:?}");
    let refused = bed.store.create_tenant(&new_tenant("c", "3", "i2"), &by()).await;
    assert!(matches!(refused, Err(StoreError::Duplicate("genesys_integration_id"))), "{refused:?}");
    other.commit().await.unwrap();
    bed.store.patch_tenant(&tenant_id("a"), &to_phone("2"), &ALWAYS, &by()).await.unwrap().unwrap();
}

/// Only a transaction by hand that locks two tenants can bring one about.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_victim_of_a_deadlock_is_told_and_has_written_nothing() {
    let bed = Bed::postgres().await;
    bed.create("a", "1", "i1").await;
    bed.create("b", "2", "i2").await;
    let mut other = database(&bed).pool().await.begin().await.unwrap();
    sqlx::query("UPDATE tenants SET phone_number_id = '9' WHERE id = 'b'")
        .execute(&mut *other)
        .await
        .unwrap();
    let id = tenant_id("a");
    let by_hand = async {
        eventually(Duration::from_secs(5), "the patch waits for the number", async || {
            let waiting = "SELECT count(*) FROM pg_stat_activity \
                WHERE datname = current_database() AND wait_event_type = 'Lock'";
            database(&bed).scalar::<i64>(waiting).await == 1
        })
        .await;
        sqlx::query("UPDATE tenants SET name = 'by hand'").execute(&mut *other).await.unwrap();
        other.commit().await.unwrap();
    };
    let patch = to_phone("9");
    let by = by();
    let (refused, ()) = tokio::join!(bed.store.patch_tenant(&id, &patch, &ALWAYS, &by), by_hand);
    let refused = refused.unwrap_err();
    assert!(matches!(refused, StoreError::Unavailable(_)), "{refused:?}");
    assert!(format!("{refused:?}").contains("40P01"), "{refused:?}");
    let tenant = bed.store.tenant(&id).await.unwrap().unwrap();
    assert_eq!((tenant.name.as_str(), tenant.phone_number_id.unwrap().as_str()), ("by hand", "1"));
}

#[tokio::test]
async fn an_error_never_holds_what_was_sent() {
    let bed = Bed::postgres().await;
    bed.create("a", "1", "i1").await;
    let check = "ALTER TABLE tenants ADD CONSTRAINT tenants_no_such CHECK (name !~ 'hunter2')";
    bed.by_hand(check).await.unwrap();
    // The server's answer quotes the whole row.
    let refused =
        bed.store.create_tenant(&new_tenant("hunter2", "2", "i2"), &by()).await.unwrap_err();
    assert!(matches!(refused, StoreError::Unexpected(_)), "{refused:?}");
    assert!(!format!("{refused:?} {refused:#}").contains("hunter2"), "{refused:?}");
    // And it is of the schema's making, not of ours, that there is an error at all.
    assert!(format!("{refused:?}").contains("SQLSTATE 23514"), "{refused:?}");
}

#[tokio::test]
async fn a_password_is_never_shown() {
    let url = SecretString::from("postgres://svc:hunter2@localhost:1/db");
    let store = Postgres::connect(&url, keyring(), 1).unwrap();
    assert!(!format!("{store:?}").contains("hunter2"));
    let refused =
        Postgres::connect(&SecretString::from("postgres://svc:hunter2@:x/"), keyring(), 1);
    assert!(!format!("{refused:?}").contains("hunter2"));
    assert!(refused.is_err());
}

#[tokio::test]
async fn a_server_that_is_away_is_an_error_in_time_and_comes_back_unnoticed() {
    let server = harness::Postgres::own_cluster().await;
    let database = server.database().await;
    let url = SecretString::from(database.url.as_str());
    let store = Postgres::connect(&url, keyring(), 4).unwrap();
    store.migrate().await.unwrap();
    store.create_tenant(&new_tenant("a", "1", "i1"), &by()).await.unwrap();
    // Connections that the restart will kill.
    tokio::join!(
        async { store.ping().await.unwrap() },
        async { store.is_empty().await.unwrap() },
        async { store.ping().await.unwrap() },
    );
    server.stop().await;
    let began = Instant::now();
    let lost = store.tenant(&tenant_id("a")).await;
    assert!(matches!(lost, Err(StoreError::Unavailable(_))), "{lost:?}");
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());

    server.start().await;
    for _ in 0..8 {
        assert!(store.tenant(&tenant_id("a")).await.unwrap().is_some());
    }
    server.crash().await;
    server.start().await;
    let credentials = Credentials::new(CredentialType::Genesys, json!({"clientId": "c"})).unwrap();
    let id = tenant_id("a");
    let by = by();
    let set = store.set_credentials(&id, CredentialType::Genesys, &credentials, None, &ALWAYS, &by);
    assert_eq!(set.await.unwrap().unwrap().value.version, 1);
}

#[tokio::test]
async fn a_row_that_somebody_keeps_locked_is_an_error_in_time() {
    let bed = Bed::postgres().await;
    bed.create("a", "1", "i1").await;
    let mut holder = database(&bed).pool().await.begin().await.unwrap();
    sqlx::query("SELECT 1 FROM tenants FOR UPDATE").execute(&mut *holder).await.unwrap();
    let patch = TenantPatch { name: Some("B".parse().unwrap()), ..TenantPatch::default() };
    let refused = bed.store.patch_tenant(&tenant_id("a"), &patch, &ALWAYS, &by()).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    holder.rollback().await.unwrap();
    let done =
        bed.store.patch_tenant(&tenant_id("a"), &patch, &ALWAYS, &by()).await.unwrap().unwrap();
    assert_eq!(done.value.name, "B");
}

#[tokio::test]
async fn a_read_only_database_is_not_migrated() {
    let bed = Bed::postgres().await;
    let name = &database(&bed).name;
    let sql = format!("ALTER DATABASE {name} SET default_transaction_read_only = on");
    database(&bed).execute_as_admin(&sql).await;
    let refused = bed.migrate().await.unwrap_err();
    assert!(matches!(refused, MigrateError::ReadOnly), "{refused:?}");
}

#[tokio::test]
async fn an_encoding_that_cannot_hold_every_text_is_refused() {
    for encoding in ["SQL_ASCII", "LATIN1"] {
        let database = harness::Postgres::shared().await.encoded_database(encoding).await;
        let store =
            Postgres::connect(&SecretString::from(database.url.as_str()), keyring(), 1).unwrap();
        let refused = store.migrate().await.unwrap_err();
        let named = matches!(&refused, MigrateError::Encoding { found } if found == encoding);
        assert!(named && refused.to_string().contains("UTF8"), "{refused:?}");
        let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
        assert_eq!(database.scalar::<i64>(tables).await, 0);
    }
}

/// What the refusal of another program's migrations advises.
#[tokio::test]
async fn a_schema_of_ones_own_is_enough() {
    let bed = Bed::postgres().await.unmigrated().await;
    bed.by_hand("CREATE TABLE _sqlx_migrations (version bigint)").await.unwrap();
    assert!(matches!(bed.migrate().await, Err(MigrateError::ForeignMigrations)));
    let (role, name) = (harness::postgres::SERVICE, &database(&bed).name);
    let own = format!(
        "CREATE SCHEMA ours AUTHORIZATION {role}; \
         ALTER ROLE {role} IN DATABASE {name} SET search_path = ours"
    );
    database(&bed).execute_as_admin(&own).await;
    for _ in 0..2 {
        bed.migrate().await.unwrap();
    }
    let head = bed.store.log_head().await.unwrap();
    bed.create("a", "1", "i1").await;
    assert_eq!(bed.since(&head.snapshot).await.len(), 1);
    assert_eq!(bed.number("SELECT count(*) FROM ours.tenants").await, 1);
    assert_eq!(bed.number("SELECT count(*) FROM public._sqlx_migrations").await, 0);
}
