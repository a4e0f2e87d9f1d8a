//! The keyring's file, and a replica whose database is tampered with.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::json;
use sqlx::Connection;
use tenant_service::crypto::Keyring;

use crate::coherence::fleet::{by_phone, full, insert_tenants, masked, put_token, resolves};
use crate::harness::keyring::token_assignment;
use crate::harness::{Metrics, Postgres, Replica, Scratch, eventually, run_cli, spawn_cli_in};

const DEADLINE: Duration = Duration::from_secs(30);
const DEMO: &str = "/api/tenants/demo-tenant-001/credentials/genesys";

fn refused(metrics: &Metrics, reason: &str) -> f64 {
    metrics.value("tenant_sealing_refused_total", &[("reason", reason)])
}

#[tokio::test]
async fn generate_makes_a_keyring_once_and_says_what_is_next() {
    let folder = Scratch::new("keys");
    let file = folder.join("keyring.json");
    let path = file.to_str().unwrap();
    let made = run_cli(&["keys", "generate", "--file", path], &[]).await.expecting(0);
    assert!(made.stdout.starts_with(&format!("{path}\n")), "{}", made.stdout);
    assert!(made.stdout.contains(&format!("KEYRING_FILE={path}")), "{}", made.stdout);
    assert!(made.stdout.contains("backup"), "{}", made.stdout);
    let text = fs::read_to_string(&file).unwrap();
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(!made.stdout.contains(document["keys"][0]["key"].as_str().unwrap()));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    let again = [("KEYRING_FILE", path)];
    let again = run_cli(&["keys", "generate"], &again).await.expecting(1);
    assert!(again.stderr.contains("it is there already"), "{}", again.stderr);
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
}

#[tokio::test]
async fn with_postgres_nothing_begins_without_a_keyring() {
    let database = Postgres::empty_database().await;
    let folder = Scratch::new("keys");
    let file = folder.join("keyring.json");
    let path = file.to_str().unwrap();
    let commands = [&["serve"][..], &["migrate"], &["seed"], &["verify", "--replica", "http://h"]];
    for arguments in commands {
        let code = if arguments[0] == "verify" { 2 } else { 1 };
        let told = async |file: &str| {
            let environment = [("DATABASE_URL", database.url.as_str()), ("KEYRING_FILE", file)];
            run_cli(arguments, &environment).await.expecting(code).stderr
        };
        let unset = told("").await;
        assert!(unset.contains("KEYRING_FILE: is needed with Postgres"), "{unset}");
        assert!(unset.contains("`tenant-service keys generate --file "), "{unset}");
        let missing = told(path).await;
        assert!(missing.contains(path) && missing.contains("no such file"), "{missing}");
    }
    Keyring::generate(&file).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    let environment = [("DATABASE_URL", database.url.as_str()), ("KEYRING_FILE", path)];
    let open = run_cli(&["serve"], &environment).await.expecting(1).stderr;
    assert!(open.contains("chmod 600"), "{open}");
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(database.scalar::<i64>(tables).await, 0, "nothing was done");
}

#[tokio::test]
async fn the_embedded_default_makes_its_keyring_and_never_a_second_one() {
    let folder = Scratch::new("data");
    let data = folder.join("data");
    let (file, aside) = (data.join("keyring.json"), folder.join("aside.json"));
    let builder = Replica::builder().data_dir(&data);
    let replica = builder.start().await;
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let secret = replica.get(DEMO).await.expecting(200).json();
    assert_eq!(replica.terminate().await, 0);

    fs::rename(&file, &aside).unwrap();
    let environment = [("DATA_DIR", data.to_str().unwrap()), ("PORT", "0")];
    for command in ["serve", "migrate", "seed"] {
        let lost = run_cli(&[command], &environment).await.expecting(1).stderr;
        assert!(lost.contains("keyring.json is gone"), "{lost}");
        assert!(!file.exists(), "a new one would hide the loss");
    }
    fs::rename(&aside, &file).unwrap();
    let replica = builder.start().await;
    assert_eq!(replica.get(DEMO).await.expecting(200).json(), secret);
}

