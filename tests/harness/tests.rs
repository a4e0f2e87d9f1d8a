//! The harness, tested: what it promises must hold when a test fails, too.

#![expect(clippy::float_cmp, reason = "small whole numbers are exact")]

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::harness::guard::{Guardian, Stop, guardian};
use crate::harness::process::{Process, exit_code};
use crate::harness::{Metrics, Postgres, Redis, Scratch, eventually};

const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn the_guardian_stops_and_removes_what_is_left() {
    let guard = Guardian::start();
    let mut plain = Command::new("sleep").arg("600").spawn().unwrap();
    // One that is frozen, and one that does not mind TERM: only then is KILL proven.
    let mut frozen = Command::new("sleep").arg("600").spawn().unwrap();
    let stubborn = Process::spawn(
        "stubborn",
        Stop::Terminate,
        Command::new("sh")
            .args(["-c", "trap '' TERM; echo on; while :; do sleep 0.1; done"])
            .stdout(Stdio::piped()),
    );
    let spared = Process::spawn("spared", Stop::Terminate, Command::new("sleep").arg("600"));
    assert!(
        Command::new("kill").args(["-STOP", &frozen.id().to_string()]).status().unwrap().success()
    );
    eventually(SOON, "the trap is set", async || !stubborn.stdout.all().is_empty()).await;

    // Not a `Scratch`: nobody but this guardian is to know of it.
    let folder = tempfile::Builder::new().prefix("with a space ").tempdir().unwrap().keep();
    fs::create_dir(folder.join("inner")).unwrap();
    fs::write(folder.join("inner/file"), "x").unwrap();
    for pid in [plain.id(), frozen.id(), stubborn.pid, spared.pid] {
        guard.watch(pid, Stop::Terminate);
    }
    guard.forget(spared.pid);
    guard.watch_dir(&folder);

    tokio::task::spawn_blocking(|| guard.close()).await.unwrap();
    assert_eq!(exit_code(plain.wait().unwrap()), 128 + 15);
    assert_eq!(exit_code(frozen.wait().unwrap()), 128 + 15);
    assert_eq!(exit_code(stubborn.exited(SOON).await), 128 + 9);
    assert!(spared.exit_status().is_none());
    assert!(!folder.exists());
}

#[test]
#[should_panic(expected = "not a folder to remove blindly")]
fn the_guardian_is_not_given_the_root() {
    guardian().watch_dir("/tmp".as_ref());
}

#[tokio::test]
#[should_panic(expected = "tests.rs")]
async fn a_deadline_names_the_line_that_waits() {
    eventually(Duration::from_millis(20), "pigs fly", async || false).await;
}

#[tokio::test]
#[should_panic(expected = "pigs fly; last state: \"grounded\", then a look that did not return")]
async fn a_deadline_ends_a_look_that_hangs_and_tells_the_last_state() {
    let mut looks = 0;
    eventually(Duration::from_millis(50), "pigs fly", async || {
        looks += 1;
        if looks > 1 {
            std::future::pending::<()>().await;
        }
        Err::<(), _>("grounded")
    })
    .await;
}

#[tokio::test]
async fn a_folder_goes_with_its_owner() {
    let folder = Scratch::new("self-test");
    let path = folder.to_path_buf();
    assert!(path.is_dir());
    drop(folder);
    assert!(!path.exists());
}

#[tokio::test]
async fn databases_are_separate_and_go_with_their_owner() {
    let (a, b) = tokio::join!(Postgres::empty_database(), Postgres::empty_database());
    a.execute("CREATE TABLE t (n int); INSERT INTO t VALUES (1), (2)").await;
    b.execute("CREATE TABLE t (n int)").await;
    assert_eq!(a.scalar::<i64>("SELECT count(*) FROM t").await, 2);
    assert_eq!(b.scalar::<i64>("SELECT count(*) FROM t").await, 0);
    let role: (String, bool) =
        sqlx::query_as("SELECT rolname::text, rolsuper FROM pg_roles WHERE rolname = current_user")
            .fetch_one(a.pool().await)
            .await
            .unwrap();
    assert_eq!(role, ("svc".to_owned(), false));
    let gone = format!("SELECT count(*) FROM pg_database WHERE datname = '{}'", a.name);
    assert_eq!(b.scalar::<i64>(&gone).await, 1);
    drop(a);
    assert_eq!(b.scalar::<i64>(&gone).await, 0);
}

#[tokio::test]
async fn new_connections_can_be_refused_while_others_live() {
    let db = Postgres::empty_database().await;
    let connect = async |application: &str| {
        let separator = if db.url.contains('?') { '&' } else { '?' };
        let url = format!("{}{separator}application_name={application}", db.url);
        <sqlx::PgConnection as sqlx::Connection>::connect(&url).await
    };
    let mut listener = connect("tenant-service%20listener").await.unwrap();
    let mut other = connect("tenant-service").await.unwrap();
    assert_eq!(db.listeners().await, 1);

    db.refuse_new_connections(true).await;
    assert_eq!(db.terminate_listeners().await, 1);
    assert_eq!(db.listeners().await, 0);
    sqlx::query("SELECT 1").execute(&mut listener).await.expect_err("it is ended");
    sqlx::query("SELECT 1").execute(&mut other).await.expect("it lives on");
    connect("tenant-service%20listener").await.expect_err("it is refused");
    assert_eq!(db.scalar::<i32>("SELECT 1").await, 1, "the superuser is let in");

    db.refuse_new_connections(false).await;
    connect("tenant-service%20listener").await.expect("it is let in again");
}

