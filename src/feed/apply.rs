//! The one path by which a change takes effect on a replica, whatever brought it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use metrics::{Counter, Gauge, Histogram};
use tokio::sync::Notify;

use super::recent::Recent;
use super::wire::Message;
use crate::cache::{EvictedBy, Tiered};
use crate::domain::{CacheKey, Change, ChangeKind};
use crate::telemetry::metrics::{
    CHANGE_PROPAGATION, CHANGES_DUPLICATE, CHANGES_RECEIVED, FEED_CONNECTED, counter_of, gauge_of,
    histogram_of,
};

struct SourceStats {
    received: Counter,
    duplicate: Counter,
    propagation: Histogram,
    connected: Gauge,
}

/// Applies changes to this replica's cache, each at least once.
pub struct Applier {
    cache: Arc<Tiered>,
    recent: Mutex<Recent>,
    /// The highest sequence number seen, to notice gaps.
    last_seq: AtomicI64,
    poll_wanted: Notify,
    origin: String,
    stats: [SourceStats; 4],
}

impl Applier {
    /// An applier to `cache`. `origin` names this process among all that ever ran.
    #[must_use]
    pub fn new(cache: Arc<Tiered>, origin: String) -> Self {
        let stats = EvictedBy::ALL.map(|source| {
            let label = [("source", source.label())];
            SourceStats {
                received: counter_of(CHANGES_RECEIVED, &label),
                duplicate: counter_of(CHANGES_DUPLICATE, &label),
                propagation: histogram_of(CHANGE_PROPAGATION, &label),
                connected: gauge_of(FEED_CONNECTED, &label),
            }
        });
        Self {
            cache,
            recent: Mutex::default(),
            last_seq: AtomicI64::new(0),
            poll_wanted: Notify::new(),
            origin,
            stats,
        }
    }

    /// This process, as its messages name it.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The cache to which changes are applied.
    #[must_use]
    pub const fn cache(&self) -> &Arc<Tiered> {
        &self.cache
    }

    /// Applies a change that a bus brought; asks for a poll where it shows that others are missing.
    pub(super) async fn receive(&self, text: &str, source: EvictedBy) {
        let Some(message) = Message::decode(text) else {
            self.want_poll();
            return;
        };
        if message.origin == self.origin {
            return;
        }
        let Message { change, redis, .. } = message;
        let seq = change.seq;
        self.apply(&[change], source, redis.as_deref()).await;
        let before = self.last_seq.fetch_max(seq, Ordering::Relaxed);
        if seq > before + 1 {
            self.want_poll();
        }
    }

    /// Applies changes. `revoked_on` names the Redis server on which their writer revoked the keys.
    ///
    /// The order is the protocol's: L2 is revoked before the L1 eviction that counts, else a load
    /// in between would bring the old value from L2 back into L1. Returns the Redis server on which
    /// the keys have been revoked here.
    pub async fn apply(
        &self,
        changes: &[Change],
        source: EvictedBy,
        revoked_on: Option<&str>,
    ) -> Option<String> {
        let stats = &self.stats[source as usize];
        stats.received.increment(changes.len() as u64);
        let new: Vec<&Change> = {
            let recent = self.recent();
            changes.iter().filter(|change| !recent.contains(change.seq)).collect()
        };
        stats.duplicate.increment((changes.len() - new.len()) as u64);
        if new.is_empty() {
            return None;
        }
        let server = if new.iter().any(|change| change.kind == ChangeKind::Reset) {
            self.drop_everything("the change log was told to reset").await;
            None
        } else {
            let keys: BTreeSet<&CacheKey> = new.iter().flat_map(|change| &change.keys).collect();
            let keys: Vec<CacheKey> = keys.into_iter().cloned().collect();
            // Ahead of the round trip to Redis, to save its time in staleness.
            self.cache.evict(&keys, source);
            let server = self.revoke(&keys, source, revoked_on).await;
            self.cache.evict(&keys, source);
            server
        };
        let now = Timestamp::now();
        let mut recent = self.recent();
        for change in new {
            // Only now: a duplicate may be skipped because of this record.
            recent.insert(change.seq);
            let age = now.duration_since(change.occurred_at);
            stats.propagation.record(age.as_secs_f64().max(0.0));
        }
        server
    }

    async fn revoke(
        &self,
        keys: &[CacheKey],
        source: EvictedBy,
        revoked_on: Option<&str>,
    ) -> Option<String> {
        let l2 = self.cache.l2()?;
        if revoked_on.is_some() && revoked_on == l2.server_identity().as_deref() {
            return None;
        }
        // On failure the connection, and the trust in what it shows, is gone before L1 is evicted.
        let revoked = l2.revoke(keys).await.ok()??;
        self.cache.count_revoked(keys, &revoked.removed, source);
        Some(revoked.server)
    }

    /// Drops all that is cached: nothing is known of what changed.
    pub async fn drop_everything(&self, why: &str) {
        tracing::warn!(reason = why, "dropping everything that is cached");
        if let Some(l2) = self.cache.l2() {
            // On failure the next connection begins an epoch.
            drop(l2.begin_epoch().await);
        }
        self.cache.clear();
        self.recent().clear();
    }

    /// Has the poll run at once.
    pub fn want_poll(&self) {
        self.poll_wanted.notify_one();
    }

    pub(super) async fn poll_wanted(&self) {
        self.poll_wanted.notified().await;
    }

    /// This replica's own changes follow on what it has seen: the next one of another is no gap.
    pub(super) fn wrote(&self, changes: &[Change]) {
        for change in changes {
            let (before, relaxed) = (change.seq - 1, Ordering::Relaxed);
            // Where it does not follow, the gap stays one.
            let _ = self.last_seq.compare_exchange(before, change.seq, relaxed, relaxed);
        }
    }

    /// The poll has seen everything up to this number.
    pub(super) fn seen_up_to(&self, seq: i64) {
        self.last_seq.fetch_max(seq, Ordering::Relaxed);
    }

    pub(super) fn connected(&self, source: EvictedBy, connected: bool) {
        self.stats[source as usize].connected.set(if connected { 1.0 } else { 0.0 });
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
