//! What may be believed: of Redis after a connection was made, of a message, of a log.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tenant_service::cache::Document;
use tenant_service::cache::l2::{L2, L2Read, connect_info};

use super::fleet::{Fleet, by_phone, connected, full, insert_tenants, put_token, resolves, sees};
use super::gate::Gate;
use crate::harness::{Postgres, Redis, Replica};

/// A connection is being made: its epoch has begun on the server, and the replica does not know yet.
/// Others fill in that epoch already, so a revocation that is skipped now must not be followed by
/// trust in this connection.
#[tokio::test]
async fn no_revocation_is_lost_while_redis_is_being_connected() {
    let redis = Redis::start().await;
    let gate = Gate::before(&redis.url()).await;
    let client = ::redis::Client::open(connect_info(gate.url()).unwrap()).unwrap();
    let l2 = Arc::new(L2::new(client, "", "database"));
    gate.hold_next("tenant-service:epoch");
    let connecting = tokio::spawn({
        let l2 = Arc::clone(&l2);
        async move { l2.connect().await }
    });
    gate.held().await;
    assert!(!l2.is_connected(), "an epoch that may not have begun is not trusted");
    let revoking = tokio::spawn({
        let l2 = Arc::clone(&l2);
        async move { l2.revoke(&["phone:1".parse().unwrap()]).await }
    });
    tokio::task::yield_now().await;
    gate.release();
    let skipped = matches!(revoking.await.unwrap(), Ok(None));
    let trusted = connecting.await.unwrap().is_ok();
    assert!(!(skipped && trusted));
}

/// The URL of one replica leads to another database now. What it fills from there is nothing for a
/// replica that has not noticed.
#[tokio::test]
async fn two_databases_share_no_entry() {
    let redis = Redis::start().await;
    let connect = async || {
        let client = ::redis::Client::open(connect_info(&redis.url()).unwrap()).unwrap();
        let l2 = L2::new(client, "", "old");
        l2.connect().await.unwrap();
        l2
    };
    let (first, second) = (connect().await, connect().await);
    first.start_over("new");
    assert!(!first.is_connected(), "nobody knows what was missed on this connection");
    first.connect().await.unwrap();
    let key = "phone:1".parse().unwrap();
    let L2Read::Lease(lease) = first.get_or_lease(&key).await.unwrap() else { panic!("empty") };
    let document = Document::new(b"{\"id\":\"new\"}".to_vec(), 1);
    assert!(first.fill(&key, &lease, Some(&document), Duration::from_mins(1)).await.unwrap());
    assert!(matches!(first.get_or_lease(&key).await.unwrap(), L2Read::Hit(Some(_))));
    assert!(matches!(second.get_or_lease(&key).await.unwrap(), L2Read::Lease(_)));
}

/// Whoever can publish can make up messages. They may cost evictions and polls; they must not keep
/// a real change from being applied.
#[tokio::test]
async fn made_up_messages_hide_no_change() {
    let fleet = Fleet::start().await;
    let [writer, others @ ..] = &fleet.replicas;
    insert_tenants(&fleet.database, 1).await;
    for replica in &fleet.replicas {
        sees(replica, &full(1), "the token", |a| (a.status == 200).then_some(())).await;
    }
    let client = ::redis::Client::open(fleet.redis.url()).unwrap();
    let mut subscription = client.get_async_pubsub().await.unwrap();
    subscription.subscribe("tenant_changes").await.unwrap();
    put_token(writer, 1, "second-made-up-token").await;
    let real: String = {
        let mut messages = subscription.on_message();
        futures_util::StreamExt::next(&mut messages).await.unwrap().get_payload().unwrap()
    };
    let real: Value = serde_json::from_str(&real).unwrap();
    assert!(!real.to_string().contains("second-made-up-token"), "a message carries no value");

    let mut connection = fleet.redis.connection().await;
    let publish = async |connection: &mut ::redis::aio::MultiplexedConnection, text: String| {
        let publish = ::redis::cmd("PUBLISH").arg("tenant_changes").arg(text).to_owned();
        let heard: i64 = publish.query_async(connection).await.unwrap();
        assert!(heard >= 3);
    };
    for ahead in 1..=100 {
        let mut forged = real.clone();
        let change = &real["changes"][0];
        forged["changes"][0]["seq"] = json!(change["seq"].as_i64().unwrap() + ahead);
        forged["changes"][0]["keys"] = json!([]);
        forged["origin"] = json!("somebody");
        publish(&mut connection, forged.to_string()).await;
        // Of another database, with the keys of ours.
        forged["database"] = json!("another");
        forged["changes"][0]["keys"] = change["keys"].clone();
        publish(&mut connection, forged.to_string()).await;
    }
    for text in ["", "{", "poll", "[]", "{\"seq\": 1}"] {
        publish(&mut connection, text.to_owned()).await;
    }
    for token in ["third-made-up-token", "fourth-made-up-token"] {
        put_token(writer, 1, token).await;
        for replica in others {
            sees(replica, &full(1), "the real change", |answer| {
                (answer.json()["access_token"] == token).then_some(())
            })
            .await;
        }
    }
}

/// A server that crashed may give transaction ids again that a replica has seen as decided.
#[tokio::test]
async fn after_a_crash_of_postgres_everything_is_dropped_and_after_a_restart_nothing() {
    const DROPPED: &str = "starting over";
    let server = Postgres::own_cluster().await;
    let database = server.database().await;
    insert_tenants(&database, 1).await;
    let replica = Replica::builder().database(&database).start().await;
    resolves(&replica, &by_phone(1), Some("t1")).await;
    let dropped = || replica.logs().iter().filter(|line| line["message"] == DROPPED).count();

    server.stop().await;
    connected(&replica, "poll", false).await;
    server.start().await;
    connected(&replica, "poll", true).await;
    assert_eq!(dropped(), 0);
    let cached = replica.get(&by_phone(1)).await.expecting(200);
    assert_eq!(cached.cache_status(), "tenant-service; hit; detail=l1");

    server.crash().await;
    server.start().await;
    replica.wait_for_log(|line| line["message"] == DROPPED).await;
    connected(&replica, "poll", true).await;
    database.execute("UPDATE tenants SET name = 'New' WHERE id = 't1'").await;
    sees(&replica, &by_phone(1), "a change after the crash", |answer| {
        (answer.status == 200 && answer.json()["name"] == "New").then_some(())
    })
    .await;
    assert_eq!(dropped(), 1, "once");
}
