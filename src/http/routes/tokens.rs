//! Tokens: make, see, list, take back, replace.
//!
//! Nobody hands out more than they have: neither a scope, nor what lies beyond their limits. So
//! whoever is limited sees the tokens within their limits alone, and whoever replaces a token has to
//! have its scopes, for the secret of the new one is theirs.
//!
//! Errors: 400 for what is not valid; 403 for more than one's own; 404 for a token that is absent, or
//! beyond the caller's limits; 409 to replace one that is expired, revoked or replaced already.

use std::collections::BTreeSet;
use std::str::FromStr;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, LOCATION};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::domain::{
    Action, By, Invalid, Limits, NewToken, Outcome, Scope, Scopes, TokenId, TokenRecord,
};
use crate::http::auth::Caller;
use crate::http::extract::{Fields, JsonBody, Nothing, Query, Segment, number};
use crate::http::problem::Problem;
use crate::http::state::Shared;
use crate::http::{reply, schema};
use crate::service::{Acknowledged, Minted, Wait};
use crate::store::{Rotated, TokenPage};

/// How many tokens a page has, unless another number is asked for.
const PAGE: u64 = 50;
/// How many it has at most.
const LARGEST_PAGE: u64 = 200;
const FARTHEST: u64 = 1_000_000_000;
/// As many tenants as a token may be limited to. They are looked through with each request.
const MOST_TENANTS: usize = 1_000;
/// Thirty days.
const LONGEST_OVERLAP: u64 = 30 * 24 * 60 * 60;

const FIELDS: [&str; 6] = ["name", "description", "scopes", "tenants", "types", "expires_at"];

/// Make a token
///
/// Its secret is in this answer and nowhere else: neither this service nor its database can show it
/// again. Nobody can hand out a scope that they don't have, nor go beyond their own limits.
#[utoipa::path(
    post,
    path = "/api/tokens",
    tag = "Tokens",
    operation_id = "create_token",
    request_body = schema::NewToken,
    responses(
        (status = 201, description = "The token, to be kept", body = schema::MintedToken, headers(("Location" = String, description = "Where what is known of it is"))),
        (status = 400, description = "A field is missing or not what it should be: `invalid_value`, `unknown_field`, `malformed_json`, `json_too_deep`, `invalid_body`, `incomplete_body`", body = schema::Problem, content_type = "application/problem+json"),
    )
)]
pub async fn create(
    State(state): State<Shared>,
    caller: Caller,
    by: By,
    wait: Wait,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let token = new_token(body, by.actor.to_string(), Timestamp::now())?;
    let is_ones_own =
        token.scopes.are_within(caller.scopes()) && token.limits.are_within(caller.limits());
    if !is_ones_own {
        state.service.token_in_vain(by, Action::TokenCreate, None, Outcome::Denied);
        return Err(Problem::more_than_ones_own());
    }
    let Acknowledged { value, coherence } = state.service.create_token(token, by, wait).await?;
    let Minted { secret, value } = value;
    Ok(reply::acknowledged(minted(secret.reveal(), &value), coherence))
}

/// A token
///
/// All that is known of it, but for its secret, which nobody knows.
#[utoipa::path(
    get,
    path = "/api/tokens/{token_id}",
    tag = "Tokens",
    operation_id = "token",
    params(("token_id" = String, Path, description = "The token's id: the 16 characters behind `ts_live_`", example = "3jhh9x072amr2vg5")),
    responses(
        (status = 200, description = "The token", body = schema::Token),
        (status = 400, description = "Not an id: `invalid_value`, `invalid_path`", body = schema::Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such token: `token_not_found`", body = schema::Problem, content_type = "application/problem+json"),
    )
)]
pub async fn get(
    State(state): State<Shared>,
    Segment(id): Segment<TokenId>,
    caller: Caller,
    by: By,
) -> Result<Response, Problem> {
    let found = find(&state, &id, &caller).await;
    let is_absent = found.as_ref().is_err_and(|problem| *problem == Problem::token_not_found());
    // Whether one is there that is beyond the limits is not looked at.
    if is_absent && *caller.limits() != Limits::NONE {
        let action = Action::Access(Scope::TokensAdmin);
        state.service.token_in_vain(by, action, Some(&id), Outcome::Denied);
    }
    let found = found?;
    Ok(unstored(Value::Object(shown(&found))))
}

