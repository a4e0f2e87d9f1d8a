//! The log of Postgres, where transactions do not commit in the order of their numbers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use secrecy::SecretString;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tenant_service::coherence::{Cursor, Restart};
use tenant_service::store::{ChangeLog, Postgres, StoreError};
use tokio::task::JoinSet;

use super::bed::{Backend, Bed};
use crate::harness;
use crate::harness::keyring::keyring;

const WRITERS: usize = 12;
const ROUNDS: usize = 60;

/// Writes tenants of its own, some in transactions that are rolled back, some in long ones.
async fn write(url: String, writer: usize) -> usize {
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let mut committed = 0;
    for round in 0..ROUNDS {
        let mut transaction = connection.begin().await.unwrap();
        for part in 0..=(round % 3) {
            let insert =
                format!("INSERT INTO tenants (id, name) VALUES ('w{writer}-{round}-{part}', 'W')");
            sqlx::raw_sql(AssertSqlSafe(insert)).execute(&mut *transaction).await.unwrap();
        }
        if (round + writer).is_multiple_of(4) {
            transaction.rollback().await.unwrap();
        } else {
            transaction.commit().await.unwrap();
            committed += 1 + round % 3;
        }
    }
    committed
}

/// In a cluster of its own, for its open transaction would hold back the pruning of other tests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_committed_change_is_read_exactly_once() {
    let server = harness::Postgres::own_cluster().await;
    let database = server.database().await;
    let store =
        Postgres::connect(&SecretString::from(database.url.as_str()), keyring(), 4).unwrap();
    store.migrate().await.unwrap();
    let mut cursor = Cursor::starting_at(store.log_head().await.unwrap());

    // Has its number and its rows before all others, and commits after them.
    let mut oldest = database.pool().await.begin().await.unwrap();
    let insert = "INSERT INTO tenants (id, name) VALUES ('oldest', 'O')";
    sqlx::query(insert).execute(&mut *oldest).await.unwrap();

    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        writers.spawn(write(database.url.clone(), writer));
    }
    let done = Arc::new(AtomicBool::new(false));
    let reader = {
        let (store, done) = (store.clone(), done.clone());
        async move {
            let mut seen = BTreeMap::<String, usize>::new();
            let mut polls = 0;
            loop {
                // Before the poll: the last one begins after the last commit.
                let last = done.load(Ordering::SeqCst);
                let mut read = store.log_since(cursor.snapshot(), None).await.unwrap();
                let head = read.head.clone();
                loop {
                    assert_eq!(cursor.continues_at(&read.head), Ok(()));
                    for change in read.changes {
                        *seen.entry(change.tenant_id.unwrap()).or_default() += 1;
                    }
                    let Some(page) = read.next else { break };
                    read = store.log_since(cursor.snapshot(), Some(&page)).await.unwrap();
                }
                cursor.advance(head.snapshot);
                polls += 1;
                if last {
                    return (seen, polls);
                }
            }
        }
    };
    let mut readers = JoinSet::new();
    readers.spawn(reader);
    let committed: usize = writers.join_all().await.into_iter().sum();
    oldest.commit().await.unwrap();
    done.store(true, Ordering::SeqCst);
    let (seen, polls) = readers.join_all().await.pop().unwrap();

    assert!(polls > 5, "{polls} polls are too few to meet a writer");
    let twice: Vec<_> = seen.iter().filter(|(_, count)| **count != 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    assert_eq!(seen.len(), committed + 1);
    assert!(seen.contains_key("oldest"));
    let rows: i64 = database.scalar("SELECT count(*) FROM tenants").await;
    assert_eq!(usize::try_from(rows).unwrap(), committed + 1);
}

/// The rows of a transaction that was open when a page was read are of no page of that poll.
#[tokio::test]
async fn a_transaction_that_commits_between_pages_is_of_the_next_poll() {
    let bed = Bed::postgres().await;
    let Backend::Postgres(store, database) = &bed.backend else { unreachable!() };
    let start = bed.snapshot().await;
    let mut open = database.pool().await.begin().await.unwrap();
    let insert = "INSERT INTO tenants (id, name) SELECT 'o' || i, 'O' FROM generate_series(1, 5) i";
    sqlx::query(insert).execute(&mut *open).await.unwrap();
    bed.by_hand(
        "INSERT INTO tenants (id, name) SELECT 'm' || i, 'M' FROM generate_series(1, 1500) i",
    )
    .await
    .unwrap();
    sqlx::query("INSERT INTO tenants (id, name) VALUES ('o6', 'O')")
        .execute(&mut *open)
        .await
        .unwrap();
    let first = store.log_since(&start, None).await.unwrap();
    open.commit().await.unwrap();
    let second = store.log_since(&start, first.next.as_ref()).await.unwrap();
    assert_eq!((first.changes.len(), second.changes.len()), (1_000, 500));
    assert!(second.next.is_none());
    assert_eq!(bed.since(&first.head.snapshot).await.len(), 6);
}

