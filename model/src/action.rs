//! What can happen next.

/// Whether something reached the server, and whether its answer came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// It did, and the answer came.
    Succeeds,
    /// It did; the answer did not come in time.
    TimesOutDone,
    /// It did not.
    TimesOutUndone,
}

/// By what a write is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettledBy {
    /// The others' acknowledgements.
    Acknowledgements,
    /// The others' rows.
    Rows,
    /// A whole bound.
    Time,
}

/// A step of somebody. The first number is the replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    // Time, others, and faults.
    Tick,
    PsqlBegin { key: u8 },
    PsqlCommit { at: usize },
    Prune,
    RemoveRow { id: u8 },
    RedisRestart,
    RedisReplicate,
    RedisFailover { old_lives: bool },
    RedisFlush,
    RedisLosesMarker,
    Crash(usize),
    Stop(usize),
    Start(usize),
    Disconnect(usize),
    // The round.
    StartStep(usize),
    Renew(usize),
    Poll(usize),
    ApplyPolled(usize, Call),
    Complete(usize),
    AdvanceMarker(usize),
    // The bus.
    Deliver(usize, usize),
    ApplyDelivered(usize, Call),
    // The connection to L2.
    Connect(usize, u8),
    ReadMarker(usize),
    Introduce(usize),
    Replay(usize, Call),
    SetEpoch(usize),
    // A read.
    Invoke(usize, u8),
    Look(usize),
    Answer(usize),
    HangUp(usize),
    // A load: the second number is its place.
    CheckTrust(usize, usize),
    AskL2(usize, usize),
    AskDatabase(usize, usize),
    Land(usize, usize),
    Store(usize, usize),
    FillL2(usize, usize),
    DropFill(usize, usize),
    // A write.
    Write(usize, u8),
    ApplyOwn(usize, Call),
    ReadRows(usize),
    FailToReadRows(usize),
    Settle(usize, SettledBy),
}
