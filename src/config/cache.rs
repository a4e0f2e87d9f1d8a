//! How much is cached, and for how long.

use std::time::Duration;

use super::Mistakes;

#[derive(Debug, Clone, clap::Args)]
#[expect(clippy::struct_field_names, reason = "named as the variables are")]
#[command(next_help_heading = "Cache")]
#[group(skip)]
pub(super) struct Options {
    /// How long an answer is cached. A bound on memory: what keeps answers right is eviction
    #[arg(long, env = "CACHE_TTL_SECONDS", default_value_t = 3600, value_name = "SECONDS")]
    cache_ttl_seconds: u64,

    /// How long it is cached that there is no answer
    #[arg(long, env = "CACHE_NEGATIVE_TTL_SECONDS", default_value_t = 60, value_name = "SECONDS")]
    cache_negative_ttl_seconds: u64,

    /// Memory for the cache of one replica, in bytes or with KiB, MiB or GiB; about 750 bytes an
    /// answer, and twice that for credentials. An eighth of it is for what is not there
    #[arg(long, env = "CACHE_CAPACITY", default_value = "256MiB", value_name = "SIZE")]
    cache_capacity: String,
}

/// How much is cached, and for how long.
#[derive(Debug, Clone)]
pub struct Cache {
    /// Life of an answer.
    pub ttl: Duration,
    /// Life of an absence.
    pub negative_ttl: Duration,
    /// Bytes of memory.
    pub capacity: u64,
}

/// A year: anything longer is a mistake.
const LONGEST_TTL: u64 = 365 * 24 * 3600;
const SMALLEST: u64 = 1 << 20;

impl Options {
    pub fn validate(self, mistakes: &mut Mistakes) -> Option<Cache> {
        let mut ttl = |variable, seconds: u64| {
            if !(1..=LONGEST_TTL).contains(&seconds) {
                mistakes.note(variable, format!("must be 1 to {LONGEST_TTL} seconds"));
            }
            Duration::from_secs(seconds)
        };
        let present = ttl("CACHE_TTL_SECONDS", self.cache_ttl_seconds);
        let absent = ttl("CACHE_NEGATIVE_TTL_SECONDS", self.cache_negative_ttl_seconds);
        let Some(capacity) = bytes(&self.cache_capacity).filter(|bytes| *bytes >= SMALLEST) else {
            mistakes.note("CACHE_CAPACITY", "must be at least 1MiB, such as 256MiB or 2GiB");
            return None;
        };
        Some(Cache { ttl: present, negative_ttl: absent, capacity })
    }
}

fn bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}
