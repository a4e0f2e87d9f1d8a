//! A key replaced under load, by a command that is killed again and again.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tenant_service::crypto::{Keyring, Sealed, Subject};
use tenant_service::domain::CredentialType;
use tokio::task::JoinSet;

use super::cli::{Output, run_cli, spawn_cli_in};
use super::keyring::in_postgres;
use super::{Database, Postgres, Replica, Scratch, eventually};

const KIND: CredentialType = CredentialType::Whatsapp;
/// Versions of each credential; the last one is current.
const VERSIONS: usize = 10;
const DEADLINE: Duration = Duration::from_mins(10);
/// Requests at the same time, of each replica.
const READERS: usize = 2;

/// What to do.
pub struct Plan {
    /// How many versions there are, in all.
    pub versions: usize,
    /// How often the command is killed; at least three times.
    pub kills: usize,
    /// What it gets as `--rows-per-second`.
    pub rows_per_second: usize,
}

/// What came of it.
#[derive(Debug)]
pub struct Report {
    pub versions: usize,
    /// At which point each kill came: the rows that had the new key.
    pub killed_at: Vec<i64>,
    pub reads: u64,
    pub failed_reads: u64,
    pub took: Duration,
}

/// Reads that go on until they are told to stop.
struct Load {
    stop: AtomicBool,
    reads: AtomicU64,
    failed: AtomicU64,
}

/// Runs it, and panics where anything but reads has failed.
pub async fn run(plan: &Plan) -> Report {
    let database = Postgres::database().await;
    let folder = Scratch::new("rotation");
    let file = folder.join("keyring.json");
    let old = Keyring::generate(&file).expect("a keyring in a new folder").primary();
    let tenants = plan.versions / VERSIONS;
    fill(&database, &Keyring::load(&file).expect("it was just made"), tenants).await;
    let path = file.to_str().expect("a path of text").to_owned();
    let environment = [("DATABASE_URL", database.url.as_str()), ("KEYRING_FILE", path.as_str())];
    let replicas = Replica::builder()
        .database(&database)
        .env("KEYRING_FILE", &path)
        // So that reads go to the database, and rows are opened.
        .env("CACHE_TTL_SECONDS", "1")
        .env("RUST_LOG", "info")
        .start_many(2)
        .await;
    let replicas: Arc<[Replica]> = replicas.into();
    let before = fingerprint(&database).await;
    let load = Arc::new(Load {
        stop: AtomicBool::new(false),
        reads: AtomicU64::new(0),
        failed: AtomicU64::new(0),
    });
    let mut readers = JoinSet::new();
    for replica in 0..replicas.len() {
        for _ in 0..READERS {
            readers.spawn(read(Arc::clone(&replicas), replica, tenants, Arc::clone(&load)));
        }
    }
    let began = Instant::now();
    let rate = plan.rows_per_second.to_string();
    let rotate = ["keys", "rotate", "--rows-per-second", &rate];
    let mut killed_at = Vec::new();
    for kill in 0..plan.kills {
        let process = spawn_cli_in(&folder, &rotate, &environment);
        reached(&database, &file, &old, (kill, plan)).await;
        assert!(process.exit_status().is_none(), "it had ended: {}", process.stderr.text());
        process.kill();
        killed_at.push(rewrapped(&database, &old).await);
    }
    // To its end: as a child, for a large one takes longer than a command may take otherwise.
    let process = spawn_cli_in(&folder, &rotate, &environment);
    let status = process.exited(DEADLINE).await;
    assert!(status.success(), "{}", process.stderr.text());
    assert!(process.stdout.text().contains("no row names another"), "{}", process.stdout.text());
    let took = began.elapsed();
    let primary = document(&file)["primary"].as_str().expect("an id").to_owned();
    assert_ne!(primary, old);
    assert_eq!(document(&file)["keys"].as_array().map(Vec::len), Some(2), "one key was added");

    let status: Output = run_cli(&["keys", "status", "--json"], &environment).await.expecting(0);
    let status = status.json();
    let rows = |key: usize, table: &str| status["keys"][key]["rows"][table].as_u64();
    assert_eq!(rows(0, "tenant_credentials"), None, "{status}");
    assert_eq!(rows(1, "tenant_credentials"), Some(tenants as u64), "{status}");
    let history = (tenants * (VERSIONS - 1)) as u64;
    assert_eq!(rows(1, "tenant_credential_history"), Some(history), "{status}");
    run_cli(&["keys", "retire"], &environment).await.expecting(0);
    for replica in &*replicas {
        eventually(DEADLINE, "the old key is in no replica's memory", async || {
            (replica.metrics().await.value("tenant_keyring_keys", &[]) - 1.0).abs() < 0.1
        })
        .await;
    }
    let at_retirement = load.reads.load(Ordering::Relaxed);
    eventually(DEADLINE, "reads go on without the old key", async || {
        load.reads.load(Ordering::Relaxed) > at_retirement + 100
    })
    .await;
    load.stop.store(true, Ordering::Relaxed);
    while let Some(ended) = readers.join_next().await {
        ended.expect("a reader does not panic");
    }
    assert_eq!(fingerprint(&database).await, before, "no version, no change, no moment");
    let newer = Keyring::load(&file).expect("it is a keyring still");
    assert_eq!(newer.ids(), [primary]);
    assert_eq!(opened(&database, &newer).await, tenants * VERSIONS);
    Report {
        versions: tenants * VERSIONS,
        killed_at,
        reads: load.reads.load(Ordering::Relaxed),
        failed_reads: load.failed.load(Ordering::Relaxed),
        took,
    }
}

fn token(tenant: usize, version: usize) -> Value {
    json!({"access_token": format!("made-up-{tenant}-{version}")})
}

