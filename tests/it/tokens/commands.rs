//! `tenant-service token`.

use serde_json::Value;
use sqlx::{AssertSqlSafe, SqlitePool};

use super::{Embedded, closed, id_of, make, with};
use crate::coherence::fleet::DEADLINE;
use crate::harness::{Scratch, eventually, run_cli};

const BY_PHONE: &str = "/api/tenants/by-phone/123456789";

/// The database of an embedded service.
async fn database_of(folder: &Scratch) -> SqlitePool {
    let file = folder.join("tenant-service.db");
    SqlitePool::connect(&format!("sqlite://{}", file.display())).await.unwrap()
}

#[tokio::test]
async fn tokens_are_made_listed_replaced_and_revoked() {
    let Embedded { replica, folder, .. } = &Embedded::start().await;
    let environment = [("DATA_DIR", folder.to_str().unwrap())];
    let more = [
        "--scopes",
        "lookup:read, credentials:read",
        "--tenants",
        "demo-tenant-001,b",
        "--types",
        "whatsapp",
        "--description",
        "of the north",
        "--expires-in",
        "90d",
    ];
    let token = make(&environment, &more).await;
    with(replica.get(BY_PHONE), &token).await.expecting(200);
    with(replica.get("/api/tenants"), &token).await.expecting(403);

    let list = run_cli(&["token", "list"], &environment).await.expecting(0).stdout;
    let lines: Vec<&str> = list.lines().collect();
    assert_eq!(lines.len(), 3, "{list}");
    assert!(lines[0].starts_with("ID ") && lines[0].ends_with("LAST USED"), "{list}");
    assert!(lines[2].starts_with(id_of(&token)), "{list}");
    assert!(lines[2].contains("lookup:read,credentials:read  b,demo-tenant-001  whatsapp"));
    let json = run_cli(&["token", "list", "--json"], &environment).await.expecting(0).json();
    let record = &json.as_array().unwrap()[1];
    assert_eq!(record["description"], "of the north");
    assert_eq!(
        (&record["status"], &record["created_by"]),
        (&"active".into(), &"command:token".into())
    );
    assert!(!json.to_string().contains(&token[24..67]));

    let rotated = run_cli(&["token", "rotate", id_of(&token)], &environment).await.expecting(0);
    let next = rotated.stdout.trim_end();
    assert!(!rotated.stderr.contains(&next[24..67]));
    for token in [&token, next] {
        with(replica.get(BY_PHONE), token).await.expecting(200);
    }
    let arguments = ["token", "rotate", id_of(next), "--overlap", "0s"];
    let newest = run_cli(&arguments, &environment).await.expecting(0).stdout;
    with(replica.get(BY_PHONE), next).await.expecting(401);
    for _ in 0..2 {
        let revoke = ["token", "revoke", id_of(&newest)];
        let revoked = run_cli(&revoke, &environment).await.expecting(0);
        assert_eq!(revoked.stdout, "");
        with(replica.get(BY_PHONE), newest.trim_end()).await.expecting(401);
    }
}

#[tokio::test]
async fn mistakes_are_told_without_values() {
    let folder = Scratch::new("data");
    let environment = [("DATA_DIR", folder.to_str().unwrap())];
    let create = ["token", "create", "--name", "n", "--scopes"];
    for (arguments, told) in [
        ([&create[..], &["hunter2"]].concat(), "--scopes"),
        ([&create[..], &[""]].concat(), "--scopes"),
        ([&create[..], &["all", "--tenants", "hunter2 x"]].concat(), "--tenants"),
        ([&create[..], &["all", "--types", "hunter2"]].concat(), "--types"),
        ([&create[..], &["all", "--expires-in", "hunter2"]].concat(), "--expires-in"),
        (vec!["token", "revoke", "hunter2"], "ID"),
        (vec!["token", "rotate", "0123456789abcdef", "--overlap=-1h"], "--overlap"),
        (vec!["token", "revoke", "0123456789abcdef"], "there is no such token"),
    ] {
        let output = run_cli(&arguments, &environment).await;
        assert_ne!(output.code, 0, "{arguments:?}");
        assert!(output.stderr.contains(told), "{arguments:?}: {}", output.stderr);
        assert!(!output.stderr.contains("hunter2"), "{}", output.stderr);
        assert_eq!(output.stdout, "");
    }
    let list = run_cli(&["token", "list", "--json"], &environment).await.expecting(0);
    assert_eq!(list.json(), Value::Array(Vec::new()));
    // What was tried in vain is in the trail, though nothing runs.
    let pool = database_of(&folder).await;
    let tried = sqlx::query_as("SELECT action, outcome, token_id FROM tenant_audit ORDER BY seq");
    let tried: Vec<(String, String, String)> = tried.fetch_all(&pool).await.unwrap();
    let [revoke] = tried.as_slice() else { panic!("{tried:?}") };
    assert_eq!(
        (&*revoke.0, &*revoke.1, &*revoke.2),
        ("token.revoke", "not_found", "0123456789abcdef")
    );
}

/// Without it no token could be told from another, so a new one is not made in its place.
#[tokio::test]
async fn a_lost_keyring_is_not_replaced_where_there_are_tokens() {
    let folder = Scratch::new("data");
    let environment = [("DATA_DIR", folder.to_str().unwrap())];
    make(&environment, &["--scopes", "all"]).await;
    std::fs::remove_file(folder.join("keyring.json")).unwrap();
    let output = run_cli(&["token", "list"], &environment).await;
    assert_ne!(output.code, 0, "{output:?}");
    assert!(output.stderr.contains("keyring"), "{}", output.stderr);
    assert!(!folder.join("keyring.json").exists());
}

/// Nor where there is nothing but a trail: with another keyring it could be neither verified nor gone on with.
#[tokio::test]
async fn a_lost_keyring_is_not_replaced_where_there_is_a_trail() {
    let folder = Scratch::new("data");
    let replica = closed().data_dir(&folder).start().await;
    eventually(DEADLINE, "the trail is chained", async || {
        let metrics = replica.metrics().await;
        metrics.has("tenant_audit_unchained", &[])
            && metrics.value("tenant_audit_unchained", &[]) < 1.0
    })
    .await;
    assert_eq!(replica.terminate().await, 0);
    let pool = database_of(&folder).await;
    for table in ["tenants", "tenant_credential_history", "tenant_token_pepper"] {
        sqlx::query(AssertSqlSafe(format!("DELETE FROM {table}"))).execute(&pool).await.unwrap();
    }
    pool.close().await;
    std::fs::remove_file(folder.join("keyring.json")).unwrap();
    let environment = [("DATA_DIR", folder.to_str().unwrap())];
    let output = run_cli(&["token", "list"], &environment).await;
    assert_ne!(output.code, 0, "{output:?}");
    assert!(!folder.join("keyring.json").exists());
}
