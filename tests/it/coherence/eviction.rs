//! A write evicts exactly the keys that it touched.

use std::collections::BTreeMap;

use super::fleet::{
    DEADLINE, Fleet, by_integration, by_phone, evicted, insert_tenants, masked, put_token,
};
use crate::harness::{Postgres, Replica, eventually};

const TENANTS: usize = 200;
/// The one that is written to.
const WRITTEN: usize = 100;

async fn warm(replica: &Replica) {
    // Twice: the second round shows that everything is in memory.
    for round in 0..2 {
        for n in 1..=TENANTS {
            for path in [by_phone(n), by_integration(n)] {
                let answer = replica.get(&path).await.expecting(200);
                assert!(round == 0 || answer.cache_status().ends_with("detail=l1"), "{path}");
            }
        }
    }
    for n in [WRITTEN, WRITTEN + 1] {
        replica.get(&masked(n)).await.expecting(200);
    }
}

#[tokio::test]
async fn one_write_evicts_one_tenant_everywhere() {
    let database = Postgres::database().await;
    insert_tenants(&database, TENANTS).await;
    let fleet = Fleet::on(database).await;
    let (replicas, redis) = (&fleet.replicas, &fleet.redis);
    let [writer, others @ ..] = replicas;
    tokio::join!(warm(writer), warm(&others[0]), warm(&others[1]));
    let mut before = Vec::new();
    for replica in others {
        before.push(replica.metrics().await);
    }

    put_token(writer, WRITTEN, "second-made-up-token").await;

    for (replica, before) in others.iter().zip(&before) {
        let what = "the write's keys are evicted";
        let after = eventually(DEADLINE, what, async || {
            let now = replica.metrics().await;
            let credentials = |metrics| -> f64 {
                ["redis", "notify", "poll"].map(|s| evicted(metrics, "credentials", s)).iter().sum()
            };
            (credentials(&now) > credentials(before)).then_some(now)
        })
        .await;
        // Give the slower sources their turn: they find nothing left to evict.
        eventually(DEADLINE, "the poll has read the change too", async || {
            let now = replica.metrics().await;
            let delta = now.delta(before, "tenant_changes_received_total", &[("source", "poll")]);
            delta >= 1.0
        })
        .await;
        let name = "tenant_cache_evictions_total";
        let by_kind: BTreeMap<&str, f64> = ["phone", "integration", "credentials", "tenant"]
            .map(|kind| (kind, after.delta(before, name, &[("tier", "l1"), ("kind", kind)])))
            .into();
        let exactly = [("phone", 1.0), ("integration", 1.0), ("credentials", 1.0), ("tenant", 0.0)];
        assert_eq!(by_kind, exactly.into());

        // The other lookups are still hits: all but two, and of the written tenant both are new.
        let mut hits = 0;
        for n in 1..=TENANTS {
            for path in [by_phone(n), by_integration(n)] {
                let answer = replica.get(&path).await.expecting(200);
                let hit = answer.cache_status().ends_with("detail=l1");
                assert_eq!(hit, n != WRITTEN, "{path}: {}", answer.cache_status());
                hits += usize::from(hit);
            }
        }
        assert_eq!(hits, 2 * TENANTS - 2);
        let neighbour = replica.get(&masked(WRITTEN + 1)).await;
        assert!(neighbour.cache_status().ends_with("detail=l1"));
        let written = replica.get(&masked(WRITTEN)).await;
        // Whoever asked first has shared it.
        let status = written.cache_status();
        assert!(!status.ends_with("detail=l1"), "{status}");
        assert_eq!(written.json()["access_token"], "***oken");
    }

    for command in ["keys", "scan", "flushdb", "flushall", "hscan", "sscan", "zscan", "randomkey"] {
        assert_eq!(redis.command_count(command).await, 0, "{command}");
    }
}

/// What a truncation drops is counted like what any other change evicts.
#[tokio::test]
async fn a_truncation_evicts_everything_and_counts_it() {
    const WARM: usize = 20;
    let database = Postgres::database().await;
    insert_tenants(&database, WARM).await;
    let Fleet { replicas, database, redis: _redis } = Fleet::on(database).await;
    for replica in &replicas {
        for n in 1..=WARM {
            replica.get(&by_phone(n)).await.expecting(200);
        }
        for n in 1..=5 {
            replica.get(&by_integration(n)).await.expecting(200);
        }
        replica.get(&masked(1)).await.expecting(200);
    }
    database.execute("TRUNCATE tenants CASCADE").await;
    for replica in &replicas {
        eventually(DEADLINE, "everything is counted", async || {
            let now = replica.metrics().await;
            let kinds = ["phone", "integration", "credentials", "tenant"];
            let counts: BTreeMap<_, _> =
                kinds.map(|kind| (kind, evicted(&now, kind, "poll"))).into();
            let all =
                [("phone", 20.0), ("integration", 5.0), ("credentials", 1.0), ("tenant", 0.0)];
            if counts == all.into() { Ok(()) } else { Err(counts) }
        })
        .await;
        replica.get(&by_phone(1)).await.expecting(404);
    }
}
