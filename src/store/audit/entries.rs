//! What the writes enter into the trail: names of what was set or changed.

use crate::domain::{
    Action, By, CredentialType, Credentials, Entry, FieldNames, NewTenant, Tenant, TenantId,
};

/// A tenant was created, with these fields.
pub(in crate::store) fn created(tenant: &NewTenant, by: &By) -> Entry {
    let given = [
        ("name", true),
        ("email", tenant.email.is_some()),
        ("status", true),
        ("phone_number_id", tenant.phone_number_id.is_some()),
        ("display_phone_number", tenant.display_phone_number.is_some()),
        ("genesys_integration_id", tenant.genesys_integration_id.is_some()),
        ("genesys_org_id", tenant.genesys_org_id.is_some()),
        ("genesys_region", tenant.genesys_region.is_some()),
        ("settings", !tenant.settings.as_object().is_empty()),
    ];
    Entry { fields: named(given), ..Entry::of(by.clone(), Action::TenantCreate).to(&tenant.id) }
}

/// A tenant was changed, in the fields in which these two differ.
pub(in crate::store) fn changed(before: &Tenant, after: &Tenant, by: &By) -> Entry {
    let differ = [
        ("name", before.name != after.name),
        ("email", before.email != after.email),
        ("status", before.status != after.status),
        ("phone_number_id", before.phone_number_id != after.phone_number_id),
        ("display_phone_number", before.display_phone_number != after.display_phone_number),
        ("genesys_integration_id", before.genesys_integration_id != after.genesys_integration_id),
        ("genesys_org_id", before.genesys_org_id != after.genesys_org_id),
        ("genesys_region", before.genesys_region != after.genesys_region),
        ("settings", before.settings != after.settings),
    ];
    Entry { fields: named(differ), ..Entry::of(by.clone(), Action::TenantUpdate).to(&after.id) }
}

/// A tenant was linked to an integration and its region, which may each be another one than before.
pub(in crate::store) fn linked(
    id: &TenantId,
    (integration, region): (bool, bool),
    by: &By,
) -> Option<Entry> {
    let fields = named([("genesys_integration_id", integration), ("genesys_region", region)]);
    let entry = Entry { fields, ..Entry::of(by.clone(), Action::TenantUpdate).to(id) };
    (integration || region).then_some(entry)
}

/// A tenant was deleted.
pub(in crate::store) fn deleted(id: &TenantId, by: &By) -> Entry {
    Entry::of(by.clone(), Action::TenantDelete).to(id)
}

/// Credentials were set, or made what they were before: they are of this version now.
pub(in crate::store) fn credentials_made(
    action: Action,
    place: (&TenantId, CredentialType),
    credentials: &Credentials,
    version: i64,
    by: &By,
) -> Entry {
    Entry {
        fields: FieldNames::of(credentials.reveal().keys().map(String::as_str)),
        ..credentials_gone(action, place, Some(version), by)
    }
}

/// Credentials were deleted, or versions of them destroyed: this one, or all.
pub(in crate::store) fn credentials_gone(
    action: Action,
    (id, kind): (&TenantId, CredentialType),
    version: Option<i64>,
    by: &By,
) -> Entry {
    Entry { version, ..Entry::of(by.clone(), action).to_credentials(id, kind) }
}

/// So many versions were destroyed, for they were deleted long ago.
pub(in crate::store) fn swept(versions: u64) -> Entry {
    Entry { times: versions, ..Entry::of(By::system(), Action::CredentialsDestroy) }
}

fn named<const N: usize>(fields: [(&'static str, bool); N]) -> FieldNames {
    FieldNames::of(fields.into_iter().filter(|(_, is_named)| *is_named).map(|(name, _)| name))
}
