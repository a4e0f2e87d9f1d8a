//! What a new connection to Redis does before what is there is believed: what was not changed is
//! still a hit, and what was changed meanwhile is not served.

use std::collections::BTreeMap;

use ::redis::FromRedisValue;
use tenant_service::coherence::Snapshot;

use super::fleet::{DEADLINE, by_phone, connected, insert_tenants, phone, resolves, sees};
use crate::harness::bed::{ask, follow};
use crate::harness::proxy::{Bytes, Link};
use crate::harness::{Database, Postgres, Proxy, Redis, Replica, eventually};

/// Changed while nobody can revoke it.
const CHANGED: usize = 2;
/// Left as it is.
const LEFT: usize = 1;

/// A replica that fills Redis, one that has nothing in memory, and the network between both and a
/// server that has two tenants.
struct Rig {
    loader: Replica,
    reader: Replica,
    network: Proxy,
    database: Database,
    redis: Redis,
}

impl Rig {
    async fn start() -> Self {
        Self::on(Postgres::database().await, Redis::start().await).await
    }

    async fn on(database: Database, redis: Redis) -> Self {
        insert_tenants(&database, 2).await;
        let network = Proxy::before(&redis.url()).await;
        let builder = Replica::builder().database(&database).env("REDIS_URL", network.url());
        let replicas = builder.start_many(2).await;
        let [loader, reader]: [Replica; 2] = replicas.try_into().expect("two were asked for");
        let rig = Self { loader, reader, network, database, redis };
        rig.are_connected(true).await;
        for n in [LEFT, CHANGED] {
            resolves(&rig.loader, &by_phone(n), Some(&format!("t{n}"))).await;
            let what = "what was loaded is in Redis";
            eventually(DEADLINE, what, async || rig.entry(n).await.contains("\"id\"")).await;
        }
        rig
    }

    /// Waits until both replicas trust Redis, or do without.
    async fn are_connected(&self, wanted: bool) {
        let wanted = if wanted { "connected" } else { "disconnected" };
        for replica in [&self.loader, &self.reader] {
            eventually(DEADLINE, "Redis is trusted, or is not", async || {
                let found = replica.get_json("/health").await["redis"].clone();
                if found == wanted { Ok(()) } else { Err((wanted, found)) }
            })
            .await;
        }
    }

    async fn cut(&self) {
        self.network.set(Link::Refuse);
        self.network.cut();
        self.are_connected(false).await;
    }

    async fn join(&self) {
        self.network.set(Link::Pass);
        self.are_connected(true).await;
    }

    /// Gives the second tenant another name, as `psql` would.
    async fn change(&self) {
        let rename = format!("UPDATE tenants SET name = 'New' WHERE id = 't{CHANGED}'");
        self.database.execute(&rename).await;
    }

    /// Waits until both replicas have applied every change: nothing but an introduction revokes one
    /// that was applied without a connection.
    async fn have_read_the_log(&self) {
        let read = "SELECT bool_and(pg_visible_in_snapshot(xid, applied)) \
                    FROM tenant_changes, tenant_replicas";
        eventually(DEADLINE, "both have read the log", async || {
            self.database.scalar::<bool>(read).await
        })
        .await;
    }

    /// What the reader, which has nothing in memory, is told of a tenant, and from where.
    async fn reads(&self, n: usize) -> (String, String) {
        let answer = self.reader.get(&by_phone(n)).await.expecting(200);
        let name = answer.json()["name"].as_str().unwrap().to_owned();
        (name, answer.cache_status().to_owned())
    }

    /// What was filled before is a hit, and what was changed is not served.
    async fn has_kept_what_was_left(&self) {
        let expected = ("Tenant 1".into(), "tenant-service; hit; detail=l2".into());
        assert_eq!(self.reads(LEFT).await, expected);
        assert_eq!(self.reads(CHANGED).await, ("New".into(), "tenant-service; fwd=miss".into()));
    }

