//! Prometheus text, as `GET /metrics` answers it.

use std::collections::BTreeMap;
use std::fmt;

/// One scrape. A histogram's series go by their full names: `…_count`, `…_sum`, `…_bucket` with the
/// label `le`.
#[derive(Clone, Default)]
pub struct Metrics {
    series: Vec<Series>,
}

#[derive(Clone, Debug, PartialEq)]
struct Series {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Metrics {
    /// Panics at the first line that is none of the format: a scraper would drop the whole answer.
    pub fn parse(text: &str) -> Self {
        let lines =
            text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let series = lines
            .map(|line| Series::parse(line).unwrap_or_else(|| panic!("not a metric: {line:?}")))
            .collect();
        Self { series }
    }

    /// The sum of all series of that name which have these labels (and any others); 0 if there is
    /// none.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.matching(name, labels).map(|series| series.value).sum()
    }

    /// Whether there is such a series at all, be it 0.
    pub fn has(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        self.matching(name, labels).next().is_some()
    }

    /// The same sum for each value of one label; series without it are left out.
    pub fn by_label(&self, name: &str, label: &str) -> BTreeMap<String, f64> {
        let mut sums = BTreeMap::new();
        for series in self.matching(name, &[]) {
            if let Some(value) = series.labels.get(label) {
                *sums.entry(value.clone()).or_default() += series.value;
            }
        }
        sums
    }

    /// By how much [`value`](Self::value) has grown since.
    pub fn delta(&self, before: &Self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.value(name, labels) - before.value(name, labels)
    }

    /// The names there are.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.series.iter().map(|series| series.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn matching(&self, name: &str, labels: &[(&str, &str)]) -> impl Iterator<Item = &Series> {
        let wanted = move |series: &&Series| {
            labels
                .iter()
                .all(|&(label, value)| series.labels.get(label).is_some_and(|found| found == value))
        };
        self.series.iter().filter(move |series| series.name == name).filter(wanted)
    }
}

/// For a failing assertion: what was there, one series a line.
impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.series
            .iter()
            .try_for_each(|Series { name, labels, value }| writeln!(f, "{name}{labels:?} {value}"))
    }
}

impl Series {
    /// `name{label="value",…} value [timestamp]`.
    fn parse(line: &str) -> Option<Self> {
        let end = line.find(|c: char| c == '{' || c.is_whitespace())?;
        let (name, rest) = line.split_at(end);
        let (labels, rest) = match rest.strip_prefix('{') {
            Some(rest) => parse_labels(rest)?,
            None => (BTreeMap::new(), rest),
        };
        // Rust reads `+Inf` and `NaN` as Prometheus writes them.
        let value = rest.split_whitespace().next()?.parse().ok()?;
        Some(Self { name: name.to_owned(), labels, value })
    }
}

/// The labels up to the closing brace, and what follows it.
fn parse_labels(mut rest: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, quoted) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut characters = quoted.char_indices();
        let end = loop {
            match characters.next()? {
                (at, '"') => break at,
                (_, '\\') => value.push(match characters.next()?.1 {
                    'n' => '\n',
                    other => other,
                }),
                (_, other) => value.push(other),
            }
        };
        labels.insert(name.to_owned(), value);
        rest = &quoted[end + 1..];
    }
}
