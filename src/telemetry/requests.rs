//! Requests counted and timed, at a cost that the hot path can bear.
//!
//! The recorder behind the other metrics keeps every sample of a histogram, with a moment, until
//! somebody sorts them into buckets. Here a sample goes into its bucket at once, which is two atomic
//! additions; and what the buckets add up to is the number of requests.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::metrics::{BUCKETS, HTTP_DURATION, HTTP_REQUESTS};

/// How long requests of one kind took.
#[derive(Debug, Default)]
pub struct RequestTimes {
    /// One a bound, and one for what exceeds all of them.
    buckets: [AtomicU64; BUCKETS.len() + 1],
    nanoseconds: AtomicU64,
}

/// The kind of a request: route template, method, class of status. Never an id of anybody.
pub type RequestKind = [(&'static str, &'static str); 3];

/// All that were ever asked for.
static SERIES: Mutex<Vec<(RequestKind, &'static RequestTimes)>> = Mutex::new(Vec::new());

impl RequestTimes {
    /// The times of this kind, which `/metrics` shows from now on. They live as long as the
    /// process, and are found by a search: keep them.
    #[must_use]
    pub fn of(kind: RequestKind) -> &'static Self {
        let mut series = SERIES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, times)) = series.iter().find(|(known, _)| *known == kind) {
            return times;
        }
        let times: &'static Self = Box::leak(Box::default());
        series.push((kind, times));
        times
    }

    /// Counts a request.
    pub fn record(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        // From the shortest on: that is where almost all are.
        let bucket = BUCKETS.iter().position(|bound| seconds <= *bound).unwrap_or(BUCKETS.len());
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    fn sum(&self) -> f64 {
        Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed)).as_secs_f64()
    }

    /// Of each bound, how many took no longer; last of all, how many there are.
    fn cumulative(&self) -> [u64; BUCKETS.len() + 1] {
        let mut so_far = 0;
        self.buckets.each_ref().map(|bucket| {
            so_far += bucket.load(Ordering::Relaxed);
            so_far
        })
    }
}

/// Both families in the text format of Prometheus.
pub fn render(text: &mut String) {
    let mut series = SERIES.lock().unwrap_or_else(PoisonError::into_inner).clone();
    series.sort_unstable_by_key(|(kind, _)| *kind);
    let counted: Vec<_> = series
        .iter()
        .map(|([route, method, class], times)| {
            let labels = [route, method, class].map(|(name, value)| format!("{name}=\"{value}\""));
            (labels.join(","), times.cumulative(), times.sum())
        })
        .collect();
    // Writing to text does not fail.
    let _ = write_families(text, &counted);
}

fn write_families(
    text: &mut String,
    series: &[(String, [u64; BUCKETS.len() + 1], f64)],
) -> std::fmt::Result {
    writeln!(text, "# HELP {HTTP_REQUESTS} Requests answered.\n# TYPE {HTTP_REQUESTS} counter")?;
    for (labels, cumulative, _) in series {
        writeln!(text, "{HTTP_REQUESTS}{{{labels}}} {}", cumulative[BUCKETS.len()])?;
    }
    writeln!(
        text,
        "\n# HELP {HTTP_DURATION} Seconds from a request's head to its answer's head.\n\
         # TYPE {HTTP_DURATION} histogram"
    )?;
    for (labels, cumulative, sum) in series {
        for (bound, count) in BUCKETS.iter().zip(cumulative) {
            writeln!(text, "{HTTP_DURATION}_bucket{{{labels},le=\"{bound}\"}} {count}")?;
        }
        let count = cumulative[BUCKETS.len()];
        writeln!(text, "{HTTP_DURATION}_bucket{{{labels},le=\"+Inf\"}} {count}")?;
        writeln!(text, "{HTTP_DURATION}_sum{{{labels}}} {sum}")?;
        writeln!(text, "{HTTP_DURATION}_count{{{labels}}} {count}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_goes_into_the_first_bucket_that_holds_it() {
        let times = RequestTimes::default();
        for took in [
            Duration::ZERO,
            Duration::from_micros(50),
            Duration::from_nanos(50_001),
            Duration::from_secs(10),
            Duration::from_secs(11),
        ] {
            times.record(took);
        }
        let cumulative = times.cumulative();
        assert_eq!(cumulative[..3], [2, 3, 3]);
        assert_eq!(cumulative[BUCKETS.len() - 2..], [3, 4, 5]);
        assert!((times.sum() - 21.000_100_001).abs() < 1e-9);
    }

    #[test]
    fn a_family_looks_as_prometheus_reads_it() {
        let kind = [("route", "/only/here"), ("method", "GET"), ("class", "2xx")];
        RequestTimes::of(kind).record(Duration::from_micros(75));
        assert!(std::ptr::eq(RequestTimes::of(kind), RequestTimes::of(kind)), "one series a kind");
        let mut text = String::new();
        render(&mut text);
        let labels = r#"route="/only/here",method="GET",class="2xx""#;
        let ours: Vec<_> = text.lines().filter(|line| line.contains("/only/here")).collect();
        assert_eq!(ours[0], format!("http_requests_total{{{labels}}} 1"));
        let bucket = |le| format!("http_request_duration_seconds_bucket{{{labels},le=\"{le}\"}}");
        assert_eq!(ours[1], format!("{} 0", bucket("0.00005")));
        assert_eq!(ours[2], format!("{} 1", bucket("0.0001")));
        assert_eq!(ours[18], format!("{} 1", bucket("+Inf")));
        assert_eq!(ours[19], format!("http_request_duration_seconds_sum{{{labels}}} 0.000075"));
        assert_eq!(ours[20], format!("http_request_duration_seconds_count{{{labels}}} 1"));
        assert_eq!(text.matches("# TYPE").count(), 2);
    }
}
