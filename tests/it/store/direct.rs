//! Writes by other means than the store, which the triggers see all the same.

use serde_json::json;
use tenant_service::domain::{ChangeKind, CredentialType, Limits};
use tenant_service::store::{Page, StoreError};

use super::bed::{ALWAYS, Backend, Bed, by, lines, tenant_id};
use crate::harness::keyring::{COLUMNS, Row};

pub(super) async fn a_write_by_hand_is_logged(bed: &Bed) {
    let before = bed.snapshot().await;
    let row = Row { tenant: "a", kind: CredentialType::Genesys, version: 7 };
    let insert = bed.insert_sealed(row, r#"{"clientId": "c"}"#);
    let update = row.assignment(bed.literal(), &row.id(), r#"{"clientId": "d"}"#);
    let empty = bed.literal()(b"");
    for statement in [
        "INSERT INTO tenants (id, name, phone_number_id, genesys_integration_id)
         VALUES ('a', 'A', '1', 'i:1'), ('b', 'B', NULL, NULL)",
        "UPDATE tenants SET phone_number_id = '2' WHERE id = 'a'",
        // Nothing changes.
        "UPDATE tenants SET phone_number_id = '2', name = name WHERE id = 'a'",
        "UPDATE tenants SET status = 'suspended' WHERE id = 'a'",
        "UPDATE tenants SET status = 'suspended'",
        &insert,
        "UPDATE tenant_credentials SET version = version",
        // Wrapped by another key it is the same value.
        &format!("UPDATE tenant_credentials SET key_id = 'another', wrapped_key = {empty}"),
        &format!("UPDATE tenant_credentials SET {update}"),
        "DELETE FROM tenants WHERE id = 'b'",
    ] {
        bed.by_hand(statement).await.unwrap();
    }
    let changes = bed.since(&before).await;
    assert_eq!(
        lines(&changes),
        [
            "tenant.created: integration:i:1 phone:1 tenant:a",
            "tenant.created: tenant:b",
            "tenant.updated: integration:i:1 phone:1 phone:2 tenant:a",
            "tenant.updated: integration:i:1 phone:2 tenant:a tenant:a:credentials:genesys \
             tenant:a:credentials:whatsapp",
            "tenant.updated: tenant:b tenant:b:credentials:genesys tenant:b:credentials:whatsapp",
            "credentials.updated v7: integration:i:1 phone:2 tenant:a tenant:a:credentials:genesys",
            "credentials.updated v7: integration:i:1 phone:2 tenant:a tenant:a:credentials:genesys",
            "tenant.deleted: tenant:b tenant:b:credentials:genesys tenant:b:credentials:whatsapp",
        ]
    );
    let tenant = bed.store.tenant(&tenant_id("a")).await.unwrap().unwrap();
    assert_eq!(tenant.revision, changes[6].seq);

    // It moves with the data, whoever writes; and where it alone is written, that is a change of
    // what is cached too.
    let old = "2020-01-01T00:00:00.000Z";
    let before = bed.snapshot().await;
    bed.by_hand(&format!("UPDATE tenants SET updated_at = '{old}'")).await.unwrap();
    let touched = bed.store.tenant(&tenant_id("a")).await.unwrap().unwrap();
    assert!(touched.updated_at >= tenant.updated_at);
    assert_eq!(bed.since(&before).await.len(), 1);
}

pub(super) async fn a_credential_that_moves_names_both_tenants(bed: &Bed) {
    bed.create("a", "1", "i1").await;
    bed.create("b", "2", "i2").await;
    bed.set("a", CredentialType::Whatsapp, json!({"access_token": "made up"})).await;
    let before = bed.snapshot().await;
    bed.by_hand("UPDATE tenant_credentials SET tenant_id = 'b', credential_type = 'genesys'")
        .await
        .unwrap();
    let changes = bed.since(&before).await;
    assert_eq!(
        lines(&changes),
        ["credentials.updated v1: integration:i1 integration:i2 phone:1 phone:2 tenant:a \
          tenant:a:credentials:whatsapp tenant:b tenant:b:credentials:genesys"]
    );
    for id in ["a", "b"] {
        let tenant = bed.store.tenant(&tenant_id(id)).await.unwrap().unwrap();
        assert_eq!(tenant.revision, changes[0].seq);
    }
}

pub(super) async fn a_kind_of_a_newer_version_evicts_its_keys(bed: &Bed) {
    let keys = match &bed.backend {
        Backend::Postgres(..) => "{phone:1,flag:9,tenant:a}",
        Backend::Sqlite(..) => r#"["phone:1","flag:9","tenant:a"]"#,
    };
    let before = bed.snapshot().await;
    bed.by_hand(&format!(
        "INSERT INTO tenant_changes (kind, keys) VALUES ('tenant.merged', '{keys}')"
    ))
    .await
    .unwrap();
    let changes = bed.since(&before).await;
    assert_eq!(changes[0].kind, ChangeKind::TenantUpdated);
    assert_eq!(lines(&changes), ["tenant.updated: phone:1 tenant:a"]);
}

/// Only by hand can a row come to be that the schema accepts and this program can't show.
fn unreadable(bed: &Bed) -> [String; 3] {
    let zeros = "0".repeat(400);
    let other = match &bed.backend {
        Backend::Postgres(..) => "created_at = 'infinity'",
        Backend::Sqlite(..) => "email = CAST(x'ff' AS TEXT)",
    };
    [
        format!("settings = '{{\"beyond any double\": 1{zeros}}}'"),
        "settings = '{\"more digits than one has\": 12345678901234567890123}'".to_owned(),
        other.to_owned(),
    ]
}

pub(super) async fn a_row_that_cannot_be_read_is_an_error_of_its_own(bed: &Bed) {
    for id in ["a", "b", "c"] {
        bed.create(id, &id.as_bytes()[0].to_string(), id).await;
    }
    let b = tenant_id("b");
    for assignment in unreadable(bed) {
        bed.by_hand(&format!("UPDATE tenants SET {assignment} WHERE id = 'b'")).await.unwrap();
        let found = bed.store.tenant(&b).await;
        let expected = matches!(found, Err(StoreError::Corrupt(_) | StoreError::Unexpected(_)));
        assert!(expected, "{assignment}: {found:?}");
        let page = Page { limit: 10, offset: 0, status: None };
        let (tenants, total) = bed.store.tenants(page, &Limits::NONE).await.unwrap();
        let ids: Vec<_> = tenants.iter().map(|tenant| tenant.id.as_str()).collect();
        assert_eq!((ids, total), (vec!["a", "c"], 3), "{assignment}");

        // What does not show that part of it goes on.
        let phone = bed.store.tenant_by_phone(&"98".parse().unwrap()).await.unwrap();
        let integration = bed.store.tenant_by_integration(&"b".parse().unwrap()).await.unwrap();
        assert_eq!(phone.unwrap().id, b);
        assert_eq!(integration.unwrap().id, b);
        bed.set("b", CredentialType::Genesys, json!({"clientId": "c"})).await;
        bed.store.credentials(&b, CredentialType::Genesys).await.unwrap().unwrap();
        bed.by_hand("UPDATE tenants SET settings = '{}' WHERE id = 'b'").await.unwrap();
    }
    bed.store.delete_tenant(&b, &ALWAYS, &by()).await.unwrap().unwrap();
}

pub(super) async fn a_number_that_would_be_rounded_is_not_revealed(bed: &Bed) {
    bed.create("a", "1", "i1").await;
    bed.set("a", CredentialType::Genesys, json!({"clientId": "c"})).await;
    let row = Row { tenant: "a", kind: CredentialType::Genesys, version: 1 };
    let credentials = r#"{"clientId": "c", "n": 12345678901234567890123}"#;
    bed.by_hand(&bed.update_sealed(row, credentials).await).await.unwrap();
    let found = bed.store.credentials(&tenant_id("a"), CredentialType::Genesys).await;
    let corrupt = matches!(found, Err(StoreError::Corrupt("tenant_credentials.sealed")));
    assert!(corrupt, "{found:?}");
}

pub(super) async fn what_the_service_would_refuse_the_schema_refuses(bed: &Bed) {
    let long = "x".repeat(51);
    for id in ["", "-a", "a b", "a:b", "ä", "by-phone", "by-integration", "a\n", &long] {
        let insert = format!("INSERT INTO tenants (id, name) VALUES ('{id}', 'A')");
        assert!(bed.by_hand(&insert).await.is_err(), "{id:?}");
    }
    bed.create("a", "1", "i1").await;
    let digits = "1".repeat(33);
    let visible = "i".repeat(129);
    for assignment in [
        "phone_number_id = ''",
        "phone_number_id = '+1'",
        "phone_number_id = '١'",
        &format!("phone_number_id = '{digits}'"),
        "genesys_integration_id = ''",
        "genesys_integration_id = 'a b'",
        "genesys_integration_id = 'é'",
        &format!("genesys_integration_id = '{visible}'"),
        "status = 'gone'",
        "name = ''",
        "settings = '[]'",
        "settings = 'null'",
    ] {
        let update = format!("UPDATE tenants SET {assignment}");
        assert!(bed.by_hand(&update).await.is_err(), "{assignment}");
    }
    let sealed = bed.literal()(b"sealed");
    let insert = |values: &str| {
        format!("INSERT INTO tenant_credentials {COLUMNS} VALUES ('a', {values}, {sealed})")
    };
    let parts = format!("{sealed}, 'key'");
    for values in [
        &format!("'sip', 'i', 1, {parts}"),
        &format!("'genesys', 'i', 0, {parts}"),
        "'genesys', 'i', 1, NULL, 'key'",
        &format!("'genesys', 'i', 1, {sealed}, NULL"),
    ] {
        assert!(bed.by_hand(&insert(values)).await.is_err(), "{values}");
    }
    bed.by_hand(&insert(&format!("'genesys', 'i', 1, {parts}"))).await.unwrap();
    let plain = "UPDATE tenant_credentials SET credentials = '{}'";
    assert!(bed.by_hand(plain).await.is_err(), "sealed and plain at once");
    // The longest that are valid.
    let (id, digits, visible) = ("x".repeat(50), "1".repeat(32), "~".repeat(128));
    bed.create(&id, &digits, &visible).await;
}
