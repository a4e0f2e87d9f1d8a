//! What goes over a bus: the changes of a write, and the answer that they are applied.

use serde::{Deserialize, Serialize};

use crate::domain::Change;

/// The changes of one write, who made it, and where their keys were revoked already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The sending process. Drawn at its start, so a restarted one is another.
    pub origin: String,
    /// The database in whose log they are.
    pub database: String,
    /// The Redis server on which the writer revoked the keys, if it did.
    pub redis: Option<String>,
    /// Whether the writer hears acknowledgements over Redis. If not, it reads the rows.
    pub hears: bool,
    /// The transaction before it that wrote this tenant: see [`Applied`](crate::coherence::Applied).
    pub after: Option<u64>,
    /// The changes. They come together, so whoever has applied the message has applied the write.
    pub changes: Vec<Change>,
}

/// A replica has applied writes of another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// Who has.
    pub instance: String,
    /// The database in whose log they are.
    pub database: String,
    /// Their transactions.
    pub xids: Vec<u64>,
}

#[derive(Serialize, Deserialize)]
struct WireMessage {
    origin: String,
    database: String,
    redis: Option<String>,
    hears: bool,
    after: Option<u64>,
    changes: Vec<WireChange>,
}

#[derive(Serialize, Deserialize)]
struct WireChange {
    seq: i64,
    xid: u64,
    tenant_id: Option<String>,
    kind: String,
    version: Option<i64>,
    keys: Vec<String>,
    occurred_at: jiff::Timestamp,
}

impl From<&Change> for WireChange {
    fn from(change: &Change) -> Self {
        Self {
            seq: change.seq,
            xid: change.xid,
            tenant_id: change.tenant_id.clone(),
            kind: change.kind.to_string(),
            version: change.version,
            keys: change.keys.iter().map(ToString::to_string).collect(),
            occurred_at: change.occurred_at,
        }
    }
}

impl WireChange {
    fn read(self) -> Option<Change> {
        Some(Change {
            seq: self.seq,
            xid: self.xid,
            tenant_id: self.tenant_id,
            kind: self.kind.parse().ok()?,
            version: self.version,
            // A name that is no key has nothing cached under it.
            keys: self.keys.iter().filter_map(|key| key.parse().ok()).collect(),
            occurred_at: self.occurred_at,
        })
    }
}

impl Message {
    /// The message as JSON; `None` if it cannot be written, which no change causes.
    #[must_use]
    pub fn encode(&self) -> Option<String> {
        let wire = WireMessage {
            origin: self.origin.clone(),
            database: self.database.clone(),
            redis: self.redis.clone(),
            hears: self.hears,
            after: self.after,
            changes: self.changes.iter().map(WireChange::from).collect(),
        };
        serde_json::to_string(&wire).ok()
    }

    /// Reads a message. `None`: it is none, or has a kind that this version does not know; either
    /// way the log has to be asked.
    #[must_use]
    pub fn decode(text: &str) -> Option<Self> {
        let wire: WireMessage = serde_json::from_str(text).ok()?;
        let WireMessage { origin, database, redis, hears, after, changes } = wire;
        let changes = changes.into_iter().map(WireChange::read).collect::<Option<_>>()?;
        Some(Self { origin, database, redis, hears, after, changes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ChangeKind;

    #[test]
    fn text_and_back() {
        let message = Message {
            origin: "o".into(),
            database: "d".into(),
            redis: Some("run/repl".into()),
            hears: true,
            after: Some(8),
            changes: vec![Change {
                seq: 7,
                xid: 9,
                tenant_id: Some("t_1".into()),
                kind: ChangeKind::CredentialsUpdated,
                version: Some(3),
                keys: vec!["phone:1".parse().unwrap(), "tenant:t_1".parse().unwrap()],
                occurred_at: jiff::Timestamp::UNIX_EPOCH,
            }],
        };
        let text = message.encode().unwrap();
        assert_eq!(Message::decode(&text), Some(message));
        assert_eq!(Message::decode(&text.replace("credentials.updated", "tenant.merged")), None);
        assert_eq!(Message::decode("poll"), None);
    }
}
