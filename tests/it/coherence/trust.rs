//! What may be believed: of Redis after a connection was made, of a message, of a log.

use std::time::Duration;

use serde_json::{Value, json};
use tenant_service::cache::Document;
use tenant_service::cache::l2::L2Read;
use tenant_service::coherence::Epoch;

use super::fleet::{Fleet, by_phone, connected, full, insert_tenants, put_token, resolves, sees};
use super::tier::{cursor, tier, trusts};
use crate::harness::{Postgres, Redis, Replica};

/// Others fill in the epoch that a connection will be trusted for. So what is revoked from its
/// beginning on is revoked over it, and one that missed something is never trusted.
#[tokio::test]
async fn no_revocation_is_lost_while_redis_is_being_connected() {
    let redis = Redis::start().await;
    let l2 = tier(&redis, "database");
    let keys = ["phone:1".parse().unwrap()];
    assert!(l2.revoke(&keys).await.unwrap().is_none(), "there is no connection yet");
    let link = l2.connect().await.unwrap();
    let found = link.read_marker().await.unwrap();
    let epoch = link.begin_epoch(&found, &cursor("database", 0)).await.unwrap().unwrap();
    assert!(!l2.is_connected(), "what it missed was not revoked yet");
    assert!(l2.revoke(&keys).await.unwrap().is_some());
    redis.pause().await;
    l2.revoke(&keys).await.unwrap_err();
    redis.resume();
    link.trust(epoch.clone()).unwrap_err();
    assert!(!l2.is_connected());

    let link = l2.connect().await.unwrap();
    link.trust(epoch).unwrap();
    assert!(l2.is_connected());
    drop(l2.connect().await.unwrap());
    assert!(!l2.is_connected(), "one that is not introduced ends");
}

/// Of several that find nothing to go on from, one begins an epoch, and the others find it.
#[tokio::test]
async fn one_epoch_is_begun_at_a_time() {
    let redis = Redis::start().await;
    let (first, second) = (tier(&redis, "database"), tier(&redis, "database"));
    let links = (first.connect().await.unwrap(), second.connect().await.unwrap());
    let found = (links.0.read_marker().await.unwrap(), links.1.read_marker().await.unwrap());
    let at = cursor("database", 0);
    let epoch = links.0.begin_epoch(&found.0, &at).await.unwrap().unwrap();
    assert_eq!(links.1.begin_epoch(&found.1, &at).await.unwrap(), None);
    assert_eq!(links.1.read_marker().await.unwrap().marker().unwrap().epoch, epoch);
}

/// A marker moves by whoever trusts its very epoch; one of another epoch, or none, stays as it is.
#[tokio::test]
async fn a_marker_moves_in_its_own_epoch_alone() {
    const KEY: &str = "tenant-service:epoch:database";
    let redis = Redis::start().await;
    let l2 = tier(&redis, "database");
    let at = cursor("database", 9);
    let link = l2.connect().await.unwrap();
    l2.advance_marker(&at).await.unwrap_err();
    link.leave_untrusted();
    l2.advance_marker(&at).await.unwrap_err();
    trusts(&l2, "database").await;
    let mut connection = redis.connection().await;
    let mut ask = async |command: &[&str]| -> Option<String> {
        let mut cmd = ::redis::cmd(command[0]);
        cmd.arg(&command[1..]).query_async(&mut connection).await.unwrap()
    };
    assert_eq!(ask(&["HGET", KEY, "revoked"]).await.unwrap(), "1:1:");
    l2.advance_marker(&at).await.unwrap();
    assert_eq!(ask(&["HGET", KEY, "revoked"]).await.unwrap(), "10:10:");
    ask(&["HSET", KEY, "epoch", "another", "revoked", "5:5:"]).await;
    l2.advance_marker(&at).await.unwrap();
    assert_eq!(ask(&["HGET", KEY, "revoked"]).await.unwrap(), "5:5:");
    ask(&["DEL", KEY]).await;
    l2.advance_marker(&at).await.unwrap();
    assert_eq!(ask(&["HGET", KEY, "revoked"]).await, None);
    ask(&["SET", KEY, "of-a-former-version"]).await;
    l2.advance_marker(&at).await.unwrap();
    assert_eq!(ask(&["GET", KEY]).await.unwrap(), "of-a-former-version");
}

/// The URL of one replica leads to another database now. What it fills from there is nothing for a
/// replica that has not noticed.
#[tokio::test]
async fn two_databases_share_no_entry() {
    let redis = Redis::start().await;
    let (first, second) = (tier(&redis, "old"), tier(&redis, "old"));
    trusts(&first, "old").await;
    trusts(&second, "old").await;
    first.disconnect();
    assert!(!first.is_connected(), "nobody knows what was missed on this connection");
    first.follow("new");
    trusts(&first, "new").await;
    let (key, noted) = ("phone:1".parse().unwrap(), Epoch::default());
    let leased = first.get_or_lease(&key, noted).await.unwrap();
    let L2Read::Lease(lease) = leased else { panic!("empty") };
    let document = Document::new(b"{\"id\":\"new\"}".to_vec(), 1);
    assert!(first.fill(&key, &lease, Some(&document), Duration::from_mins(1)).await.unwrap());
    assert!(matches!(first.get_or_lease(&key, noted).await.unwrap(), L2Read::Hit(Some(_))));
    assert!(matches!(second.get_or_lease(&key, noted).await.unwrap(), L2Read::Lease(_)));
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
