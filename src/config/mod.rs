//! Configuration: from the environment or the command line, validated once, at start.
//!
//! One file a section. Each variable is documented beside its default, and that text is the
//! `--help`. [`Options`] is what was given; [`Config`] is what it means. Every mistake is reported,
//! not just the first.

mod cache;
mod database;
mod feed;
mod http;
mod redis;
mod telemetry;

use std::fmt;

pub use self::cache::Cache;
pub use self::database::Database;
pub use self::feed::Feed;
pub use self::http::Http;
pub use self::redis::Redis;
pub use self::telemetry::{LogFormat, Telemetry};

/// What was given, by environment or command line.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    #[command(flatten)]
    http: http::Options,
    #[command(flatten)]
    database: database::Options,
    #[command(flatten)]
    redis: redis::Options,
    #[command(flatten)]
    cache: cache::Options,
    #[command(flatten)]
    feed: feed::Options,
    #[command(flatten)]
    telemetry: telemetry::Options,
}

/// What the service runs with.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it listens, and what callers without a token may do.
    pub http: Http,
    /// Where the truth is.
    pub database: Database,
    /// The shared cache and the fast bus.
    pub redis: Option<Redis>,
    /// How much is cached, and for how long.
    pub cache: Cache,
    /// How changes are learned of.
    pub feed: Feed,
    /// What it tells of itself.
    pub telemetry: Telemetry,
}

/// Everything that is wrong with a configuration.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Mistakes(Vec<String>);

impl Mistakes {
    /// Notes that `variable` is wrong, and what it accepts. Never repeat the value: it may hold a
    /// password.
    fn note(&mut self, variable: &str, accepts: impl fmt::Display) {
        self.0.push(format!("{variable}: {accepts}"));
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration can't be used")?;
        self.0.iter().try_for_each(|mistake| write!(f, "\n  {mistake}"))
    }
}

impl std::error::Error for Mistakes {}

impl Options {
    /// What these options mean.
    ///
    /// # Errors
    /// All that is wrong with them, each with the variable's name and what it accepts.
    pub fn validate(self) -> Result<Config, Mistakes> {
        let mut mistakes = Mistakes::default();
        let database = self.database.validate(&mut mistakes);
        let redis = self.redis.validate(&mut mistakes);
        if redis.is_some() && matches!(database, Some(Database::Sqlite { .. })) {
            mistakes.note(
                "REDIS_URL",
                "needs Postgres (DATABASE_URL=postgres://…): Redis is shared by replicas, and SQLite serves one process, whose memory is the faster cache",
            );
        }
        let http = self.http.validate(&mut mistakes);
        let cache = self.cache.validate(&mut mistakes);
        let feed = self.feed.validate(&mut mistakes);
        let telemetry = self.telemetry.validate();
        match (http, database, cache, feed) {
            (Some(http), Some(database), Some(cache), Some(feed)) if mistakes.0.is_empty() => {
                Ok(Config { http, database, redis, cache, feed, telemetry })
            }
            _ => Err(mistakes),
        }
    }
}

/// An empty variable counts as one that is not set: `REDIS_URL=` in a file switches Redis off.
fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.trim().is_empty())
}

#[cfg(test)]
mod tests;
