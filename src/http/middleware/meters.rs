//! Requests counted and timed, by route template, method and class of status.

use std::sync::OnceLock;
use std::time::Duration;

use axum::http::{Method, StatusCode};

use crate::telemetry::requests::RequestTimes;

const METHODS: [&str; 10] =
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "other"];
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The meters of one route. A series exists from its first request on: most combinations of
/// method and class never occur, and a histogram of zeros is twenty lines in every scrape.
pub struct Meters {
    route: &'static str,
    series: [[OnceLock<&'static RequestTimes>; CLASSES.len()]; METHODS.len()],
}

impl Meters {
    /// The meters of this route template.
    pub fn new(route: &'static str) -> Self {
        Self { route, series: Default::default() }
    }

    /// Counts an answer.
    pub fn record(&self, method: &Method, status: StatusCode, took: Duration) {
        let method = method_index(method);
        // A status is between 100 and 999; what is above 599 is not sent by us.
        let class = usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1;
        let times = self.series[method][class].get_or_init(|| {
            let labels =
                [("route", self.route), ("method", METHODS[method]), ("class", CLASSES[class])];
            RequestTimes::of(labels)
        });
        times.record(took);
    }
}

fn method_index(method: &Method) -> usize {
    match *method {
        Method::GET => 0,
        Method::HEAD => 1,
        Method::POST => 2,
        Method::PUT => 3,
        Method::PATCH => 4,
        Method::DELETE => 5,
        Method::OPTIONS => 6,
        Method::TRACE => 7,
        Method::CONNECT => 8,
        // Any word can be a method: a label must not be one that callers choose.
        _ => 9,
    }
}

/// The name of a method in logs, which is not one that callers choose either.
pub fn method_name(method: &Method) -> &'static str {
    METHODS[method_index(method)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_have_their_own_names_and_nobody_elses() {
        for name in &METHODS[..9] {
            assert_eq!(method_name(&name.parse().unwrap()), *name);
        }
        assert_eq!(method_name(&"HUNTER2".parse().unwrap()), "other");
    }

    #[test]
    fn every_status_has_a_class() {
        let meters = Meters::new("/test");
        for status in [100, 200, 304, 404, 503, 999] {
            let status = StatusCode::from_u16(status).unwrap();
            meters.record(&Method::GET, status, Duration::from_micros(50));
        }
        let used = |class: usize| meters.series[0][class].get().is_some();
        assert!((0..CLASSES.len()).all(used));
    }
}
