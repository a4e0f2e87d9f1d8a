use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::*;
use crate::cache::{LookupBody, TenantBody};
use crate::domain::{CredentialType, Credentials, Lookup, MetaView, Tenant};

/// Files of Swagger UI: paths, but no part of the API.
const FILES: [&str; 2] = ["/docs/", "/docs/{*file}"];

fn json() -> Value {
    serde_json::to_value(document()).unwrap()
}

fn written() -> BTreeSet<String> {
    let document = json();
    let paths = document["paths"].as_object().unwrap();
    let names = paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().keys();
        methods.map(move |method| format!("{} {path}", method.to_uppercase()))
    });
    names.collect()
}

#[test]
fn the_document_is_the_one_that_was_reviewed() {
    insta::assert_json_snapshot!("openapi", json());
}

#[test]
fn every_operation_is_in_the_document_and_nothing_else() {
    let table = operations();
    let table = table.iter().filter(|operation| !FILES.contains(&operation.path));
    let served: BTreeSet<String> =
        table.map(|operation| format!("{} {}", operation.method, operation.path)).collect();
    assert_eq!(served, written());
}

#[test]
fn every_operation_has_a_name_of_its_own_and_says_what_it_needs() {
    let document = json();
    let mut names = BTreeSet::new();
    for operation in operations() {
        if FILES.contains(&operation.path) {
            continue;
        }
        let method = operation.method.as_str().to_lowercase();
        let written = &document["paths"][operation.path][&method];
        assert!(names.insert(written["operationId"].to_string()), "{written}");
        assert!(written["summary"].as_str().is_some_and(|text| !text.is_empty()), "{written}");
        if let Access::Needs(scope) = operation.access {
            let text = written["description"].as_str().unwrap();
            assert!(text.ends_with(&format!("Needs the scope `{scope}`.")), "{text}");
            assert!(written["responses"]["401"].is_object());
        }
        let has_body = written.get("requestBody").is_some();
        assert_eq!(written["responses"]["415"].is_object(), has_body, "{written}");
        // A write that takes no body looks whether there is one.
        let is_write = operation.method != Method::GET;
        assert_eq!(written["responses"]["413"].is_object(), is_write, "{written}");
    }
}

#[test]
fn every_reference_leads_somewhere() {
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let document = json();
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(!found.is_empty());
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

/// A schema has the fields of what is really sent, and so has its example.
#[test]
fn schemas_have_the_fields_that_are_sent() {
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    let tenant = Tenant {
        id: "t".parse().unwrap(),
        name: "n".into(),
        email: None,
        status: crate::domain::Status::Active,
        phone_number_id: None,
        display_phone_number: None,
        genesys_integration_id: None,
        genesys_org_id: None,
        genesys_region: None,
        settings: Map::new(),
        created_at: jiff::Timestamp::UNIX_EPOCH,
        updated_at: jiff::Timestamp::UNIX_EPOCH,
        revision: 1,
    };
    let lookup = Lookup {
        id: "t".parse().unwrap(),
        name: "n".into(),
        phone_number_id: None,
        genesys_integration_id: None,
        status: crate::domain::Status::Active,
        revision: 1,
    };
    let credentials = Credentials::new(CredentialType::Whatsapp, json!({"a": "b"})).unwrap();
    let problem: Value =
        serde_json::from_slice(&crate::http::problem::Problem::not_found().render("r")).unwrap();
    let document = json();
    for (name, sent) in [
        ("Lookup", serde_json::to_value(LookupBody::of(&lookup)).unwrap()),
        ("Tenant", serde_json::to_value(TenantBody::of(&tenant)).unwrap()),
        ("Meta", serde_json::to_value(MetaView::of(&credentials)).unwrap()),
        ("Problem", problem),
    ] {
        let schema = &document["components"]["schemas"][name];
        assert_eq!(keys(&schema["properties"]), keys(&sent), "{name}");
        assert_eq!(keys(&schema["example"]), keys(&sent), "{name}");
    }
}
