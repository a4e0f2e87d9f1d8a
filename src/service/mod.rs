//! What the service does, without a transport: look-ups from cache, writes that every replica
//! learns of.
//!
//! A look-up goes `resolve → cache → (miss) store`. A write goes `store (commit) → feed`, in a task
//! of its own: a client that hangs up after the commit must not keep the others from learning of it.

mod auditor;
mod authenticate;
mod credentials;
mod error;
mod expiry;
mod load;
mod pulse;
mod resolve;
mod sealed;
mod standing;
mod tenants;
mod tokens;
mod trail;
mod versions;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use futures_util::FutureExt;
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

pub use self::auditor::Auditor;
pub use self::authenticate::Authentication;
use self::authenticate::Known;
pub use self::credentials::{Revealed, Shown};
pub use self::error::ServiceError;
pub use self::load::{truth, version};
use self::pulse::Pulse;
pub use self::standing::Readiness;
pub use self::tokens::Minted;
pub use self::trail::{ChainTask, Trail, TrailTask};
pub use self::versions::destroy_deleted;
use crate::cache::Tiered;
use crate::domain::{By, Entry, NoVersion, Outcome, Precondition};
use crate::feed::Publisher;
pub use crate::feed::{Coherence, Wait};
use crate::store::{AuditPage, AuditQuery, Store, StoreResult, Written};

/// How the service and what it depends on are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    /// Whether the database answers.
    pub database: bool,
    /// Whether Redis is connected; `None` if none is configured.
    pub redis: Option<bool>,
}

/// What a caller asks of a write, beside what to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// Who asks.
    pub by: By,
    /// Whether to wait for the other replicas.
    pub wait: Wait,
    /// What has to hold.
    pub precondition: Precondition,
}

impl Intent {
    /// A write without a condition.
    #[must_use]
    pub const fn unconditional(by: By, wait: Wait) -> Self {
        Self { by, wait, precondition: Precondition { if_match: None, if_none_match: None } }
    }
}

/// What a write has made, and what may be counted on.
#[derive(Debug)]
pub struct Acknowledged<T> {
    /// What is stored now.
    pub value: T,
    /// Whether a replica may still serve what was before.
    pub coherence: Coherence,
}

/// The service. Cheap to clone.
#[derive(Clone)]
pub struct Service(Arc<Parts>);

struct Parts {
    store: Arc<dyn Store>,
    cache: Arc<Tiered>,
    publisher: Publisher,
    trail: Trail,
    writes: TaskTracker,
    stopping: AtomicBool,
    known: Known,
    pulse: Pulse,
    /// Credentials that end were set here.
    expiry_set: Notify,
}

impl Service {
    /// A service on this store, with this cache. What it does is entered into `trail`. Writes run on
    /// `tracker`, to be waited for at the end.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        cache: Arc<Tiered>,
        publisher: Publisher,
        trail: Trail,
        tracker: TaskTracker,
    ) -> Self {
        let stopping = AtomicBool::new(false);
        let (known, expiry_set, pulse) = (Known::default(), Notify::new(), Pulse::default());
        let writes = tracker;
        let parts =
            Parts { store, cache, publisher, trail, writes, stopping, known, pulse, expiry_set };
        Self(Arc::new(parts))
    }

    /// Asks the database, if nobody has just now; Redis is judged by its connection.
    pub async fn health(&self) -> Health {
        let database = self.0.pulse.database(self.0.store.as_ref()).await;
        Health { database, redis: self.0.cache.l2().map(|l2| l2.is_connected()) }
    }

    /// Waits until the replicas have applied every write that was committed before, whoever made it,
    /// or serve nothing from cache any more.
    ///
    /// # Errors
    /// The database is out of reach.
    pub async fn settle(&self) -> Result<Coherence, ServiceError> {
        let mark = self.store()?.mark().await;
        let mark = mark.map_err(|failure| ServiceError::of("mark", failure))?;
        Ok(self.0.publisher.after_mark(mark).await)
    }

    /// One page of the audit trail. Always from the database.
    ///
    /// # Errors
    /// As [`Service::tenants`].
    pub async fn audit(&self, query: &AuditQuery) -> Result<AuditPage, ServiceError> {
        let page = self.store()?.audit_page(query).await;
        page.map_err(|failure| ServiceError::of("audit", failure))
    }

    /// Where what is done is entered.
    #[must_use]
    pub fn trail(&self) -> &Trail {
        &self.0.trail
    }

    /// Runs a write to its end, and what follows its commit too, whatever the caller does. `entry` is
    /// what it would be in the audit trail; what was done, the transaction enters itself.
    async fn write<T, W>(
        &self,
        operation: &'static str,
        entry: Entry,
        wait: Wait,
        write: impl FnOnce(Arc<dyn Store>) -> W + Send + 'static,
    ) -> Result<Option<Acknowledged<T>>, ServiceError>
    where
        T: Send + 'static,
        W: Future<Output = StoreResult<Option<Written<T>>>> + Send,
    {
        let store = match self.store() {
            Ok(store) => Arc::clone(store),
            Err(away) => return Err(self.not_written(away, entry)),
        };
        let service = self.clone();
        let task = self.0.writes.spawn(async move {
            let done = AssertUnwindSafe(async { write(store).await }).catch_unwind().await;
            let written = match done {
                Ok(Ok(Some(written))) => written,
                Ok(Ok(None)) => {
                    service.0.trail.note(entry.ending(Outcome::NotFound));
                    return Ok(None);
                }
                Ok(Err(failure)) => {
                    return Err(service.not_written(ServiceError::of(operation, failure), entry));
                }
                Err(_) => return Err(service.not_written(panicked(operation), entry)),
            };
            let (value, written) = written.take();
            service.0.trail.written(written.entries);
            let coherence = service.0.publisher.after_commit(written, wait).await;
            Ok(Some(Acknowledged { value, coherence }))
        });
        task.await.unwrap_or_else(|_| {
            self.0.publisher.outcome_unknown();
            Err(panicked(operation))
        })
    }

    /// Enters that a write was refused or has failed. Returns what the caller is told.
    fn not_written(&self, error: ServiceError, entry: Entry) -> ServiceError {
        if !error.is_refusal() {
            self.0.publisher.outcome_unknown();
        }
        let error = match error {
            ServiceError::Audit(cause) => self.0.trail.failed(cause),
            error => error,
        };
        let outcome = match error {
            ServiceError::NoVersion(NoVersion::OfType(_) | NoVersion::Unknown) => Outcome::NotFound,
            ServiceError::Conflict(_)
            | ServiceError::Invalid(_)
            | ServiceError::PreconditionFailed { .. }
            | ServiceError::NoVersion(_)
            | ServiceError::Inactive => Outcome::Refused,
            _ => Outcome::Failed,
        };
        self.0.trail.note(entry.ending(outcome));
        error
    }
}

/// Where, the panic's own line says.
fn panicked(operation: &str) -> ServiceError {
    ServiceError::Internal(format!("{operation}: panicked").into())
}
