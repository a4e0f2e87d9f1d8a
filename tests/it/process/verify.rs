//! `tenant-service verify`

use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::coherence::fleet::{DEADLINE, by_phone, full, insert_tenants, resolves};
use crate::harness::keyring::token_assignment;
use crate::harness::proxy::Link;
use crate::harness::{
    Authority, Cluster, Database, Output, Postgres, Proxy, Redis, Replica, Scratch, eventually,
    run_cli, spawn_cli_in,
};

async fn verify(database: &str, replicas: &[&Replica], more: &[&str]) -> Output {
    let urls: Vec<String> = replicas.iter().map(|replica| replica.url("")).collect();
    let named = urls.iter().flat_map(|url| ["--replica", url.as_str()]);
    let arguments: Vec<&str> =
        ["verify"].into_iter().chain(named).chain(more.iter().copied()).collect();
    run_cli(&arguments, &[("DATABASE_URL", database)]).await
}

/// A role that may read, and nothing else.
async fn reader(database: &Database) -> String {
    let role = format!("reader_{}", database.name);
    database
        .execute_as_admin(&format!(
            "CREATE ROLE {role} LOGIN;
             GRANT SELECT ON tenants, tenant_credentials, tenant_changes TO {role}"
        ))
        .await;
    database.url_as(&role)
}

#[tokio::test]
async fn replicas_that_are_right_are_found_right() {
    const TENANTS: usize = 30;
    let (database, redis) = (Postgres::database().await, Redis::start().await);
    insert_tenants(&database, TENANTS).await;
    let replicas = Cluster::start(3, &database, Some(&redis)).await;
    // A number that was somebody's is found in no table but the log.
    database.execute("UPDATE tenants SET phone_number_id = NULL WHERE id = 't7'").await;
    database.execute("DELETE FROM tenants WHERE id = 't8'").await;
    let replicas: Vec<&Replica> = replicas.iter().collect();
    let url = reader(&database).await;
    // What the first run has asked for, the second one finds in memory.
    verify(&url, &replicas, &[]).await.expecting(0);
    let report = verify(&url, &replicas, &["--json"]).await.expecting(0).json();
    let number = |name: &str| report[name].as_u64().unwrap();
    assert_eq!(number("tenants"), TENANTS as u64 - 1, "{report}");
    // Five of each, those that only the log knows among them, and twenty that are nobody's.
    assert_eq!(number("keys"), 5 * TENANTS as u64 + 20, "{report}");
    assert_eq!(number("answers"), 3 * number("keys"));
    assert!(number("from_memory") > number("answers") / 2, "{report}");
    for none in ["violations", "unanswered", "unsettled", "stale"] {
        assert_eq!(number(none), 0, "{none}: {report}");
    }
    assert_eq!(report["replicas"].as_array().unwrap().len(), 3);

    let few = verify(&url, &replicas[..1], &["--tenants", "2", "--json"]).await.expecting(0).json();
    assert_eq!(few["tenants"], 2);
    let text = verify(&url, &replicas, &["--tenants", "0"]).await.expecting(0);
    assert!(text.stdout.contains("violations   0\n"), "{}", text.stdout);
    assert_eq!(text.stderr, "");
}

#[tokio::test]
async fn an_answer_that_stays_wrong_is_named() {
    let database = Postgres::database().await;
    insert_tenants(&database, 3).await;
    let replicas = Cluster::start(2, &database, None).await;
    let nobodys = "/api/tenants/by-phone/1000999";
    for path in [by_phone(2), full(3)] {
        replicas[1].get(&path).await.expecting(200);
    }
    replicas[1].get(nobodys).await.expecting(404);
    // A change that the log has, so that the number is among the keys, and one that it misses.
    database
        .execute(
            "UPDATE tenants SET phone_number_id = '1000999' WHERE id = 't1';
             UPDATE tenants SET phone_number_id = '10001' WHERE id = 't1'",
        )
        .await;
    eventually(DEADLINE, "what the log has is applied", async || {
        let applied = "tenant_change_propagation_seconds_count";
        replicas[1].metrics().await.value(applied, &[]) > 1.5
    })
    .await;
    resolves(&replicas[1], nobodys, None).await;
    let behind = token_assignment(&database, "t3", 1, "behind-the-log").await;
    database
        .execute(&format!(
            "ALTER TABLE tenants DISABLE TRIGGER USER;
             ALTER TABLE tenant_credentials DISABLE TRIGGER USER;
             UPDATE tenants SET name = 'Behind the log', revision = revision + 1000 WHERE id = 't2';
             UPDATE tenants SET phone_number_id = '1000999' WHERE id = 't1';
             UPDATE tenant_credentials SET {behind}
             WHERE tenant_id = 't3'"
        ))
        .await;
    let both = [&replicas[0], &replicas[1]];
    let more = ["--bound", "300"];
    let text = verify(&database.url, &both, &more).await.expecting(1);
    let wrong = replicas[1].url("");
    for key in ["phone:10002", "phone:1000999", "tenant:t3:credentials:whatsapp"] {
        assert!(text.stdout.contains(&format!("{key} at {wrong}: ")), "{key}: {}", text.stdout);
    }
    assert!(!text.stdout.contains(&replicas[0].url(": ")), "{}", text.stdout);
    assert!(!text.stdout.contains("behind"), "{}", text.stdout);

    let report = verify(&database.url, &both, &[&more[..], &["--json"]].concat()).await;
    let report = report.expecting(1).json();
    assert_eq!(report["violations"], 3, "{report}");
    let phone = report["violated"].as_array().unwrap().iter();
    let phone = phone.filter(|violation| violation["key"] == "phone:1000999").collect::<Vec<_>>();
    assert_eq!(phone.len(), 1, "{report}");
    assert_eq!(phone[0]["answered"], "absent");
    assert!(phone[0]["current"].as_str().unwrap().starts_with("revision "), "{report}");
}