    /// Nothing of what was filled before is served.
    async fn has_kept_nothing(&self) {
        for (n, name) in [(LEFT, "Tenant 1"), (CHANGED, "New")] {
            assert_eq!(self.reads(n).await, (name.into(), "tenant-service; fwd=miss".into()));
        }
    }

    async fn tell<T: FromRedisValue>(&self, command: &[&str]) -> T {
        tell(&self.redis, command).await
    }

    /// The text under a tenant's key; none is empty.
    async fn entry(&self, n: usize) -> String {
        entry(&self.redis, n).await
    }

    async fn marker_key(&self) -> String {
        let keys: Vec<String> = self.tell(&["KEYS", "tenant-service:epoch:*"]).await;
        assert_eq!(keys.len(), 1, "{keys:?}");
        keys.into_iter().next().unwrap()
    }

    async fn marker(&self) -> BTreeMap<String, String> {
        self.tell(&["HGETALL", &self.marker_key().await]).await
    }

    async fn epoch(&self) -> String {
        self.marker().await["epoch"].clone()
    }

    /// Waits until the marker sees every change that there is.
    async fn marker_is_up(&self) {
        let last = "SELECT max(xid::text::bigint) FROM tenant_changes";
        let last = self.database.scalar::<i64>(last).await.unsigned_abs();
        eventually(DEADLINE, "the marker moves on", async || {
            let revoked: Snapshot = self.marker().await["revoked"].parse().unwrap();
            if revoked.sees(last) { Ok(()) } else { Err(revoked) }
        })
        .await;
    }

    /// Waits until a replica has begun an epoch for this reason. (The other one finds it.)
    async fn has_begun_an_epoch(&self, reason: &str) {
        eventually(DEADLINE, "an epoch is begun", async || {
            let lines = self.loader.logs().into_iter().chain(self.reader.logs());
            let reasons: Vec<_> = lines
                .filter(|line| {
                    line["message"] == "what Redis holds is not believed; a new epoch begins"
                })
                .map(|line| line["reason"].as_str().unwrap_or_default().to_owned())
                .collect();
            if reasons.iter().any(|r| r.contains(reason)) { Ok(()) } else { Err(reasons) }
        })
        .await;
    }
}

/// The text under a tenant's key on this server; none is empty.
async fn entry(redis: &Redis, n: usize) -> String {
    let text: Option<String> = tell(redis, &["GET", &format!("phone:{}", phone(n))]).await;
    text.unwrap_or_default()
}

async fn tell<T: FromRedisValue>(redis: &Redis, command: &[&str]) -> T {
    ask(redis, ::redis::cmd(command[0]).arg(&command[1..])).await
}

#[tokio::test]
async fn what_was_not_changed_is_still_there_after_a_cut() {
    let rig = Rig::start().await;
    let epoch = rig.epoch().await;
    rig.cut().await;
    rig.change().await;
    rig.have_read_the_log().await;
    assert!(rig.entry(CHANGED).await.contains("Tenant 2"), "nobody could revoke it");
    rig.join().await;
    rig.has_kept_what_was_left().await;
    assert_eq!(rig.epoch().await, epoch);
}

/// A replica that comes later finds what the others have filled.
#[tokio::test]
async fn a_restart_of_a_replica_empties_nothing() {
    let rig = Rig::start().await;
    let epoch = rig.epoch().await;
    let builder = Replica::builder().database(&rig.database).redis(&rig.redis);
    let late = builder.start().await;
    let answer = late.get(&by_phone(LEFT)).await.expecting(200);
    assert_eq!(answer.cache_status(), "tenant-service; hit; detail=l2");
    assert_eq!(rig.epoch().await, epoch);
}

#[tokio::test]
async fn after_a_restart_without_data_an_epoch_begins() {
    let rig = Rig::start().await;
    rig.cut().await;
    rig.redis.restart().await;
    rig.change().await;
    rig.join().await;
    rig.has_begun_an_epoch("no marker").await;
    rig.has_kept_nothing().await;
}

