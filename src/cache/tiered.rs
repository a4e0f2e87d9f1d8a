//! The read path: L1, then L2, then the loader, at most one load of a key at a time.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::bypass::Bypass;
use super::clock;
use super::l1::{Cached, Entered, FlightHandle, L1};
use super::l2::{L2, L2Read, Lease};
use super::sample::Sample;
use super::serving::Serving;
use super::stats::{EvictedBy, Outcome, TierStats};
use super::{Document, TypedKey};
use crate::coherence::{Epoch, Moment, Reading, Source};
use crate::domain::CacheKey;

/// How long a load waits for another replica that is filling the same key in L2.
const BUSY_PATIENCE: Duration = Duration::from_millis(50);
const BUSY_POLL: Duration = Duration::from_millis(4);
/// How long a fenced replica waits for the database where it has an answer that may be old.
const STORE_PATIENCE: Duration = Duration::from_millis(500);

/// Where an answer comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// Memory.
    L1,
    /// Redis.
    L2,
    /// The loader.
    Store,
    /// The loader, past a cache that may not be served from.
    Bypass,
    /// Memory that may be out of date by so much: the loader did not answer.
    Stale(Duration),
}

/// What was found; `None` is an absence.
#[derive(Debug, Clone)]
pub struct Found<T> {
    /// The answer.
    pub value: Option<T>,
    /// Its source.
    pub via: Via,
}

/// What a load has found.
#[derive(Debug, Clone)]
pub struct Loaded<T> {
    /// The value, for memory.
    pub value: T,
    /// What other replicas may have of it by way of L2: the same, or what only they can make it of
    /// again. `None`: nothing.
    pub shared: Option<Document>,
}

/// From what look-ups are answered at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The cache, or the database where it has nothing.
    Current,
    /// The database alone: the cache may not be served from.
    Fenced,
    /// Memory, with a label that it may be old: the database is away.
    Stale,
    /// Nothing: the database is away, and has been for too long.
    Nothing,
}

/// Why a load has no result, with the cause for the log. Each who waited has an answer to log, with
/// an id of its own, and takes the cause along.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// The source is out of reach: try again.
    #[error("{0}")]
    Unavailable(Arc<str>),
    /// A defect.
    #[error("{0}")]
    Failed(Arc<str>),
}

impl LoadError {
    /// The database is not even asked.
    pub fn away() -> Self {
        Self::Unavailable("the database is out of reach: it did not answer the last ping".into())
    }
}

/// The result of a load, shared by all who joined it.
pub(super) type FlightResult = Result<(Cached, Via), LoadError>;

/// How long entries live. Not what keeps them right: evictions do.
#[derive(Debug, Clone, Copy)]
pub struct Ttl {
    /// Of a value.
    pub present: Duration,
    /// Of an absence.
    pub absent: Duration,
}

impl Ttl {
    /// Up to a tenth shorter, so that what was filled together does not expire together.
    fn jittered(&self, present: bool) -> Duration {
        let ttl = if present { self.present } else { self.absent };
        ttl.mul_f64(1.0 - fastrand::f64() / 10.0)
    }
}

/// Both tiers.
pub struct Tiered {
    l1: L1,
    l2: Option<Arc<L2>>,
    serving: Arc<Serving>,
    bypass: Arc<Bypass>,
    ttl: Ttl,
    stale_budget: Duration,
    loads: TaskTracker,
    sample: Option<Sample>,
    l1_stats: TierStats,
    l2_stats: TierStats,
}

impl Tiered {
    /// A cache over these tiers, which is fenced until [`Tiered::serving`] is given a deadline.
    /// Loads run on `tracker`, so a caller that goes away cancels none. For as long as
    /// `stale_budget` after its deadline it answers from memory where the loader does not.
    #[must_use]
    pub fn new(
        l1: L1,
        l2: Option<Arc<L2>>,
        ttl: Ttl,
        stale_budget: Duration,
        tracker: TaskTracker,
    ) -> Self {
        let (l1_stats, l2_stats) = (TierStats::new("l1"), TierStats::new("l2"));
        let (serving, bypass) = (Arc::default(), Arc::default());
        let (loads, sample) = (tracker, None);
        Self { l1, l2, serving, bypass, ttl, stale_budget, loads, sample, l1_stats, l2_stats }
    }

