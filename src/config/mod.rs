//! Configuration: from the environment or the command line, validated once, at start.
//!
//! One file a section. Each variable is documented beside its default, and that text is the
//! `--help`. Each command has options of its own, of the sections that it uses: what it does not
//! use can't stop it. [`Config`] is what the service's options mean. Every mistake is reported, not
//! just the first, and no value ever is.

mod audit;
mod cache;
mod database;
mod feed;
mod given;
mod http;
mod keyring;
mod networks;
mod redis;
mod retention;
mod rotation;
mod telemetry;
mod verify;

use std::time::Duration;

pub use self::audit::Audit;
pub use self::cache::Cache;
pub use self::database::Database;
pub use self::feed::Feed;
pub use self::given::Mistakes;
pub use self::http::{Http, TlsFiles};
pub use self::keyring::KeyringFile;
pub use self::networks::Networks;
pub use self::redis::{Redis, RedisServer};
pub use self::rotation::Rotation;
pub use self::telemetry::{LogFormat, Telemetry};
pub use self::verify::Verify;

/// What `serve` was given.
#[derive(Debug, Clone, clap::Args)]
pub struct ServeOptions {
    #[command(flatten)]
    http: http::Options,
    #[command(flatten)]
    database: database::Options,
    #[command(flatten)]
    keyring: keyring::Options,
    #[command(flatten)]
    redis: redis::Options,
    #[command(flatten)]
    cache: cache::Options,
    #[command(flatten)]
    feed: feed::Options,
    #[command(flatten)]
    retention: retention::Options,
    #[command(flatten)]
    audit: audit::Options,
    #[command(flatten)]
    telemetry: telemetry::Options,
}

/// What `seed` was given: it writes, and tells replicas of it.
#[derive(Debug, Clone, clap::Args)]
pub struct SeedOptions {
    #[command(flatten)]
    database: database::Options,
    #[command(flatten)]
    keyring: keyring::Options,
    #[command(flatten)]
    redis: redis::Options,
    #[command(flatten)]
    staleness_bound: feed::BoundOption,
    #[command(flatten)]
    telemetry: telemetry::Options,
}

/// What a command runs with that writes.
#[derive(Debug, Clone)]
pub struct Seed {
    /// Where the truth is.
    pub database: Database,
    /// Where the keys are that credentials are sealed by.
    pub keyring: KeyringFile,
    /// Where replicas are told of it.
    pub redis: Option<Redis>,
    /// How long to wait for a replica that does not answer.
    pub staleness_bound: Duration,
    /// What it tells of itself.
    pub telemetry: Telemetry,
}

/// What `migrate` was given.
#[derive(Debug, Clone, clap::Args)]
pub struct MigrateOptions {
    #[command(flatten)]
    database: database::Options,
    #[command(flatten)]
    keyring: keyring::Options,
    #[command(flatten)]
    telemetry: telemetry::Options,
}

/// What `keys` was given, where it looks at a database.
#[derive(Debug, Clone, clap::Args)]
pub struct KeysOptions {
    #[command(flatten)]
    database: database::Options,
    #[command(flatten)]
    keyring: keyring::Options,
}

/// What `keys rotate` was given.
#[derive(Debug, Clone, clap::Args)]
pub struct RotateOptions {
    #[command(flatten)]
    rotation: rotation::Options,
    #[command(flatten)]
    keys: KeysOptions,
}

/// What `verify` was given: it reads, and logs nothing.
#[derive(Debug, Clone, clap::Args)]
pub struct VerifyOptions {
    #[command(flatten)]
    verify: verify::Options,
    #[command(flatten)]
    database: database::Options,
    #[command(flatten)]
    keyring: keyring::Options,
}

/// What `audit` was given: it reads, and logs nothing.
#[derive(Debug, Clone, clap::Args)]
pub struct AuditOptions {
    #[command(flatten)]
    database: database::Options,
    #[command(flatten)]
    keyring: keyring::Options,
}

impl AuditOptions {
    /// What these options mean.
    ///
    /// # Errors
    /// See [`ServeOptions::validate`].
    pub fn validate(self) -> Result<(Database, KeyringFile), Mistakes> {
        let mut mistakes = Mistakes::default();
        let database = self.database.validate(&mut mistakes);
        let keyring = self.keyring.validate(database.as_ref(), &mut mistakes);
        mistakes.unless_any((|| Some((database?, keyring?)))())
    }
}

/// What the service runs with.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it listens, and what callers without a token may do.
    pub http: Http,
    /// Where the truth is.
    pub database: Database,
    /// Where the keys are that credentials are sealed by.
    pub keyring: KeyringFile,
    /// The shared cache and the fast bus.
    pub redis: Option<Redis>,
    /// How much is cached, and for how long.
    pub cache: Cache,
    /// How changes are learned of.
    pub feed: Feed,
    /// How long deleted credentials are kept.
    pub retention: Duration,
    /// How long it is kept who did what.
    pub audit: Audit,
    /// What it tells of itself.
    pub telemetry: Telemetry,
}

