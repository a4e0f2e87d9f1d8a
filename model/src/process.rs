//! A replica's process: what it has in memory, and what it is in the middle of.

use std::hash::{Hash, Hasher};

use crate::coherence::{
    Application, Barrier, Bound, Cursor, Epoch, Fence, Marker, Moment, Reading, Renewed, Snapshot,
    Source, Start, Stripe, Trust,
};
use crate::config::{DAWN, MAX_KEYS};
use crate::database::Row;

/// A tick is a nanosecond, a bound is a tick, and all clocks run alike.
pub const BOUND: Bound =
    Bound { bound: std::time::Duration::from_nanos(1), margin: std::time::Duration::ZERO };
/// Processes, as they call themselves.
pub const INSTANCES: [&str; 6] = ["p0", "p1", "p2", "p3", "p4", "p5"];

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its place in [`INSTANCES`]: never used twice.
    pub id: u8,
    /// Whether its answers are judged.
    pub observed: bool,
    /// When it first saw the database.
    pub born: u64,
    /// Its fence.
    pub fence: Fence,
    /// How far it has applied the log.
    pub cursor: Option<Cursor>,
    /// The round that moves its deadline.
    pub round: Round,
    /// Its connection to L2.
    pub link: Option<Link>,
    /// The epochs of L1 and the flights.
    pub stripes: [Stripe<u8, ()>; MAX_KEYS],
    /// The entries of L1.
    pub l1: [Option<u8>; MAX_KEYS],
    /// Changes that count as applied.
    pub recorded: u8,
    /// What a bus has brought and is being applied.
    pub bus: Option<Applying>,
    /// A read that is being answered.
    pub read: Option<Read>,
    /// Loads under way.
    pub loads: Vec<Load>,
    /// A write that is being made.
    pub write: Option<Write>,
}

/// What the background loop is doing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Round {
    /// Nothing.
    Idle,
    /// Starting, or starting over.
    Starting { start: Start, renewed: Option<Renewed> },
    /// Its row is renewed, and the log is to be read. (A guard is off: the log was read before.)
    Renewed { renewed: Renewed, read: Option<Snapshot> },
    /// Applies what it found.
    Applying { renewed: Renewed, seen: Snapshot, applying: Option<Applying> },
}

/// Changes that are being applied.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Applying {
    /// Which, as bits.
    pub changes: u8,
    /// How far.
    pub application: Application,
}

/// A connection to a Redis server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Link {
    /// The server's identity.
    pub server: u8,
    /// How far it is believed.
    pub trust: Trust,
    /// How far it is introduced.
    pub introduction: Introduced,
}

/// How far a connection is introduced.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Introduced {
    /// Just connected.
    Not,
    /// The marker was read.
    Marker(Option<Marker>),
    /// These keys are to be revoked, then this epoch is trusted.
    Replay { keys: u8, epoch: String },
    /// A new epoch is to be set, in place of what was read.
    NewEpoch { found: Option<Marker>, cursor: Cursor },
    /// Done.
    Done,
}

/// A read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Read {
    /// Of which key.
    pub key: u8,
    /// What it may not be older than: the state that was acknowledged when it was invoked.
    pub floor: u8,
    /// Its deadline.
    pub reading: Reading,
    /// How far it is.
    pub stage: ReadStage,
    /// (A guard is off: trust was checked first.)
    pub checked: Option<Permit>,
}

/// How far a read is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReadStage {
    /// Invoked.
    Invoked,
    /// Waits for a load.
    Waiting,
    /// Has a value.
    Found { version: u8, source: Source, tier: u8 },
}

/// The right to use L2: the server, and the epoch to go by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Permit {
    /// The server.
    pub server: u8,
    /// The epoch.
    pub epoch: u8,
}

/// A load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Of which key.
    pub key: u8,
    /// The key's epoch when it began.
    pub began: Epoch,
    /// Who waits for it.
    pub waiter: Waiter,
    /// How far it is.
    pub stage: LoadStage,
}

/// Who waits for a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Waiter {
    /// Nobody: the client has hung up.
    Nobody,
    /// The read that began it.
    Leader,
    /// A read that came to it.
    Joiner,
    /// (A guard is off: a fenced read that came to it.)
    FencedJoiner,
}

