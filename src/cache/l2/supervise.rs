//! Keeps Redis connected.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::session::Session;
use super::{L2, L2Error};

const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const LONGEST_BACKOFF: Duration = Duration::from_secs(2);
/// An idle connection that is dead is found after this long.
const HEARTBEAT: Duration = Duration::from_secs(1);

impl L2 {
    /// Keeps connected until `stop`.
    pub async fn supervise(self: Arc<Self>, stop: CancellationToken) {
        let mut backoff = FIRST_BACKOFF;
        let mut said = false;
        while stop.run_until_cancelled(self.watch()).await.is_some() {
            let Some(connected) = stop.run_until_cancelled(self.connect()).await else { return };
            match connected {
                Ok(()) => (backoff, said) = (FIRST_BACKOFF, false),
                Err(error) => {
                    // Once an outage, not once an attempt.
                    if !std::mem::replace(&mut said, true) {
                        tracing::warn!(%error, "Redis is out of reach; serving without it");
                    }
                    let pause = tokio::time::sleep(backoff.mul_f64(0.5 + fastrand::f64() / 2.0));
                    stop.run_until_cancelled(pause).await;
                    backoff = (backoff * 2).min(LONGEST_BACKOFF);
                }
            }
        }
    }

    /// Connects once.
    ///
    /// # Errors
    /// Redis is out of reach, or is a replica.
    pub async fn connect(&self) -> Result<(), L2Error> {
        let session = Session::open(&self.client, &self.epoch_key).await.map_err(L2Error::Redis)?;
        tracing::info!("connected to Redis");
        *self.session.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(session));
        Ok(())
    }

    /// Returns once there is no connection: a request, or a missed heartbeat, has dropped it.
    async fn watch(&self) {
        while let Some(session) = self.session() {
            tokio::select! {
                () = self.lost.notified() => {}
                () = tokio::time::sleep(HEARTBEAT) => {
                    let mut connection = session.connection();
                    let ping = async move {
                        redis::cmd("PING").query_async::<()>(&mut connection).await
                    };
                    // A failure drops the session, which ends the loop.
                    drop(self.bounded(&session, ping).await);
                }
            }
        }
    }
}
