//! One connection to one Redis server.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, ConnectionInfo, ErrorKind, InfoDict, IntoConnectionInfo, RedisError,
    RedisResult,
};

use super::scripts;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection that has not failed yet, and the server at its other end.
#[derive(Debug)]
pub struct Session {
    connection: MultiplexedConnection,
    /// Run id and replication id: a server that restarts or fails over becomes another one.
    pub server: String,
}

impl Session {
    /// Connects, and begins a new epoch: what is in Redis may have missed evictions.
    pub async fn open(client: &redis::Client, epoch_key: &str) -> RedisResult<Self> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(CONNECT_TIMEOUT));
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        let server = identify(&mut connection).await?;
        scripts::load(&mut connection).await?;
        begin_epoch(connection.clone(), epoch_key).await?;
        Ok(Self { connection, server })
    }

    pub fn connection(&self) -> MultiplexedConnection {
        self.connection.clone()
    }
}

/// Sets a fresh epoch: every entry of another one is a miss from now on.
pub async fn begin_epoch(
    mut connection: MultiplexedConnection,
    epoch_key: &str,
) -> RedisResult<()> {
    redis::cmd("SET").arg(epoch_key).arg(scripts::token()).query_async(&mut connection).await
}

async fn identify(connection: &mut MultiplexedConnection) -> RedisResult<String> {
    let info: InfoDict = redis::cmd("INFO").query_async(connection).await?;
    let field = |name| info.get::<String>(name).unwrap_or_default();
    if field("role") != "master" {
        return Err(RedisError::from((
            ErrorKind::InvalidClientConfig,
            "this Redis server is a read-only replica; REDIS_URL must lead to the master",
        )));
    }
    Ok(format!("{}/{}", field("run_id"), field("master_replid")))
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
