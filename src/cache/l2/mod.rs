//! L2: entries in Redis, shared by all replicas.
//!
//! A miss takes a *lease*, a placeholder under the key itself; an eviction removes it with whatever
//! else is there; a fill stores only if its very lease is still in place. So a value that was read
//! before an eviction is never stored after it.
//!
//! Redis may lose evictions: by a restart from a snapshot, a failover, a partition. Therefore every
//! connection begins a new shared *epoch*, and an entry of another epoch is a miss. And a connection
//! is used until its first failure: after one nobody knows what arrived. Then it is dropped, and the
//! cache does without until the supervisor has made another.

mod codec;
mod scripts;
mod session;
mod supervise;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use self::session::Session;
use super::Document;
use crate::domain::CacheKey;
use crate::telemetry::logging::chain;

pub use self::scripts::Lease;
pub use self::session::connect_info;

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
}

/// The Redis tier: at most one connection at a time.
#[derive(Debug)]
pub struct L2 {
    client: redis::Client,
    prefix: String,
    current: Mutex<Current>,
    lost: Notify,
}

/// What is followed, and the connection on which it is. They change together: a connection's epoch
/// is that of one database.
#[derive(Debug)]
struct Current {
    epoch_key: String,
    session: Option<Arc<Session>>,
}

impl L2 {
    /// A tier on this server; [`L2::supervise`] connects it. `prefix` stands before every key.
    /// Entries of another `database` are misses, should two share a prefix.
    #[must_use]
    pub fn new(client: redis::Client, prefix: &str, database: &str) -> Self {
        let current = Current { epoch_key: epoch_key(prefix, database), session: None };
        Self { client, prefix: prefix.to_owned(), current: current.into(), lost: Notify::new() }
    }

    /// Drops the connection, for nobody knows what was missed, and serves `database` from the next
    /// one on.
    pub fn start_over(&self, database: &str) {
        let mut current = self.current();
        current.epoch_key = epoch_key(&self.prefix, database);
        let dropped = current.session.take();
        drop(current);
        if dropped.is_some() {
            self.lost.notify_one();
        }
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

    /// Looks `key` up, and takes the lease where there is nothing.
    ///
    /// # Errors
    /// Redis is out of reach: do without.
    pub async fn get_or_lease(&self, key: &CacheKey) -> Result<L2Read, L2Error> {
        let session = self.trusted()?;
        let names = (self.name(key), session.epoch_key.as_str());
        self.bounded(&session, scripts::get_or_lease(session.connection(), names)).await
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
    /// there. Without a connection there is nothing to revoke: `None`, for the next one begins its
    /// epoch later than this.
    ///
    /// # Errors
    /// It is not known what was revoked. The connection has been dropped, and trust with it.
    pub async fn revoke(&self, keys: &[CacheKey]) -> Result<Option<Revoked>, L2Error> {
        let Some(session) = self.session() else { return Ok(None) };
        let names = keys.iter().map(|key| self.name(key)).collect();
        let revoke = scripts::revoke(session.connection(), names, &session.epoch_key);
        let removed = self.bounded(&session, revoke).await?;
        Ok(Some(Revoked { server: session.server.clone(), removed }))
    }

    /// Makes every entry a miss, at a cost that does not depend on their number.
    ///
    /// # Errors
    /// Redis is out of reach; its next connection begins a new epoch anyway.
    pub async fn begin_epoch(&self) -> Result<(), L2Error> {
        let Some(session) = self.session() else { return Ok(()) };
        self.bounded(&session, session.begin_epoch()).await
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

    /// The client, for connections of other uses.
    #[must_use]
    pub const fn client(&self) -> &redis::Client {
        &self.client
    }

    fn name(&self, key: &CacheKey) -> String {
        format!("{}{key}", self.prefix)
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn session(&self) -> Option<Arc<Session>> {
        self.current().session.clone()
    }

    fn trusted(&self) -> Result<Arc<Session>, L2Error> {
        self.session().filter(|session| session.is_trusted()).ok_or(L2Error::Off)
    }

    async fn bounded<T>(
        &self,
        session: &Arc<Session>,
        call: impl Future<Output = redis::RedisResult<T>>,
    ) -> Result<T, L2Error> {
        let failure = match tokio::time::timeout(REQUEST_TIMEOUT, call).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => L2Error::Redis(error),
            Err(_) => L2Error::Timeout,
        };
        self.drop_session(session, &failure);
        Err(failure)
    }

    fn drop_session(&self, failed: &Arc<Session>, why: &L2Error) {
        let mut current = self.current();
        if current.session.as_ref().is_some_and(|session| Arc::ptr_eq(session, failed)) {
            current.session = None;
            drop(current);
            tracing::warn!(reason = chain(why), "Redis connection dropped; serving without it");
            self.lost.notify_one();
        }
    }
}

fn epoch_key(prefix: &str, database: &str) -> String {
    format!("{prefix}tenant-service:epoch:{database}")
}

/// What [`L2::revoke`] did.
#[derive(Debug)]
pub struct Revoked {
    /// The server on which it was done.
    pub server: String,
    /// Of each key, in order: whether a value was there.
    pub removed: Vec<bool>,
}
