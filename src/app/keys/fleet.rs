//! The replicas that are alive, and the keys that they hold.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::bail;
use tokio::time::{Instant, sleep};

use super::progress::say;
use crate::cache::clock;
use crate::coherence::{Bound, Census, Instance};
use crate::store::{Replica, Store, StoreResult};

/// How often the rows are read.
const LOOK: Duration = Duration::from_millis(250);
/// How often it is said again for whom it waits.
const SAID_EVERY: Duration = Duration::from_secs(10);

/// Reads the table of replicas again and again. Who does not renew its row is dead: it may come
/// back (it was frozen), and then finds out about the keys before it serves from its cache.
pub(super) struct Fleet<'a> {
    store: &'a dyn Store,
    census: Census,
}

impl<'a> Fleet<'a> {
    pub fn of(store: &'a dyn Store) -> Self {
        Self { store, census: Census::default() }
    }

    /// Those that are not known to be dead.
    pub async fn alive(&mut self) -> StoreResult<Vec<Replica>> {
        let mut replicas = self.store.replicas().await?.replicas;
        let rows = replicas.iter();
        let rows = rows.map(|row| (&row.instance, row.renewals, Bound::of(row.bound)));
        let dead = self.census.take(rows, clock::now());
        let dead: BTreeSet<Instance> = dead.into_iter().map(|(instance, _)| instance).collect();
        replicas.retain(|replica| !dead.contains(&replica.instance));
        Ok(replicas)
    }

    /// Waits until `done` holds of every replica, and says who it waits for to do `what`.
    ///
    /// # Errors
    /// The database is out of reach, or it took longer than `patience`; the message then ends with
    /// `advice`.
    pub async fn until_all(
        &mut self,
        (what, advice): (&str, &str),
        patience: Duration,
        done: impl Fn(&Replica) -> bool,
    ) -> anyhow::Result<usize> {
        let (began, mut said) = (Instant::now(), None::<(Instant, Vec<String>)>);
        loop {
            let alive = self.alive().await?;
            let late: Vec<String> = alive
                .iter()
                .filter(|replica| !done(replica))
                .map(|replica| replica.instance.clone())
                .collect();
            if late.is_empty() {
                return Ok(alive.len());
            }
            if began.elapsed() > patience {
                bail!(
                    "waited {} s for these replicas to {what}: {}. {advice}",
                    patience.as_secs(),
                    late.join(", ")
                );
            }
            let is_news =
                said.as_ref().is_none_or(|(at, of)| at.elapsed() > SAID_EVERY || *of != late);
            if is_news {
                say(&format!("waiting for these replicas to {what}: {}", late.join(", ")));
                said = Some((Instant::now(), late));
            }
            sleep(LOOK).await;
        }
    }
}
