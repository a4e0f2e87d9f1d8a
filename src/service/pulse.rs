//! Whether the database answers, for whoever asks how the service is. Anybody may, and as often as they
//! like: so one asks at a time, and the others take its answer.

use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::store::Store;
use crate::telemetry::logging::chain;

/// How long an answer is good. Less than people notice, and than balancers wait between two checks.
const GOOD_FOR: Duration = Duration::from_millis(250);

/// What was heard last, and when.
#[derive(Default)]
pub(super) struct Pulse(Mutex<Option<(Instant, bool)>>);

impl Pulse {
    /// Whether it answers. A failure is logged when it begins.
    pub(super) async fn database(&self, store: &dyn Store) -> bool {
        let mut last = self.0.lock().await;
        if let Some((at, answers)) = *last
            && at.elapsed() < GOOD_FOR
        {
            return answers;
        }
        let answered = store.ping().await;
        if let Err(error) = &answered
            && last.is_none_or(|(_, answers)| answers)
        {
            let error = chain(error);
            tracing::warn!(error, "health check: the database does not answer");
        }
        *last = Some((Instant::now(), answered.is_ok()));
        answered.is_ok()
    }
}