#[tokio::test]
async fn a_cluster_of_ones_own_stops_crashes_and_starts() {
    let cluster = Postgres::own_cluster().await;
    let db = cluster.empty_database().await;
    db.execute("CREATE TABLE t (n int)").await;
    cluster.stop().await;
    <sqlx::PgConnection as sqlx::Connection>::connect(&db.url).await.expect_err("it is stopped");
    cluster.start().await;
    db.execute("INSERT INTO t VALUES (1)").await;
    cluster.crash().await;
    cluster.start().await;
    assert_eq!(
        db.scalar::<i64>("SELECT count(*) FROM t").await,
        1,
        "what is committed survives a crash"
    );
    assert!(cluster.log().contains("automatic recovery"), "{}", cluster.log());
}

#[tokio::test]
async fn redis_is_killed_restarted_and_paused() {
    let redis = Redis::start().await;
    let mut connection = redis.connection().await;
    let set =
        async |connection: &mut ::redis::aio::MultiplexedConnection| -> ::redis::RedisResult<()> {
            ::redis::cmd("SET").arg("k").arg("v").query_async(connection).await
        };
    set(&mut connection).await.unwrap();
    set(&mut connection).await.unwrap();
    assert_eq!(redis.command_count("SET").await, 2);
    assert_eq!(redis.command_count("keys").await, 0);

    redis.pause().await;
    let paused = tokio::time::timeout(Duration::from_millis(50), set(&mut connection)).await;
    paused.expect_err("nobody answers");
    redis.resume();
    set(&mut connection).await.unwrap();

    redis.kill();
    set(&mut connection).await.expect_err("the connection is broken");
    redis.restart().await;
    let mut connection = redis.connection().await;
    let value: Option<String> =
        ::redis::cmd("GET").arg("k").query_async(&mut connection).await.unwrap();
    assert_eq!(value, None, "it is empty");
}

#[tokio::test]
#[should_panic(expected = "somebody else listens")]
async fn redis_tells_a_taken_port_from_other_failures() {
    let redis = Redis::start().await;
    redis.kill();
    let _other = TcpListener::bind((Ipv4Addr::LOCALHOST, redis.port())).unwrap();
    redis.restart().await;
}

#[tokio::test]
#[should_panic(expected = "somebody else listens")]
async fn postgres_tells_a_taken_port_from_other_failures() {
    let cluster = Postgres::own_cluster().await;
    cluster.stop().await;
    let _other = TcpListener::bind((Ipv4Addr::LOCALHOST, cluster.port())).unwrap();
    cluster.start().await;
}

#[tokio::test]
#[should_panic(expected = "redis-server ended with")]
async fn a_server_that_does_not_start_says_why() {
    Redis::start_with(&["--no-such-option", "1"]).await;
}

#[tokio::test]
async fn a_monitor_records_all_until_it_is_stopped() {
    let redis = Redis::start().await;
    let mut connection = redis.connection().await;
    let monitor = redis.monitor().await;
    for n in 0..100 {
        ::redis::cmd("SET").arg(n).arg("v").exec_async(&mut connection).await.unwrap();
    }
    let lines = monitor.stop().await;
    assert_eq!(lines.len(), 100, "{lines:#?}");
    assert!(lines[99].ends_with(r#""SET" "99" "v""#), "{}", lines[99]);
}

const SCRAPE: &str = r#"
# HELP evictions_total Entries removed.
# TYPE evictions_total counter
evictions_total{tier="l1",kind="phone",source="redis"} 3
evictions_total{tier="l1",kind="tenant",source="redis"} 2
evictions_total{tier="l1",kind="phone",source="poll"} 1
evictions_total_of_another_name 70
up 1 1700000000000

seconds_bucket{le="0.005"} 4
seconds_bucket{le="+Inf"} 5
seconds_sum 1.5e-2
seconds_count 5
odd{text="a \"b\" {c}, d=\\e\nf",empty="",} NaN
"#;

#[test]
fn sums_every_series_that_has_the_labels() {
    let metrics = Metrics::parse(SCRAPE);
    assert_eq!(metrics.value("evictions_total", &[]), 6.0);
    assert_eq!(metrics.value("evictions_total", &[("source", "redis"), ("tier", "l1")]), 5.0);
    assert_eq!(metrics.value("evictions_total", &[("source", "notify")]), 0.0);
    assert_eq!(metrics.value("nothing", &[]), 0.0);
    assert_eq!(metrics.value("up", &[]), 1.0);
}

#[test]
fn groups_by_a_label() {
    let metrics = Metrics::parse(SCRAPE);
    let kinds = metrics.by_label("evictions_total", "kind");
    assert_eq!(kinds, [("phone".to_owned(), 4.0), ("tenant".to_owned(), 2.0)].into());
    assert!(metrics.by_label("evictions_total", "nothing").is_empty());
}

#[test]
fn compares_with_an_earlier_scrape() {
    let before = Metrics::parse("n{a=\"1\"} 2");
    let after = Metrics::parse("n{a=\"1\"} 5\nn{a=\"2\"} 1");
    assert_eq!(after.delta(&before, "n", &[]), 4.0);
    assert_eq!(after.delta(&Metrics::default(), "n", &[("a", "2")]), 1.0);
}

#[test]
fn reads_histograms_and_escapes() {
    let metrics = Metrics::parse(SCRAPE);
    assert_eq!(metrics.value("seconds_bucket", &[("le", "+Inf")]), 5.0);
    assert_eq!(metrics.value("seconds_count", &[]), 5.0);
    assert_eq!(metrics.value("seconds_sum", &[]), 0.015);
    assert!(metrics.has("odd", &[("text", "a \"b\" {c}, d=\\e\nf"), ("empty", "")]));
    assert!(metrics.value("odd", &[]).is_nan());
}

#[test]
#[should_panic(expected = "not a metric")]
fn refuses_what_a_scraper_would_refuse() {
    Metrics::parse("n{a=\"1} 2");
}
