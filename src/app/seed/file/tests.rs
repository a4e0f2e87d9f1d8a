use super::*;

fn files(texts: &[&str]) -> anyhow::Result<Vec<SeedFile>> {
    let named = |(at, text): (usize, &&str)| (format!("{at}.json"), text.as_bytes().to_vec());
    parse(texts.iter().enumerate().map(named).collect())
}

fn mistakes(texts: &[&str]) -> String {
    files(texts).err().map(|error| format!("{error:#}")).unwrap_or_default()
}

/// A file with one tenant that has these credentials.
fn with(credentials: &Value) -> String {
    json!({"tenants": [{"id": "a", "name": "x", "credentials": credentials}]}).to_string()
}

#[test]
fn the_demo_is_what_the_documentation_says() {
    let demo = SeedFile::demo().unwrap();
    assert_eq!(demo.tenants.len(), 1);
    let tenant = &demo.tenants[0];
    assert_eq!(tenant.id.as_str(), "demo-tenant-001");
    assert_eq!(tenant.phone_number_id.as_ref().unwrap().as_str(), "123456789");
    assert_eq!(tenant.credentials.len(), CredentialType::ALL.len());
}

#[test]
fn a_mistake_is_placed_and_never_quoted() {
    for (text, told) in [
        ("{", "0.json: "),
        ("{", "line 1"),
        ("[]", "must be an object with a list `tenants`"),
        (r#"{"tenants": {}}"#, "must have a list `tenants`"),
        (r#"{"tenants": [], "hunter2": 1}"#, "nothing but"),
        (r#"{"tenants": [], "tenants": []}"#, "twice"),
        (r#"{"tenants": [{"name": "x"}]}"#, "0.json: tenants[0]: id: is needed"),
        (r#"{"tenants": [{"id": null, "name": "x"}]}"#, "id: is needed"),
        (r#"{"tenants": [{"id": "a", "name": "x", "hunter2": 1}]}"#, "unknown field"),
        (r#"{"tenants": ["hunter2"]}"#, "tenants[0]: must be an object"),
        (r#"{"tenants": [{"id": "a", "name": "x", "credentials": ["hunter2"]}]}"#, "by type"),
    ] {
        let mistakes = mistakes(&[text]);
        assert!(mistakes.starts_with("nothing was loaded"), "{mistakes}");
        assert!(mistakes.contains(told) && !mistakes.contains("hunter2"), "{mistakes}");
    }
    for (credentials, told) in [
        (json!({"hunter2": {"a": "b"}}), "must be whatsapp or genesys"),
        (json!({"whatsapp": {"access_token": "***hunter2"}}), "mask"),
        (json!({"whatsapp": {"access_token": 5}}), "credentials: whatsapp: credentials.access"),
        (json!({"whatsapp": {}}), "at least one field"),
    ] {
        let mistakes = mistakes(&[&with(&credentials)]);
        assert!(mistakes.contains(told) && !mistakes.contains("hunter2"), "{mistakes}");
    }
    assert_eq!(mistakes(&[&with(&json!({"whatsapp": {"access_token": "fine"}}))]), "");
}

#[test]
fn every_mistake_of_every_file_is_told_up_to_a_point() {
    let bad = r#"{"tenants": [{"id": "a"}, {"id": "b", "name": "B"}, {"id": "c"}]}"#;
    let told = mistakes(&[bad, "{", bad]);
    for place in ["0.json: tenants[0]", "0.json: tenants[2]", "1.json: ", "2.json: tenants[2]"] {
        assert!(told.contains(place), "{place} in {told}");
    }
    assert!(!told.contains("tenants[1]"), "{told}");
    let many = json!({"tenants": vec![json!({"id": "a"}); TOLD + 2]}).to_string();
    let told = mistakes(&[&many]);
    assert!(told.contains("tenants[19]") && !told.contains("tenants[20]"), "{told}");
    assert!(told.ends_with("and 2 more"), "{told}");
}

#[test]
fn what_only_one_tenant_can_have_is_there_once() {
    let tenants = |tenants: Value| json!({ "tenants": tenants }).to_string();
    let one = tenants(json!([
        {"id": "a", "name": "A", "phone_number_id": "123123123"},
        {"id": "b", "name": "B", "genesys_integration_id": "hunter2"},
        {"id": "c", "name": "C", "phone_number_id": "123123123"},
    ]));
    let told = mistakes(&[&one]);
    assert!(
        told.contains("0.json: tenants[0] and 0.json: tenants[2] have the same phone_number_id"),
        "{told}"
    );
    assert!(!told.contains("123123123"), "{told}");

    let first = tenants(json!([{"id": "x", "name": "X"}, {"id": "a", "name": "A"}]));
    let second = tenants(json!([
        {"id": "a", "name": "A", "genesys_integration_id": "hunter2"},
        {"id": "b", "name": "B", "genesys_integration_id": "hunter2"},
        // The same text in another field is another thing.
        {"id": "hunter2", "name": "C", "phone_number_id": "1"},
    ]));
    let told = mistakes(&[&first, &second]);
    let expected = [
        "nothing was loaded",
        "  0.json: tenants[1] and 1.json: tenants[0] have the same id",
        "  1.json: tenants[0] and 1.json: tenants[1] have the same genesys_integration_id",
    ];
    assert_eq!(told, expected.join("\n"));
    assert_eq!(mistakes(&[&first]), "");
}

#[test]
fn what_no_request_could_bring_is_refused() {
    let token = |length: usize| json!({"whatsapp": {"access_token": "x".repeat(length)}});
    // The body is {"type":"whatsapp","credentials":{"access_token":"…"}}.
    let around = r#"{"credentials":{"access_token":""},"type":"whatsapp"}"#.len();
    assert_eq!(mistakes(&[&with(&token(BODY_LIMIT - around))]), "");
    let told = mistakes(&[&with(&token(BODY_LIMIT - around + 1))]);
    assert!(told.contains("credentials: whatsapp: must fit into a request, which has 64 KiB"));

    let settings = json!({"text": "x".repeat(BODY_LIMIT)});
    let large = json!({"tenants": [{"id": "a", "name": "x", "settings": settings}]});
    assert!(mistakes(&[&large.to_string()]).contains("tenants[0]: must fit into a request"));

    let deep = format!("{}1{}", "[".repeat(40), "]".repeat(40));
    let deep = with(&json!({"whatsapp": {"more": "DEEP"}})).replace("\"DEEP\"", &deep);
    assert!(mistakes(&[&deep]).contains("nested deeper"));
}
