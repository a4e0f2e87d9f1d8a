//! Telling whoever listens.

use super::{Postgres, bounded};
use crate::store::StoreResult;

impl Postgres {
    /// Sends messages to a channel, in one statement. Never within a write's transaction: NOTIFY
    /// takes a lock on the whole cluster until its own one ends.
    ///
    /// # Errors
    /// The database is out of reach; what was sent is not known.
    pub async fn notify(&self, channel: &str, messages: &[String]) -> StoreResult<()> {
        let mut lease = self.lease().await?;
        let statement =
            sqlx::query("SELECT pg_notify($1, message) FROM unnest($2::text[]) message")
                .bind(channel)
                .bind(messages);
        let sent = bounded("notify", async {
            statement.execute(&mut *lease).await?;
            Ok(())
        })
        .await;
        lease.settle(sent)
    }
}
