use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::{assert_problem, create, set, stores, tenant};
use crate::harness::{Postgres, Replica, eventually};

const DEADLINE: Duration = Duration::from_secs(30);
const REVEAL: &str = "/api/tenants/demo-tenant-001/credentials/whatsapp";
/// No field of it may be anywhere but in answers that reveal it.
const MARKER: &str = "made-up-marker-8f2c";

/// The trail, oldest first, once it has so many entries.
async fn entries(replica: &Replica, path: &str, count: usize) -> Vec<Value> {
    eventually(DEADLINE, "the entries are chained", async || {
        let page = replica.get_json(path).await;
        let entries = page["entries"].as_array().unwrap().clone();
        if entries.len() < count { Err(page) } else { Ok(entries) }
    })
    .await
}

/// What was done, and how it ended.
fn action(entry: &Value) -> String {
    format!("{} {}", entry["action"].as_str().unwrap(), entry["outcome"].as_str().unwrap())
}

fn short(entry: &Value) -> String {
    let text = |name: &str| entry[name].as_str().unwrap_or("-").to_owned();
    format!(
        "{} {} {} {} {}",
        entry["actor"]["kind"].as_str().unwrap(),
        text("action"),
        text("tenant_id"),
        text("type"),
        text("outcome")
    )
}

#[tokio::test]
async fn who_did_what_is_in_the_trail_and_no_value() {
    for replica in stores().await {
        tenant(&replica, "t1", "1").await;
        let genesys = json!({
            "clientId": "c", "clientSecret": MARKER, "region": "euc1", "integrationId": "i1",
        });
        set(&replica, "t1", "whatsapp", json!({"access_token": MARKER, "x": {"y": MARKER}})).await;
        let path = "/api/tenants/t1/genesys/credentials";
        replica.put_json(path, &genesys).await.expecting(200);
        let by_hand = replica.get("/api/tenants/t1/credentials/whatsapp");
        let answer = by_hand.header("x-request-id", "looked-1").await.expecting(200);
        assert!(answer.text().contains(MARKER));
        replica.get("/api/tenants/t1/credentials/meta").await.expecting(200);
        replica.get("/api/tenants/nobody/credentials/genesys").await.expecting(404);
        replica.delete("/api/tenants/t1/credentials/genesys").await.expecting(204);
        let undelete = "/api/tenants/t1/credentials/genesys/undelete";
        replica.post_json(undelete, &json!({})).await.expecting(200);
        let renamed = json!({"name": MARKER});
        replica.patch_json("/api/tenants/t1", &renamed).await.expecting(200);
        replica.patch_json("/api/tenants/nobody", &renamed).await.expecting(404);
        replica.delete("/api/tenants/t1").await.expecting(204);
        // What nobody reads the secrets of, and what comes to nothing.
        replica.get("/api/tenants/by-phone/1").await.expecting(404);
        replica.get("/api/tenants/t1/credentials?type=genesys").await.expecting(404);

        let found = entries(&replica, "/api/audit?order=oldest&tenant=t1", 10).await;
        let found: Vec<String> = found.iter().map(short).collect();
        assert_eq!(
            found,
            [
                "anonymous tenant.create t1 - ok",
                "anonymous credentials.set t1 whatsapp ok",
                "anonymous tenant.update t1 - ok",
                "anonymous credentials.set t1 genesys ok",
                "anonymous credentials.reveal t1 whatsapp ok",
                "anonymous credentials.reveal t1 whatsapp ok",
                "anonymous credentials.delete t1 genesys ok",
                "anonymous credentials.undelete t1 genesys ok",
                "anonymous tenant.update t1 - ok",
                "anonymous tenant.delete t1 - ok",
            ]
        );
        let path = "/api/audit?action=credentials.reveal&tenant=t1&order=oldest";
        let revealed = entries(&replica, path, 2).await;
        assert_eq!(revealed[0]["request_id"], "looked-1");
        assert_eq!(revealed[0]["address"], "127.0.0.1");
        assert_eq!(revealed[0]["version"], 1);
        assert_eq!(revealed[0]["fields"], json!(["access_token", "x"]));
        let meta = json!(["accessToken", "appSecret", "phoneNumberId", "wabaId"]);
        assert_eq!(revealed[1]["fields"], meta);
        let nobody = entries(&replica, "/api/audit?tenant=nobody", 2).await;
        let mut nobody: Vec<String> = nobody.iter().map(short).collect();
        nobody.sort();
        assert_eq!(
            nobody,
            [
                "anonymous credentials.reveal nobody genesys not_found",
                "anonymous tenant.update nobody - not_found",
            ]
        );
        let trail = replica.get("/api/audit?limit=200").await.expecting(200);
        assert_eq!(trail.header("cache-control"), Some("no-store"));
        assert!(!trail.text().contains(MARKER));
        if let Some(database) = &replica.database {
            let sql =
                format!("SELECT count(*) FROM tenant_audit a WHERE a::text LIKE '%{MARKER}%'");
            assert_eq!(database.scalar::<i64>(&sql).await, 0);
        }
    }
}

