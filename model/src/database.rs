//! The database: what was committed, the log of it, and the replicas' rows.

use crate::coherence::{LogHead, LogIdentity, Snapshot};

/// A transaction that writes one key. Its id is one more than its place.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Transaction {
    /// The key.
    pub key: u8,
    /// The key's version that it committed; zero while it runs.
    pub version: u8,
    /// When it committed; zero once everybody has to know it.
    pub committed: u64,
}

/// A replica's row.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Row {
    /// The process.
    pub id: u8,
    /// What it has applied.
    pub applied: Snapshot,
    /// When it was last renewed. Stands for the counter, which moves whenever this does.
    pub renewed: u64,
}

/// The database.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Database {
    /// All transactions, in the order of their ids.
    pub transactions: Vec<Transaction>,
    /// Changes of transactions below this are no longer in the log.
    pub pruned_below: u64,
    /// The rows, in the order of processes.
    pub rows: Vec<Row>,
}

impl Database {
    /// What is visible now.
    pub fn snapshot(&self) -> Snapshot {
        let all = (1..).zip(&self.transactions);
        let running = all.filter(|(_, tx)| tx.version == 0).map(|(xid, _)| xid).collect();
        Snapshot::below(self.transactions.len() as u64 + 1, running)
    }

    /// The head of the log.
    pub fn head(&self) -> LogHead {
        let identity = LogIdentity { database: String::new(), timeline: String::new() };
        LogHead { identity, snapshot: self.snapshot(), pruned_below: self.pruned_below }
    }

    /// Changes that one snapshot sees and another does not, as bits.
    pub fn changes(&self, seen: &Snapshot, before: &Snapshot) -> u8 {
        let xids = (1..=self.transactions.len() as u64).filter(|xid| *xid >= self.pruned_below);
        let new = xids.filter(|xid| seen.sees(*xid) && !before.sees(*xid));
        new.fold(0, |bits, xid| bits | 1 << (xid - 1))
    }

    /// The keys of changes, as bits.
    pub fn keys(&self, changes: u8) -> u8 {
        let named = self.transactions.iter().enumerate().filter(|(at, _)| changes & 1 << at != 0);
        named.fold(0, |bits, (_, tx)| bits | 1 << tx.key)
    }

    /// The state of a key: how many writes it has seen. Zero is an absence like any other.
    pub fn version(&self, key: u8) -> u8 {
        let writes = self.transactions.iter().filter(|tx| tx.key == key);
        writes.map(|tx| tx.version).max().unwrap_or(0)
    }

    /// Whether a transaction that runs has the key's row locked.
    pub fn locked(&self, key: u8) -> bool {
        self.transactions.iter().any(|tx| tx.key == key && tx.version == 0)
    }

    /// Begins to write a key.
    pub fn begin(&mut self, key: u8) -> usize {
        self.transactions.push(Transaction { key, version: 0, committed: 0 });
        self.transactions.len() - 1
    }

    /// Commits the transaction in this place.
    pub fn commit(&mut self, at: usize, now: u64) {
        let version = self.version(self.transactions[at].key) + 1;
        let transaction = &mut self.transactions[at];
        (transaction.version, transaction.committed) = (version, now);
    }

    /// Writes a process' row.
    pub fn register(&mut self, id: u8, applied: Snapshot, now: u64) {
        self.remove(id);
        self.rows.push(Row { id, applied, renewed: now });
        self.rows.sort_by_key(|row| row.id);
    }

    /// Removes a process' row.
    pub fn remove(&mut self, id: u8) {
        self.rows.retain(|row| row.id != id);
    }
}
