//! The checker sees every violation that it says it sees, and nothing else.

use fastrand::Rng;
use proptest::prelude::*;

use crate::harness::history::{
    Becomes, Effect, Fault, History, Key, Marks, Moment, Numbers, Read, State, Violation, WriteId,
};

const A: u32 = 1;
const B: u32 = 2;

/// A history by hand; moments are small numbers.
struct Story {
    history: History,
    key: Key,
    reads: Vec<Read>,
}

impl Story {
    fn of(marks: Marks) -> Self {
        let mut history = History::default();
        let key = history.key("k", marks);
        Self { history, key, reads: Vec::new() }
    }

    fn begins(&mut self, at: u64, becomes: Becomes) -> WriteId {
        self.history.begin(Moment(at), &[Effect { key: self.key, becomes }])
    }

    /// A write from one moment to another, whose answer has this number.
    fn writes(&mut self, (from, to): (u64, u64), becomes: Becomes, number: Option<u64>) {
        let id = self.begins(from, becomes);
        let numbers = Numbers { revision: number, version: number };
        self.history.acknowledge(id, Moment(to), numbers);
    }

    fn reads(&mut self, (from, to): (u64, u64), state: State) -> &mut Read {
        let (invoked, completed) = (Moment(from), Moment(to));
        let read = Read { key: self.key, replica: 0, invoked, completed, state, is_stale: false };
        self.reads.push(read);
        self.reads.last_mut().unwrap()
    }

    fn faults(&self) -> Vec<Fault> {
        self.history.violations(&self.reads).iter().map(|violation| violation.fault).collect()
    }

    /// What a single read is told.
    fn judges(&mut self, span: (u64, u64), state: State) -> Option<Fault> {
        self.reads.clear();
        self.reads(span, state);
        self.faults().first().copied()
    }
}

const fn is(owner: u32, mark: u64) -> State {
    State::Is { owner, mark }
}

/// A state whose mark the answer to its write tells, or nobody.
const fn untold(owner: u32) -> Becomes {
    Becomes::Is { owner, mark: None }
}

const fn tagged(owner: u32, mark: u64) -> Becomes {
    Becomes::Is { owner, mark: Some(mark) }
}

const fn old(since: u64) -> Fault {
    Fault::Old { since: Moment(since) }
}

#[test]
fn a_phone_that_moved_away() {
    let mut story = Story::of(Marks::Revisions);
    story.writes((10, 20), untold(A), Some(1));
    story.writes((30, 40), Becomes::Absent, Some(2));
    story.writes((50, 60), untold(B), Some(3));
    assert_eq!(story.judges((35, 36), is(A, 1)), None, "the write is under way");
    assert_eq!(story.judges((40, 90), is(A, 1)), None, "invoked no later than acknowledged");
    assert_eq!(story.judges((41, 42), is(A, 1)), Some(old(40)));
    assert_eq!(story.judges((61, 62), State::Absent), Some(old(60)));
    assert_eq!(story.judges((61, 62), is(A, 1)), Some(old(40)), "since the first that it missed");
    assert_eq!(story.judges((61, 62), is(B, 3)), None);
    assert_eq!(story.judges((55, 56), is(B, 3)), None, "before its acknowledgement, too");
}

#[test]
fn a_tenant_deleted_and_created_again() {
    let mut story = Story::of(Marks::Revisions);
    story.writes((10, 20), untold(A), Some(1));
    story.writes((30, 40), Becomes::Absent, None);
    assert_eq!(story.judges((41, 42), is(A, 1)), Some(old(40)), "200 after the deletion");
    story.writes((50, 60), untold(A), Some(9));
    assert_eq!(story.judges((61, 62), State::Absent), Some(old(60)), "404 after the creation");
    assert_eq!(story.judges((61, 62), is(A, 1)), Some(old(40)), "as before the deletion");
    assert_eq!(story.judges((61, 62), is(A, 9)), None);
}

