//! A replica as its clients know it.

use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{CONTENT_TYPE, ETAG};
use hyper::{Method, Request, StatusCode};
use serde_json::Value;
use url::Url;

use super::client::Client;
use crate::domain::CacheKey;
use crate::http::reply::CACHE_STATUS;

/// Longer than a replica takes to give up by itself.
const PATIENCE: Duration = Duration::from_secs(15);
/// No answer is larger, `/metrics` included.
const LARGEST: usize = 16 << 20;
/// Something that only a tenant-service has in its metrics.
const MARK: &str = "tenant_proof_age_seconds";

/// A replica at its own address.
pub struct Replica {
    name: String,
    client: Client,
    /// A write may take so long.
    patience: Duration,
    /// Why it is asked no more.
    lost: OnceLock<String>,
}

/// An answer as it came.
pub struct Answer {
    pub status: StatusCode,
    pub body: Bytes,
    etag: Option<String>,
    source: String,
}

/// What a replica says of a key.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// This document; with the revision in quotes where it has one.
    Document { body: Value, etag: Option<String> },
    /// There is none.
    Absent,
}

/// From where a replica has an answer, by its `Cache-Status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    Memory,
    Redis,
    Database,
    /// Its memory, and it says that the answer may be old.
    Stale,
}

impl Replica {
    /// A replica whose writes are acknowledged after `bound`, or before.
    pub fn at(url: &Url, client: Client, bound: Duration) -> Self {
        let name = url.as_str().trim_end_matches('/').to_owned();
        Self { name, client, patience: PATIENCE + bound, lost: OnceLock::new() }
    }

    /// Its address, by which a report names it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Why it is asked no more, if it is not.
    pub fn lost(&self) -> Option<&str> {
        self.lost.get().map(String::as_str)
    }

    /// Its metrics.
    ///
    /// # Errors
    /// It is out of reach, or is something else.
    pub async fn metrics(&self) -> anyhow::Result<String> {
        let answer = self.get("/metrics").await?;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        if answer.status != StatusCode::OK || !text.contains(MARK) {
            bail!(
                "{} answers, and is no tenant-service, or something before one (its /metrics are \
                 {} without {MARK}); name the replica's own address",
                self.name,
                answer.status
            );
        }
        Ok(text)
    }

    /// What it says of a key, and from where it has that; the inner error is why it says neither.
    ///
    /// # Errors
    /// The caller lacks a scope, so that asking on is of no use.
    pub async fn ask(&self, key: &CacheKey) -> anyhow::Result<Result<(Said, Source), String>> {
        let path = path_of(key);
        let answer = match self.get(&path).await {
            Ok(answer) => answer,
            Err(error) => {
                let told = format!("{error:#}");
                return Ok(Err(self.lost.get_or_init(|| told).clone()));
            }
        };
        self.refuse(&answer)?;
        Ok(answer.said().map(|said| (said, answer.source())))
    }

    /// # Errors
    /// The replica is out of reach.
    pub async fn get(&self, path: &str) -> anyhow::Result<Answer> {
        self.send(Method::GET, path, None).await
    }

    /// # Errors
    /// The replica is out of reach.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Answer> {
        if let Some(why) = self.lost() {
            bail!("{why}");
        }
        let request = Request::builder().method(method).uri(format!("{}{path}", self.name));
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = request.header(CONTENT_TYPE, "application/json").body(Full::from(body))?;
        let exchange = async {
            let response = self.client.request(request).await?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, LARGEST).collect().await;
            let body = body.map_err(|error| anyhow::anyhow!("its answer broke off: {error}"))?;
            let header = |name| {
                let value = head.headers.get(name).and_then(|value| value.to_str().ok());
                value.map(str::to_owned)
            };
            let (etag, source) = (header(ETAG), header(CACHE_STATUS).unwrap_or_default());
            anyhow::Ok(Answer { status: head.status, body: body.to_bytes(), etag, source })
        };
        let answer = tokio::time::timeout(self.patience, exchange).await;
        let answer = answer.map_err(|_| anyhow::anyhow!("no answer in {:?}", self.patience));
        answer.flatten().with_context(|| format!("{} is out of reach", self.name))
    }

    /// # Errors
    /// The answer says that a scope is missing.
    pub fn refuse(&self, answer: &Answer) -> anyhow::Result<()> {
        if matches!(answer.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            let problem: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            let why = problem["error"].as_str().unwrap_or("something before it asks for a token");
            bail!("{} refuses with {}: {why}", self.name, answer.status.as_u16());
        }
        Ok(())
    }
}

