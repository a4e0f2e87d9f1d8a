//! The clock that deadlines are measured by.

use rustix::time::{ClockId, clock_gettime};

use crate::coherence::Moment;

/// On Linux, `std`'s clock stands still while the machine sleeps, and a deadline would outlast it.
#[cfg(target_os = "linux")]
const CLOCK: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const CLOCK: ClockId = ClockId::Monotonic;

/// What the clock says.
#[must_use]
pub fn now() -> Moment {
    let time = clock_gettime(CLOCK);
    let part = |part: i64| u64::try_from(part).unwrap_or_default();
    Moment::from_nanos(part(time.tv_sec) * 1_000_000_000 + part(time.tv_nsec))
}
