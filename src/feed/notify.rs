//! Changes over Postgres LISTEN/NOTIFY.

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::{PgListener, PgNotification};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Applier, Backoff, CHANNEL, HEARTBEAT, HEARTBEAT_PATIENCE};
use crate::cache::EvictedBy;

/// Postgres takes less than 8,000 bytes a notification.
const LONGEST_PAYLOAD: usize = 7_900;
/// Stands for changes that fit no notification: the log has them.
const POLL_NOW: &str = "poll";
/// At most so many go with one statement.
const BATCH: usize = 256;
/// A statement that takes longer is given up: the polls carry what it would have.
const SEND_PATIENCE: Duration = Duration::from_secs(5);

/// Where messages wait to be sent. Cheap to clone.
#[derive(Debug, Clone)]
pub struct NotifyQueue(mpsc::UnboundedSender<String>);

/// Sends what is queued.
#[derive(Debug)]
pub struct NotifyTask {
    pool: PgPool,
    queue: mpsc::UnboundedReceiver<String>,
}

/// A queue, and the task that empties it.
#[must_use]
pub fn notify_queue(pool: PgPool) -> (NotifyQueue, NotifyTask) {
    let (sender, queue) = mpsc::unbounded_channel();
    (NotifyQueue(sender), NotifyTask { pool, queue })
}

impl NotifyQueue {
    /// Queues a message. The queue holds at most what the writers in flight have committed.
    pub(super) fn push(&self, text: String) {
        let text = if text.len() > LONGEST_PAYLOAD { POLL_NOW.to_owned() } else { text };
        // It fails only when the task is gone, at the end of the process.
        drop(self.0.send(text));
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
                if self.queue.recv_many(&mut batch, BATCH).await == 0 {
                    return;
                }
            }
            let send = sqlx::query("SELECT pg_notify($1, message) FROM unnest($2::text[]) message")
                .bind(CHANNEL)
                .bind(std::mem::take(&mut batch))
                .execute(&self.pool);
            match tokio::time::timeout(SEND_PATIENCE, send).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => tracing::warn!(%error, "NOTIFY failed; polls carry the changes"),
                Err(_) => tracing::warn!("NOTIFY took too long; polls carry the changes"),
            }
        }
    }
}

/// Listens and applies what arrives.
pub struct ListenTask {
    /// A pool of its own, of one direct connection (not through a transaction pooler).
    pub pool: PgPool,
    /// Where changes go.
    pub applier: Arc<Applier>,
}

impl ListenTask {
    /// Runs until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.keep_listening()).await;
        self.pool.close().await;
    }

    async fn keep_listening(&self) {
        let mut backoff = Backoff::new();
        // Heard by this listener alone: proof that what is sent arrives.
        let beat = format!("tenant_beat_{:016x}", fastrand::u64(..));
        loop {
            if let Ok(Ok(mut listener)) =
                tokio::time::timeout(HEARTBEAT_PATIENCE, self.connect(&beat)).await
            {
                backoff.reset();
                self.applier.connected(EvictedBy::Notify, true);
                // What was sent while nobody listened is in the log.
                self.applier.want_poll();
                self.listen(&mut listener, &beat).await;
                self.applier.want_poll();
                tracing::warn!("LISTEN connection lost; changes arrive by the other sources");
            }
            self.applier.connected(EvictedBy::Notify, false);
            backoff.wait().await;
        }
    }

    async fn connect(&self, beat: &str) -> Result<PgListener, sqlx::Error> {
        let mut listener = PgListener::connect_with(&self.pool).await?;
        // It would hide that notifications were lost in between; we rebuild it, and poll.
        listener.eager_reconnect(false);
        listener.listen_all([CHANNEL, beat]).await?;
        Ok(listener)
    }

    /// Applies notifications until the connection is lost, which `try_recv` tells by `None` or by
    /// an error, and a half-open connection by nothing at all: hence the beat.
    async fn listen(&self, listener: &mut PgListener, beat: &str) {
        loop {
            match tokio::time::timeout(HEARTBEAT, listener.try_recv()).await {
                Ok(Ok(Some(notification))) => self.receive(&notification).await,
                Ok(Ok(None) | Err(_)) => return,
                Err(_) => {
                    let answered = self.beat(listener, beat);
                    if !matches!(tokio::time::timeout(HEARTBEAT_PATIENCE, answered).await, Ok(true))
                    {
                        return;
                    }
                }
            }
        }
    }

    /// Notifies itself and waits until that arrives, applying what comes before.
    async fn beat(&self, listener: &mut PgListener, beat: &str) -> bool {
        let sent = sqlx::query("SELECT pg_notify($1, '')").bind(beat).execute(&mut *listener).await;
        if sent.is_err() {
            return false;
        }
        loop {
            match listener.try_recv().await {
                Ok(Some(notification)) if notification.channel() == beat => return true,
                Ok(Some(notification)) => self.receive(&notification).await,
                Ok(None) | Err(_) => return false,
            }
        }
    }

    async fn receive(&self, notification: &PgNotification) {
        if notification.channel() == CHANNEL {
            // `POLL_NOW` decodes as no message, which asks for a poll.
            self.applier.receive(notification.payload(), EvictedBy::Notify).await;
        }
    }
}
