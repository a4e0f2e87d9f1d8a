//! Changes over Redis pub/sub.

use std::sync::Arc;

use futures_util::StreamExt;
use redis::aio::{PubSubSink, PubSubStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::intake::{Intake, intake};
use super::{Applier, Backoff, Barriers, CHANNEL, HEARTBEAT, HEARTBEAT_PATIENCE};
use super::{acknowledgements_of, connected};
use crate::cache::EvictedBy;
use crate::cache::l2::{L2, L2Error, Subscriber};
use crate::telemetry::logging::chain;

/// Stays subscribed, and has applied what arrives.
pub struct SubscribeTask {
    /// The server, and the prefix of its channels.
    pub l2: Arc<L2>,
    /// Where changes go.
    pub applier: Arc<Applier>,
    /// Where acknowledgements of this replica's own writes go.
    pub barriers: Arc<Barriers>,
}

impl SubscribeTask {
    /// Runs until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let (intake, waiting) = intake(&self.applier, EvictedBy::Redis);
        let work = async { tokio::join!(self.keep_subscribed(intake), waiting.apply()) };
        stop.run_until_cancelled(work).await;
    }

    async fn keep_subscribed(&self, intake: Intake) {
        let (mut backoff, mut said) = (Backoff::new(), false);
        loop {
            let subscribed = tokio::time::timeout(HEARTBEAT_PATIENCE, self.subscribe()).await;
            let failure = match subscribed {
                Ok(Ok((sink, stream, server))) => {
                    said = false;
                    connected(EvictedBy::Redis, true);
                    self.barriers.set_hear(true);
                    // What was published while nobody listened is in the log.
                    self.applier.want_poll();
                    let since = Instant::now();
                    tokio::select! {
                        () = self.listen(sink, stream, &intake) => {}
                        // Nobody publishes there any more, whether it answers or not.
                        () = self.l2.has_left(&server) => {}
                    }
                    self.applier.want_poll();
                    backoff.reset_after(since.elapsed());
                    tracing::warn!("Redis subscription lost; changes arrive by the other sources");
                    None
                }
                Ok(Err(error)) => Some(chain(&error)),
                Err(_) => Some("no answer in time".to_owned()),
            };
            connected(EvictedBy::Redis, false);
            self.barriers.set_hear(false);
            // Once an outage, not once an attempt.
            if let Some(error) = failure
                && !std::mem::replace(&mut said, true)
            {
                tracing::warn!(error, "subscribing fails; changes arrive by the other sources");
            }
            backoff.wait().await;
        }
    }

    /// Subscribes on the server that this replica is connected to, and says which. Returns once it
    /// has confirmed the subscription.
    async fn subscribe(&self) -> Result<(PubSubSink, PubSubStream, String), L2Error> {
        let Subscriber { connection, server } = self.l2.subscriber().await?;
        let (mut sink, stream) = connection.split();
        let acknowledgements = acknowledgements_of(self.applier.origin());
        let channels = [CHANNEL, &acknowledgements].map(|name| self.l2.channel(name));
        sink.subscribe(&channels).await.map_err(L2Error::Redis)?;
        Ok((sink, stream, server))
    }

    fn take(&self, message: &redis::Msg, intake: &Intake) {
        if message.get_channel_name() == self.l2.channel(CHANNEL) {
            match message.get_payload::<String>() {
                Ok(text) => intake.take(text),
                Err(_) => self.applier.want_poll(),
            }
        } else if let Ok(said) = serde_json::from_slice(message.get_payload_bytes()) {
            // Not behind the changes: a write waits for it, and it is done in no time.
            self.barriers.acknowledged(&said);
        }
    }

    /// Takes messages until the connection ends. (Its stream simply ends with it, and a half-open
    /// connection never does: hence the ping.)
    async fn listen(&self, mut sink: PubSubSink, mut stream: PubSubStream, intake: &Intake) {
        loop {
            match tokio::time::timeout(HEARTBEAT, stream.next()).await {
                Ok(Some(message)) => self.take(&message, intake),
                Ok(None) => return,
                Err(_) => {
                    let ping = sink.ping::<redis::Value>();
                    if !matches!(tokio::time::timeout(HEARTBEAT_PATIENCE, ping).await, Ok(Ok(_))) {
                        return;
                    }
                }
            }
        }
    }
}
