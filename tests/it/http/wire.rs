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

/// The statuses of the answers on a connection, of either version.
fn statuses(answer: &str) -> Vec<u16> {
    let lines = answer.split("HTTP/1.").skip(1);
    lines.map(|answer| answer[2..5].parse().unwrap()).collect()
}

/// The code of the last answer, which has to be a problem.
#[track_caller]
fn code(answer: &str) -> Value {
    let (head, body) = answer.rsplit_once("\r\n\r\n").unwrap();
    let head = head.to_lowercase();
    assert!(head.contains("content-type: application/problem+json"), "{answer}");
    assert!(head.contains("cache-control: no-store"), "{answer}");
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
        "/docs/%ff",
        "/docs/%zz",
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
async fn odd_request_lines_are_answered_by_us() {
    let replica = Replica::builder().start().await;
    let long = format!("GET /{} HTTP/1.1", "a".repeat(60_000));
    for (line, status, expected) in [
        ("OPTIONS * HTTP/1.1", 404, "not_found"),
        ("GET * HTTP/1.1", 404, "not_found"),
        ("CONNECT example.com:443 HTTP/1.1", 404, "not_found"),
        ("CONNECT /tenants HTTP/1.1", 405, "method_not_allowed"),
        ("TRACE /livez HTTP/1.1", 405, "method_not_allowed"),
        ("get /livez HTTP/1.1", 405, "method_not_allowed"),
        ("GET http://x/nowhere HTTP/1.1", 404, "not_found"),
        ("GET http://x HTTP/1.1", 404, "not_found"),
        ("GET livez HTTP/1.1", 404, "not_found"),
        ("GET example.com:80 HTTP/1.1", 404, "not_found"),
        ("GET //livez HTTP/1.1", 404, "not_found"),
        ("GET /livez/ HTTP/1.1", 404, "not_found"),
        ("GET /tenants// HTTP/1.1", 400, "invalid_value"),
        ("GET /nowhere HTTP/1.0", 404, "not_found"),
        ("GET /tenants/é HTTP/1.1", 400, "invalid_value"),
        (&long, 404, "not_found"),
    ] {
        let answer = exchange(&replica, format!("{line}\r\n{CLOSE}\r\n").as_bytes()).await;
        assert_eq!(statuses(&answer), [status], "{line}: {answer}");
        assert_eq!(code(&answer), expected, "{line}: {answer}");
    }
    for line in ["GET http://x/livez HTTP/1.1", "GET /livez#a HTTP/1.1", "GET /livez HTTP/1.0"] {
        let answer = exchange(&replica, format!("{line}\r\n{CLOSE}\r\n").as_bytes()).await;
        assert_eq!(statuses(&answer), [200], "{line}: {answer}");
    }
    // A problem without its body.
    let head = format!("HEAD /docs/%ff HTTP/1.1\r\n{CLOSE}\r\n");
    let head = exchange(&replica, head.as_bytes()).await.to_lowercase();
    assert!(head.contains("content-type: application/problem+json"), "{head}");
    assert!(head.ends_with("\r\n\r\n"), "{head}");
}

/// These never become a request: the HTTP library answers by itself, and cannot be told how.
#[tokio::test]
async fn what_cannot_be_read_as_a_request_is_refused_without_a_word() {
    let replica = Replica::builder().start().await;
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(70_000));
    let many = format!("GET /livez HTTP/1.1\r\n{}\r\n", "X: hunter2\r\n".repeat(101));
    let put = "PUT /tenants/demo-tenant-001/credentials HTTP/1.1\r\n";
    let lengths = format!("{put}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{{}}");
    let coding = format!("{put}Transfer-Encoding: gzip\r\n\r\n{{}}");
    for (bytes, status) in [
        ("GET /hunter2\r\n\r\n".as_bytes(), 400),
        (b"GET / HTTP/3.0\r\n\r\n", 400),
        (b"GET /<hunter2> HTTP/1.1\r\n\r\n", 400),
        (b"GET /\xff HTTP/1.1\r\n\r\n", 400),
        (b"GET hunter2/x HTTP/1.1\r\n\r\n", 400),
        (b"G[T / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nX hunter2: x\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (lengths.as_bytes(), 400),
        (coding.as_bytes(), 400),
        (long.as_bytes(), 414),
        (many.as_bytes(), 431),
    ] {
        let answer = exchange(&replica, bytes).await.to_lowercase();
        assert!(answer.starts_with(&format!("http/1.1 {status} ")), "{status}: {answer}");
        assert!(answer.contains("content-length: 0\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\n") && !answer.contains("hunter2"), "{answer}");
    }
    // Without TLS nobody negotiates HTTP/2; who knows better finds the connection closed.
    assert_eq!(exchange(&replica, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await, "");
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

#[tokio::test]
async fn whoever_has_enough_to_do_refuses_more_but_not_everything() {
    let replica = Replica::builder().env("MAX_CONCURRENT_REQUESTS", "1").start().await;
    let lookup = "/tenants/by-phone/123456789";
    replica.get(lookup).await.expecting(200);
    // Its handler waits for the body.
    let mut held = connect(&replica).await;
    let body = r#"{"type": "genesys", "credentials": {"clientId": "a"}}"#;
    let request = format!(
        "PUT /tenants/demo-tenant-001/credentials HTTP/1.1\r\n{JSON}Content-Length: {}\r\n\
         Connection: close\r\nExpect: 100-continue\r\n\r\n",
        body.len()
    );
    held.write_all(request.as_bytes()).await.unwrap();
    let mut asked = [0; 25];
    held.read_exact(&mut asked).await.unwrap();

    let refused = replica.get("/tenants").await.expecting(503);
    assert_eq!(refused.json()["code"], "overloaded");
    assert_eq!(refused.header("retry-after"), Some("1"));
    for path in ["/livez", "/readyz", "/metrics", "/health", lookup] {
        replica.get(path).await.expecting(200);
    }
    held.write_all(body.as_bytes()).await.unwrap();
    assert_eq!(statuses(&rest(&mut held).await), [200]);
    replica.get("/tenants").await.expecting(200);
}

#[tokio::test]
async fn a_client_has_its_rate_and_is_who_the_proxies_say() {
    let builder = Replica::builder().env("RATE_LIMIT_PER_SECOND", "2");
    let replica = builder.env("TRUSTED_PROXIES", "127.0.0.0/8").start().await;
    let lookup = "/tenants/by-phone/123456789";
    // By memory and by the router alike.
    for (path, client) in [(lookup, "192.0.2.1"), ("/tenants", "192.0.2.2")] {
        let ask = || replica.get(path).header("x-forwarded-for", client);
        let refused = eventually(SOON, "more was asked than may be", async || {
            let answer = ask().await;
            if answer.status == 429 { Ok(answer) } else { Err(answer.status) }
        })
        .await;
        assert_eq!(refused.json()["code"], "rate_limited");
        assert_eq!(refused.header("retry-after"), Some("1"));
        assert_eq!(refused.json()["request_id"], refused.header("x-request-id").unwrap());
    }
    // Others are served, and probes ask for nothing.
    replica.get(lookup).header("x-forwarded-for", "192.0.2.3").await.expecting(200);
    for _ in 0..10 {
        replica.get("/livez").header("x-forwarded-for", "192.0.2.1").await.expecting(200);
    }
}
