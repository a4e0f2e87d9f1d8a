//! What replicas are compared with the database, and how.

#![expect(clippy::doc_markdown, reason = "the text of --help, shown as it is written")]

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use super::given::Given;
use super::{Mistakes, feed};

#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Replicas")]
#[group(skip)]
pub(super) struct Options {
    /// A replica's own address, such as http://10.0.0.7:3007, or https://… over TLS; once for each
    /// replica. Through a load balancer nobody knows which one answers
    #[arg(long = "replica", required = true, value_name = "URL")]
    replicas: Vec<Given>,

    /// Certificates, as PEM, of the authorities that may vouch for replicas at https:// addresses.
    /// Default: those that Mozilla trusts
    #[arg(long, value_name = "FILE")]
    ca_file: Option<Given>,

    /// The token that replicas are asked with: it needs lookup:read, tenants:read and
    /// credentials:read, and for --probe tenants:write too. Default: none, where callers without one
    /// may do as much
    #[arg(long, env = "TENANT_SERVICE_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    token: Option<Given>,

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
    /// Where they are: `http` or `https`, without a path that ends in a slash.
    pub replicas: Vec<Url>,
    /// Who may vouch for those at `https` addresses.
    pub ca_file: Option<PathBuf>,
    /// What they are asked with.
    pub token: Option<SecretString>,
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
        let ca_file = self.ca_file.as_ref().map(|file| mistakes.readable_file("--ca-file", file));
        let token = self
            .token
            .as_ref()
            .map(|token| mistakes.parsed("TENANT_SERVICE_TOKEN", token, TOKEN_ACCEPTS, token_of));
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
            ca_file: ca_file.flatten(),
            token: token.flatten(),
            tenants: Some(tenants?).filter(|tenants| *tenants > 0),
            bound: bound?,
            probe: probe?,
        })
    }
}

const TOKEN_ACCEPTS: &str = "must be a token: visible ASCII characters, 4096 at most";

/// What may stand after `Bearer`, whoever has made it: something before the replicas may ask for one
/// of its own.
fn token_of(text: &str) -> Option<SecretString> {
    let is_token = (1..=4096).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    is_token.then(|| text.into())
}

/// The address of a replica, or what is wrong with it.
fn replica(text: &str) -> Result<Url, &'static str> {
    let accepts = "must be http://host:port or https://host:port";
    let mut url = Url::parse(text).map_err(|_| accepts)?;
    let has_more = url.query().is_some() || url.fragment().is_some();
    let has_user = !url.username().is_empty() || url.password().is_some();
    let is_http = matches!(url.scheme(), "http" | "https");
    if !is_http || !url.has_host() || has_more || has_user {
        return Err(accepts);
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}
