//! L2: entries in Redis, shared by all replicas.
//!
//! A miss takes a *lease*, a placeholder under the key itself; an eviction removes it with whatever
//! else is there; a fill stores only if its very lease is still in place. So a value that was read
//! before an eviction is never stored after it.
//!
//! Redis may lose evictions: by a restart from a snapshot, a failover, a partition. So nothing is
//! believed of a server, only of one connection to it: see [`crate::coherence::Trust`]. And a
//! connection is used until its first failure: after one nobody knows what arrived. Then it is
//! dropped, and the cache does without until `feed::LinkTask` has made and introduced another.

mod codec;
mod link;
mod marker;
mod scripts;
mod session;
mod source;
mod supervise;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use self::session::Session;
use super::Document;
use crate::coherence::{Cursor, Epoch};
use crate::domain::{CacheKey, redact};
use crate::telemetry::logging::chain;

pub use self::link::Link;
pub use self::marker::Found;
pub use self::scripts::Lease;
pub use self::source::Source;

/// What a request is ready to wait for Redis; then it goes to the database.
const REQUEST_TIMEOUT: Duration = Duration::from_millis(100);
/// A fill that takes longer has lost its lease.
const LEASE_LIFE: Duration = Duration::from_secs(3);

/// Redis failed or did not answer in time; the connection is gone.
#[derive(Debug, thiserror::Error)]
pub enum L2Error {
    /// No connection at present.
    #[error("not connected to Redis")]
    Off,
    /// No answer in time.
    #[error("Redis did not answer in time")]
    Timeout,
    /// The server at the other end is not the one that it was.
    #[error("the Redis server has become another one")]
    OtherServer,
    /// Somebody has begun another epoch on the server.
    #[error("another epoch has begun in Redis")]
    OtherEpoch,
    /// A sentinel does not know where the server is.
    #[error("the sentinel does not tell where the master is")]
    Sentinel(#[source] redis::RedisError),
    /// It answered with an error.
    #[error("Redis failed")]
    Redis(#[source] redis::RedisError),
}

/// What a look-up in Redis finds.
#[derive(Debug)]
pub enum L2Read {
    /// A document, or an absence.
    Hit(Option<Document>),
    /// Nothing; the caller may fill it.
    Lease(Lease),
    /// Somebody else is filling it.
    Busy,
    /// What is there can't be read.
    Unreadable,
}

/// The Redis tier: at most one connection at a time.
pub struct L2 {
    source: Source,
    prefix: String,
    marker_key: Mutex<String>,
    current: watch::Sender<Option<Arc<Session>>>,
}

redact!(L2 { source: |it| it.source });

impl L2 {
    /// A tier on this server. `prefix` stands before every key. Entries of another `database` are
    /// misses, should two share a prefix.
    #[must_use]
    pub fn new(source: Source, prefix: &str, database: &str) -> Self {
        let marker_key = marker_key(prefix, database).into();
        let current = watch::Sender::new(None);
        Self { source, prefix: prefix.to_owned(), marker_key, current }
    }

    /// The database of whose entries the marker speaks from now on.
    pub fn follow(&self, database: &str) {
        let mut key = self.marker_key.lock().unwrap_or_else(PoisonError::into_inner);
        *key = marker_key(&self.prefix, database);
    }

    /// Drops the connection, and with it the trust in what Redis holds.
    pub fn disconnect(&self) {
        self.replace(None);
    }

    /// Whether there is a connection that has not failed yet, and that is trusted.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.trusted().is_ok()
    }

    /// The server to which this replica is connected now; see [`Session`].
    #[must_use]
    pub fn server_identity(&self) -> Option<String> {
        self.session().map(|session| session.server.clone())
    }

    /// Looks `key` up, and takes the lease where there is nothing, for a load that has `noted` the
    /// key's epoch in L1.
    ///
    /// # Errors
    /// Redis is out of reach, or not trusted: do without.
    pub async fn get_or_lease(&self, key: &CacheKey, noted: Epoch) -> Result<L2Read, L2Error> {
        let session = self.session().ok_or(L2Error::Off)?;
        let epoch = session.trust().checked_after(noted).map(str::to_owned);
        let epoch = epoch.ok_or(L2Error::Off)?;
        let read = scripts::get_or_lease(session.connection(), self.name(key), epoch);
        self.bounded(&session, read).await
    }

    /// Stores what was loaded under `lease`; says whether the lease still stood.
    ///
    /// # Errors
    /// Redis is out of reach.
    pub async fn fill(
        &self,
        key: &CacheKey,
        lease: &Lease,
        document: Option<&Document>,
        ttl: Duration,
    ) -> Result<bool, L2Error> {
        let Some(value) = codec::encode(document, &lease.epoch) else {
            self.release(key, lease).await?;
            return Ok(false);
        };
        let session = self.trusted()?;
        let fill = scripts::fill(session.connection(), self.name(key), lease, value, ttl);
        self.bounded(&session, fill).await
    }

    /// Gives a lease back under which nothing was loaded, so that nobody waits for it to end.
    ///
    /// # Errors
    /// Redis is out of reach; the next connection's epoch ends the lease.
    pub async fn release(&self, key: &CacheKey, lease: &Lease) -> Result<(), L2Error> {
        let session = self.trusted()?;
        let release = scripts::release(session.connection(), self.name(key), lease);
        self.bounded(&session, release).await
    }

    /// Revokes values and leases, and says on which server, and of each key whether a value was
    /// there. Without a connection there is nothing to revoke: `None`, for the next one is not
    /// trusted before all is revoked on it that was committed until it was made.
    ///
    /// # Errors
    /// It is not known what was revoked. The connection has been dropped, and trust with it.
    pub async fn revoke(&self, keys: &[CacheKey]) -> Result<Option<Revoked>, L2Error> {
        let Some(session) = self.session() else { return Ok(None) };
        let removed = self.revoke_over(&session, keys).await?;
        Ok(Some(Revoked { server: session.server.clone(), removed }))
    }

    /// Says in Redis that all changes which `cursor` sees are revoked there, if the connection is
    /// trusted: then those that were committed before it was introduced are, and since then each
    /// was revoked over it, or on this very server by its writer, or the connection would be gone.
    ///
    /// # Errors
    /// Redis is out of reach, or not trusted; the marker stays where it is.
    pub async fn advance_marker(&self, cursor: &Cursor) -> Result<(), L2Error> {
        let session = self.session().ok_or(L2Error::Off)?;
        let marker = session.trust().marker(cursor).ok_or(L2Error::Off)?;
        let key = self.marker_key();
        let advance = scripts::advance_marker(session.connection(), &key, &marker);
        self.bounded(&session, advance).await
    }

    /// Publishes a message.
    ///
    /// # Errors
    /// Redis is out of reach: the message is lost, and other sources have to carry it.
    pub async fn publish(&self, channel: &str, message: &str) -> Result<(), L2Error> {
        let session = self.session().ok_or(L2Error::Off)?;
        let mut connection = session.connection();
        let publish = redis::cmd("PUBLISH").arg(self.channel(channel)).arg(message).to_owned();
        self.bounded(&session, async move { publish.query_async(&mut connection).await }).await
    }

    /// The name of a channel on this server.
    #[must_use]
    pub fn channel(&self, channel: &str) -> String {
        format!("{}{channel}", self.prefix)
    }

    /// A connection for subscriptions, to the server that the present connection leads to.
    ///
    /// # Errors
    /// Redis is out of reach.
    pub async fn subscriber(&self) -> Result<Subscriber, L2Error> {
        let session = self.session().ok_or(L2Error::Off)?;
        let connect = async { redis::Client::open(session.at.clone())?.get_async_pubsub().await };
        let connection = connect.await.map_err(L2Error::Redis)?;
        Ok(Subscriber { connection, server: session.server.clone() })
    }

    /// Returns once this replica is connected to another server than this one. (One that was
    /// demoted may keep its connections, and nobody publishes there any more.)
    pub async fn has_left(&self, server: &str) {
        let elsewhere = |current: &Option<Arc<Session>>| {
            current.as_ref().is_some_and(|session| session.server != server)
        };
        // The sender is `self`, so it does not end before this.
        drop(self.current.subscribe().wait_for(elsewhere).await);
    }

    fn name(&self, key: &CacheKey) -> String {
        format!("{}{key}", self.prefix)
    }

    fn marker_key(&self) -> String {
        self.marker_key.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn session(&self) -> Option<Arc<Session>> {
        self.current.borrow().clone()
    }

    fn is_current(&self, session: &Arc<Session>) -> bool {
        self.current.borrow().as_ref().is_some_and(|current| Arc::ptr_eq(current, session))
    }

    fn trusted(&self) -> Result<Arc<Session>, L2Error> {
        self.session().filter(|session| session.epoch().is_some()).ok_or(L2Error::Off)
    }

    async fn revoke_over(
        &self,
        session: &Arc<Session>,
        keys: &[CacheKey],
    ) -> Result<Vec<bool>, L2Error> {
        // Nothing to ask, and so no answer to wait for.
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let names = keys.iter().map(|key| self.name(key)).collect();
        let epoch = session.epoch().unwrap_or_default();
        self.bounded(session, scripts::revoke(session.connection(), names, &epoch)).await
    }

    async fn bounded<T>(
        &self,
        session: &Arc<Session>,
        call: impl Future<Output = redis::RedisResult<T>>,
    ) -> Result<T, L2Error> {
        let failure = match tokio::time::timeout(REQUEST_TIMEOUT, call).await {
            Ok(Ok(value)) => return Ok(value),
            // It has done nothing, and says so: what it holds is as right as before.
            Ok(Err(error)) if error.code() == Some("OOM") => return Err(L2Error::Redis(error)),
            Ok(Err(error)) => L2Error::Redis(error),
            Err(_) => L2Error::Timeout,
        };
        self.drop_session(session, &failure);
        Err(failure)
    }

    fn drop_session(&self, failed: &Arc<Session>, why: &L2Error) {
        if self.remove(failed) {
            tracing::warn!(reason = chain(why), "Redis connection dropped; serving without it");
        }
    }

    /// Ends a connection, and the trust in it first; says whether it was the present one.
    fn remove(&self, session: &Arc<Session>) -> bool {
        session.trust().lose();
        self.current.send_if_modified(|current| {
            current.take_if(|current| Arc::ptr_eq(current, session)).is_some()
        })
    }

    /// Makes this the connection. The one before, if any, is trusted no more.
    fn replace(&self, session: Option<Arc<Session>>) {
        if let Some(before) = self.current.send_replace(session) {
            before.trust().lose();
        }
    }
}

fn marker_key(prefix: &str, database: &str) -> String {
    format!("{prefix}tenant-service:epoch:{database}")
}

/// What [`L2::subscriber`] makes.
pub struct Subscriber {
    /// The connection.
    pub connection: redis::aio::PubSub,
    /// The server at its other end, by [`L2::server_identity`].
    pub server: String,
}

/// What [`L2::revoke`] did.
#[derive(Debug)]
pub struct Revoked {
    /// The server on which it was done.
    pub server: String,
    /// Of each key, in order: whether a value was there.
    pub removed: Vec<bool>,
}
