//! The command line.

use serde_json::Value;
use tenant_service::domain::Scope;

use crate::harness::{Postgres, Redis, Replica, Scratch, run_cli};

/// Every variable but `RUST_LOG`.
const VARIABLES: [&str; 30] = [
    "HOST",
    "PORT",
    "ANONYMOUS_SCOPES",
    "TLS_CERT_FILE",
    "TLS_KEY_FILE",
    "MAX_CONCURRENT_REQUESTS",
    "RATE_LIMIT_PER_SECOND",
    "TOKEN_RATE_LIMIT_PER_SECOND",
    "TRUSTED_PROXIES",
    "DATABASE_URL",
    "DB_HOST",
    "DB_PORT",
    "DB_NAME",
    "DB_USER",
    "DB_PASSWORD",
    "DATA_DIR",
    "KEYRING_FILE",
    "REDIS_URL",
    "REDIS_CA_FILE",
    "REDIS_PREFIX",
    "CACHE_TTL_SECONDS",
    "CACHE_NEGATIVE_TTL_SECONDS",
    "CACHE_CAPACITY",
    "STALE_BUDGET_SECONDS",
    "AUDIT_CHECKS_PER_SECOND",
    "POLL_INTERVAL_MS",
    "STALENESS_BOUND_MS",
    "CHANGE_LOG_RETENTION_HOURS",
    "INSTANCE_ID",
    "LOG_FORMAT",
];

/// Every variable, with a value that it does not accept; but for those that accept nearly any.
fn all_wrong() -> Vec<(&'static str, &'static str)> {
    let any_text =
        ["DB_HOST", "DB_PORT", "DB_NAME", "DB_USER", "DB_PASSWORD", "DATA_DIR", "KEYRING_FILE"];
    let wrong = VARIABLES.into_iter().filter(|variable| !any_text.contains(variable));
    wrong.map(|variable| (variable, "hunter2 é")).chain([("RUST_LOG", "[{hunter2")]).collect()
}

#[tokio::test]
async fn every_command_has_a_help_worth_reading() {
    let stored = ["DATABASE_URL", "DB_NAME", "DATA_DIR", "KEYRING_FILE"];
    let database = [&stored[..], &["LOG_FORMAT", "RUST_LOG"]].concat();
    let redis = ["REDIS_URL", "REDIS_CA_FILE", "REDIS_PREFIX"];
    let write = ["STALENESS_BOUND_MS"];
    let service = ["ANONYMOUS_SCOPES", "CACHE_CAPACITY", "POLL_INTERVAL_MS"];
    for (command, used) in [
        (&[][..], [&database[..], &redis, &write, &service].concat()),
        (&["serve"], [&database[..], &redis, &write, &service].concat()),
        (&["seed"], [&database[..], &redis, &write].concat()),
        (&["migrate"], database.clone()),
        (&["openapi"], Vec::new()),
        (&["token", "create"], [&database[..], &redis, &write].concat()),
        (&["token", "list"], [&database[..], &redis, &write].concat()),
        (&["token", "revoke"], [&database[..], &redis, &write].concat()),
        (&["token", "rotate"], [&database[..], &redis, &write].concat()),
        (&["verify"], [&stored[..], &write].concat()),
        (&["keys", "generate"], vec!["KEYRING_FILE"]),
        (&["keys", "rotate"], stored.to_vec()),
        (&["keys", "retire"], stored.to_vec()),
        (&["keys", "status"], stored.to_vec()),
    ] {
        let arguments = [command, &["--help"]].concat();
        let help = run_cli(&arguments, &[]).await.expecting(0).stdout;
        assert!(help.contains("Usage: tenant-service"), "{help}");
        for variable in [&database[..], &redis, &write, &service].concat() {
            let shown = help.contains(&format!("[env: {variable}"));
            assert_eq!(shown, used.contains(&variable), "{variable} in the help of {command:?}");
        }
    }
    let help = run_cli(&["serve", "--help"], &[]).await.expecting(0).stdout;
    for told in ["[default: 3007]", "[default: 127.0.0.1]", "[default: 256MiB]", "[default: info]"]
    {
        assert!(help.contains(told), "{told} in {help}");
    }
    let there = |scope: &Scope| *scope < Scope::CredentialsDestroy || *scope == Scope::TokensAdmin;
    for scope in Scope::ALL.into_iter().filter(there) {
        assert!(help.contains(scope.as_str()), "{scope} in {help}");
    }
    // What a command says of itself beyond the line in the list.
    for (command, told) in [
        ("serve", "any number of replicas may start at once"),
        ("migrate", "Safe to run at any time"),
        ("seed", "where a run before it stopped"),
        ("openapi", "/openapi.json"),
        ("verify", "with 2 if nothing,"),
    ] {
        let help = run_cli(&[command, "--help"], &[]).await.expecting(0).stdout;
        assert!(help.contains(told), "{told} in {help}");
    }
    // The environment is never shown: it holds passwords.
    let secret = [("DATABASE_URL", "postgres://u:hunter2@h/d"), ("DB_PASSWORD", "hunter2")];
    let help = run_cli(&["--help"], &secret).await.expecting(0).stdout;
    assert!(!help.contains("hunter2"));
}