/// Tokens, by age
///
/// Those that are expired or revoked as well. A caller who is limited sees those within their limits.
#[utoipa::path(
    get,
    path = "/api/tokens",
    tag = "Tokens",
    operation_id = "tokens",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 200, description = "How many at most; 50 unless said otherwise", example = 50),
        ("offset" = Option<u64>, Query, minimum = 0, maximum = 1_000_000_000, description = "How many to leave out first", example = 0),
    ),
    responses(
        (status = 200, description = "One page of them", body = schema::Tokens),
        (status = 400, description = "A parameter is unknown, repeated or out of range: `invalid_query`", body = schema::Problem, content_type = "application/problem+json"),
    )
)]
pub async fn list(
    State(state): State<Shared>,
    caller: Caller,
    query: Query,
) -> Result<Response, Problem> {
    let [limit, offset] = query.only(["limit", "offset"])?;
    let limit = number("limit", limit, PAGE, (1, LARGEST_PAGE))?;
    let page = TokenPage {
        limit: u32::try_from(limit).unwrap_or(u32::MAX),
        offset: number("offset", offset, 0, (0, FARTHEST))?,
    };
    let (tokens, total) = state.service.tokens(page, caller.limits()).await?;
    let tokens: Vec<_> = tokens.iter().map(shown).collect();
    let TokenPage { limit, offset } = page;
    Ok(unstored(json!({"tokens": tokens, "total": total, "limit": limit, "offset": offset})))
}

/// Take a token back
///
/// For good. It is refused on every replica once this is answered; its row stays, to be looked up.
#[utoipa::path(
    delete,
    path = "/api/tokens/{token_id}",
    tag = "Tokens",
    operation_id = "revoke_token",
    params(("token_id" = String, Path, description = "The token's id", example = "3jhh9x072amr2vg5")),
    responses(
        (status = 200, description = "The token, revoked", body = schema::Token),
        (status = 400, description = "Not an id: `invalid_value`, `invalid_path`", body = schema::Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such token: `token_not_found`", body = schema::Problem, content_type = "application/problem+json"),
    )
)]
pub async fn revoke(
    State(state): State<Shared>,
    Segment(id): Segment<TokenId>,
    caller: Caller,
    by: By,
    wait: Wait,
    _: Nothing,
) -> Result<Response, Problem> {
    writable(&state, &id, &caller, (Action::TokenRevoke, &by)).await?;
    let revoked = state.service.revoke_token(id, by, wait).await?;
    let Acknowledged { value, coherence } = revoked.ok_or_else(Problem::token_not_found)?;
    Ok(reply::acknowledged(unstored(Value::Object(shown(&value))), coherence))
}

/// Replace a token
///
/// Makes a new one that may do the same, for as long as the old one was to. The old one is good for
/// `overlap_seconds` yet, so that its bearers can change over; with 0, it is revoked at once.
#[utoipa::path(
    post,
    path = "/api/tokens/{token_id}/rotate",
    tag = "Tokens",
    operation_id = "rotate_token",
    params(("token_id" = String, Path, description = "The old token's id", example = "3jhh9x072amr2vg5")),
    request_body = schema::RotateToken,
    responses(
        (status = 201, description = "The new token, to be kept", body = schema::MintedToken, headers(("Location" = String, description = "Where what is known of it is"))),
        (status = 400, description = "Not an id, or not such a number: `invalid_value`, `invalid_path`, `unknown_field`, `malformed_json`, `json_too_deep`, `invalid_body`, `incomplete_body`", body = schema::Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such token: `token_not_found`", body = schema::Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is expired, revoked or replaced already: `token_inactive`", body = schema::Problem, content_type = "application/problem+json"),
    )
)]
pub async fn rotate(
    State(state): State<Shared>,
    Segment(id): Segment<TokenId>,
    caller: Caller,
    by: By,
    wait: Wait,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let overlap = overlap_of(body)?;
    let found = writable(&state, &id, &caller, (Action::TokenRotate, &by)).await?;
    if !found.token.scopes.are_within(caller.scopes()) {
        state.service.token_in_vain(by, Action::TokenRotate, Some(&id), Outcome::Denied);
        return Err(Problem::more_than_ones_own());
    }
    let rotated = state.service.rotate_token(id, overlap, by, wait).await?;
    let Acknowledged { value, coherence } = rotated.ok_or_else(Problem::token_not_found)?;
    let Minted { secret, value: Rotated { new, .. } } = value;
    Ok(reply::acknowledged(minted(secret.reveal(), &new), coherence))
}

