//! Makes the connection to Redis, and finds out when it is lost.

use std::sync::Arc;
use std::time::Duration;

use super::link::Link;
use super::session::{Session, identify};
use super::source::Guide;
use super::{L2, L2Error, scripts};

/// For all that it takes to connect to one server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// An idle connection that is dead is found after this long.
const HEARTBEAT: Duration = Duration::from_secs(1);

impl L2 {
    /// Connects once, to the server that is the master now. From here on every revocation goes over
    /// this connection; nothing is read or filled before [`Link::trust`].
    ///
    /// # Errors
    /// Redis is out of reach, or is a replica, or a node of a Cluster.
    pub async fn connect(self: &Arc<Self>) -> Result<Link, L2Error> {
        let mut failure = L2Error::Off;
        for guide in self.source.guides() {
            match self.open(&guide).await {
                Ok(session) => {
                    let session = Arc::new(session);
                    self.replace(Some(Arc::clone(&session)));
                    return Ok(Link::new(Arc::clone(self), session));
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    async fn open(&self, guide: &Guide<'_>) -> Result<Session, L2Error> {
        let open = Session::open(guide.ask().await?, &self.prefix);
        match tokio::time::timeout(CONNECT_TIMEOUT, open).await {
            Ok(opened) => opened.map_err(L2Error::Redis),
            Err(_) => Err(L2Error::Timeout),
        }
    }

    /// Returns once there is no connection: a request, or a missed heartbeat, has dropped it.
    pub async fn lost(&self) {
        let mut current = self.current.subscribe();
        while let Some(session) = self.session() {
            let gone = async { drop(current.wait_for(Option::is_none).await) };
            if tokio::time::timeout(HEARTBEAT, gone).await.is_err() {
                // A failure drops the session, which ends the loop.
                drop(self.beat(&session).await);
            }
        }
    }

    /// Asks who the server is: one that was demoted and promoted meanwhile keeps its connections.
    /// And in which epoch it is: after a flush the next one to connect begins another, and each
    /// would displace what the other one fills.
    async fn beat(&self, session: &Arc<Session>) -> Result<(), L2Error> {
        let mut connection = session.connection();
        let identify = identify(&mut connection, &session.at, &self.prefix);
        if self.bounded(session, identify).await? != session.server {
            self.drop_session(session, &L2Error::OtherServer);
        }
        let Some(epoch) = session.epoch() else { return Ok(()) };
        let key = self.marker_key();
        let read = scripts::read_marker(session.connection(), &key);
        let found = self.bounded(session, read).await?;
        if found.marker().is_some_and(|marker| marker.epoch != epoch) {
            self.drop_session(session, &L2Error::OtherEpoch);
        }
        Ok(())
    }
}
