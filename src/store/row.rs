//! Rows as both databases return them, and how they become what the service talks about.
//!
//! Everything composite travels as text (moments in RFC 3339, objects and lists in JSON), so that
//! one type reads the rows of both, and a value that can't be read is never part of an error.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value};
use sqlx::{ColumnIndex, Decode, FromRow, Row, Type};

use super::{Replica, StoreError, StoreResult};
use crate::domain::{CacheKey, Change, ChangeKind, Lookup, Tenant, TenantId, keeps_digits};
use crate::telemetry::logging::chain;

/// For a row that this very transaction has locked or written.
pub(super) const GONE: StoreError = StoreError::Corrupt("tenants: a row is gone");

/// As much of a row of `tenants` as a look-up needs: whatever else of it can't be read, the tenant
/// resolves.
#[derive(FromRow)]
pub(super) struct LookupRow {
    id: String,
    name: String,
    status: String,
    phone_number_id: Option<String>,
    genesys_integration_id: Option<String>,
    revision: i64,
}

impl TryFrom<LookupRow> for Lookup {
    type Error = StoreError;

    fn try_from(row: LookupRow) -> StoreResult<Self> {
        let phone = row.phone_number_id.map(|id| id.parse()).transpose();
        let integration = row.genesys_integration_id.map(|id| id.parse()).transpose();
        Ok(Self {
            id: row.id.parse().map_err(|_| StoreError::Corrupt("tenants.id"))?,
            name: row.name,
            status: row.status.parse().map_err(|_| StoreError::Corrupt("tenants.status"))?,
            phone_number_id: phone.map_err(|_| StoreError::Corrupt("tenants.phone_number_id"))?,
            genesys_integration_id: integration
                .map_err(|_| StoreError::Corrupt("tenants.genesys_integration_id"))?,
            revision: row.revision,
        })
    }
}

/// A row of `tenants`.
#[derive(FromRow)]
pub(super) struct TenantRow {
    #[sqlx(flatten)]
    lookup: LookupRow,
    email: Option<String>,
    display_phone_number: Option<String>,
    genesys_org_id: Option<String>,
    genesys_region: Option<String>,
    settings: String,
    created_at: String,
    updated_at: String,
}

impl TryFrom<TenantRow> for Tenant {
    type Error = StoreError;

    fn try_from(row: TenantRow) -> StoreResult<Self> {
        let lookup = Lookup::try_from(row.lookup)?;
        Ok(Self {
            id: lookup.id,
            name: lookup.name,
            email: row.email,
            status: lookup.status,
            phone_number_id: lookup.phone_number_id,
            display_phone_number: row.display_phone_number,
            genesys_integration_id: lookup.genesys_integration_id,
            genesys_org_id: row.genesys_org_id,
            genesys_region: row.genesys_region,
            settings: object(&row.settings, "tenants.settings")?,
            created_at: moment(&row.created_at, "tenants.created_at")?,
            updated_at: moment(&row.updated_at, "tenants.updated_at")?,
            revision: lookup.revision,
        })
    }
}

/// The tenants of a list, but for those that can't be read (somebody wrote them by hand): as an
/// error, one of them would hide all the others. The log names it.
pub(super) fn readable<'r, R>(rows: &'r [R]) -> Vec<Tenant>
where
    R: Row,
    TenantRow: FromRow<'r, R>,
    String: Decode<'r, R::Database> + Type<R::Database>,
    for<'name> &'name str: ColumnIndex<R>,
{
    let tenant = |row| Tenant::try_from(TenantRow::from_row(row)?);
    let logged = |row: &'r R| {
        tenant(row).inspect_err(|error: &StoreError| {
            let id: Option<String> = row.try_get("id").ok();
            let error = chain(error);
            tracing::error!(
                tenant_id = id,
                error,
                "a tenant that can't be read is left out of a list"
            );
        })
    };
    rows.iter().filter_map(|row| logged(row).ok()).collect()
}

/// A row of `tenant_changes`.
#[derive(FromRow)]
pub(super) struct ChangeRow {
    pub seq: i64,
    pub xid: i64,
    pub tenant_id: Option<String>,
    pub kind: String,
    pub version: Option<i64>,
    pub keys: String,
    pub occurred_at: String,
}

impl ChangeRow {
    /// The change. A row that can't be read (somebody wrote it by hand) is one that may have touched
    /// anything: as an error it would fail every poll there is, for as long as it stands.
    pub fn or_reset(self) -> Change {
        let (seq, xid) = (self.seq, self.xid.unsigned_abs());
        Change::try_from(self).unwrap_or_else(|error| {
            tracing::error!(seq, %error, "a row of the change log is taken for a reset");
            Change {
                seq,
                xid,
                tenant_id: None,
                kind: ChangeKind::Reset,
                version: None,
                keys: Vec::new(),
                occurred_at: Timestamp::now(),
            }
        })
    }
}

