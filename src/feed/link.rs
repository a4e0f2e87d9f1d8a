//! The connection to Redis: made, introduced, and made again when it is lost.
//!
//! A connection is believed once every change is revoked on it that the marker there does not see,
//! or once every entry there is a miss: see [`crate::coherence::Trust`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::apply::{BATCH, Touched};
use super::{Applier, Backoff};
use crate::cache::l2::{L2, L2Error, Link};
use crate::coherence::{Cursor, Introduction, Marker, Unknown, introduce};
use crate::store::{Store, StoreError};
use crate::telemetry::logging::chain;

const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const LONGEST_BACKOFF: Duration = Duration::from_secs(2);

/// Keeps Redis connected, and trusted.
pub struct LinkTask {
    /// The tier.
    pub l2: Arc<L2>,
    /// The log from which is revoked what the tier has missed.
    pub store: Arc<dyn Store>,
    /// Whoever follows that log.
    pub applier: Arc<Applier>,
}

/// Why there is no connection that is trusted.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Redis failed.
    #[error(transparent)]
    Redis(#[from] L2Error),
    /// What Redis has missed can't be known.
    #[error("the change log can't be read, so Redis is not trusted")]
    Log(#[from] StoreError),
}

impl LinkTask {
    /// Keeps connected until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.keep_connected()).await;
    }

    async fn keep_connected(&self) {
        let mut backoff = Backoff::between(FIRST_BACKOFF, LONGEST_BACKOFF);
        let mut said = false;
        loop {
            let since = Instant::now();
            self.l2.lost().await;
            backoff.reset_after(since.elapsed());
            backoff.wait().await;
            match self.connect().await {
                Ok(()) => said = false,
                // Once an outage, not once an attempt.
                Err(error) if !std::mem::replace(&mut said, true) => {
                    tracing::warn!(
                        error = chain(&error),
                        "Redis is out of reach; serving without it"
                    );
                }
                Err(_) => {}
            }
        }
    }

    /// Connects once, and introduces the connection.
    ///
    /// # Errors
    /// Redis or the log of changes is out of reach. There is no connection then.
    pub async fn connect(&self) -> Result<(), LinkError> {
        let link = loop {
            // What is committed between the introduction and the poll's cursor would be revoked by
            // neither. A start-over takes that cursor away, and *then* drops the connection: so one
            // that was made, and finds a cursor after that, is introduced later than it.
            self.applier.following().await;
            let link = self.l2.connect().await?;
            if self.applier.is_following() {
                break link;
            }
        };
        self.introduce(link).await
    }

    async fn introduce(&self, link: Link) -> Result<(), LinkError> {
        loop {
            let found = link.read_marker().await?;
            let head = self.store.log_head().await?;
            let marker = found.marker();
            let replayed = match (introduce(marker.as_ref(), &head), marker) {
                (Introduction::Replay, Some(marker)) => self.replay(&link, marker).await?,
                (Introduction::Replay, None) => Err(Unknown::NoMarker),
                (Introduction::NewEpoch(why), _) => Err(why),
            };
            let (epoch, changes) = match replayed {
                Ok(replayed) => replayed,
                // From the head on, which was read before it begins.
                Err(why) => match link.begin_epoch(&found, &Cursor::starting_at(head)).await? {
                    Some(epoch) => {
                        tracing::info!(reason = %why, "what Redis holds is not believed; a new epoch begins");
                        (epoch, 0)
                    }
                    // Somebody else has begun one meanwhile, and that one is gone on from.
                    None => continue,
                },
            };
            link.trust(epoch)?;
            tracing::info!(changes, "connected to Redis; what it had missed is revoked");
            return Ok(());
        }
    }

    /// Revokes over this connection what the marker does not see, up to now, which is later than the
    /// head that was read. Returns the marker's epoch, and how many changes that were.
    async fn replay(
        &self,
        link: &Link,
        marker: Marker,
    ) -> Result<Result<(String, usize), Unknown>, LinkError> {
        let Marker { epoch, log, revoked } = marker;
        let cursor = Cursor::at(log, revoked);
        let (mut page, mut count) = (None, 0);
        loop {
            let read = self.store.log_since(cursor.snapshot(), page.as_ref()).await?;
            if let Err(restart) = cursor.continues_at(&read.head) {
                return Ok(Err(Unknown::Log(restart)));
            }
            for changes in read.changes.chunks(BATCH) {
                match Touched::by(changes.iter()) {
                    Touched::Keys(keys) => link.revoke(&keys).await?,
                    Touched::Everything => return Ok(Err(Unknown::Reset)),
                }
            }
            count += read.changes.len();
            page = read.next;
            if page.is_none() {
                return Ok(Ok((epoch, count)));
            }
        }
    }
}
