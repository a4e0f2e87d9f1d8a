//! What a Redis server has done so far, as it tells itself.

use std::time::Duration;

use redis::aio::MultiplexedConnection;

/// What a write has Redis do. Commands within scripts count as the script's own.
const OF_A_WRITE: [&str; 4] = ["evalsha", "eval", "publish", "set"];

/// Commands, and the time they took: one thread does everything, so meanwhile it does nothing else.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stats {
    /// How many.
    pub commands: u64,
    /// For how long.
    pub busy: Duration,
}

impl Stats {
    /// Of the commands that a write makes.
    pub async fn of_writes(connection: &mut MultiplexedConnection) -> Self {
        let text = command_stats(connection).await;
        let all = OF_A_WRITE.map(|command| Self::find(&text, command));
        all.into_iter().fold(Self::default(), |sum, stats| Self {
            commands: sum.commands + stats.commands,
            busy: sum.busy + stats.busy,
        })
    }

    /// Of one command.
    pub async fn of(connection: &mut MultiplexedConnection, command: &str) -> Self {
        Self::find(&command_stats(connection).await, command)
    }

    pub fn since(&self, before: &Self) -> Self {
        Self {
            commands: self.commands - before.commands,
            busy: self.busy.saturating_sub(before.busy),
        }
    }

    /// Out of lines like `cmdstat_get:calls=7,usec=12,usec_per_call=1.71,…`.
    fn find(text: &str, command: &str) -> Self {
        let start = format!("cmdstat_{command}:");
        let Some(line) = text.lines().find_map(|line| line.strip_prefix(&start)) else {
            return Self::default();
        };
        let field = |name: &str| -> u64 {
            let value = line.split(',').find_map(|field| field.strip_prefix(name));
            value.and_then(|value| value.parse().ok()).expect("calls and usec are numbers")
        };
        Self { commands: field("calls="), busy: Duration::from_micros(field("usec=")) }
    }
}

async fn command_stats(connection: &mut MultiplexedConnection) -> String {
    let info = redis::cmd("INFO").arg("commandstats").query_async(connection).await;
    info.expect("Redis answers")
}