/// Replicas that are who they say, over TLS, and one that nobody vouches for.
#[tokio::test]
async fn replicas_are_asked_over_tls() {
    let (authority, folder) = (Authority::new(), Scratch::new("tls"));
    let pair = authority.issue(&["127.0.0.1"], &folder, "replica");
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let database = Postgres::database().await;
    insert_tenants(&database, 2).await;
    let replica = Replica::builder()
        .database(&database)
        .env("TLS_CERT_FILE", &path(&pair.certificate))
        .env("TLS_KEY_FILE", &path(&pair.key))
        .spawn();
    replica.listening().await;
    let ca = path(&authority.write(&folder.join("ca.pem")));
    let other = path(&Authority::new().write(&folder.join("other.pem")));
    let url = format!("https://{}", replica.address());
    let run = async |authority: &[&str]| {
        let arguments = [&["verify", "--replica", &url, "--json"], authority].concat();
        run_cli(&arguments, &[("DATABASE_URL", &database.url)]).await
    };
    let report = run(&["--ca-file", &ca]).await.expecting(0).json();
    assert!(report["answers"].as_u64() > Some(10), "{report}");
    for authority in [&["--ca-file", &other][..], &[]] {
        let told = run(authority).await.expecting(2).stderr;
        assert!(told.contains("certificate"), "{told}");
    }
    let told = run(&["--ca-file", &path(&pair.key)]).await.expecting(2).stderr;
    assert!(told.contains("--ca-file: must hold certificates"), "{told}");
}

/// What was wrong is put right before the bound is over.
#[tokio::test]
async fn a_change_that_is_on_its_way_is_no_violation() {
    let database = Postgres::database().await;
    insert_tenants(&database, 1).await;
    let replica = Replica::builder()
        .database(&database)
        .env("POLL_INTERVAL_MS", "1000")
        .env("STALENESS_BOUND_MS", "4000")
        .start()
        .await;
    resolves(&replica, &by_phone(1), Some("t1")).await;
    database
        .execute(
            "ALTER TABLE tenants DISABLE TRIGGER USER;
             UPDATE tenants SET name = 'On its way';
             ALTER TABLE tenants ENABLE ALWAYS TRIGGER tenants_log_update",
        )
        .await;
    let labels = [("tier", "l1"), ("kind", "phone"), ("outcome", "hit")];
    let hits = async || replica.metrics().await.value("tenant_cache_requests_total", &labels);
    let before = hits().await;
    let replicas = [&replica];
    let verified = verify(&database.url, &replicas, &["--json", "--bound", "4000"]);
    let put_right = async {
        eventually(DEADLINE, "the old answer is given", async || hits().await > before).await;
        database.execute("UPDATE tenants SET name = 'Arrived'").await;
    };
    let (output, ()) = tokio::join!(verified, put_right);
    let report = output.expecting(0).json();
    assert_eq!(report["violations"], 0, "{report}");
    assert!(report["in_flight"].as_u64() > Some(0), "{report}");
}

/// The database is there, and not for this replica.
#[tokio::test]
async fn an_answer_that_says_that_it_may_be_old_is_counted_apart() {
    let database = Postgres::database().await;
    insert_tenants(&database, 1).await;
    let proxy = Proxy::before(&database.url).await;
    let replica = Replica::builder()
        .env("DATABASE_URL", proxy.url())
        .env("STALENESS_BOUND_MS", "500")
        .start()
        .await;
    resolves(&replica, &by_phone(1), Some("t1")).await;
    proxy.set(Link::Refuse);
    proxy.cut();
    database.execute("UPDATE tenants SET name = 'Unseen'").await;
    eventually(DEADLINE, "it labels its answers", async || {
        replica.get(&by_phone(1)).await.cache_status() == "tenant-service; hit; detail=stale"
    })
    .await;
    let output = verify(&database.url, &[&replica], &["--json", "--bound", "300"]).await;
    let report = output.expecting(2).json();
    assert_eq!(report["violations"], 0, "{report}");
    assert!(report["stale"].as_u64() > Some(0), "{report}");
    assert!(report["unanswered"].as_u64() > Some(0), "of what is not in its memory: {report}");
    assert!(report["unanswered_because"].as_str().unwrap().starts_with("503 "), "{report}");
}

