//! How a replica starts and ends.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::coherence::fleet::{full, insert_tenants, sees};
use crate::coherence::gate::Gate;
use crate::harness::keyring::keyring;
use crate::harness::{Postgres, Replica, Scratch, eventually};

const DEADLINE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn several_replicas_start_at_once_on_an_empty_database() {
    let database = Postgres::empty_database().await;
    let replicas = Replica::builder().database(&database).start_many(6).await;
    let body = json!({"id": "t1", "name": "Tenant 1", "phone_number_id": "10001"});
    replicas[0].post_json("/api/tenants", &body).await.expecting(201);
    for replica in &replicas {
        crate::coherence::fleet::resolves(replica, "/api/tenants/by-phone/10001", Some("t1")).await;
    }
}

#[tokio::test]
async fn the_embedded_database_stays_and_is_seeded_once() {
    let folder = Scratch::new("data");
    let builder = Replica::builder().data_dir(&folder);
    let first = builder.start().await;
    first.delete("/api/tenants/demo-tenant-001").await.expecting(204);
    let body = json!({"id": "kept", "name": "Kept"});
    first.post_json("/api/tenants", &body).await.expecting(201);
    assert_eq!(first.terminate().await, 0);

    let second = builder.start().await;
    second.get("/api/tenants/kept").await.expecting(200);
    second.get("/api/tenants/demo-tenant-001").await.expecting(404);

    // Also with what a crash leaves beside it.
    second.kill();
    let third = builder.start().await;
    third.get("/api/tenants/kept").await.expecting(200);
}

#[tokio::test]
async fn a_request_in_flight_is_finished_before_the_end() {
    let replica = Replica::builder().start().await;
    let body = json!({"type": "genesys", "credentials": {"clientId": "a"}}).to_string();
    let head = format!(
        "PUT /api/tenants/demo-tenant-001/credentials HTTP/1.1\r\nhost: x\r\n\
         content-type: application/json\r\ncontent-length: {}\r\nexpect: 100-continue\r\n\
         connection: close\r\n\r\n",
        body.len()
    );
    let mut stream = TcpStream::connect(replica.address()).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    // The handler asks for the body: the request is in flight.
    let mut asked = [0; 25];
    stream.read_exact(&mut asked).await.unwrap();
    assert_eq!(&asked, b"HTTP/1.1 100 Continue\r\n\r\n");

    assert!(replica.process.signal("TERM"));
    replica.wait_for_log(|line| line["message"] == "finishing the requests in flight").await;
    eventually(DEADLINE, "no new connection is taken", async || {
        TcpStream::connect(replica.address()).await.is_err()
    })
    .await;
    stream.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(answer.contains("Credentials updated successfully"), "{answer}");
    let status = replica.process.exited(DEADLINE).await;
    assert!(status.success(), "{status}");
}

/// A load balancer learns from `/readyz`, and what it sends until then is answered.
#[tokio::test]
async fn a_replica_that_is_to_end_is_unready_before_it_refuses_anyone() {
    let replica = Replica::builder().start().await;
    assert!(replica.process.signal("TERM"));
    replica.wait_for_log(|line| line["message"] == "stopping").await;
    let mut stream = TcpStream::connect(replica.address()).await.unwrap();
    let requests = "GET /tenants/by-phone/123456789 HTTP/1.1\r\nhost: localhost\r\n\r\n\
                    GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(requests.as_bytes()).await.unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).await.unwrap();
    assert!(answers.starts_with("HTTP/1.1 200 OK"), "{answers}");
    assert!(answers.contains("HTTP/1.1 503 Service Unavailable"), "{answers}");
    assert!(answers.contains(r#""status":"stopping""#), "{answers}");
    let status = replica.process.exited(DEADLINE).await;
    assert!(status.success(), "{status}");
}

#[tokio::test]
async fn neither_an_idle_connection_nor_an_unfinished_head_holds_up_the_end() {
    let replica = Replica::builder().start().await;
    let _idle = TcpStream::connect(replica.address()).await.unwrap();
    let mut unfinished = TcpStream::connect(replica.address()).await.unwrap();
    unfinished.write_all(b"GET /livez HTTP/1.1\r\nx: ").await.unwrap();
    // It has the notice's three seconds to be read.
    assert_eq!(replica.terminate().await, 0);
    let cut_off = |line: &Value| line["message"].as_str().unwrap_or_default().contains("cut off");
    assert!(!replica.logs().iter().any(cut_off), "the drain went to its end");
}

#[tokio::test]
async fn a_second_signal_cuts_short_what_is_left() {
    let replica = Replica::builder().start().await;
    let mut stream = TcpStream::connect(replica.address()).await.unwrap();
    let head = "PUT /tenants/demo-tenant-001/credentials HTTP/1.1\r\nhost: localhost\r\n\
                content-type: application/json\r\ncontent-length: 9\r\n\
                expect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut asked = [0; 12];
    stream.read_exact(&mut asked).await.unwrap();
    assert_eq!(&asked, b"HTTP/1.1 100");
    assert!(replica.process.signal("INT"));
    replica.wait_for_log(|line| line["message"] == "finishing the requests in flight").await;
    assert!(replica.process.signal("INT"));
    replica
        .wait_for_log(|line| {
            line["message"].as_str().unwrap_or_default().contains("asked to end again")
        })
        .await;
    let status = replica.process.exited(DEADLINE).await;
    assert!(status.success(), "{status}");
}

/// The write goes on to its end, and everyone learns of it, though nobody waits for the answer.
#[tokio::test]
async fn a_client_that_hangs_up_does_not_stop_its_write() {
    let database = Postgres::database().await;
    insert_tenants(&database, 1).await;
    let gate = Gate::before(&database.url).await;
    let builder = Replica::builder().database(&database);
    let writer = builder.clone().env("DATABASE_URL", gate.url()).start().await;
    let other = builder.start().await;
    other.get(&full(1)).await.expecting(200);

    // Among the parameters of what stores credentials, and of nothing else.
    gate.hold_next(&keyring().primary());
    let body = json!({"type": "whatsapp", "credentials": {"access_token": "held-made-up-token"}});
    let call = writer.put_json("/api/tenants/t1/credentials", &body);
    let request = tokio::spawn(call.attempt());
    gate.held().await;
    request.abort();
    writer
        .wait_for_log(|line| {
            line["route"] == "/api/tenants/{id}/credentials" && line["status"].is_null()
        })
        .await;
    gate.release();
    for replica in [&writer, &other] {
        sees(replica, &full(1), "the write of the client that has gone", |answer| {
            (answer.json()["access_token"] == "held-made-up-token").then_some(())
        })
        .await;
    }
}
