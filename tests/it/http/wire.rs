//! What a well-behaved client library never sends: raw bytes on a connection.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::harness::{Replica, eventually};

const SOON: Duration = Duration::from_secs(30);

async fn connect(replica: &Replica) -> TcpStream {
    TcpStream::connect(replica.address()).await.unwrap()
}

/// Sends bytes and reads until the server closes the connection.
async fn exchange(replica: &Replica, bytes: &[u8]) -> String {
    let mut stream = connect(replica).await;
    stream.write_all(bytes).await.unwrap();
    rest(&mut stream).await
}

async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    timeout(SOON, stream.read_to_end(&mut answer)).await.expect("the server closes").unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// The statuses of the answers on a connection, and the last one's body.
fn statuses(answer: &str) -> Vec<u16> {
    let lines = answer.split("HTTP/1.1 ").skip(1);
    lines.map(|answer| answer[..3].parse().unwrap()).collect()
}

#[track_caller]
fn code(answer: &str) -> Value {
    let body = answer.split("\r\n\r\n").last().unwrap();
    let problem: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}"));
    problem["code"].clone()
}

const CLOSE: &str = "Host: x\r\nConnection: close\r\n";
const JSON: &str = "Host: x\r\nContent-Type: application/json\r\n";

#[tokio::test]
async fn malformed_percent_encoding_is_refused() {
    let replica = Replica::builder().start().await;
    for path in [
        "/tenants/by-phone/%zz",
        "/tenants/by-phone/1%",
        "/tenants/by-phone/%4/",
        "/tenants/by-integration/%zz",
        "/tenants/by-integration/%ff",
        "/api/tenants/%c3%28",
        "/api/tenants/%zz/credentials/whatsapp",
        "/api/tenants/%E0%A4%A/credentials/meta/",
    ] {
        let answer =
            exchange(&replica, format!("GET {path} HTTP/1.1\r\n{CLOSE}\r\n").as_bytes()).await;
        assert_eq!(statuses(&answer), [400], "{answer}");
        assert_eq!(code(&answer), "invalid_path", "{answer}");
    }
    for query in ["limit=%zz", "status=%", "limit=1&%4=1"] {
        let request = format!("GET /tenants?{query} HTTP/1.1\r\n{CLOSE}\r\n");
        let answer = exchange(&replica, request.as_bytes()).await;
        assert_eq!((statuses(&answer), code(&answer)), (vec![400], "invalid_query".into()));
    }
    // A lookup does not read its query.
    let request = format!("GET /tenants/by-phone/123456789?%zz HTTP/1.1\r\n{CLOSE}\r\n");
    assert_eq!(statuses(&exchange(&replica, request.as_bytes()).await), [200]);
}

#[tokio::test]
async fn a_large_body_is_refused_with_and_without_a_length() {
    let replica = Replica::builder().start().await;
    let large = " ".repeat(70_000);
    let then = format!("GET /livez HTTP/1.1\r\n{CLOSE}\r\n");
    let put = "PUT /tenants/demo-tenant-001/credentials HTTP/1.1\r\n";
    for request in [
        format!("{put}{JSON}Content-Length: 70000\r\n\r\n{large}{then}"),
        format!("{put}{JSON}Transfer-Encoding: chunked\r\n\r\n11170\r\n{large}\r\n0\r\n\r\n{then}"),
    ] {
        let answer = exchange(&replica, request.as_bytes()).await;
        // The connection goes on: the rest of the body was read and thrown away.
        assert_eq!(statuses(&answer), [413, 200], "{answer}");
    }
    // One that waits to be asked is not asked; the connection can't go on.
    let request = format!("{put}{JSON}Content-Length: 70000\r\nExpect: 100-continue\r\n\r\n");
    let answer = exchange(&replica, request.as_bytes()).await;
    assert_eq!((statuses(&answer), code(&answer)), (vec![413], "body_too_large".into()));
    // And one that is asked gets its answer.
    let request = format!("{put}{JSON}Content-Length: 2\r\nExpect: 100-continue\r\n\r\n{{}}{then}");
    assert_eq!(statuses(&exchange(&replica, request.as_bytes()).await), [100, 400, 200]);
}

