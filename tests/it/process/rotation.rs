//! Keys replaced while replicas serve.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tenant_service::crypto::{Keyring, KeyringEditor};

use crate::coherence::fleet::{full, put_token};
use crate::harness::keyring::{Row, in_postgres};
use crate::harness::rotation::{Plan, copy_of, run};
use crate::harness::{Database, Postgres, Replica, Scratch, eventually, run_cli, spawn_cli_in};

pub(super) const DEADLINE: Duration = Duration::from_mins(1);

pub(super) fn document(file: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

pub(super) async fn keys_held(replica: &Replica, wanted: f64) {
    eventually(DEADLINE, "a replica has read its keyring again", async || {
        let held = replica.metrics().await.value("tenant_keyring_keys", &[]);
        if (held - wanted).abs() < 0.1 { Ok(()) } else { Err(held) }
    })
    .await;
}

pub(super) struct Own {
    pub database: Database,
    pub folder: Scratch,
    pub file: String,
}

impl Own {
    /// A database with three tenants, and a keyring that is no other test's.
    pub async fn new() -> Self {
        Self::with_tenants(3).await
    }

    pub async fn with_tenants(count: usize) -> Self {
        let folder = Scratch::new("rotation");
        let file = folder.join("keyring.json");
        Keyring::generate(&file).unwrap();
        let database = Postgres::database().await;
        let tenants = format!("SELECT 't' || n, 'T' FROM generate_series(1, {count}) n");
        database.execute(&format!("INSERT INTO tenants (id, name) {tenants}")).await;
        Self { database, folder, file: file.to_str().unwrap().to_owned() }
    }

    pub fn environment(&self) -> [(&str, &str); 2] {
        [("DATABASE_URL", &self.database.url), ("KEYRING_FILE", &self.file)]
    }

    pub async fn replica(&self, file: &str) -> Replica {
        Replica::builder().database(&self.database).env("KEYRING_FILE", file).start().await
    }
}

/// The large form is `scripts/rotation`.
#[tokio::test]
async fn a_rotation_that_is_killed_is_gone_on_with_and_no_read_fails() {
    let report = run(&Plan { versions: 1_000, kills: 3, rows_per_second: 250 }).await;
    assert_eq!(report.failed_reads, 0, "{report:?}");
    assert!(report.reads > 100, "{report:?}");
    assert_eq!(report.killed_at[..2], [0, 0], "before any row, twice");
    assert!(report.killed_at[2] >= 500 && report.killed_at[2] < 1_000, "{report:?}");
}

#[tokio::test]
async fn a_keyring_is_read_again_and_a_broken_one_is_not_taken() {
    let own = Own::new().await;
    let replica = own.replica(&own.file).await;
    put_token(&replica, 1, "first-made-up-token").await;
    let file = Path::new(&own.file);
    let mut editor = KeyringEditor::open(file).unwrap();
    let old = editor.primary().to_owned();
    editor.add_next().unwrap();
    // Well before it is read again by itself.
    assert!(replica.process.signal("HUP"));
    keys_held(&replica, 2.0).await;
    let row = "SELECT keys FROM tenant_replicas";
    let both = format!("{old} {}", editor.next().unwrap());
    eventually(DEADLINE, "the row names both keys", async || {
        own.database.scalar::<String>(row).await == both
    })
    .await;

    let whole = fs::read(file).unwrap();
    let failures = "tenant_keyring_reload_failures_total";
    assert!(replica.metrics().await.value(failures, &[]) < 0.5);
    fs::write(file, "hunter2").unwrap();
    eventually(DEADLINE, "a broken file is counted", async || {
        replica.metrics().await.value(failures, &[]) > 0.5
    })
    .await;
    let told = replica.wait_for_log(|line| line["level"] == "ERROR").await.to_string();
    assert!(told.contains("the keys that were read before stay"), "{told}");
    assert!(!told.contains("hunter2"), "{told}");
    fs::write(file, whole).unwrap();
    fs::set_permissions(file, Permissions::from_mode(0o644)).unwrap();
    replica.wait_for_log(|line| line["message"].as_str().is_some_and(|m| m.contains("stay"))).await;
    put_token(&replica, 2, "second-made-up-token").await;
    replica.get(&full(1)).await.expecting(200);

    // By itself, once it can be used again.
    fs::set_permissions(file, Permissions::from_mode(0o600)).unwrap();
    editor.promote_next().unwrap();
    let both = format!("{} {old}", editor.primary());
    eventually(DEADLINE, "the row names the other primary", async || {
        own.database.scalar::<String>(row).await == both
    })
    .await;
    put_token(&replica, 2, "third-made-up-token").await;
    let key: String =
        own.database.scalar("SELECT key_id FROM tenant_credentials WHERE tenant_id = 't2'").await;
    assert_eq!(key, editor.primary());
    replica.get(&full(1)).await.expecting(200);
}

#[tokio::test]
async fn a_rotation_waits_for_a_replica_that_has_a_copy_of_the_file() {
    let own = Own::new().await;
    let file = Path::new(&own.file);
    let copy = copy_of(file, &own.folder, "copy.json");
    let replica = own.replica(&own.file).await;
    let apart = own.replica(copy.to_str().unwrap()).await;
    put_token(&replica, 1, "first-made-up-token").await;
    let old = document(file)["primary"].clone();

    let rotate = ["keys", "rotate", "--wait", "5"];
    let late = run_cli(&rotate, &own.environment()).await.expecting(1).stderr;
    assert!(late.contains(&apart.process.name) && late.contains("give them the new one"), "{late}");
    let has = document(file);
    assert_eq!((&has["primary"], has["next"].is_string()), (&old, true), "it is not used yet");
    put_token(&replica, 1, "second-made-up-token").await;
    apart.get(&full(1)).await.expecting(200);

    // Given the file, it holds the key, and another one is not added.
    let process = spawn_cli_in(&own.folder, &["keys", "rotate"], &own.environment());
    copy_of(file, &own.folder, "copy.json");
    eventually(DEADLINE, "the key is the primary", async || document(file)["primary"] != old).await;
    // Only the one that has the other file still seals by the old key; what the new one has sealed
    // it opens.
    keys_held(&apart, 2.0).await;
    eventually(DEADLINE, "it is waited for again", async || {
        process.stderr.text().contains("to seal by the key")
    })
    .await;
    put_token(&replica, 2, "made-up-token").await;
    apart.get(&full(2)).await.expecting(200);
    put_token(&apart, 3, "made-up-token").await;
    replica.get(&full(3)).await.expecting(200);
    copy_of(file, &own.folder, "copy.json");
    let ended = process.exited(DEADLINE).await;
    assert!(ended.success(), "{}", process.stderr.text());
    assert_eq!(document(file)["keys"].as_array().unwrap().len(), 2);
    let of_old =
        format!("SELECT count(*) FROM tenant_credentials WHERE key_id = {old}").replace('"', "'");
    assert_eq!(own.database.scalar::<i64>(&of_old).await, 0);
}

#[tokio::test]
async fn a_key_is_retired_when_nothing_needs_it_and_not_before() {
    let own = Own::new().await;
    let file = Path::new(&own.file);
    let (old, copy) = (Keyring::load(file).unwrap(), copy_of(file, &own.folder, "copy.json"));
    let replica = own.replica(&own.file).await;
    put_token(&replica, 1, "first-made-up-token").await;
    let none = run_cli(&["keys", "retire"], &own.environment()).await.expecting(0).stdout;
    assert!(none.contains("no key that could be taken out"), "{none}");

    let mut editor = KeyringEditor::open(file).unwrap();
    editor.add_next().unwrap();
    editor.promote_next().unwrap();
    keys_held(&replica, 2.0).await;
    let needed = run_cli(&["keys", "retire"], &own.environment()).await.expecting(1).stderr;
    assert!(needed.contains("1 rows of tenant_credentials need the key"), "{needed}");
    assert_eq!(own.database.scalar::<i64>("SELECT count(*) FROM tenant_retired_keys").await, 0);

    // It goes on with the rows that are left, and adds no third key.
    let told = run_cli(&["keys", "rotate"], &own.environment()).await.expecting(0);
    assert!(told.stderr.contains("rows are left that name another key"), "{}", told.stderr);
    assert_eq!(document(file)["keys"].as_array().unwrap().len(), 2);
    run_cli(&["keys", "retire"], &own.environment()).await.expecting(0);
    assert_eq!(Keyring::load(file).unwrap().ids(), [editor.primary()]);
    replica.get(&full(1)).await.expecting(200);

    // Whoever has the old file (a replica that was frozen, a backup of it) writes nothing by it.
    let late = own.replica(copy.to_str().unwrap()).await;
    let body = json!({"type": "whatsapp", "credentials": {"access_token": "too-late-token"}});
    late.put_json("/api/tenants/t2/credentials", &body).await.expecting(503);
    let kind = "whatsapp".parse().unwrap();
    let row = Row { tenant: "t3", kind, version: 1 }.values(in_postgres, "{}");
    let row = row.replace(&crate::harness::keyring::keyring().primary(), &old.primary());
    let by_hand = format!(
        "DO $$ BEGIN
             INSERT INTO tenant_credentials {} VALUES {row};
             RAISE 'it was taken';
         EXCEPTION WHEN object_not_in_prerequisite_state THEN NULL; END $$",
        crate::harness::keyring::COLUMNS
    );
    own.database.execute(&by_hand).await;
    put_token(&replica, 2, "in-time-token").await;
}

/// Whoever writes while rows are wrapped anew does so as ever: neither waits for the other for long,
/// and neither undoes what the other has done.
#[tokio::test]
async fn writes_go_on_while_rows_are_rewrapped() {
    const TENANTS: usize = 40;
    let own = Own::with_tenants(TENANTS).await;
    let replicas = [own.replica(&own.file).await, own.replica(&own.file).await];
    for n in 1..=TENANTS {
        for version in 1..=3 {
            put_token(&replicas[version % 2], n, &format!("made-up-{n}-{version}")).await;
        }
    }
    // A few seconds for what there is, and some more for what is written meanwhile.
    let rotate = ["keys", "rotate", "--rows-per-second", "40"];
    let process = spawn_cli_in(&own.folder, &rotate, &own.environment());
    let mut last = [3; TENANTS];
    let mut others = 0;
    let began = Instant::now();
    while process.exit_status().is_none() {
        assert!(began.elapsed() < DEADLINE, "it does not end: {}", process.stderr.text());
        let (n, replica) = (fastrand::usize(1..=TENANTS), &replicas[fastrand::usize(..2)]);
        last[n - 1] += 1;
        put_token(replica, n, &format!("made-up-{n}-{}", last[n - 1])).await;
        // Of the other type: set, deleted, brought back as the next version; the first of the two destroyed.
        let path = "/api/tenants/t1/credentials/genesys";
        let (call, status) = match others % 4 {
            0 => {
                let genesys = json!({"clientId": "c", "clientSecret": "made-up-secret"});
                let body = json!({"type": "genesys", "credentials": genesys});
                (replica.put_json("/api/tenants/t1/credentials", &body), 200)
            }
            1 => (replica.delete(path), 204),
            2 => (replica.post_json(&format!("{path}/undelete"), &json!({})), 200),
            _ => (replica.delete(&format!("{path}/versions/{}", others / 4 * 2 + 1)), 204),
        };
        others += 1;
        call.await.expecting(status);
    }
    assert_eq!(process.exited(DEADLINE).await.code(), Some(0), "{}", process.stderr.text());
    assert!(others >= 8, "each of these was done twice meanwhile: {others}");
    run_cli(&["keys", "retire"], &own.environment()).await.expecting(0);
    for replica in &replicas {
        keys_held(replica, 1.0).await;
    }
    let fresh = own.replica(&own.file).await;
    for (n, last) in (1..).zip(last) {
        for replica in replicas.iter().chain([&fresh]) {
            let found = replica.get_json(&full(n)).await;
            assert_eq!(found["access_token"], format!("made-up-{n}-{last}"));
            let versions = replica.get_json(&format!("{}/versions/2", full(n))).await;
            assert_eq!(versions["access_token"], format!("made-up-{n}-2"));
        }
    }
}

/// A replica that stands still is waited for no longer than it lives; and when it comes back, it has the
/// keys before it is of use.
#[tokio::test]
async fn a_replica_that_stood_still_throughout_comes_back() {
    let own = Own::new().await;
    let replica = own.replica(&own.file).await;
    let builder = Replica::builder().database(&own.database).env("KEYRING_FILE", &own.file);
    let frozen = builder.env("CACHE_TTL_SECONDS", "1").start().await;
    put_token(&replica, 1, "first-made-up-token").await;
    frozen.get(&full(1)).await.expecting(200);
    frozen.freeze().await;
    put_token(&replica, 1, "second-made-up-token").await;
    run_cli(&["keys", "rotate"], &own.environment()).await.expecting(0);
    run_cli(&["keys", "retire"], &own.environment()).await.expecting(0);
    put_token(&replica, 2, "third-made-up-token").await;
    frozen.thaw();
    let body = json!({"type": "whatsapp", "credentials": {"access_token": "fourth-made-up-token"}});
    eventually(DEADLINE, "it serves and writes by the new key", async || {
        for (n, token) in [(1, "second-made-up-token"), (2, "third-made-up-token")] {
            let answer = frozen.get(&full(n)).await;
            match answer.status {
                200 => assert_eq!(answer.json()["access_token"], token),
                // Its rows, or its keys, are older than what it finds.
                500 | 503 => return Err(answer.status),
                other => panic!("{other}: {}", answer.text()),
            }
        }
        let written = frozen.put_json("/api/tenants/t3/credentials", &body).await;
        if written.status == 200 { Ok(()) } else { Err(written.status) }
    })
    .await;
    assert_eq!(replica.get_json(&full(3)).await["access_token"], "fourth-made-up-token");
    let new = Keyring::load(Path::new(&own.file)).unwrap().primary();
    let others = format!("SELECT count(*) FROM tenant_credentials WHERE key_id <> '{new}'");
    assert_eq!(own.database.scalar::<i64>(&others).await, 0);
}

/// What tokens are hashed with is sealed too, and read once a process.
#[tokio::test]
async fn tokens_outlive_the_key_under_which_they_were_made() {
    let own = Own::new().await;
    let old = Keyring::load(Path::new(&own.file)).unwrap().primary();
    let create = ["token", "create", "--name", "n", "--scopes", "tenants:read"];
    let made = run_cli(&create, &own.environment()).await.expecting(0).stdout;
    let token = made.trim_end();
    let builder = Replica::builder().database(&own.database).env("KEYRING_FILE", &own.file);
    let builder = builder.env("ANONYMOUS_SCOPES", "none");
    let ask = async |replica: &Replica, token: &str| {
        let call = replica.get("/api/tenants/t1");
        call.header("authorization", &format!("Bearer {token}")).await.status
    };
    let before = builder.start().await;
    assert_eq!(ask(&before, token).await, 200);
    let key = "SELECT key_id FROM tenant_token_pepper";
    assert_eq!(own.database.scalar::<String>(key).await, old);

    run_cli(&["keys", "rotate"], &own.environment()).await.expecting(0);
    let new = Keyring::load(Path::new(&own.file)).unwrap().primary();
    assert_eq!(own.database.scalar::<String>(key).await, new);
    run_cli(&["keys", "retire"], &own.environment()).await.expecting(0);
    assert_eq!(Keyring::load(Path::new(&own.file)).unwrap().ids(), [new.as_str()]);
    // Whoever has read it before, and whoever has not.
    let after = builder.start().await;
    let another = run_cli(&create, &own.environment()).await.expecting(0).stdout;
    for replica in [&before, &after] {
        assert_eq!(ask(replica, token).await, 200);
        assert_eq!(ask(replica, another.trim_end()).await, 200);
    }
}

#[tokio::test]
async fn status_tells_rows_by_key_and_those_that_nothing_opens() {
    let own = Own::new().await;
    let replica = own.replica(&own.file).await;
    for token in ["first-made-up-token", "second-made-up-token"] {
        put_token(&replica, 1, token).await;
    }
    let status = run_cli(&["keys", "status"], &own.environment()).await.expecting(0).stdout;
    assert!(status.contains("primary") && status.contains("held by 1 of 1 replicas"), "{status}");
    assert!(status.contains("1 rows of tenant_credential_history"), "{status}");

    // The key of the audit trail is sealed as well, when the first rows are chained.
    let chains = "SELECT count(*) FROM tenant_audit_chain";
    eventually(DEADLINE, "there is a chain", async || {
        own.database.scalar::<i64>(chains).await == 1
    })
    .await;
    let other = own.folder.join("other.json");
    Keyring::generate(&other).unwrap();
    let environment =
        [("DATABASE_URL", own.database.url.as_str()), ("KEYRING_FILE", other.to_str().unwrap())];
    let status = run_cli(&["keys", "status", "--json"], &environment).await.expecting(1).json();
    assert_eq!(status["unopenable"], 3, "{status}");
    assert_eq!(status["keys"][1]["state"], "missing", "{status}");
    assert_eq!(status["replicas"][0]["primary"], status["keys"][1]["id"], "{status}");
    let refused = run_cli(&["keys", "rotate"], &environment).await.expecting(1).stderr;
    assert!(refused.contains("name the key") && refused.contains("does not have"), "{refused}");
    assert_eq!(document(&other)["keys"].as_array().unwrap().len(), 1, "and nothing was begun");
    let nowhere = [("DATABASE_URL", "postgres://h/d"), ("KEYRING_FILE", "/nowhere")];
    run_cli(&["keys", "status"], &nowhere).await.expecting(2);
}

#[tokio::test]
async fn the_embedded_default_rotates_while_it_serves() {
    let folder = Scratch::new("data");
    let data = folder.join("data");
    let replica = Replica::builder().data_dir(&data).env("CACHE_TTL_SECONDS", "1").start().await;
    let demo = "/api/tenants/demo-tenant-001/credentials/genesys";
    let secret = replica.get_json(demo).await;
    let environment = [("DATA_DIR", data.to_str().unwrap())];
    let told = run_cli(&["keys", "rotate"], &environment).await.expecting(0);
    assert!(told.stdout.contains("no row names another"), "{}", told.stdout);
    run_cli(&["keys", "retire"], &environment).await.expecting(0);
    keys_held(&replica, 1.0).await;
    assert_eq!(replica.get_json(demo).await, secret);
    assert_eq!(replica.terminate().await, 0);
    // And with nobody there.
    run_cli(&["keys", "rotate"], &environment).await.expecting(0);
    run_cli(&["keys", "retire"], &environment).await.expecting(0);
    let replica = Replica::builder().data_dir(&data).start().await;
    assert_eq!(replica.get_json(demo).await, secret);
}
