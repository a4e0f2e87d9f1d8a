use std::ffi::{OsStr, OsString};
use std::num::NonZeroU32;
use std::os::unix::ffi::OsStringExt;

use clap::builder::Resettable;
use clap::{Arg, Args, Command};
use secrecy::ExposeSecret;

use crate::domain::Scopes;

use super::*;

/// What a command makes of its flags, whatever is in the environment of the tests.
fn options<O: Args>(flags: &[impl AsRef<OsStr>]) -> O {
    let command = O::augment_args(Command::new("tenant-service").no_binary_name(true));
    let command = command.mut_args(|argument| argument.env(Resettable::Reset));
    let flags = flags.iter().map(AsRef::as_ref);
    O::from_arg_matches(&command.try_get_matches_from(flags).unwrap()).unwrap()
}

/// With a keyring, which every Postgres needs.
fn validate(flags: &[&str]) -> Result<Config, String> {
    let is_given = flags.contains(&"--keyring-file");
    let keyring: &[&str] = if is_given { &[] } else { &["--keyring-file", "/k"] };
    let flags = [flags, keyring].concat();
    options::<ServeOptions>(&flags).validate().map_err(|mistakes| mistakes.to_string())
}

fn mistake(flags: &[&str]) -> String {
    validate(flags).expect_err("a mistake")
}

/// The URL of the database that is configured.
fn database(flags: &[&str]) -> String {
    match validate(flags).unwrap().database {
        Database::Postgres { url } => url.expose_secret().to_owned(),
        Database::Sqlite { path, .. } => panic!("{}", path.display()),
    }
}

#[test]
fn nothing_configured_is_the_embedded_default() {
    let config = validate(&[]).unwrap();
    assert_eq!(config.http.address.to_string(), "127.0.0.1:3007");
    assert_eq!(config.http.anonymous, Scopes::ALL);
    assert!(config.redis.is_none());
    assert_eq!((config.cache.ttl.as_secs(), config.cache.negative_ttl.as_secs()), (3600, 60));
    assert_eq!(config.cache.capacity, 256 << 20);
    assert_eq!(config.cache.audit_rate, None);
    let feed = &config.feed;
    assert_eq!((feed.poll_interval.as_millis(), feed.staleness_bound.as_millis()), (200, 1000));
    assert_eq!(feed.retention.as_secs(), 24 * 3600);
    assert_eq!(config.telemetry.filter, "info");
    let Database::Sqlite { path, embedded: true } = config.database else { panic!("embedded") };
    assert_eq!(path.to_str(), Some("./data/tenant-service.db"));
}

#[test]
fn a_keyring_is_named_or_is_beside_sqlite() {
    let keyring = |flags: &[&str]| {
        let told = options::<ServeOptions>(flags).validate();
        told.map(|config| config.keyring).map_err(|mistakes| mistakes.to_string())
    };
    let path = |flags: &[&str]| {
        let KeyringFile { path, is_made } = keyring(flags).unwrap();
        (path.to_str().unwrap().to_owned(), is_made)
    };
    assert_eq!(path(&[]), ("./data/keyring.json".to_owned(), true));
    assert_eq!(path(&["--database-url", "sqlite:///d/t.db"]), ("/d/keyring.json".to_owned(), true));
    assert_eq!(path(&["--keyring-file", "/k"]), ("/k".to_owned(), false));
    let postgres = ["--database-url", "postgres://h/d"];
    let named = [&postgres[..], &["--keyring-file", "/k"]].concat();
    assert_eq!(path(&named), ("/k".to_owned(), false));
    let told = keyring(&postgres).unwrap_err();
    assert!(told.contains("KEYRING_FILE: is needed with Postgres"), "{told}");
    assert!(told.contains("`tenant-service keys generate --file "), "{told}");
}

#[test]
fn a_database_is_named_once() {
    let parts = ["--db-name", "waba", "--db-user", "svc", "--db-password", "p@ss/w:rd"];
    assert_eq!(database(&parts), "postgres://svc:p%40ss%2Fw%3Ard@localhost:5432/waba");
    let percent = ["--db-name", "d", "--db-user", "a%41", "--db-password", " x%ffy"];
    assert_eq!(database(&percent), "postgres://a%2541:%20x%25ffy@localhost:5432/d");
    assert_eq!(database(&["--db-name", "d", "--db-user", "u"]), "postgres://u@localhost:5432/d");
    for (host, shown) in [("db.example", "db.example"), ("::1", "[::1]"), ("[::1]", "[::1]")] {
        let url = database(&["--db-host", host, "--db-name", "d", "--db-user", "u"]);
        assert_eq!(url, format!("postgres://u@{shown}:5432/d"));
    }
    let both = [&parts[..], &["--database-url", "postgres://h/d"]].concat();
    assert!(mistake(&both).contains("one or the other"));
}