#[tokio::test]
async fn a_probe_leaves_nothing_behind() {
    let (database, redis) = (Postgres::database().await, Redis::start().await);
    let replicas = Cluster::start(3, &database, Some(&redis)).await;
    let replicas: Vec<&Replica> = replicas.iter().collect();
    let output = verify(&database.url, &replicas, &["--json", "--probe", "20"]).await;
    // No answer after an acknowledgement was old.
    let report = output.expecting(0).json();
    let probe = &report["probe"];
    assert_eq!((&probe["changes"], &probe["unanswered"]), (&20.into(), &0.into()), "{report}");
    assert_eq!(probe["seconds"]["count"], 40, "two other replicas: {report}");
    assert!(probe["seconds"]["p50"].as_f64() < Some(1.0), "{report}");
    assert!(report["propagation"]["redis"]["count"].as_u64() > Some(0), "{report}");
    assert_eq!(database.scalar::<i64>("SELECT count(*) FROM tenants").await, 0);
    let text = verify(&database.url, &replicas, &["--probe", "2"]).await.stdout;
    assert!(text.contains("probe        2 changes; "), "{text}");
    assert!(text.contains("propagation  by redis: p50 "), "{text}");
}

#[tokio::test]
async fn a_probe_that_is_interrupted_leaves_nothing_behind_either() {
    let database = Postgres::database().await;
    let replicas = Cluster::start(2, &database, None).await;
    let (one, other) = (replicas[0].url(""), replicas[1].url(""));
    let arguments = ["verify", "--replica", &one, "--replica", &other, "--probe", "100000"];
    let folder = Scratch::new("verify");
    let process = spawn_cli_in(&folder, &arguments, &[("DATABASE_URL", &database.url)]);
    let tenants = "SELECT count(*) FROM tenants WHERE name NOT LIKE '%change 0'";
    eventually(DEADLINE, "it is at it", async || database.scalar::<i64>(tenants).await == 1).await;
    process.signal("INT");
    let status = process.exited(DEADLINE).await;
    assert_eq!(status.code(), Some(2));
    assert!(process.stderr.text().contains("interrupted"), "{}", process.stderr.text());
    assert_eq!(database.scalar::<i64>("SELECT count(*) FROM tenants").await, 0);
}

#[tokio::test]
async fn one_process_with_its_own_database_can_be_verified_too() {
    let folder = Scratch::new("data");
    let replica = Replica::builder().data_dir(&folder).start().await;
    let arguments = ["verify", "--replica", &replica.url("/"), "--json"];
    let data = folder.to_str().unwrap();
    let report = run_cli(&arguments, &[("DATA_DIR", data)]).await.expecting(0).json();
    assert_eq!(report["tenants"], 1, "{report}");
}

#[tokio::test]
async fn what_cannot_be_checked_is_told() {
    let database = Postgres::database().await;
    let told = async |url: &str, database: &str| {
        let output = run_cli(&["verify", "--replica", url], &[("DATABASE_URL", database)]).await;
        let Output { stdout, stderr, .. } = output.expecting(2);
        assert_eq!(stdout, "");
        stderr
    };
    let replica = Replica::builder().database(&database).start().await;

    let away = told("http://127.0.0.1:1", &database.url).await;
    assert!(away.contains("http://127.0.0.1:1 is out of reach"), "{away}");
    let other = told(&other_server().await, &database.url).await;
    assert!(other.contains("is no tenant-service"), "{other}");
    let tls = told("https://127.0.0.1:1", &database.url).await;
    assert!(tls.contains("https://127.0.0.1:1 is out of reach"), "{tls}");
    let away = told(&replica.url(""), "postgres://svc:hunter2@127.0.0.1:1/none").await;
    assert!(away.contains("reading the database") && !away.contains("hunter2"), "{away}");
    let empty = Postgres::empty_database().await;
    let empty_told = told(&replica.url(""), &empty.url).await;
    assert!(empty_told.contains("has it been migrated"), "{empty_told}");
    let tables = "SELECT count(*) FROM pg_class WHERE relname LIKE 'tenant%'";
    assert_eq!(empty.scalar::<i64>(tables).await, 0, "and it was not");

    insert_tenants(&database, 1).await;
    let strict =
        Replica::builder().database(&database).env("ANONYMOUS_SCOPES", "lookup:read").start().await;
    let refused = told(&strict.url(""), &database.url).await;
    assert!(refused.contains("401") && refused.contains("the scope "), "{refused}");
    assert!(refused.contains("tenants:read") || refused.contains("credentials:read"), "{refused}");
}

/// Answers each request with a page.
async fn other_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let page = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello";
            drop(client.read(&mut [0; 4096]).await);
            drop(client.write_all(page).await);
        }
    });
    url
}