    /// The same cache, which keeps a sample of its keys for whoever is to check them.
    #[must_use]
    pub fn sampled(self) -> Self {
        Self { sample: Some(Sample::default()), ..self }
    }

    /// The sample of its keys, where one is kept.
    #[must_use]
    pub const fn sample(&self) -> Option<&Sample> {
        self.sample.as_ref()
    }

    /// Until when the cache may be served from.
    #[must_use]
    pub const fn serving(&self) -> &Arc<Serving> {
        &self.serving
    }

    /// The value under `key`, if L1 has it and it may be served. A miss is not counted:
    /// [`Tiered::get`] is to follow.
    pub fn peek<K: TypedKey>(&self, key: K) -> Option<Found<K::Value>> {
        self.peek_if(key, |reading, now| reading.may_answer(Source::Cache, now))
    }

    /// The same, where `may_answer` decides: for a benchmark of what the decision costs.
    #[doc(hidden)]
    pub fn peek_if<K: TypedKey>(
        &self,
        key: K,
        may_answer: impl FnOnce(Reading, Moment) -> bool,
    ) -> Option<Found<K::Value>> {
        let reading = self.serving.begin();
        let key = key.into();
        let (entry, now) = (self.l1.look(&key)?, clock::now());
        let cached = may_answer(reading, now).then(|| entry.at(now))??;
        self.hit::<K>(&key, cached).ok()
    }

