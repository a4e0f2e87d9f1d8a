//! What was written and what was read, a key at a time, and whether any answer was too old.
//!
//! Judged is the promise: a read that is **invoked after** a write was acknowledged does not answer
//! an older state than that write's, unless it is labelled stale. The moments are of one monotonic
//! clock, taken by the client: before a request is sent, and after its answer is there.
//!
//! Two writes of one key are in a *certain order* if the answers number them (a tenant's revision,
//! a credential's version), or if one was acknowledged before the other was invoked. Where neither
//! holds they are concurrent: either may have been the last.
//!
//! There are no false alarms, so some true ones are missed:
//! - the loser of two concurrent writes that nothing numbers, answered after both;
//! - a state that a write of unknown outcome would establish, however late it is answered, unless
//!   the answer is numbered: that write may still take effect;
//! - an old state that a later write established again, which can't be told from it;
//! - answers that go back in time between a write's commit and its acknowledgement: no promise.

mod judge;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use self::judge::Judge;

/// Since the beginning of the history, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(pub u64);

impl Moment {
    /// Later than all others.
    pub const NEVER: Self = Self(u64::MAX);

    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// What can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(u32);

/// What the marks of a key's states are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marks {
    /// Numbers in the order of the commits, never used twice: a tenant's revision.
    Revisions,
    /// Made up by the writer, in no order: the end of a token.
    Tags,
}

/// What a key answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// 404.
    Absent,
    /// 200: whose it is, and which value.
    Is { owner: u32, mark: u64 },
}

/// What a write makes of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Becomes {
    Absent,
    /// Without a mark where only the write's answer tells it, or none does.
    Is {
        owner: u32,
        mark: Option<u64>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effect {
    pub key: Key,
    pub becomes: Becomes,
}

/// What the answer to a write tells of its place among the writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Numbers {
    /// Of the tenant: orders the keys with [`Marks::Revisions`] that it touched.
    pub revision: Option<u64>,
    /// Of the credential: orders those with [`Marks::Tags`].
    pub version: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    pub key: Key,
    pub replica: u8,
    pub invoked: Moment,
    pub completed: Moment,
    pub state: State,
    /// Whether it was labelled as possibly old.
    pub is_stale: bool,
}

/// Names a write until its outcome is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteId(u64);

#[derive(Clone, Copy, Debug)]
struct Write {
    id: u64,
    invoked: Moment,
    /// Without one it may take effect at any time, or never.
    acknowledged: Option<Moment>,
    becomes: Becomes,
    order: Option<u64>,
    /// When the first write that came after it was acknowledged, as far as such are forgotten.
    overridden: Moment,
}

struct Timeline {
    name: String,
    marks: Marks,
    writes: Vec<Write>,
}

/// See the module.
#[derive(Default)]
pub struct History {
    timelines: Vec<Timeline>,
    /// Keys of the writes whose outcome is not known.
    pending: BTreeMap<u64, Vec<Key>>,
    last: u64,
}

impl History {
    /// A further key, absent from the beginning.
    pub fn key(&mut self, name: impl Into<String>, marks: Marks) -> Key {
        let start = Some(Moment::default());
        let absent = Write {
            id: 0,
            invoked: Moment::default(),
            acknowledged: start,
            becomes: Becomes::Absent,
            order: None,
            overridden: Moment::NEVER,
        };
        self.timelines.push(Timeline { name: name.into(), marks, writes: vec![absent] });
        Key(u32::try_from(self.timelines.len() - 1).expect("few keys"))
    }

    /// A write, before it is sent. Until more is known it may or may not take effect.
    pub fn begin(&mut self, invoked: Moment, effects: &[Effect]) -> WriteId {
        self.last += 1;
        let id = self.last;
        for &Effect { key, becomes } in effects {
            let overridden = Moment::NEVER;
            let write = Write { id, invoked, acknowledged: None, becomes, order: None, overridden };
            self.timeline(key).writes.push(write);
        }
        self.pending.insert(id, effects.iter().map(|effect| effect.key).collect());
        WriteId(id)
    }

