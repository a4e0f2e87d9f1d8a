//! PostgreSQL, 13 or newer: the truth that many replicas share.

mod audit;
mod changes;
mod credentials;
mod expiry;
mod lease;
mod migrate;
mod notify;
mod replicas;
mod sampling;
mod seal;
mod tenants;
mod tokens;
mod turns;
mod unchained;
mod versions;
mod wrap;

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgPool};

use self::lease::{Lease, TurnLease, bounded};
use self::turns::{Part, Turns};
use self::unchained::Looks;
use super::seal::announce_refusals;
use super::{Store, StoreResult};
use crate::crypto::Keyring;
use crate::domain::{Precondition, TenantId, redact};

/// How long to wait for a connection, a new one or one that others use.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// After this long the server gives a statement up. Also bounds the wait for a row that somebody
/// keeps locked.
const STATEMENT_TIMEOUT_MS: &str = "5000";
/// A transaction of ours that is left open (its task ended) must not keep its locks.
const IDLE_IN_TRANSACTION_MS: &str = "10000";
/// Polls follow one another; the second one is for a feed that reads an older range meanwhile.
const LOG_CONNECTIONS: u32 = 2;

/// The URL can't be understood. Says no more, for it holds a password.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("not a PostgreSQL URL; expected postgres://user:password@host:port/database")]
pub struct InvalidUrl;

/// A store in PostgreSQL. Cheap to clone.
#[derive(Clone)]
pub struct Postgres {
    options: PgConnectOptions,
    keyring: Arc<Keyring>,
    pool: PgPool,
    /// Polls have connections of their own: a proof must not wait for a pool that writes exhaust.
    log: PgPool,
    turns: Arc<Turns>,
    /// Of the audit trail.
    looks: Arc<Looks>,
}

redact!(Postgres { host: |it| it.options.get_host(), database: |it| it.options.get_database() });

impl Postgres {
    /// A store that connects when it is first used, so that a service can start, and say what is
    /// wrong, while the server is away. Credentials are sealed with this keyring. Needs a Tokio runtime
    /// around it.
    ///
    /// Behind `PgBouncer`, let it ignore the start-up parameters `options` and
    /// `extra_float_digits`.
    ///
    /// # Errors
    /// The URL can't be understood.
    pub fn connect(
        url: &SecretString,
        keyring: Arc<Keyring>,
        max_connections: u32,
    ) -> Result<Self, InvalidUrl> {
        Ok(Self::with(options(url)?, keyring, max_connections))
    }

    /// The same, through which nothing can be written: the server refuses it.
    ///
    /// # Errors
    /// See [`Postgres::connect`].
    pub fn read_only(
        url: &SecretString,
        keyring: Arc<Keyring>,
        max_connections: u32,
    ) -> Result<Self, InvalidUrl> {
        let options = options(url)?.options([("default_transaction_read_only", "on")]);
        Ok(Self::with(options, keyring, max_connections))
    }

    fn with(options: PgConnectOptions, keyring: Arc<Keyring>, max_connections: u32) -> Self {
        let bounded = options.clone().options([
            // Whatever the role is set to: what is acknowledged must outlast a crash, and so must a
            // renewal, or a write would count on what is no more.
            ("synchronous_commit", "on"),
            ("statement_timeout", STATEMENT_TIMEOUT_MS),
            ("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION_MS),
            // A poll of 0.3 ms whose cost the planner overrates takes 200 ms to compile.
            ("jit", "off"),
        ]);
        // Whatever the statistics say of a log that was just filled or pruned: the poll goes by
        // its index, and its plan is made for the cursor at hand.
        let by_index = bounded.clone().options([
            ("enable_seqscan", "off".to_owned()),
            ("plan_cache_mode", "force_custom_plan".to_owned()),
            ("statement_timeout", changes::LONGEST_READ.as_millis().to_string()),
        ]);
        let log = pool_options(LOG_CONNECTIONS).connect_lazy_with(by_index);
        let pool = pool_options(max_connections)
            .after_connect(|connection, _| refuse_a_standby(connection).boxed())
            .connect_lazy_with(bounded);
        announce_refusals();
        Self { options, keyring, pool, log, turns: Arc::default(), looks: Arc::default() }
    }

    /// The pool of reads and writes, for statements that belong to other layers.
    #[must_use]
    pub const fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// How to connect a listener: without the bounds on statements, under a name of its own.
    #[must_use]
    pub fn listen_options(&self) -> PgConnectOptions {
        self.options.clone().application_name("tenant-service listener")
    }

    /// A pool of the one connection that a listener needs, which it keeps.
    #[must_use]
    pub fn listener_pool(&self) -> PgPool {
        pool_options(1)
            .max_lifetime(None)
            .idle_timeout(None)
            .connect_lazy_with(self.listen_options())
    }

    async fn lease(&self) -> StoreResult<Lease> {
        Ok(Lease::new(self.pool.acquire().await?))
    }

    /// A connection for a write of this tenant, once it is its turn.
    async fn turn(
        &self,
        tenant: &TenantId,
        part: Part,
        precondition: &Precondition,
    ) -> StoreResult<TurnLease<'_>> {
        let turn = self.turns.take(tenant, part, precondition).await?;
        Ok(TurnLease::new(self.lease().await?, turn))
    }

    async fn log_lease(&self) -> StoreResult<Lease> {
        Ok(Lease::new(self.log.acquire().await?))
    }
}

fn options(url: &SecretString) -> Result<PgConnectOptions, InvalidUrl> {
    let options = PgConnectOptions::from_str(url.expose_secret()).map_err(|_| InvalidUrl)?;
    // The driver looks an address in brackets (IPv6) up as a name.
    let host = options.get_host().trim_matches(['[', ']']).to_owned();
    Ok(options.host(&host).application_name("tenant-service"))
}

/// Every connection is tested before it is lent out. That costs a round trip, on reads that a
/// cache did not answer; without it, every connection that a restart of the server killed would
/// fail one request.
fn pool_options(max_connections: u32) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(true)
}

/// Reads are of the primary only. A server that steps down closes its connections, so it is
/// enough to look when one is made; the pool tries again until its time is up.
async fn refuse_a_standby(connection: &mut sqlx::PgConnection) -> Result<(), sqlx::Error> {
    let standby: bool =
        sqlx::query_scalar("SELECT pg_is_in_recovery()").fetch_one(connection).await?;
    if standby {
        return Err(sqlx::Error::InvalidArgument("the server is a standby".to_owned()));
    }
    Ok(())
}

#[async_trait]
impl Store for Postgres {
    async fn ping(&self) -> StoreResult<()> {
        let mut lease = self.lease().await?;
        let answer = bounded("ping", async { Ok(lease.ping().await?) }).await;
        lease.settle(answer)
    }

    async fn is_empty(&self) -> StoreResult<bool> {
        let mut lease = self.lease().await?;
        let answer = bounded("tenants", tenants::none(&mut lease)).await;
        lease.settle(answer)
    }

    async fn close(&self) {
        self.pool.close().await;
        self.log.close().await;
    }
}