    /// From what a look-up would be answered now.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let (reading, now) = (self.serving.begin(), clock::now());
        if !reading.is_fenced(now) {
            Standing::Current
        } else if !self.serving.store_is_away() {
            Standing::Fenced
        } else if self.staleness(reading, now).is_some() {
            Standing::Stale
        } else {
            Standing::Nothing
        }
    }

    /// The value under `key`: from L1, from L2 if it is a document, or by `load`.
    ///
    /// The order, and what may be answered, are the protocol's: see [`Reading`].
    ///
    /// # Errors
    /// The loader's.
    pub async fn get<K, L>(
        self: &Arc<Self>,
        key: K,
        load: impl Fn() -> L,
    ) -> Result<Found<K::Value>, LoadError>
    where
        K: TypedKey,
        L: Future<Output = Result<Option<K::Value>, LoadError>> + Send + 'static,
    {
        let as_it_is = |value: K::Value| {
            let shared = match K::wrap(Some(value.clone())) {
                Cached::Document(document) => document,
                Cached::Credentials(_) | Cached::Token(_) => None,
            };
            Loaded { value, shared }
        };
        let load = || {
            let load = load();
            async move { load.await.map(|found| found.map(as_it_is)) }
        };
        let open = |document| K::unwrap(Cached::Document(Some(document))).flatten();
        self.get_shared(key, load, open).await
    }

    /// The value under `key`: from L1, or made by `open` of what L2 has, or by `load`, which says
    /// what L2 gets. What does not open is taken out of L2, and the loader is asked.
    ///
    /// # Errors
    /// The loader's.
    pub async fn get_shared<K, L>(
        self: &Arc<Self>,
        key: K,
        load: impl Fn() -> L,
        open: impl FnOnce(Document) -> Option<K::Value> + Send + 'static,
    ) -> Result<Found<K::Value>, LoadError>
    where
        K: TypedKey,
        L: Future<Output = Result<Option<Loaded<K::Value>>, LoadError>> + Send + 'static,
    {
        let reading = self.serving.begin();
        let key = key.into();
        let (entry, now) = (self.l1.look(&key), clock::now());
        let cached = entry.and_then(|entry| entry.at(now));
        if reading.is_fenced(now) {
            return self.fenced::<K, L>(&key, reading, cached, load).await;
        }
        if let Some(cached) = cached
            && reading.may_answer(Source::Cache, now)
        {
            return self.hit::<K>(&key, cached);
        }
        let (cached, via, source) = match self.l1.enter(&key) {
            Entered::Hit(cached) => (cached, Via::L1, Source::Cache),
            Entered::Join(handle) => {
                self.l1_stats.request(key.kind(), Outcome::Miss);
                let (cached, via) = settled(handle).await?;
                (cached, via, Source::Joined)
            }
            Entered::Lead(began, tell) => {
                self.l1_stats.request(key.kind(), Outcome::Miss);
                let handle = self.lead::<K, L>(key.clone(), began, tell, load(), open);
                let (cached, via) = settled(handle).await?;
                (cached, via, if via == Via::Store { Source::Database } else { Source::Cache })
            }
        };
        if !reading.may_answer(source, clock::now()) {
            return self.fenced::<K, L>(&key, reading, Some(cached), load).await;
        }
        if via == Via::L1 {
            return self.hit::<K>(&key, cached);
        }
        typed::<K>(cached, via)
    }

    /// Begins a load that others can join.
    fn lead<K, L>(
        self: &Arc<Self>,
        key: CacheKey,
        began: Epoch,
        tell: watch::Sender<Option<FlightResult>>,
        load: L,
        open: impl FnOnce(Document) -> Option<K::Value> + Send + 'static,
    ) -> FlightHandle
    where
        K: TypedKey,
        L: Future<Output = Result<Option<Loaded<K::Value>>, LoadError>> + Send + 'static,
    {
        let told = tell.subscribe();
        let flight = FlightGuard { cache: Arc::clone(self), key, began };
        self.loads.spawn(async move {
            let Flown { result, lease, shared } = flight.run::<K>(load, open).await;
            let (cache, key) = flight.land();
            // The answer first: nobody waits for Redis to store it.
            tell.send_replace(Some(result));
            if let Some(lease) = lease {
                cache.use_lease(&key, &lease, shared).await;
            }
        });
        told
    }

    /// The answer of a fenced replica: the loader's, which fills nothing. Where that does not come,
    /// what memory has, labelled, if it may be old; for a while.
    ///
    /// Where the database is known to be away it is not asked: queries that wait for it would only
    /// be many. Somebody watches for its return: see [`Serving::store_is_away`].
    async fn fenced<K, L>(
        &self,
        key: &CacheKey,
        reading: Reading,
        cached: Option<Cached>,
        load: impl FnOnce() -> L,
    ) -> Result<Found<K::Value>, LoadError>
    where
        K: TypedKey,
        L: Future<Output = Result<Option<Loaded<K::Value>>, LoadError>> + Send + 'static,
    {
        let may_be_old = K::MAY_BE_STALE && self.staleness(reading, clock::now()).is_some();
        let cached = cached.filter(|_| may_be_old);
        let read = async {
            let load = load();
            let query = async { load.await.map(|found| K::wrap(found.map(|found| found.value))) };
            self.bypass.read(key, Box::pin(query), &self.loads).await
        };
        let read = if self.serving.store_is_away() {
            Err(LoadError::away())
        } else if cached.is_some() {
            let read = tokio::time::timeout(STORE_PATIENCE, read).await;
            read.unwrap_or_else(|_| Err(LoadError::Unavailable("no answer in time".into())))
        } else {
            read.await
        };
        match (read, cached) {
            (Err(LoadError::Unavailable(_)), Some(cached)) => {
                self.l1_stats.request(key.kind(), Outcome::Stale);
                let age = reading.fenced_for(clock::now()).unwrap_or_default();
                typed::<K>(cached, Via::Stale(age))
            }
            (read, _) => {
                self.l1_stats.request(key.kind(), Outcome::Bypass);
                typed::<K>(read?, Via::Bypass)
            }
        }
    }

    /// How old what memory has may be, while that may be given at all.
    fn staleness(&self, reading: Reading, now: Moment) -> Option<Duration> {
        reading.fenced_for(now).filter(|&age| age <= self.stale_budget)
    }

    /// Evicts keys from L1.
    pub fn evict(&self, keys: &[CacheKey], source: EvictedBy) {
        for key in keys {
            let removed = self.l1.evict(key);
            self.l1_stats.evicted(key.kind(), source, u64::from(removed));
        }
    }

    /// Counts what a revocation in L2 removed.
    pub fn count_revoked(&self, keys: &[CacheKey], removed: &[bool], source: EvictedBy) {
        for (key, removed) in keys.iter().zip(removed) {
            self.l2_stats.evicted(key.kind(), source, u64::from(*removed));
        }
    }

    /// Evicts everything from L1. Counted are the entries a little later, by whoever frees them.
    pub fn clear(&self, source: EvictedBy) {
        let evicted = self.l1.clear();
        let counters = self.l1_stats.evictions_by(source);
        let free = move || {
            let counts = evicted.free();
            for (counter, entries) in counters.iter().zip(counts) {
                counter.increment(entries);
            }
            let entries: u64 = counts.iter().sum();
            if entries > 0 {
                tracing::info!(entries, "everything was dropped from memory");
            }
        };
        // Nobody has to wait for it. Without a thread it is freed here and now, uncounted.
        drop(std::thread::Builder::new().name("freeing".to_owned()).spawn(free));
    }

    /// The memory tier.
    #[must_use]
    pub const fn l1(&self) -> &L1 {
        &self.l1
    }

    /// The Redis tier, where one is configured.
    #[must_use]
    pub const fn l2(&self) -> Option<&Arc<L2>> {
        self.l2.as_ref()
    }

    fn hit<K: TypedKey>(
        &self,
        key: &CacheKey,
        cached: Cached,
    ) -> Result<Found<K::Value>, LoadError> {
        self.l1_stats.request(key.kind(), Outcome::hit(cached.is_present()));
        typed::<K>(cached, Via::L1)
    }

    /// Looks in L2, waiting briefly for whoever else is filling the key.
    async fn read_l2<K: TypedKey>(&self, key: &CacheKey, noted: Epoch) -> L2Lookup {
        let Some(l2) = self.l2.as_ref().filter(|_| K::MAY_BE_SHARED) else {
            return L2Lookup::Nothing;
        };
        let deadline = Instant::now() + BUSY_PATIENCE;
        let outcome = loop {
            match l2.get_or_lease(key, noted).await {
                Ok(L2Read::Hit(document)) => return L2Lookup::Hit(document),
                Ok(L2Read::Lease(lease)) => {
                    self.l2_stats.request(key.kind(), Outcome::Miss);
                    return L2Lookup::Leased(lease);
                }
                Ok(L2Read::Busy) if Instant::now() < deadline => {
                    tokio::time::sleep(BUSY_POLL).await;
                }
                Ok(L2Read::Busy | L2Read::Unreadable) | Err(_) => break Outcome::Bypass,
            }
        };
        self.l2_stats.request(key.kind(), outcome);
        L2Lookup::Nothing
    }

    /// Fills L2, or gives the lease back: other replicas wait for whoever holds it.
    async fn use_lease(&self, key: &CacheKey, lease: &Lease, shared: Option<Option<Document>>) {
        let Some(l2) = &self.l2 else { return };
        // On failure the lease ends by itself, or with the connection's epoch.
        let Some(document) = shared else {
            drop(l2.release(key, lease).await);
            return;
        };
        let ttl = self.ttl.jittered(document.is_some());
        if let Ok(stored) = l2.fill(key, lease, document.as_ref(), ttl).await {
            self.l2_stats.fill(stored);
        }
    }
}

