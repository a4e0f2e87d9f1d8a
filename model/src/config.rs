//! How large a world is, and what may go wrong in it.

/// How many keys there may be.
pub const MAX_KEYS: usize = 2;
/// How many writes there may be.
pub const MAX_WRITES: usize = 4;
/// The clock at the beginning. A bound is one tick, and the replicas have seen the database for one.
pub const DAWN: u64 = 1;

/// What L2 is at the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum L2 {
    /// Not configured.
    Absent,
    /// Empty, without a marker; nobody is connected.
    Empty,
    /// It has a marker, and the first value of every key; nobody is connected.
    Warm,
    /// The same, and every replica trusts it.
    Trusted,
}

/// Bounds of a world. Faults are numbers of times.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Config {
    /// What the bounds are for.
    pub name: &'static str,
    /// Keys.
    pub keys: u8,
    /// Replicas that are up at the beginning, of two. The others join.
    pub up: u8,
    /// Whose answers are judged. What another replica has in L1 is nobody else's business, so that
    /// one only loads, and only where L2 is: for that, and with its rows, it can do harm.
    pub observed: u8,
    /// Whether the other one loads.
    pub fillers: bool,
    /// Every step by itself. Otherwise steps are made together where an order of others in between
    /// could only make answers newer: see `docs/model.md`.
    pub fine: bool,
    /// Which replicas write (bits).
    pub writers: u8,
    /// Writes by replicas.
    pub writes: u8,
    /// Writes by somebody else, in transactions that take a while.
    pub psql: u8,
    /// Ticks, each a whole bound.
    pub ticks: u8,
    /// Loads under way at once on a replica.
    pub loads: u8,
    /// What L2 is at first.
    pub l2: L2,
    /// Whether L1 has the first value of every key.
    pub warm_l1: bool,
    /// Whether changes travel over a bus. (They may always be lost there.)
    pub bus: bool,
    /// Crashes, or ends.
    pub crashes: u8,
    /// Starts: of joiners, and after a crash.
    pub starts: u8,
    /// Connections to Redis that break, noticed at once.
    pub disconnects: u8,
    /// Revocations without an answer, with or without effect.
    pub timeouts: u8,
    /// Redis restarts empty.
    pub restarts: u8,
    /// Redis fails over to what was last replicated; connections to the old server may live on.
    pub failovers: u8,
    /// Replications to the one that is failed over to, beside that at the beginning.
    pub replications: u8,
    /// Redis loses its marker, or everything, while connections live on.
    pub flushes: u8,
    /// The log is pruned up to the present.
    pub prunes: u8,
    /// Rows that stand still are removed.
    pub census: bool,
    /// A writer may fail to read the rows.
    pub blind: bool,
}

impl Config {
    /// Two replicas that are up, a key, a write by the first replica, no fault.
    pub const SMALL: Self = Self {
        name: "small",
        keys: 1,
        up: 2,
        observed: 1,
        fillers: true,
        fine: false,
        writers: 0b01,
        writes: 1,
        psql: 0,
        ticks: 1,
        loads: 1,
        l2: L2::Absent,
        warm_l1: false,
        bus: true,
        crashes: 0,
        starts: 0,
        disconnects: 0,
        timeouts: 0,
        restarts: 0,
        failovers: 0,
        replications: 0,
        flushes: 0,
        prunes: 0,
        census: false,
        blind: false,
    };
}