/// The old entries come back with the old marker, so what changed since it was written is revoked.
#[tokio::test]
async fn after_a_restart_from_an_old_snapshot_what_changed_since_is_revoked() {
    let rig = Rig::start().await;
    let epoch = rig.epoch().await;
    let _: String = rig.tell(&["SAVE"]).await;
    rig.change().await;
    let what = "it is revoked";
    eventually(DEADLINE, what, async || rig.entry(CHANGED).await.is_empty()).await;
    rig.marker_is_up().await;
    rig.network.set(Link::Refuse);
    rig.redis.restart().await;
    assert!(rig.entry(CHANGED).await.contains("Tenant 2"), "it is back");
    rig.are_connected(false).await;
    rig.join().await;
    rig.has_kept_what_was_left().await;
    assert_eq!(rig.epoch().await, epoch);
}

/// The server that takes over has missed the last revocations.
#[tokio::test]
async fn after_a_failover_that_lost_writes_they_are_revoked() {
    let at_once = ["--repl-diskless-sync-delay", "0"];
    let (master, standby) = tokio::join!(Redis::start_with(&at_once), Redis::start_with(&at_once));
    let replication = Proxy::before(&master.url()).await;
    follow(&standby, &replication).await;
    let mut rig = Rig::on(Postgres::database().await, master).await;
    let epoch = rig.epoch().await;
    let what = "the standby has everything so far";
    for n in [LEFT, CHANGED] {
        eventually(DEADLINE, what, async || entry(&standby, n).await.contains("\"id\"")).await;
    }
    replication.set(Link::Stall(Bytes::Lost));
    rig.change().await;
    let what = "it is revoked on the master";
    eventually(DEADLINE, what, async || rig.entry(CHANGED).await.is_empty()).await;
    rig.marker_is_up().await;

    rig.cut().await;
    let _: String = tell(&standby, &["REPLICAOF", "NO", "ONE"]).await;
    rig.redis.kill();
    rig.network.lead_to(standby.port());
    rig.redis = standby;
    assert!(rig.entry(CHANGED).await.contains("Tenant 2"), "it has missed that");
    rig.join().await;
    rig.has_kept_what_was_left().await;
    assert_eq!(rig.epoch().await, epoch);
}

#[tokio::test]
async fn where_the_log_is_too_short_an_epoch_begins() {
    let rig = Rig::start().await;
    rig.cut().await;
    rig.change().await;
    // A replica that has not read what is pruned would drop everything.
    rig.have_read_the_log().await;
    rig.database.execute("DELETE FROM tenant_changes").await;
    rig.join().await;
    rig.has_begun_an_epoch("pruned").await;
    rig.has_kept_nothing().await;
}

/// A table is emptied while nobody is connected: the log names no keys to revoke.
#[tokio::test]
async fn after_a_truncation_an_epoch_begins() {
    let rig = Rig::start().await;
    rig.cut().await;
    rig.database.execute("TRUNCATE tenants CASCADE").await;
    insert_tenants(&rig.database, 1).await;
    rig.database.execute("UPDATE tenants SET name = 'New'").await;
    rig.have_read_the_log().await;
    rig.join().await;
    rig.has_begun_an_epoch("emptied").await;
    assert_eq!(rig.reads(LEFT).await, ("New".into(), "tenant-service; fwd=miss".into()));
    rig.reader.get(&by_phone(CHANGED)).await.expecting(404);
}

/// The same while everybody is: the connection on which nothing can be revoked by name is dropped.
#[tokio::test]
async fn a_truncation_is_followed_by_another_epoch() {
    let rig = Rig::start().await;
    let epoch = rig.epoch().await;
    rig.database.execute("TRUNCATE tenants CASCADE").await;
    rig.has_begun_an_epoch("emptied").await;
    assert_ne!(rig.epoch().await, epoch);
    resolves(&rig.reader, &by_phone(LEFT), None).await;
    resolves(&rig.loader, &by_phone(LEFT), None).await;
    rig.are_connected(true).await;
}