impl ServeOptions {
    /// What these options mean.
    ///
    /// # Errors
    /// All that is wrong with them, each with the variable's name and what it accepts.
    pub fn validate(self) -> Result<Config, Mistakes> {
        let mut mistakes = Mistakes::default();
        let (database, redis) = stores(self.database, self.redis, &mut mistakes);
        let keyring = self.keyring.validate(database.as_ref(), &mut mistakes);
        let is_embedded = matches!(database, Some(Database::Sqlite { embedded: true, .. }));
        let http = self.http.validate(is_embedded, &mut mistakes);
        let cache = self.cache.validate(&mut mistakes);
        let feed = self.feed.validate(&mut mistakes);
        let retention = self.retention.validate(&mut mistakes);
        let audit = self.audit.validate(&mut mistakes);
        let telemetry = self.telemetry.validate(&mut mistakes);
        let whole = || {
            Some(Config {
                http: http?,
                database: database?,
                keyring: keyring?,
                redis,
                cache: cache?,
                feed: feed?,
                retention: retention?,
                audit: audit?,
                telemetry: telemetry?,
            })
        };
        mistakes.unless_any(whole())
    }
}

impl SeedOptions {
    /// What these options mean.
    ///
    /// # Errors
    /// See [`ServeOptions::validate`].
    pub fn validate(self) -> Result<Seed, Mistakes> {
        let mut mistakes = Mistakes::default();
        let (database, redis) = stores(self.database, self.redis, &mut mistakes);
        let keyring = self.keyring.validate(database.as_ref(), &mut mistakes);
        let staleness_bound = self.staleness_bound.validate(&mut mistakes);
        let telemetry = self.telemetry.validate(&mut mistakes);
        let whole = || {
            Some(Seed {
                database: database?,
                keyring: keyring?,
                redis,
                staleness_bound: staleness_bound?,
                telemetry: telemetry?,
            })
        };
        mistakes.unless_any(whole())
    }
}

impl MigrateOptions {
    /// What these options mean.
    ///
    /// # Errors
    /// See [`ServeOptions::validate`].
    pub fn validate(self) -> Result<(Database, KeyringFile, Telemetry), Mistakes> {
        let mut mistakes = Mistakes::default();
        let database = self.database.validate(&mut mistakes);
        let keyring = self.keyring.validate(database.as_ref(), &mut mistakes);
        let telemetry = self.telemetry.validate(&mut mistakes);
        mistakes.unless_any((|| Some((database?, keyring?, telemetry?)))())
    }
}

impl KeysOptions {
    /// What these options mean.
    ///
    /// # Errors
    /// See [`ServeOptions::validate`].
    pub fn validate(self) -> Result<(Database, KeyringFile), Mistakes> {
        let mut mistakes = Mistakes::default();
        let both = self.checked(&mut mistakes);
        mistakes.unless_any(both)
    }

    fn checked(self, mistakes: &mut Mistakes) -> Option<(Database, KeyringFile)> {
        let database = self.database.validate(mistakes);
        let keyring = self.keyring.validate(database.as_ref(), mistakes);
        Some((database?, keyring?))
    }
}

impl RotateOptions {
    /// What these options mean.
    ///
    /// # Errors
    /// See [`ServeOptions::validate`].
    pub fn validate(self) -> Result<(Rotation, Database, KeyringFile), Mistakes> {
        let mut mistakes = Mistakes::default();
        let rotation = self.rotation.validate(&mut mistakes);
        let keys = self.keys.checked(&mut mistakes);
        let whole = rotation.zip(keys);
        mistakes
            .unless_any(whole.map(|(rotation, (database, keyring))| (rotation, database, keyring)))
    }
}

impl VerifyOptions {
    /// What these options mean.
    ///
    /// # Errors
    /// See [`ServeOptions::validate`].
    pub fn validate(self) -> Result<(Verify, Database, KeyringFile), Mistakes> {
        let mut mistakes = Mistakes::default();
        let verify = self.verify.validate(&mut mistakes);
        let database = self.database.validate(&mut mistakes);
        let keyring = self.keyring.validate(database.as_ref(), &mut mistakes);
        mistakes.unless_any((|| Some((verify?, database?, keyring?)))())
    }
}

/// The database and Redis, which have to fit together.
fn stores(
    database: database::Options,
    redis: redis::Options,
    mistakes: &mut Mistakes,
) -> (Option<Database>, Option<Redis>) {
    let (database, redis) = (database.validate(mistakes), redis.validate(mistakes));
    if redis.is_some() && matches!(database, Some(Database::Sqlite { .. })) {
        mistakes.note(
            "REDIS_URL",
            "needs Postgres (DATABASE_URL=postgres://…): Redis is shared by replicas, and SQLite serves one process, whose memory is the faster cache",
        );
    }
    (database, redis)
}

#[cfg(test)]
mod tests;
