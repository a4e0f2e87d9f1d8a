//! Loads tenants and their credentials from JSON, through the service: what holds for a request
//! (validation, one transaction a write, telling every replica) holds for them.

use anyhow::{Context, bail};
use serde_json::Value;

use crate::domain::{CredentialType, Credentials, NewTenant, TenantId};
use crate::http::new_tenant;
use crate::service::{Service, ServiceError};

/// A tenant to try things with. Every secret in it is obviously made up.
pub const DEMO: &str = include_str!("../../seeds/demo.json");

/// What was loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SeedReport {
    /// Tenants that were created, with their credentials.
    pub created: usize,
    /// Tenants that were there already and were left as they are, with their credentials.
    pub kept: usize,
}

struct Seed {
    tenant: NewTenant,
    credentials: Vec<(CredentialType, Credentials)>,
}

/// Loads every tenant of `text` that does not exist yet. A mistake in it is found before anything
/// is written.
///
/// # Errors
/// The text is no seed file; a phone number or an integration belongs to another tenant; or the
/// database is out of reach.
pub async fn seed(service: &Service, text: &str) -> anyhow::Result<SeedReport> {
    let mut report = SeedReport::default();
    for Seed { tenant, credentials } in parse(text)? {
        let id = tenant.id.clone();
        let context = || format!("tenant {id}");
        match service.create_tenant(tenant).await {
            Ok(_) => report.created += 1,
            Err(ServiceError::Conflict("id")) => {
                report.kept += 1;
                continue;
            }
            Err(error) => return Err(error).with_context(context),
        }
        for (kind, credentials) in credentials {
            service
                .set_credentials(id.clone(), kind, credentials, None)
                .await
                .with_context(context)?;
        }
    }
    Ok(report)
}

fn parse(text: &str) -> anyhow::Result<Vec<Seed>> {
    // A message of serde_json names a place, and of values no more than their type.
    let file: Value = match serde_json::from_str(text) {
        Ok(file) => file,
        Err(error) => bail!("no JSON: line {}, column {}", error.line(), error.column()),
    };
    let Value::Object(mut file) = file else { bail!("must be an object with a list `tenants`") };
    let Some(Value::Array(tenants)) = file.remove("tenants") else {
        bail!("must have a list `tenants`");
    };
    if !file.is_empty() {
        bail!("must have nothing but a list `tenants`");
    }
    let numbered = tenants.into_iter().enumerate();
    numbered.map(|(at, item)| entry(item).with_context(|| format!("tenants[{at}]"))).collect()
}

fn entry(item: Value) -> anyhow::Result<Seed> {
    let Value::Object(mut fields) = item else { bail!("must be an object") };
    if !fields.contains_key("id") {
        bail!("id: is needed, so that loading twice makes one tenant");
    }
    let credentials = match fields.remove("credentials") {
        None => Vec::new(),
        Some(Value::Object(by_type)) => by_type
            .into_iter()
            .map(|(kind, value)| {
                let kind: CredentialType = kind.parse()?;
                let credentials = Credentials::new(kind, value);
                anyhow::Ok((kind, credentials.with_context(|| kind.to_string())?))
            })
            .collect::<Result<_, _>>()
            .context("credentials")?,
        Some(_) => bail!("credentials: must be an object, by type"),
    };
    let drawn = || TenantId::from_random(fastrand::u64(..));
    let tenant = new_tenant(Value::Object(fields), drawn)
        .map_err(|problem| anyhow::anyhow!("{}", problem.sentence()))?;
    Ok(Seed { tenant, credentials })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistake(text: &str) -> String {
        parse(text).err().map(|error| format!("{error:#}")).unwrap_or_default()
    }

    #[test]
    fn the_demo_is_what_the_documentation_says() {
        let seeds = parse(DEMO).unwrap();
        assert_eq!(seeds.len(), 1);
        let Seed { tenant, credentials } = &seeds[0];
        assert_eq!(tenant.id.as_str(), "demo-tenant-001");
        assert_eq!(tenant.phone_number_id.as_ref().unwrap().as_str(), "123456789");
        assert_eq!(credentials.len(), CredentialType::ALL.len());
    }

    #[test]
    fn a_mistake_is_placed_and_never_quoted() {
        assert!(mistake("{").contains("line 1"));
        assert!(mistake("[]").contains("tenants"));
        assert!(mistake(r#"{"tenants": [{"name": "x"}]}"#).contains("tenants[0]: id"));
        let of = |credentials: &str| {
            mistake(&format!(
                r#"{{"tenants": [{{"id": "a", "name": "x", "credentials": {credentials}}}]}}"#
            ))
        };
        assert!(of(r#"{"sip": {"a": "hunter2"}}"#).contains("whatsapp"));
        let masked = of(r#"{"whatsapp": {"access_token": "***nter2"}}"#);
        assert!(masked.contains("mask") && !masked.contains("nter2"), "{masked}");
        assert!(of(r#"{"whatsapp": {"access_token": 5}}"#).contains("access_token"));
        assert_eq!(of(r#"{"whatsapp": {"access_token": "fine"}}"#), "");
    }
}
