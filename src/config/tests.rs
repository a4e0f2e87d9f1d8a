use clap::Parser;
use secrecy::ExposeSecret;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    options: Options,
}

fn validate(flags: &[&str]) -> Result<Config, String> {
    let line = Line::try_parse_from([&["tenant-service"], flags].concat());
    line.unwrap().options.validate().map_err(|mistakes| mistakes.to_string())
}

fn mistake(flags: &[&str]) -> String {
    validate(flags).expect_err("a mistake")
}

#[test]
fn nothing_configured_is_the_embedded_default() {
    let config = validate(&[]).unwrap();
    assert_eq!(config.http.address.to_string(), "127.0.0.1:3007");
    assert_eq!(config.http.anonymous, crate::domain::Scopes::ALL);
    assert!(config.redis.is_none());
    let Database::Sqlite { path, embedded: true } = config.database else { panic!("embedded") };
    assert_eq!(path.to_str(), Some("./data/tenant-service.db"));
}

#[test]
fn a_database_is_named_once() {
    let parts = ["--db-name", "waba", "--db-user", "svc", "--db-password", "p@ss/w:rd"];
    let Database::Postgres { url } = validate(&parts).unwrap().database else { panic!("postgres") };
    assert_eq!(url.expose_secret(), "postgres://svc:p%40ss%2Fw%3Ard@localhost:5432/waba");
    let percent = ["--db-name", "d", "--db-user", "a%41", "--db-password", "x%ffy"];
    let Database::Postgres { url } = validate(&percent).unwrap().database else { panic!() };
    assert_eq!(url.expose_secret(), "postgres://a%2541:x%25ffy@localhost:5432/d");
    assert!(mistake(&["--db-name", "..", "--db-user", "u"]).contains("DB_NAME"));
    assert!(mistake(&["--db-host", "db"]).contains("DB_NAME"));
    let both = [&parts[..], &["--database-url", "postgres://h/d"]].concat();
    assert!(mistake(&both).contains("one or the other"));
    for url in ["mysql://h/d", "postgres://h", "sqlite://", "sqlite::memory:"] {
        assert!(mistake(&["--database-url", url]).contains("DATABASE_URL"), "{url}");
    }
    // An empty variable is one that is not set.
    assert!(validate(&["--database-url", "", "--db-host", "", "--redis-url", ""]).is_ok());
}

#[test]
fn redis_needs_postgres_and_one_server() {
    let postgres = ["--database-url", "postgres://h/d"];
    let with = |url: &'static str| [&postgres[..], &["--redis-url", url]].concat();
    assert!(validate(&with("redis://h:6379/1")).is_ok());
    assert!(mistake(&["--redis-url", "redis://h"]).contains("needs Postgres"));
    assert!(mistake(&with("redis-cluster://h")).contains("Cluster"));
    assert!(mistake(&with("redis://a:1,b:2")).contains("Cluster"));
    assert!(mistake(&with("redis-sentinel://h")).contains("Sentinel"));
    assert!(mistake(&with("rediss://h")).contains("TLS"));
    assert!(mistake(&with("http://h")).contains("redis://"));
}

#[test]
fn an_open_address_needs_a_word_from_the_operator() {
    assert!(mistake(&["--host", "0.0.0.0"]).contains("ANONYMOUS_SCOPES"));
    assert!(mistake(&["--host", "example.org"]).contains("HOST"));
    let open = ["--host", "::", "--anonymous-scopes", "lookup:read"];
    assert_eq!(validate(&open).unwrap().http.anonymous.to_string(), "lookup:read");
    assert!(validate(&["--anonymous-scopes", "none"]).unwrap().http.anonymous.is_empty());
    assert!(mistake(&["--anonymous-scopes", "lookup"]).contains("lookup:read"));
}

#[test]
fn every_mistake_is_told_and_no_value_is() {
    let told = mistake(&[
        "--host",
        "hunter2",
        "--database-url",
        "mysql://u:hunter2@h/d",
        "--redis-url",
        "x://hunter2",
        "--cache-capacity",
        "7",
        "--poll-interval-ms",
        "1",
        "--staleness-bound-ms",
        "1",
        "--cache-ttl-seconds",
        "0",
        "--change-log-retention-hours",
        "0",
    ]);
    for variable in [
        "HOST",
        "DATABASE_URL",
        "REDIS_URL",
        "CACHE_CAPACITY",
        "POLL_INTERVAL_MS",
        "STALENESS_BOUND_MS",
        "CACHE_TTL_SECONDS",
        "CHANGE_LOG_RETENTION_HOURS",
    ] {
        assert!(told.contains(variable), "{variable} in {told}");
    }
    assert!(!told.contains("hunter2"));
}

#[test]
fn sizes_have_units() {
    let capacity = |text| validate(&["--cache-capacity", text]).map(|c| c.cache.capacity).ok();
    assert_eq!(capacity("1048576"), Some(1 << 20));
    assert_eq!(capacity("2 GiB"), Some(2 << 30));
    assert_eq!(capacity("12parsec"), None);
    assert_eq!(capacity("99999999999GiB"), None);
}