#[tokio::test]
async fn what_is_denied_is_counted_together() {
    let replica = Replica::builder()
        .env("ANONYMOUS_SCOPES", "audit:read,lookup:read")
        .env("TRUSTED_PROXIES", "127.0.0.1")
        .start()
        .await;
    for n in 0..30 {
        let call = replica.get(REVEAL).header("x-forwarded-for", "203.0.113.7");
        assert_problem(&call.header("x-request-id", &format!("d{n}")).await, 401, "unauthorized");
    }
    replica.delete("/api/tenants/demo-tenant-001").await.expecting(401);
    let path = "/api/audit?outcome=denied&action=credentials.reveal";
    let denied = entries(&replica, path, 1).await;
    assert_eq!(denied.len(), 1, "{denied:?}");
    assert_eq!(denied[0]["address"], "203.0.113.7");
    assert_eq!(denied[0]["request_id"], "d0");
    let path = "/api/audit?outcome=denied&action=tenant.write";
    assert_eq!(entries(&replica, path, 1).await[0]["address"], "127.0.0.1");
    // Look-ups are not entered.
    replica.get("/api/tenants/by-phone/123456789").await.expecting(200);
    let path = "/api/audit?action=lookup.read";
    assert_eq!(replica.get_json(path).await["entries"], json!([]));
}

#[tokio::test]
async fn pages_follow_one_another() {
    for replica in stores().await {
        for n in 0..5 {
            create(&replica, json!({"id": format!("t{n}"), "name": "x"})).await;
        }
        entries(&replica, "/api/audit?action=tenant.create&limit=200", 5).await;
        let (mut path, mut numbers) = ("/api/audit?order=oldest&limit=2".to_owned(), Vec::new());
        loop {
            let page = replica.get_json(&path).await;
            let entries = page["entries"].as_array().unwrap();
            numbers.extend(entries.iter().map(|entry| entry["number"].as_i64().unwrap()));
            if page["more"] == false {
                break;
            }
            let next = page["next"].as_str().unwrap();
            path = format!("/api/audit?order=oldest&limit=2&after={next}");
        }
        let expected: Vec<i64> = (1..=i64::try_from(numbers.len()).unwrap()).collect();
        assert_eq!(numbers, expected, "without gaps");
        for bad in [
            "order=up",
            "limit=0",
            "limit=201",
            "after=-1",
            "after=o1",
            "outcome=fine",
            "tenant=a b",
            "from=today",
            "actor=",
            "page=1",
            "action=a&action=b",
        ] {
            let answer = replica.get(&format!("/api/audit?{}", bad.replace(' ', "%20"))).await;
            assert_eq!(answer.status, 400, "{bad}: {}", answer.text());
        }
    }
}

