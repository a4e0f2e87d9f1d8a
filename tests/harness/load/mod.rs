//! Load: readers and writers over all replicas, whose every answer goes into a history.
//!
//! It runs on a thread of its own, so that neither a proxy nor a test holds it up, and ends by
//! itself. What it asks is drawn from a seed; when it asks is not.

mod pace;
mod reader;
mod tally;
mod tenant;
mod tokens;
pub mod wire;
mod writer;

use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use fastrand::Rng;
use tokio::runtime;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use self::tally::{Counters, Event};
use self::tenant::{Phone, Target, Tenant};
use self::writer::Writer;
use super::eventually::eventually;
use super::history::{History, Moment, Read, Violation};
use super::process::lock;

pub use self::tally::Tally;

/// A request's whole patience and more.
const END: Duration = Duration::from_secs(30);
/// No read takes longer, so what was overridden before that counts no more.
const MEMORY: Duration = Duration::from_secs(30);
/// That many answers which should not be are kept for the report.
const ODD: usize = 10;

/// How much of it.
#[derive(Clone, Debug)]
pub struct Settings {
    pub seed: u64,
    /// It ends after that long, whatever becomes of the test.
    pub at_most: Duration,
    pub readers_a_replica: usize,
    /// Over all readers; without a limit, as many as go.
    pub reads_a_second: Option<u32>,
    pub writes_a_second: u32,
    /// Tenants that several writers write to at once.
    pub shared_tenants: u32,
    /// Writers that each have tenants of their own to move, delete and suspend.
    pub owners: usize,
}

impl Settings {
    pub fn new(seed: u64, at_most: Duration) -> Self {
        Self {
            seed,
            at_most,
            readers_a_replica: 4,
            reads_a_second: Some(6_000),
            writes_a_second: 120,
            shared_tenants: 10,
            owners: 3,
        }
    }
}

/// See the module.
pub struct Load {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// Taken, and not judged yet: a write that they should have seen may just be being recorded.
    waiting: Vec<Read>,
}

/// What all tasks of a load share.
struct Shared {
    settings: Settings,
    addresses: Vec<String>,
    began: Instant,
    stop: AtomicBool,
    history: Mutex<History>,
    /// What can be read: of the shared tenants, then of each owner's, and then by tokens.
    targets: Vec<ArcSwap<Vec<Target>>>,
    /// Of each reader.
    reads: Vec<Mutex<Vec<Read>>>,
    counters: Counters,
    odd: Mutex<Vec<String>>,
    tenants: AtomicU32,
    tokens: AtomicU64,
}

impl Load {
    /// Writes the tenants, then begins in earnest and returns.
    ///
    /// A replica that starts again does so at the same address.
    pub async fn start(replicas: &[&str], settings: Settings) -> Self {
        let readers = replicas.len() * settings.readers_a_replica;
        let shared = Arc::new(Shared {
            addresses: replicas.iter().map(ToString::to_string).collect(),
            began: Instant::now(),
            stop: AtomicBool::new(false),
            history: Mutex::default(),
            targets: (0..=settings.owners + 1).map(|_| ArcSwap::default()).collect(),
            reads: (0..readers).map(|_| Mutex::default()).collect(),
            counters: Counters::default(),
            odd: Mutex::default(),
            tenants: AtomicU32::new(1),
            tokens: AtomicU64::new(0),
            settings,
        });
        let (ready, is_ready) = oneshot::channel();
        let tasks = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime for the load").block_on(tasks.run(ready));
        });
        let load = Self { shared, thread: Some(thread), waiting: Vec::new() };
        is_ready.await.expect("the tenants are written");
        load
    }

    /// What became of the requests so far.
    pub fn tally(&self) -> Tally {
        self.shared.counters.tally()
    }

    /// The violations among the reads up to the last call of this. To be called now and then where
    /// there are many reads, lest they take up the memory.
    pub fn judge(&mut self) -> Vec<Violation> {
        let mut reads = Vec::new();
        for slot in &self.shared.reads {
            reads.append(&mut mem::take(&mut *lock(slot)));
        }
        let reads = mem::replace(&mut self.waiting, reads);
        let mut history = lock(&self.shared.history);
        let violations = history.violations(&reads);
        let past = Moment(self.shared.now().0.saturating_sub(nanoseconds(MEMORY)));
        // However long ago the last call was: those that wait are judged by what counted then.
        let earliest = self.waiting.iter().map(|read| read.invoked).min();
        history.forget_before(earliest.map_or(past, |invoked| invoked.min(past)));
        violations
    }

    /// Ends it, and judges what is left. Panics if an answer was none that a sound replica gives.
    pub async fn stop(mut self) -> (Tally, Vec<Violation>) {
        self.shared.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("it is stopped once");
        eventually(END, "the load ends", async || thread.is_finished()).await;
        thread.join().expect("the load does not panic");
        let mut violations = self.judge();
        violations.append(&mut self.judge());
        let odd = mem::take(&mut *lock(&self.shared.odd));
        assert!(odd.is_empty(), "answers that should not be: {odd:#?}");
        (self.tally(), violations)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if thread::panicking() {
            eprintln!("--- the load's seed: {} ---", self.shared.settings.seed);
        }
    }
}

impl Shared {
    async fn run(self: Arc<Self>, ready: oneshot::Sender<()>) {
        let Settings { seed, shared_tenants, owners, .. } = self.settings;
        let mut rng = Rng::with_seed(seed);
        let mut targets = Vec::new();
        let tenants: Arc<[(Tenant, Phone)]> =
            (0..shared_tenants).map(|_| self.new_tenant(&mut targets)).collect();
        self.targets[0].store(Arc::new(targets));
        Writer::new(&self, rng.fork()).create_shared(&tenants).await;
        let _ = ready.send(());

        let mut tasks = JoinSet::new();
        for reader in 0..self.reads.len() {
            tasks.spawn(reader::run(Arc::clone(&self), reader, rng.fork()));
        }
        for owner in 1..=owners {
            tasks.spawn(Writer::new(&self, rng.fork()).write_own(owner));
        }
        for _ in 0..2 {
            tasks.spawn(Writer::new(&self, rng.fork()).write_shared(Arc::clone(&tenants)));
        }
        let keeper = Writer::new(&self, rng.fork());
        tasks.spawn(keeper.keep_tokens(owners + 1, tenants[0].1.path()));
        while let Some(ended) = tasks.join_next().await {
            ended.expect("a task of the load does not panic");
        }
    }

    /// A new tenant's names and a phone number, and further targets.
    fn new_tenant(&self, targets: &mut Vec<Target>) -> (Tenant, Phone) {
        let number = self.tenants.fetch_add(1, Ordering::Relaxed);
        let mut history = lock(&self.history);
        let tenant = Tenant::new(&mut history, targets, number);
        (tenant, Phone::new(&mut history, targets, number))
    }

    fn now(&self) -> Moment {
        Moment(nanoseconds(self.began.elapsed()))
    }

    fn has_ended(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.began.elapsed() > self.settings.at_most
    }

    fn is_odd(&self, what: impl FnOnce() -> String) {
        let mut odd = lock(&self.odd);
        if odd.len() < ODD {
            odd.push(what());
        }
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
