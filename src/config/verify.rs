//! What replicas are compared with the database, and how.

#![expect(clippy::doc_markdown, reason = "the text of --help, shown as it is written")]

use std::time::Duration;

use url::Url;

use super::given::Given;
use super::{Mistakes, feed};

#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Replicas")]
#[group(skip)]
pub(super) struct Options {
    /// A replica's own address, such as http://10.0.0.7:3007; once for each replica. Through a load
    /// balancer nobody knows which one answers
    #[arg(long = "replica", required = true, value_name = "URL")]
    replicas: Vec<Given>,

    /// How many tenants are drawn, with all their keys; 0 takes all of them
    #[arg(long, alias = "keys", default_value = "1000", value_name = "NUMBER")]
    tenants: Given,

    /// How long an answer may differ from the database before it is a violation: what the replicas
    /// have as STALENESS_BOUND_MS
    #[arg(long, env = "STALENESS_BOUND_MS", default_value = "1000", value_name = "MS")]
    bound: Given,

    /// Writes: creates a tenant of no meaning through the first replica, changes it so many times,
    /// measures when the other replicas answer with each change, and deletes it
    #[arg(long, default_value = "0", hide_default_value = true, value_name = "CHANGES")]
    probe: Given,
}

/// What replicas are compared with the database, and how.
#[derive(Debug, Clone)]
pub struct Verify {
    /// Where they are: `http`, without a path that ends in a slash.
    pub replicas: Vec<Url>,
    /// How many tenants are drawn; all of them if this is `None`.
    pub tenants: Option<u32>,
    /// How long an answer may differ.
    pub bound: Duration,
    /// How many changes of the probe's own are measured.
    pub probe: u32,
}

impl Options {
    pub fn validate(self, mistakes: &mut Mistakes) -> Option<Verify> {
        let mut replicas = Vec::new();
        for given in &self.replicas {
            let url = mistakes.text("--replica", given)?.trim();
            match replica(url) {
                Ok(url) => replicas.push(url),
                Err(accepts) => mistakes.note("--replica", accepts),
            }
        }
        let whole = "a whole number";
        let tenants = mistakes.number("--tenants", &self.tenants, whole, 0..=u32::MAX);
        let bound = feed::bound(&self.bound, mistakes);
        let probe = mistakes.number("--probe", &self.probe, whole, 0..=100_000_u32);
        if probe.is_some_and(|changes| changes > 0) && self.replicas.len() < 2 {
            mistakes.note("--probe", "needs a second --replica, which is to learn of the changes");
            return None;
        }
        Some(Verify {
            replicas,
            tenants: Some(tenants?).filter(|tenants| *tenants > 0),
            bound: bound?,
            probe: probe?,
        })
    }
}

/// The address of a replica, or what is wrong with it.
fn replica(text: &str) -> Result<Url, &'static str> {
    let accepts = "must be http://host:port";
    let mut url = Url::parse(text).map_err(|_| accepts)?;
    if url.scheme() == "https" {
        return Err(
            "asks for TLS, which this command does not speak: name an http address of the replica",
        );
    }
    let has_more = url.query().is_some() || url.fragment().is_some();
    let has_user = !url.username().is_empty() || url.password().is_some();
    if url.scheme() != "http" || !url.has_host() || has_more || has_user {
        return Err(accepts);
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}