#[test]
fn parts_of_a_database_are_all_checked() {
    assert!(mistake(&["--db-name", "..", "--db-user", "u"]).contains("DB_NAME: must"));
    // A port belongs into its own variable, and must not be dropped in silence.
    for host in ["db:5433", "", "a b", "a/b", "u@h", "h?x", "h#x"] {
        let told = mistake(&["--db-host", host, "--db-name", "d", "--db-user", "u"]);
        assert!(told.contains("DB_HOST: must"), "{host}: {told}");
    }
    let told = mistake(&["--db-host", "a b", "--db-port", "0"]);
    for variable in ["DB_HOST: must", "DB_PORT: must", "DB_NAME: is needed", "DB_USER: is needed"] {
        assert!(told.contains(variable), "{told}");
    }
}

#[test]
fn redis_needs_postgres_and_one_server() {
    let postgres = ["--database-url", "postgres://h/d"];
    let with = |url: &'static str| [&postgres[..], &["--redis-url", url]].concat();
    for url in
        ["redis://h:6379/1", "redis://u:p,%23@h", " redis://[::1]:6379 ", "rediss://u:p@h:6380/1"]
    {
        assert!(validate(&with(url)).unwrap().redis.is_some(), "{url}");
    }
    assert!(mistake(&["--redis-url", "redis://h"]).contains("needs Postgres"));
    assert!(mistake(&with("redis-cluster://h")).contains("Cluster"));
    assert!(mistake(&with("redis://a:1,b:2")).contains("Cluster"));
    assert!(mistake(&with("redis+cluster://a:1,b:2")).contains("Cluster"));
    assert!(mistake(&with("redis://a:1?cluster=true")).contains("Cluster"));
    assert!(mistake(&with("redis-sentinel://h/m")).contains("redis+sentinel://"));
    assert!(mistake(&with("rediss://a:1,b:2")).contains("Cluster"));
    assert!(mistake(&with("rediss-sentinel://h/m")).contains("rediss+sentinel://"));
    assert!(mistake(&with("http://h")).contains("redis://"));
}

#[test]
fn an_authority_is_for_tls() {
    let with = |url: &'static str| {
        ["--database-url", "postgres://h/d", "--redis-url", url, "--redis-ca-file", "Cargo.toml"]
    };
    for url in ["rediss://h", "rediss+sentinel://h/m"] {
        let file = validate(&with(url)).unwrap().redis.unwrap().ca_file;
        assert_eq!(file.unwrap().to_str(), Some("Cargo.toml"));
    }
    for url in ["redis://h", "redis+sentinel://h/m"] {
        assert!(mistake(&with(url)).contains("REDIS_CA_FILE: is of use for"), "{url}");
    }
}

#[test]
fn sentinels_are_several_and_lead_to_one_master() {
    let with = |url| {
        let redis = ["--database-url", "postgres://h/d", "--redis-url", url];
        validate(&redis).map(|config| match config.redis.unwrap().server {
            RedisServer::Sentinels { urls, master } => {
                let urls = urls.iter().map(|url| url.expose_secret().to_owned());
                (urls.collect::<Vec<_>>().join(" "), master)
            }
            RedisServer::At(_) => panic!("{url}"),
        })
    };
    for (url, urls, master) in [
        ("redis+sentinel://h/mymaster", "redis://h:26379/0", "mymaster"),
        ("rediss+sentinel://h/mymaster", "rediss://h:26379/0", "mymaster"),
        (
            "redis+sentinel://u:p%2F,q@a:1,[::1],b.c/m-1/2",
            "redis://u:p%2F,q@a:1/2 redis://u:p%2F,q@[::1]:26379/2 redis://u:p%2F,q@b.c:26379/2",
            "m-1",
        ),
    ] {
        assert_eq!(with(url).unwrap(), (urls.to_owned(), master.to_owned()), "{url}");
    }
    for url in [
        "redis+sentinel://h",
        "redis+sentinel://h/",
        "redis+sentinel:///m",
        "redis+sentinel://a,,b/m",
        "redis+sentinel://h/m/n",
        "redis+sentinel://h/m/0?x=1",
        "redis+sentinel://h:port/m",
        "redis+sentinel://u:hunter2/@h/m",
        "redis+sentinel://u:hunter2@/m",
    ] {
        let told = with(url).unwrap_err();
        assert!(told.contains("redis+sentinel://") && !told.contains("hunter2"), "{url}: {told}");
    }
}

