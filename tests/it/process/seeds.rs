//! `tenant-service seed`.

use std::path::Path;

use serde_json::{Value, json};

use crate::coherence::fleet::{connected, resolves};
use crate::coherence::gate::Gate;
use crate::harness::cli::spawn_cli_in;
use crate::harness::keyring::keyring;
use crate::harness::{Postgres, Redis, Replica, Scratch, run_cli};

const DEMO: &str = "/api/tenants/demo-tenant-001";

fn write(folder: &Path, name: &str, tenants: &Value) -> String {
    let file = folder.join(name);
    std::fs::write(&file, json!({ "tenants": tenants }).to_string()).unwrap();
    file.to_str().unwrap().to_owned()
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
}

/// The tenant is written and its credentials are under way: neither is there without the other, and
/// the next run finds nothing half done.
#[tokio::test]
async fn a_seed_that_is_killed_is_completed_by_the_next_one() {
    let database = Postgres::database().await;
    let gate = Gate::before(&database.url).await;
    gate.hold_next(&keyring().primary());
    let folder = Scratch::new("cli");
    let seed = spawn_cli_in(&folder, &["seed"], &[("DATABASE_URL", gate.url())]);
    gate.held().await;
    seed.kill();
    gate.release();
    let replica = Replica::builder().database(&database).start().await;
    replica.get(DEMO).await.expecting(404);

    run_cli(&["seed"], &[("DATABASE_URL", &database.url)]).await.expecting(0);
    for kind in ["whatsapp", "genesys"] {
        replica.get(&format!("{DEMO}/credentials/{kind}")).await.expecting(200);
    }
}

#[tokio::test]
async fn a_load_that_stops_goes_on_where_it_stopped() {
    let (database, folder) = (Postgres::database().await, Scratch::new("seeds"));
    let environment = [("DATABASE_URL", database.url.as_str())];
    let replica = Replica::builder().database(&database).start().await;
    let first = write(
        &folder,
        "first.json",
        &json!([
            {"id": "a", "name": "A", "phone_number_id": "1"},
            {"id": "b", "name": "B", "phone_number_id": "2"},
        ]),
    );
    let second = write(&folder, "second.json", &json!([{"id": "c", "name": "C"}]));
    replica
        .post_json("/api/tenants", &json!({"id": "x", "name": "X", "phone_number_id": "2"}))
        .await
        .expecting(201);
    let output = run_cli(&["seed", &first, &second], &environment).await.expecting(1);
    for told in ["first.json", "tenants[1]", "another tenant has this phone_number_id"] {
        assert!(output.stderr.contains(told), "{}", output.stderr);
    }
    // Asked of the database, so that the replica caches no absence.
    let loaded = "SELECT string_agg(id, ' ' ORDER BY id) FROM tenants";
    assert_eq!(database.scalar::<String>(loaded).await, "a x");

    // The number that A was loaded with is another's by now: A is still the one that exists.
    let patch = json!({"phone_number_id": "3"});
    replica.patch_json("/api/tenants/a", &patch).await.expecting(200);
    let patch = json!({"phone_number_id": "1"});
    replica.patch_json("/api/tenants/x", &patch).await.expecting(200);
    let output = run_cli(&["seed", &first, &second], &environment).await.expecting(0);
    assert_eq!(replica.get_json("/api/tenants/a").await["phone_number_id"], "3");
    assert_eq!(replica.get_json("/api/tenants/b").await["phone_number_id"], "2");
    replica.get("/api/tenants/c").await.expecting(200);
    let said = output.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let counts: Vec<_> =
        said.filter_map(|line| Some((line["created"].as_u64()?, line["kept"].as_u64()?))).collect();
    assert_eq!(counts, [(1, 1), (1, 0)], "{}", output.stdout);
}

/// Told without a database: nothing is opened before all files are read.
#[tokio::test]
async fn a_mistake_in_any_file_is_told_before_anything_is_written() {
    let folder = Scratch::new("seeds");
    let data = folder.join("data");
    let environment = [("DATA_DIR", data.to_str().unwrap())];
    let good = json!([{"id": "good", "name": "Good", "phone_number_id": "1"}]);
    let good = write(&folder, "good.json", &good);
    let masked = json!({"whatsapp": {"access_token": "***hunter2"}});
    let bad = write(
        &folder,
        "bad.json",
        &json!([{"id": "x", "name": "X"}, {"id": "bad", "name": "B", "credentials": masked}]),
    );
    let again = json!([{"id": "other", "name": "Other", "phone_number_id": "1"}]);
    let again = write(&folder, "again.json", &again);
    for (files, told) in [
        ([&good, &bad], &["bad.json: tenants[1]: ", "mask"][..]),
        ([&good, &again], &["good.json: tenants[0] and ", "again.json: tenants[0] have the same"]),
        ([&good, &"/nowhere.json".to_owned()], &["/nowhere.json"]),
    ] {
        let output = run_cli(&["seed", files[0], files[1]], &environment).await.expecting(1);
        assert!(told.iter().all(|told| output.stderr.contains(told)), "{}", output.stderr);
        assert!(!output.stderr.contains("hunter2"));
        assert!(!data.exists());
    }
}

/// What holds for a request holds for a seed: the bounds of settings, the names of regions.
#[tokio::test]
async fn a_seed_is_held_to_what_a_request_is() {
    let folder = Scratch::new("seeds");
    let data = folder.join("data");
    let environment = [("DATA_DIR", data.to_str().unwrap())];
    let deep = (0..40).fold(json!({}), |inner, _| json!({"a": inner}));
    for (settings, credentials, mistake) in [
        (json!({"a": "x".repeat(70_000)}), json!({}), "64 KiB"),
        (deep, json!({}), "levels"),
        (json!({}), json!({"genesys": {"region": "hunter2"}}), "credentials.region: must be"),
    ] {
        let seed =
            json!([{"id": "a", "name": "A", "settings": settings, "credentials": credentials}]);
        let file = write(&folder, "bad.json", &seed);
        let output = run_cli(&["seed", &file], &environment).await.expecting(1);
        assert!(output.stderr.contains(mistake), "{}", output.stderr);
        assert!(!output.stderr.contains("hunter2"));
        assert!(!data.exists());
    }
}
