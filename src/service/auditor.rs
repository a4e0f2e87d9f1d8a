//! The auditor: compares what is served from memory with the database, a few entries a second.
//!
//! It looks for what cannot be: an entry that is served although it has been wrong for longer than
//! the staleness bound. Nothing else in the service waits for it or believes it. That an entry
//! differs from the database is no more than a suspicion: its change may be on the way. What is
//! suspected is looked at again once the bound has passed, and is a violation if the very same
//! entry is served then.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use metrics::Counter;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::load::{truth, version};
use crate::cache::{Cached, Tiered, clock};
use crate::coherence::{Bound, Moment, Source};
use crate::domain::CacheKey;
use crate::store::Store;
use crate::telemetry::metrics::{COHERENCE_CHECKS, COHERENCE_VIOLATIONS, counter_of};

/// Suspicions that wait to be looked into. What comes beyond them is let go: after so many, one
/// more tells nothing new.
const MOST_SUSPECTS: usize = 1_000;

/// See the module.
pub struct Auditor {
    store: Arc<dyn Store>,
    cache: Arc<Tiered>,
    rate: NonZeroU32,
    /// After this long, a change is seen everywhere.
    settled: Duration,
    /// The one that is due first comes first.
    suspects: VecDeque<Suspect>,
    checks: Counter,
    violations: Counter,
}

/// An entry that was not what the database said.
struct Suspect {
    key: CacheKey,
    entry: Cached,
    truth: Cached,
    due: Moment,
}

impl Auditor {
    /// An auditor of this cache, which keeps a sample of its keys ([`Tiered::sampled`]). It reads
    /// the database at most `rate` times a second.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        cache: Arc<Tiered>,
        rate: NonZeroU32,
        staleness_bound: Duration,
    ) -> Self {
        let Bound { bound, margin } = Bound::of(staleness_bound);
        Self {
            store,
            cache,
            rate,
            settled: bound + margin,
            suspects: VecDeque::new(),
            checks: counter_of(COHERENCE_CHECKS, &[]),
            violations: counter_of(COHERENCE_VIOLATIONS, &[]),
        }
    }

    /// Runs until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(Duration::from_secs(1) / self.rate.get());
        // A database that is slow is asked less often, and not all at once afterwards.
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut next = async || {
            tick.tick().await;
            match self.suspects.pop_front_if(|suspect| suspect.due <= clock::now()) {
                Some(suspect) => self.look_again(suspect).await,
                None => self.look().await,
            }
        };
        while stop.run_until_cancelled(next()).await.is_some() {}
    }

    /// Compares one entry with the database.
    async fn look(&mut self) {
        let Some((key, entry)) = self.sampled() else { return };
        // After the entry: what it is compared with is at least as new. Where the database does not
        // answer there is no telling, and the poll says so.
        let Ok(truth) = truth(self.store.as_ref(), &key).await else { return };
        self.checks.increment(1);
        if entry != truth && self.suspects.len() < MOST_SUSPECTS {
            let kind = key.kind().label();
            tracing::debug!(kind, "a cached entry is out of date; to be looked at again");
            let due = clock::now().plus(self.settled);
            self.suspects.push_back(Suspect { key, entry, truth, due });
        }
    }

    /// Looks at a suspected entry once its change must have been seen.
    async fn look_again(&self, suspect: Suspect) {
        let Some(served) = self.served(&suspect.key) else { return };
        let Ok(truth) = truth(self.store.as_ref(), &suspect.key).await else { return };
        let kind = suspect.key.kind().label();
        if suspect.stands(&served, &truth) {
            self.violations.increment(1);
            tracing::error!(
                kind,
                served = version(&served),
                current = version(&truth),
                "a cached entry was out of date for longer than STALENESS_BOUND_MS; it is evicted"
            );
            self.evict(&suspect.key).await;
        } else {
            tracing::debug!(kind, "it was replaced in time");
        }
    }

    /// A key at random, with what is served under it.
    fn sampled(&self) -> Option<(CacheKey, Cached)> {
        let sample = self.cache.sample()?;
        while let Some(key) = sample.draw() {
            // One that is gone is left out from now on, until it is filled again.
            if self.cache.l1().get(&key).is_some() {
                sample.put_back(key.clone());
                return self.served(&key).map(|entry| (key, entry));
            }
        }
        None
    }

    /// What memory answers as current, as a request would be answered.
    fn served(&self, key: &CacheKey) -> Option<Cached> {
        let reading = self.cache.serving().begin();
        let cached = self.cache.l1().get(key);
        cached.filter(|_| reading.may_answer(Source::Cache, clock::now()))
    }

    /// The next read is of the database. As for a change, L2 comes first.
    async fn evict(&self, key: &CacheKey) {
        if let Some(l2) = self.cache.l2() {
            // On failure its connection is gone, and with it the trust in what it shows.
            drop(l2.revoke(std::slice::from_ref(key)).await);
        }
        self.cache.l1().evict(key);
    }
}