/// How far a load is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LoadStage {
    /// It has noted the epoch.
    Noted,
    /// It may ask L2.
    Permitted(Permit),
    /// It is to ask the database, perhaps under a lease.
    Missed(Option<Lease>),
    /// It has a value.
    Loaded { version: u8, source: Source, lease: Option<Lease> },
    /// (A guard is off: the epoch was current, and the value is stored next.)
    Storing { version: u8, lease: Option<Lease> },
    /// L1 and the waiting have it; L2 is to have it.
    Filling { version: u8, lease: Lease },
}

/// A fill lease in L2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lease {
    /// Where.
    pub server: u8,
    /// Which: unique among those that are in use.
    pub token: u8,
    /// The epoch it was taken in.
    pub epoch: u8,
}

/// A write.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Write {
    /// The place of its transaction.
    pub at: usize,
    /// The key.
    pub key: u8,
    /// The server on which its keys were revoked.
    pub revoked_on: Option<u8>,
    /// (A guard is off: the rows as they were before the commit.)
    pub early_rows: Option<Vec<Row>>,
    /// How far it is.
    pub stage: WriteStage,
}

/// How far a write is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum WriteStage {
    /// (A guard is off: it has read the rows and is to commit.)
    Early,
    /// Committed; it is applied here.
    Applying(Application),
    /// Published; the rows are to be read.
    Published,
    /// Waits for the others.
    Waiting(Barrier),
}

impl Process {
    /// A process that has just started.
    pub fn starting(id: u8, observed: bool, now: u64) -> Self {
        let mut start = Start::begin();
        // It is fenced and has no connection: nothing is to be done for that.
        start.done();
        start.done();
        Self {
            id,
            observed,
            born: now,
            fence: Fence::new(BOUND),
            cursor: None,
            round: Round::Starting { start, renewed: None },
            link: None,
            stripes: Default::default(),
            l1: [None; MAX_KEYS],
            recorded: 0,
            bus: None,
            read: None,
            loads: Vec::new(),
            write: None,
        }
    }

    /// A process that is up since long ago, with an empty log behind it.
    pub fn running(
        id: u8,
        observed: bool,
        cursor: Cursor,
        link: Option<Link>,
        l1: [Option<u8>; MAX_KEYS],
    ) -> Self {
        let mut process = Self::starting(id, observed, DAWN - 1);
        let renewed = process.fence.begin(at(DAWN)).committed();
        process.fence.complete(renewed);
        Self { cursor: Some(cursor), round: Round::Idle, link, l1, ..process }
    }

    /// Evicts keys, given as bits, from L1, and overtakes the loads under way.
    pub fn evict(&mut self, keys: u8) {
        for key in (0..MAX_KEYS).filter(|key| keys & 1 << key != 0) {
            self.stripes[key].evict();
            self.l1[key] = None;
        }
    }

    /// Where L2 may be read and filled.
    pub fn permit(&self, epoch: Option<&str>) -> Option<Permit> {
        let (server, epoch) = (self.link.as_ref()?.server, epoch?);
        Some(Permit { server, epoch: crate::redis::epoch_number(epoch) })
    }

    /// The load that waits for nobody yet and that a read may wait for.
    pub fn load_of(&mut self, key: u8, current: bool) -> Option<&mut Load> {
        let stripe = &self.stripes[usize::from(key)];
        self.loads.iter_mut().find(|load| {
            let landed = matches!(load.stage, LoadStage::Filling { .. });
            load.key == key && !landed && (!current || stripe.may_store(load.began))
        })
    }
}

/// The clock as the protocol reads it.
pub const fn at(tick: u64) -> Moment {
    Moment::from_nanos(tick)
}

/// Worlds that differ only in how many evictions there were go on alike: what counts is whether a
/// load's epoch is still current. (Flights are told by the loads.)
impl Hash for Process {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.id, self.born).hash(state);
        self.cursor.as_ref().map(Cursor::snapshot).hash(state);
        (&self.round, &self.link).hash(state);
        self.recorded.hash(state);
        if self.observed {
            (self.l1, self.fence.deadline()).hash(state);
        }
        (&self.bus, &self.read, &self.write).hash(state);
        for Load { key, began, waiter, stage } in &self.loads {
            let current = self.observed && self.stripes[usize::from(*key)].may_store(*began);
            (key, current, waiter, stage).hash(state);
        }
        self.loads.len().hash(state);
    }
}
