//! One connection to one Redis server.

use std::sync::atomic::{AtomicBool, Ordering};

use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, ConnectionInfo, ErrorKind, InfoDict, IntoConnectionInfo, RedisError,
    RedisResult,
};

use super::scripts;

/// A connection that has not failed yet, and the server at its other end.
///
/// It is born untrusted: revocations go over it from the start, while reads and fills wait until
/// its epoch has begun. The other way round, a revocation could fall between the epoch's beginning
/// and its announcement here, and be made nowhere.
#[derive(Debug)]
pub struct Session {
    connection: MultiplexedConnection,
    /// What the keys of a change are revoked on: see [`identify`].
    pub server: String,
    /// Where the epoch of the database stands that is served on it.
    pub epoch_key: String,
    trusted: AtomicBool,
}

/// A connection, and the server at its other end, before it is used.
pub type Opened = (MultiplexedConnection, String);

/// Connects. The caller bounds how long that may take.
pub async fn open(client: &redis::Client, prefix: &str) -> RedisResult<Opened> {
    // Each call on it is bounded by whoever makes it.
    let config =
        AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    let server = identify(&mut connection, client, prefix).await?;
    scripts::load(&mut connection).await?;
    Ok((connection, server))
}

impl Session {
    pub fn new((connection, server): Opened, epoch_key: String) -> Self {
        Self { connection, server, epoch_key, trusted: AtomicBool::new(false) }
    }

    pub fn connection(&self) -> MultiplexedConnection {
        self.connection.clone()
    }

    pub fn is_trusted(&self) -> bool {
        self.trusted.load(Ordering::Acquire)
    }

    /// Sets a fresh epoch: every entry of another one is a miss from now on.
    pub async fn begin_epoch(&self) -> RedisResult<()> {
        let set = redis::cmd("SET").arg(&self.epoch_key).arg(scripts::token()).to_owned();
        set.query_async(&mut self.connection()).await
    }

    /// Its epoch has begun.
    pub fn trust(&self) {
        self.trusted.store(true, Ordering::Release);
    }
}

/// The server and where on it our keys are. Two replicas that find the same revoke the same keys.
///
/// Run id and replication id, for a server that restarts or fails over becomes another one, even
/// beneath a connection that lives on; then database number and prefix.
pub async fn identify(
    connection: &mut MultiplexedConnection,
    client: &redis::Client,
    prefix: &str,
) -> RedisResult<String> {
    let info: InfoDict =
        redis::cmd("INFO").arg("server").arg("replication").query_async(connection).await?;
    let field = |name| info.get::<String>(name).unwrap_or_default();
    let refuse = |why| Err(RedisError::from((ErrorKind::InvalidClientConfig, why)));
    if field("role") != "master" {
        return refuse("it is a read-only replica; REDIS_URL must lead to the master");
    }
    let (run, replication) = (field("run_id"), field("master_replid"));
    if run.is_empty() || replication.is_empty() {
        return refuse("INFO tells neither run_id nor master_replid");
    }
    let database = client.get_connection_info().redis_settings().db();
    Ok(format!("{run}/{replication}/{database}/{prefix}"))
}

/// The URL as connection settings. Small writes go out at once: Nagle's algorithm would hold them
/// back for 40 ms.
///
/// # Errors
/// It is no Redis URL.
pub fn connect_info(url: &str) -> RedisResult<ConnectionInfo> {
    let info = url.into_connection_info()?;
    Ok(info.set_tcp_settings(TcpSettings::default().set_nodelay(true)))
}
