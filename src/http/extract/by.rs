//! Who sends a request, for the audit trail.

use axum::extract::FromRequestParts;
use axum::http::Extensions;
use axum::http::request::Parts;

use crate::domain::{Actor, By};
use crate::http::auth::Caller;
use crate::http::client::Client;
use crate::http::middleware::RequestId;
use crate::http::problem::Problem;

/// Who sends the request with these extensions: the bearer of a token, or anybody.
pub fn sent_by(bearer: Option<&Caller>, extensions: &Extensions, id: &RequestId) -> By {
    By {
        actor: match bearer {
            Some(Caller::Token(token)) => Actor::Token(token.issued.token.id.to_string()),
            Some(Caller::Anonymous(_)) | None => Actor::Anonymous,
        },
        address: extensions.get().map(|client: &Client| client.address()),
        request_id: Some(id.as_str().to_owned()),
    }
}

impl<S: Sync> FromRequestParts<S> for By {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let id = RequestId::from_request_parts(parts, state).await?;
        Ok(sent_by(parts.extensions.get(), &parts.extensions, &id))
    }
}