/// What a flight brings back.
struct Flown {
    result: FlightResult,
    /// Under which L2 may be filled.
    lease: Option<Lease>,
    /// What with: a document, or that there is none.
    shared: Option<Option<Document>>,
}

enum L2Lookup {
    Hit(Option<Document>),
    Leased(Lease),
    Nothing,
}

/// A load under way. Dropped however it ends, so that nobody joins a load that is no more.
struct FlightGuard {
    cache: Arc<Tiered>,
    key: CacheKey,
    began: Epoch,
}

impl FlightGuard {
    /// Reads L2, then the loader, and fills L1.
    async fn run<K: TypedKey>(
        &self,
        load: impl Future<Output = Result<Option<Loaded<K::Value>>, LoadError>>,
        open: impl FnOnce(Document) -> Option<K::Value>,
    ) -> Flown {
        let (lease, hit) = match self.cache.read_l2::<K>(&self.key, self.began).await {
            L2Lookup::Hit(document) => (None, self.opened::<K>(document, open).await),
            L2Lookup::Leased(lease) => (Some(lease), None),
            L2Lookup::Nothing => (None, None),
        };
        let mut shared = None;
        let result = match hit {
            Some(cached) => Ok((cached, Via::L2)),
            // A loader that panics has failed like any other: the hook has logged where.
            None => match AssertUnwindSafe(load).catch_unwind().await {
                Ok(loaded) => loaded.map(|found| {
                    shared =
                        found.as_ref().map_or(Some(None), |found| found.shared.clone().map(Some));
                    (K::wrap(found.map(|found| found.value)), Via::Store)
                }),
                Err(_) => Err(LoadError::Failed("the load panicked".into())),
            },
        };
        if let Ok((cached, _)) = &result {
            let ttl = self.cache.ttl.jittered(cached.is_present());
            let stored = self.cache.l1.fill(&self.key, self.began, cached.clone(), ttl);
            self.cache.l1_stats.fill(stored);
            if let Some(sample) = self.cache.sample.as_ref().filter(|_| stored) {
                sample.offer(&self.key);
            }
        }
        Flown { result, lease, shared }
    }