#[tokio::test]
async fn what_does_not_open_is_told_counted_and_touches_nobody_else() {
    let database = Postgres::database().await;
    insert_tenants(&database, 3).await;
    let replica = Replica::builder().database(&database).start().await;
    put_token(&replica, 1, "hunter2-of-the-first").await;
    put_token(&replica, 2, "hunter2-of-the-second").await;
    let before = replica.metrics().await;
    for reason in ["unsealed", "forged", "unknown_key", "malformed"] {
        assert!(before.has("tenant_sealing_refused_total", &[("reason", reason)]), "{reason}");
    }
    database
        .execute(
            "UPDATE tenant_credentials c
             SET sealed = o.sealed, key_id = o.key_id, wrapped_key = o.wrapped_key
             FROM tenant_credentials o
             WHERE (c.tenant_id, o.tenant_id) IN (('t1', 't2'), ('t2', 't1'))",
        )
        .await;
    for n in [1, 2] {
        // Once the change has been seen here, what was in memory is gone.
        eventually(DEADLINE, "the swap is seen", async || {
            replica.get(&full(n)).await.status == 500
        })
        .await;
        for path in [full(n), masked(n)] {
            let answer = replica.get(&path).await.expecting(500);
            assert!(!answer.text().contains("hunter2"), "{}", answer.text());
            let id = answer.header("x-request-id").unwrap();
            let line = replica.wait_for_log(|line| line["request_id"] == id).await;
            let cause = line["cause"].as_str().unwrap();
            assert!(cause.contains(&format!("credentials of t{n} are refused")), "{cause}");
            assert!(!line.to_string().contains("hunter2"), "{line}");
        }
        resolves(&replica, &by_phone(n), Some(&format!("t{n}"))).await;
    }
    let after = replica.metrics().await;
    assert!(refused(&after, "forged") - refused(&before, "forged") > 3.5);
    assert!(refused(&after, "unsealed") < 0.5);
    replica.get(&full(3)).await.expecting(200);

    put_token(&replica, 1, "hunter2-again").await;
    assert_eq!(replica.get_json(&full(1)).await, json!({"access_token": "hunter2-again"}));
    // Who has the keyring writes by SQL what opens.
    let by_hand = token_assignment(&database, "t2", 3, "hunter2-by-hand").await;
    let update = format!("UPDATE tenant_credentials SET {by_hand} WHERE tenant_id = 't2'");
    database.execute(&update).await;
    eventually(DEADLINE, "what was sealed by hand opens", async || {
        replica.get(&full(2)).await.status == 200
    })
    .await;
}

#[tokio::test]
async fn with_another_keyring_credentials_are_refused_and_lookups_go_on() {
    let database = Postgres::database().await;
    insert_tenants(&database, 1).await;
    let folder = Scratch::new("keys");
    let file = folder.join("keyring.json");
    Keyring::generate(&file).unwrap();
    let other = Replica::builder().database(&database);
    let other = other.env("KEYRING_FILE", file.to_str().unwrap()).start().await;
    resolves(&other, &by_phone(1), Some("t1")).await;
    other.get(&full(1)).await.expecting(500);
    assert!(refused(&other.metrics().await, "unknown_key") > 0.5);
    let cause = other.wait_for_log(|line| line["cause"].is_string()).await;
    let cause = cause["cause"].as_str().unwrap();
    assert!(cause.contains("the keyring has no key "), "{cause}");
}

#[tokio::test]
async fn a_sealing_that_is_killed_half_way_is_gone_on_with() {
    let database = Postgres::empty_database().await;
    database.migrate_to(3).await;
    database
        .execute(
            "INSERT INTO tenants (id, name)
             SELECT 't' || lpad(n::text, 4, '0'), 'Many' FROM generate_series(1, 1200) n;
             INSERT INTO tenant_credentials (tenant_id, credential_type, credentials, version)
             SELECT id, 'genesys', '{\"clientSecret\": \"made up\"}', 1 FROM tenants",
        )
        .await;
    // The second batch can't be done while somebody has one of its tenants.
    let mut holder = sqlx::PgConnection::connect(&database.url).await.unwrap();
    let mut held = holder.begin().await.unwrap();
    sqlx::query("SELECT FROM tenants WHERE id = 't0900' FOR UPDATE")
        .execute(&mut *held)
        .await
        .unwrap();
    let folder = Scratch::new("cli");
    let url = [("DATABASE_URL", database.url.as_str())];
    let process = spawn_cli_in(&folder, &["migrate"], &url);
    let plain = "SELECT count(*) FROM tenant_credentials WHERE credentials IS NOT NULL";
    eventually(DEADLINE, "the first batch is done", async || {
        database.scalar::<i64>(plain).await == 700
    })
    .await;
    process.kill();
    let sealed = "SELECT count(*) FROM tenant_credentials WHERE sealed IS NOT NULL";
    assert_eq!(database.scalar::<i64>(sealed).await, 500, "whole batches");
    assert_eq!(database.scalar::<i64>(plain).await, 700, "and nothing is lost");
    assert_eq!(database.scalar::<i64>("SELECT count(*) FROM tenant_sealing").await, 0);

    held.rollback().await.unwrap();
    run_cli(&["migrate"], &url).await.expecting(0);
    assert_eq!(database.scalar::<i64>(sealed).await, 1200);
    assert_eq!(database.scalar::<i64>(plain).await, 0);
    let valid = "SELECT bool_and(convalidated) FROM pg_constraint WHERE conname LIKE '%sealed%'";
    assert!(database.scalar::<bool>(valid).await);
    let replica = Replica::builder().database(&database).start().await;
    for id in ["t0001", "t0900", "t1200"] {
        let path = format!("/api/tenants/{id}/credentials/genesys");
        assert_eq!(replica.get_json(&path).await, json!({"clientSecret": "made up"}));
    }
}
