//! The rows of the replicas, in both stores.

use std::time::Duration;

use serde_json::json;
use tenant_service::coherence::Snapshot;
use tenant_service::domain::CredentialType;
use tenant_service::store::Replica;

use super::bed::Bed;

const BOUND: Duration = Duration::from_millis(1_234);
const NOTHING: Snapshot = Snapshot::up_to(0);

pub(super) async fn a_replica_comes_renews_and_goes(bed: &Bed) {
    let head = bed.store.log_head().await.unwrap();
    let found = bed.store.replicas().await.unwrap();
    assert_eq!((found.head.identity, found.replicas), (head.identity, Vec::new()));
    bed.store.renew("a", &NOTHING, BOUND).await.unwrap();
    bed.store.renew("b", &NOTHING, BOUND).await.unwrap();
    let written = bed.create("t", "1", "i").await.changes;
    bed.set("t", CredentialType::Genesys, json!({"clientId": "c"})).await;
    let unseen = |applied: &Snapshot| written.iter().all(|change| !applied.sees(change.xid));
    let registered = rows(bed).await;
    assert!(registered.iter().all(|row| row.bound == BOUND));
    assert!(registered.iter().all(|row| unseen(&row.applied)), "nothing is applied yet");

    let seen = bed.snapshot().await;
    bed.store.renew("b", &seen, BOUND).await.unwrap();
    let renewed = rows(bed).await;
    assert_eq!(renewed[1].applied, seen);
    let counts = |rows: &[Replica]| [rows[0].renewals, rows[1].renewals];
    let [a, b] = counts(&registered);
    assert_eq!(counts(&renewed), [a, b + 1]);

    bed.store.deregister("a").await.unwrap();
    bed.store.deregister("a").await.unwrap();
    let left = rows(bed).await;
    assert_eq!(left.iter().map(|row| row.instance.as_str()).collect::<Vec<_>>(), ["b"]);
    // Who was taken for dead, and is not.
    bed.store.renew("a", &seen, BOUND).await.unwrap();
    assert_eq!(rows(bed).await[0].applied, seen);
}

async fn rows(bed: &Bed) -> Vec<Replica> {
    bed.store.replicas().await.unwrap().replicas
}

pub(super) async fn only_a_row_that_stands_still_is_buried(bed: &Bed) {
    bed.create("t", "1", "i").await;
    let seen = bed.snapshot().await;
    bed.store.renew("a", &NOTHING, BOUND).await.unwrap();
    let first = rows(bed).await[0].renewals;
    bed.store.renew("a", &seen, BOUND).await.unwrap();
    assert!(!bed.store.bury("a", first).await.unwrap(), "it was renewed meanwhile");
    assert!(bed.store.bury("a", first + 1).await.unwrap());
    assert_eq!(rows(bed).await, []);
    // Made anew, it does not look like the one that stood still.
    bed.store.renew("a", &NOTHING, BOUND).await.unwrap();
    let again = rows(bed).await[0].renewals;
    assert!(again != first && again != first + 1);
}
