//! Trust in L2: whether what Redis holds may be served.
//!
//! Redis may lose what it was told to remove: in a restart, in a failover to a replica that was
//! behind, in a partition, in a flush. So nothing is believed of a server, only of one connection to
//! it, and every connection is born untrusted. A *marker* in Redis says how far the log of changes
//! has been revoked there; whoever connects revokes the rest, and only then trusts.

use super::{Cursor, Epoch, LogHead, LogIdentity, Restart, Snapshot};

/// What stands in Redis beside the entries.
///
/// It asserts: on this server's history, every change that `revoked` sees was revoked after its
/// commit, of the entries of this epoch. An entry of any other epoch is a miss.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Marker {
    /// Names the entries that it speaks of. Never used twice.
    pub epoch: String,
    /// The log that `revoked` is a position in.
    pub log: LogIdentity,
    /// The changes that were revoked.
    pub revoked: Snapshot,
}

impl Marker {
    /// Whether it may take the place of what is there: it goes on from a marker of its own epoch.
    #[must_use]
    pub fn advances(&self, found: Option<&Self>) -> bool {
        found.is_some_and(|found| found.epoch == self.epoch)
    }
}

/// What a new connection has to do before it is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Introduction {
    /// Revoke every change that the head sees and the marker does not.
    Replay,
    /// Set a new marker, unless somebody else did meanwhile: nothing is known of what is there.
    NewEpoch(Unknown),
}

/// Why nothing is known of the entries in Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Unknown {
    /// There is no marker: the server is new, was flushed, or has lost it.
    #[error("Redis has no marker")]
    NoMarker,
    /// The log does not reach back to the marker, or is not the marker's.
    #[error("the log does not go on from Redis' marker: {0}")]
    Log(Restart),
    /// A change that the marker does not see names no keys: it may be about any.
    #[error("a table was emptied since Redis' marker was written")]
    Reset,
}

/// Decides how a new connection is introduced: by the marker that was read over it, and the head of
/// the log, read after the marker. (A head that is behind the marker is that of another history.)
#[must_use]
pub fn introduce(marker: Option<&Marker>, head: &LogHead) -> Introduction {
    let Some(marker) = marker else { return Introduction::NewEpoch(Unknown::NoMarker) };
    match Cursor::at(marker.log.clone(), marker.revoked.clone()).continues_at(head) {
        Ok(()) => Introduction::Replay,
        Err(restart) => Introduction::NewEpoch(Unknown::Log(restart)),
    }
}

/// How far one connection is believed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum Trust {
    /// Revocations go over it, and nothing else.
    #[default]
    None,
    /// Entries of this epoch are read and filled.
    Full {
        /// The epoch.
        epoch: String,
    },
    /// A revocation failed, so nobody knows what the server holds. It never comes back: the
    /// connection is to be dropped.
    Lost,
}

impl Trust {
    /// The introduction is over: everything it asked for was done over this very connection.
    pub fn gain(&mut self, epoch: String) {
        if *self == Self::None {
            *self = Self::Full { epoch };
        }
    }

    /// A call over the connection failed, or its server has become another one.
    pub fn lose(&mut self) {
        *self = Self::Lost;
    }

    /// The epoch whose entries a load may read and fill, a load that has `noted` the epoch of its
    /// key in L1 already. The other way round, trust could be lost and L1 evicted in between: the
    /// load would carry what is no longer believed into L1, under an epoch that is current.
    #[must_use]
    pub fn checked_after(&self, _noted: Epoch) -> Option<&str> {
        self.epoch()
    }

    /// The marker to be written over this connection by a replica that has come to `cursor`: all
    /// that it sees was applied, and each revocation succeeded, or there would be no trust left.
    #[must_use]
    pub fn marker(&self, cursor: &Cursor) -> Option<Marker> {
        let epoch = self.epoch()?.to_owned();
        let (log, revoked) = (cursor.identity().clone(), cursor.snapshot().clone());
        Some(Marker { epoch, log, revoked })
    }

    /// The epoch whose entries may be read and filled.
    #[must_use]
    pub fn epoch(&self) -> Option<&str> {
        match self {
            Self::Full { epoch } => Some(epoch),
            Self::None | Self::Lost => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(database: &str) -> LogIdentity {
        LogIdentity { database: database.into(), timeline: "1".into() }
    }

    fn head(database: &str, snapshot: &str, pruned_below: u64) -> LogHead {
        LogHead { identity: log(database), snapshot: snapshot.parse().unwrap(), pruned_below }
    }

    #[test]
    fn a_marker_is_gone_on_from_or_replaced() {
        let revoked = "10:20:10".parse().unwrap();
        let marker = Marker { epoch: "e".into(), log: log("a"), revoked };
        let introduced = |head| introduce(Some(&marker), &head);
        assert_eq!(introduced(head("a", "30:30:", 10)), Introduction::Replay);
        assert_eq!(introduced(head("a", "10:20:10", 0)), Introduction::Replay);
        for (head, why) in [
            (head("a", "30:30:", 11), Restart::Pruned),
            (head("b", "30:30:", 0), Restart::OtherDatabase),
            (head("a", "15:15:", 0), Restart::Behind),
        ] {
            assert_eq!(introduced(head), Introduction::NewEpoch(Unknown::Log(why)));
        }
        let unmarked = introduce(None, &head("a", "30:30:", 0));
        assert_eq!(unmarked, Introduction::NewEpoch(Unknown::NoMarker));
    }

    #[test]
    fn a_marker_goes_on_in_its_own_epoch_alone() {
        let cursor = Cursor::starting_at(head("a", "30:30:", 0));
        let mut trust = Trust::default();
        assert_eq!(trust.marker(&cursor), None);
        trust.gain("e".into());
        let marker = trust.marker(&cursor).unwrap();
        assert_eq!((marker.epoch.as_str(), &marker.revoked), ("e", cursor.snapshot()));
        assert!(marker.advances(Some(&marker)));
        let other = Marker { epoch: "f".into(), ..marker.clone() };
        assert!(!marker.advances(Some(&other)));
        assert!(!marker.advances(None));
    }

    #[test]
    fn trust_that_was_lost_is_not_regained() {
        let mut trust = Trust::default();
        assert_eq!(trust.epoch(), None);
        trust.gain("e".into());
        assert_eq!(trust.epoch(), Some("e"));
        trust.lose();
        trust.gain("f".into());
        assert_eq!(trust.epoch(), None);
        // A revocation that fails while the introduction is under way.
        let mut early = Trust::default();
        early.lose();
        early.gain("e".into());
        assert_eq!(early.epoch(), None);
    }
}