#[test]
fn only_the_embedded_default_on_a_loopback_address_is_open() {
    for (given, expected) in [
        (&[][..], true),
        (&["--host", "localhost"], true),
        (&["--host", "::1"], true),
        (&["--data-dir", "/elsewhere"], true),
        (&["--host", "0.0.0.0"], false),
        (&["--host", "10.0.0.1"], false),
        (&["--trusted-proxies", "127.0.0.1"], false),
        (&["--database-url", "postgres://h/d", "--keyring-file", "/k"], false),
        (&["--database-url", "sqlite:///d"], false),
    ] {
        let http = validate(given).unwrap().http;
        assert_eq!(http.open_by_default, expected, "{given:?}");
        let granted = if expected { Scopes::ALL } else { Scopes::NONE };
        assert_eq!(http.anonymous, granted, "{given:?}");
    }
    let all = validate(&["--anonymous-scopes", "all"]).unwrap().http;
    assert!(!all.open_by_default, "somebody has said so");
    assert!(mistake(&["--host", "example.org"]).contains("HOST"));
    let open = ["--host", "::", "--anonymous-scopes", "lookup:read"];
    assert_eq!(validate(&open).unwrap().http.anonymous.to_string(), "lookup:read");
    assert!(validate(&["--anonymous-scopes", "none"]).unwrap().http.anonymous.is_empty());
    assert!(mistake(&["--anonymous-scopes", "lookup"]).contains("lookup:read"));
}

/// Whatever is given, wherever: all of it is told in one report, by name, and none of it is shown.
#[test]
fn every_mistake_is_told_and_no_value_is() {
    let known = ServeOptions::augment_args(Command::new("serve"));
    let named: Vec<(String, &str)> = known
        .get_arguments()
        .map(|argument| (argument.get_long().unwrap(), argument.get_env().unwrap()))
        .map(|(flag, variable)| (format!("--{flag}"), variable.to_str().unwrap()))
        // Any text names a file; and the parts of a database don't go with its URL.
        .filter(|(_, variable)| !["DATA_DIR", "KEYRING_FILE"].contains(variable))
        .filter(|(_, variable)| !variable.starts_with("DB_"))
        .collect();
    assert!(named.len() > 13, "{named:?}");
    let bad = |variable: &str| if variable == "RUST_LOG" { "[{hunter2" } else { "hunter2 \u{e9}" };
    let given: Vec<&str> =
        named.iter().flat_map(|(flag, variable)| [flag.as_str(), bad(variable)]).collect();
    let told = mistake(&given);
    for (_, variable) in &named {
        assert!(told.contains(&format!("\n  {variable}: ")), "{variable} in {told}");
    }
    assert!(!told.contains("hunter2") && !told.contains('\u{e9}'), "{told}");
    // Nor do the options show themselves.
    assert!(!format!("{:?}", options::<ServeOptions>(&given)).contains("hunter2"));
}

#[test]
fn numbers_are_told_with_their_range() {
    for (flag, bad, told) in [
        ("--port", "65536", "PORT: must be a port, 0 to 65535"),
        ("--port", "-1", "PORT: must be a port, 0 to 65535"),
        ("--cache-ttl-seconds", "0", "CACHE_TTL_SECONDS: must be whole seconds, 1 to 31536000"),
        ("--cache-negative-ttl-seconds", "1.5", "CACHE_NEGATIVE_TTL_SECONDS: must be whole sec"),
        ("--audit-checks-per-second", "1001", "AUDIT_CHECKS_PER_SECOND: must be a whole number, 0"),
        ("--poll-interval-ms", "9", "POLL_INTERVAL_MS: must be whole milliseconds, 10 to 60000"),
        ("--staleness-bound-ms", "600001", "STALENESS_BOUND_MS: must be whole milliseconds, 20"),
        ("--staleness-bound-ms", "399", "STALENESS_BOUND_MS: must be at least twice POLL_INTER"),
        ("--change-log-retention-hours", "8761", "CHANGE_LOG_RETENTION_HOURS: must be whole h"),
    ] {
        let mistake = mistake(&[&format!("{flag}={bad}")]);
        assert!(mistake.contains(told), "{mistake}");
    }
    let numbers =
        ["--port", " 0 ", "--staleness-bound-ms", "400", "--audit-checks-per-second", "5"];
    let config = validate(&numbers).unwrap();
    assert_eq!(config.http.address.port(), 0);
    assert_eq!(config.feed.staleness_bound.as_millis(), 400);
    assert_eq!(config.cache.audit_rate.map(NonZeroU32::get), Some(5));
}

