//! Without a database a token that is in memory is good for look-ups, and for nothing else.

use serde_json::json;

use super::{admin_of, closed, mint, with};
use crate::coherence::fleet::{DEADLINE, by_phone, full, insert_tenants, stands};
use crate::coherence::outage::is_stale;
use crate::harness::{Postgres, eventually};

#[tokio::test]
async fn without_postgres_a_token_is_good_for_look_ups_alone() {
    let server = Postgres::own_cluster().await;
    let database = server.database().await;
    insert_tenants(&database, 2).await;
    let admin = admin_of(&database).await;
    let builder = closed().database(&database).env("STALENESS_BOUND_MS", "1000");
    let replica = builder.env("POLL_INTERVAL_MS", "100").start().await;
    let limited = json!({"name": "n", "scopes": ["lookup:read"], "tenants": ["t1"]});
    let limited = mint(&replica, &admin, limited).await;
    let unused = mint(&replica, &admin, json!({"name": "n", "scopes": ["lookup:read"]})).await;
    for n in [1, 2] {
        with(replica.get(&by_phone(n)), &admin).await.expecting(200);
        with(replica.get(&full(n)), &admin).await.expecting(200);
    }
    with(replica.get("/api/tenants/t1"), &admin).await.expecting(200);
    with(replica.get(&by_phone(1)), &limited).await.expecting(200);
    stands(&replica, 200, "ready").await;

    server.stop().await;
    eventually(DEADLINE, "answers are labelled", async || {
        is_stale(&with(replica.get(&by_phone(1)), &admin).await)
    })
    .await;
    stands(&replica, 200, "stale").await;
    assert!(is_stale(&with(replica.get(&by_phone(1)), &limited).await.expecting(200)));
    // Another tenant's looks absent, and as old as it may be.
    assert!(is_stale(&with(replica.get(&by_phone(2)), &limited).await.expecting(404)));
    let body = json!({"type": "whatsapp", "credentials": {"access_token": "a-made-up-token"}});
    for answer in [
        with(replica.get(&full(1)), &admin).await,
        with(replica.get("/api/tenants/t1"), &admin).await,
        with(replica.get("/api/tenants"), &admin).await,
        with(replica.get("/api/tokens"), &admin).await,
        with(replica.put_json("/api/tenants/t1/credentials", &body), &admin).await,
        with(replica.post_json("/api/tokens", &json!({})), &admin).await,
        // Whether it is one, nobody knows at present.
        with(replica.get(&by_phone(1)), &unused).await,
    ] {
        let answer = answer.expecting(503);
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(answer.json()["code"], "unavailable");
    }
    with(replica.get(&by_phone(1)), "hunter2").await.expecting(401);
    replica.get(&by_phone(1)).await.expecting(401);

    server.start().await;
    stands(&replica, 200, "ready").await;
    for token in [&admin, &unused] {
        with(replica.get(&by_phone(1)), token).await.expecting(200);
    }
    with(replica.get(&full(1)), &admin).await.expecting(200);
}