impl TryFrom<ChangeRow> for Change {
    type Error = StoreError;

    fn try_from(row: ChangeRow) -> StoreResult<Self> {
        let keys: Vec<String> = serde_json::from_str(&row.keys)
            .map_err(|_| StoreError::Corrupt("tenant_changes.keys"))?;
        Ok(Self {
            seq: row.seq,
            xid: number(row.xid, "tenant_changes.xid")?,
            tenant_id: row.tenant_id,
            kind: kind(&row.kind),
            version: row.version,
            // What doesn't parse names nothing that this version could have cached.
            keys: keys.iter().filter_map(|key| key.parse().ok()).collect(),
            occurred_at: moment(&row.occurred_at, "tenant_changes.occurred_at")?,
        })
    }
}

/// The kind of a change, also of one that a newer version wrote while this one still runs.
///
/// Its keys are evicted whatever its kind, so the nearest known kind is right for the cache, and
/// tells a reader of the feed to look again. Only `reset` drops everything: a newer version that
/// needs that has to say just that.
fn kind(text: &str) -> ChangeKind {
    text.parse().unwrap_or_else(|_| {
        if text.starts_with("credentials.") {
            ChangeKind::CredentialsUpdated
        } else {
            ChangeKind::TenantUpdated
        }
    })
}

/// The ids of a column. One that is none, no client can ask for.
pub(super) fn ids(column: &[String]) -> Vec<TenantId> {
    column.iter().filter_map(|id| id.parse().ok()).collect()
}

/// The keys in a column of the change log, each once. What can't be read names none.
pub(super) fn keys(column: &[String]) -> Vec<CacheKey> {
    let texts = column.iter().filter_map(|text| serde_json::from_str::<Vec<String>>(text).ok());
    let keys: BTreeSet<CacheKey> = texts.flatten().filter_map(|key| key.parse().ok()).collect();
    keys.into_iter().collect()
}

/// A number that is never negative.
pub(super) fn number(number: i64, column: &'static str) -> StoreResult<u64> {
    u64::try_from(number).map_err(|_| StoreError::Corrupt(column))
}

/// A replica's row.
pub(super) fn replica(
    instance: String,
    renewals: i64,
    applied: &str,
    bound_ms: i64,
) -> StoreResult<Replica> {
    let applied = applied.parse();
    let applied = applied.map_err(|_| StoreError::Corrupt("tenant_replicas.applied"))?;
    let bound = Duration::from_millis(number(bound_ms, "tenant_replicas.bound_ms")?);
    Ok(Replica { instance, renewals, applied, bound })
}

/// Where the counter of a new row begins. Not at zero: a row that was taken away and made anew must
/// not look as if it had stood still all the while.
pub(super) fn first_count() -> i64 {
    fastrand::i64(0..i64::MAX / 2)
}

/// How rows hold a time.
pub(super) fn to_millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

pub(super) fn moment(text: &str, column: &'static str) -> StoreResult<Timestamp> {
    text.parse().map_err(|_| StoreError::Corrupt(column))
}

pub(super) fn object(text: &str, column: &'static str) -> StoreResult<Map<String, Value>> {
    // One that would lose digits was written by hand. To show another number would be worse.
    if !keeps_digits(text) {
        return Err(StoreError::Corrupt(column));
    }
    serde_json::from_str(text).map_err(|_| StoreError::Corrupt(column))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_cannot_be_read_is_a_reset() {
        let row = |keys: &str, occurred_at: &str| ChangeRow {
            seq: 7,
            xid: 9,
            tenant_id: None,
            kind: "tenant.updated".into(),
            version: None,
            keys: keys.into(),
            occurred_at: occurred_at.into(),
        };
        for row in [row("[null]", "2026-01-02T03:04:05Z"), row("[]", "")] {
            let change = row.or_reset();
            assert_eq!((change.seq, change.kind), (7, ChangeKind::Reset));
        }
    }

    #[test]
    fn a_change_of_a_newer_version_still_evicts_its_keys() {
        let row = ChangeRow {
            seq: 7,
            xid: 9,
            tenant_id: Some("a".into()),
            kind: "tenant.merged".into(),
            version: None,
            keys: r#"["phone:1","flag:2","tenant:a","tenant:a:credentials:sip"]"#.into(),
            occurred_at: "2026-01-02T03:04:05.678901Z".into(),
        };
        let change = Change::try_from(row).unwrap();
        assert_eq!(change.kind, ChangeKind::TenantUpdated);
        let keys: Vec<_> = change.keys.iter().map(ToString::to_string).collect();
        assert_eq!(keys, ["phone:1", "tenant:a"]);
        assert_eq!(change.occurred_at.to_string(), "2026-01-02T03:04:05.678901Z");
        assert_eq!(kind("credentials.rotated"), ChangeKind::CredentialsUpdated);
    }
}
