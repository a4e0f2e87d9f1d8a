//! How a key is replaced.

use std::num::NonZeroU32;
use std::time::Duration;

use super::Mistakes;
use super::given::Given;

#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Rotation")]
#[group(skip)]
pub(super) struct Options {
    /// How many rows get the new key in a second, at most
    #[arg(long, default_value = "2000", value_name = "NUMBER")]
    rows_per_second: Given,

    /// How long to wait for replicas that don't hold the new key yet, or for rows that somebody
    /// has locked. What was done until then stays done
    #[arg(long, default_value = "600", value_name = "SECONDS")]
    wait: Given,

    /// Replace this key if it is the primary, although rows are left that have an older one or none that
    /// opens them: to be rid of a key that has leaked, before those rows are repaired. When it is the
    /// primary no more, this is the same as without
    #[arg(long, value_name = "KEY_ID")]
    instead_of: Option<String>,
}

/// How a key is replaced.
#[derive(Debug, Clone)]
pub struct Rotation {
    /// How many rows a second.
    pub rows_per_second: NonZeroU32,
    /// How long to wait where nothing moves.
    pub patience: Duration,
    /// A key that is replaced whatever is left of the rotation before.
    pub instead_of: Option<String>,
}

impl Options {
    pub fn validate(&self, mistakes: &mut Mistakes) -> Option<Rotation> {
        let (rate, wait) = (&self.rows_per_second, &self.wait);
        let rows = mistakes.number("--rows-per-second", rate, "a whole number", 1..=1_000_000_u32);
        let seconds = mistakes.number("--wait", wait, "whole seconds", 1..=86_400_u64);
        Some(Rotation {
            rows_per_second: NonZeroU32::new(rows?)?,
            patience: Duration::from_secs(seconds?),
            instead_of: self.instead_of.clone(),
        })
    }
}