#[tokio::test]
async fn one_replica_prunes_at_a_time_and_never_what_may_be_unread() {
    let server = harness::Postgres::own_cluster().await;
    let database = server.database().await;
    let store =
        Postgres::connect(&SecretString::from(database.url.as_str()), keyring(), 4).unwrap();
    store.migrate().await.unwrap();
    let mut open = database.pool().await.begin().await.unwrap();
    sqlx::query("INSERT INTO tenants (id, name) VALUES ('open', 'O')")
        .execute(&mut *open)
        .await
        .unwrap();
    database.execute("INSERT INTO tenants (id, name) VALUES ('newer', 'N')").await;
    let old = "UPDATE tenant_changes SET occurred_at = '2020-01-01'";
    database.execute(old).await;
    // A cursor whose transaction is still running has not read past it.
    let hour = Duration::from_hours(1);
    assert_eq!(store.prune_log(hour).await.unwrap(), Some(0));
    open.commit().await.unwrap();
    database.execute(old).await;

    let mut other = database.pool().await.begin().await.unwrap();
    let lock = "SELECT pg_advisory_xact_lock(5241780906271338)";
    sqlx::query(lock).execute(&mut *other).await.unwrap();
    assert_eq!(store.prune_log(hour).await.unwrap(), None);
    other.rollback().await.unwrap();
    assert_eq!(store.prune_log(hour).await.unwrap(), Some(2));
}

#[tokio::test]
async fn a_truncated_log_has_every_reader_start_over() {
    let bed = Bed::postgres().await;
    let cursor = Cursor::starting_at(bed.store.log_head().await.unwrap());
    bed.create("a", "1", "i1").await;
    bed.by_hand("TRUNCATE tenant_changes").await.unwrap();
    let head = bed.store.log_head().await.unwrap();
    assert!(cursor.continues_at(&head).is_err());
}

/// A dump brings along transaction ids that mean nothing in the cluster where it is restored.
#[tokio::test]
async fn a_log_of_another_database_is_forgotten() {
    let bed = Bed::postgres().await;
    bed.create("a", "1", "i1").await;
    bed.by_hand(
        "UPDATE tenant_changes SET xid = '900000000000'; \
         UPDATE tenant_changes_horizon SET database = 'another/1', pruned_below = 800000000000",
    )
    .await
    .unwrap();
    bed.migrate().await.unwrap();
    let head = bed.store.log_head().await.unwrap();
    assert_eq!(head.pruned_below, 0);
    let cursor = Cursor::starting_at(head);
    bed.create("b", "2", "i2").await;
    assert_eq!(bed.since(cursor.snapshot()).await.len(), 1);
    assert_eq!(bed.number("SELECT count(*) FROM tenant_changes").await, 1);
}

#[tokio::test]
async fn the_head_tells_databases_apart() {
    let (one, other) = (Bed::postgres().await, Bed::postgres().await);
    let head = one.store.log_head().await.unwrap();
    let identity = other.store.log_head().await.unwrap().identity;
    assert_ne!(head.identity.database, identity.database);
    let (timeline, incarnation) = head.identity.timeline.split_once('/').unwrap();
    assert_eq!(timeline, "00000001");
    assert!(!incarnation.is_empty());
    // What a crash of the server does to an unlogged table.
    one.by_hand("TRUNCATE tenant_changes_incarnation").await.unwrap();
    let cursor = Cursor::starting_at(head.clone());
    let read = one.store.log_since(cursor.snapshot(), None).await.unwrap();
    assert_eq!(cursor.continues_at(&read.head), Err(Restart::OtherTimeline));
    let anew = one.store.log_head().await.unwrap();
    assert_ne!(anew.identity.timeline, head.identity.timeline);
    assert_eq!(one.store.log_head().await.unwrap().identity, anew.identity);
    let system: String = match &one.backend {
        Backend::Postgres(_, database) => {
            database.scalar("SELECT system_identifier::text FROM pg_control_system()").await
        }
        Backend::Sqlite(..) => unreachable!(),
    };
    assert!(head.identity.database.starts_with(&format!("{system}/")));
}

#[tokio::test]
async fn a_log_without_its_horizon_is_an_error() {
    let bed = Bed::postgres().await;
    bed.by_hand("DELETE FROM tenant_changes_horizon").await.unwrap();
    let before = "1:1:".parse().unwrap();
    let read = bed.store.log_since(&before, None).await;
    assert!(matches!(read, Err(StoreError::Corrupt(_))), "{read:?}");
}
