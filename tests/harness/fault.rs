//! What can go wrong, one thing at a time: caused, felt and undone.

use std::mem;
use std::time::Duration;

use serde_json::json;

use super::bed::{BOUND, Bed, DEADLINE, ask, follow};
use super::eventually::eventually;
use super::proxy::{Bytes, Direction, Link, Proxy};

/// The replica to which happens what happens to one alone.
const ONE: usize = 2;
/// A key that is on the master of Redis and not on its standby.
const LOST: &str = "written-before-the-failover";
const WRITES_LOST: usize = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    RedisKilled,
    RedisFlushed,
    RedisStalled,
    RedisHalfOpen,
    RedisFailover,
    PubSubCut,
    ListenDropped,
    PostgresRestarted,
    PostgresStalled,
    PostgresCut,
    ReplicaFrozen,
    ReplicaFrozenForLong,
    ReplicaKilled,
    BothBusesDead,
}

impl Fault {
    pub const ALL: [Self; 14] = [
        Self::RedisKilled,
        Self::RedisFlushed,
        Self::RedisStalled,
        Self::RedisHalfOpen,
        Self::RedisFailover,
        Self::PubSubCut,
        Self::ListenDropped,
        Self::PostgresRestarted,
        Self::PostgresStalled,
        Self::PostgresCut,
        Self::ReplicaFrozen,
        Self::ReplicaFrozenForLong,
        Self::ReplicaKilled,
        Self::BothBusesDead,
    ];

    /// How a table names it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RedisKilled => "Redis killed, restarted empty",
            Self::RedisFlushed => "Redis: FLUSHALL",
            Self::RedisStalled => "Redis stalled",
            Self::RedisHalfOpen => "Redis half-open: answers are lost",
            Self::RedisFailover => "Redis failover that loses writes",
            Self::PubSubCut => "Redis pub/sub cut",
            Self::ListenDropped => "LISTEN sessions ended",
            Self::PostgresRestarted => "Postgres restarted",
            Self::PostgresStalled => "Postgres stalled",
            Self::PostgresCut => "Postgres cut from one replica",
            Self::ReplicaFrozen => "a replica frozen and resumed",
            Self::ReplicaFrozenForLong => "a replica frozen for 30 s and resumed",
            Self::ReplicaKilled => "a replica killed and restarted",
            Self::BothBusesDead => "Redis and LISTEN both dead",
        }
    }

    /// How long it is to last: longer than the bound, after which all that was cached before it has
    /// to be given up.
    pub const fn lasts(self) -> Duration {
        match self {
            Self::ReplicaFrozenForLong => Duration::from_secs(30),
            _ => BOUND.saturating_mul(5).checked_div(2).expect("two is not zero"),
        }
    }

    /// Whether Redis is empty afterwards through the fault itself.
    pub const fn empties_redis(self) -> bool {
        matches!(self, Self::RedisKilled | Self::RedisFlushed)
    }

    /// Causes it.
    pub async fn cause(self, bed: &mut Bed) {
        match self {
            Self::RedisKilled => bed.redis.kill(),
            Self::RedisFlushed => ask(&bed.redis, &::redis::cmd("FLUSHALL")).await,
            Self::RedisStalled => every_redis(bed, |link| link.set(Link::Stall(Bytes::Kept))),
            Self::RedisHalfOpen => {
                every_redis(bed, |link| link.set(Link::HalfOpen(Direction::ToClient)));
            }
            Self::RedisFailover => fail_over(bed).await,
            Self::PubSubCut => every_redis(bed, |link| {
                link.set_push(Link::Refuse);
                link.cut_push();
            }),
            Self::ListenDropped => {
                assert_eq!(bed.database.terminate_listeners().await, bed.nodes.len());
            }
            Self::PostgresRestarted => bed.postgres.stop().await,
            Self::PostgresStalled => {
                bed.nodes.iter().for_each(|node| node.postgres.set(Link::Stall(Bytes::Kept)));
            }
            Self::PostgresCut => {
                bed.nodes[ONE].postgres.set(Link::Refuse);
                bed.nodes[ONE].postgres.cut();
            }
            Self::ReplicaFrozen | Self::ReplicaFrozenForLong => {
                bed.nodes[ONE].replica.freeze().await;
            }
            Self::ReplicaKilled => bed.nodes[ONE].replica.kill(),
            Self::BothBusesDead => {
                for node in &bed.nodes {
                    node.redis.set(Link::Refuse);
                    node.redis.cut();
                    node.postgres.set_push(Link::Refuse);
                    node.postgres.cut_push();
                }
            }
        }
    }

    /// Waits until it has the effect that it is meant to have.
    pub async fn is_felt(self, bed: &Bed) {
        let what = format!("{} is felt", self.name());
        eventually(DEADLINE, &what, async || self.look(bed).await).await;
    }

    async fn look(self, bed: &Bed) -> Result<(), String> {
        let all = 0..bed.nodes.len();
        match self {
            Self::RedisKilled | Self::RedisStalled | Self::RedisHalfOpen => {
                fed(bed, all, "redis", false).await
            }
            Self::RedisFlushed => match bed.redis.command_count("FLUSHALL").await {
                0 => Err("it was not flushed".to_owned()),
                _ => Ok(()),
            },
            Self::RedisFailover => {
                let exists: bool = ask(&bed.redis, ::redis::cmd("EXISTS").arg(LOST)).await;
                let number = ::redis::cmd("PUBSUB").arg("NUMSUB").arg("tenant_changes").to_owned();
                let (_, subscribed): (String, usize) = ask(&bed.redis, &number).await;
                if exists || subscribed < bed.nodes.len() {
                    return Err(format!("nothing lost: {exists}; subscribed: {subscribed}"));
                }
                Ok(())
            }
            Self::PubSubCut => {
                fed(bed, all, "redis", false).await?;
                for node in &bed.nodes {
                    if node.redis.open() == 0 || node.redis.open_push() > 0 {
                        return Err("not the subscriptions alone".to_owned());
                    }
                }
                Ok(())
            }
            Self::ListenDropped => Ok(()),
            Self::PostgresRestarted | Self::PostgresStalled => fed(bed, all, "poll", false).await,
            Self::PostgresCut => {
                fed(bed, 0..ONE, "poll", true).await?;
                fed(bed, ONE..ONE + 1, "poll", false).await
            }
            Self::ReplicaFrozen | Self::ReplicaFrozenForLong | Self::ReplicaKilled => {
                match bed.nodes[ONE].is_fed_by("poll").await {
                    Some(_) => Err("it answers".to_owned()),
                    None => Ok(()),
                }
            }
            Self::BothBusesDead => {
                fed(bed, all.clone(), "redis", false).await?;
                fed(bed, all.clone(), "notify", false).await?;
                fed(bed, all, "poll", true).await
            }
        }
    }

    /// Undoes it.
    pub async fn undo(self, bed: &mut Bed) {
        match self {
            Self::RedisKilled => bed.redis.restart().await,
            Self::RedisFlushed | Self::ListenDropped => {}
            Self::RedisFailover => {
                // What was the master comes back, and follows.
                bed.standby.restart().await;
                follow(&bed.standby, &bed.replication).await;
            }
            Self::PostgresRestarted => bed.postgres.start().await,
            Self::ReplicaFrozen | Self::ReplicaFrozenForLong => bed.nodes[ONE].replica.thaw(),
            Self::ReplicaKilled => bed.nodes[ONE].restart().await,
            Self::RedisStalled
            | Self::RedisHalfOpen
            | Self::PubSubCut
            | Self::PostgresStalled
            | Self::PostgresCut
            | Self::BothBusesDead => {
                for node in &bed.nodes {
                    node.redis.set(Link::Pass);
                    node.postgres.set(Link::Pass);
                }
            }
        }
    }
}