/// Of a password that was not escaped, a URL's other parts may hold the rest.
#[test]
fn no_password_is_told_of_any_url() {
    for url in [
        "mysql://u:hunter2@h/d",
        "hunter2",
        "postgres://h",
        "postgres://u:hunter2@h",
        "postgres://u:1/hunter2@h/d",
        "postgres://u:1#hunter2@h/d",
        "postgres://u:1?hunter2@h/d",
        "postgres://u:hunter2@h:port/d",
        "postgres://u:hunter2%ff@h/d",
        "postgres://u:p@h/d?sslmode=hunter2",
        "postgres://u:p@h/d?port=hunter2",
        "postgres://u:p@h/d?passwort=hunter2",
        "postgres://u:p@h/d#hunter2",
        "sqlite://",
        "sqlite::memory:",
        "sqlite://f?key=hunter2",
    ] {
        let told = mistake(&["--database-url", url]);
        assert!(told.contains("\n  DATABASE_URL: ") && !told.contains("hunter2"), "{url}: {told}");
    }
    for url in [
        "hunter2",
        "redis://u:hunter2@h:port",
        "redis://:1/hunter2@h",
        "redis://u:1#hunter2@h",
        "redis://u:1?hunter2@h",
        "redis://u:hunter2%ff@h",
        "redis://:hunter2@h/name",
        "redis://:p@h?protocol=hunter2",
        "redis://:p@h?password=hunter2",
        "redis://:hunter2@h,i",
        "rediss+sentinel://:hunter2@h",
        "rediss://:p@h#hunter2",
        "rediss://:hunter2@h#insecure",
        "unix:///hunter2",
    ] {
        let told = mistake(&["--database-url", "postgres://h/d", "--redis-url", url]);
        assert!(told.contains("\n  REDIS_URL: ") && !told.contains("hunter2"), "{url}: {told}");
    }
    let known = "postgres://u:p@h/d?sslmode=require&application_name=x&options[jit]=off";
    assert_eq!(database(&["--database-url", known]), known);
}

#[test]
fn debug_shows_no_password() {
    for redis in ["redis://u:hunter2@h", "redis+sentinel://u:hunter2@h/m"] {
        let url = "postgres://u:hunter2@h/d?password=hunter2";
        let config = validate(&["--database-url", url, "--redis-url", redis]).unwrap();
        assert!(!format!("{config:?}").contains("hunter2"), "{config:?}");
    }
}

