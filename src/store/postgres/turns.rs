//! Writers of one tenant, a few at a time.
//!
//! They wait for one row of `tenants`, whose lock gives way to one of them after the other. Were each
//! to wait for it in the database, so many of them would have all the connections there are, and reads
//! and writes of every other tenant would find none. So most of them wait here, without a connection.
//!
//! Who waits here with a condition hears at once what those at work have found: of a thousand writers
//! that name one version, all but the first few are refused without asking the database.

use std::collections::HashMap;
use std::future::pending;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::domain::{CredentialType, Precondition, TenantId};
use crate::store::versions::require;
use crate::store::{Cause, StoreError, StoreResult};

/// How many writers of a tenant have a connection: the one whose transaction it is, and the one that is
/// to take the lock as soon as that has ended.
const AT_WORK: usize = 2;
/// How long to wait for a turn: of a request's time, what a write does not take by itself. Whoever has
/// waited so long hears that nothing was written.
const PATIENCE: Duration = Duration::from_secs(15);

/// What a condition is about: the credentials of a type, or the tenant itself.
pub(super) type Part = Option<CredentialType>;

/// Whose turn it is to write, tenant by tenant.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<HashMap<TenantId, Entry>>);

/// Of a tenant that is being written.
#[derive(Debug, Default)]
struct Entry {
    queue: Arc<Queue>,
    writers: usize,
}

#[derive(Debug)]
struct Queue {
    places: Arc<Semaphore>,
    arrivals: AtomicU64,
    found: watch::Sender<Found>,
}

/// What somebody at work has found in the database.
#[derive(Debug, Clone, Default)]
struct Found {
    part: Part,
    tag: Option<String>,
    /// It was looked for when these had arrived: to them, it is no older than their request.
    arrivals: u64,
}

impl Default for Queue {
    fn default() -> Self {
        let (places, found) = (Arc::new(Semaphore::new(AT_WORK)), watch::Sender::default());
        Self { places, arrivals: AtomicU64::new(0), found }
    }
}

impl Turns {
    /// Waits for a turn to write this tenant.
    ///
    /// # Errors
    /// The condition does not hold, or too many others come first. Nothing was written.
    pub async fn take(
        &self,
        tenant: &TenantId,
        part: Part,
        precondition: &Precondition,
    ) -> StoreResult<Turn<'_>> {
        self.take_within(PATIENCE, tenant, (part, precondition)).await
    }

    async fn take_within(
        &self,
        patience: Duration,
        tenant: &TenantId,
        (part, precondition): (Part, &Precondition),
    ) -> StoreResult<Turn<'_>> {
        let writer = self.arrive(tenant);
        let turn = Arc::clone(&writer.queue.places).acquire_owned();
        let taken = tokio::select! {
            // Whoever may go in does.
            biased;
            turn = turn => turn.map_err(|_| StoreError::Unavailable(Cause::new("closed"))),
            refusal = writer.refusal(part, precondition) => Err(refusal),
            () = tokio::time::sleep(patience) => {
                Err(StoreError::Unavailable(Cause::new("other writes of the tenant come first")))
            }
        };
        let place = taken?;
        let arrivals = writer.queue.arrivals.load(Ordering::SeqCst);
        Ok(Turn { writer, part, arrivals, _place: place })
    }

    fn arrive(&self, tenant: &TenantId) -> Writer<'_> {
        let mut entries = self.entries();
        let entry = entries.entry(tenant.clone()).or_default();
        entry.writers += 1;
        let queue = Arc::clone(&entry.queue);
        let number = queue.arrivals.fetch_add(1, Ordering::SeqCst);
        Writer { turns: self, tenant: tenant.clone(), queue, number }
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<TenantId, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One that waits or is at work. Nothing is kept of a tenant that has none.
#[derive(Debug)]
struct Writer<'t> {
    turns: &'t Turns,
    tenant: TenantId,
    queue: Arc<Queue>,
    number: u64,
}

impl Writer<'_> {
    /// Returns when the condition does not hold for what somebody has found since this one arrived.
    async fn refusal(&self, part: Part, precondition: &Precondition) -> StoreError {
        if precondition.is_none() {
            return pending().await;
        }
        let mut found = self.queue.found.subscribe();
        loop {
            // Its sender is in the queue, and so there for as long as this is.
            if found.changed().await.is_err() {
                return pending().await;
            }
            let Found { part: of, tag, arrivals } = found.borrow_and_update().clone();
            if of == part
                && self.number < arrivals
                && let Err(refusal) = require(precondition, tag)
            {
                return refusal;
            }
        }
    }
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        let mut entries = self.turns.entries();
        if let Some(entry) = entries.get_mut(&self.tenant) {
            entry.writers -= 1;
            if entry.writers == 0 {
                entries.remove(&self.tenant);
            }
        }
    }
}

/// The right to write a tenant, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn<'t> {
    writer: Writer<'t>,
    part: Part,
    arrivals: u64,
    _place: OwnedSemaphorePermit,
}

