//! What bodies and paths accept, as exactly as a schema can say it.
//!
//! One table for all of them: a property means the same wherever it is sent.

use serde_json::Value;
use utoipa::Number;
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{AdditionalProperties, Array, ArrayItems, Object, Type};
use utoipa::openapi::{Components, RefOr, Schema};

use crate::domain::REGIONS;

/// Bodies that are sent. A field that they do not have is refused.
const SENT: [&str; 7] = [
    "NewTenant",
    "TenantPatch",
    "SetCredentials",
    "SetGenesys",
    "RollBack",
    "NewToken",
    "RotateToken",
];

const TENANT_ID: &str = "^[A-Za-z0-9][A-Za-z0-9_.-]{0,49}$";
const TOKEN_ID: &str = "^[0-9a-z]{16}$";
const PHONE_NUMBER_ID: &str = "^[0-9]{1,32}$";
const INTEGRATION_ID: &str = "^[!-~]{1,128}$";
/// More than blanks, and no control character.
const TEXT: &str = r"^[^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f][^\u0000-\u001f\u007f-\u009f]*$";
const EMAIL: &str = r"^[^@\s\u0000-\u001f\u007f-\u009f]+@[^@\s\u0000-\u001f\u007f-\u009f]+$";
/// More than blanks, and nothing that looks like a mask.
const SECRET: &str = r"^(?!\s*\*\*\*)[\s\S]*\S";

/// The number of no version is larger.
const LAST_VERSION: Number = Number::Int(isize::MAX);
/// `*`, or a list of entity tags.
const TAGS: &str = r#"^(\*|(W/)?"[!#-~]*"([ \t]*,[ \t]*(W/)?"[!#-~]*")*)$"#;

/// What the value of a property, or of a parameter of a path, looks like.
fn pattern(name: &str) -> Option<&'static str> {
    Some(match name {
        "id" => TENANT_ID,
        "token_id" => TOKEN_ID,
        "phone_number_id" => PHONE_NUMBER_ID,
        "genesys_integration_id" | "integrationId" => INTEGRATION_ID,
        "name" | "description" | "display_phone_number" | "genesys_org_id" => TEXT,
        "email" => EMAIL,
        "clientId" | "clientSecret" | "webhookSecret" => SECRET,
        _ => return None,
    })
}

/// The condition of a write.
pub(super) fn tags() -> Object {
    let mut tags = Object::with_type(Type::String);
    tags.pattern = Some(TAGS.to_owned());
    tags
}

/// Completes the parameters of a path.
pub(super) fn parameters(operation: &mut Operation) {
    for parameter in operation.parameters.iter_mut().flatten() {
        if let RefOr::T(parameter) = parameter
            && let Some(RefOr::T(Schema::Object(schema))) = &mut parameter.schema
        {
            if let Some(pattern) = pattern(&parameter.name) {
                schema.pattern = Some(pattern.to_owned());
            }
            if ["version", "before"].contains(&parameter.name.as_str()) {
                schema.maximum = Some(LAST_VERSION);
            }
        }
    }
}

/// Completes the bodies that are sent.
pub(super) fn bodies(components: &mut Components) {
    for name in SENT {
        let Some(RefOr::T(Schema::Object(body))) = components.schemas.get_mut(name) else {
            continue;
        };
        body.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
        for (name, property) in &mut body.properties {
            match property {
                RefOr::T(Schema::Object(property)) => complete(name, property),
                RefOr::T(Schema::Array(list)) => complete_list(name, list),
                _ => {}
            }
        }
    }
}

fn complete(name: &str, property: &mut Object) {
    if let Some(pattern) = pattern(name) {
        property.pattern = Some(pattern.to_owned());
    }
    match name {
        "credentials" => property.min_properties = Some(1),
        "version" => property.maximum = Some(LAST_VERSION),
        "region" => property.enum_values = Some(regions().collect()),
        "genesys_region" => property.enum_values = Some(regions().chain([Value::Null]).collect()),
        _ => {}
    }
}

/// Nothing is in a list twice.
fn complete_list(name: &str, list: &mut Array) {
    list.unique_items = true;
    if let ("tenants", ArrayItems::RefOrSchema(item)) = (name, &mut list.items)
        && let RefOr::T(Schema::Object(item)) = &mut **item
    {
        item.pattern = Some(TENANT_ID.to_owned());
    }
}

fn regions() -> impl Iterator<Item = Value> {
    REGIONS.iter().flat_map(|(domain, aws, short)| [*domain, *aws, *short]).map(Value::from)
}