/// A token that is there for this caller.
async fn find(state: &Shared, id: &TokenId, caller: &Caller) -> Result<TokenRecord, Problem> {
    let found = state.service.token(id, caller.limits()).await?;
    found.ok_or_else(Problem::token_not_found)
}

/// The same, to be written. Where that comes to nothing, it is entered into the audit trail.
async fn writable(
    state: &Shared,
    id: &TokenId,
    caller: &Caller,
    (action, by): (Action, &By),
) -> Result<TokenRecord, Problem> {
    let found = find(state, id, caller).await;
    let outcome = match &found {
        Ok(_) => return found,
        Err(problem) if *problem != Problem::token_not_found() => Outcome::Failed,
        // Whether one is there that is beyond the limits is not looked at.
        Err(_) if *caller.limits() == Limits::NONE => Outcome::NotFound,
        Err(_) => Outcome::Denied,
    };
    state.service.token_in_vain(by.clone(), action, Some(id), outcome);
    found
}

/// JSON that nobody keeps.
fn unstored(body: Value) -> Response {
    ([(CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

/// A token that was made, with its secret.
fn minted(secret: &str, record: &TokenRecord) -> Response {
    let mut body = shown(record);
    body.insert("token".to_owned(), secret.into());
    let location = format!("/api/tokens/{}", record.token.id);
    (StatusCode::CREATED, [(LOCATION, location)], unstored(Value::Object(body))).into_response()
}

/// What is shown of a token.
#[must_use]
pub fn shown(record: &TokenRecord) -> Map<String, Value> {
    let token = &record.token;
    let scopes: Vec<_> = token.scopes.iter().map(Scope::as_str).collect();
    let types = token.limits.types().map(|types| types.iter().map(|kind| kind.as_str()));
    let text = |moment: Option<Timestamp>| moment.map(|moment| moment.to_string());
    let members = [
        ("id", json!(token.id.as_str())),
        ("name", json!(token.name)),
        ("description", json!(record.description)),
        ("status", json!(token.standing(Timestamp::now).as_str())),
        ("scopes", json!(scopes)),
        ("tenants", json!(token.limits.tenants())),
        ("types", json!(types.map(Vec::from_iter))),
        ("created_at", json!(record.created_at.to_string())),
        ("created_by", json!(record.created_by)),
        ("expires_at", json!(text(token.expires_at))),
        ("revoked_at", json!(text(token.revoked_at))),
        ("replaced_by", json!(record.replaced_by.as_ref().map(TokenId::as_str))),
        ("last_used_at", json!(text(record.last_used_at))),
    ];
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn new_token(body: Value, created_by: String, now: Timestamp) -> Result<NewToken, Problem> {
    let mut fields = Fields::of(body, &FIELDS)?;
    let required = || Invalid::new("scopes", "is required: a list of at least one scope");
    let scopes: Scopes = list_of::<Scope>(&mut fields, "scopes", Scope::ALL.len())?
        .ok_or_else(required)?
        .into_iter()
        .collect();
    let tenants = list_of(&mut fields, "tenants", MOST_TENANTS)?;
    let types = list_of(&mut fields, "types", 2)?;
    let expires_at = fields.optional::<Moment>("expires_at")?.map(|Moment(moment)| moment);
    if expires_at.is_some_and(|end| end <= now) {
        return Err(Invalid::new("expires_at", "must be in the future").into());
    }
    Ok(NewToken {
        name: fields.required("name")?,
        description: fields.optional("description")?,
        scopes,
        limits: Limits::new(tenants, types),
        expires_at,
        created_by,
    })
}

/// A list of different texts, at least one; null is as good as absent.
fn list_of<T: FromStr<Err = Invalid>>(
    fields: &mut Fields,
    name: &str,
    most: usize,
) -> Result<Option<Vec<T>>, Problem> {
    let items = match fields.take(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Array(items)) => items,
        Some(_) => return Err(Invalid::new(name, "must be a list of texts").into()),
    };
    if items.is_empty() || items.len() > most {
        return Err(Invalid::new(name, format!("must have 1 to {most} items")).into());
    }
    let mut seen = BTreeSet::new();
    let mut list = Vec::with_capacity(items.len());
    for item in &items {
        let text = item.as_str().ok_or_else(|| Invalid::new(name, "must be a list of texts"))?;
        if !seen.insert(text) {
            return Err(Invalid::new(name, "must not have an item twice").into());
        }
        let value = text.parse();
        list.push(value.map_err(|error: Invalid| Invalid { field: name.to_owned(), ..error })?);
    }
    Ok(Some(list))
}

/// A moment as of RFC 3339.
struct Moment(Timestamp);

impl FromStr for Moment {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let reason = "must be a moment such as 2030-01-02T03:04:05Z";
        let moment = text.parse().map_err(|_| Invalid::new("expires_at", reason))?;
        Ok(Self(moment))
    }
}

fn overlap_of(body: Value) -> Result<Duration, Problem> {
    let mut fields = Fields::of(body, &["overlap_seconds"])?;
    let given = fields.take("overlap_seconds");
    let seconds = given.as_ref().and_then(Value::as_u64).filter(|it| *it <= LONGEST_OVERLAP);
    let accepted = format!("is required: a whole number between 0 and {LONGEST_OVERLAP}");
    let seconds = seconds.ok_or_else(|| Invalid::new("overlap_seconds", accepted))?;
    Ok(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: Value) -> Result<NewToken, Problem> {
        new_token(body, "cli".to_owned(), "2026-01-02T03:04:05Z".parse().unwrap())
    }

    #[test]
    fn a_name_and_a_scope_are_enough() {
        let token = read(json!({"name": "n", "scopes": ["lookup:read"]})).unwrap();
        assert_eq!(token.scopes, Scopes::NONE.with(Scope::LookupRead));
        assert_eq!((token.limits, token.expires_at), (Limits::NONE, None));
        let token = read(json!({
            "name": "n", "description": "d", "scopes": ["lookup:read", "tokens:admin"],
            "tenants": ["b", "a"], "types": ["genesys"], "expires_at": "2030-01-02T03:04:05+01:00",
        }));
        let token = token.unwrap();
        assert_eq!(token.limits.tenants().unwrap().len(), 2);
        assert_eq!(token.expires_at.unwrap().to_string(), "2030-01-02T02:04:05Z");
    }

    #[test]
    fn what_is_not_a_token_is_refused_and_not_repeated() {
        for (field, value) in [
            ("name", json!("")),
            ("name", json!(null)),
            ("description", json!(5)),
            ("scopes", json!([])),
            ("scopes", json!(null)),
            ("scopes", json!("lookup:read")),
            ("scopes", json!(["all"])),
            ("scopes", json!(["hunter2"])),
            ("scopes", json!(["lookup:read", "lookup:read"])),
            ("tenants", json!([])),
            ("tenants", json!(["a b hunter2"])),
            ("tenants", json!([1])),
            ("types", json!(["sip"])),
            ("expires_at", json!("hunter2")),
            ("expires_at", json!("2026-01-02T03:04:05Z")),
            ("expires_at", json!(1_900_000_000)),
            ("hunter2", json!(1)),
        ] {
            let mut body = json!({"name": "n", "scopes": ["lookup:read"]});
            body[field] = value;
            let refused = read(body).unwrap_err();
            assert_eq!(refused.status(), 400, "{field}");
            assert!(!refused.sentence().contains("hunter2"), "{}", refused.sentence());
        }
        for bad in [
            json!({}),
            json!({"overlap_seconds": -1}),
            json!({"overlap_seconds": 1.5}),
            json!({"overlap_seconds": "1"}),
            json!({"overlap_seconds": 2_592_001}),
        ] {
            assert_eq!(overlap_of(bad).unwrap_err().status(), 400);
        }
        assert_eq!(overlap_of(json!({"overlap_seconds": 60})).unwrap(), Duration::from_mins(1));
    }
}
