//! The service without its transport: what `serve` and the commands share.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::keyring;
use crate::cache::l2::{L2, Source};
use crate::cache::{L1, Tiered, Ttl};
use crate::config::{self, Cache, Database, KeyringFile};
use crate::crypto::Keyring;
use crate::feed::{Applier, Barriers, NotifyTask, Publisher, notify_queue};
use crate::service::{Service, Trail, TrailTask};
use crate::store::{Postgres, Sqlite, Store};
use crate::telemetry::logging::chain;

/// Connections of one replica to Postgres, beside the one that listens. Six replicas fit into the
/// hundred that a server accepts by default.
const CONNECTIONS: u32 = 16;

/// A database that has been migrated, a cache on top of it, and the service over both.
pub struct Core {
    /// The truth.
    pub store: Arc<dyn Store>,
    /// What it seals and opens with.
    pub keyring: Arc<Keyring>,
    /// What the transport calls.
    pub service: Service,
    /// Where changes take effect.
    pub applier: Arc<Applier>,
    /// Redis, where it is configured.
    pub l2: Option<Arc<L2>>,
    /// LISTEN and NOTIFY, with Postgres.
    pub postgres: Option<PostgresFeed>,
    /// Writes the audit trail, but for what writes enter themselves.
    pub trail: TrailTask,
    /// Where writes wait for the other replicas.
    pub barriers: Arc<Barriers>,
    /// Writes under way.
    pub writes: TaskTracker,
    /// Loads under way, also for clients that have gone. One may hold a lease in Redis, for which
    /// other replicas wait.
    pub loads: TaskTracker,
}

/// What the feed needs of Postgres.
pub struct PostgresFeed {
    /// Where to listen.
    pub postgres: Postgres,
    /// Sends what is queued.
    pub notify: NotifyTask,
}

impl Core {
    /// Runs a command on the service that requests run on, without its transport. Replicas are told of
    /// what it writes, also if it fails.
    ///
    /// # Errors
    /// See [`Core::build`]; or what the command's own are.
    pub async fn run_command(
        given: &config::Seed,
        command: impl AsyncFnOnce(&Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let config::Seed { database, keyring, redis, staleness_bound, telemetry } = given;
        let process = (telemetry.instance_id.as_str(), *staleness_bound);
        let core = Self::build((database, keyring), redis.as_ref(), &Cache::NONE, process).await?;
        if let Some(l2) = &core.l2 {
            match l2.connect().await {
                Ok(link) => link.leave_untrusted(),
                Err(error) => tracing::warn!(
                    error = chain(&error),
                    "Redis is out of reach; replicas learn of this by other sources"
                ),
            }
        }
        let done = command(&core).await;
        // Also after a failure: what was committed before it has to be told.
        core.close().await;
        done
    }

    /// Opens the database, migrates it, and builds the rest. Connects to nothing else yet. The
    /// process is known to others by `instance_id`; its writes wait for `bound` at most.
    ///
    /// # Errors
    /// See [`open`]; or Redis' URL is none, or there is no certificate in its file.
    pub async fn build(
        (database, keyring): (&Database, &KeyringFile),
        redis: Option<&config::Redis>,
        cached: &Cache,
        (instance_id, bound): (&str, Duration),
    ) -> anyhow::Result<Self> {
        let source = match redis {
            Some(redis) => Some((source_of(redis).await?, redis.prefix.as_str())),
            None => None,
        };
        let keyring = keyring::open(keyring, database).await?;
        let (store, postgres) = open_with(database, Arc::clone(&keyring)).await?;
        let database = store.log_head().await.context("reading the change log")?.identity.database;
        let l2 = source.map(|(source, prefix)| Arc::new(L2::new(source, prefix, &database)));
        let (writes, loads) = (TaskTracker::new(), TaskTracker::new());
        let ttl = Ttl { present: cached.ttl, absent: cached.negative_ttl };
        let l1 = L1::new(cached.capacity);
        let cache = Tiered::new(l1, l2.clone(), ttl, cached.stale_budget, loads.clone());
        let cache = Arc::new(if cached.audit_rate.is_some() { cache.sampled() } else { cache });
        // Not INSTANCE_ID alone: two processes of one name must not ignore each other's changes,
        // nor one that was started again answer for the one that it was.
        let origin = format!("{instance_id}/{}", uuid::Uuid::new_v4());
        let barriers = Barriers::begin(Arc::clone(&store), origin.clone(), bound, loads.clone());
        let barriers = Arc::new(barriers.await.context("reading the table of replicas")?);
        let applier = Arc::new(Applier::new(Arc::clone(&cache), origin, &database));
        let (queue, postgres) = match postgres {
            Some(postgres) => {
                let (queue, notify) = notify_queue(postgres.clone());
                (Some(queue), Some(PostgresFeed { postgres, notify }))
            }
            None => (None, None),
        };
        let publisher = Publisher::new(Arc::clone(&applier), queue, Arc::clone(&barriers));
        let (trail, trail_task) = Trail::new(Arc::clone(&store));
        let service = Service::new(Arc::clone(&store), cache, publisher, trail, writes.clone());
        let trail = trail_task;
        Ok(Self { store, keyring, service, applier, l2, postgres, trail, barriers, writes, loads })
    }

    /// Ends a core that serves nobody: finishes what was begun, tells what was queued.
    pub async fn close(self) {
        self.writes.close();
        self.writes.wait().await;
        let stop = CancellationToken::new();
        stop.cancel();
        self.trail.run(stop.clone()).await;
        if let Some(postgres) = self.postgres {
            postgres.notify.run(stop).await;
        }
        close_store(self.store.as_ref()).await;
    }
}

/// Where Redis is, and who may vouch for it.
async fn source_of(redis: &config::Redis) -> anyhow::Result<Source> {
    // Without the driver's own error, which quotes the URL's parameters.
    let source = Source::configured(&redis.server).ok().context("REDIS_URL can't be used")?;
    let Some(file) = &redis.ca_file else { return Ok(source) };
    let authorities = tokio::fs::read(file).await.context("REDIS_CA_FILE: can't be read")?;
    source.trusting(&authorities).context("REDIS_CA_FILE: must hold certificates as PEM")
}

/// Opens the database and migrates it. With Postgres, what the feed needs of it comes too.
///
/// # Errors
/// The keyring can't be used; or the database is out of reach, is not ours, or can't be migrated.
pub async fn open(
    database: &Database,
    keyring: &KeyringFile,
) -> anyhow::Result<(Arc<dyn Store>, Option<Postgres>)> {
    open_with(database, keyring::open(keyring, database).await?).await
}

/// The same, with a keyring that has been read.
///
/// # Errors
/// The database is out of reach, is not ours, or can't be migrated.
pub(super) async fn open_with(
    database: &Database,
    keyring: Arc<Keyring>,
) -> anyhow::Result<(Arc<dyn Store>, Option<Postgres>)> {
    Ok(match database {
        Database::Postgres { url } => {
            let store = Postgres::connect(url, keyring, CONNECTIONS)?;
            store.migrate().await?;
            (Arc::new(store.clone()), Some(store))
        }
        Database::Sqlite { path, .. } => {
            let store = Sqlite::at(path, keyring);
            store.migrate().await?;
            (Arc::new(store), None)
        }
    })
}

/// Ends the connections. One that no longer answers must not keep the process from ending.
pub async fn close_store(store: &dyn Store) {
    const PATIENCE: Duration = Duration::from_secs(2);
    if tokio::time::timeout(PATIENCE, store.close()).await.is_err() {
        tracing::warn!("connections to the database took too long to end and were cut off");
    }
}
