//! What follows a commit.

use std::sync::Arc;

use super::barrier::{Barriers, Coherence};
use super::wire::Message;
use super::{Applier, CHANNEL, LONGEST_MESSAGE, NotifyQueue, POLL_NOW};
use crate::cache::{EvictedBy, clock};
use crate::domain::Change;
use crate::store::Written;

/// Tells every replica of this one's writes, beginning with itself, and waits for them.
#[derive(Clone)]
pub struct Publisher {
    applier: Arc<Applier>,
    notify: Option<NotifyQueue>,
    barriers: Arc<Barriers>,
}

/// Whether a write is acknowledged only when no replica can serve the old value as current.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// It is.
    ForReplicas,
    /// The caller has asked not to wait.
    No,
}

impl Publisher {
    /// A publisher; without `notify` (SQLite) there is nobody else to tell over the database.
    #[must_use]
    pub const fn new(
        applier: Arc<Applier>,
        notify: Option<NotifyQueue>,
        barriers: Arc<Barriers>,
    ) -> Self {
        Self { applier, notify, barriers }
    }

    /// A write whose outcome is unknown may have been committed: the log has to be asked.
    pub fn outcome_unknown(&self) {
        self.applier.want_poll();
    }

    /// Evicts here and in L2, publishes on both buses, and waits for the other replicas. Must run to
    /// its end whatever the client does; what it cannot deliver, the polls of the others find.
    pub async fn after_commit(&self, written: Written<()>, wait: Wait) -> Coherence {
        let Written { changes, xid, after, .. } = written;
        let (committed, began) = (clock::now(), self.applier.generation());
        let expected = self.barriers.expect(xid);
        let redis = self.applier.apply(&changes, EvictedBy::Local, None).await;
        self.applier.wrote(began, (xid, after), &changes);
        self.publish(changes, redis, after).await;
        match wait {
            Wait::ForReplicas => self.barriers.wait(&expected, committed).await,
            Wait::No => Coherence::Pending,
        }
    }

    /// Waits until the other replicas have applied everything that was committed before the
    /// transaction `mark`, which changed nothing.
    pub async fn after_mark(&self, mark: u64) -> Coherence {
        let committed = clock::now();
        let expected = self.barriers.expect(mark);
        self.publish(Vec::new(), None, None).await;
        self.barriers.wait(&expected, committed).await
    }

    async fn publish(&self, changes: Vec<Change>, redis: Option<String>, after: Option<u64>) {
        let (origin, database) =
            (self.applier.origin().to_owned(), self.applier.database().to_string());
        let hears = self.barriers.hear();
        // A write that changed nothing has no message. It is acknowledged when everyone has read
        // the log that far: what it found as it was to become may not have come to them yet.
        let message = Message { origin, database, redis, hears, after, changes };
        let text = match message.encode() {
            Some(text) if !message.changes.is_empty() && text.len() <= LONGEST_MESSAGE => text,
            _ => POLL_NOW.to_owned(),
        };
        if let Some(l2) = self.applier.cache().l2() {
            // A failure drops the connection, which is logged there.
            drop(l2.publish(CHANNEL, &text).await);
        }
        if let Some(notify) = &self.notify {
            notify.push(text);
        }
    }
}