/// A reveal is not answered before its entry is committed: while nobody can write one, it waits, and
/// is refused; look-ups go on.
#[tokio::test]
async fn a_reveal_waits_for_its_entry() {
    let database = Postgres::database().await;
    let replica = Replica::builder().database(&database).start().await;
    tenant(&replica, "t1", "1").await;
    set(&replica, "t1", "whatsapp", json!({"access_token": MARKER})).await;
    let reveal = "/api/tenants/t1/credentials/whatsapp";
    replica.get(reveal).await.expecting(200);
    let count = "SELECT count(*) FROM tenant_audit WHERE action = 'credentials.reveal'";

    let mut lock = database.pool().await.begin().await.unwrap();
    sqlx::query("LOCK TABLE tenant_audit IN SHARE ROW EXCLUSIVE MODE")
        .execute(&mut *lock)
        .await
        .unwrap();
    // It gives up by itself.
    let answer = replica.get(reveal).await;
    assert_problem(&answer, 503, "audit_unavailable");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert!(!answer.text().contains(MARKER));
    let waits = async {
        let answer = replica.get(reveal).header("x-request-id", "waited").await;
        let entered: i64 = database.scalar(&format!("{count} AND request_id = 'waited'")).await;
        (answer, entered)
    };
    let release = async {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
                       AND query LIKE 'INSERT INTO tenant_audit%' AND datname = current_database()";
        eventually(DEADLINE, "an entry waits for the lock", async || {
            database.scalar::<i64>(waiting).await > 0
        })
        .await;
        replica.get("/api/tenants/by-phone/1").await.expecting(200);
        lock.commit().await.unwrap();
    };
    let ((answer, entered), ()) = tokio::join!(waits, release);
    // Whether it was in time depends on the machine; that it was entered before it was shown does not.
    assert!(answer.status == 503 || entered == 1, "{} {entered}", answer.status);
    eventually(DEADLINE, "a reveal is answered again", async || {
        replica.get(reveal).await.status == 200
    })
    .await;
}

/// Nothing is shown or changed that could not be entered; look-ups go on; and it passes.
#[tokio::test]
async fn without_a_trail_nothing_is_shown_or_changed() {
    let database = Postgres::database().await;
    let replica = Replica::builder().database(&database).start().await;
    tenant(&replica, "t1", "1").await;
    set(&replica, "t1", "whatsapp", json!({"access_token": MARKER})).await;
    let reveal = "/api/tenants/t1/credentials/whatsapp";
    replica.get(reveal).await.expecting(200);
    set(&replica, "t1", "genesys", json!({"clientSecret": MARKER})).await;
    replica.delete("/api/tenants/t1/credentials/genesys").await.expecting(204);
    let token = json!({"name": "n", "scopes": ["lookup:read"]});
    let made = replica.post_json("/api/tokens", &token).await.expecting(201).json();
    let of_token = format!("/api/tokens/{}", made["id"].as_str().unwrap());
    let state = "SELECT (SELECT sum(hashtext(t::text)) FROM tenants t)::bigint \
                 + (SELECT sum(hashtext(c::text)) FROM tenant_credentials c)::bigint \
                 + (SELECT sum(hashtext(h::text)) FROM tenant_credential_history h)::bigint \
                 + (SELECT sum(hashtext(k::text)) FROM tenant_tokens k)::bigint \
                 + (SELECT count(*) FROM tenant_changes)";
    let before: i64 = database.scalar(state).await;
    database
        .execute(
            "CREATE FUNCTION never() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN RAISE EXCEPTION 'never' USING ERRCODE = 'insufficient_privilege'; END $$; \
             CREATE TRIGGER never BEFORE INSERT ON tenant_audit EXECUTE FUNCTION never()",
        )
        .await;
    let body = json!({"type": "whatsapp", "credentials": {"access_token": "another"}});
    let genesys = json!({
        "clientId": "c", "clientSecret": "made up", "region": "euc1", "integrationId": "i9",
    });
    for answer in [
        replica.get(reveal).await,
        replica.get("/api/tenants/t1/credentials/meta").await,
        replica.get("/api/tenants/nobody/credentials/meta").await,
        replica.put_json("/api/tenants/t1/credentials", &body).await,
        replica.post_json("/api/tenants/t1/credentials", &body).await,
        replica.put_json("/api/tenants/t1/genesys/credentials", &genesys).await,
        replica.patch_json("/api/tenants/t1", &json!({"name": "another"})).await,
        replica.post_json("/api/tenants", &json!({"name": "another"})).await,
        replica.delete("/api/tenants/t1").await,
        replica.get(&format!("{reveal}/versions/1")).await,
        replica.get(&format!("{reveal}/versions/9")).await,
        replica.post_json(&format!("{reveal}/rollback"), &json!({"version": 1})).await,
        replica.delete(reveal).await,
        replica.delete(&format!("{reveal}/versions/1")).await,
        replica.post_json(&format!("{reveal}/destroy"), &json!({})).await,
        replica.post_json("/api/tenants/t1/credentials/genesys/undelete", &json!({})).await,
        replica.post_json("/api/tokens", &token).await,
        replica.post_json(&format!("{of_token}/rotate"), &json!({"overlap_seconds": 60})).await,
        replica.delete(&of_token).await,
    ] {
        assert_problem(&answer, 503, "audit_unavailable");
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert!(!answer.text().contains(MARKER));
    }
    assert_eq!(database.scalar::<i64>(state).await, before);
    replica.get("/api/tenants/by-phone/1").await.expecting(200);
    replica.get("/api/tenants/t1").await.expecting(200);
    replica.get("/api/tenants/t1/credentials?type=whatsapp").await.expecting(200);
    let failures = replica.metrics().await.value("tenant_audit_failures_total", &[]);
    assert!(failures >= 19.0, "{failures}");

    database.execute("DROP TRIGGER never ON tenant_audit").await;
    replica.get(reveal).await.expecting(200);
    replica.delete("/api/tenants/t1").await.expecting(204);
    // What came to nothing meanwhile was kept.
    let failed = entries(&replica, "/api/audit?outcome=failed&order=oldest", 4).await;
    assert!(failed.iter().any(|entry| entry["action"] == "tenant.delete"), "{failed:?}");
}

