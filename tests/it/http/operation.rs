use std::time::Instant;

use reqwest::Method;
use serde_json::{Value, json};

use super::{assert_problem, stores, variants};
use crate::coherence::fleet::DEADLINE;
use crate::harness::{Postgres, Redis, Replica, eventually};

#[tokio::test]
async fn health_names_what_is_connected() {
    for replica in stores().await {
        let answer = replica.get("/health").await.expecting(200);
        let health = answer.json();
        assert_eq!(health["status"], "ok");
        assert_eq!(health["database"], "connected");
        assert_eq!(health["redis"], "disabled");
        assert!(health["timestamp"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(replica.get_json("/livez").await["status"], "alive");
        assert_eq!(replica.get_json("/readyz").await["status"], "ready");
    }
    let (database, redis) = (Postgres::database().await, Redis::start().await);
    let replica = Replica::builder().database(&database).redis(&redis).start().await;
    assert_eq!(replica.get_json("/health").await["redis"], "connected");
}

#[tokio::test]
async fn the_document_and_its_page_are_served() {
    let replica = Replica::builder().start().await;
    let answer = replica.get("/openapi.json").await.expecting(200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let document = answer.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3."));
    assert!(document["paths"]["/api/tenants/by-phone/{phone_number_id}"]["get"].is_object());
    // The harness follows the redirect.
    for path in ["/docs", "/docs/", "/docs/index.html"] {
        assert!(replica.get(path).await.expecting(200).text().contains("swagger-ui"), "{path}");
    }
    let script = replica.get("/docs/swagger-initializer.js").await.expecting(200).text();
    assert!(script.contains("../openapi.json"), "{script}");
    assert_problem(&replica.get("/docs/absent.js").await, 404, "not_found");
}

#[tokio::test]
async fn request_ids_are_taken_over_or_made() {
    let replica = Replica::builder().start().await;
    for path in ["/livez", "/tenants/by-phone/123456789", "/tenants/by-phone/404", "/nowhere"] {
        let answer = replica.get(path).header("x-request-id", "Abc.1_2-3").await;
        assert_eq!(answer.header("x-request-id"), Some("Abc.1_2-3"), "{path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        if answer.status >= 400 {
            assert_eq!(answer.json()["request_id"], "Abc.1_2-3");
        }
        let too_long = "a".repeat(65);
        let mut seen = Vec::new();
        for bad in ["", "a b", "a/b", "ä", "<script>", &too_long] {
            let answer = replica.get(path).header("x-request-id", bad).await;
            let made = answer.header("x-request-id").unwrap().to_owned();
            assert!(made.len() == 16 && made.bytes().all(|b| b.is_ascii_hexdigit()), "{made}");
            seen.push(made);
        }
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 6, "each is another one");
    }
}

#[tokio::test]
async fn head_answers_as_get_does_without_the_body() {
    let replica = Replica::builder().start().await;
    let tenant = "/demo-tenant-001";
    let tenants = ["", "?limit=1", "?limit=0", "/absent", "/by-phone/123456789", "/by-phone/404"];
    let of_tenant = ["", "/credentials?type=genesys", "/credentials", "/credentials/whatsapp"];
    let paths = tenants.into_iter().flat_map(variants);
    let paths = paths.chain(of_tenant.iter().flat_map(|rest| variants(&format!("{tenant}{rest}"))));
    let paths = paths.chain(variants(&format!("{tenant}/credentials/meta")));
    let paths = paths.chain(variants(&format!("{tenant}/genesys/credentials")));
    let others = ["/livez", "/readyz", "/openapi.json", "/docs/", "/docs/%ff", "/nowhere"];
    for path in paths.chain(others.map(str::to_owned)) {
        // The first fills the cache, so that both come out of it.
        replica.get(&path).await;
        let whole = replica.get(&path).header("x-request-id", "same").await;
        let head = replica.request(Method::HEAD, &path).header("x-request-id", "same").await;
        assert_eq!((head.status, head.body.len()), (whole.status, 0), "{path}");
        assert_eq!(head.header("content-length"), Some(whole.body.len().to_string().as_str()));
        let (mut headers, mut expected) = (head.headers, whole.headers);
        headers.remove("date");
        expected.remove("date");
        assert_eq!(headers, expected, "{path}");
    }
    // What these say differs from one moment to the next.
    for path in ["/health", "/metrics"] {
        let head = replica.request(Method::HEAD, path).await.expecting(200);
        assert!(head.body.is_empty() && head.header("content-length").is_some(), "{path}");
    }
}

#[tokio::test]
async fn what_is_not_there_and_what_is_not_supported() {
    let replica = Replica::builder().start().await;
    for path in [
        "/",
        "/api",
        "/api/tenants/a/b",
        "/tenants/a/credentials/b/c",
        "/tenants/a/credentials/whatsapp/versions/1/x",
        "/API/TENANTS",
        "/health/x",
    ] {
        assert_problem(&replica.get(path).await, 404, "not_found");
    }
    for (method, rest, allow) in [
        (Method::POST, "/by-phone/1", "GET, HEAD, OPTIONS"),
        (Method::DELETE, "", "GET, HEAD, POST, OPTIONS"),
        (Method::PUT, "/a", "GET, HEAD, PATCH, DELETE, OPTIONS"),
        (Method::PATCH, "/a/credentials", "GET, HEAD, PUT, POST, OPTIONS"),
        (Method::PUT, "/a/credentials/whatsapp", "GET, HEAD, DELETE, OPTIONS"),
        (Method::PUT, "/a/credentials/whatsapp/versions/1", "GET, HEAD, DELETE, OPTIONS"),
        (Method::GET, "/a/credentials/whatsapp/rollback", "POST, OPTIONS"),
        (Method::DELETE, "/a/genesys/credentials", "GET, HEAD, PUT, OPTIONS"),
        (Method::from_bytes(b"PROPFIND").unwrap(), "/a", "GET, HEAD, PATCH, DELETE, OPTIONS"),
    ] {
        for path in variants(rest) {
            let answer = replica.request(method.clone(), &path).await;
            assert_problem(&answer, 405, "method_not_allowed");
            assert_eq!(sorted(answer.header("allow")), sorted(Some(allow)), "{method} {path}");
            let answer = replica.request(Method::OPTIONS, &path).await.expecting(204);
            assert_eq!(sorted(answer.header("allow")), sorted(Some(allow)), "{path}");
        }
    }
    let answer = replica.request(Method::POST, "/livez").await;
    assert_problem(&answer, 405, "method_not_allowed");
}

fn sorted(allow: Option<&str>) -> Vec<&str> {
    let mut methods: Vec<&str> = allow.unwrap_or_default().split(", ").collect();
    methods.sort_unstable();
    methods
}

#[tokio::test]
async fn requests_are_counted_by_template_and_never_by_id() {
    let replica = Replica::builder().start().await;
    let before = replica.metrics().await;
    for path in variants("/by-phone/123456789") {
        replica.get(&path).await.expecting(200);
    }
    replica.get("/tenants/by-phone/404404").await.expecting(404);
    replica.get("/nowhere/hunter2").await.expecting(404);
    replica.request(Method::from_bytes(b"HUNTER2").unwrap(), "/livez").await.expecting(405);
    replica.request(Method::HEAD, "/tenants/by-phone/123456789").await.expecting(200);
    let after = replica.metrics().await;
    let route = "/api/tenants/by-phone/{phone_number_id}";
    for (route, method, class, count) in [
        (route, "GET", "2xx", 4.0),
        (route, "GET", "4xx", 1.0),
        (route, "HEAD", "2xx", 1.0),
        ("unmatched", "GET", "4xx", 1.0),
        ("/livez", "other", "4xx", 1.0),
    ] {
        let labels = [("route", route), ("method", method), ("class", class)];
        for name in ["http_requests_total", "http_request_duration_seconds_count"] {
            let counted = after.delta(&before, name, &labels);
            assert!((counted - count).abs() < 0.5, "{name} {labels:?}: {counted}");
        }
    }
    let text = replica.get("/metrics").await.expecting(200).text();
    for private in ["hunter2", "HUNTER2", "404404", "123456789", "demo-tenant-001"] {
        assert!(!text.contains(private), "{private} is in a label");
    }
}

/// Also where several requests wait for one load: each has its line, and the cause in it.
#[tokio::test]
async fn a_failure_is_logged_once_a_request_with_its_cause() {
    let database = Postgres::database().await;
    let replica = Replica::builder().database(&database).start().await;
    super::tenant(&replica, "t-1", "4915").await;
    // Farther than numbers go here; only a write by hand can leave it behind.
    let far = format!("{{\"hunter2\": 1{}}}", "0".repeat(400));
    database.execute(&format!("UPDATE tenants SET settings = '{far}'")).await;
    let ids = ["one", "two", "three", "four", "five"];
    let calls = ids.map(|id| replica.get("/tenants/t-1").header("x-request-id", id).into_future());
    for answer in futures_util::future::join_all(calls).await {
        assert_problem(&answer, 500, "internal");
    }
    let patch = json!({"name": "New"});
    let call = replica.patch_json("/tenants/t-1", &patch).header("x-request-id", "write");
    assert_problem(&call.await, 500, "internal");
    for id in ids.into_iter().chain(["write"]) {
        let line = replica.wait_for_log(|line| line["request_id"] == id).await;
        let operation = if id == "write" { "patch_tenant" } else { "tenant" };
        assert_eq!(line["cause"], format!("{operation}: unreadable row: tenants.settings"));
    }
    assert!(!replica.process.stdout.text().contains("hunter2"));
    let errors = replica.logs().iter().filter(|line| line["level"] == "ERROR").count();
    assert_eq!(errors, 6, "one line a request");
}

#[tokio::test]
async fn requests_are_logged_by_template_and_never_by_id() {
    let replica = Replica::builder().start().await;
    let line = async |id: &str| {
        let wanted =
            |line: &Value| line["target"] == "tenant_service::access" && line["request_id"] == id;
        replica.wait_for_log(wanted).await
    };
    for (id, cache) in [("first", "miss"), ("second", "l1")] {
        let path = "/tenants/by-integration/demo-integration-001?secret=hunter2";
        replica.get(path).header("x-request-id", id).await.expecting(200);
        let line = line(id).await;
        assert_eq!(line["route"], "/api/tenants/by-integration/{genesys_integration_id}");
        assert_eq!((&line["status"], &line["method"]), (&200.into(), &"GET".into()));
        assert_eq!(line["cache"], cache);
        assert!(line["duration_us"].is_u64(), "{line}");
    }
    let call = replica.get("/tenants/hunter2/hunter2/hunter2").header("x-request-id", "lost");
    call.header("x-secret", "hunter2").await.expecting(404);
    assert_eq!(line("lost").await["route"], "unmatched");
    let lines = replica.logs();
    let access = lines.iter().filter(|line| line["target"] == "tenant_service::access");
    for line in access {
        let text = line.to_string();
        for private in ["hunter2", "demo-integration-001"] {
            assert!(!text.contains(private), "{text}");
        }
    }
}

/// Anybody may ask, as often as they like.
#[tokio::test]
async fn the_database_is_asked_how_it_is_by_one_at_a_time() {
    let database = Postgres::database().await;
    let replica = Replica::builder().database(&database).start().await;
    let pings = async || {
        let labels = [("query", "ping")];
        replica.metrics().await.value("tenant_store_query_seconds_count", &labels)
    };
    let of_start = pings().await;
    eventually(DEADLINE, "the database is asked", async || {
        replica.get("/health").await.expecting(200);
        pings().await > of_start
    })
    .await;
    let before = pings().await;
    let began = Instant::now();
    let asked: Vec<_> = (0..300).map(|_| replica.get("/health").into_future()).collect();
    for answer in futures_util::future::join_all(asked).await {
        answer.expecting(200);
    }
    // One each 250 ms at most, however long it took.
    let most = 2.0 + began.elapsed().as_secs_f64() / 0.25;
    let asked = pings().await - before;
    assert!(asked < most, "{asked} of {most}");
}
