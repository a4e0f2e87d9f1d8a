//! How far it is, on standard error: a bar on a terminal, else a line now and then.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::time::Duration;

use tokio::time::Instant;

const WIDTH: usize = 30;
const LINE_EVERY: Duration = Duration::from_secs(5);
const BAR_EVERY: Duration = Duration::from_millis(100);

/// Says something to whoever watches. Nobody may.
pub(super) fn say(line: &str) {
    drop(writeln!(std::io::stderr().lock(), "{line}"));
}

/// A part of a whole that gets done.
pub(super) struct Bar {
    total: u64,
    done: u64,
    is_terminal: bool,
    shown: Option<Instant>,
}

impl Bar {
    pub fn of(total: u64) -> Self {
        Self { total, done: 0, is_terminal: std::io::stderr().is_terminal(), shown: None }
    }

    /// So much more is done.
    pub fn add(&mut self, rows: u64) {
        self.done += rows;
        let every = if self.is_terminal { BAR_EVERY } else { LINE_EVERY };
        if self.shown.is_none_or(|shown| shown.elapsed() >= every) {
            self.shown = Some(Instant::now());
            let line = line(self.done, self.total);
            if self.is_terminal {
                drop(write!(std::io::stderr().lock(), "\r{line}\x1b[K"));
            } else {
                say(&line);
            }
        }
    }

    /// How many were done.
    pub fn end(self) -> u64 {
        if self.is_terminal && self.shown.is_some() {
            say(&format!("\r{}\x1b[K", line(self.done, self.total)));
        }
        self.done
    }
}

fn line(done: u64, total: u64) -> String {
    // What is written meanwhile may make more of them.
    let total = total.max(done).max(1);
    let share = usize::try_from(u128::from(done) * 100 / u128::from(total)).unwrap_or(100);
    let filled = share * WIDTH / 100;
    let mut line = format!("[{}{}]", "#".repeat(filled), "-".repeat(WIDTH - filled));
    // To a string nothing fails.
    let _ = write!(line, " {share:3} %  {done} of {total} rows have the new key");
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_says_how_far_it_is() {
        assert_eq!(
            line(50, 200),
            "[#######-----------------------]  25 %  50 of 200 rows have the new key"
        );
        assert!(line(0, 0).contains("  0 %"));
        assert!(line(7, 5).contains("100 %"), "more than were counted at first");
    }
}