/// Also where nothing was to be changed, and where there is more than one.
#[tokio::test]
async fn as_many_entries_are_counted_as_are_made() {
    let replica = Replica::builder().start().await;
    // The demo tenant's: one entry of it, and two of the credentials that it was made with.
    let of_seeds = 3;
    tenant(&replica, "t1", "1").await;
    set(&replica, "t1", "genesys", json!({"clientId": "c", "clientSecret": MARKER})).await;
    for _ in 0..2 {
        replica.patch_json("/api/tenants/t1", &json!({"name": "another"})).await.expecting(200);
    }
    replica.get("/api/tenants/t1/credentials/genesys").await.expecting(200);
    let token = json!({"name": "n", "scopes": ["lookup:read"]});
    let made = replica.post_json("/api/tokens", &token).await.expecting(201).json();
    let path = format!("/api/tokens/{}", made["id"].as_str().unwrap());
    let rotate = json!({"overlap_seconds": 60});
    replica.post_json(&format!("{path}/rotate"), &rotate).await.expecting(201);
    for _ in 0..2 {
        replica.delete(&path).await.expecting(200);
    }
    let made = entries(&replica, "/api/audit?outcome=ok", of_seeds + 8).await;
    let expected = [
        "token.revoke ok",
        "token.create ok",
        "token.rotate ok",
        "token.create ok",
        "credentials.reveal ok",
        "tenant.update ok",
        "credentials.set ok",
        "tenant.create ok",
    ];
    assert_eq!(made[..made.len() - of_seeds].iter().map(action).collect::<Vec<_>>(), expected);
    let counted = replica.metrics().await.value("tenant_audit_entries_total", &[("outcome", "ok")]);
    assert!((counted - 11.0).abs() < 0.5, "{counted}");
}

