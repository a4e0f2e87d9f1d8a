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
    let twice = "SELECT count(*) - count(DISTINCT version) FROM _sqlx_migrations";
    assert_eq!(bed.number(twice).await, 0);
    bed.create("a", "1", "i1").await;
}

/// Every table and index that is there.
fn objects(bed: &Bed) -> &'static str {
    match &bed.backend {
        Backend::Postgres(..) => {
            "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        }
        Backend::Sqlite(..) => "SELECT count(*) FROM sqlite_schema",
    }
}

/// Each on its own, so that a foreign one is refused whichever it is.
pub(super) async fn every_table_is_known_to_be_ours(bed: &Bed) {
    let names = match &bed.backend {
        Backend::Postgres(..) => "SELECT tablename FROM pg_tables WHERE schemaname = 'public'",
        Backend::Sqlite(..) => {
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        }
    };
    let tables = bed.texts(names).await;
    assert!(tables.len() >= 6, "{tables:?}");
    for table in tables {
        let other = bed.unmigrated().await;
        other.by_hand(&format!("CREATE TABLE {table} (theirs text)")).await.unwrap();
        let refused = other.migrate().await.unwrap_err();
        assert!(refused.to_string().contains(&table), "{table}: {refused:?}");
    }
}

pub(super) async fn tables_of_another_program_are_refused_and_untouched(bed: &Bed) {
    let bed = bed.unmigrated().await;
    bed.by_hand(
        "CREATE TABLE tenants (tenant_id text PRIMARY KEY, name text); \
         INSERT INTO tenants VALUES ('a', 'A'); CREATE TABLE tenant_credentials (id text)",
    )
    .await
    .unwrap();
    let before = bed.number(objects(&bed)).await;
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
    assert_eq!(bed.number(objects(&bed)).await, before);
    assert_eq!(bed.number("SELECT count(*) FROM tenants").await, 1);
}

pub(super) async fn migrations_of_another_program_are_refused_and_untouched(bed: &Bed) {
    let record = "CREATE TABLE _sqlx_migrations (version bigint, description text, checksum";
    let bytes = match &bed.backend {
        Backend::Postgres(..) => "bytea",
        Backend::Sqlite(..) => "blob",
    };
    for (theirs, rows) in [
        (
            "CREATE TABLE _sqlx_migrations (version bigint); \
          INSERT INTO _sqlx_migrations VALUES (1)"
                .to_owned(),
            1,
        ),
        (
            "CREATE TABLE _sqlx_migrations (version text, description int, checksum int); \
          INSERT INTO _sqlx_migrations VALUES ('x', 1, 1)"
                .to_owned(),
            1,
        ),
        // The library's own, with a migration that has the number of our first one.
        (
            format!(
                "{record} {bytes}); INSERT INTO _sqlx_migrations VALUES (1, 'their first', '')"
            ),
            1,
        ),
        (format!("{record} {bytes}); CREATE TABLE tenants (id text)"), 0),
    ] {
        let bed = bed.unmigrated().await;
        bed.by_hand(&theirs).await.unwrap();
        let before = bed.number(objects(&bed)).await;
        let refused = bed.migrate().await.unwrap_err();
        assert!(matches!(refused, MigrateError::ForeignMigrations), "{theirs}: {refused:?}");
        let message = refused.to_string();
        assert!(message.contains("_sqlx_migrations"), "{message}");
        assert!(message.contains("database of its own"), "{message}");
        assert_eq!(bed.number(objects(&bed)).await, before);
        assert_eq!(bed.number("SELECT count(*) FROM _sqlx_migrations").await, rows);
    }
}

pub(super) async fn a_newer_schema_is_refused(bed: &Bed) {
    bed.by_hand(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         SELECT 9999, 'of tomorrow', success, checksum, 0 FROM _sqlx_migrations WHERE version = 1",
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