/// What stands where the marker is looked for says nothing of the entries.
#[tokio::test]
async fn what_is_no_marker_of_this_log_is_replaced() {
    let rig = Rig::start().await;
    let key = rig.marker_key().await;
    let own = rig.marker().await;
    let (database, epoch) = (own["database"].as_str(), own["epoch"].as_str());
    let plants: [(&[&[&str]], &str); 5] = [
        (&[&["HSET", &key, "database", "another"]], "another database"),
        (&[&["HSET", &key, "timeline", "another"]], "crashed"),
        (&[&["HSET", &key, "revoked", "9000000000:9000000000:"]], "behind"),
        (&[&["HSET", &key, "revoked", "anything"]], "no marker"),
        (&[&["DEL", &key], &["SET", &key, epoch]], "no marker"),
    ];
    for (plant, reason) in plants {
        let before = rig.epoch().await;
        rig.cut().await;
        for command in plant {
            let _: ::redis::Value = rig.tell(command).await;
        }
        rig.join().await;
        rig.has_begun_an_epoch(reason).await;
        let now = rig.marker().await;
        assert_eq!(now["database"], database);
        assert_ne!(now["epoch"], before, "{reason}");
    }
}

/// After a flush those who stay connected go on, for they miss nothing; the next one to connect
/// begins an epoch, and then all of them share it.
#[tokio::test]
async fn after_a_flush_all_come_to_one_epoch() {
    let rig = Rig::start().await;
    let _: String = rig.tell(&["FLUSHALL"]).await;
    let builder = Replica::builder().database(&rig.database).redis(&rig.redis);
    let late = builder.start().await;
    late.get(&by_phone(LEFT)).await.expecting(200);
    let what = "what the late one has loaded is a hit for the others";
    eventually(DEADLINE, what, async || {
        // Evicted, so that the next read asks Redis.
        rig.database.execute("UPDATE tenants SET name = name || '.' WHERE id = 't1'").await;
        let name: String = rig.database.scalar("SELECT name FROM tenants WHERE id = 't1'").await;
        for replica in [&late, &rig.reader] {
            sees(replica, &by_phone(LEFT), "the new name", |a| {
                (a.json()["name"] == name.as_str()).then_some(())
            })
            .await;
        }
        let labels = [("tier", "l2"), ("kind", "phone"), ("outcome", "hit")];
        rig.reader.metrics().await.value("tenant_cache_requests_total", &labels) > 0.0
    })
    .await;
    rig.are_connected(true).await;
}

/// A replica that begins anew, and can't, has no cursor: what is committed now might be found by
/// nobody. So it trusts no connection until it has one; and it does begin anew in the end.
#[tokio::test]
async fn nothing_is_trusted_without_a_cursor() {
    let rig = Rig::start().await;
    rig.database
        .execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN RAISE EXCEPTION 'not now'; END $$",
        )
        .await;
    rig.database
        .execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON tenant_replicas FOR EACH ROW \
             WHEN (NEW.applied::text = '1:1:') EXECUTE FUNCTION refuse()",
        )
        .await;
    // As a crash does.
    rig.database.execute("UPDATE tenant_changes_incarnation SET incarnation = 'another'").await;
    for replica in [&rig.loader, &rig.reader] {
        replica.wait_for_log(|line| line["message"] == "starting over").await;
        connected(replica, "poll", false).await;
    }
    rig.are_connected(false).await;
    rig.change().await;
    for _ in 0..50 {
        assert_eq!(rig.reader.get_json("/health").await["redis"], "disconnected");
        assert_eq!(rig.reads(CHANGED).await.1, "tenant-service; fwd=bypass; detail=fenced");
    }
    rig.database.execute("DROP TRIGGER refuse ON tenant_replicas").await;
    rig.are_connected(true).await;
    for replica in [&rig.loader, &rig.reader] {
        connected(replica, "poll", true).await;
        let answer = replica.get(&by_phone(CHANGED)).await.expecting(200);
        assert_eq!(answer.json()["name"], "New");
    }
}
