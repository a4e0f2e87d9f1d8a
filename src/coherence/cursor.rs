//! How far a replica has read the change log.
//!
//! The cursor *is* a transaction snapshot. A sequence number would lose changes, for transactions
//! do not commit in the order in which they drew their numbers.

use std::fmt;
use std::str::FromStr;

/// Which transactions are visible: Postgres' `pg_snapshot`, in its text form `xmin:xmax:xip,…`.
///
/// Source: PostgreSQL manual, "Transaction ID and Snapshot Information Functions". The log of
/// SQLite, where one writer commits after the other, is the special case without a running
/// transaction, the row id standing for the transaction id.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Snapshot {
    xmin: u64,
    xmax: u64,
    running: Vec<u64>,
}

/// The text is no snapshot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a transaction snapshot")]
pub struct SnapshotError;

impl Snapshot {
    /// The snapshot of a log whose rows are committed in the order of their numbers.
    #[must_use]
    pub const fn up_to(last: u64) -> Self {
        Self { xmin: last + 1, xmax: last + 1, running: Vec::new() }
    }

    /// The snapshot that sees every transaction below `next` but those that are `running`.
    #[must_use]
    pub fn below(next: u64, mut running: Vec<u64>) -> Self {
        running.retain(|xid| *xid < next);
        running.sort_unstable();
        Self { xmin: running.first().copied().unwrap_or(next), xmax: next, running }
    }

    /// Lowest transaction id that was still running: everything below is decided.
    #[must_use]
    pub const fn xmin(&self) -> u64 {
        self.xmin
    }

    /// One past the highest transaction id that was decided.
    #[must_use]
    pub const fn xmax(&self) -> u64 {
        self.xmax
    }

    /// Whether a transaction that committed is visible in this snapshot.
    #[must_use]
    pub fn sees(&self, xid: u64) -> bool {
        xid < self.xmin || (xid < self.xmax && !self.running.contains(&xid))
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:", self.xmin, self.xmax)?;
        for (position, xid) in self.running.iter().enumerate() {
            let comma = if position == 0 { "" } else { "," };
            write!(f, "{comma}{xid}")?;
        }
        Ok(())
    }
}

impl FromStr for Snapshot {
    type Err = SnapshotError;

    fn from_str(text: &str) -> Result<Self, SnapshotError> {
        let number = |text: &str| text.parse::<u64>().map_err(|_| SnapshotError);
        let mut parts = text.splitn(3, ':');
        let mut part = || parts.next().ok_or(SnapshotError);
        let (xmin, xmax, list) = (number(part()?)?, number(part()?)?, part()?);
        let running = list.split(',').filter(|xid| !xid.is_empty()).map(number);
        let running = running.collect::<Result<Vec<_>, _>>()?;
        if xmin > xmax || running.iter().any(|xid| !(xmin..xmax).contains(xid)) {
            return Err(SnapshotError);
        }
        Ok(Self { xmin, xmax, running })
    }
}

/// Which log this is: a restored or promoted server continues another history.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LogIdentity {
    /// System identifier of the cluster and the database within it.
    pub database: String,
    /// The timeline, which a promotion or a point-in-time recovery starts anew, and what else
    /// must not outlive a crash of the server.
    pub timeline: String,
}

/// What a poll finds at the head of the log.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LogHead {
    /// Which log.
    pub identity: LogIdentity,
    /// The snapshot in which the poll read.
    pub snapshot: Snapshot,
    /// Rows of transactions below this id may have been pruned.
    pub pruned_below: u64,
}

/// Up to where a replica has applied every change, and of which log.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cursor {
    identity: LogIdentity,
    snapshot: Snapshot,
}

/// Why a cursor can't go on: everything cached has to be dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Restart {
    /// The URL leads to another database than before.
    #[error("this is another database than before")]
    OtherDatabase,
    /// The server crashed, was promoted, or was recovered to a point in time. It may have lost
    /// transactions that it had not acknowledged, and give their ids to others.
    #[error("the database server has crashed, or was promoted or recovered")]
    OtherTimeline,
    /// The server knows fewer transactions than this replica has seen.
    #[error("the database is behind what this replica has already read")]
    Behind,
    /// Changes that this replica has not read were pruned from the log.
    #[error("changes that this replica has not read were pruned; raise CHANGE_LOG_RETENTION_HOURS")]
    Pruned,
}