#[test]
fn an_absence_that_comes_back_is_current_again() {
    let mut story = Story::of(Marks::Tags);
    for (at, becomes) in [(10, tagged(A, 1)), (30, Becomes::Absent), (50, tagged(A, 1))] {
        story.writes((at, at + 10), becomes, None);
    }
    assert_eq!(story.judges((61, 62), is(A, 1)), None, "suspended and active again");
    assert_eq!(story.judges((61, 62), State::Absent), Some(old(60)));
    assert_eq!(
        story.judges((45, 46), is(A, 1)),
        Some(old(40)),
        "what comes later does not excuse it"
    );
    assert_eq!(story.judges((45, 51), is(A, 1)), None, "unless it may have been seen");
}

#[test]
fn an_old_secret() {
    let mut story = Story::of(Marks::Tags);
    story.writes((10, 20), tagged(A, 700), Some(1));
    story.writes((30, 40), tagged(A, 300), Some(2));
    assert_eq!(story.judges((41, 42), is(A, 700)), Some(old(40)));
    assert_eq!(story.judges((41, 42), is(A, 300)), None);
}

#[test]
fn concurrent_writes_are_ordered_by_their_numbers_or_not_at_all() {
    let mut story = Story::of(Marks::Tags);
    // Acknowledged in the other order than committed.
    story.writes((10, 40), tagged(A, 5), Some(1));
    story.writes((10, 30), tagged(A, 6), Some(2));
    assert_eq!(story.judges((31, 32), is(A, 5)), Some(old(30)));
    assert_eq!(story.judges((41, 42), is(A, 6)), None);

    let mut story = Story::of(Marks::Tags);
    story.writes((10, 40), tagged(A, 5), None);
    story.writes((10, 30), tagged(A, 6), None);
    assert_eq!(story.judges((41, 42), is(A, 5)), None);
    assert_eq!(story.judges((41, 42), is(A, 6)), None);
    assert_eq!(story.judges((41, 42), State::Absent), Some(old(30)));
}

#[test]
fn a_write_of_unknown_outcome_may_take_effect_at_any_time_or_never() {
    let mut story = Story::of(Marks::Tags);
    story.writes((10, 20), tagged(A, 1), None);
    story.begins(30, tagged(A, 2));
    assert_eq!(story.judges((25, 29), is(A, 2)), Some(Fault::FromNowhere), "not before it is sent");
    for state in [is(A, 1), is(A, 2)] {
        assert_eq!(story.judges((35, 99), state), None);
    }
    story.writes((100, 110), tagged(A, 3), None);
    assert_eq!(story.judges((120, 121), is(A, 1)), Some(old(110)));
    assert_eq!(story.judges((120, 121), is(A, 2)), None, "it may come last");
}

#[test]
fn the_number_of_an_answer_betrays_even_a_write_that_nobody_was_told_of() {
    let mut story = Story::of(Marks::Revisions);
    story.writes((10, 20), untold(A), Some(1));
    // A credential's write: its answer does not tell the tenant's revision.
    story.writes((30, 40), untold(A), None);
    assert_eq!(story.judges((41, 42), is(A, 1)), Some(old(40)));
    assert_eq!(story.judges((41, 42), is(A, 2)), None);
    story.writes((50, 60), untold(A), Some(3));
    assert_eq!(story.judges((61, 62), is(A, 2)), Some(old(60)));
    story.begins(70, untold(A));
    assert_eq!(story.judges((80, 81), is(A, 4)), None, "of unknown outcome");
    assert_eq!(story.judges((80, 81), is(A, 2)), Some(old(60)));
}

#[test]
fn a_refused_write_has_no_effect() {
    let mut story = Story::of(Marks::Tags);
    story.writes((10, 20), tagged(A, 1), None);
    let id = story.begins(30, Becomes::Absent);
    story.history.refuse(id);
    assert_eq!(story.judges((41, 42), is(A, 1)), None);
    assert_eq!(story.judges((41, 42), State::Absent), Some(old(20)));
}

#[test]
fn what_is_labelled_is_not_judged() {
    let mut story = Story::of(Marks::Tags);
    story.writes((10, 20), tagged(A, 1), None);
    story.reads((30, 31), State::Absent).is_stale = true;
    assert_eq!(story.faults(), []);
}

