//! How long changes take to reach replicas: percentiles out of what their `/metrics` have counted.

use std::collections::BTreeMap;

use crate::telemetry::metrics::CHANGE_PROPAGATION;

/// How long something took, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Percentiles {
    /// How often it was measured.
    pub count: u64,
    /// The median.
    pub p50: f64,
    /// What 95 of 100 did not exceed.
    pub p95: f64,
    /// What 99 of 100 did not exceed.
    pub p99: f64,
}

/// Histograms of several replicas, added up by the source of the change.
#[derive(Debug, Default)]
pub struct Propagation(BTreeMap<String, BTreeMap<Bound, u64>>);

/// The upper bound of a bucket, in nanoseconds; the last one is infinite.
type Bound = u64;

impl Propagation {
    /// Adds what one replica has measured. What is no bucket of this histogram is passed over.
    pub fn add(&mut self, metrics: &str) {
        let prefix = format!("{CHANGE_PROPAGATION}_bucket{{");
        for line in metrics.lines().filter_map(|line| line.strip_prefix(&prefix)) {
            let Some((labels, count)) = line.split_once("} ") else { continue };
            let label = |name: &str| {
                let value = |label: &str| {
                    let value = label.strip_prefix(name)?.strip_prefix("=\"")?;
                    value.strip_suffix('"').map(str::to_owned)
                };
                labels.split(',').find_map(value)
            };
            let bound = label("le").and_then(|bound| nanoseconds(&bound));
            if let (Some(source), Some(bound), Ok(count)) =
                (label("source"), bound, count.parse::<u64>())
            {
                *self.0.entry(source).or_default().entry(bound).or_default() += count;
            }
        }
    }

    /// The percentiles of each source that has brought a change.
    pub fn percentiles(&self) -> BTreeMap<String, Percentiles> {
        let measured = |(source, buckets): (&String, &BTreeMap<Bound, u64>)| {
            let count = *buckets.values().last()?;
            let [p50, p95, p99] = [50, 95, 99].map(|percent| quantile(buckets, count, percent));
            (count > 0).then(|| (source.clone(), Percentiles { count, p50, p95, p99 }))
        };
        self.0.iter().filter_map(measured).collect()
    }
}

fn nanoseconds(bound: &str) -> Option<Bound> {
    let seconds: f64 = bound.parse().ok().filter(|seconds| *seconds >= 0.0)?;
    // Infinity, and whatever is too large to be a time, becomes the largest number.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "not negative, and saturates"
    )]
    Some((seconds * 1e9).round() as Bound)
}

/// Within a bucket, samples are taken to lie evenly, as Prometheus does; beyond the last bound it is
/// not known how far.
#[expect(clippy::cast_precision_loss, reason = "a bucket is no more exact than that")]
fn quantile(buckets: &BTreeMap<Bound, u64>, count: u64, percent: u64) -> f64 {
    let rank = count as f64 * percent as f64 / 100.0;
    let (mut lower, mut below) = (0, 0);
    for (&upper, &up_to) in buckets {
        if up_to as f64 >= rank && up_to > below {
            if upper == Bound::MAX {
                break;
            }
            let share = (rank - below as f64) / (up_to - below) as f64;
            return (lower as f64 + (upper - lower) as f64 * share) / 1e9;
        }
        (lower, below) = (upper, up_to);
    }
    lower as f64 / 1e9
}

/// The percentiles of what was measured one by one.
pub fn of_samples(mut seconds: Vec<f64>) -> Option<Percentiles> {
    seconds.sort_by(f64::total_cmp);
    // The smallest that so many of a hundred do not exceed.
    let at =
        |percent: usize| seconds.get((seconds.len() * percent).div_ceil(100).max(1) - 1).copied();
    let (p50, p95, p99) = (at(50)?, at(95)?, at(99)?);
    Some(Percentiles { count: seconds.len() as u64, p50, p95, p99 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics(source: &str, counts: [u64; 3]) -> String {
        let bucket = |bound: &str, count: u64| {
            let labels = format!("source=\"{source}\",le=\"{bound}\"");
            format!("tenant_change_propagation_seconds_bucket{{{labels}}} {count}")
        };
        let bounds = ["0.001", "0.002", "+Inf"].into_iter().zip(counts);
        bounds.map(|(bound, count)| bucket(bound, count)).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn histograms_of_replicas_add_up() {
        let mut propagation = Propagation::default();
        propagation.add(&metrics("redis", [40, 50, 50]));
        propagation.add(&metrics("redis", [40, 50, 50]));
        propagation.add(&metrics("poll", [0, 0, 4]));
        propagation.add(&metrics("notify", [0, 0, 0]));
        propagation.add("tenant_change_propagation_seconds_sum{source=\"redis\"} 1\nnonsense{\n");
        let found = propagation.percentiles();
        assert_eq!(found.len(), 2, "{found:?}");
        let redis = found["redis"];
        assert_eq!(redis.count, 100);
        // 50 of the 80 in the first millisecond; 15, then 19 of the 20 in the second one.
        for (value, wanted) in
            [(redis.p50, 0.000_625), (redis.p95, 0.001_75), (redis.p99, 0.001_95)]
        {
            assert!((value - wanted).abs() < 1e-9, "{value} {wanted}");
        }
        // It took longer than the last bound; how much longer, nobody knows.
        assert!((found["poll"].p50 - 0.002).abs() < 1e-9);
    }

    #[test]
    fn percentiles_of_samples_are_samples() {
        let found = of_samples((1..=100).rev().map(f64::from).collect());
        assert_eq!(found, Some(Percentiles { count: 100, p50: 50.0, p95: 95.0, p99: 99.0 }));
        let one = of_samples(vec![7.0]);
        assert_eq!(one, Some(Percentiles { count: 1, p50: 7.0, p95: 7.0, p99: 7.0 }));
        assert_eq!(of_samples(Vec::new()), None);
    }
}
