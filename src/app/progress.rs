//! How far a long run is, for whoever sits at the terminal.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// A run that is over sooner says nothing.
const PATIENCE: Duration = Duration::from_secs(2);
const INTERVAL: Duration = Duration::from_millis(500);

/// A line on standard error, written over and over; none where that is no terminal.
pub struct Progress {
    next: Option<Instant>,
    shown: bool,
}

impl Progress {
    pub fn begin() -> Self {
        let next = std::io::stderr().is_terminal().then(|| Instant::now() + PATIENCE);
        Self { next, shown: false }
    }

    /// Shows how far it is, now and then.
    pub fn at(&mut self, done: usize, total: usize, what: &str) {
        let now = Instant::now();
        if self.next.is_some_and(|next| next <= now) {
            self.next = Some(now + INTERVAL);
            self.shown = true;
            show(&format!("\r\x1b[K{what}: {done} of {total}"));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            show("\r\x1b[K");
        }
    }
}

/// Whether anybody reads it does not matter.
fn show(text: &str) {
    let mut stderr = std::io::stderr().lock();
    drop(stderr.write_all(text.as_bytes()));
    drop(stderr.flush());
}
