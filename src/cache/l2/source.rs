//! Where the server is: always in one place, or where the sentinels say.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo,
    RedisConnectionInfo, RedisError, RedisResult, TlsCertificates,
};
use secrecy::{ExposeSecret, SecretString};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

use super::L2Error;
use crate::config::RedisServer;
use crate::domain::redact;

/// What a sentinel has to answer in, so that the next one is asked soon.
const SENTINEL_TIMEOUT: Duration = Duration::from_millis(500);

/// Where the server is.
#[derive(Clone)]
pub enum Source {
    /// Here.
    Server(ConnectionInfo),
    /// Where one of these says that the master of this name is.
    Sentinels {
        /// How to reach each, with the credentials and the database number that the *server* is
        /// used with.
        sentinels: Vec<ConnectionInfo>,
        /// As the sentinels name it.
        master: String,
    },
}

redact!(Source { name: |it| it.name() });

impl Source {
    /// The server's address, or its name among the sentinels.
    fn name(&self) -> String {
        match self {
            Self::Server(at) => at.addr().to_string(),
            Self::Sentinels { master, .. } => format!("{master}, by sentinels"),
        }
    }

    /// What is configured.
    ///
    /// # Errors
    /// A URL is none.
    pub fn configured(server: &RedisServer) -> RedisResult<Self> {
        let info = |url: &SecretString| connect_info(url.expose_secret());
        Ok(match server {
            RedisServer::At(url) => Self::Server(info(url)?),
            RedisServer::Sentinels { urls, master } => {
                let sentinels = urls.iter().map(info).collect::<RedisResult<_>>()?;
                Self::Sentinels { sentinels, master: master.clone() }
            }
        })
    }

    /// The server of this URL.
    ///
    /// # Errors
    /// It is no Redis URL.
    pub fn server(url: &str) -> RedisResult<Self> {
        Ok(Self::Server(connect_info(url)?))
    }

    /// The same, where only these authorities, certificates as PEM, may vouch for the server and
    /// for its sentinels.
    ///
    /// # Errors
    /// There is no certificate, or the server is not reached over TLS.
    pub fn trusting(self, authorities: &[u8]) -> RedisResult<Self> {
        let refused = |what| RedisError::from((ErrorKind::InvalidClientConfig, what));
        // Without one, the driver would trust nobody, and say so with each connection.
        if CertificateDer::pem_slice_iter(authorities).next().is_none() {
            return Err(refused("there is no certificate"));
        }
        let trusting = |at: ConnectionInfo| {
            if !matches!(at.addr(), ConnectionAddr::TcpTls { .. }) {
                return Err(refused("the server is not reached over TLS"));
            }
            let authorities = Some(authorities.to_vec());
            let trusted = TlsCertificates { client_tls: None, root_cert: authorities };
            Ok(Client::build_with_tls(at, trusted)?.get_connection_info().clone())
        };
        Ok(match self {
            Self::Server(at) => Self::Server(trusting(at)?),
            Self::Sentinels { sentinels, master } => {
                let sentinels = sentinels.into_iter().map(trusting).collect::<RedisResult<_>>()?;
                Self::Sentinels { sentinels, master }
            }
        })
    }

    /// Whom to ask where the server is, one after the other: a sentinel that was cut off may name a
    /// server that is the master no more.
    pub fn guides(&self) -> Vec<Guide<'_>> {
        match self {
            Self::Server(at) => vec![Guide::Itself(at)],
            Self::Sentinels { sentinels, master } => {
                sentinels.iter().map(|sentinel| Guide::Sentinel(sentinel, master)).collect()
            }
        }
    }
}

/// Knows where the server is.
pub enum Guide<'a> {
    /// It is here.
    Itself(&'a ConnectionInfo),
    /// This one knows, by the master's name.
    Sentinel(&'a ConnectionInfo, &'a str),
}

impl Guide<'_> {
    /// Where the server is.
    pub async fn ask(&self) -> Result<ConnectionInfo, L2Error> {
        match *self {
            Self::Itself(at) => Ok(at.clone()),
            Self::Sentinel(sentinel, master) => {
                match tokio::time::timeout(SENTINEL_TIMEOUT, ask(sentinel, master)).await {
                    Ok(told) => told.map_err(L2Error::Sentinel),
                    Err(_) => Err(L2Error::Timeout),
                }
            }
        }
    }
}

/// Asks a sentinel where the master is.
async fn ask(sentinel: &ConnectionInfo, master: &str) -> RedisResult<ConnectionInfo> {
    let open = sentinel.clone().set_redis_settings(RedisConnectionInfo::default());
    let found = match address(open, master).await {
        // Only one that wants a password is told it, for the others would refuse it.
        Err(error) if error.code() == Some("NOAUTH") => {
            let credentials = sentinel.redis_settings().clone().set_db(0);
            address(sentinel.clone().set_redis_settings(credentials), master).await?
        }
        found => found?,
    };
    let unknown = || RedisError::from((ErrorKind::InvalidClientConfig, "it knows no such master"));
    let (host, port) = found.ok_or_else(unknown)?;
    // Over TLS if the sentinel is, and vouched for by the same.
    let at = match sentinel.addr().clone() {
        ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
            ConnectionAddr::TcpTls { host, port, insecure, tls_params }
        }
        _ => ConnectionAddr::Tcp(host, port),
    };
    Ok(sentinel.clone().set_addr(at))
}

async fn address(sentinel: ConnectionInfo, master: &str) -> RedisResult<Option<(String, u16)>> {
    let mut connection = connect(sentinel).await?;
    let ask = redis::cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(master).to_owned();
    ask.query_async(&mut connection).await
}

/// A connection that makes no other one when it breaks. Whoever uses it bounds each call.
pub async fn connect(at: ConnectionInfo) -> RedisResult<MultiplexedConnection> {
    let config =
        AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
    Client::open(at)?.get_multiplexed_async_connection_with_config(&config).await
}

/// The URL as connection settings. Small writes go out at once: Nagle's algorithm would hold them
/// back for 40 ms.
fn connect_info(url: &str) -> RedisResult<ConnectionInfo> {
    let info = url.into_connection_info()?;
    Ok(info.set_tcp_settings(TcpSettings::default().set_nodelay(true)))
}