impl Turn<'_> {
    /// Tells those who wait what their conditions are judged by, if this write was refused for its own:
    /// it has looked after they had arrived.
    pub fn tell<T>(&self, done: &StoreResult<T>) {
        if let Err(StoreError::PreconditionFailed { current }) = done {
            let Self { part, arrivals, .. } = *self;
            self.writer.queue.found.send_replace(Found { part, tag: current.clone(), arrivals });
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::domain::CredentialType::{Genesys, Whatsapp};
    use crate::domain::{NamedTag, Tags};

    const ALWAYS: Precondition = Precondition { if_match: None, if_none_match: None };

    fn tenant(id: &str) -> TenantId {
        id.parse().unwrap()
    }

    fn if_match(tag: &str) -> Precondition {
        let tag = NamedTag { opaque: tag.to_owned(), is_weak: false };
        Precondition { if_match: Some(Tags::These(vec![tag])), if_none_match: None }
    }

    fn refused(tag: &str) -> StoreResult<()> {
        Err(StoreError::PreconditionFailed { current: Some(tag.to_owned()) })
    }

    async fn turn<'t>(turns: &'t Turns, id: &str) -> Turn<'t> {
        turns.take(&tenant(id), Some(Whatsapp), &ALWAYS).await.unwrap()
    }

    #[tokio::test]
    async fn writers_of_one_tenant_wait_for_each_other_and_nobody_else() {
        let (turns, a) = (Turns::default(), tenant("a"));
        let first = turn(&turns, "a").await;
        let _second = turn(&turns, "a").await;
        // Whatever they write.
        let mut third = Box::pin(turns.take(&a, None, &ALWAYS));
        let mut fourth = Box::pin(turns.take(&a, Some(Genesys), &ALWAYS));
        assert!((&mut third).now_or_never().is_none() && (&mut fourth).now_or_never().is_none());
        turn(&turns, "b").now_or_never().unwrap();
        drop(first);
        assert!((&mut fourth).now_or_never().is_none(), "it came later");
        let _third = third.await.unwrap();
        assert!(fourth.now_or_never().is_none());
    }

    #[tokio::test]
    async fn nothing_is_kept_of_a_tenant_that_nobody_writes() {
        let turns = Turns::default();
        let held = (turn(&turns, "a").await, turn(&turns, "a").await);
        drop(turn(&turns, "b").await);
        // It hangs up.
        assert!(turn(&turns, "a").now_or_never().is_none());
        assert_eq!(turns.entries().keys().collect::<Vec<_>>(), [&tenant("a")]);
        drop(held);
        assert!(turns.entries().is_empty());
    }

    #[tokio::test]
    async fn what_was_found_refuses_those_who_wait() {
        let (turns, a) = (Turns::default(), tenant("a"));
        let (old, new) = (if_match("g.2"), if_match("g.3"));
        let (_first, second) = (turn(&turns, "a").await, turn(&turns, "a").await);
        second.tell(&refused("g.1"));
        // These came after it had begun to look: what it has found may be old by now.
        let mut later = Box::pin(turns.take(&a, Some(Whatsapp), &old));
        assert!((&mut later).now_or_never().is_none());
        second.tell(&refused("g.1"));
        assert!((&mut later).now_or_never().is_none());

        let mut holds = Box::pin(turns.take(&a, Some(Whatsapp), &new));
        let mut of_other = Box::pin(turns.take(&a, Some(Genesys), &old));
        let mut always = Box::pin(turns.take(&a, Some(Whatsapp), &ALWAYS));
        for waiting in [&mut holds, &mut of_other, &mut always] {
            assert!(waiting.now_or_never().is_none());
        }
        drop(second);
        // The next one has come first, and is begun when all of them are there.
        let next = later.await.unwrap();
        let mut refusable = Box::pin(turns.take(&a, Some(Whatsapp), &old));
        assert!((&mut refusable).now_or_never().is_none());
        next.tell(&refused("g.3"));
        for waiting in [&mut holds, &mut of_other, &mut always, &mut refusable] {
            assert!(waiting.now_or_never().is_none());
        }
        drop(next);
        let next = holds.await.unwrap();
        next.tell(&Ok(()));
        assert!((&mut refusable).now_or_never().is_none(), "nothing was found");
        next.tell(&refused("g.3"));
        let refusal = refusable.now_or_never().unwrap().unwrap_err();
        assert!(
            matches!(&refusal, StoreError::PreconditionFailed { current: Some(tag) } if tag == "g.3"),
            "{refusal:?}"
        );
        assert!((&mut of_other).now_or_never().is_none() && always.now_or_never().is_none());
        drop(next);
        of_other.await.unwrap();
    }

    #[tokio::test]
    async fn nobody_waits_for_ever() {
        let turns = Turns::default();
        let _held = (turn(&turns, "a").await, turn(&turns, "a").await);
        let waited = turns.take_within(Duration::ZERO, &tenant("a"), (None, &ALWAYS)).await;
        assert!(matches!(waited, Err(StoreError::Unavailable(_))), "{waited:?}");
        assert_eq!(turns.entries()[&tenant("a")].writers, 2);
    }
}
