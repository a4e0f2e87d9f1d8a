//! Redis' sentinels name another master: connections, entries and messages go there.

use std::sync::Arc;

use secrecy::SecretString;
use serde_json::json;
use tenant_service::cache::l2::{L2, Source};
use tenant_service::config::RedisServer;
use tenant_service::telemetry::logging::chain;

use super::fleet::{by_phone, connected, full, insert_tenants, put_token, resolves, sees};
use crate::harness::bed::{DEADLINE, ask};
use crate::harness::ports::free_port;
use crate::harness::redis::MASTER;
use crate::harness::replica::Builder;
use crate::harness::{
    Authority, Database, Postgres, Redis, Replica, Scratch, Sentinel, eventually,
};

const TENANTS: usize = 20;

/// Three replicas, and a master that has a replica of its own and a sentinel.
struct Rig {
    replicas: [Replica; 3],
    builder: Builder,
    _database: Database,
    sentinel: Sentinel,
    master: Redis,
    standby: Redis,
}

impl Rig {
    async fn start() -> Self {
        let at_once = ["--repl-diskless-sync-delay", "0"];
        let (master, standby) =
            tokio::join!(Redis::start_with(&at_once), Redis::start_with(&at_once));
        follow(&standby, &master).await;
        let sentinel = Sentinel::of(&master).await;
        let database = Postgres::database().await;
        insert_tenants(&database, TENANTS).await;
        // Nobody is at the first one: the next is asked.
        let url = format!(
            "redis+sentinel://127.0.0.1:{},127.0.0.1:{}/{MASTER}",
            free_port(),
            sentinel.port()
        );
        let builder = Replica::builder().database(&database).env("REDIS_URL", &url);
        let replicas = builder.start_many(3).await;
        let replicas: [Replica; 3] = replicas.try_into().expect("three were asked for");
        let rig = Self { replicas, builder, _database: database, sentinel, master, standby };
        rig.are_at(&rig.master).await;
        rig
    }

    /// Waits until every replica trusts this server, and is subscribed there.
    async fn are_at(&self, server: &Redis) {
        eventually(DEADLINE, "all are subscribed there", async || {
            let number = ::redis::cmd("PUBSUB").arg("NUMSUB").arg("tenant_changes").to_owned();
            let (_, subscribed): (String, usize) = ask(server, &number).await;
            if subscribed == self.replicas.len() { Ok(()) } else { Err(subscribed) }
        })
        .await;
        for replica in &self.replicas {
            connected(replica, "redis", true).await;
            eventually(DEADLINE, "Redis is trusted", async || {
                replica.get_json("/health").await["redis"] == "connected"
            })
            .await;
        }
    }

    /// Reads every tenant on every replica, so that all of them are in memory and in Redis.
    async fn warm_up(&self) {
        for replica in &self.replicas {
            for n in 1..=TENANTS {
                resolves(replica, &by_phone(n), Some(&format!("t{n}"))).await;
            }
        }
    }

    /// Every write of one replica becomes the answer of all, and what one of them loads, another one
    /// finds in Redis.
    async fn works_at(&self, server: &Redis) {
        for n in 1..=TENANTS {
            let (writer, reader) = (&self.replicas[n % 3], &self.replicas[(n + 1) % 3]);
            let token = format!("made-up-token-{n}");
            put_token(writer, n, &token).await;
            for replica in &self.replicas {
                sees(replica, &full(n), "the new token", |answer| {
                    (answer.json()["access_token"] == token.as_str()).then_some(())
                })
                .await;
            }
            reader.get(&by_phone(n)).await.expecting(200);
        }
        eventually(DEADLINE, "what one replica loads is a hit of Redis on another", async || {
            let name = format!("Name {}", fastrand::u64(..));
            let patch = json!({"name": name});
            self.replicas[0].patch_json("/api/tenants/t1", &patch).await.expecting(200);
            let mut from_redis = 0;
            for replica in &self.replicas {
                let is_new = |answer: &crate::harness::Answer| {
                    (answer.json()["name"] == name.as_str())
                        .then(|| answer.cache_status().to_owned())
                };
                let status = sees(replica, &by_phone(1), "the new name", is_new).await;
                from_redis += usize::from(status.ends_with("detail=l2"));
            }
            from_redis > 0
        })
        .await;
        let entry: Option<String> = ask(server, ::redis::cmd("GET").arg("phone:10001")).await;
        assert!(entry.is_some_and(|entry| entry.contains("\"id\":\"t1\"")), "it is on this server");
    }
}

/// Has one server copy the other, from now on.
async fn follow(standby: &Redis, master: &Redis) {
    let command = ::redis::cmd("REPLICAOF").arg("127.0.0.1").arg(master.port()).to_owned();
    let _: ::redis::Value = ask(standby, &command).await;
    eventually(DEADLINE, "the standby follows", async || {
        let info: String = ask(standby, ::redis::cmd("INFO").arg("replication")).await;
        info.contains("master_link_status:up")
    })
    .await;
}

