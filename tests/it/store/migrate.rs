//! Migrations, in both stores.

use tenant_service::store::MigrateError;
use tokio::task::JoinSet;

use super::bed::{Backend, Bed};

pub(super) async fn migrating_again_changes_nothing(bed: &Bed) {
    bed.create("a", "1", "i1").await;
    let head = bed.store.log_head().await.unwrap();
    bed.migrate().await.unwrap();
    let after = bed.store.log_head().await.unwrap();
    assert_eq!((after.identity, after.pruned_below), (head.identity, head.pruned_below));
    assert_eq!(bed.number("SELECT count(*) FROM tenants").await, 1);
    assert_eq!(bed.number("SELECT count(*) FROM tenant_changes").await, 1);
}

pub(super) async fn replicas_may_migrate_at_once(bed: &Bed) {
    let bed = std::sync::Arc::new(bed.unmigrated().await);
    let mut replicas = JoinSet::new();
    for _ in 0..8 {
        let bed = bed.clone();
        replicas.spawn(async move { bed.migrate().await });
    }
    for migrated in replicas.join_all().await {
        migrated.unwrap();
    }
    assert_eq!(bed.number("SELECT count(*) FROM _sqlx_migrations").await, 1);
    bed.create("a", "1", "i1").await;
}

pub(super) async fn tables_of_another_program_are_refused_and_untouched(bed: &Bed) {
    let bed = bed.unmigrated().await;
    bed.by_hand(
        "CREATE TABLE tenants (tenant_id text PRIMARY KEY, name text); \
         INSERT INTO tenants VALUES ('a', 'A'); CREATE TABLE tenant_credentials (id text)",
    )
    .await
    .unwrap();
    let tables = match &bed.backend {
        Backend::Postgres(..) => {
            "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        }
        Backend::Sqlite(..) => "SELECT count(*) FROM sqlite_schema",
    };
    let before = bed.number(tables).await;
    for _ in 0..2 {
        let refused = bed.migrate().await.unwrap_err();
        let message = refused.to_string();
        let MigrateError::ForeignSchema { tables } = refused else { panic!("{refused:?}") };
        let mut tables = tables;
        tables.sort();
        assert_eq!(tables, ["tenant_credentials", "tenants"]);
        assert!(message.contains("nothing was changed"), "{message}");
        assert!(message.contains("tenant-service tenants import --from postgres://"), "{message}");
    }
    assert_eq!(bed.number(tables).await, before);
    assert_eq!(bed.number("SELECT count(*) FROM tenants").await, 1);

    // Somebody else's migrations don't make them ours.
    bed.by_hand(
        "CREATE TABLE _sqlx_migrations (version bigint PRIMARY KEY); \
         INSERT INTO _sqlx_migrations VALUES (20200101)",
    )
    .await
    .unwrap();
    let refused = bed.migrate().await.unwrap_err();
    assert!(matches!(refused, MigrateError::ForeignSchema { .. }), "{refused:?}");
}

pub(super) async fn a_newer_schema_is_refused(bed: &Bed) {
    bed.by_hand(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         SELECT 9999, 'of tomorrow', success, checksum, 0 FROM _sqlx_migrations",
    )
    .await
    .unwrap();
    let refused = bed.migrate().await.unwrap_err();
    assert!(matches!(refused, MigrateError::Newer { migration: 9999 }), "{refused:?}");
}

pub(super) async fn an_altered_schema_is_refused(bed: &Bed) {
    bed.by_hand("UPDATE _sqlx_migrations SET checksum = checksum || checksum").await.unwrap();
    let refused = bed.migrate().await.unwrap_err();
    assert!(matches!(refused, MigrateError::Altered { migration: 1 }), "{refused:?}");
}
