//! `tenant-service token`

mod table;

use std::io::Write;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::Subcommand;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

use crate::app::Core;
use crate::config::SeedOptions;
use crate::domain::{
    By, CredentialType, Limits, Name, NewToken, Scopes, ShortText, TenantId, TokenId, TokenRecord,
};
use crate::http::shown_token;
use crate::service::{Coherence, Minted, Service, Wait};
use crate::store::{Rotated, TokenPage};

/// Who made a token, in its record.
const BY: By = By::command("token");
/// Tokens that are read at a time.
const PAGE: u32 = 200;

/// Make, list, revoke and replace access tokens
///
/// A token says who a caller is, and what they may do: its scopes, and if need be certain tenants and
/// types of credentials. It is sent as `Authorization: Bearer ts_live_…`. The database has a keyed hash
/// of it and nothing else, so a token is shown once, when it is made.
///
/// These commands work on the database, and tell every replica, as requests do: when one has ended, no
/// replica takes a token that it revoked.
#[derive(Debug, clap::Args)]
pub struct Command {
    #[command(subcommand)]
    command: Tokens,
}

#[derive(Debug, Subcommand)]
enum Tokens {
    Create(Box<Create>),
    List(Box<List>),
    Revoke(Box<Revoke>),
    Rotate(Box<Rotate>),
}

/// Make a token, and print it
///
/// The token alone goes to standard output, all else to standard error:
///
///   TOKEN=$(tenant-service token create --name webhooks --scopes lookup:read,credentials:reveal)
///
/// Scopes: lookup:read (resolve a phone number or an integration), tenants:read, tenants:write,
/// credentials:read (masked), credentials:reveal, credentials:write, credentials:destroy, events:read,
/// audit:read, tokens:admin; or `all`.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
struct Create {
    /// What people are to call it
    #[arg(long)]
    name: String,

    /// What its bearer may do: scopes separated by commas, or `all`
    #[arg(long)]
    scopes: String,

    /// Only these tenants are there for its bearer: ids separated by commas
    #[arg(long, value_name = "IDS")]
    tenants: Option<String>,

    /// Only these types of credentials are: whatsapp, genesys
    #[arg(long, value_name = "TYPES")]
    types: Option<String>,

    /// What it is for
    #[arg(long)]
    description: Option<String>,

    /// For how long it is good, such as 90d, 12h or 1y; without, until it is revoked
    #[arg(long, value_name = "TIME")]
    expires_in: Option<String>,

    #[command(flatten)]
    options: SeedOptions,
}

/// List tokens, by age
///
/// Those that are expired or revoked as well. None of them is shown whole.
#[derive(Debug, clap::Args)]
struct List {
    /// As one JSON document, with all that is known of each
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    options: SeedOptions,
}

/// Take a token back, for good
///
/// When this has ended, every replica refuses it. It is safe to run again.
#[derive(Debug, clap::Args)]
struct Revoke {
    /// The token's id: the 16 characters behind ts_live_
    id: String,

    #[command(flatten)]
    options: SeedOptions,
}

/// Make a token that may do the same as another one, and print it
///
/// The token alone goes to standard output. The old one is good for a while yet, so that its bearers can
/// change over, and ends by itself.
#[derive(Debug, clap::Args)]
struct Rotate {
    /// The old token's id: the 16 characters behind ts_live_
    id: String,

    /// For how long the old one is good yet, such as 12h; 0s revokes it at once
    #[arg(long, default_value = "24h", value_name = "TIME")]
    overlap: String,

    #[command(flatten)]
    options: SeedOptions,
}

impl Command {
    pub async fn run(self) -> anyhow::Result<()> {
        match self.command {
            Tokens::Create(command) => {
                let token = command.token()?;
                on_core(command.options, async |service| create(service, token).await).await
            }
            Tokens::List(command) => {
                let List { json, options } = *command;
                on_core(options, async |service| list(service, json).await).await
            }
            Tokens::Revoke(command) => {
                let id = read("ID", &command.id)?;
                on_core(command.options, async |service| revoke(service, id).await).await
            }
            Tokens::Rotate(command) => {
                let id = read("ID", &command.id)?;
                let overlap =
                    Timestamp::now().duration_until(after("--overlap", &command.overlap)?);
                let overlap =
                    Duration::try_from(overlap).context("--overlap: must not be negative")?;
                on_core(command.options, async |service| rotate(service, id, overlap).await).await
            }
        }
    }
}

impl Create {
    fn token(&self) -> anyhow::Result<NewToken> {
        let scopes: Scopes = self.scopes.parse().context("--scopes")?;
        ensure!(!scopes.is_empty(), "--scopes: must have at least one");
        let tenants = list_of::<TenantId>("--tenants", self.tenants.as_deref())?;
        let types = list_of::<CredentialType>("--types", self.types.as_deref())?;
        let expires_at = self.expires_in.as_deref().map(|text| after("--expires-in", text));
        let description = self.description.as_deref().map(|text| read("--description", text));
        Ok(NewToken {
            name: read::<Name>("--name", &self.name)?,
            description: description.transpose()? as Option<ShortText>,
            scopes,
            limits: Limits::new(tenants, types),
            expires_at: expires_at.transpose()?,
            created_by: BY.actor.to_string(),
        })
    }
}

