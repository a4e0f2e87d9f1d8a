//! Requests to a replica and their answers.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::HeaderMap;
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::Value;

/// So long, a replica is allowed to wait for a barrier or a dead dependency; beyond that it hangs.
const DEADLINE: Duration = Duration::from_secs(30);
/// A stream is to be looked at for as long as the test takes.
const STREAM: Duration = Duration::from_mins(10);

/// A client that goes to the replica, whatever proxy the environment names.
pub(super) fn client() -> Client {
    Client::builder()
        .no_proxy()
        .timeout(DEADLINE)
        .build()
        .expect("a client without TLS needs nothing")
}

/// A request, sent when awaited: `replica.get("/livez").header("accept", "*/*").await`.
#[must_use = "a call is sent when it is awaited"]
pub struct Call {
    request: RequestBuilder,
    what: String,
}

impl Call {
    pub(super) fn new(client: &Client, method: Method, url: &str) -> Self {
        Self { what: format!("{method} {url}"), request: client.request(method, url) }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    pub fn json(mut self, body: &Value) -> Self {
        self.request = self.request.json(body);
        self
    }

    /// Any bytes; set `content-type` as well.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.request = self.request.body(body.into());
        self
    }

    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.request = self.request.timeout(timeout);
        self
    }

    /// The answer, or why there is none: for replicas that are killed or frozen meanwhile.
    pub async fn attempt(self) -> reqwest::Result<Answer> {
        let response = self.request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Answer { what: self.what, status, headers, body: response.bytes().await? })
    }

    /// The answer as soon as its head is there, its body to be read by `chunk()`: for streams of
    /// events.
    pub async fn open(self) -> Response {
        let response = self.request.timeout(STREAM).send().await;
        response.unwrap_or_else(|error| panic!("{}: {error:?}", self.what))
    }
}

impl IntoFuture for Call {
    type Output = Answer;
    type IntoFuture = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        let what = self.what.clone();
        Box::pin(
            async move { self.attempt().await.unwrap_or_else(|error| panic!("{what}: {error:?}")) },
        )
    }
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    what: String,
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// Panics with the whole answer unless that is its status.
    #[track_caller]
    pub fn expecting(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}: {:?}\n{}", self.what, self.headers, self.text());
        self
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| {
            panic!("{}: {} without JSON ({error}): {}", self.what, self.status, self.text())
        })
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The header `Cache-Status`; empty where there is none.
    pub fn cache_status(&self) -> &str {
        self.header("cache-status").unwrap_or_default()
    }
}
