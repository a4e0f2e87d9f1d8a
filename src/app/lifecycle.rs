//! Supervised tasks, and the order in which things end.
//!
//! Two tokens: `draining` tells the server to take no more requests and finish those it has;
//! `stop` ends the background tasks, which those requests still need. A background task that ends
//! before it was told to takes the process down, loudly: half a replica is worse than none.

use std::fmt;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How long a replica that is to end still takes new connections, while `/readyz` tells load
/// balancers to open no more.
const NOTICE: Duration = Duration::from_secs(3);
/// How long requests in flight may then take to finish. With what follows, it all ends within the
/// 30 s that orchestrators usually give.
pub const DRAIN_PATIENCE: Duration = Duration::from_secs(17);
/// How long writes whose clients have gone may then take to be told to everyone, and loads to end.
pub const WRITES_PATIENCE: Duration = Duration::from_secs(4);
/// How long background tasks may take to end.
const STOP_PATIENCE: Duration = Duration::from_secs(4);

/// The process' tasks.
#[derive(Debug, Default)]
pub struct Lifecycle {
    draining: CancellationToken,
    stop: CancellationToken,
    tasks: JoinSet<&'static str>,
}

impl Lifecycle {
    /// Told when no more requests are to be taken.
    pub fn draining(&self) -> CancellationToken {
        self.draining.clone()
    }

    /// Begins to drain.
    pub fn drain(&self) {
        self.draining.cancel();
    }

    /// Runs a background task, which ends when its token is cancelled.
    pub fn supervise<F>(&mut self, name: &'static str, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let task = task(self.stop.clone());
        self.tasks.spawn(async move {
            task.await;
            name
        });
    }

    /// Returns when a background task has ended, which none may; pends forever without a task.
    pub async fn failure(&mut self) -> anyhow::Error {
        match self.tasks.join_next().await {
            Some(Ok(name)) => anyhow::anyhow!("the background task `{name}` has ended"),
            // The panic hook has logged which and where.
            Some(Err(_)) => anyhow::anyhow!("a background task has panicked"),
            None => std::future::pending().await,
        }
    }

    /// Ends the background tasks.
    pub async fn stop(mut self) {
        self.stop.cancel();
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_PATIENCE, ended).await.is_err() {
            tracing::warn!("background tasks took too long to end and were cut off");
        }
    }
}

/// Why a process is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Whoever runs it has had enough (Ctrl-C).
    Interrupt,
    /// An orchestrator ends it, and load balancers have yet to learn of that.
    Terminate,
}

impl Signal {
    /// How long to go on as if nothing had happened, but for `/readyz`.
    pub const fn notice(self) -> Duration {
        match self {
            Self::Interrupt => Duration::ZERO,
            Self::Terminate => NOTICE,
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        })
    }
}

/// Returns when the process is asked to end.
///
/// # Errors
/// Signals can't be received.
pub async fn asked_to_end() -> std::io::Result<Signal> {
    let interrupt = tokio::signal::ctrl_c();
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            received = interrupt => received.map(|()| Signal::Interrupt),
            _ = terminate.recv() => Ok(Signal::Terminate),
        }
    }
    #[cfg(not(unix))]
    interrupt.await.map(|()| Signal::Interrupt)
}