/// A value of the command line. Errors name the flag, and never the value.
fn read<T: FromStr<Err = crate::domain::Invalid>>(flag: &str, text: &str) -> anyhow::Result<T> {
    text.parse()
        .map_err(|invalid: crate::domain::Invalid| anyhow::anyhow!("{flag}: {}", invalid.reason))
}

fn list_of<T: FromStr<Err = crate::domain::Invalid>>(
    flag: &str,
    list: Option<&str>,
) -> anyhow::Result<Option<Vec<T>>> {
    let Some(list) = list else { return Ok(None) };
    list.split(',').map(|item| read(flag, item.trim())).collect::<Result<_, _>>().map(Some)
}

/// The moment that is so far from now.
fn after(flag: &str, text: &str) -> anyhow::Result<Timestamp> {
    let malformed = || anyhow::anyhow!("{flag}: must be a time such as 90d, 12h or 0s");
    let span: Span = text.parse().map_err(|_| malformed())?;
    let now = Timestamp::now();
    let then = now.to_zoned_datetime(TimeZone::UTC).checked_add(span).map_err(|_| malformed())?;
    let then = then.timestamp();
    ensure!(then >= now, "{flag}: must not be negative");
    Ok(then)
}

/// Runs a command on the service that requests run on, without its transport.
async fn on_core(
    options: SeedOptions,
    command: impl AsyncFnOnce(&Service) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let given = options.validate()?;
    crate::cli::start_logging_to_stderr(&given.telemetry)?;
    Core::run_command(&given, async |core| command(&core.service).await).await
}

async fn create(service: &Service, token: NewToken) -> anyhow::Result<()> {
    let made = service.create_token(token, BY, Wait::ForReplicas).await?;
    let Minted { secret, value } = made.value;
    tracing::info!(id = value.token.id.as_str(), name = value.token.name, "made a token");
    print(secret.reveal())
}

async fn list(service: &Service, as_json: bool) -> anyhow::Result<()> {
    let mut tokens: Vec<TokenRecord> = Vec::new();
    loop {
        let page = TokenPage { limit: PAGE, offset: tokens.len() as u64 };
        let (mut more, total) = service.tokens(page, &Limits::NONE).await?;
        let is_last = more.is_empty() || (tokens.len() + more.len()) as u64 >= total;
        tokens.append(&mut more);
        if is_last {
            break;
        }
    }
    if as_json {
        let tokens: Vec<_> = tokens.iter().map(shown_token).collect();
        return print(&serde_json::to_string_pretty(&tokens)?);
    }
    print(&table::of(&tokens))
}

async fn revoke(service: &Service, id: TokenId) -> anyhow::Result<()> {
    let Some(revoked) = service.revoke_token(id, BY, Wait::ForReplicas).await? else {
        bail!("there is no such token");
    };
    let (id, name) = (revoked.value.token.id.as_str(), revoked.value.token.name.as_str());
    match revoked.coherence {
        Coherence::Acked { replicas } => tracing::info!(id, name, replicas, "revoked, everywhere"),
        _ => tracing::info!(id, name, "revoked; a replica that has not heard of it serves nothing"),
    }
    Ok(())
}

async fn rotate(service: &Service, id: TokenId, overlap: Duration) -> anyhow::Result<()> {
    let rotated = service.rotate_token(id, overlap, BY, Wait::ForReplicas).await?;
    let Some(rotated) = rotated else { bail!("there is no such token") };
    let Minted { secret, value: Rotated { old, new } } = rotated.value;
    let ends = old.token.revoked_at.or(old.token.expires_at).map(|end| end.to_string());
    let (id, old) = (new.token.id.as_str(), old.token.id.as_str());
    tracing::info!(id, old, old_ends = ends, "replaced a token");
    print(secret.reveal())
}

fn print(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout().lock(), "{text}").context("writing to standard output")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        let from_now = |text: &str| {
            let then = after("--expires-in", text).unwrap();
            then.duration_since(Timestamp::now()).as_secs()
        };
        for (text, seconds) in [("90d", 90 * 86_400), ("12h", 43_200), ("0s", 0), ("PT1M", 60)] {
            assert!((seconds - from_now(text)).abs() <= 1, "{text}");
        }
        for bad in ["", "-1h", "hunter2", "99999999y", "90"] {
            let refused = after("--expires-in", bad).unwrap_err().to_string();
            assert!(refused.starts_with("--expires-in: ") && !refused.contains("hunter2"));
        }
    }
}