    /// What L2 had, as memory has it. What can't be opened is no hit, and is there no longer than
    /// until now: it would be found again by each who looks.
    async fn opened<K: TypedKey>(
        &self,
        document: Option<Document>,
        open: impl FnOnce(Document) -> Option<K::Value>,
    ) -> Option<Cached> {
        let is_present = document.is_some();
        let value = document.and_then(open);
        let is_hit = value.is_some() == is_present;
        let outcome = if is_hit { Outcome::hit(is_present) } else { Outcome::Miss };
        self.cache.l2_stats.request(self.key.kind(), outcome);
        if let Some(l2) = self.cache.l2.as_ref().filter(|_| !is_hit) {
            // On failure its connection is gone, and with it the trust in what it shows.
            drop(l2.revoke(std::slice::from_ref(&self.key)).await);
        }
        is_hit.then(|| K::wrap(value))
    }

    /// Ends the flight: it is stored by now, so the next request hits instead of joining.
    fn land(self) -> (Arc<Tiered>, CacheKey) {
        (Arc::clone(&self.cache), self.key.clone())
    }
}

impl Drop for FlightGuard {
    fn drop(&mut self) {
        self.cache.l1.land(&self.key, self.began);
    }
}

/// Waits for a load; one that died without a result was cut off by the end of the process.
async fn settled(mut handle: FlightHandle) -> FlightResult {
    let result = match handle.wait_for(Option::is_some).await {
        Ok(result) => (*result).clone(),
        Err(_) => None,
    };
    result.unwrap_or_else(|| Err(LoadError::Failed("the load was cut off".into())))
}

fn typed<K: TypedKey>(cached: Cached, via: Via) -> Result<Found<K::Value>, LoadError> {
    let wrong = || LoadError::Failed("a value of another type than its key's".into());
    K::unwrap(cached).map(|value| Found { value, via }).ok_or_else(wrong)
}
