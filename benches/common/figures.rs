//! Medians and the like.

use std::time::Duration;

/// Times, in order.
#[derive(Debug, Clone, Default)]
pub struct Times(Vec<Duration>);

impl Times {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The time that so many in a thousand do not exceed (nearest rank).
    ///
    /// # Panics
    /// There is none.
    pub fn permille(&self, permille: usize) -> Duration {
        let rank = (self.0.len() * permille).div_ceil(1000).clamp(1, self.0.len());
        self.0[rank - 1]
    }

    /// The median.
    pub fn median(&self) -> Duration {
        self.permille(500)
    }
}

impl FromIterator<Duration> for Times {
    fn from_iter<I: IntoIterator<Item = Duration>>(times: I) -> Self {
        let mut times: Vec<Duration> = times.into_iter().collect();
        times.sort_unstable();
        Self(times)
    }
}

/// The median of an odd number of figures, else the mean of the two in the middle; least and
/// greatest.
///
/// # Panics
/// There is none.
pub fn median_and_range(figures: impl IntoIterator<Item = f64>) -> (f64, f64, f64) {
    let mut figures: Vec<f64> = figures.into_iter().collect();
    figures.sort_unstable_by(f64::total_cmp);
    let (low, high) = (figures[(figures.len() - 1) / 2], figures[figures.len() / 2]);
    (f64::midpoint(low, high), figures[0], figures[figures.len() - 1])
}

/// `12 µs`.
pub fn micros(time: Duration) -> String {
    format!("{} µs", time.as_micros())
}

/// `1.23 ms`.
pub fn millis(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

/// `12,345`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
