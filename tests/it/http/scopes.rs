use serde_json::json;

use super::assert_problem;
use crate::harness::Replica;

/// Each scope, with a request that it lets through and the status that proves it (the tenant of a
/// write is absent, so that nothing is written).
const REQUESTS: [(&str, &str, &str, u16); 9] = [
    ("lookup:read", "GET", "/tenants/by-phone/123456789", 200),
    ("tenants:read", "GET", "/tenants", 200),
    ("tenants:write", "DELETE", "/tenants/absent", 404),
    ("credentials:read", "GET", "/tenants/demo-tenant-001/credentials?type=whatsapp", 200),
    ("credentials:reveal", "GET", "/tenants/demo-tenant-001/credentials/meta", 200),
    ("credentials:write", "PUT", "/tenants/absent/credentials", 404),
    ("credentials:write", "DELETE", "/tenants/absent/credentials/whatsapp", 404),
    ("credentials:destroy", "POST", "/tenants/absent/credentials/whatsapp/destroy", 404),
    ("credentials:destroy", "DELETE", "/tenants/absent/credentials/whatsapp/versions/1", 404),
];

#[tokio::test]
async fn each_scope_opens_its_own_doors_and_no_other() {
    let body = json!({"type": "whatsapp", "credentials": {"access_token": "x"}});
    for (granted, ..) in REQUESTS {
        let replica = Replica::builder().env("ANONYMOUS_SCOPES", granted).start().await;
        for (needed, method, path, status) in REQUESTS {
            let call = replica.request(method.parse().unwrap(), path);
            let answer = if method == "PUT" { call.json(&body).await } else { call.await };
            if needed == granted {
                assert_eq!(answer.status, status, "{needed}: {}", answer.text());
                continue;
            }
            assert_problem(&answer, 401, "unauthorized");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
            let sentence = answer.json()["error"].as_str().unwrap().to_owned();
            assert!(
                sentence.contains(needed) && sentence.contains("ANONYMOUS_SCOPES"),
                "{sentence}"
            );
        }
        for path in ["/health", "/livez", "/readyz", "/metrics", "/openapi.json", "/docs/"] {
            replica.get(path).await.expecting(200);
        }
    }
}

#[tokio::test]
async fn who_may_not_write_learns_nothing_and_changes_nothing() {
    let replica = Replica::builder().env("ANONYMOUS_SCOPES", "tenants:read").start().await;
    let before = replica.get_json("/tenants/demo-tenant-001").await;
    for (answer, what) in [
        (replica.delete("/tenants/demo-tenant-001").await, "delete"),
        (replica.patch_json("/tenants/demo-tenant-001", &json!({"name": "x"})).await, "patch"),
        // Whether the body is any good is not even looked at.
        (replica.post_json("/tenants", &json!([])).await, "post"),
        (replica.get("/tenants/demo-tenant-001/credentials/sip").await, "reveal"),
    ] {
        assert_eq!(answer.status, 401, "{what}");
    }
    assert_eq!(replica.get_json("/tenants/demo-tenant-001").await, before);
}

/// What a web page can do in a browser on this machine, by a name that leads to it; and whom a proxy lets in.
#[tokio::test]
async fn open_by_default_answers_to_its_machine_alone() {
    let by_default = Replica::builder().without_env("ANONYMOUS_SCOPES").start().await;
    let path = "/tenants/demo-tenant-001/credentials/whatsapp";
    // Warm, so that the fast path is asked too.
    by_default.get("/tenants/by-phone/123456789").await.expecting(200);
    for path in [path, "/tenants/by-phone/123456789", "/tenants/nobody/credentials"] {
        let answer = by_default.get(path).header("host", "evil.example").await;
        assert_problem(&answer, 421, "misdirected_request");
        assert!(answer.json()["error"].as_str().unwrap().contains("ANONYMOUS_SCOPES"));
    }
    for path in [path, "/tenants/by-phone/123456789"] {
        let answer = by_default.get(path).header("x-forwarded-for", "203.0.113.1").await;
        assert_problem(&answer, 421, "misdirected_request");
    }
    for host in ["localhost:3007", "127.0.0.1", "[::1]:3007"] {
        by_default.get(path).header("host", host).await.expecting(200);
    }
    by_default.get("/health").header("host", "evil.example").await.expecting(200);

    let on_purpose = Replica::builder().env("ANONYMOUS_SCOPES", "all").start().await;
    on_purpose.get(path).header("host", "tenants.internal").await.expecting(200);
}

/// A page can have the browser of whoever looks at it send this, and needs no answer.
#[tokio::test]
async fn a_page_of_another_site_changes_nothing() {
    let replica = Replica::builder().env("ANONYMOUS_SCOPES", "all").start().await;
    let path = "/tenants/demo-tenant-001/credentials/whatsapp";
    let page = [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")];
    for (name, value) in page {
        for call in
            [replica.post_json(&format!("{path}/destroy"), &json!({})), replica.delete(path)]
        {
            assert_problem(&call.header(name, value).await, 403, "cross_site_request");
        }
        // A browser that says no more asks in vain; one that does is not answered.
        let (revealed, found) = (replica.get(path), replica.get("/tenants/by-phone/123456789"));
        for call in [revealed, found] {
            let answer = call.header(name, value).await;
            if name == "origin" {
                answer.expecting(200);
            } else {
                assert_problem(&answer, 403, "cross_site_request");
            }
        }
        // What is open to all, and what is nowhere, is not asked for its scope.
        replica.get("/livez").header(name, value).await.expecting(200);
        replica.post_json("/nowhere", &json!({})).header(name, value).await.expecting(404);
    }
    let refused = "tenant_requests_refused_total";
    let count = replica.metrics().await.value(refused, &[("code", "cross_site_request")]);
    assert!((count - 6.0).abs() < 0.1, "{count}");
    let own = replica.url("").trim_end_matches('/').to_owned();
    replica.delete(path).header("origin", &own).await.expecting(204);
    // What is sent with a token was meant.
    let admin = json!({"name": "admin", "scopes": ["credentials:write"]});
    let token = replica.post_json("/api/tokens", &admin).await.expecting(201).json();
    let bearer = format!("Bearer {}", token["token"].as_str().unwrap());
    let undelete = replica.post_json(&format!("{path}/undelete"), &json!({}));
    let undelete =
        undelete.header("authorization", &bearer).header("origin", "https://evil.example");
    undelete.await.expecting(200);
}
