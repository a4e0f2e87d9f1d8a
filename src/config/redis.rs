//! The shared cache and the fast bus.

use redis::IntoConnectionInfo;
use secrecy::SecretString;
use url::Url;

use super::Mistakes;
use super::given::Given;

#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Redis")]
#[group(skip)]
pub(super) struct Options {
    /// redis://[user:password@]host[:6379][/0]: a cache shared by replicas, and the fastest way to
    /// tell them of a change. Needs Redis 7 or newer, and Postgres. Without it replicas cache in
    /// memory alone
    #[arg(long, env = "REDIS_URL", hide_env_values = true, value_name = "URL")]
    redis_url: Option<Given>,

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
    /// The URL, password included.
    pub url: SecretString,
    /// Stands before every key and channel.
    pub prefix: String,
}

const PREFIX_ACCEPTS: &str = "must be at most 64 visible ASCII characters";

impl Options {
    pub fn validate(self, mistakes: &mut Mistakes) -> Option<Redis> {
        let prefix = mistakes.parsed("REDIS_PREFIX", &self.redis_prefix, PREFIX_ACCEPTS, prefix);
        let url = mistakes.text("REDIS_URL", self.redis_url.as_ref()?)?.trim();
        match refusal(url) {
            Some(refusal) => {
                mistakes.note("REDIS_URL", refusal);
                None
            }
            None => Some(Redis { url: url.to_owned().into(), prefix: prefix? }),
        }
    }
}

fn prefix(text: &str) -> Option<String> {
    let valid = text.len() <= 64 && text.bytes().all(|b| b.is_ascii_graphic());
    valid.then(|| text.to_owned())
}

/// What is wrong with a URL.
fn refusal(text: &str) -> Option<&'static str> {
    let scheme = text.split(':').next().unwrap_or_default();
    let hosts = text.rsplit('@').next().unwrap_or_default();
    if scheme.contains("cluster") || hosts.contains(',') {
        Some(
            "is a Redis Cluster; its client reconnects beneath the check that cached entries can be trusted, so it is not supported: use a single server",
        )
    } else if scheme.contains("sentinel") {
        Some("is a Sentinel, which this version does not support yet: use redis://host:port")
    } else if scheme == "rediss" {
        Some("asks for TLS, which this version does not support yet: use redis://host:port")
    } else if scheme != "redis" || !is_understood(text) {
        Some(
            "must be redis://[user:password@]host[:port][/database]; in a password, / ? # % are written %2F %3F %23 %25",
        )
    } else {
        None
    }
}

/// Whether the driver understands all of it. What follows a `?` or a `#` may be the end of a
/// password, which the driver would ignore, or quote.
fn is_understood(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| url.query().is_none() && url.fragment().is_none())
        && text.into_connection_info().is_ok()
}
