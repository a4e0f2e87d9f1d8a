//! What follows a commit.

use std::sync::Arc;

use super::wire::Message;
use super::{Applier, CHANNEL, NotifyQueue};
use crate::cache::EvictedBy;
use crate::domain::Change;

/// Tells every replica of this one's writes, beginning with itself.
#[derive(Clone)]
pub struct Publisher {
    applier: Arc<Applier>,
    notify: Option<NotifyQueue>,
}

impl Publisher {
    /// A publisher; without `notify` (SQLite) there is nobody else to tell over the database.
    #[must_use]
    pub const fn new(applier: Arc<Applier>, notify: Option<NotifyQueue>) -> Self {
        Self { applier, notify }
    }

    /// Evicts here and in L2, then publishes on both buses. Must run to its end whatever the client
    /// does; what it cannot deliver, the polls of the others find.
    pub async fn after_commit(&self, changes: &[Change]) {
        let redis = self.applier.apply(changes, EvictedBy::Local, None).await;
        self.applier.wrote(changes);
        for change in changes {
            let origin = self.applier.origin().to_owned();
            let message = Message { origin, redis: redis.clone(), change: change.clone() };
            let Some(text) = message.encode() else { continue };
            if let Some(l2) = self.applier.cache().l2() {
                // A failure drops the connection, which is logged there.
                drop(l2.publish(CHANNEL, &text).await);
            }
            if let Some(notify) = &self.notify {
                notify.push(text);
            }
        }
    }
}