impl Answer {
    /// What it says, or that it says nothing of the kind.
    fn said(&self) -> Result<Said, String> {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        match (self.status, body["code"].as_str()) {
            (StatusCode::OK, _) if body.is_object() => {
                Ok(Said::Document { body, etag: self.etag.clone() })
            }
            (StatusCode::NOT_FOUND, Some("tenant_not_found" | "credentials_not_found")) => {
                Ok(Said::Absent)
            }
            (status, Some(code)) => Err(format!("{} {code}", status.as_u16())),
            (status, None) => Err(format!("{}, and no answer of ours", status.as_u16())),
        }
    }

    /// From where it comes.
    pub fn source(&self) -> Source {
        match self.source.as_str() {
            "tenant-service; hit; detail=l1" => Source::Memory,
            "tenant-service; hit; detail=l2" => Source::Redis,
            "tenant-service; hit; detail=stale" => Source::Stale,
            _ => Source::Database,
        }
    }
}

/// Where a key's answer is; of credentials, what may be seen of them.
fn path_of(key: &CacheKey) -> String {
    match key {
        CacheKey::Phone(id) => format!("/api/tenants/by-phone/{}", segment(id.as_str())),
        CacheKey::Integration(id) => {
            format!("/api/tenants/by-integration/{}", segment(id.as_str()))
        }
        CacheKey::Tenant(id) => format!("/api/tenants/{}", segment(id.as_str())),
        CacheKey::Credentials(id, kind) => {
            format!("/api/tenants/{}/credentials?type={kind}", segment(id.as_str()))
        }
        CacheKey::Token(id) => format!("/api/tokens/{id}"),
    }
}

/// An id as a segment of a path, whatever is in it.
fn segment(id: &str) -> String {
    let escaped = |byte: u8| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    };
    id.bytes().map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_id_is_one_segment() {
        let path = |key: &str| path_of(&key.parse().unwrap());
        assert_eq!(path("phone:1001"), "/api/tenants/by-phone/1001");
        assert_eq!(
            path("integration:a/../b?c%"),
            "/api/tenants/by-integration/a%2F%2E%2E%2Fb%3Fc%25"
        );
        assert_eq!(path("integration:."), "/api/tenants/by-integration/%2E");
        let credentials = path("tenant:t.1:credentials:genesys");
        assert_eq!(credentials, "/api/tenants/t%2E1/credentials?type=genesys");
    }

    #[test]
    fn only_our_own_answers_say_something() {
        let said = |status: u16, body: &'static str| {
            let (status, body) =
                (StatusCode::from_u16(status).unwrap(), Bytes::from_static(body.as_bytes()));
            Answer { status, body, etag: None, source: String::new() }.said()
        };
        assert!(matches!(said(200, "{}"), Ok(Said::Document { .. })));
        assert_eq!(said(404, r#"{"code":"tenant_not_found"}"#), Ok(Said::Absent));
        assert_eq!(said(503, r#"{"code":"unavailable"}"#), Err("503 unavailable".to_owned()));
        for (status, body) in
            [(404, "{}"), (200, "<html>"), (502, ""), (404, r#"{"code":"not_found"}"#)]
        {
            assert!(said(status, body).is_err(), "{status} {body}");
        }
    }
}
