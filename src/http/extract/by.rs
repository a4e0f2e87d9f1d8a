//! Who sends a request, for the audit trail.

use axum::extract::FromRequestParts;
use axum::http::Extensions;
use axum::http::request::Parts;

use crate::domain::{Actor, By};
use crate::http::client::Client;
use crate::http::middleware::RequestId;
use crate::http::problem::Problem;

/// Who sends the request with these extensions.
pub fn caller(extensions: &Extensions, id: &RequestId) -> By {
    By {
        actor: Actor::Anonymous,
        address: extensions.get().map(|client: &Client| client.address()),
        request_id: Some(id.as_str().to_owned()),
    }
}

impl<S: Sync> FromRequestParts<S> for By {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let id = RequestId::from_request_parts(parts, state).await?;
        Ok(caller(&parts.extensions, &id))
    }
}
