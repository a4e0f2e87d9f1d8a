//! A connection that is being introduced: what `feed` does over it before it is trusted.

use std::sync::Arc;

use super::marker::Found;
use super::session::Session;
use super::{L2, L2Error, scripts};
use crate::coherence::{Cursor, Marker};
use crate::domain::CacheKey;

/// A connection that has just been made, and is not trusted yet. Each call on it goes over it and no
/// other, and the first that fails ends it. One that is dropped before it is trusted ends too.
#[must_use = "dropped, it ends the connection"]
pub struct Link {
    l2: Arc<L2>,
    session: Arc<Session>,
    keeps: bool,
}

impl Link {
    pub(super) const fn new(l2: Arc<L2>, session: Arc<Session>) -> Self {
        Self { l2, session, keeps: false }
    }

    /// Reads the marker.
    ///
    /// # Errors
    /// The connection has failed, and is gone.
    pub async fn read_marker(&self) -> Result<Found, L2Error> {
        let key = self.l2.marker_key();
        let read = scripts::read_marker(self.session.connection(), &key);
        self.l2.bounded(&self.session, read).await
    }

    /// Begins a new epoch at `cursor`, of which every change is older, unless the marker is another
    /// one by now than was `found`. Returns the epoch, or nothing: then read the marker again.
    ///
    /// # Errors
    /// The connection has failed, and is gone.
    pub async fn begin_epoch(
        &self,
        found: &Found,
        cursor: &Cursor,
    ) -> Result<Option<String>, L2Error> {
        let (log, revoked) = (cursor.identity().clone(), cursor.snapshot().clone());
        let marker = Marker { epoch: scripts::token(), log, revoked };
        let key = self.l2.marker_key();
        let replace = scripts::replace_marker(self.session.connection(), &key, found, &marker);
        let is_set = self.l2.bounded(&self.session, replace).await?;
        Ok(is_set.then_some(marker.epoch))
    }

    /// Revokes values and leases.
    ///
    /// # Errors
    /// The connection has failed, and is gone.
    pub async fn revoke(&self, keys: &[CacheKey]) -> Result<(), L2Error> {
        self.l2.revoke_over(&self.session, keys).await.map(drop)
    }

    /// The introduction is over: entries of this epoch are read and filled from now on.
    ///
    /// # Errors
    /// The connection has failed meanwhile, by whomever it was used, or was replaced.
    pub fn trust(mut self, epoch: String) -> Result<(), L2Error> {
        self.session.trust().gain(epoch);
        self.keeps = self.session.epoch().is_some() && self.l2.is_current(&self.session);
        if self.keeps { Ok(()) } else { Err(L2Error::Off) }
    }

    /// Leaves it as it is, for a process that reads nothing from Redis: revocations and messages go
    /// over it.
    pub fn leave_untrusted(mut self) {
        self.keeps = true;
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if !self.keeps {
            self.l2.remove(&self.session);
        }
    }
}
