//! The same from outside: a client that has its acknowledgement asks the other replicas.

use std::time::{Duration, Instant};

use super::fleet::Fleet;
use super::{TENANTS, add};
use crate::common::figures::Times;
use crate::common::table::Table;
use crate::common::tenants::{masked, put, token};
use crate::common::wire::Connection;

/// What the reads have shown.
pub struct Reads {
    /// From the acknowledgement until both others have answered with the new value.
    after: Times,
    /// From the write's being sent until then.
    whole: Times,
    first: usize,
    first_old: usize,
}

/// One replica's answers after one acknowledgement.
struct Seen {
    new: Instant,
    old_answers: usize,
}

/// Writes one by one; each acknowledgement sends readers to the other two replicas, who ask again
/// until they get the new value.
pub async fn measure(fleet: &mut Fleet, count: u32) -> Reads {
    let (mut after, mut whole) = (Vec::new(), Vec::new());
    let (mut first, mut first_old) = (0, 0);
    for n in 0..count {
        let tenant = n % TENANTS;
        // Other tokens than the writes before had, in what shows of them.
        let token = token(5_000 + n % 5_000);
        fleet.warm(tenant).await;
        fleet.quiet().await;
        let [writer, one, other] = &mut fleet.connections[..] else { panic!("three replicas") };
        let sent = Instant::now();
        writer.ask(&put(tenant, &token)).await.expecting(200);
        let acknowledged = Instant::now();
        let shown = &token[token.len() - 4..];
        let (one, other) = tokio::join!(sees(one, tenant, shown), sees(other, tenant, shown));
        let new = one.new.max(other.new);
        after.push(new.duration_since(acknowledged));
        whole.push(new.duration_since(sent));
        first += 2;
        first_old += [one, other].iter().filter(|seen| seen.old_answers > 0).count();
    }
    let (after, whole) = (after.into_iter().collect(), whole.into_iter().collect());
    Reads { after, whole, first, first_old }
}

async fn sees(connection: &mut Connection, tenant: u32, shown: &str) -> Seen {
    let request = masked(tenant);
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut old_answers = 0;
    loop {
        let answer = connection.ask(&request).await.expecting(200);
        let new = Instant::now();
        if String::from_utf8_lossy(&answer.body).contains(&format!("***{shown}\"")) {
            return Seen { new, old_answers };
        }
        assert!(new < deadline, "the new value does not arrive");
        old_answers += 1;
    }
}

impl Reads {
    pub fn report(&self, table: &mut Table) {
        add(table, "acknowledgement to the new value read on both others", &self.after);
        add(table, "sending the write to the new value read on both others", &self.whole);
    }

    pub fn summary(&self) -> String {
        let Self { first, first_old, .. } = self;
        format!(
            "Of {first} reads sent right after an acknowledgement, {first_old} got the old value."
        )
    }
}
