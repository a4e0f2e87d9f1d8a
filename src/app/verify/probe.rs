//! The probe: changes of its own, and when the other replicas answer with each.

use std::time::Duration;

use anyhow::{Context, bail};
use futures_util::future::join_all;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::propagation::{Percentiles, of_samples};
use super::replica::{Answer, Replica, Source};

/// Beyond the bound, how long a replica is asked for a change until it is given up.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two questions.
const PAUSE: Duration = Duration::from_millis(1);

/// What the probe has measured.
#[derive(Debug, serde::Serialize)]
pub struct Probed {
    /// Changes that were acknowledged.
    pub changes: u32,
    /// From the acknowledgement to the new answer, over all other replicas.
    pub seconds: Option<Percentiles>,
    /// How often a replica answered with the old value, as current, to a question that was asked
    /// after the acknowledgement.
    pub violations: u64,
    /// How often it did not answer with the new one at all in the time it had.
    pub unanswered: u64,
}

/// A tenant of no meaning.
struct Tenant {
    id: String,
    phone: String,
}

/// Creates a tenant through the first replica, changes it so many times, and measures. However this
/// ends, the tenant is deleted.
///
/// # Errors
/// The first replica does not do as asked, or the process is asked to end.
pub async fn probe(replicas: &[Replica], changes: u32, bound: Duration) -> anyhow::Result<Probed> {
    let [first, others @ ..] = replicas else { bail!("there is no replica") };
    let tenant = Tenant {
        id: format!("verify-{:016x}", fastrand::u64(..)),
        phone: format!("999{:012}", fastrand::u64(..1_000_000_000_000)),
    };
    let probed = tokio::select! {
        probed = tenant.measure(first, others, changes, bound) => probed,
        _ = crate::app::lifecycle::asked_to_end() => Err(anyhow::anyhow!("interrupted")),
    };
    // Also if its creation failed: that may have been no more than the answer.
    match (tenant.delete(first).await, probed) {
        (Ok(()), probed) => probed,
        (Err(failure), Ok(_)) => Err(failure),
        (Err(failure), Err(first)) => Err(first.context(format!("{failure:#}"))),
    }
}

impl Tenant {
    async fn measure(
        &self,
        first: &Replica,
        others: &[Replica],
        changes: u32,
        bound: Duration,
    ) -> anyhow::Result<Probed> {
        let body = json!({
            "id": self.id,
            "name": name(0),
            "phone_number_id": self.phone,
        });
        let created = first.send(Method::POST, "/api/tenants", Some(&body)).await?;
        expect(first, &created, StatusCode::CREATED, "creating the probe's tenant")?;
        let mut probed = Probed { changes: 0, seconds: None, violations: 0, unanswered: 0 };
        let mut seconds = Vec::new();
        for change in 1..=changes {
            // All of them have the value before in their memory, so there is something to evict.
            let before = name(change - 1);
            let warm = others.iter().map(|replica| self.seen(replica, &before, bound));
            drop(join_all(warm).await);
            let path = format!("/api/tenants/{}", self.id);
            let body = json!({ "name": name(change) });
            let answer = first.send(Method::PATCH, &path, Some(&body)).await?;
            expect(first, &answer, StatusCode::OK, "changing the probe's tenant")?;
            probed.changes += 1;
            let after = name(change);
            let waits = others.iter().map(|replica| self.seen(replica, &after, bound));
            for seen in join_all(waits).await {
                probed.violations += u64::from(seen.was_old);
                match seen.after {
                    Some(took) => seconds.push(took.as_secs_f64()),
                    None => probed.unanswered += 1,
                }
            }
        }
        probed.seconds = of_samples(seconds);
        Ok(probed)
    }

    /// Asks a replica until it answers with this name.
    async fn seen(&self, replica: &Replica, name: &str, bound: Duration) -> Seen {
        let (began, path) = (Instant::now(), format!("/api/tenants/by-phone/{}", self.phone));
        let mut was_old = false;
        while began.elapsed() < bound + PATIENCE {
            if let Ok(answer) = replica.get(&path).await
                && matches!(answer.status, StatusCode::OK | StatusCode::NOT_FOUND)
            {
                let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
                if body["name"] == name {
                    return Seen { was_old, after: Some(began.elapsed()) };
                }
                was_old |= answer.source() != Source::Stale;
            }
            tokio::time::sleep(PAUSE).await;
        }
        Seen { was_old, after: None }
    }

    async fn delete(&self, first: &Replica) -> anyhow::Result<()> {
        let path = format!("/api/tenants/{}", self.id);
        let deleted = first.send(Method::DELETE, &path, None).await;
        let left = || format!("the probe's tenant may be left: DELETE {}{path}", first.name());
        let status = deleted.with_context(left)?.status;
        if !status.is_success() && status != StatusCode::NOT_FOUND {
            bail!("{} ({status})", left());
        }
        Ok(())
    }
}

/// How a replica came to a new answer.
struct Seen {
    /// It gave an old one first, as current.
    was_old: bool,
    after: Option<Duration>,
}

fn name(change: u32) -> String {
    format!("tenant-service verify, change {change}")
}

fn expect(
    replica: &Replica,
    answer: &Answer,
    status: StatusCode,
    doing: &'static str,
) -> anyhow::Result<()> {
    replica.refuse(answer).context(doing)?;
    if answer.status != status {
        bail!("{doing}: {} answers {}", replica.name(), answer.status);
    }
    Ok(())
}