    /// It was acknowledged, so it has taken effect.
    pub fn acknowledge(&mut self, WriteId(id): WriteId, completed: Moment, numbers: Numbers) {
        for key in self.pending.remove(&id).expect("a write ends once") {
            let timeline = self.timeline(key);
            let marks = timeline.marks;
            for write in timeline.writes.iter_mut().rev().filter(|write| write.id == id) {
                write.acknowledged = Some(completed);
                write.order = match marks {
                    Marks::Revisions => numbers.revision,
                    Marks::Tags => numbers.version,
                };
                if let (Marks::Revisions, Becomes::Is { mark, .. }) = (marks, &mut write.becomes) {
                    *mark = numbers.revision;
                }
            }
        }
    }

    /// It was refused, so it never takes effect.
    pub fn refuse(&mut self, WriteId(id): WriteId) {
        for key in self.pending.remove(&id).expect("a write ends once") {
            self.timeline(key).writes.retain(|write| write.id != id);
        }
    }

    /// The reads that break the promise.
    ///
    /// To be asked once every write that was acknowledged before one of the reads was invoked is
    /// recorded as such: what is recorded later can only make a violation be missed.
    pub fn violations(&self, reads: &[Read]) -> Vec<Violation> {
        let mut by_key: BTreeMap<Key, Vec<&Read>> = BTreeMap::new();
        for read in reads.iter().filter(|read| !read.is_stale) {
            by_key.entry(read.key).or_default().push(read);
        }
        let mut violations = Vec::new();
        for (Key(number), reads) in by_key {
            let Timeline { name, marks, writes } = &self.timelines[number as usize];
            let judge = Judge::of(*marks, writes);
            violations.extend(reads.into_iter().filter_map(|&read| {
                let fault = judge.fault(&read)?;
                Some(Violation { key: name.clone(), read, fault })
            }));
        }
        violations.sort_by_key(|violation| violation.read.invoked);
        violations
    }

    /// Forgets what no longer counts for reads that are invoked after this moment: states that were
    /// overridden before it. Whoever still answers one of these answers what nobody knows of.
    pub fn forget_before(&mut self, moment: Moment) {
        for timeline in &mut self.timelines {
            let judge = Judge::of(timeline.marks, &timeline.writes);
            // The highest number stays: it is what smaller ones are older than.
            let before = |write: &&Write| write.acknowledged.is_some_and(|at| at < moment);
            let highest =
                timeline.writes.iter().filter(before).filter_map(|write| write.order).max();
            timeline.writes.retain_mut(|write| {
                write.overridden = judge.fresh_until(write);
                write.overridden >= moment || (highest.is_some() && write.order == highest)
            });
        }
    }

    fn timeline(&mut self, Key(number): Key) -> &mut Timeline {
        &mut self.timelines[number as usize]
    }
}

/// A read that breaks the promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub key: String,
    pub read: Read,
    pub fault: Fault,
}

/// What is wrong with a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The state was certainly overridden, and that acknowledged at this moment, before the read.
    Old { since: Moment },
    /// No write that was invoked before the answer establishes the state.
    FromNowhere,
}

impl Violation {
    /// How long before the read the write was acknowledged that it should have seen.
    pub fn lateness(&self) -> Duration {
        match self.fault {
            Fault::Old { since } => self.read.invoked.since(since),
            Fault::FromNowhere => Duration::ZERO,
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Read { replica, invoked, completed, state, .. } = self.read;
        let seconds = Duration::from_nanos(invoked.0).as_secs_f64();
        let took = completed.since(invoked);
        write!(f, "{} on replica {replica} at {seconds:.6} s (for {took:?}): ", self.key)?;
        match state {
            State::Absent => f.write_str("absent")?,
            State::Is { owner, mark } => write!(f, "tenant {owner}, value {mark}")?,
        }
        match self.fault {
            Fault::Old { .. } => {
                write!(
                    f,
                    ", though overridden by a write acknowledged {:?} before",
                    self.lateness()
                )
            }
            Fault::FromNowhere => f.write_str(", which no write establishes"),
        }
    }
}
