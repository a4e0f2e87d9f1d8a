//! Reads of a fenced replica: past the cache, and yet not one query for each request.
//!
//! What is asked of a fenced replica must come from a query that began after the request did. So a
//! request never joins the query that is running: it joins the *next* one, which begins when that
//! one has ended. However many ask for a key, one query of it runs at a time.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use super::LoadError;
use super::l1::Cached;
use crate::domain::CacheKey;

type Answer = Result<Cached, LoadError>;
type Query = Pin<Box<dyn Future<Output = Answer> + Send>>;
type Told = watch::Receiver<Option<Answer>>;

/// A query that is to run when the present one has ended, and those who wait for it.
struct Next {
    query: Query,
    tell: watch::Sender<Option<Answer>>,
}

/// The queries under way.
#[derive(Default)]
pub(super) struct Bypass {
    lanes: Mutex<HashMap<CacheKey, Option<Next>>>,
}

impl Bypass {
    /// The answer of a query that begins after this call. Queries run on `tracker`.
    pub async fn read(
        self: &Arc<Self>,
        key: &CacheKey,
        query: Query,
        tracker: &TaskTracker,
    ) -> Answer {
        let mut told = self.enter(key, query, tracker);
        let answer = match told.wait_for(Option::is_some).await {
            Ok(answer) => (*answer).clone(),
            Err(_) => None,
        };
        answer.unwrap_or_else(|| Err(LoadError::Failed("the query was cut off".into())))
    }

    fn enter(self: &Arc<Self>, key: &CacheKey, query: Query, tracker: &TaskTracker) -> Told {
        match self.lanes().entry(key.clone()) {
            Entry::Occupied(mut lane) => {
                let next = lane
                    .get_mut()
                    .get_or_insert_with(|| Next { query, tell: watch::channel(None).0 });
                next.tell.subscribe()
            }
            Entry::Vacant(lane) => {
                lane.insert(None);
                let (tell, told) = watch::channel(None);
                let lane = Lane { bypass: Arc::clone(self), key: key.clone() };
                tracker.spawn(lane.run(Next { query, tell }));
                told
            }
        }
    }

    fn lanes(&self) -> MutexGuard<'_, HashMap<CacheKey, Option<Next>>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One key's queries, one after the other. Dropped however they end.
struct Lane {
    bypass: Arc<Bypass>,
    key: CacheKey,
}

impl Lane {
    async fn run(self, first: Next) {
        let mut next = Some(first);
        while let Some(Next { query, tell }) = next {
            tell.send_replace(Some(query.await));
            let mut lanes = self.bypass.lanes();
            next = lanes.get_mut(&self.key).and_then(Option::take);
            if next.is_none() {
                lanes.remove(&self.key);
            }
        }
    }
}

impl Drop for Lane {
    /// Of a query that panicked: whoever waited for the next one hears that it was cut off.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.bypass.lanes().remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::Notify;

    use super::*;

    fn key() -> CacheKey {
        "phone:1".parse().unwrap()
    }

    /// Ten requests while a query runs share one more, which begins when the first has ended.
    #[tokio::test]
    async fn requests_share_the_next_query_and_never_the_running_one() {
        let (bypass, tracker) = (Arc::new(Bypass::default()), TaskTracker::new());
        let (begun, release) = (Arc::new(AtomicU32::new(0)), Arc::new(Notify::new()));
        let query = |waits: bool| -> Query {
            let (begun, release) = (Arc::clone(&begun), Arc::clone(&release));
            Box::pin(async move {
                begun.fetch_add(1, Ordering::Relaxed);
                if waits {
                    release.notified().await;
                }
                Ok(Cached::Document(None))
            })
        };
        let first = bypass.enter(&key(), query(true), &tracker);
        let others: Vec<Told> =
            (0..10).map(|_| bypass.enter(&key(), query(false), &tracker)).collect();
        while begun.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        assert!(others.iter().all(|told| told.borrow().is_none()));
        release.notify_one();
        for mut told in others.into_iter().chain([first]) {
            assert!(told.wait_for(Option::is_some).await.is_ok());
        }
        assert_eq!(begun.load(Ordering::Relaxed), 2);
        tracker.close();
        tracker.wait().await;
        assert!(bypass.lanes().is_empty());
    }

    #[tokio::test]
    async fn a_query_that_panics_cuts_off_nobody_but_its_own() {
        let (bypass, tracker) = (Arc::new(Bypass::default()), TaskTracker::new());
        let panics: Query = Box::pin(async { panic!("a defect") });
        assert!(bypass.read(&key(), panics, &tracker).await.is_err());
        let fine: Query = Box::pin(async { Ok(Cached::Document(None)) });
        assert!(bypass.read(&key(), fine, &tracker).await.is_ok());
    }
}
