//! What a seed file says. All files of a load are read, and all that is wrong with them is told,
//! before anything is written.

use std::collections::HashMap;
use std::fmt::Write;

use anyhow::{Context, bail};
use serde_json::{Value, json};

use crate::domain::{
    CredentialType, Credentials, IntegrationId, NewTenant, PhoneNumberId, TenantId,
};
use crate::http::extract::{BODY_LIMIT, json};
use crate::http::new_tenant;

const DEMO: &str = include_str!("../../../seeds/demo.json");
/// Whoever has more mistakes than this has seen the pattern.
const TOLD: usize = 20;

/// A file that can be loaded.
#[derive(Debug)]
pub struct SeedFile {
    /// What to call it.
    pub name: String,
    /// Its tenants, with their credentials.
    pub tenants: Vec<NewTenant>,
}

impl SeedFile {
    /// A tenant to try things with. Every secret in it is obviously made up.
    ///
    /// # Errors
    /// None: a test has read it.
    pub fn demo() -> anyhow::Result<Self> {
        let mut files = parse(vec![("the demo".to_owned(), DEMO.into())])?;
        files.pop().context("one file was given")
    }
}

/// Reads files, given as names and texts.
///
/// # Errors
/// All that is wrong with them, each with its place and never with a value.
pub fn parse(files: Vec<(String, Vec<u8>)>) -> anyhow::Result<Vec<SeedFile>> {
    let mut mistakes = Vec::new();
    let mut parsed = Vec::new();
    for (name, text) in files {
        let mut tenants = Vec::new();
        match list(&text) {
            Ok(items) => {
                for (at, item) in items.into_iter().enumerate() {
                    match tenant(item) {
                        Ok(tenant) => tenants.push(tenant),
                        Err(error) => mistakes.push(format!("{name}: tenants[{at}]: {error:#}")),
                    }
                }
            }
            Err(error) => mistakes.push(format!("{name}: {error:#}")),
        }
        parsed.push(SeedFile { name, tenants });
    }
    if mistakes.is_empty() {
        // Before this, the numbers of the tenants would not be those of the files.
        mistakes = duplicates(&parsed);
    }
    if mistakes.is_empty() {
        return Ok(parsed);
    }
    let mut told = String::from("nothing was loaded");
    for mistake in mistakes.iter().take(TOLD) {
        write!(told, "\n  {mistake}")?;
    }
    if mistakes.len() > TOLD {
        write!(told, "\n  and {} more", mistakes.len() - TOLD)?;
    }
    bail!(told)
}

/// As strict as with a request: JSON that is nested too deep, or says a thing twice, is refused.
fn list(text: &[u8]) -> anyhow::Result<Vec<Value>> {
    let file = json::parse(text).map_err(|problem| anyhow::anyhow!("{}", problem.sentence()))?;
    let Value::Object(mut file) = file else { bail!("must be an object with a list `tenants`") };
    let Some(Value::Array(tenants)) = file.remove("tenants") else {
        bail!("must have a list `tenants`");
    };
    if !file.is_empty() {
        bail!("must have nothing but a list `tenants`");
    }
    Ok(tenants)
}

fn tenant(item: Value) -> anyhow::Result<NewTenant> {
    let Value::Object(mut fields) = item else { bail!("must be an object") };
    if fields.get("id").is_none_or(Value::is_null) {
        bail!("id: is needed, so that loading twice makes one tenant");
    }
    let credentials = match fields.remove("credentials") {
        None => Vec::new(),
        Some(Value::Object(by_type)) => by_type
            .into_iter()
            .map(|(kind, value)| credentials(&kind, value))
            .collect::<Result<_, _>>()
            .context("credentials")?,
        Some(_) => bail!("credentials: must be an object, by type"),
    };
    let fields = Value::Object(fields);
    refuse_large(&fields)?;
    let drawn = || TenantId::from_random(fastrand::u64(..));
    let tenant =
        new_tenant(fields, drawn).map_err(|problem| anyhow::anyhow!("{}", problem.sentence()))?;
    Ok(NewTenant { credentials, ..tenant })
}

fn credentials(kind: &str, value: Value) -> anyhow::Result<(CredentialType, Credentials)> {
    let kind: CredentialType = kind.parse()?;
    let fits = refuse_large(&json!({"type": kind, "credentials": value}));
    let checked = fits.and_then(|()| Ok(Credentials::new(kind, value)?));
    Ok((kind, checked.with_context(|| kind.to_string())?))
}

/// Refuses what no request could bring: whoever reads it could not write it back.
fn refuse_large(body: &Value) -> anyhow::Result<()> {
    if body.to_string().len() > BODY_LIMIT {
        bail!("must fit into a request, which has {} KiB", BODY_LIMIT / 1024);
    }
    Ok(())
}

/// Ids, phone numbers and integrations that two tenants would have.
fn duplicates(files: &[SeedFile]) -> Vec<String> {
    let (mut first, mut found) = (HashMap::new(), Vec::new());
    for file in files {
        for (at, tenant) in file.tenants.iter().enumerate() {
            let place = format!("{}: tenants[{at}]", file.name);
            let phone = tenant.phone_number_id.as_ref().map(PhoneNumberId::as_str);
            let integration = tenant.genesys_integration_id.as_ref().map(IntegrationId::as_str);
            for (field, value) in [
                ("id", Some(tenant.id.as_str())),
                ("phone_number_id", phone),
                ("genesys_integration_id", integration),
            ] {
                let Some(value) = value else { continue };
                if let Some(other) = first.get(&(field, value)) {
                    found.push(format!("{other} and {place} have the same {field}"));
                } else {
                    first.insert((field, value), place.clone());
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests;