#[tokio::test]
async fn mistakes_are_told_all_at_once_and_without_values() {
    let always = ["DATABASE_URL", "INSTANCE_ID", "LOG_FORMAT"];
    for (arguments, used) in [
        (&[][..], &VARIABLES[..]),
        (&["serve"], &VARIABLES),
        (
            &["seed"],
            &[&always[..], &["REDIS_URL", "REDIS_CA_FILE", "REDIS_PREFIX", "STALENESS_BOUND_MS"]]
                .concat(),
        ),
        (&["migrate"], &always),
        (&["verify", "--replica", "http://h"], &["DATABASE_URL", "STALENESS_BOUND_MS"]),
    ] {
        // Of a command that compares, 1 would be what it has found.
        let is_verify = arguments.first() == Some(&"verify");
        let code = if is_verify { 2 } else { 1 };
        let output = run_cli(arguments, &all_wrong()).await.expecting(code);
        for (variable, _) in all_wrong() {
            let told = output.stderr.contains(&format!("\n  {variable}: "));
            let is_used = (variable == "RUST_LOG" && !is_verify) || used.contains(&variable);
            assert_eq!(told, is_used, "{variable} of {arguments:?}: {}", output.stderr);
        }
        assert!(!output.stderr.contains("hunter2"), "{}", output.stderr);
        assert_eq!(output.stdout, "");
    }
    // A right value elsewhere makes these two wrong.
    let environment =
        [("HOST", "nowhere"), ("DATABASE_URL", "postgres://h/d"), ("DB_PASSWORD", "hunter2")];
    let output = run_cli(&[], &environment).await.expecting(1);
    assert!(output.stderr.contains("\n  HOST: "), "{}", output.stderr);
    assert!(output.stderr.contains("\n  DATABASE_URL: "), "{}", output.stderr);
    assert!(!output.stderr.contains("hunter2"), "{}", output.stderr);
}

#[tokio::test]
async fn what_a_command_does_not_use_does_not_stop_it() {
    let of_serve: Vec<_> = all_wrong()
        .into_iter()
        .filter(|(variable, _)| {
            !["DATABASE_URL", "INSTANCE_ID", "LOG_FORMAT", "RUST_LOG"].contains(variable)
        })
        .collect();
    run_cli(&["migrate"], &of_serve).await.expecting(0);
    let of_serve: Vec<_> = of_serve
        .into_iter()
        .filter(|(variable, _)| {
            !["REDIS_URL", "REDIS_CA_FILE", "REDIS_PREFIX", "STALENESS_BOUND_MS"].contains(variable)
        })
        .collect();
    run_cli(&["seed"], &of_serve).await.expecting(0);
    run_cli(&["openapi"], &all_wrong()).await.expecting(0);
}

/// A line `PORT=` in a file, or in a compose file's environment.
#[tokio::test]
async fn a_variable_that_is_empty_is_not_set() {
    for nothing in ["", " "] {
        let empty: Vec<_> =
            VARIABLES.into_iter().chain(["RUST_LOG"]).map(|name| (name, nothing)).collect();
        run_cli(&["migrate"], &empty).await.expecting(0);
        run_cli(&["seed"], &empty).await.expecting(0);
        // It ends there, for the only thing that is set: with all the others it has no quarrel.
        let one = [&empty[..], &[("HOST", "nowhere")]].concat();
        let output = run_cli(&["serve"], &one).await.expecting(1);
        assert_eq!(output.stderr.matches("\n  ").count(), 1, "{}", output.stderr);
    }
    let replica = VARIABLES
        .into_iter()
        .filter(|variable| *variable != "PORT" && *variable != "LOG_FORMAT")
        .fold(Replica::builder(), |builder, variable| builder.env(variable, ""));
    let replica = replica.start().await;
    replica.get("/api/tenants/by-phone/123456789").await.expecting(200);
}

