//! Reads whatever there is, from one replica.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use tokio::time::sleep;

use super::pace::Pace;
use super::wire::{Cache, Connection};
use super::{Event, Shared};
use crate::harness::history::Read;
use crate::harness::process::lock;

/// After a request without an answer: a replica that is away would otherwise be asked all the time.
const BREATH: Duration = Duration::from_millis(20);

pub async fn run(shared: Arc<Shared>, reader: usize, mut rng: Rng) {
    let replica = reader % shared.addresses.len();
    let mut connection = Connection::to(&shared.addresses[replica]);
    let mut pace = Pace::share(shared.settings.reads_a_second, shared.reads.len());
    while !shared.has_ended() {
        pace.turn().await;
        let targets = shared.targets[rng.usize(..shared.targets.len())].load_full();
        // An owner's, before the owner has begun.
        let Some(target) = rng.choice(&*targets) else {
            tokio::task::yield_now().await;
            continue;
        };
        let invoked = shared.now();
        let Ok(answer) = connection.ask(&target.request).await else {
            shared.counters.count(Event::ReadFailed);
            sleep(BREATH).await;
            continue;
        };
        let completed = shared.now();
        if answer.status >= 500 {
            shared.counters.count(Event::ReadFailed);
            continue;
        }
        let Some(state) = target.state(&answer) else {
            shared.is_odd(|| format!("{}: {answer:?}", String::from_utf8_lossy(&target.request)));
            continue;
        };
        shared.counters.count(Event::Read(answer.cache));
        let is_stale = answer.cache == Cache::Stale;
        let replica = u8::try_from(replica).unwrap_or(u8::MAX);
        lock(&shared.reads[reader]).push(Read {
            key: target.key,
            replica,
            invoked,
            completed,
            state,
            is_stale,
        });
    }
}
