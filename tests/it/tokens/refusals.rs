//! A token that is not good, for whatever reason: one answer to all.

use serde_json::{Value, json};

use super::{Embedded, closed, id_of, make, mint, seen, with};
use crate::coherence::fleet::DEADLINE;
use crate::harness::{Replica, eventually};

const BY_PHONE: &str = "/api/tenants/by-phone/123456789";

/// The character that stands at a place, or another one.
fn other(text: &str, at: usize) -> String {
    let mut bytes = text.as_bytes().to_vec();
    bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
    String::from_utf8(bytes).unwrap()
}

/// The same token with another secret, or another id, and the checksum that fits.
fn forged(token: &str, at: usize) -> String {
    const DIGITS: &[u8; 62] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let body = other(token, at)[..67].to_owned();
    let mut checksum = crc32fast::hash(body.as_bytes());
    let mut text = body;
    for _ in 0..6 {
        text.push(char::from(DIGITS[(checksum % 62) as usize]));
        checksum /= 62;
    }
    text
}

#[tokio::test]
async fn whatever_is_wrong_with_a_token_the_answer_is_one() {
    let Embedded { replica, admin, folder } = &Embedded::start().await;
    let data = [("DATA_DIR", folder.to_str().unwrap())];
    let good = make(&data, &["--scopes", "lookup:read,tenants:read"]).await;
    let revoked = mint(replica, admin, json!({"name": "n", "scopes": ["lookup:read"]})).await;
    let brief = make(&data, &["--scopes", "lookup:read", "--expires-in", "8s"]).await;
    for token in [&good, &revoked, &brief] {
        with(replica.get(BY_PHONE), token).await.expecting(200);
    }
    with(replica.delete(&format!("/api/tokens/{}", id_of(&revoked))), admin).await.expecting(200);
    eventually(DEADLINE, "it has expired", async || {
        with(replica.get(BY_PHONE), &brief).await.status == 401
    })
    .await;

    let expected = seen(&with(replica.get(BY_PHONE), "hunter2").await.expecting(401));
    assert_eq!(expected.2["code"], "invalid_token");
    let challenge = ("www-authenticate".to_owned(), "Bearer error=\"invalid_token\"".to_owned());
    assert!(expected.1.contains(&challenge), "{:?}", expected.1);
    let wrong = [
        ("revoked", revoked.clone()),
        ("expired", brief.clone()),
        ("another secret", forged(&good, 40)),
        ("another id", forged(&good, 10)),
        ("another checksum", other(&good, 70)),
        ("mistyped", other(&good, 40)),
        ("cut off", good[..72].to_owned()),
        ("too long", format!("{good}0")),
        ("another prefix", good.replace("live", "test")),
        ("nothing", String::new()),
    ];
    for (what, token) in &wrong {
        // Twice: what is not known is remembered as well.
        for path in [BY_PHONE, BY_PHONE, "/api/tenants", "/api/tenants/demo-tenant-001"] {
            let answer = with(replica.get(path), token).await;
            assert_eq!(seen(&answer), expected, "{what}: {path}");
        }
    }
    for (name, values) in
        [("another scheme", vec!["Basic dXNlcjpwYXNz"]), ("no scheme", vec![&*good])]
    {
        let call = values
            .iter()
            .fold(replica.get(BY_PHONE), |call, value| call.header("authorization", value));
        assert_eq!(seen(&call.await), expected, "{name}");
    }
    let twice = with(with(replica.get(BY_PHONE), &good), &good).await;
    assert_eq!(seen(&twice), expected, "which of them was meant?");

    // And the good one is good, however its scheme is written, in both ways that an answer goes.
    for scheme in ["Bearer", "bearer", "BEARER"] {
        for path in [BY_PHONE, "/api/tenants"] {
            let call = replica.get(path).header("authorization", &format!("{scheme} {good}"));
            call.await.expecting(200);
        }
    }
    nothing_of_a_secret(replica, &[&good, &revoked, &brief, admin]);
}

