//! Changes over Postgres LISTEN/NOTIFY.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::postgres::{PgListener, PgNotification};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::intake::{Intake, intake};
use super::{Applier, Backoff, CHANNEL, HEARTBEAT, HEARTBEAT_PATIENCE, POLL_NOW, connected};
use crate::cache::EvictedBy;
use crate::store::{Postgres, StoreError};
use crate::telemetry::logging::chain;

/// So many messages wait at most; what comes then is left to the log.
const QUEUE: usize = 4_096;
/// At most so many go with one statement.
const BATCH: usize = 256;
/// A statement that takes longer is given up: the polls carry what it would have. Shorter than the
/// time that background tasks have to end.
const SEND_PATIENCE: Duration = Duration::from_secs(3);

/// Where messages wait to be sent. Cheap to clone.
#[derive(Debug, Clone)]
pub struct NotifyQueue {
    sender: mpsc::Sender<String>,
    overflowed: Arc<AtomicBool>,
}

/// Sends what is queued.
#[derive(Debug)]
pub struct NotifyTask {
    postgres: Postgres,
    queue: mpsc::Receiver<String>,
    overflowed: Arc<AtomicBool>,
}

/// A queue, and the task that empties it.
#[must_use]
pub fn notify_queue(postgres: Postgres) -> (NotifyQueue, NotifyTask) {
    let (sender, queue) = mpsc::channel(QUEUE);
    let overflowed = Arc::new(AtomicBool::new(false));
    let task = NotifyTask { postgres, queue, overflowed: Arc::clone(&overflowed) };
    (NotifyQueue { sender, overflowed }, task)
}

impl NotifyQueue {
    /// Queues a message.
    pub(super) fn push(&self, text: String) {
        // Full, or at the end of the process closed: the log has it.
        if self.sender.try_send(text).is_err() {
            self.overflowed.store(true, Ordering::Relaxed);
        }
    }
}

impl NotifyTask {
    /// Sends messages until `stop`, then what is left.
    ///
    /// One statement carries all that gathered while the last one ran: NOTIFY takes a lock on the
    /// whole cluster until its transaction ends, so there must be few, and none in a write.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut batch = Vec::new();
        loop {
            let received = stop.run_until_cancelled(self.queue.recv_many(&mut batch, BATCH)).await;
            if received.is_none() {
                // Nothing more can be queued, so what follows comes to an end.
                self.queue.close();
                self.queue.recv_many(&mut batch, BATCH).await;
            }
            if batch.is_empty() {
                return;
            }
            if self.overflowed.swap(false, Ordering::Relaxed) {
                batch.push(POLL_NOW.to_owned());
            }
            let send = self.postgres.notify(CHANNEL, &batch);
            match tokio::time::timeout(SEND_PATIENCE, send).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::warn!(error = chain(&error), "NOTIFY failed; polls carry the changes");
                }
                Err(_) => tracing::warn!("NOTIFY took too long; polls carry the changes"),
            }
            batch.clear();
        }
    }
}

/// Listens, and has applied what arrives.
pub struct ListenTask {
    /// Where to listen: on a direct connection, not through a transaction pooler.
    pub postgres: Postgres,
    /// Where changes go.
    pub applier: Arc<Applier>,
}

impl ListenTask {
    /// Runs until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let (intake, waiting) = intake(&self.applier, EvictedBy::Notify);
        let work = async { tokio::join!(self.keep_listening(intake), waiting.apply()) };
        stop.run_until_cancelled(work).await;
    }

    async fn keep_listening(&self, intake: Intake) {
        let (mut backoff, mut said) = (Backoff::new(), false);
        // Heard by this listener alone: proof that what is sent arrives.
        let beat = format!("tenant_beat_{:016x}", fastrand::u64(..));
        loop {
            let attempt = tokio::time::timeout(HEARTBEAT_PATIENCE, self.connect(&beat)).await;
            let failure = match attempt {
                Ok(Ok(mut listener)) => {
                    said = false;
                    connected(EvictedBy::Notify, true);
                    // What was sent while nobody listened is in the log.
                    self.applier.want_poll();
                    let since = Instant::now();
                    listen(&mut listener, &beat, &intake).await;
                    self.applier.want_poll();
                    backoff.reset_after(since.elapsed());
                    tracing::warn!("LISTEN connection lost; changes arrive by the other sources");
                    None
                }
                Ok(Err(error)) => Some(chain(&StoreError::from(error))),
                Err(_) => Some("no answer in time".to_owned()),
            };
            connected(EvictedBy::Notify, false);
            // Once an outage, not once an attempt.
            if let Some(error) = failure
                && !std::mem::replace(&mut said, true)
            {
                tracing::warn!(error, "LISTEN fails; changes arrive by the other sources");
            }
            backoff.wait().await;
        }
    }

    /// Each listener has a pool of its own. One that is lost may keep its connection, and with it
    /// the pool's only place, until the network gives it up.
    async fn connect(&self, beat: &str) -> Result<PgListener, sqlx::Error> {
        let mut listener = PgListener::connect_with(&self.postgres.listener_pool()).await?;
        // It would hide that notifications were lost in between; we rebuild it, and poll.
        listener.eager_reconnect(false);
        listener.listen_all([CHANNEL, beat]).await?;
        Ok(listener)
    }
}

/// Takes notifications until the connection is lost, which `try_recv` tells by `None` or by an
/// error, and a half-open connection by nothing at all: hence the beat.
async fn listen(listener: &mut PgListener, beat: &str, intake: &Intake) {
    loop {
        match tokio::time::timeout(HEARTBEAT, listener.try_recv()).await {
            Ok(Ok(Some(notification))) => take(&notification, intake),
            Ok(Ok(None) | Err(_)) => return,
            Err(_) => {
                let answered = self::beat(listener, beat, intake);
                if !matches!(tokio::time::timeout(HEARTBEAT_PATIENCE, answered).await, Ok(true)) {
                    return;
                }
            }
        }
    }
}

/// Notifies itself and waits until that arrives, taking what comes before.
async fn beat(listener: &mut PgListener, beat: &str, intake: &Intake) -> bool {
    let sent = sqlx::query("SELECT pg_notify($1, '')").bind(beat).execute(&mut *listener).await;
    if sent.is_err() {
        return false;
    }
    loop {
        match listener.try_recv().await {
            Ok(Some(notification)) if notification.channel() == beat => return true,
            Ok(Some(notification)) => take(&notification, intake),
            Ok(None) | Err(_) => return false,
        }
    }
}

fn take(notification: &PgNotification, intake: &Intake) {
    if notification.channel() == CHANNEL {
        // `POLL_NOW` decodes as no message, which asks for a poll.
        intake.take(notification.payload().to_owned());
    }
}
