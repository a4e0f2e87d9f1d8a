//! From where on rows of the audit trail are looked for that have no number yet.
//!
//! There is an index of those rows. One that gets its number leaves a dead entry in it, which stays while
//! any transaction is open that began before (a dump, a session that somebody forgot), and each look from
//! the beginning would read all of them. So a look begins behind what was there a while ago. A row that is
//! committed even later than that is found once a minute, by a look from the beginning.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often it is looked from the beginning.
const WHOLE_EVERY: Duration = Duration::from_mins(1);
/// Longer than any statement of ours lasts: what was there so long ago is committed, but for transactions by
/// hand.
const LAG: Duration = Duration::from_secs(10);

/// What looks have found so far.
#[derive(Default)]
pub(super) struct Looks(Mutex<State>);

#[derive(Default)]
struct State {
    /// When it was last tried: one that does not come to its end must not be all that there is.
    whole: Option<Instant>,
    /// The last row that there was, and when.
    last: Option<(Instant, i64)>,
    floor: i64,
}

impl Looks {
    /// Behind which row to look now.
    pub(super) fn next(&self, now: Instant) -> i64 {
        let mut state = self.state();
        let is_recent = |at: Instant| now.saturating_duration_since(at) < WHOLE_EVERY;
        if state.whole.is_some_and(is_recent) {
            return state.floor;
        }
        state.whole = Some(now);
        0
    }

    /// What a look has found: the first row without a number, and the last of all.
    pub(super) fn found(&self, first: Option<i64>, last: i64, now: Instant) {
        let mut state = self.state();
        match state.last {
            None => state.last = Some((now, last)),
            Some((at, before)) if now.saturating_duration_since(at) >= LAG => {
                (state.floor, state.last) = (before, Some((now, last)));
            }
            Some(_) => {}
        }
        // Whatever waits, be it late, or be the chain broken, is to be found again.
        state.floor = state.floor.min(first.map_or(i64::MAX, |first| first - 1));
    }

    /// Behind which row everything is that was found.
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
    fn a_look_begins_behind_what_was_there_a_while_ago() {
        let (looks, begin) = (Looks::default(), Instant::now());
        let at = |seconds| begin + Duration::from_secs(seconds);
        assert_eq!(looks.next(at(0)), 0);
        looks.found(Some(7), 100, at(0));
        // What was there a moment ago may not be all that has a lower number.
        looks.found(None, 190, at(9));
        assert_eq!(looks.next(at(9)), 0);
        looks.found(None, 200, at(10));
        assert_eq!((looks.next(at(11)), looks.floor()), (100, 100));
        looks.found(None, 300, at(20));
        assert_eq!(looks.next(at(21)), 200);
        // Where the chain is broken, what waits is found by each look.
        looks.found(Some(250), 400, at(30));
        assert_eq!(looks.next(at(31)), 249);
        looks.found(Some(250), 500, at(40));
        assert_eq!(looks.next(at(41)), 249);
        looks.found(None, 600, at(50));
        assert_eq!(looks.next(at(51)), 500);
    }

    #[test]
    fn what_is_late_is_found_by_the_next_whole_look() {
        let (looks, begin) = (Looks::default(), Instant::now());
        let at = |seconds| begin + Duration::from_secs(seconds);
        assert_eq!(looks.next(at(0)), 0);
        looks.found(None, 100, at(0));
        looks.found(None, 200, at(10));
        assert_eq!(looks.next(at(59)), 100);
        assert_eq!(looks.next(at(60)), 0);
        // That one comes to no end: until the next, it is looked where it was.
        assert_eq!(looks.next(at(61)), 100);
        assert_eq!(looks.next(at(120)), 0);
        looks.found(Some(42), 300, at(120));
        assert_eq!((looks.floor(), looks.next(at(121))), (41, 41));
        looks.found(None, 400, at(130));
        assert_eq!(looks.next(at(131)), 300);
    }
}
