//! The log of changes, in both stores.

use std::time::Duration;

use serde_json::json;
use tenant_service::coherence::{Cursor, Restart};
use tenant_service::domain::CredentialType;
use tenant_service::store::PAGE_ROWS;

use super::bed::{Bed, line};
use crate::harness::eventually;

/// Inserts that many tenants by hand, with ids that begin with `prefix`.
async fn fill(bed: &Bed, prefix: char, count: usize) {
    bed.by_hand(&format!(
        "INSERT INTO tenants (id, name) \
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) \
         SELECT '{prefix}' || i, 'Many' FROM n"
    ))
    .await
    .unwrap();
}

pub(super) async fn the_log_holds_each_change_once(bed: &Bed) {
    let start = bed.store.log_head().await.unwrap();
    assert_eq!(start.pruned_below, 0);
    let mut written = bed.create("a", "1", "i1").await.changes;
    written.append(&mut bed.create("b", "2", "i2").await.changes);
    bed.set("a", CredentialType::Genesys, json!({"clientId": "c"})).await;

    let read = bed.store.log_since(&start.snapshot, None).await.unwrap();
    assert!(read.next.is_none());
    assert_eq!(read.head.identity, start.identity);
    assert_eq!(read.changes.len(), 3);
    // What a write returns is what the log holds.
    assert_eq!(read.changes[..2], written);
    assert!(read.changes.is_sorted_by_key(|change| change.seq));
    assert!(read.changes.iter().all(|change| read.head.snapshot.sees(change.xid)));
    assert!(read.changes.iter().all(|change| !start.snapshot.sees(change.xid)));

    let again = bed.store.log_since(&read.head.snapshot, None).await.unwrap();
    assert_eq!(again.changes, []);
    let cursor = Cursor::starting_at(start);
    assert_eq!(cursor.continues_at(&again.head), Ok(()));
}

pub(super) async fn a_long_log_is_read_in_pages(bed: &Bed) {
    let start = bed.snapshot().await;
    let count = 2 * PAGE_ROWS + 1;
    fill(bed, 'm', count).await;
    let first = bed.store.log_since(&start, None).await.unwrap();
    let next = first.next.unwrap();
    assert_eq!((first.changes.len(), &next.upto), (PAGE_ROWS, &first.head.snapshot));

    // Committed between two pages: of the next poll.
    bed.create("late", "1", "i1").await;
    let second = bed.store.log_since(&start, Some(&next)).await.unwrap();
    assert_eq!(second.head, first.head);
    let third = bed.store.log_since(&start, second.next.as_ref()).await.unwrap();
    assert!(third.next.is_none());
    assert_eq!(third.changes.len(), 1);

    let pages = [first.changes, second.changes, third.changes].concat();
    assert!(pages.windows(2).all(|pair| pair[0].seq < pair[1].seq));
    let tenants: std::collections::BTreeSet<_> =
        pages.iter().map(|change| change.tenant_id.clone().unwrap()).collect();
    assert_eq!(tenants.len(), count);
    assert!(!tenants.contains("late"));

    let late = bed.since(&first.head.snapshot).await;
    assert_eq!(late.len(), 1);
    assert_eq!(line(&late[0]), "tenant.created: integration:i1 phone:1 tenant:late");

    // A page that is full and the last one.
    let exact = bed.snapshot().await;
    fill(bed, 'n', PAGE_ROWS).await;
    let read = bed.store.log_since(&exact, None).await.unwrap();
    assert_eq!((read.changes.len(), read.next.is_none()), (PAGE_ROWS, true));
}

pub(super) async fn pruning_leaves_a_horizon(bed: &Bed) {
    let before = Cursor::starting_at(bed.store.log_head().await.unwrap());
    fill(bed, 'm', 6_000).await;
    let between = Cursor::starting_at(bed.store.log_head().await.unwrap());
    bed.create("young", "1", "i1").await;
    let young = "SELECT count(*) FROM tenant_changes WHERE tenant_id = 'young'";
    bed.by_hand(
        "UPDATE tenant_changes SET occurred_at = '2020-01-01T00:00:00.000Z' \
         WHERE tenant_id <> 'young'",
    )
    .await
    .unwrap();

    let century = Duration::from_hours(100 * 366 * 24);
    assert_eq!(bed.store.prune_log(century).await.unwrap(), Some(0));
    // Several batches. Transactions of other databases of the server, which other tests may have
    // open, count as running ones.
    let hour = Duration::from_hours(1);
    let mut pruned = 0;
    eventually(Duration::from_mins(1), "all but the young row are pruned", async || {
        pruned += bed.store.prune_log(hour).await.unwrap().unwrap_or_default();
        pruned == 6_000
    })
    .await;
    assert_eq!(bed.number("SELECT count(*) FROM tenant_changes").await, 1);
    assert_eq!(bed.number(young).await, 1);

    let head = bed.store.log_head().await.unwrap();
    assert_eq!(before.continues_at(&head), Err(Restart::Pruned));
    assert_eq!(between.continues_at(&head), Ok(()));
    assert_eq!(bed.since(between.snapshot()).await.len(), 1);
    // A poll says so too, and so does a page of one.
    let read = bed.store.log_since(before.snapshot(), None).await.unwrap();
    assert_eq!(before.continues_at(&read.head), Err(Restart::Pruned));
}

pub(super) async fn rows_deleted_by_hand_move_the_horizon(bed: &Bed) {
    let before = Cursor::starting_at(bed.store.log_head().await.unwrap());
    bed.create("a", "1", "i1").await;
    bed.create("b", "2", "i2").await;
    bed.by_hand("DELETE FROM tenant_changes").await.unwrap();
    let head = bed.store.log_head().await.unwrap();
    assert_eq!(before.continues_at(&head), Err(Restart::Pruned));
    // The numbers go on all the same.
    let cursor = Cursor::starting_at(head);
    bed.create("c", "3", "i3").await;
    assert_eq!(bed.since(cursor.snapshot()).await.len(), 1);
}
