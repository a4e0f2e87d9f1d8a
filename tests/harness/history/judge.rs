//! The judgement on the reads of one key.

use std::collections::HashMap;

use super::{Becomes, Fault, Marks, Moment, Read, State, Write};

/// The writes of a key, arranged so that a read is judged in a few steps.
pub(super) struct Judge {
    marks: Marks,
    /// Of acknowledged writes, by number and by invocation: when the first write that is at least
    /// so late was acknowledged.
    by_order: Steps,
    by_invocation: Steps,
    /// For each state the writes that establish it, by invocation: until when the longest-lived of
    /// those so far was current.
    candidates: HashMap<State, Vec<(Moment, Moment)>>,
    /// Of writes whose mark nobody knows, by owner: the first invocation.
    unmarked: HashMap<u32, Moment>,
}

impl Judge {
    pub(super) fn of(marks: Marks, writes: &[Write]) -> Self {
        let acknowledged = |write: &Write| Some((*write, write.acknowledged?));
        let acknowledged: Vec<(Write, Moment)> = writes.iter().filter_map(acknowledged).collect();
        let numbered = acknowledged.iter().filter_map(|(write, at)| Some((write.order?, *at)));
        let invoked = acknowledged.iter().map(|(write, at)| (write.invoked.0, *at));
        let mut judge = Self {
            marks,
            by_order: Steps::of(numbered),
            by_invocation: Steps::of(invoked),
            candidates: HashMap::new(),
            unmarked: HashMap::new(),
        };
        let mut writes: Vec<&Write> = writes.iter().collect();
        writes.sort_by_key(|write| write.invoked);
        for write in writes {
            let state = match write.becomes {
                Becomes::Absent => State::Absent,
                Becomes::Is { owner, mark: Some(mark) } => State::Is { owner, mark },
                Becomes::Is { owner, mark: None } => {
                    judge.unmarked.entry(owner).or_insert(write.invoked);
                    continue;
                }
            };
            let until = judge.fresh_until(write);
            let list = judge.candidates.entry(state).or_default();
            let longest = list.last().map_or(until, |&(_, before)| before.max(until));
            list.push((write.invoked, longest));
        }
        judge
    }

    /// When the first write was acknowledged that certainly came after this one.
    pub(super) fn fresh_until(&self, write: &Write) -> Moment {
        let by_order = write.order.map_or(Moment::NEVER, |order| self.by_order.after(order));
        let by_time = write.acknowledged.map_or(Moment::NEVER, |at| self.by_invocation.after(at.0));
        by_order.min(by_time).min(write.overridden)
    }

    /// What is wrong with a read, if anything is.
    pub(super) fn fault(&self, read: &Read) -> Option<Fault> {
        let Some(until) = self.longest(read) else { return Some(Fault::FromNowhere) };
        (until < read.invoked).then_some(Fault::Old { since: until })
    }

    /// Until when the state was current at most; nothing if no write can have established it.
    fn longest(&self, read: &Read) -> Option<Moment> {
        if let Some(list) = self.candidates.get(&read.state) {
            let so_far = list.partition_point(|&(invoked, _)| invoked <= read.completed);
            return Some(list[so_far.checked_sub(1)?].1);
        }
        // Perhaps of a write whose revision nobody was told: it has its place by its number.
        let State::Is { owner, mark } = read.state else { return None };
        let may_be = self.marks == Marks::Revisions
            && self.unmarked.get(&owner).is_some_and(|&invoked| invoked <= read.completed);
        may_be.then(|| self.by_order.after(mark))
    }
}

/// For each number the first acknowledgement of all that come after it.
struct Steps(Vec<(u64, Moment)>);

impl Steps {
    fn of(points: impl Iterator<Item = (u64, Moment)>) -> Self {
        let mut points: Vec<(u64, Moment)> = points.collect();
        points.sort_unstable();
        let mut first = Moment::NEVER;
        for (_, at) in points.iter_mut().rev() {
            first = first.min(*at);
            *at = first;
        }
        Self(points)
    }

    fn after(&self, number: u64) -> Moment {
        let next = self.0.partition_point(|&(found, _)| found <= number);
        self.0.get(next).map_or(Moment::NEVER, |&(_, at)| at)
    }
}