#[test]
fn what_nobody_wrote_comes_from_nowhere() {
    let mut story = Story::of(Marks::Revisions);
    story.writes((10, 20), untold(A), Some(1));
    for state in [is(B, 1), is(A, 2)] {
        assert_eq!(story.judges((30, 31), state), Some(Fault::FromNowhere));
    }
    let mut story = Story::of(Marks::Tags);
    story.writes((10, 20), tagged(A, 1), Some(1));
    assert_eq!(story.judges((30, 31), is(A, 2)), Some(Fault::FromNowhere));
}

/// The only write that certainly came after the first one is itself overridden, and forgotten.
#[test]
fn what_is_overridden_stays_so_when_the_reason_is_forgotten() {
    let mut story = Story::of(Marks::Tags);
    story.writes((10, 20), tagged(A, 1), None);
    story.writes((30, 100), tagged(A, 2), Some(1));
    story.writes((15, 50), tagged(A, 3), Some(2));
    story.history.forget_before(Moment(60));
    assert_eq!(story.judges((101, 102), is(A, 1)), Some(old(100)));
    assert_eq!(story.judges((101, 102), is(A, 3)), None);
}

#[test]
fn a_violation_says_what_a_reader_needs() {
    let mut story = Story::of(Marks::Tags);
    story.writes((10, 20), tagged(A, 1), None);
    story.reads((2_000_020, 2_000_030), State::Absent);
    let [violation]: [Violation; 1] =
        story.history.violations(&story.reads).try_into().expect("one");
    assert_eq!(
        violation.to_string(),
        "k on replica 0 at 0.002000 s (for 10ns): absent, though overridden by a write \
         acknowledged 2ms before"
    );
}

/// A register that is written by several at once, and caches that respect acknowledgements.
struct Simulation {
    rng: Rng,
    story: Story,
    /// In the order of their effects; the first one is the absence at the beginning.
    states: Vec<Written>,
}

#[derive(Clone, Copy)]
struct Written {
    state: State,
    invoked: u64,
    effective: u64,
    acknowledged: Option<u64>,
    order: Option<u64>,
}

#[derive(Clone, Copy, PartialEq)]
enum Writers {
    /// Concurrent, with deletions, unknown outcomes, and answers that do not tell everything.
    Any,
    /// Concurrent, every answer numbered, every state different.
    Numbered,
    /// One at a time, without numbers, every state different.
    OneAtATime,
}

impl Simulation {
    fn new(seed: u64, marks: Marks, writers: Writers) -> Self {
        let mut rng = Rng::with_seed(seed);
        let mut story = Story::of(marks);
        let start = Written {
            state: State::Absent,
            invoked: 0,
            effective: 0,
            acknowledged: Some(0),
            order: None,
        };
        let mut states = vec![start];
        let mut now = 100;
        for number in 1..=rng.u64(1..30) {
            now += rng.u64(1..40);
            let spread = if writers == Writers::OneAtATime { 1 } else { 60 };
            let (invoked, acknowledged) = (now - rng.u64(0..spread), now + rng.u64(0..spread));
            let owner = rng.u32(1..3);
            let any = writers == Writers::Any;
            let is_told = writers == Writers::Numbered || (any && rng.bool());
            let state =
                if any && rng.u8(0..3) == 0 { State::Absent } else { is(owner, number * 10) };
            let becomes = match (state, marks) {
                (State::Absent, _) => Becomes::Absent,
                (State::Is { owner, .. }, Marks::Revisions) => untold(owner),
                (State::Is { owner, mark }, Marks::Tags) => tagged(owner, mark),
            };
            let order = is_told.then_some(number * 10);
            let id = story.begins(invoked, becomes);
            let mut written =
                Written { state, invoked, effective: now, acknowledged: None, order: None };
            match rng.u8(0..8) {
                0 if any => {
                    // Of unknown outcome; if it never takes effect, nobody reads it.
                    if rng.bool() {
                        states.push(written);
                    }
                }
                _ => {
                    let numbers = Numbers { revision: order, version: order };
                    story.history.acknowledge(id, Moment(acknowledged), numbers);
                    (written.acknowledged, written.order) = (Some(acknowledged), order);
                    states.push(written);
                }
            }
        }
        Self { rng, story, states }
    }

    fn span(&mut self) -> (u64, u64) {
        let end = self.states.last().unwrap().effective + 100;
        let from = self.rng.u64(0..end);
        (from, from + self.rng.u64(0..30))
    }

