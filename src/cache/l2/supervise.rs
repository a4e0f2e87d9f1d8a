//! Keeps Redis connected.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::session::{self, Session, identify};
use super::{L2, L2Error};
use crate::telemetry::logging::chain;

/// For all that it takes to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
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
                        let error = chain(&error);
                        tracing::warn!(error, "Redis is out of reach; serving without it");
                    }
                    let pause = tokio::time::sleep(backoff.mul_f64(0.5 + fastrand::f64() / 2.0));
                    stop.run_until_cancelled(pause).await;
                    backoff = (backoff * 2).min(LONGEST_BACKOFF);
                }
            }
        }
    }

    /// Connects once. As soon as there is a connection every revocation goes over it; only then its
    /// epoch begins, and only after that entries are read and filled.
    ///
    /// # Errors
    /// Redis is out of reach, or is a replica.
    pub async fn connect(&self) -> Result<(), L2Error> {
        let open = session::open(&self.client, &self.prefix);
        let opened = match tokio::time::timeout(CONNECT_TIMEOUT, open).await {
            Ok(opened) => opened.map_err(L2Error::Redis)?,
            Err(_) => return Err(L2Error::Timeout),
        };
        let session = {
            let mut current = self.current();
            let session = Arc::new(Session::new(opened, current.epoch_key.clone()));
            current.session = Some(Arc::clone(&session));
            session
        };
        // On failure it is dropped without ever having been trusted.
        self.bounded(&session, session.begin_epoch()).await?;
        session.trust();
        tracing::info!("connected to Redis");
        Ok(())
    }

    /// Returns once there is no connection: a request, or a missed heartbeat, has dropped it.
    async fn watch(&self) {
        while let Some(session) = self.session() {
            tokio::select! {
                () = self.lost.notified() => {}
                // A failure drops the session, which ends the loop.
                () = tokio::time::sleep(HEARTBEAT) => drop(self.beat(&session).await),
            }
        }
    }

    /// Asks who the server is: one that was demoted and promoted meanwhile keeps its connections.
    async fn beat(&self, session: &Arc<Session>) -> Result<(), L2Error> {
        let mut connection = session.connection();
        let identify = identify(&mut connection, &self.client, &self.prefix);
        if self.bounded(session, identify).await? != session.server {
            self.drop_session(session, &L2Error::OtherServer);
        }
        Ok(())
    }
}
