//! Who did what.
//!
//! Errors: 400 for a filter that is unknown, repeated or none.

use std::str::FromStr;

use axum::Json;
use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::domain::{Action, By, Invalid, Limits, Outcome, Scope, TenantId};
use crate::http::auth::Caller;
use crate::http::extract::{Query, number};
use crate::http::problem::Problem;
use crate::http::schema;
use crate::http::state::Shared;
use crate::store::{AuditPage, AuditQuery, AuditRecord, Order};

/// How many entries a page has, unless another number is asked for.
const PAGE: u64 = 50;
/// How many it has at most.
const LARGEST_PAGE: u64 = 200;
/// The longest name of an action or an actor.
const LONGEST: usize = 64;

/// The audit trail
///
/// Every write, every answer that showed secrets, and what was denied: who, from where, to whom, which
/// fields by name, and what came of it; never a value. Entries are here once they are chained, about a
/// second after they were made. Each has a `number` then, without gaps, and for good: with `order=oldest`,
/// whoever goes on from `next` misses none, whenever it was committed.
///
/// A page looks at 5,000 entries at most, so with a filter it may have fewer than `limit`, or none,
/// with `more` behind it. A caller who is limited to certain tenants is shown their entries alone.
#[utoipa::path(
    get,
    path = "/api/audit",
    tag = "Audit",
    operation_id = "audit",
    params(
        ("tenant" = Option<String>, Query, description = "Only those of this tenant, also if it is gone", example = "demo-tenant-001", pattern = "^[A-Za-z0-9][A-Za-z0-9_.-]{0,49}$"),
        ("action" = Option<String>, Query, description = "Only those of this action, such as `credentials.reveal`", example = "credentials.reveal", pattern = "^[!-~]{1,64}$"),
        ("outcome" = Option<schema::Outcome>, Query, description = "Only those with this outcome"),
        ("actor" = Option<String>, Query, description = "Only those of actors of this kind, or of this one by its id", example = "anonymous", pattern = "^[!-~]{1,64}$"),
        ("from" = Option<String>, Query, description = "Only those from this moment on", example = "2026-01-02T03:04:05Z", format = "date-time"),
        ("to" = Option<String>, Query, description = "Only those before this moment", example = "2126-01-02T03:04:05Z", format = "date-time"),
        ("order" = Option<schema::Order>, Query, description = "`newest` first, unless said otherwise; or `oldest`, to follow the trail"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 200, description = "How many at most; 50 unless said otherwise", example = 50),
        ("after" = Option<String>, Query, description = "The `next` of the page before: the number to go on behind, in this order", pattern = "^[0-9]{1,18}$"),
    ),
    responses(
        (status = 200, description = "One page of it", body = schema::Audit),
        (status = 400, description = "A parameter is unknown, repeated or none: `invalid_query`, `invalid_value`", body = schema::Problem, content_type = "application/problem+json"),
    )
)]
pub async fn list(
    State(state): State<Shared>,
    caller: Caller,
    by: By,
    query: Query,
) -> Result<Response, Problem> {
    let query = query_of(&query, caller.limits())?;
    let page = match query.tenant.as_ref().filter(|tenant| !caller.sees(tenant)) {
        // Not even whether there are any.
        Some(foreign) => {
            state.service.denied(by, Action::Access(Scope::AuditRead), foreign, None);
            AuditPage::default()
        }
        None => state.service.audit(&query).await?,
    };
    Ok(([(CACHE_CONTROL, "no-store")], Json(shown(page))).into_response())
}

