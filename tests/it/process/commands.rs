//! The command line.

use serde_json::{Value, json};

use crate::coherence::fleet::{connected, resolves};
use crate::harness::{Postgres, Redis, Replica, Scratch, run_cli};

#[tokio::test]
async fn every_command_has_a_help_worth_reading() {
    for command in [&[][..], &["serve"], &["migrate"], &["seed"], &["openapi"]] {
        let arguments = [command, &["--help"]].concat();
        let help = run_cli(&arguments, &[]).await.expecting(0).stdout;
        assert!(help.contains("Usage: tenant-service"), "{help}");
        if command != ["openapi"] {
            for variable in ["DATABASE_URL", "REDIS_URL", "ANONYMOUS_SCOPES", "STALENESS_BOUND_MS"]
            {
                assert!(help.contains(variable), "{variable} in the help of {command:?}");
            }
        }
    }
    // The environment is never shown: it holds passwords.
    let secret = [("DATABASE_URL", "postgres://u:hunter2@h/d"), ("DB_PASSWORD", "hunter2")];
    let help = run_cli(&["--help"], &secret).await.expecting(0).stdout;
    assert!(!help.contains("hunter2"));
}

#[tokio::test]
async fn mistakes_are_told_all_at_once_and_without_values() {
    let environment = [
        ("HOST", "0.0.0.0"),
        ("DATABASE_URL", "mysql://u:hunter2@h/d"),
        ("REDIS_URL", "redis-cluster://h"),
        ("POLL_INTERVAL_MS", "5"),
    ];
    for arguments in [&[][..], &["serve"], &["migrate"], &["seed"]] {
        let output = run_cli(arguments, &environment).await.expecting(1);
        for variable in ["HOST", "DATABASE_URL", "REDIS_URL", "POLL_INTERVAL_MS"] {
            assert!(output.stderr.contains(variable), "{variable}: {}", output.stderr);
        }
        assert!(output.stderr.contains("ANONYMOUS_SCOPES"), "names the way out");
        assert!(!output.stderr.contains("hunter2"));
    }
    let output = run_cli(&[], &[("RUST_LOG", "info,=")]).await.expecting(1);
    assert!(output.stderr.contains("RUST_LOG"), "{}", output.stderr);
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
async fn seeds_are_loaded_once_and_told_to_replicas() {
    let (database, redis) = (Postgres::database().await, Redis::start().await);
    let replica = Replica::builder().database(&database).redis(&redis).start().await;
    connected(&replica, "redis", true).await;
    let by_phone = "/api/tenants/by-phone/123456789";
    replica.get(by_phone).await.expecting(404);

    let environment = [("DATABASE_URL", database.url.as_str()), ("REDIS_URL", &redis.url())];
    run_cli(&["seed"], &environment).await.expecting(0);
    resolves(&replica, by_phone, Some("demo-tenant-001")).await;
    let body = json!({"name": "Renamed"});
    replica.patch_json("/api/tenants/demo-tenant-001", &body).await.expecting(200);
    run_cli(&["seed"], &environment).await.expecting(0);
    let tenant = replica.get_json("/api/tenants/demo-tenant-001").await;
    assert_eq!(tenant["name"], "Renamed", "what is there is left as it is");
    // Also what a suspended tenant has, which looks absent.
    let token = json!({"type": "whatsapp", "credentials": {"access_token": "a-real-one"}});
    let path = "/api/tenants/demo-tenant-001";
    replica.put_json(&format!("{path}/credentials"), &token).await.expecting(200);
    for status in ["suspended", "active"] {
        replica.patch_json(path, &json!({"status": status})).await.expecting(200);
        run_cli(&["seed"], &environment).await.expecting(0);
    }
    let kept = replica.get_json(&format!("{path}/credentials/whatsapp")).await;
    assert_eq!(kept, json!({"access_token": "a-real-one"}));

    let folder = Scratch::new("seeds");
    let file = folder.join("bad.json");
    let seeds = json!({"tenants": [
        {"id": "good", "name": "Good"},
        {"id": "bad", "name": "Bad", "credentials": {"whatsapp": {"access_token": "***hunter2"}}},
    ]});
    std::fs::write(&file, seeds.to_string()).unwrap();
    let output = run_cli(&["seed", file.to_str().unwrap()], &environment).await.expecting(1);
    assert!(output.stderr.contains("tenants[1]"), "{}", output.stderr);
    assert!(!output.stderr.contains("hunter2"));
    replica.get("/api/tenants/good").await.expecting(404);
    // What holds for a request holds for a seed: the bounds of settings, the names of regions.
    for (settings, credentials, mistake) in [
        (json!({"a": "x".repeat(70_000)}), json!({}), "64 KiB"),
        ((0..32).fold(json!({}), |inner, _| json!({"a": inner})), json!({}), "31 levels"),
        (
            json!({}),
            json!({"genesys": {"region": "hunter2"}}),
            "genesys: credentials.region: must be",
        ),
    ] {
        let seed =
            json!({"id": "good", "name": "G", "settings": settings, "credentials": credentials});
        std::fs::write(&file, json!({"tenants": [seed]}).to_string()).unwrap();
        let output = run_cli(&["seed", file.to_str().unwrap()], &environment).await.expecting(1);
        assert!(output.stderr.contains(mistake), "{}", output.stderr);
        assert!(!output.stderr.contains("hunter2"));
        replica.get("/api/tenants/good").await.expecting(404);
    }
    let output = run_cli(&["seed", "/nowhere.json"], &environment).await.expecting(1);
    assert!(output.stderr.contains("/nowhere.json"), "{}", output.stderr);
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