impl Suspect {
    /// Whether what is served now has been wrong ever since it was suspected.
    fn stands(&self, served: &Cached, truth: &Cached) -> bool {
        let is_the_same = match (&self.entry, served) {
            // No revision comes back, so this one was replaced before.
            (Cached::Document(Some(then)), Cached::Document(Some(now))) => then == now,
            // A version does, where a tenant is deleted and created again.
            (Cached::Credentials(Some(then)), Cached::Credentials(Some(now))) => {
                Arc::ptr_eq(then, now)
            }
            (Cached::Token(Some(then)), Cached::Token(Some(now))) => Arc::ptr_eq(then, now),
            // Absences look alike. This one is of before if what it misses has been there since.
            _ => self.entry == *served && self.truth == *truth,
        };
        is_the_same && served != truth
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::{CredentialViews, Document};
    use crate::domain::{CredentialType, Credentials};

    fn document(revision: i64) -> Cached {
        Cached::Document(Some(Document::new(b"{}".to_vec(), revision)))
    }

    fn credentials(token: &str) -> Cached {
        let value = serde_json::json!({ "access_token": token });
        let kind = CredentialType::Whatsapp;
        let credentials = Credentials::new(kind, value).unwrap();
        let views = CredentialViews::of(kind, &credentials, ("g", 1)).unwrap();
        Cached::Credentials(Some(Arc::new(views)))
    }

    fn stands(then: (&Cached, &Cached), now: (&Cached, &Cached)) -> bool {
        let suspect = Suspect {
            key: "phone:1".parse().unwrap(),
            entry: then.0.clone(),
            truth: then.1.clone(),
            due: Moment::default(),
        };
        suspect.stands(now.0, now.1)
    }

    #[test]
    fn what_was_replaced_in_time_is_no_violation() {
        let (old, new, newer) = (document(1), document(2), document(3));
        let absent = Cached::Document(None);
        // Each is a suspicion, and what was found later.
        assert!(!stands((&old, &new), (&new, &new)), "it has arrived");
        assert!(!stands((&old, &new), (&new, &newer)), "and the next one is on the way");
        assert!(!stands((&old, &absent), (&new, &absent)), "gone, back, and gone again");
        assert!(!stands((&absent, &new), (&absent, &absent)), "it is an absence again");
        assert!(!stands((&absent, &new), (&absent, &newer)), "there, gone, and there again");
        let absent = Cached::Credentials(None);
        let (first, second) = (credentials("a-made-up-token"), credentials("a-made-up-token"));
        assert!(!stands((&first, &absent), (&second, &absent)), "of a tenant created anew");
    }

    #[test]
    fn what_stays_wrong_is_one() {
        let (old, new, newer) = (document(1), document(2), document(3));
        let absent = Cached::Document(None);
        assert!(stands((&old, &new), (&old, &new)));
        assert!(stands((&old, &new), (&old, &newer)), "however often it is written meanwhile");
        assert!(stands((&old, &absent), (&old, &absent)));
        assert!(stands((&absent, &new), (&absent, &new)));
        let (old, new) = (credentials("a-made-up-token"), credentials("another-token"));
        assert!(stands((&old, &new), (&old, &new)), "a version that was changed by hand");
    }
}