/// Whoever has a write refused cannot keep that out of the trail by hanging up.
#[tokio::test]
async fn what_is_refused_after_its_caller_hung_up_is_entered() {
    let database = Postgres::database().await;
    let replica = Replica::builder().database(&database).start().await;
    tenant(&replica, "t1", "1").await;
    let mut lock = database.pool().await.begin().await.unwrap();
    let held = sqlx::query("SELECT FROM tenants WHERE id = 't1' FOR UPDATE");
    held.execute(&mut *lock).await.unwrap();
    let patch = json!({"name": "another"});
    let request = replica.patch_json("/api/tenants/t1", &patch).header("if-match", "\"old\"");
    let request = tokio::spawn(request.header("x-request-id", "gone").into_future());
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
                   AND datname = current_database()";
    eventually(DEADLINE, "the write waits for the lock", async || {
        database.scalar::<i64>(waiting).await > 0
    })
    .await;
    request.abort();
    let is_its_line =
        |line: &Value| line["target"] == "tenant_service::access" && line["request_id"] == "gone";
    replica.wait_for_log(is_its_line).await;
    lock.commit().await.unwrap();
    let found = entries(&replica, "/api/audit?tenant=t1&outcome=refused", 1).await;
    assert_eq!(found[0]["action"], "tenant.update", "{found:?}");
    assert_eq!(found[0]["request_id"], "gone");
}

/// A token that can't be looked for is not taken back, and that it was tried is entered.
#[tokio::test]
async fn what_fails_before_a_token_is_written_is_entered() {
    let database = Postgres::database().await;
    let replica = Replica::builder().database(&database).start().await;
    let path = "/api/tokens/0123456789abcdef";
    database.execute("ALTER TABLE tenant_tokens RENAME TO elsewhere").await;
    let refused = replica.delete(path).await;
    assert!(refused.status >= 500, "{}", refused.text());
    let rotate = replica.post_json(&format!("{path}/rotate"), &json!({"overlap_seconds": 60}));
    assert!(rotate.await.status >= 500);
    let found = entries(&replica, "/api/audit?outcome=failed", 2).await;
    let actions: BTreeSet<_> = found.iter().map(action).collect();
    assert_eq!(actions, ["token.revoke failed", "token.rotate failed"].map(String::from).into());
    assert!(found.iter().all(|entry| entry["token_id"] == "0123456789abcdef"), "{found:?}");
}

/// Who asks for what is destroyed has tried to see it; and `*` names no secret that one has.
#[tokio::test]
async fn every_way_to_ask_for_a_secret_is_entered() {
    for replica in stores().await {
        tenant(&replica, "t1", "1").await;
        set(&replica, "t1", "genesys", json!({"clientId": "c", "clientSecret": MARKER})).await;
        let path = "/api/tenants/t1/credentials/genesys";
        replica.get(path).header("if-none-match", "*").await.expecting(200);
        replica.delete(&format!("{path}/versions/1")).await.expecting(204);
        let gone = replica.get(&format!("{path}/versions/1")).await;
        assert_problem(&gone, 410, "version_destroyed");
        let found = entries(&replica, "/api/audit?tenant=t1&action=credentials.reveal", 2).await;
        let found: Vec<_> = found.iter().map(action).collect();
        assert_eq!(found, ["credentials.reveal not_found", "credentials.reveal ok"]);
    }
}

/// Credentials of Genesys say which integration a tenant is, and whoever sets them changes that.
#[tokio::test]
async fn another_integration_is_a_change_of_the_tenant() {
    for replica in stores().await {
        tenant(&replica, "t1", "1").await;
        let path = "/api/tenants/t1/genesys/credentials";
        for (integration, region) in
            [("i1", "euc1"), ("i1", "euc1"), ("i1", "use1"), ("i2", "use1")]
        {
            let body = json!({
                "clientId": "c", "clientSecret": MARKER, "region": region,
                "integrationId": integration,
            });
            replica.put_json(path, &body).await.expecting(200);
        }
        let found = entries(&replica, "/api/audit?tenant=t1&action=tenant.update", 3).await;
        let fields: Vec<_> = found.iter().map(|entry| entry["fields"].clone()).collect();
        assert_eq!(
            fields,
            [
                json!(["genesys_integration_id"]),
                json!(["genesys_region"]),
                json!(["genesys_integration_id", "genesys_region"]),
            ]
        );
        let counted = replica.metrics().await;
        let counted = counted.value("tenant_audit_entries_total", &[("outcome", "ok")]);
        let made = entries(&replica, "/api/audit?outcome=ok&limit=200", 8).await.len();
        assert_eq!(format!("{counted:.0}"), made.to_string());
    }
}
