//! Versions, where several replicas write and all of them read.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use super::fleet::{DEADLINE, Fleet, full, insert_tenants, masked, put_token, tenant};
use crate::harness::{Answer, Call, Cluster, Database, Postgres, Redis, Replica, eventually};

const PATH: &str = "/api/tenants/t1/credentials";

fn put(replica: &Replica, token: usize) -> Call {
    let token = format!("made-up-token-{token}");
    replica.put_json(PATH, &json!({"type": "whatsapp", "credentials": {"access_token": token}}))
}

async fn versions(replica: &Replica) -> Vec<(i64, String)> {
    let list = replica.get_json(&format!("{PATH}/whatsapp/versions?limit=200")).await;
    let state =
        |one: &Value| (one["version"].as_i64().unwrap(), one["state"].as_str().unwrap().to_owned());
    list["versions"].as_array().unwrap().iter().map(state).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_thousand_writes_with_one_tag_one_is_made() {
    let (database, redis) = (Postgres::database().await, Redis::start().await);
    let replicas = Cluster::start(2, &database, Some(&redis)).await;
    replicas[0].post_json("/api/tenants", &tenant(1)).await.expecting(201);
    let first = put(&replicas[0], 0).await.expecting(200).header("etag").unwrap().to_owned();
    let call = |n: usize| put(&replicas[n % 2], n).header("if-match", &first);
    let answers: Vec<Answer> = join_all((1..=1_000).map(|n| call(n).into_future())).await;
    let (made, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert_eq!(made.len(), 1);
    for answer in refused {
        assert_eq!(answer.status, 412, "{answer:?}");
        assert_eq!(answer.json()["code"], "precondition_failed");
        assert_eq!(answer.header("etag"), made[0].header("etag"), "what is there now");
    }
    for replica in &replicas {
        let read = replica.get(&full(1)).await.expecting(200);
        assert_eq!(read.header("etag"), made[0].header("etag"));
    }
    let expected = [(2, "current".to_owned()), (1, "superseded".to_owned())];
    assert_eq!(versions(&replicas[1]).await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_without_a_condition_all_succeed() {
    let fleet = Fleet::start().await;
    let replicas = &fleet.replicas;
    replicas[0].post_json("/api/tenants", &tenant(1)).await.expecting(201);
    let answers = join_all((0..64).map(|n| put(&replicas[n % 3], n).into_future())).await;
    let numbers: BTreeSet<i64> = answers
        .into_iter()
        .map(|answer| answer.expecting(200).json()["version"].as_i64().unwrap())
        .collect();
    assert_eq!(numbers, (1..=64).collect());
    let listed = versions(&replicas[0]).await;
    assert!(listed.iter().map(|(version, _)| *version).eq((1..=64).rev()), "{listed:?}");
    let are_current = listed.iter().filter(|(_, state)| state == "current");
    assert!(are_current.map(|(version, _)| *version).eq([64]));
}

/// Waits until so many statements, or more, wait for a lock in the database.
async fn stand_in_line(database: &Database, count: i64) {
    let waiting = "SELECT count(*) FROM pg_stat_activity \
        WHERE datname = current_database() AND wait_event_type = 'Lock'";
    eventually(DEADLINE, "writes wait for a lock", async || {
        let found = database.scalar::<i64>(waiting).await;
        if found >= count { Ok(()) } else { Err(found) }
    })
    .await;
}

/// Two that have both seen the version which they name: what was there before they had the lock does
/// not count.
#[tokio::test]
async fn a_condition_is_judged_behind_the_lock() {
    let database = Postgres::database().await;
    insert_tenants(&database, 1).await;
    let replicas = Cluster::start(2, &database, None).await;
    let path = format!("{PATH}/whatsapp");
    let back = json!({"version": 1});
    for round in 0..2 {
        let tag = replicas[0].get(&full(1)).await.expecting(200).header("etag").unwrap().to_owned();
        let mut holder = database.pool().await.begin().await.unwrap();
        let lock = sqlx::query("SELECT FROM tenants WHERE id = 't1' FOR UPDATE");
        lock.execute(&mut *holder).await.unwrap();
        let calls = if round == 0 {
            [put(&replicas[0], 1), put(&replicas[1], 2)]
        } else {
            [replicas[0].post_json(&format!("{path}/rollback"), &back), replicas[1].delete(&path)]
        };
        let calls = calls.map(|call| tokio::spawn(call.header("if-match", &tag).into_future()));
        stand_in_line(&database, 2).await;
        holder.commit().await.unwrap();
        let mut statuses = Vec::new();
        for call in calls {
            statuses.push(call.await.unwrap().status);
        }
        statuses.sort_unstable();
        assert!([200, 204].contains(&statuses[0]) && statuses[1] == 412, "{statuses:?}");
    }
}

/// However many of them there are: most wait without a connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_of_one_tenant_leave_room_for_all_others() {
    let database = Postgres::database().await;
    insert_tenants(&database, 4).await;
    let replica = Replica::builder().database(&database).start().await;
    let mut holder = database.pool().await.begin().await.unwrap();
    let lock = sqlx::query("SELECT FROM tenants WHERE id = 't1' FOR UPDATE");
    lock.execute(&mut *holder).await.unwrap();
    let writes: Vec<_> = (0..64).map(|n| tokio::spawn(put(&replica, n).into_future())).collect();
    stand_in_line(&database, 2).await;
    for n in 2..=4 {
        put_token(&replica, n, "another-made-up-token").await;
        let read = replica.get(&full(n)).await.expecting(200);
        assert_eq!(read.json(), json!({"access_token": "another-made-up-token"}));
    }
    assert!(writes.iter().all(|write| !write.is_finished()), "the lock is held");
    holder.commit().await.unwrap();
    let mut numbers = BTreeSet::new();
    for write in writes {
        numbers.insert(write.await.unwrap().expecting(200).json()["version"].as_i64().unwrap());
    }
    assert_eq!(numbers, (2..=65).collect());
}

/// Read at once on every replica, from which it was read before.
#[tokio::test]
async fn each_way_back_and_away_is_seen_everywhere_when_it_is_acknowledged() {
    let fleet = Fleet::start().await;
    let replicas = &fleet.replicas;
    replicas[0].post_json("/api/tenants", &tenant(1)).await.expecting(201);
    for token in ["one-made-up-token", "two-made-up-token"] {
        put_token(&replicas[0], 1, token).await;
    }
    let everywhere = async |token: Option<&str>, what: &str| {
        for replica in replicas {
            // And a second time, from memory.
            for _ in 0..2 {
                let answer = replica.get(&full(1)).await;
                let found = (answer.status == 200).then(|| answer.json());
                let found = found.as_ref().and_then(|found| found["access_token"].as_str());
                assert_eq!(found, token, "{what}: {answer:?}");
                assert_eq!(replica.get(&masked(1)).await.status, answer.status, "{what}");
            }
        }
    };
    let (one, two) = (Some("one-made-up-token"), Some("two-made-up-token"));
    everywhere(two, "set").await;
    let whatsapp = |rest: &str| format!("{PATH}/whatsapp{rest}");
    let back = |number: i64| json!({"version": number});
    for round in 0..8 {
        let writer = &replicas[round % 3];
        let last = versions(&replicas[0]).await.len();
        let last = i64::try_from(last).unwrap();
        writer.post_json(&whatsapp("/rollback"), &back(last - 1)).await.expecting(200);
        everywhere(one, "rolled back").await;
        writer.delete(&whatsapp("")).await.expecting(204);
        everywhere(None, "deleted").await;
        writer.request(Method::POST, &whatsapp("/undelete")).await.expecting(200);
        everywhere(one, "brought back").await;
        writer.post_json(&whatsapp("/rollback"), &back(last)).await.expecting(200);
        everywhere(two, "rolled back again").await;
        let current = format!("/versions/{}", last + 3);
        writer.delete(&whatsapp(&current)).await.expecting(204);
        everywhere(None, "destroyed").await;
        put_token(writer, 1, "one-made-up-token").await;
        everywhere(one, "set anew").await;
        writer.request(Method::POST, &whatsapp("/destroy")).await.expecting(200);
        everywhere(None, "destroyed in all versions").await;
        for token in ["one-made-up-token", "two-made-up-token"] {
            put_token(writer, 1, token).await;
        }
        everywhere(two, "and set").await;
    }
}
