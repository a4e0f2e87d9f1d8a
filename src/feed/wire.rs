//! A change as a message on a bus.

use serde::{Deserialize, Serialize};

use crate::domain::{CacheKey, Change, ChangeKind};

/// A message: the change, who sent it, and where its keys were revoked already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The sending process. Drawn at its start, so a restarted one is another.
    pub origin: String,
    /// The database in whose log the change is.
    pub database: String,
    /// The Redis server on which the writer revoked the keys, if it did.
    pub redis: Option<String>,
    /// The change.
    pub change: Change,
}

#[derive(Serialize, Deserialize)]
struct Wire {
    seq: i64,
    xid: u64,
    tenant_id: Option<String>,
    kind: String,
    version: Option<i64>,
    keys: Vec<String>,
    occurred_at: jiff::Timestamp,
    origin: String,
    database: String,
    redis: Option<String>,
}

impl Message {
    /// The message as JSON; `None` if it cannot be written, which no change causes.
    #[must_use]
    pub fn encode(&self) -> Option<String> {
        let change = &self.change;
        let wire = Wire {
            seq: change.seq,
            xid: change.xid,
            tenant_id: change.tenant_id.clone(),
            kind: change.kind.to_string(),
            version: change.version,
            keys: change.keys.iter().map(ToString::to_string).collect(),
            occurred_at: change.occurred_at,
            origin: self.origin.clone(),
            database: self.database.clone(),
            redis: self.redis.clone(),
        };
        serde_json::to_string(&wire).ok()
    }

    /// Reads a message. `None`: it is none, or has a kind that this version does not know; either
    /// way the log has to be asked.
    #[must_use]
    pub fn decode(text: &str) -> Option<Self> {
        let wire: Wire = serde_json::from_str(text).ok()?;
        let kind: ChangeKind = wire.kind.parse().ok()?;
        // A name that is no key has nothing cached under it.
        let keys: Vec<CacheKey> = wire.keys.iter().filter_map(|key| key.parse().ok()).collect();
        let change = Change {
            seq: wire.seq,
            xid: wire.xid,
            tenant_id: wire.tenant_id,
            kind,
            version: wire.version,
            keys,
            occurred_at: wire.occurred_at,
        };
        Some(Self { origin: wire.origin, database: wire.database, redis: wire.redis, change })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        let message = Message {
            origin: "o".into(),
            database: "d".into(),
            redis: Some("run/repl".into()),
            change: Change {
                seq: 7,
                xid: 9,
                tenant_id: Some("t_1".into()),
                kind: ChangeKind::CredentialsUpdated,
                version: Some(3),
                keys: vec!["phone:1".parse().unwrap(), "tenant:t_1".parse().unwrap()],
                occurred_at: jiff::Timestamp::UNIX_EPOCH,
            },
        };
        let text = message.encode().unwrap();
        assert_eq!(Message::decode(&text), Some(message));
        assert_eq!(Message::decode(&text.replace("credentials.updated", "tenant.merged")), None);
        assert_eq!(Message::decode("poll"), None);
    }
}
