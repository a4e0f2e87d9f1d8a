//! Waiting for a condition: the one place in the tests that sleeps.

use std::fmt::Debug;
use std::panic::Location;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

/// Short beside anything a test waits for, long beside what a look at it costs.
const PAUSE: Duration = Duration::from_millis(3);

/// What a look may answer: `bool`, `Option` (the value once there is one) or `Result` (the error is
/// the state to report).
pub trait Condition {
    type Value;

    /// The value if the condition is met, else what was seen instead.
    fn check(self) -> Result<Self::Value, String>;
}

impl Condition for bool {
    type Value = ();

    fn check(self) -> Result<(), String> {
        if self { Ok(()) } else { Err("false".to_owned()) }
    }
}

impl<T> Condition for Option<T> {
    type Value = T;

    fn check(self) -> Result<T, String> {
        self.ok_or_else(|| "nothing yet".to_owned())
    }
}

impl<T, E: Debug> Condition for Result<T, E> {
    type Value = T;

    fn check(self) -> Result<T, String> {
        self.map_err(|error| format!("{error:?}"))
    }
}

/// Looks until the condition is met. On the deadline it panics, naming `what` and the last state;
/// the deadline also ends a look that hangs.
///
/// The look may borrow what it needs, also mutably. The price: rustc cannot tell that such a wait
/// may move between threads, so inside `tokio::spawn` use a [`Watch`].
#[track_caller]
pub fn eventually<C: Condition>(
    deadline: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> C,
) -> impl Future<Output = C::Value> {
    let mut watch = Watch::new(deadline, what);
    async move {
        loop {
            if let Some(value) = watch.look(look()).await {
                return value;
            }
        }
    }
}

/// The same, look by look:
/// `loop { if let Some(value) = watch.look(async { … }).await { break value } }`.
pub struct Watch {
    what: String,
    /// The line in the test.
    caller: &'static Location<'static>,
    deadline: Duration,
    end: Instant,
    last: String,
}

impl Watch {
    #[track_caller]
    pub fn new(deadline: Duration, what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            caller: Location::caller(),
            deadline,
            end: Instant::now() + deadline,
            last: "never looked".to_owned(),
        }
    }

    /// The value if the condition is met, else nothing after a short pause. Panics past the
    /// deadline.
    pub async fn look<C: Condition>(&mut self, look: impl Future<Output = C>) -> Option<C::Value> {
        let Ok(seen) = timeout_at(self.end, look).await else {
            self.last.push_str(", then a look that did not return");
            self.fail()
        };
        match seen.check() {
            Ok(value) => return Some(value),
            Err(state) => self.last = state,
        }
        if Instant::now() >= self.end {
            self.fail()
        }
        sleep(PAUSE).await;
        None
    }

    fn fail(&self) -> ! {
        panic!(
            "{}: not within {:?}: {}; last state: {}",
            self.caller, self.deadline, self.what, self.last
        )
    }
}
