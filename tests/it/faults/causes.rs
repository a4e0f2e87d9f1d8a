//! Each fault does what it says, which the replicas feel, and is gone once it is undone.

use crate::harness::bed::Bed;
use crate::harness::fault::Fault;

async fn comes_and_goes(faults: &[Fault]) {
    let mut bed = Bed::start().await;
    for fault in faults {
        fault.cause(&mut bed).await;
        fault.is_felt(&bed).await;
        fault.undo(&mut bed).await;
        bed.is_whole().await;
    }
}

#[tokio::test]
async fn of_redis() {
    comes_and_goes(&[Fault::RedisFlushed, Fault::RedisStalled, Fault::RedisHalfOpen]).await;
}

/// Twice, for the servers change places; then what has become of the other one is killed.
#[tokio::test]
async fn of_the_servers_of_redis() {
    comes_and_goes(&[Fault::RedisFailover, Fault::RedisFailover, Fault::RedisKilled]).await;
}

#[tokio::test]
async fn of_the_ways_on_which_changes_are_told() {
    comes_and_goes(&[Fault::PubSubCut, Fault::ListenDropped, Fault::BothBusesDead]).await;
}

#[tokio::test]
async fn of_postgres() {
    comes_and_goes(&[Fault::PostgresRestarted, Fault::PostgresStalled, Fault::PostgresCut]).await;
}

#[tokio::test]
async fn of_a_replica() {
    comes_and_goes(&[Fault::ReplicaFrozen, Fault::ReplicaKilled]).await;
}
