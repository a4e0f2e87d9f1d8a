//! What a merge patch makes of a tenant. Both stores call it while they hold the tenant's row.

use serde_json::{Map, Value};

use crate::domain::{Edit, Invalid, Settings, Tenant, TenantPatch};

/// The tenant after `patch`; its moments and revision are left to the database.
///
/// # Errors
/// Its settings would be no [`Settings`] any more. Those that a patch leaves alone are not looked
/// at: they may have been written by hand.
pub(super) fn patched(tenant: &Tenant, patch: &TenantPatch) -> Result<Tenant, Invalid> {
    let was = tenant.clone();
    Ok(Tenant {
        name: patch.name.as_ref().map_or(was.name, |name| name.as_str().to_owned()),
        email: edited(was.email, &patch.email, |email| email.as_str().to_owned()),
        status: patch.status.unwrap_or(was.status),
        phone_number_id: edited(was.phone_number_id, &patch.phone_number_id, Clone::clone),
        display_phone_number: edited(
            was.display_phone_number,
            &patch.display_phone_number,
            |text| text.as_str().to_owned(),
        ),
        genesys_integration_id: edited(
            was.genesys_integration_id,
            &patch.genesys_integration_id,
            Clone::clone,
        ),
        genesys_org_id: edited(was.genesys_org_id, &patch.genesys_org_id, |text| {
            text.as_str().to_owned()
        }),
        genesys_region: edited(was.genesys_region, &patch.genesys_region, |region| {
            region.domain().to_owned()
        }),
        settings: match &patch.settings {
            Edit::Keep => was.settings,
            Edit::Clear => Map::new(),
            Edit::Set(changes) => Settings::new(merged(was.settings, changes))?.into_object(),
        },
        ..was
    })
}

fn edited<T, U>(was: Option<U>, edit: &Edit<T>, of: impl FnOnce(&T) -> U) -> Option<U> {
    match edit {
        Edit::Keep => was,
        Edit::Clear => None,
        Edit::Set(value) => Some(of(value)),
    }
}

/// RFC 7396, section 2: null removes a member, an object is merged, anything else replaces.
fn merged(mut target: Map<String, Value>, changes: &Map<String, Value>) -> Map<String, Value> {
    for (name, change) in changes {
        match change {
            Value::Null => {
                target.remove(name);
            }
            Value::Object(changes) => {
                let inner = match target.remove(name) {
                    Some(Value::Object(inner)) => inner,
                    _ => Map::new(),
                };
                target.insert(name.clone(), Value::Object(merged(inner, changes)));
            }
            other => {
                target.insert(name.clone(), other.clone());
            }
        }
    }
    target
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        let Value::Object(fields) = value else { unreachable!("an object was given") };
        fields
    }

    /// The cases of RFC 7396, appendix A, whose target and patch are objects.
    #[test]
    fn merges_as_the_standard_says() {
        for (target, patch, result) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (
                json!({"a": {"b": "c"}}),
                json!({"a": {"b": "d", "c": null}}),
                json!({"a": {"b": "d"}}),
            ),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ] {
            assert_eq!(merged(object(target), &object(patch)), object(result));
        }
    }
}
