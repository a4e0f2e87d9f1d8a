//! The shared cache and the fast bus.

#![expect(clippy::doc_markdown, reason = "the text of --help, shown as it is written")]

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::Mistakes;

#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Redis")]
#[group(skip)]
pub(super) struct Options {
    /// redis://host:6379: a cache shared by replicas, and the fastest way to tell them of a change.
    /// Needs Redis 7 or newer, and Postgres. Without it replicas cache in memory alone
    #[arg(long, env = "REDIS_URL", hide_env_values = true, value_name = "URL")]
    redis_url: Option<SecretString>,

    /// Stands before every key and channel, where one server is shared by several services. (Its
    /// database number would not do: channels ignore it)
    #[arg(long, env = "REDIS_PREFIX", default_value = "", value_name = "PREFIX")]
    redis_prefix: String,
}

/// The shared cache and the fast bus.
#[derive(Debug, Clone)]
pub struct Redis {
    /// The URL, password included.
    pub url: SecretString,
    /// Stands before every key and channel.
    pub prefix: String,
}

impl Options {
    pub fn validate(self, mistakes: &mut Mistakes) -> Option<Redis> {
        let prefix = self.redis_prefix;
        if prefix.len() > 64 || !prefix.bytes().all(|b| b.is_ascii_graphic()) {
            mistakes.note("REDIS_PREFIX", "must be at most 64 visible ASCII characters");
        }
        let url = self.redis_url.filter(|url| !url.expose_secret().trim().is_empty())?;
        let text = url.expose_secret().trim();
        let scheme = text.split(':').next().unwrap_or_default();
        let refusal = if scheme.contains("cluster") || text.contains(',') {
            "is a Redis Cluster; its client reconnects beneath the check that cached entries can be trusted, so it is not supported: use a single server"
        } else if scheme.contains("sentinel") {
            "is a Sentinel, which this version does not support yet: use redis://host:port"
        } else if scheme == "rediss" {
            "asks for TLS, which this version does not support yet: use redis://host:port"
        } else if scheme != "redis" || !Url::parse(text).is_ok_and(|url| url.has_host()) {
            "must be redis://[user:password@]host[:port][/database]"
        } else {
            return Some(Redis { url: text.to_owned().into(), prefix });
        };
        mistakes.note("REDIS_URL", refusal);
        None
    }
}
