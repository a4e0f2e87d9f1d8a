//! The Redis tier in this very process, without a replica around it.

use std::sync::Arc;

use tenant_service::cache::l2::{L2, Source};
use tenant_service::coherence::{Cursor, LogHead, LogIdentity, Snapshot};

use crate::harness::Redis;

pub fn tier(redis: &Redis, database: &str) -> Arc<L2> {
    Arc::new(L2::new(Source::server(&redis.url()).unwrap(), "", database))
}

/// A cursor of a log in which so many changes have been made.
pub fn cursor(database: &str, last: u64) -> Cursor {
    Cursor::starting_at(LogHead {
        identity: LogIdentity { database: database.into(), timeline: "1".into() },
        snapshot: Snapshot::up_to(last),
        pruned_below: 0,
    })
}

/// Connects, and trusts what is there: nothing was changed meanwhile.
pub async fn trusts(l2: &Arc<L2>, database: &str) {
    let link = l2.connect().await.unwrap();
    let found = link.read_marker().await.unwrap();
    let epoch = match found.marker() {
        Some(marker) => marker.epoch,
        None => link.begin_epoch(&found, &cursor(database, 0)).await.unwrap().unwrap(),
    };
    link.trust(epoch).unwrap();
}