impl Cursor {
    /// The cursor of a replica that has nothing cached and begins at `head`.
    #[must_use]
    pub fn starting_at(head: LogHead) -> Self {
        Self { identity: head.identity, snapshot: head.snapshot }
    }

    /// The cursor of whoever has dealt with all that `snapshot` sees in this log.
    #[must_use]
    pub const fn at(identity: LogIdentity, snapshot: Snapshot) -> Self {
        Self { identity, snapshot }
    }

    /// The log.
    #[must_use]
    pub const fn identity(&self) -> &LogIdentity {
        &self.identity
    }

    /// The snapshot after which to read.
    #[must_use]
    pub const fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Whether the log that a poll found continues what this cursor has read.
    ///
    /// # Errors
    /// It does not: the changes in between are unknown.
    pub fn continues_at(&self, head: &LogHead) -> Result<(), Restart> {
        if head.identity.database != self.identity.database {
            Err(Restart::OtherDatabase)
        } else if head.identity.timeline != self.identity.timeline {
            Err(Restart::OtherTimeline)
        } else if head.snapshot.xmax() < self.snapshot.xmax() {
            Err(Restart::Behind)
        } else if self.snapshot.xmin() < head.pruned_below {
            Err(Restart::Pruned)
        } else {
            Ok(())
        }
    }

    /// Moves to a snapshot all of whose changes have been applied.
    pub fn advance(&mut self, to: Snapshot) {
        self.snapshot = to;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn head(database: &str, timeline: &str, snapshot: &str, pruned_below: u64) -> LogHead {
        LogHead {
            identity: LogIdentity { database: database.into(), timeline: timeline.into() },
            snapshot: snapshot.parse().unwrap(),
            pruned_below,
        }
    }

    #[test]
    fn a_snapshot_sees_what_was_committed() {
        let snapshot: Snapshot = "10:20:10,14".parse().unwrap();
        assert!(snapshot.sees(9) && snapshot.sees(11) && snapshot.sees(19));
        assert!(!snapshot.sees(10) && !snapshot.sees(14) && !snapshot.sees(20));
        assert_eq!(Snapshot::below(20, vec![14, 10, 23]), snapshot);
        assert_eq!(Snapshot::below(6, vec![]), Snapshot::up_to(5));
        assert!(Snapshot::up_to(5).sees(5) && !Snapshot::up_to(5).sees(6));
        for bad in ["", "1", "1:2", "2:1:", "a:b:", "1:5:7", "1:5:0", "-1:2:"] {
            assert!(bad.parse::<Snapshot>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_cursor_goes_on_only_in_its_own_log() {
        let cursor = Cursor::starting_at(head("a", "1", "10:20:10", 0));
        assert_eq!(cursor.continues_at(&head("a", "1", "21:21:", 10)), Ok(()));
        let restart = |found| cursor.continues_at(&found).unwrap_err();
        assert_eq!(restart(head("b", "1", "21:21:", 0)), Restart::OtherDatabase);
        assert_eq!(restart(head("a", "2", "21:21:", 0)), Restart::OtherTimeline);
        assert_eq!(restart(head("a", "1", "10:19:", 0)), Restart::Behind);
        assert_eq!(restart(head("a", "1", "21:21:", 11)), Restart::Pruned);
    }

    proptest! {
        #[test]
        fn text_and_back(xmin in 0..1000_u64, extra in proptest::collection::btree_set(0..50_u64, 0..9)) {
            let running: Vec<_> = extra.iter().map(|x| xmin + x).collect();
            let xmax = running.last().map_or(xmin, |last| last + 1);
            let snapshot = Snapshot { xmin, xmax, running };
            prop_assert_eq!(snapshot.to_string().parse::<Snapshot>().unwrap(), snapshot);
        }
    }
}
