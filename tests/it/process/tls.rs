//! TLS to Postgres and to Redis: servers that are who they say, and others.

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::coherence::fleet::{by_phone, insert_tenants, resolves};
use crate::harness::{Authority, Database, Postgres, Redis, Replica, Scratch, eventually, run_cli};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test]
async fn redis_is_reached_over_tls() {
    let (authority, folder) = (Authority::new(), Scratch::new("tls"));
    let (redis, url) =
        Redis::start_with_tls(&authority.issue(&["localhost"], &folder, "redis")).await;
    let database = Postgres::database().await;
    insert_tenants(&database, 1).await;
    let builder = Replica::builder()
        .database(&database)
        .env("REDIS_URL", &url)
        .env("REDIS_CA_FILE", text(&authority.write(&folder.join("ca.pem"))));
    let replicas = builder.start_many(2).await;
    let [one, other] = &replicas[..] else { unreachable!("two were asked for") };
    for replica in &replicas {
        assert_eq!(replica.get_json("/health").await["redis"], "connected");
    }
    // Cached there, and told there.
    resolves(one, &by_phone(1), Some("t1")).await;
    let cached = other.get(&by_phone(1)).await.expecting(200);
    assert_eq!(cached.cache_status(), "tenant-service; hit; detail=l2");
    let written = one.patch_json("/api/tenants/t1", &json!({"name": "Another"})).await;
    assert_eq!(written.expecting(200).header("coherence"), Some("acked; replicas=1"));
    assert_eq!(other.get_json(&by_phone(1)).await["name"], "Another");
    assert!(redis.command_count("publish").await > 0);
}

#[tokio::test]
async fn a_redis_that_nobody_vouches_for_is_done_without() {
    let (authority, folder) = (Authority::new(), Scratch::new("tls"));
    let (redis, url) =
        Redis::start_with_tls(&authority.issue(&["localhost"], &folder, "redis")).await;
    let database = Postgres::database().await;
    insert_tenants(&database, 1).await;
    let (ca, other) = (folder.join("ca.pem"), folder.join("other.pem"));
    authority.write(&ca);
    Authority::new().write(&other);
    let by_address = url.replace("localhost", "127.0.0.1");
    // Another authority; those that are public; the right one, for another name.
    for (url, file) in [(&url, text(&other)), (&url, ""), (&by_address, text(&ca))] {
        let builder = Replica::builder().database(&database).env("REDIS_URL", url);
        let replica = builder.env("REDIS_CA_FILE", file).start().await;
        let told = replica
            .wait_for_log(|line| line["message"].to_string().contains("Redis is out of reach"))
            .await;
        assert!(told["error"].as_str().unwrap().contains("certificate"), "{told}");
        resolves(&replica, &by_phone(1), Some("t1")).await;
    }
    assert_eq!(redis.command_count("set").await, 0);

    let none = folder.join("none.pem");
    std::fs::write(&none, "hunter2").unwrap();
    let environment = [
        ("DATABASE_URL", database.url.as_str()),
        ("REDIS_URL", &url),
        ("REDIS_CA_FILE", text(&none)),
    ];
    let output = run_cli(&["serve"], &environment).await.expecting(1);
    assert!(output.stderr.contains("REDIS_CA_FILE: must hold certificates"), "{}", output.stderr);
    assert!(!output.stderr.contains("hunter2"), "{}", output.stderr);
}

/// A URL by which the server's certificate is verified.
fn verified(database: &Database, host: &str, authority: &Path) -> String {
    let url = database.url.replace("127.0.0.1", host);
    format!("{url}?sslmode=verify-full&sslrootcert={}", text(authority))
}

#[tokio::test]
async fn postgres_is_reached_over_tls() {
    let (authority, folder) = (Authority::new(), Scratch::new("tls"));
    let server = Postgres::own_cluster().await;
    server.speak_tls(&authority.issue(&["localhost"], &folder, "server")).await;
    let database = server.database().await;
    insert_tenants(&database, 1).await;
    let (ca, other) = (folder.join("ca.pem"), folder.join("other.pem"));
    authority.write(&ca);
    Authority::new().write(&other);
    let url = verified(&database, "localhost", &ca);
    let replica = Replica::builder().env("DATABASE_URL", &url).start().await;
    resolves(&replica, &by_phone(1), Some("t1")).await;
    // Those of the pools and the one that listens, and none without.
    let connections = format!(
        "SELECT string_agg(DISTINCT application_name || ' ' || ssl, ', ') \
         FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
         WHERE datname = '{}' AND application_name LIKE 'tenant-service%'",
        database.name
    );
    eventually(Duration::from_secs(30), "it listens", async || database.listeners().await == 1)
        .await;
    let found: String = database.scalar(&connections).await;
    assert_eq!(found, "tenant-service listener true, tenant-service true");

    for url in [verified(&database, "localhost", &other), verified(&database, "127.0.0.1", &ca)] {
        let output = run_cli(&["migrate"], &[("DATABASE_URL", &url)]).await.expecting(1);
        assert!(output.stderr.contains("certificate"), "{}", output.stderr);
    }
}
