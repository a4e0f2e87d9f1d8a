//! Connections that are lent out, and come back only in a known state.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use sqlx::PgConnection;
use sqlx::pool::PoolConnection;
use tokio::time::error::Elapsed;

use super::turns::Turn;
use crate::store::{Cause, StoreError, StoreResult};
use crate::telemetry::metrics::timed_query;

/// The longest that one piece of work may take. The server's own time-out comes first; this one
/// is for a server that no longer answers at all.
const LONGEST: Duration = Duration::from_secs(8);

/// A connection of a pool. Dropped before [`Lease::settle`] (the caller hung up, or time was up)
/// it is closed: its answer is still to come, and nobody else should have to wait for that.
pub(super) struct Lease {
    connection: PoolConnection<sqlx::Postgres>,
    settled: bool,
}

impl Lease {
    pub(super) const fn new(connection: PoolConnection<sqlx::Postgres>) -> Self {
        Self { connection, settled: false }
    }

    /// Gives the connection back, and the result of its work on.
    pub(super) fn settle<T>(mut self, done: Result<StoreResult<T>, Elapsed>) -> StoreResult<T> {
        match done {
            Ok(result) => {
                self.settled = true;
                result
            }
            Err(Elapsed { .. }) => Err(StoreError::Unavailable(Cause::new("no answer in time"))),
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.settled {
            self.connection.close_on_drop();
        }
    }
}

impl Deref for Lease {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.connection
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}

/// One for the write of a tenant, whose turn ends with it.
pub(super) struct TurnLease<'t> {
    lease: Lease,
    turn: Turn<'t>,
}

impl<'t> TurnLease<'t> {
    pub(super) const fn new(lease: Lease, turn: Turn<'t>) -> Self {
        Self { lease, turn }
    }

    /// As [`Lease::settle`]; and tells those who wait for their turn what has come of this one.
    pub(super) fn settle<T>(self, done: Result<StoreResult<T>, Elapsed>) -> StoreResult<T> {
        let done = self.lease.settle(done);
        self.turn.tell(&done);
        done
    }
}

impl Deref for TurnLease<'_> {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.lease
    }
}

impl DerefMut for TurnLease<'_> {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.lease
    }
}

/// Runs statements under their name in the metrics, for as long as they may take.
pub(super) async fn bounded<T>(
    query: &'static str,
    work: impl Future<Output = StoreResult<T>>,
) -> Result<StoreResult<T>, Elapsed> {
    bounded_by(LONGEST, query, work).await
}

/// As [`bounded`], by another limit.
pub(super) async fn bounded_by<T>(
    longest: Duration,
    query: &'static str,
    work: impl Future<Output = StoreResult<T>>,
) -> Result<StoreResult<T>, Elapsed> {
    tokio::time::timeout(longest, timed_query(query, work)).await
}
