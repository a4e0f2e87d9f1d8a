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

/// Figures of several rounds, in short.
#[derive(Debug, Clone, Copy)]
pub struct Spread {
    /// The one in the middle (of an even number: the mean of the two).
    pub median: f64,
    /// What the middle half of them lies between.
    pub half: (f64, f64),
    /// The least and the greatest.
    pub range: (f64, f64),
}

impl Spread {
    /// Of these figures.
    ///
    /// # Panics
    /// There is none.
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Self {
        let mut figures: Vec<f64> = figures.into_iter().collect();
        figures.sort_unstable_by(f64::total_cmp);
        let last = figures.len() - 1;
        Self {
            median: f64::midpoint(figures[last / 2], figures[last.div_ceil(2)]),
            half: (figures[last / 4], figures[last - last / 4]),
            range: (figures[0], figures[last]),
        }
    }

    /// `0.987`, `0.975–1.003`, `0.950–1.010`: the cells of a table.
    pub fn cells(&self) -> [String; 3] {
        let between = |(least, most): (f64, f64)| format!("{least:.3}–{most:.3}");
        [format!("{:.3}", self.median), between(self.half), between(self.range)]
    }
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
