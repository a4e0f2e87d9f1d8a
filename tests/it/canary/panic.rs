//! Panics: the message of one quotes a secret, and nobody reads it.

use std::env;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use tenant_service::domain::{CredentialType, Credentials, Scopes};
use tenant_service::http::Reach;
use tenant_service::http::auth::{Access, Caller};
use tenant_service::http::middleware::{Door, Endpoint, Room};
use tenant_service::telemetry::logging::{self, Stream, Style};
use tenant_service::telemetry::panics;
use tokio::process::Command;

use super::{EVERYTHING, Search};

const CHILD: &str = "TENANT_SERVICE_TEST_PANICS";
const THIS: &str = "canary::panic::no_secret_leaves_by_a_panic";

/// The service has no path that panics, so one is put behind its middleware, in a process of its own:
/// the hook and the log are a whole process'. That process is this test once more.
#[tokio::test]
async fn no_secret_leaves_by_a_panic() {
    if let Ok(secret) = env::var(CHILD) {
        return panic_with(&secret).await;
    }
    let mut search = Search::new();
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", THIS, "--nocapture"])
        .env(CHILD, search.secret("panic"))
        .output()
        .await
        .unwrap();
    let told = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&told);
    assert!(output.status.success(), "{text}");
    // Each is told of, with its place.
    assert_eq!(text.matches("\"place\":\"tests/it/canary/panic.rs:").count(), 4, "{text}");
    assert_eq!(text.matches("\"status\":500,\"detail\":\"An internal error").count(), 3, "{text}");
    search.add("what is told of panics", told);
    search.run();
}

/// Panics with it in handlers, which are answered, and in a task.
#[expect(clippy::print_stdout, reason = "the test that has started this process reads it")]
async fn panic_with(secret: &str) {
    panics::install_hook();
    logging::install(Style::Json, Stream::Output, EVERYTHING.1).unwrap();
    let anonymous = Caller::anonymous(Scopes::NONE);
    let door = Door { anonymous, reach: Reach::Any, tokens: None, trail: None };
    let limit = Duration::from_mins(1);
    let endpoint = Endpoint::leak("/panics", Access::Open, door, Room::default(), limit);
    for handler in [unwraps, formats, unwraps_json] {
        let request = Request::put("/panics")
            .header("x-secret", secret.escape_unicode().to_string())
            .body(Body::from(secret.to_owned()))
            .unwrap();
        let handle = move |request| handle(request, handler);
        let answer = endpoint.answer(request, handle).await.unwrap();
        let headers = format!("{:?}", answer.headers());
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        println!("{headers}\n{}", String::from_utf8_lossy(&body));
    }
    let body = secret.to_owned();
    tokio::task::spawn_blocking(move || formats(&body)).await.unwrap_err();
}

async fn handle(request: Request<Body>, handler: fn(&str)) -> Response {
    let body = request.into_body().collect().await.unwrap().to_bytes();
    handler(std::str::from_utf8(&body).unwrap());
    ().into_response()
}

/// Whose error quotes it.
fn unwraps(secret: &str) {
    let number: Result<u32, String> = secret.parse().map_err(|_| format!("there was {secret}"));
    number.unwrap();
}

fn formats(secret: &str) {
    let value = serde_json::json!({"app_secret": secret});
    let credentials = Credentials::new(CredentialType::Whatsapp, value).unwrap();
    panic!("{secret} is not in {credentials:?}");
}

/// Of whose error serde makes a text of what it found.
fn unwraps_json(secret: &str) {
    let quoted = serde_json::Value::from(secret);
    serde_json::from_value::<u32>(quoted).unwrap();
}