/// Whoever presents a wrong secret has not used the token.
#[tokio::test]
async fn a_wrong_secret_is_no_use_of_a_token() {
    let Embedded { replica, admin, .. } = &Embedded::start().await;
    let body = json!({"name": "n", "scopes": ["lookup:read"]});
    let (attacked, used) =
        (mint(replica, admin, body.clone()).await, mint(replica, admin, body).await);
    // In memory, and by the way that asks the database.
    for _ in 0..2 {
        with(replica.get(BY_PHONE), &forged(&attacked, 40)).await.expecting(401);
    }
    with(replica.get(BY_PHONE), &used).await.expecting(200);
    let last_use = async |token: &str| {
        let path = format!("/api/tokens/{}", id_of(token));
        with(replica.get(&path), admin).await.expecting(200).json()["last_used_at"].clone()
    };
    // They are written together.
    eventually(DEADLINE, "a use of the other one is noted", async || {
        last_use(&used).await.is_string()
    })
    .await;
    assert_eq!(last_use(&attacked).await, Value::Null);
}

/// The secrets of these tokens are in no log.
fn nothing_of_a_secret(replica: &Replica, tokens: &[&str]) {
    let log = replica.process.stdout.text() + &replica.process.stderr.text();
    for token in tokens {
        assert!(!log.contains(&token[24..67]), "the secret of {}", id_of(token));
    }
}

/// What anybody may do without a token does not make a bad one better.
#[tokio::test]
async fn a_bad_token_is_never_anonymous() {
    let replica = Replica::builder().env("ANONYMOUS_SCOPES", "all").start().await;
    let warmed = replica.get(BY_PHONE).await.expecting(200);
    assert_eq!(warmed.status, 200);
    replica.get(BY_PHONE).await.expecting(200);
    for token in ["hunter2", "ts_live_", ""] {
        for path in [BY_PHONE, "/api/tenants", "/api/tenants/demo-tenant-001/credentials/meta"] {
            let answer = with(replica.get(path), token).await.expecting(401);
            assert_eq!(answer.json()["code"], "invalid_token", "{path}");
        }
    }
    // And a good one is held to what it may do.
    let body = json!({"name": "n", "scopes": ["tenants:read"]});
    let token = replica.post_json("/api/tokens", &body).await.expecting(201).json();
    let token = token["token"].as_str().unwrap().to_owned();
    for _ in 0..2 {
        with(replica.get(BY_PHONE), &token).await.expecting(403);
    }
    with(replica.get("/api/tenants"), &token).await.expecting(200);
}

#[tokio::test]
async fn what_callers_without_a_token_may_do_is_told() {
    let open = Replica::builder().env("ANONYMOUS_SCOPES", "lookup:read").start().await;
    let metrics = open.metrics().await;
    let granted = |metrics: &crate::harness::Metrics, scope| {
        metrics.value("tenant_anonymous_scope", &[("scope", scope)])
    };
    assert!(granted(&metrics, "lookup:read") > 0.5);
    assert!(granted(&metrics, "credentials:reveal") < 0.5);
    let warns = |line: &Value| line["level"] == "WARN" && line["scopes"] == "lookup:read";
    open.wait_for_log(warns).await;
    let closed = closed().start().await;
    assert!(granted(&closed.metrics().await, "lookup:read") < 0.5);
    assert!(closed.logs().iter().all(|line| line["scopes"].is_null()));
}

#[tokio::test]
async fn a_token_has_a_rate_of_its_own() {
    let builder = closed().env("TOKEN_RATE_LIMIT_PER_SECOND", "1");
    let Embedded { replica, admin, .. } = &Embedded::with(builder).await;
    let body = json!({"name": "n", "scopes": ["tenants:write", "lookup:read"]});
    let hasty = mint(replica, admin, body).await;
    let refused = eventually(DEADLINE, "it asks too often", async || {
        // The body is not even looked at.
        let answer = with(replica.post_json("/api/tenants", &json!([])), &hasty).await;
        (answer.status == 429).then_some(answer).ok_or("it may")
    })
    .await;
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(refused.json()["code"], "rate_limited");
    eventually(DEADLINE, "and so it does of what is in memory", async || {
        with(replica.get(BY_PHONE), &hasty).await.status == 429
    })
    .await;
    eventually(DEADLINE, "after a second it may", async || {
        with(replica.get(BY_PHONE), &hasty).await.status == 200
    })
    .await;
}
