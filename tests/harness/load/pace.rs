//! So many requests a second, and no more.

use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

/// A timer is exact to a millisecond: a faster pace comes in short bursts.
const TICK: Duration = Duration::from_millis(10);

pub struct Pace {
    limit: Option<(Interval, f64)>,
    left: f64,
}

impl Pace {
    /// Of one among so many who share the number; without a number, as fast as it goes.
    pub fn share(a_second: Option<u32>, among: usize) -> Self {
        let among = u32::try_from(among).expect("few tasks");
        let limit = a_second.map(|a_second| {
            let mut ticks = interval(TICK);
            // What a fault kept us from is not made up for.
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            (ticks, f64::from(a_second) / f64::from(among) * TICK.as_secs_f64())
        });
        Self { limit, left: 0.0 }
    }

    /// Waits for the next one's turn.
    pub async fn turn(&mut self) {
        if let Some((ticks, a_tick)) = &mut self.limit {
            while self.left < 1.0 {
                ticks.tick().await;
                self.left += *a_tick;
            }
            self.left -= 1.0;
        }
    }
}
