//! The shared cache and the fast bus.

use std::path::PathBuf;

use redis::IntoConnectionInfo;
use secrecy::SecretString;
use url::Url;

use super::Mistakes;
use super::given::Given;

#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Redis")]
#[group(skip)]
#[expect(clippy::struct_field_names, reason = "flags are named after them")]
pub(super) struct Options {
    /// redis://[user:password@]host[:6379][/0], rediss://… over TLS, or, where sentinels know which
    /// server is the master, redis+sentinel://[user:password@]host[:26379][,host…]/master-name[/0]
    /// (rediss+sentinel://… if they and the server speak TLS): a cache shared by replicas, and the fastest way to tell them of a change. Needs Redis 7 or
    /// newer, and Postgres. Without it replicas cache in memory alone
    #[arg(long, env = "REDIS_URL", hide_env_values = true, value_name = "URL")]
    redis_url: Option<Given>,

    /// Certificates, as PEM, of the authorities that may vouch for the servers of a rediss:// or
    /// rediss+sentinel:// URL. Default: those that Mozilla trusts
    #[arg(long, env = "REDIS_CA_FILE", value_name = "FILE")]
    redis_ca_file: Option<Given>,

    /// Stands before every key and channel, where one server is shared by several services. (Its
    /// database number would not do: channels ignore it)
    #[arg(
        long,
        env = "REDIS_PREFIX",
        default_value = "",
        hide_default_value = true,
        value_name = "PREFIX"
    )]
    redis_prefix: Given,
}

/// The shared cache and the fast bus.
#[derive(Debug, Clone)]
pub struct Redis {
    /// Where it is.
    pub server: RedisServer,
    /// Who may vouch for it.
    pub ca_file: Option<PathBuf>,
    /// Stands before every key and channel.
    pub prefix: String,
}

/// Where the server is. URLs are of the form `redis://` or `rediss://`, passwords included.
#[derive(Debug, Clone)]
pub enum RedisServer {
    /// Here.
    At(SecretString),
    /// Where one of its sentinels says.
    Sentinels {
        /// Each with the credentials and the database number that the *server* is used with; both
        /// are spoken to over TLS, or neither.
        urls: Vec<SecretString>,
        /// What the sentinels call it.
        master: String,
    },
}

const SENTINEL_PORT: u16 = 26379;
const PREFIX_ACCEPTS: &str = "must be at most 64 visible ASCII characters";

impl Options {
    pub fn validate(self, mistakes: &mut Mistakes) -> Option<Redis> {
        let prefix = mistakes.parsed("REDIS_PREFIX", &self.redis_prefix, PREFIX_ACCEPTS, prefix);
        let ca_file = self.redis_ca_file.as_ref();
        let ca_file = ca_file.map(|file| mistakes.readable_file("REDIS_CA_FILE", file));
        let url = mistakes.text("REDIS_URL", self.redis_url.as_ref()?)?.trim();
        match server(url) {
            Err(refusal) => {
                mistakes.note("REDIS_URL", refusal);
                None
            }
            Ok(_) if ca_file.is_some() && !url.starts_with("rediss") => {
                mistakes.note(
                    "REDIS_CA_FILE",
                    "is of use for a rediss:// or rediss+sentinel:// URL alone",
                );
                None
            }
            Ok(server) => Some(Redis { server, ca_file: ca_file.flatten(), prefix: prefix? }),
        }
    }
}

fn prefix(text: &str) -> Option<String> {
    let valid = text.len() <= 64 && text.bytes().all(|b| b.is_ascii_graphic());
    valid.then(|| text.to_owned())
}

const CLUSTER: &str = "is a Redis Cluster, whose client connects elsewhere whenever keys move; what is cached is believed on one unbroken connection alone, so it is not supported: use a single server, or sentinels";
const SENTINELS: &str = "must name sentinels as redis+sentinel://[user:password@]host[:26379][,host…]/master-name[/database], or as rediss+sentinel://… where they and the server speak TLS";
const ACCEPTS: &str = "must be redis://[user:password@]host[:port][/database], rediss://… over TLS, or redis+sentinel:// (rediss+sentinel://) and [user:password@]host[:26379][,host…]/master-name[/database]; in a password, / ? # % are written %2F %3F %23 %25";

/// The server, or what is wrong with the URL.
fn server(text: &str) -> Result<RedisServer, &'static str> {
    let (scheme, rest) = text.split_once("://").unwrap_or((text, ""));
    let parameters = text.rsplit_once('?').map_or("", |(_, parameters)| parameters);
    let is_cluster = scheme.contains("cluster") || parameters.contains("cluster=");
    match scheme {
        _ if is_cluster => Err(CLUSTER),
        "redis" | "rediss" if rest.rsplit('@').next().is_some_and(|hosts| hosts.contains(',')) => {
            Err(CLUSTER)
        }
        "redis" | "rediss" if is_understood(text) => Ok(RedisServer::At(text.into())),
        "redis+sentinel" => sentinels("redis", rest).ok_or(ACCEPTS),
        "rediss+sentinel" => sentinels("rediss", rest).ok_or(ACCEPTS),
        _ if scheme.contains("sentinel") => Err(SENTINELS),
        _ => Err(ACCEPTS),
    }
}

/// `[user:password@]host[:port][,host[:port]…]/master-name[/database]`
fn sentinels(scheme: &str, text: &str) -> Option<RedisServer> {
    let (authority, path) = text.split_once('/')?;
    let (master, database) = path.split_once('/').unwrap_or((path, "0"));
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if master.is_empty() || !master.chars().all(is_name) {
        return None;
    }
    let (user, hosts) = match authority.rsplit_once('@') {
        Some((user, hosts)) => (format!("{user}@"), hosts),
        None => (String::new(), authority),
    };
    let url = |host: &str| {
        let mut url = Url::parse(&format!("{scheme}://{user}{host}/{database}")).ok()?;
        if url.port().is_none() {
            url.set_port(Some(SENTINEL_PORT)).ok()?;
        }
        is_understood(url.as_str()).then(|| SecretString::from(String::from(url)))
    };
    let urls = hosts.split(',').map(url).collect::<Option<_>>()?;
    Some(RedisServer::Sentinels { urls, master: master.to_owned() })
}

/// Whether the driver understands all of it. What follows a `?` or a `#` may be the end of a
/// password, which the driver would ignore, or quote.
fn is_understood(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| url.query().is_none() && url.fragment().is_none())
        && text.into_connection_info().is_ok()
}
