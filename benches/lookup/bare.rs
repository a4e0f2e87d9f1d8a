//! The measure of all lookups: an axum handler that looks at nothing and answers constants.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use axum::routing::get;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use crate::common::run::say;
use crate::common::wire::Answer;

/// The argument that makes this program the bare server; the next one is what it answers, as JSON.
pub const ARGUMENT: &str = "--bare-server";

/// Headers that each answer has anew. The framework sets two of them; the last is the service's
/// own, and part of what it costs.
const CHANGING: [&str; 3] = ["content-length", "date", "x-request-id"];

/// A route and its constant answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Canned {
    route: String,
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Canned {
    /// The service's answer, to be given at this route.
    pub fn of(answer: &Answer, route: &str) -> Self {
        let constant = |header: &&(String, String)| !CHANGING.contains(&header.0.as_str());
        Self {
            route: route.to_owned(),
            status: answer.status,
            headers: answer.headers.iter().filter(constant).cloned().collect(),
            body: String::from_utf8(answer.body.clone()).expect("JSON is text"),
        }
    }

    /// The request as it has to be sent to get this answer.
    pub fn address(&self, request: &[u8]) -> Vec<u8> {
        let text = String::from_utf8_lossy(request);
        let known = self.status == StatusCode::NOT_MODIFIED.as_u16();
        if known { text.replace("/by-phone/", "/by-known/").into() } else { request.to_vec() }
    }

    /// Whether an answer is this one.
    pub fn is(&self, answer: &Answer) -> bool {
        let Self { status, headers, body, .. } = Self::of(answer, &self.route);
        (status, &headers, &body) == (self.status, &self.headers, &self.body)
    }

    /// The handler. It is made as cheap as can be: what it answers is static, so nothing is copied
    /// and no count of references is shared between threads.
    fn mount(self, router: Router) -> Router {
        let status = StatusCode::from_u16(self.status).expect("a status that was seen");
        let headers: Vec<(HeaderName, HeaderValue)> = self
            .headers
            .into_iter()
            .map(|(name, value)| (HeaderName::from_static(name.leak()), value))
            .map(|(name, value)| (name, HeaderValue::from_static(value.leak())))
            .collect();
        let headers: &'static [(HeaderName, HeaderValue)] = headers.leak();
        let body = Bytes::from_static(self.body.leak().as_bytes());
        let handler = async move || {
            let mut response = Response::new(Body::from(body.clone()));
            *response.status_mut() = status;
            for (name, value) in headers {
                response.headers_mut().insert(name, value.clone());
            }
            response
        };
        router.route(&self.route, get(handler))
    }
}

/// Serves until killed, and says where in the words of the service's own log.
pub async fn serve(answers: &str) {
    let answers: Vec<Canned> = serde_json::from_str(answers).expect("what we were started with");
    let router = answers.into_iter().fold(Router::new(), |router, canned| canned.mount(router));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound socket has an address").to_string();
    say(serde_json::json!({"message": "listening", "address": address}));
    axum::serve(listener, router).await.expect("the server runs");
}