/// Tenants with all their versions, as somebody with the keyring would write them by SQL.
async fn fill(database: &Database, keyring: &Keyring, tenants: usize) {
    database
        .execute(&format!(
            "INSERT INTO tenants (id, name) SELECT 't' || n, 'T' FROM generate_series(1, {tenants}) n"
        ))
        .await;
    let (mut current, mut history) = (Vec::new(), Vec::new());
    for n in 1..=tenants {
        let (id, tenant) = (format!("c{n}"), format!("t{n}").parse().expect("an id"));
        for number in 1..=VERSIONS {
            let version = i64::try_from(number).expect("a small number");
            let subject = Subject { credential: &id, tenant: &tenant, kind: KIND, version };
            let value = token(n, number).to_string();
            let sealed = keyring.seal(&subject, value.as_bytes()).expect("there is randomness");
            let Sealed { sealed, key_id, wrapped_key } = sealed;
            let (sealed, wrapped) = (in_postgres(&sealed), in_postgres(&wrapped_key));
            let row =
                format!("'t{n}', '{KIND}', '{id}', {version}, {sealed}, '{key_id}', {wrapped}");
            if number == VERSIONS {
                current.push(format!("({row})"));
            } else {
                history.push(format!("({row}, now())"));
            }
        }
    }
    let columns = "tenant_id, credential_type, id, version, sealed, key_id, wrapped_key";
    for rows in current.chunks(1_000) {
        let rows = rows.join(", ");
        database
            .execute(&format!("INSERT INTO tenant_credentials ({columns}) VALUES {rows}"))
            .await;
    }
    for rows in history.chunks(1_000) {
        let rows = rows.join(", ");
        let table = "tenant_credential_history";
        database
            .execute(&format!("INSERT INTO {table} ({columns}, valid_from) VALUES {rows}"))
            .await;
    }
    // As autovacuum would, sooner or later.
    database.execute("ANALYZE tenants, tenant_credentials, tenant_credential_history").await;
}

/// All that a rotation must leave as it is.
async fn fingerprint(database: &Database) -> String {
    database
        .scalar(
            "SELECT md5(string_agg(line, E'\\n' ORDER BY line)) FROM (
                 SELECT concat_ws('|', 'c', tenant_id, credential_type, version, id, md5(sealed),
                     created_at, updated_at) AS line FROM tenant_credentials
                 UNION ALL
                 SELECT concat_ws('|', 'h', tenant_id, credential_type, version, id, md5(sealed),
                     valid_from, superseded_at) FROM tenant_credential_history
                 UNION ALL SELECT concat_ws('|', 't', id, revision, updated_at) FROM tenants
                 UNION ALL SELECT concat_ws('|', 'l', seq, kind) FROM tenant_changes
             ) AS lines",
        )
        .await
}

async fn rewrapped(database: &Database, old: &str) -> i64 {
    database
        .scalar(&format!(
            "SELECT (SELECT count(*) FROM tenant_credentials WHERE key_id <> '{old}')
                 + (SELECT count(*) FROM tenant_credential_history WHERE key_id <> '{old}')"
        ))
        .await
}

fn document(file: &Path) -> Value {
    let text = fs::read_to_string(file).expect("the file is whole at any time");
    serde_json::from_str(&text).expect("the file is whole at any time")
}

/// Waits for the point at which the command is to be killed: when the key is there, when it is the
/// primary, and then after ever more rows.
async fn reached(database: &Database, file: &Path, old: &str, (kill, plan): (usize, &Plan)) {
    let what = format!("the rotation has come to where it is killed for the {kill}th time");
    eventually(DEADLINE, &what, async || match kill {
        0 => document(file)["next"].is_string(),
        1 => document(file)["primary"] != *old,
        _ => {
            let share = plan.versions * (kill - 1) / (plan.kills - 1);
            rewrapped(database, old).await >= i64::try_from(share).expect("a small number")
        }
    })
    .await;
}

async fn read(replicas: Arc<[Replica]>, replica: usize, tenants: usize, load: Arc<Load>) {
    while !load.stop.load(Ordering::Relaxed) {
        let n = fastrand::usize(1..=tenants);
        let path = format!("/api/tenants/t{n}/credentials/{KIND}");
        let answer = replicas[replica].get(&path).attempt().await;
        let is_right =
            answer.is_ok_and(|answer| answer.status == 200 && answer.json() == token(n, VERSIONS));
        load.reads.fetch_add(1, Ordering::Relaxed);
        if !is_right {
            load.failed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Opens every version, and says how many there are.
async fn opened(database: &Database, keyring: &Keyring) -> usize {
    type Row = (String, i64, String, Vec<u8>, String, Vec<u8>);
    let mut count = 0;
    for table in ["tenant_credentials", "tenant_credential_history"] {
        let sql =
            format!("SELECT tenant_id, version, id, sealed, key_id, wrapped_key FROM {table}");
        let rows: Vec<Row> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .fetch_all(database.pool().await)
            .await
            .expect("the rows can be read");
        for (tenant, version, id, sealed, key_id, wrapped_key) in rows {
            let n: usize = tenant[1..].parse().expect("a number");
            let tenant = tenant.parse().expect("an id");
            let subject = Subject { credential: &id, tenant: &tenant, kind: KIND, version };
            let sealed = Sealed { sealed, key_id, wrapped_key };
            let value = keyring.open(&subject, &sealed).expect("every version opens");
            let version = usize::try_from(version).expect("a small number");
            assert_eq!(*value, token(n, version).to_string().as_bytes());
            count += 1;
        }
    }
    count
}

/// A copy of the file, for a replica that does not share it.
pub fn copy_of(file: &Path, folder: &Path, name: &str) -> PathBuf {
    let copy = folder.join(name);
    fs::copy(file, &copy).expect("the folder can be written to");
    copy
}