#[tokio::test]
async fn migrate_is_idempotent_and_refuses_foreign_tables() {
    let database = Postgres::empty_database().await;
    let environment = [("DATABASE_URL", database.url.as_str())];
    for _ in 0..2 {
        run_cli(&["migrate"], &environment).await.expecting(0);
    }

    let foreign = Postgres::empty_database().await;
    foreign.execute("CREATE TABLE tenants (tenant_id text PRIMARY KEY, subdomain text)").await;
    foreign.execute("INSERT INTO tenants VALUES ('theirs', 'x')").await;
    let environment = [("DATABASE_URL", foreign.url.as_str())];
    for command in ["migrate", "serve"] {
        let output = run_cli(&[command], &environment).await.expecting(1);
        assert!(output.stderr.contains("tenants import --from postgres://"), "{}", output.stderr);
    }
    let tables: i64 = foreign
        .scalar("SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'public'")
        .await;
    assert_eq!(tables, 2, "their table and its index, and nothing of ours");
    let rows: i64 = foreign.scalar("SELECT count(*) FROM tenants").await;
    assert_eq!(rows, 1);
}

#[tokio::test]
async fn the_document_is_the_one_that_is_served() {
    let replica = Replica::builder().start().await;
    let printed = run_cli(&["openapi"], &[]).await.expecting(0);
    let printed: Value = serde_json::from_str(&printed.stdout).unwrap();
    assert_eq!(printed, replica.get_json("/openapi.json").await);
}

#[tokio::test]
async fn a_database_that_is_away_is_named_without_its_password() {
    let environment = [("DATABASE_URL", "postgres://svc:hunter2@127.0.0.1:1/none")];
    let output = run_cli(&["serve"], &environment).await.expecting(1);
    assert!(output.stderr.contains("database"), "{}", output.stderr);
    assert!(!output.stderr.contains("hunter2") && !output.stdout.contains("hunter2"));
}

/// What a driver has to say of a password, or of a URL's parameters, it says to nobody.
#[tokio::test]
async fn no_driver_tells_a_password() {
    let (database, redis) = (Postgres::database().await, Redis::start().await);
    let with_password = redis.url().replace("redis://", "redis://:hunter2@");
    let refused = [("DATABASE_URL", database.url.as_str()), ("REDIS_URL", &with_password)];
    let output = run_cli(&["seed"], &refused).await.expecting(0);
    assert!(output.stdout.contains("Redis is out of reach"), "{}", output.stdout);
    assert!(!output.stdout.contains("hunter2") && !output.stderr.contains("hunter2"));

    let parameter = format!("{}?passwort=hunter2", database.url);
    let protocol = format!("{}?protocol=hunter2", redis.url());
    for environment in [
        [("DATABASE_URL", parameter.as_str()), ("REDIS_URL", "")],
        [("DATABASE_URL", &database.url), ("REDIS_URL", &protocol)],
    ] {
        let output = run_cli(&["serve"], &environment).await.expecting(1);
        assert!(output.stderr.contains("_URL: "), "{}", output.stderr);
        assert!(!output.stdout.contains("hunter2") && !output.stderr.contains("hunter2"));
    }
}

/// Flags before a command would be read by nobody.
#[tokio::test]
async fn flags_stand_behind_the_command() {
    let url = "postgres://u:p@127.0.0.1:1/none";
    let output = run_cli(&["--database-url", url, "migrate"], &[]).await.expecting(2);
    assert!(output.stderr.contains("--database-url"), "{}", output.stderr);
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let replica = Replica::builder().start().await;
    let folder = Scratch::new("data");
    let port = replica.address().rsplit(':').next().unwrap();
    let data = folder.to_str().unwrap();
    let output = run_cli(&["serve"], &[("PORT", port), ("DATA_DIR", data)]).await.expecting(1);
    assert!(output.stderr.contains("PORT"), "{}", output.stderr);
}