    /// The oldest and the newest state that a read may answer.
    fn window(&self, (from, to): (u64, u64)) -> (usize, usize) {
        let acknowledged = |written: &Written| written.acknowledged.is_some_and(|at| at < from);
        let floor = self.states.iter().rposition(acknowledged).unwrap_or(0);
        let ceiling = self.states.iter().rposition(|written| written.effective < to).unwrap_or(0);
        (floor, ceiling.max(floor))
    }

    /// By the definition, without any of the checker's arrangements.
    fn is_certainly_old(&self, (from, to): (u64, u64), state: State) -> bool {
        let mut candidates = self.states.iter().filter(|c| c.state == state && c.invoked <= to);
        candidates.all(|candidate| {
            self.states.iter().any(|later| {
                let numbered = candidate.order.zip(later.order).is_some_and(|(c, l)| c < l);
                let in_time = candidate.acknowledged.is_some_and(|at| at < later.invoked);
                later.acknowledged.is_some_and(|at| at < from) && (numbered || in_time)
            })
        })
    }
}

proptest! {
    #[test]
    fn respected_acknowledgements_raise_no_alarm(seed: u64, revisions: bool) {
        let marks = if revisions { Marks::Revisions } else { Marks::Tags };
        let mut simulation = Simulation::new(seed, marks, Writers::Any);
        for _ in 0..50 {
            let span = simulation.span();
            let (floor, ceiling) = simulation.window(span);
            let state = simulation.states[simulation.rng.usize(floor..=ceiling)].state;
            simulation.story.reads(span, state);
        }
        prop_assert_eq!(simulation.story.faults(), []);
    }

    #[test]
    fn a_stale_read_always_raises_one(seed: u64, numbered: bool, revisions: bool) {
        let (marks, writers) = match (numbered, revisions) {
            (true, true) => (Marks::Revisions, Writers::Numbered),
            (true, false) => (Marks::Tags, Writers::Numbered),
            (false, _) => (Marks::Tags, Writers::OneAtATime),
        };
        let mut simulation = Simulation::new(seed, marks, writers);
        for _ in 0..50 {
            let span = simulation.span();
            let (floor, _) = simulation.window(span);
            if floor > 0 {
                let state = simulation.states[simulation.rng.usize(1..=floor) - 1].state;
                let fault = simulation.story.judges(span, state);
                prop_assert!(matches!(fault, Some(Fault::Old { .. })), "{:?}: {:?}", span, fault);
            }
        }
    }

    #[test]
    fn an_answer_is_old_exactly_by_the_definition(seed: u64) {
        let mut simulation = Simulation::new(seed, Marks::Tags, Writers::Any);
        for _ in 0..50 {
            let span = simulation.span();
            let state = simulation.rng.choice(&simulation.states).unwrap().state;
            // A write that never takes effect is a candidate of the checker's alone; its state is
            // read by nobody here, but an absence can't be told from another.
            if state != State::Absent {
                let expected = simulation.is_certainly_old(span, state);
                prop_assert_eq!(simulation.story.judges(span, state).is_some(), expected);
            }
        }
    }

    #[test]
    fn forgetting_hides_no_violation_and_makes_none_up(seed: u64, revisions: bool) {
        let marks = if revisions { Marks::Revisions } else { Marks::Tags };
        let mut simulation = Simulation::new(seed, marks, Writers::Any);
        let horizon = simulation.span().0;
        let mut reads = Vec::new();
        for _ in 0..50 {
            let (from, to) = simulation.span();
            let span = (from + horizon, to + horizon);
            let (floor, ceiling) = simulation.window(span);
            let index = simulation.rng.usize(0..=ceiling);
            let state = simulation.states[index].state;
            let was_old = simulation.story.judges(span, state).is_some();
            prop_assert!(!was_old || index < floor);
            reads.push((span, state, was_old, index < floor));
        }
        simulation.story.history.forget_before(Moment(horizon));
        for (span, state, was_old, is_old) in reads {
            let found = simulation.story.judges(span, state).is_some();
            prop_assert!(found || !was_old, "hidden: {:?} {:?}", span, state);
            prop_assert!(!found || is_old, "made up: {:?} {:?}", span, state);
        }
    }
}
