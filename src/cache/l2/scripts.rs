//! The Lua scripts, and the calls of them. Each is one step on the server.

use std::sync::LazyLock;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, RedisError, RedisResult, Script, Value};

use super::marker::{self, Found};
use super::{L2Read, LEASE_LIFE, codec};
use crate::coherence::Marker;

static GET_OR_LEASE: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/get_or_lease.lua")));
static FILL: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/fill.lua")));
static RELEASE: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/release.lua")));
static REVOKE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/revoke.lua")));
static READ_MARKER: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/read_marker.lua")));
static REPLACE_MARKER: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/replace_marker.lua")));
static ADVANCE_MARKER: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/advance_marker.lua")));

/// The right to fill one key once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The text that stands under the key while the lease does.
    placeholder: String,
    /// The epoch in which it was taken, and that the value will be tagged with.
    pub(super) epoch: String,
}

/// Has the server know the scripts, so that each call sends only their hash.
pub async fn load(connection: &mut MultiplexedConnection) -> RedisResult<()> {
    let entries = [&GET_OR_LEASE, &FILL, &RELEASE, &REVOKE];
    for script in entries.into_iter().chain([&READ_MARKER, &REPLACE_MARKER, &ADVANCE_MARKER]) {
        script.load_async(connection).await?;
    }
    Ok(())
}

pub async fn get_or_lease(
    mut connection: MultiplexedConnection,
    name: String,
    epoch: String,
) -> RedisResult<L2Read> {
    let answer: Vec<String> = GET_OR_LEASE
        .key(&name)
        .arg(&epoch)
        .arg(token())
        .arg(millis(LEASE_LIFE))
        .invoke_async(&mut connection)
        .await?;
    let mut answer = answer.into_iter();
    match (answer.next().as_deref(), answer.next()) {
        (Some("hit"), Some(text)) => match codec::decode(&text) {
            Some(document) => Ok(L2Read::Hit(document)),
            // Of this epoch and yet not ours to read: another version's, which can.
            None => Ok(L2Read::Unreadable),
        },
        (Some("busy"), ..) => Ok(L2Read::Busy),
        (Some("lease"), Some(placeholder)) => Ok(L2Read::Lease(Lease { placeholder, epoch })),
        _ => Err(RedisError::from((ErrorKind::UnexpectedReturnType, "unexpected script result"))),
    }
}

pub async fn fill(
    mut connection: MultiplexedConnection,
    name: String,
    lease: &Lease,
    value: String,
    ttl: Duration,
) -> RedisResult<bool> {
    FILL.key(name)
        .arg(&lease.placeholder)
        .arg(value)
        .arg(millis(ttl))
        .invoke_async(&mut connection)
        .await
}

pub async fn release(
    mut connection: MultiplexedConnection,
    name: String,
    lease: &Lease,
) -> RedisResult<()> {
    RELEASE.key(name).arg(&lease.placeholder).invoke_async(&mut connection).await
}

pub async fn revoke(
    mut connection: MultiplexedConnection,
    names: Vec<String>,
    epoch: &str,
) -> RedisResult<Vec<bool>> {
    let mut pipeline = redis::pipe();
    for name in names {
        pipeline.cmd("EVALSHA").arg(REVOKE.get_hash()).arg(1).arg(name).arg(epoch);
    }
    let answers: Vec<Value> = pipeline.query_async(&mut connection).await?;
    answers.into_iter().map(|answer| Ok(redis::from_redis_value(answer)?)).collect()
}

pub async fn read_marker(mut connection: MultiplexedConnection, key: &str) -> RedisResult<Found> {
    READ_MARKER.key(key).invoke_async(&mut connection).await.map(Found)
}

/// Says whether what was found was still there, and so was replaced.
pub async fn replace_marker(
    mut connection: MultiplexedConnection,
    key: &str,
    found: &Found,
    marker: &Marker,
) -> RedisResult<bool> {
    let (found, fields) = (&found.0[..], marker::fields(marker));
    REPLACE_MARKER.key(key).arg(found).arg(&fields[..]).invoke_async(&mut connection).await
}

pub async fn advance_marker(
    mut connection: MultiplexedConnection,
    key: &str,
    marker: &Marker,
) -> RedisResult<()> {
    let fields = marker::fields(marker);
    ADVANCE_MARKER.key(key).arg(&fields[..]).invoke_async(&mut connection).await
}

/// Unique among all replicas.
pub fn token() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1)
}
