//! The load: connections that each ask again as soon as they are answered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::servers::Server;
use crate::common::figures::Times;
use crate::common::wire::{Answer, Connection};

/// A request, and what has to come back.
#[derive(Debug, Clone)]
pub struct Exchange {
    request: Vec<u8>,
    /// `HTTP/1.1 200`.
    start: Vec<u8>,
    body: Vec<u8>,
    length: usize,
}

impl Exchange {
    /// This request and an answer to it, which all later ones will be like.
    pub fn new(request: Vec<u8>, answer: &Answer) -> Self {
        let start = format!("HTTP/1.1 {}", answer.status).into_bytes();
        Self { request, start, body: answer.body.clone(), length: answer.length }
    }

    /// Looks at every byte that means something, and parses nothing.
    fn is_answered_by(&self, bytes: &[u8]) -> bool {
        bytes.len() == self.length && bytes.starts_with(&self.start) && bytes.ends_with(&self.body)
    }
}

/// What a round has shown.
pub struct Round {
    /// Answers a second.
    pub rate: f64,
    /// From each request to its answer.
    pub times: Times,
    /// The server's processor time for one answer, in microseconds, where the system tells it.
    pub cpu: Option<f64>,
}

/// Asks for so long over so many connections, each going round the exchanges from a place of its
/// own.
///
/// # Panics
/// An answer is not the one expected, or does not come.
pub async fn round(
    server: &Server,
    exchanges: &Arc<[Exchange]>,
    connections: usize,
    length: Duration,
) -> Round {
    let mut open = Vec::new();
    for _ in 0..connections {
        open.push(Connection::open(&server.address).await);
    }
    let cpu_before = server.cpu();
    let began = Instant::now();
    let end = began + length;
    let mut tasks = JoinSet::new();
    for (number, connection) in open.into_iter().enumerate() {
        let first = number * exchanges.len() / connections;
        tasks.spawn(converse(connection, Arc::clone(exchanges), first, end));
    }
    // An answer that is too short would be waited for: the rest of it never comes.
    let all = tokio::time::timeout(length * 3, tasks.join_all()).await;
    let times: Times = all.expect("an answer did not come").into_iter().flatten().collect();
    let took = began.elapsed();
    let cpu = server.cpu().zip(cpu_before).map(|(after, before)| after.saturating_sub(before));
    let answers = f64::from(u32::try_from(times.len()).expect("a round is short"));
    Round {
        rate: answers / took.as_secs_f64(),
        cpu: cpu.map(|used| used.as_secs_f64() * 1e6 / answers),
        times,
    }
}

async fn converse(
    mut connection: Connection,
    exchanges: Arc<[Exchange]>,
    first: usize,
    end: Instant,
) -> Vec<Duration> {
    let mut times = Vec::with_capacity(1 << 16);
    let mut began = Instant::now();
    for exchange in exchanges.iter().cycle().skip(first) {
        if began >= end {
            break;
        }
        let answer = connection.ask_for(&exchange.request, exchange.length).await;
        assert!(exchange.is_answered_by(answer), "{:?}", String::from_utf8_lossy(answer));
        let now = Instant::now();
        times.push(now - began);
        began = now;
    }
    times
}
