//! From where on rows of the audit trail are looked for that have no number yet.
//!
//! There is an index of those rows. One that gets its number leaves a dead entry in it, which stays while
//! any transaction is open that began before (a dump, a session that somebody forgot), and each look from
//! the beginning would read all of them. So a look begins behind what had its number at the last whole
//! look. A row that is committed later than those behind it is found by the next whole one.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often it is looked from the beginning.
const WHOLE_EVERY: Duration = Duration::from_mins(1);

/// Where a look begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    /// Behind this row.
    pub behind: i64,
    is_whole: bool,
}

/// What looks have found so far.
#[derive(Default)]
pub(super) struct Looks(Mutex<State>);

#[derive(Default)]
struct State {
    whole: Option<Instant>,
    /// The last row that there was at the last whole look.
    last: i64,
    floor: i64,
}

impl Looks {
    /// The next look.
    pub(super) fn next(&self, now: Instant) -> Look {
        let state = self.state();
        let is_recent = |at: Instant| now.saturating_duration_since(at) < WHOLE_EVERY;
        let is_whole = !state.whole.is_some_and(is_recent);
        Look { behind: if is_whole { 0 } else { state.floor }, is_whole }
    }

    /// What a look has found: the first row without a number, and the last of all.
    pub(super) fn found(&self, look: Look, first: Option<i64>, last: i64, now: Instant) {
        if !look.is_whole {
            return;
        }
        let mut state = self.state();
        // What was there a whole look ago has its number now, or is not committed after a minute.
        let before_first = first.map_or(i64::MAX, |first| first - 1);
        *state = State { whole: Some(now), last, floor: state.last.min(before_first) };
    }

    /// Behind which row everything is that the last look has found.
    pub(super) fn floor(&self) -> i64 {
        self.state().floor
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_begins_behind_what_a_whole_one_has_passed() {
        let (looks, begin) = (Looks::default(), Instant::now());
        let at = |seconds| begin + Duration::from_secs(seconds);
        let whole = looks.next(at(0));
        assert_eq!((whole.behind, looks.floor()), (0, 0));
        looks.found(whole, Some(7), 100, at(0));
        // Of what was there before, nobody knows yet whether it has its number.
        assert_eq!((looks.next(at(59)).behind, looks.floor()), (0, 0));
        looks.found(looks.next(at(59)), None, 190, at(59));
        let whole = looks.next(at(60));
        assert_eq!(whole.behind, 0);
        looks.found(whole, None, 200, at(60));
        assert_eq!((looks.next(at(61)).behind, looks.floor()), (100, 100));
        // One that is late, or waits while the chain is broken, is what the next looks begin at.
        looks.found(looks.next(at(120)), Some(42), 300, at(120));
        assert_eq!(looks.next(at(121)).behind, 41);
        looks.found(looks.next(at(180)), None, 400, at(180));
        assert_eq!(looks.next(at(181)).behind, 300);
    }
}