#[tokio::test]
async fn a_body_that_breaks_off_changes_nothing() {
    let replica = Replica::builder().start().await;
    let path = "/tenants/demo-tenant-001/credentials";
    let before = replica.get_json(&format!("{path}/whatsapp")).await;
    let whole = r#"{"type":"whatsapp","credentials":{"access_token":"x"}}"#;
    // All of the object is there; what is announced beyond it never comes.
    let request =
        format!("PUT {path} HTTP/1.1\r\n{JSON}Content-Length: {}\r\n\r\n{whole}", whole.len() + 1);
    let mut stream = connect(&replica).await;
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let answer = rest(&mut stream).await;
    assert!(answer.is_empty() || code(&answer) == "incomplete_body", "{answer}");
    let malformed =
        format!("PUT {path} HTTP/1.1\r\n{JSON}Transfer-Encoding: chunked\r\n\r\nzz\r\n");
    let answer = exchange(&replica, malformed.as_bytes()).await;
    assert_eq!((statuses(&answer), code(&answer)), (vec![400], "incomplete_body".into()));
    assert_eq!(replica.get_json(&format!("{path}/whatsapp")).await, before);
}

#[tokio::test]
async fn a_client_that_sends_too_slowly_is_told_so() {
    let replica = Replica::builder().start().await;
    let path = "/tenants/demo-tenant-001/credentials";
    let before = replica.get_json(&format!("{path}/whatsapp")).await;
    let mut stream = connect(&replica).await;
    let head = format!("PUT {path} HTTP/1.1\r\n{JSON}Content-Length: 100\r\n\r\n{{");
    stream.write_all(head.as_bytes()).await.unwrap();
    // Others are served meanwhile.
    replica.get("/tenants/by-phone/123456789").await.expecting(200);
    let answer = rest(&mut stream).await;
    assert_eq!((statuses(&answer), code(&answer)), (vec![408], "request_timeout".into()));
    assert!(answer.to_lowercase().contains("connection: close"), "{answer}");
    assert_eq!(replica.get_json(&format!("{path}/whatsapp")).await, before);
}

#[tokio::test]
async fn a_client_that_hangs_up_is_logged_and_costs_nothing() {
    let replica = Replica::builder().start().await;
    let mut stream = connect(&replica).await;
    let head = "PUT /tenants/demo-tenant-001/credentials HTTP/1.1\r\nX-Request-Id: gone\r\n";
    let head = format!("{head}{JSON}Content-Length: 100\r\n\r\n{{");
    stream.write_all(head.as_bytes()).await.unwrap();
    drop(stream);
    // Either the read of the body fails first, or the whole request is dropped: both are one line.
    let line = replica
        .wait_for_log(|line| {
            line["target"] == "tenant_service::access" && line["request_id"] == "gone"
        })
        .await;
    assert_eq!(line["route"], "/api/tenants/{id}/credentials", "{line}");
    eventually(SOON, "the replica still answers", async || {
        replica.get("/livez").await.status == 200
    })
    .await;
}

#[tokio::test]
async fn many_requests_on_one_connection_are_answered_in_order() {
    let replica = Replica::builder().start().await;
    let mut request = String::new();
    for _ in 0..50 {
        request += "GET /tenants/by-phone/123456789 HTTP/1.1\r\nHost: x\r\n\r\n";
        request += "GET /tenants/by-phone/404 HTTP/1.1\r\nHost: x\r\n\r\n";
        request += "HEAD /tenants/by-phone/123456789 HTTP/1.1\r\nHost: x\r\n\r\n";
    }
    request.extend(["OPTIONS /tenants HTTP/1.1\r\n", CLOSE, "\r\n"]);
    let answer = exchange(&replica, request.as_bytes()).await;
    let expected = [200, 404, 200].repeat(50).into_iter().chain([204]).collect::<Vec<_>>();
    assert_eq!(statuses(&answer), expected);
}
