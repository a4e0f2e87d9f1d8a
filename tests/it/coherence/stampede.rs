//! Many requests for one cold key: the database is read once a replica at most.

use super::fleet::{Fleet, by_phone, insert_tenants, reads};
use crate::harness::Postgres;

#[tokio::test]
async fn a_thousand_requests_read_the_database_thrice_at_most() {
    let database = Postgres::database().await;
    // Before the start: a change that the polls still have to find would evict what was read.
    insert_tenants(&database, 1).await;
    let fleet = Fleet::on(database).await;
    let replicas = &fleet.replicas;
    let mut requests = Vec::new();
    for n in 0..1000 {
        requests.push(tokio::spawn(replicas[n % 3].get(&by_phone(1)).into_future()));
    }
    for request in requests {
        let answer = request.await.unwrap().expecting(200);
        assert_eq!(answer.json()["id"], "t1");
    }
    let mut total = 0.0;
    for replica in replicas {
        total += reads(&replica.metrics().await, "tenant_by_phone");
    }
    assert!((1.0..=3.0).contains(&total), "{total} reads");
}
