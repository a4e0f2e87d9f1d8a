//! Between a bus and the changes' taking effect: where messages wait, never too many of them.
//!
//! A driver is relieved of its messages as they come. The subscription to Redis would keep them in
//! memory without a limit; LISTEN would leave them with the server, where they hold up the one
//! queue that all listeners of the cluster share. Here they are applied in batches, for a change
//! that takes a round trip to Redis must not keep the next one waiting for its own. What finds no
//! place is left to the log: the poll applies it, and most of what is still waiting with it.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::apply::BATCH;
use super::{Applier, LONGEST_MESSAGE};
use crate::cache::EvictedBy;

/// So many messages wait at most.
const QUEUE: usize = 1_024;

/// Where a source leaves its messages.
pub struct Intake {
    queue: mpsc::Sender<String>,
    applier: Arc<Applier>,
}

/// Applies what waits.
pub struct Waiting {
    queue: mpsc::Receiver<String>,
    applier: Arc<Applier>,
    source: EvictedBy,
}

/// A place to wait for the messages of this source, and who applies them.
pub fn intake(applier: &Arc<Applier>, source: EvictedBy) -> (Intake, Waiting) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let intake = Intake { queue: sender, applier: Arc::clone(applier) };
    (intake, Waiting { queue: receiver, applier: Arc::clone(applier), source })
}

impl Intake {
    /// Has a message applied, or the log asked for what it would have told.
    pub fn take(&self, message: String) {
        if message.len() > LONGEST_MESSAGE || self.queue.try_send(message).is_err() {
            self.applier.want_poll();
        }
    }
}

impl Waiting {
    /// Applies messages for as long as there is an [`Intake`].
    pub async fn apply(mut self) {
        let mut batch = Vec::new();
        while self.queue.recv_many(&mut batch, BATCH).await > 0 {
            self.applier.receive(&batch, self.source).await;
            batch.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::feed::apply::tests::{applier, change};
    use crate::feed::wire::Message;

    fn message(seq: i64) -> String {
        let (origin, database) = ("another".into(), "database".into());
        let changes = vec![change(seq)];
        let message = Message { origin, database, redis: None, hears: true, after: None, changes };
        message.encode().unwrap()
    }

    fn poll_is_wanted(applier: &Applier) -> bool {
        applier.poll_wanted().now_or_never().is_some()
    }

    #[tokio::test]
    async fn what_finds_no_place_is_left_to_the_log() {
        let applier = applier();
        let (intake, waiting) = intake(&applier, EvictedBy::Redis);
        for message in (1..).map(message).take(QUEUE) {
            intake.take(message);
        }
        assert!(!poll_is_wanted(&applier), "all of them wait");
        for message in (1..20_000).map(message) {
            intake.take(message);
        }
        assert!(poll_is_wanted(&applier));
        assert_eq!(waiting.queue.len(), QUEUE);
        drop(intake);
        waiting.apply().await;
        // There is no Redis over which to acknowledge them.
        assert!(applier.take_is_to_show(), "what waited was applied");
    }

    #[tokio::test]
    async fn no_message_is_long() {
        let applier = applier();
        let (intake, waiting) = intake(&applier, EvictedBy::Redis);
        intake.take("x".repeat(LONGEST_MESSAGE + 1));
        assert!(poll_is_wanted(&applier));
        assert_eq!(waiting.queue.len(), 0);
    }

    /// A made-up number beyond all others is no reason to panic.
    #[tokio::test]
    async fn the_last_number_there_is() {
        let applier = applier();
        for seq in [i64::MAX, 1, i64::MAX, i64::MIN] {
            applier.receive(&[message(seq)], EvictedBy::Redis).await;
        }
        assert!(poll_is_wanted(&applier));
    }
}