#[test]
fn what_a_command_does_not_use_cannot_stop_it() {
    let wrong = ["--database-url", "postgres://u:hunter2@h", "--instance-id", ""];
    for told in [
        options::<MigrateOptions>(&wrong).validate().unwrap_err().to_string(),
        options::<SeedOptions>(&wrong).validate().unwrap_err().to_string(),
    ] {
        assert!(told.contains("DATABASE_URL: ") && told.contains("INSTANCE_ID: "), "{told}");
        assert!(!told.contains("hunter2"));
    }
    let redis = ["--redis-url", "redis://h"];
    let told = options::<SeedOptions>(&redis).validate().unwrap_err().to_string();
    assert!(told.contains("needs Postgres"), "{told}");
    let used = |options: Command| {
        let variables = options.get_arguments().filter_map(Arg::get_env);
        variables.map(|name| name.to_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let migrate = used(MigrateOptions::augment_args(Command::new("migrate")));
    let seed = used(SeedOptions::augment_args(Command::new("seed")));
    for variable in ["HOST", "ANONYMOUS_SCOPES", "CACHE_CAPACITY", "POLL_INTERVAL_MS"] {
        let foreign = |variables: &[String]| !variables.iter().any(|name| name == variable);
        assert!(foreign(&migrate) && foreign(&seed), "{variable}");
    }
    assert!(!migrate.contains(&"REDIS_URL".to_owned()) && seed.contains(&"REDIS_URL".to_owned()));
}

#[test]
fn a_replica_has_a_name_that_fits_anywhere() {
    let name = |text| validate(&["--instance-id", text]).map(|config| config.telemetry.instance_id);
    let longest = "r".repeat(64);
    for good in ["a", "tenant-1", &longest] {
        assert_eq!(name(good).as_deref(), Ok(good));
    }
    for bad in ["", "a b", "a\nb", "\u{e9}", &"r".repeat(65)] {
        let told = name(bad).unwrap_err();
        assert!(told.contains("INSTANCE_ID: must be 1 to 64 visible ASCII characters"), "{bad:?}");
    }
}

#[test]
fn log_formats_and_filters_are_checked() {
    let format = |text| validate(&["--log-format", text]).map(|config| config.telemetry.format);
    assert_eq!(format("json"), Ok(LogFormat::Json));
    assert_eq!(format("pretty"), Ok(LogFormat::Pretty));
    assert!(format("yaml").unwrap_err().contains("LOG_FORMAT: must be pretty or json"));
    for filter in ["info,=", "[{hunter2", "x[{y=\"hunter2("] {
        let told = mistake(&["--rust-log", filter]);
        assert!(told.contains("RUST_LOG: must") && !told.contains("hunter2"), "{told}");
    }
}

#[test]
fn text_that_is_not_utf_8_is_told_like_any_other_mistake() {
    let flags =
        ["--port", "--host"].map(|flag| OsString::from_vec([flag.as_bytes(), b"=\xff"].concat()));
    let told = options::<ServeOptions>(&flags).validate().unwrap_err().to_string();
    assert!(told.contains("PORT: must be UTF-8") && told.contains("HOST: must be UTF-8"), "{told}");
}

#[test]
fn sizes_have_units() {
    let capacity = |text| validate(&["--cache-capacity", text]).map(|c| c.cache.capacity).ok();
    assert_eq!(capacity("1048576"), Some(1 << 20));
    assert_eq!(capacity("1048575"), None);
    assert_eq!(capacity("2 GiB"), Some(2 << 30));
    assert_eq!(capacity("12parsec"), None);
    assert_eq!(capacity("99999999999GiB"), None);
}

/// Each variable once, with the default that it has; one that has none is commented out.
#[test]
fn the_example_is_what_the_service_reads() {
    let line = |argument: &Arg| {
        let variable = argument.get_env().unwrap().to_str().unwrap();
        match argument.get_default_values() {
            [default] if !default.is_empty() => format!("{variable}={}", default.display()),
            _ => format!("#{variable}="),
        }
    };
    let known = ServeOptions::augment_args(Command::new("serve"));
    let expected: Vec<String> = known.get_arguments().map(line).collect();
    let is_variable = |line: &&str| {
        let name = line.trim_start_matches('#').split('=').next().unwrap_or_default();
        line.contains('=') && name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
    };
    let example = include_str!("../../.env.example");
    assert_eq!(example.lines().filter(is_variable).collect::<Vec<_>>(), expected);
    let readme = include_str!("../../README.md");
    for argument in known.get_arguments() {
        let variable = argument.get_env().unwrap().to_str().unwrap();
        assert!(readme.contains(&format!("`{variable}`")), "{variable}");
    }
}

#[test]
fn replicas_are_named_by_their_own_addresses() {
    let verify = |flags: &[&str]| {
        let told = options::<VerifyOptions>(flags).validate();
        told.map(|(verify, ..)| verify).map_err(|mistakes| mistakes.to_string())
    };
    let with = |url: &str| verify(&["--replica", url]);
    for (given, meant) in [
        ("http://10.0.0.7:3007", "http://10.0.0.7:3007/"),
        (" http://[::1]:3007/ ", "http://[::1]:3007/"),
        ("http://h/behind/a/path/", "http://h/behind/a/path"),
        ("https://h", "https://h/"),
    ] {
        assert_eq!(with(given).unwrap().replicas[0].as_str(), meant);
    }
    for bad in
        ["hunter2", "http://u:hunter2@h", "http://h/?hunter2", "ftp://hunter2", "http://h/#hunter2"]
    {
        let told = with(bad).unwrap_err();
        assert!(told.contains("--replica: must be http://") && !told.contains("hunter2"), "{told}");
    }
    let trusting = verify(&["--replica", "https://h", "--ca-file", "Cargo.toml"]).unwrap();
    assert_eq!(trusting.ca_file.unwrap().to_str(), Some("Cargo.toml"));
    let token = verify(&["--replica", "http://h", "--token", " ts_live_x "]).unwrap().token;
    assert_eq!(token.unwrap().expose_secret(), "ts_live_x");
    for bad in ["hunter 2", "", "hunter2\u{e9}"] {
        let told = verify(&["--replica", "http://h", "--token", bad]).unwrap_err();
        let is_told = told.contains("TENANT_SERVICE_TOKEN: must") && !told.contains("hunter2");
        assert!(is_told, "{told}");
    }
    let all = verify(&["--replica", "http://h", "--tenants", "0", "--bound", "500"]).unwrap();
    assert_eq!((all.tenants, all.bound.as_millis(), all.probe), (None, 500, 0));
    assert_eq!(with("http://h").unwrap().tenants, Some(1000));
    let told = verify(&["--replica", "http://h", "--probe", "5"]).unwrap_err();
    assert!(told.contains("--probe: needs a second --replica"), "{told}");
}