/// What is written while there is no master is revoked on the next one, whose entries are of before.
#[tokio::test]
async fn the_master_dies_and_another_takes_its_place() {
    let rig = Rig::start().await;
    rig.warm_up().await;
    rig.works_at(&rig.master).await;
    rig.master.kill();
    for n in 1..=TENANTS {
        let patch = json!({"name": format!("Meanwhile {n}")});
        let write = rig.replicas[n % 3].patch_json(&format!("/api/tenants/t{n}"), &patch);
        write.await.expecting(200);
    }
    rig.sentinel.switches_from(rig.master.port()).await;
    rig.are_at(&rig.standby).await;
    let late = rig.builder.start().await;
    for n in 1..=TENANTS {
        let answer = late.get(&by_phone(n)).await.expecting(200);
        assert_eq!(answer.json()["name"], format!("Meanwhile {n}"));
    }
    rig.works_at(&rig.standby).await;
}

/// The old master lives on and keeps its connections, those of the subscriptions too.
#[tokio::test]
async fn a_master_that_was_demoted_is_left() {
    let rig = Rig::start().await;
    rig.warm_up().await;
    rig.sentinel.fail_over().await;
    follow(&rig.master, &rig.standby).await;
    rig.are_at(&rig.standby).await;
    rig.works_at(&rig.standby).await;
}

/// The sentinels may want a password: it is the server's.
#[tokio::test]
async fn a_password_is_for_server_and_sentinels() {
    let master = Redis::start().await;
    let sentinel = Sentinel::of(&master).await;
    let server = |user: &str| RedisServer::Sentinels {
        urls: vec![SecretString::from(format!("redis://{user}127.0.0.1:{}/0", sentinel.port()))],
        master: MASTER.to_owned(),
    };
    let connects = async |user: &str| {
        let l2 = Arc::new(L2::new(Source::configured(&server(user)).unwrap(), "", "database"));
        l2.connect().await.map(drop)
    };
    connects("").await.unwrap();
    let protect = ["SET", "requirepass", "made-up-password"];
    let () = ask(&master, ::redis::cmd("CONFIG").arg(&protect)).await;
    connects("").await.unwrap_err();
    connects(":made-up-password@").await.unwrap();
    let protect = ["SETUSER", "default", "resetpass", ">made-up-password"];
    let protect = ::redis::cmd("ACL").arg(&protect).to_owned();
    let () = protect.query_async(&mut sentinel.connection().await).await.unwrap();
    connects("").await.unwrap_err();
    connects(":another@").await.unwrap_err();
    connects(":made-up-password@").await.unwrap();
}

/// Sentinels and servers that speak TLS are who the authority says, and are spoken to in no other way.
#[tokio::test]
async fn sentinels_over_tls_lead_to_a_server_over_tls() {
    let (authority, folder) = (Authority::new(), Scratch::new("tls"));
    let (ca, pair) = (
        authority.write(&folder.join("ca.pem")),
        authority.issue(&["localhost", "127.0.0.1"], &folder, "redis"),
    );
    let (_master, url) = Redis::start_with_tls(&pair).await;
    let (_sentinel, sentinel) = Sentinel::over_tls(&url, &pair, &ca).await;
    let server = |url: String| RedisServer::Sentinels {
        urls: vec![SecretString::from(format!("{url}/0"))],
        master: MASTER.to_owned(),
    };
    let connects = async |url: String, authority: &Authority| {
        let source = Source::configured(&server(url)).unwrap();
        let source = source.trusting(authority.pem().as_bytes()).unwrap();
        Arc::new(L2::new(source, "", "database")).connect().await.map(drop)
    };
    // The sentinel has not yet heard from the master when it starts.
    eventually(DEADLINE, "the master is reached over TLS", async || {
        connects(sentinel.clone(), &authority).await
    })
    .await;
    let told = connects(sentinel.clone(), &Authority::new()).await.unwrap_err();
    assert!(chain(&told).contains("certificate"), "{told:?}");
    let plain = server(sentinel.replace("rediss://", "redis://"));
    let refused = Source::configured(&plain).unwrap().trusting(authority.pem().as_bytes());
    assert!(refused.unwrap_err().to_string().contains("not reached over TLS"));
}

/// What is believed is believed on one connection, and a Cluster's client needs several.
#[tokio::test]
async fn a_node_of_a_cluster_is_refused() {
    let node = Redis::start_with(&["--cluster-enabled", "yes"]).await;
    let database = Postgres::database().await;
    let replica = Replica::builder().database(&database).redis(&node).start().await;
    let line = replica
        .wait_for_log(|line| line["message"] == "Redis is out of reach; serving without it")
        .await;
    assert!(line["error"].as_str().unwrap().contains("node of a Redis Cluster"), "{line}");
    assert_eq!(replica.get_json("/health").await["redis"], "disconnected");
}