fn query_of(query: &Query, limits: &Limits) -> Result<AuditQuery, Problem> {
    let [tenant, action, outcome, actor, from, to, order, limit, after] = query
        .only(["tenant", "action", "outcome", "actor", "from", "to", "order", "limit", "after"])?;
    let order = match order {
        None | Some("newest") => Order::Newest,
        Some("oldest") => Order::Oldest,
        Some(_) => return Err(Invalid::new("order", "must be newest or oldest").into()),
    };
    let limit = number("limit", limit, PAGE, (1, LARGEST_PAGE))?;
    let tenant = tenant
        .map(TenantId::from_str)
        .transpose()
        .map_err(|invalid| Invalid { field: "tenant".to_owned(), ..invalid })?;
    Ok(AuditQuery {
        order,
        after: after.map(position).transpose()?,
        // Bounded above.
        limit: u32::try_from(limit).unwrap_or(u32::MAX),
        // Of one alone there is an index.
        tenant: tenant.or_else(|| match limits.tenants() {
            Some([only]) => Some(only.clone()),
            _ => None,
        }),
        limits: limits.clone(),
        action: action.map(|text| name("action", text)).transpose()?,
        outcome: outcome.map(outcome_of).transpose()?,
        actor: actor.map(|text| name("actor", text)).transpose()?,
        from: from.map(|text| moment("from", text)).transpose()?,
        to: to.map(|text| moment("to", text)).transpose()?,
    })
}

fn position(cursor: &str) -> Result<i64, Invalid> {
    let is_number =
        (1..=18).contains(&cursor.len()) && cursor.bytes().all(|byte| byte.is_ascii_digit());
    let number = cursor.parse().ok().filter(|_| is_number);
    number.ok_or_else(|| Invalid::new("after", "must be the `next` of a page"))
}

fn name(field: &'static str, text: &str) -> Result<String, Invalid> {
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
    let is_name = plain && (1..=LONGEST).contains(&text.len());
    let accepts = "must be 1 to 64 characters without blanks";
    is_name.then(|| text.to_owned()).ok_or_else(|| Invalid::new(field, accepts))
}

fn outcome_of(text: &str) -> Result<String, Invalid> {
    let known = Outcome::ALL.into_iter().find(|outcome| outcome.as_str() == text);
    let accepts = "must be ok, denied, not_found, refused or failed";
    known.map(|outcome| outcome.as_str().to_owned()).ok_or_else(|| Invalid::new("outcome", accepts))
}

fn moment(field: &'static str, text: &str) -> Result<Timestamp, Invalid> {
    let moment: Option<Timestamp> = text.parse().ok();
    // No entry is older, and every database can compare it.
    let known = moment.map(|moment| moment.max(Timestamp::UNIX_EPOCH));
    known.ok_or_else(|| Invalid::new(field, "must be a moment such as 2026-01-02T03:04:05Z"))
}

fn shown(page: AuditPage) -> Value {
    let AuditPage { records, last, more } = page;
    let next = last.map(|number| number.to_string());
    let entries: Vec<Value> = records.iter().map(entry).collect();
    json!({"entries": entries, "next": next, "more": more})
}

fn entry(record: &AuditRecord) -> Value {
    json!({
        "number": record.number,
        "occurred_at": record.occurred_at,
        "actor": {"kind": record.actor_kind, "id": record.actor_id},
        "action": record.action,
        "tenant_id": record.tenant_id,
        "type": record.credential_type,
        "version": record.version,
        "token_id": record.token_id,
        "fields": record.field_names().unwrap_or_default(),
        "outcome": record.outcome,
        "times": record.times,
        "address": record.address,
        "request_id": record.request_id,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_a_number() {
        assert_eq!((position("12").unwrap(), position("0").unwrap()), (12, 0));
        for bad in ["", "-1", "+1", "1x", "9999999999999999999"] {
            assert!(position(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn filters_are_names_and_moments() {
        assert!(name("actor", "anonymous").is_ok() && outcome_of("not_found").is_ok());
        for bad in ["", "a b", "é", "x\n", &"x".repeat(65)] {
            assert!(name("actor", bad).is_err() && outcome_of(bad).is_err(), "{bad}");
        }
        assert!(moment("from", "2026-01-02T03:04:05+02:00").is_ok());
        let early = moment("from", "0001-01-01T00:00:00Z").unwrap();
        assert_eq!(early, Timestamp::UNIX_EPOCH);
        for bad in ["2026-01-02", "now", "2026-01-02T03:04:05", ""] {
            assert!(moment("from", bad).is_err(), "{bad}");
        }
    }
}