/// The standby, which has missed the last writes, becomes the master, and the master is gone.
async fn fail_over(bed: &mut Bed) {
    bed.replication.set(Link::Stall(Bytes::Lost));
    let () = ask(&bed.redis, ::redis::cmd("SET").arg(LOST).arg("")).await;
    // What these evict there is lost as well.
    for number in 0..WRITES_LOST {
        let name = json!({"name": format!("Lost {number}")});
        bed.nodes[0].replica.patch_json("/api/tenants/probe", &name).await.expecting(200);
    }
    let () = ask(&bed.standby, ::redis::cmd("REPLICAOF").arg("NO").arg("ONE")).await;
    bed.redis.kill();
    mem::swap(&mut bed.redis, &mut bed.standby);
    every_redis(bed, |link| {
        link.lead_to(bed.redis.port());
        link.cut();
    });
    // For the one that comes back.
    bed.replication.lead_to(bed.redis.port());
    bed.replication.set(Link::Pass);
    bed.replication.cut();
}

fn every_redis(bed: &Bed, treat: impl Fn(&Proxy)) {
    bed.nodes.iter().for_each(|node| treat(&node.redis));
}

/// Whether these replicas say of a source of changes that it is connected, or is not.
async fn fed(
    bed: &Bed,
    nodes: std::ops::Range<usize>,
    source: &str,
    wanted: bool,
) -> Result<(), String> {
    for node in &bed.nodes[nodes] {
        let found = node.is_fed_by(source).await;
        if found != Some(wanted) {
            return Err(format!("{:?}: {source} {found:?}", node.replica));
        }
    }
    Ok(())
}
