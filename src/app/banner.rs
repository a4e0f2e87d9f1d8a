//! What a replica says when it is up.

use std::net::SocketAddr;

use secrecy::ExposeSecret;
use url::Url;

use crate::config::{Config, Database, LogFormat, RedisServer};
use crate::domain::{Scope, Scopes};
use crate::service::Health;
use crate::telemetry::metrics::{ANONYMOUS_SCOPE, gauge_of};

/// Says where the data is, what is connected and, to a person, which URLs to try.
pub fn show(config: &Config, address: SocketAddr, health: Health) {
    let database = match &config.database {
        Database::Postgres { url } => {
            format!("Postgres, {}", without_password(url.expose_secret()))
        }
        Database::Sqlite { path, .. } => format!("SQLite, {}", path.display()),
    };
    let redis = match (&config.redis, health.redis) {
        (Some(redis), Some(connected)) => {
            let state = if connected { "connected" } else { "out of reach" };
            let place = match &redis.server {
                RedisServer::At(url) => without_password(url.expose_secret()),
                RedisServer::Sentinels { master, .. } => format!("{master}, by sentinels"),
            };
            format!("{state}, {place}")
        }
        _ => "not configured: caching in memory alone".to_owned(),
    };
    let anonymous = if config.http.anonymous.is_empty() {
        "nothing".to_owned()
    } else {
        config.http.anonymous.to_string()
    };
    if config.telemetry.format == LogFormat::Pretty {
        let demo = matches!(config.database, Database::Sqlite { embedded: true, .. });
        let scheme = if config.http.tls.is_some() { "https" } else { "http" };
        let base = format!("{scheme}://{address}");
        print(&poster(&base, &database, &redis, &anonymous, demo));
    }
    tracing::info!(
        %address,
        instance = config.telemetry.instance_id,
        version = env!("CARGO_PKG_VERSION"),
        database,
        redis,
        anonymous,
        "listening"
    );
}

/// Says what callers without a token may do, in the log where it is anything, and in the metrics.
pub fn tell_of_anonymous(granted: Scopes) {
    for scope in Scope::ALL {
        let gauge = gauge_of(ANONYMOUS_SCOPE, &[("scope", scope.as_str())]);
        gauge.set(if granted.contains(scope) { 1.0 } else { 0.0 });
    }
    if granted.is_empty() {
        tracing::info!("callers need a token; `tenant-service token create` makes one");
    } else {
        tracing::warn!(
            scopes = granted.to_string(),
            "whoever reaches this port may do this without a token (ANONYMOUS_SCOPES)"
        );
    }
}

fn poster(base: &str, database: &str, redis: &str, anonymous: &str, demo: bool) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let lookup = if demo { "123456789" } else { "{phone_number_id}" };
    format!(
        "
  tenant-service {version}
    database     {database}
    redis        {redis}
    without a token, callers may do: {anonymous}

    try          curl {base}/api/tenants/by-phone/{lookup}
    API          {base}/docs
    health       {base}/health
    metrics      {base}/metrics
"
    )
}

/// The URL as it may be shown.
fn without_password(url: &str) -> String {
    match Url::parse(url) {
        Ok(mut url) => {
            // It fails only for URLs that can have no password.
            let _ = url.set_password(None);
            // Parameters may hold one too (`?password=`), and a fragment the end of one.
            url.set_query(None);
            url.set_fragment(None);
            url.into()
        }
        Err(_) => "(unreadable URL)".to_owned(),
    }
}

#[expect(clippy::print_stdout, reason = "the banner is for the person at the terminal")]
fn print(text: &str) {
    println!("{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_shown() {
        let shown = without_password("postgres://svc:hunter2@db:5432/t?password=hunter2#ter2");
        assert_eq!(shown, "postgres://svc@db:5432/t");
        assert_eq!(without_password("hunter2"), "(unreadable URL)");
    }
}
