//! One connection to one Redis server.

use std::sync::{Mutex, MutexGuard, PoisonError};

use redis::aio::MultiplexedConnection;
use redis::{ConnectionInfo, ErrorKind, InfoDict, RedisError, RedisResult};

use super::{scripts, source};
use crate::coherence::Trust;

/// A connection, how far it is believed, and the server at its other end.
///
/// It is born untrusted: revocations go over it from the start, while reads and fills wait until it
/// has been introduced (`feed::LinkTask`). The other way round, a revocation could fall between the
/// introduction's end and its announcement here, and be made nowhere.
pub struct Session {
    connection: MultiplexedConnection,
    trust: Mutex<Trust>,
    /// What the keys of a change are revoked on: see [`identify`].
    pub server: String,
    /// Where that server is.
    pub at: ConnectionInfo,
}

impl Session {
    /// Connects. The caller bounds how long that may take.
    pub async fn open(at: ConnectionInfo, prefix: &str) -> RedisResult<Self> {
        let mut connection = source::connect(at.clone()).await?;
        let server = identify(&mut connection, &at, prefix).await?;
        scripts::load(&mut connection).await?;
        Ok(Self { connection, trust: Mutex::default(), server, at })
    }

    pub fn connection(&self) -> MultiplexedConnection {
        self.connection.clone()
    }

    /// How far it is believed.
    pub fn trust(&self) -> MutexGuard<'_, Trust> {
        self.trust.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The epoch that is trusted.
    pub fn epoch(&self) -> Option<String> {
        self.trust().epoch().map(str::to_owned)
    }
}

/// The server and where on it our keys are. Two replicas that find the same revoke the same keys.
///
/// Run id and replication id, for a server that restarts or fails over becomes another one, even
/// beneath a connection that lives on; then database number and prefix.
pub async fn identify(
    connection: &mut MultiplexedConnection,
    at: &ConnectionInfo,
    prefix: &str,
) -> RedisResult<String> {
    let info: InfoDict =
        redis::cmd("INFO").arg("server").arg("replication").query_async(connection).await?;
    let field = |name| info.get::<String>(name).unwrap_or_default();
    let refuse = |why| Err(RedisError::from((ErrorKind::InvalidClientConfig, why)));
    if field("redis_mode") == "cluster" {
        return refuse(
            "it is a node of a Redis Cluster, whose client has to connect elsewhere whenever keys \
             move; what is cached is believed on one unbroken connection alone, so REDIS_URL must \
             lead to a single server or to sentinels",
        );
    }
    if field("role") != "master" {
        return refuse("it is a read-only replica; REDIS_URL must lead to the master");
    }
    let (run, replication) = (field("run_id"), field("master_replid"));
    if run.is_empty() || replication.is_empty() {
        return refuse("INFO tells neither run_id nor master_replid");
    }
    let database = at.redis_settings().db();
    Ok(format!("{run}/{replication}/{database}/{prefix}"))
}
