//! Where the service listens.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::{Mistakes, given};
use crate::domain::{Scope, Scopes, UnknownScope};

#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "HTTP")]
#[group(skip)]
pub(super) struct Options {
    /// Address to listen on: an IP address, or localhost
    #[arg(long, env = "HOST", default_value = "127.0.0.1")]
    host: String,

    /// Port to listen on; 0 takes a free one
    #[arg(long, env = "PORT", default_value_t = 3007)]
    port: u16,

    /// What a caller without a token may do: `all`, `none`, or scopes separated by commas, such as
    /// lookup:read,credentials:reveal. Default: `all` on a loopback address, for requests to an
    /// IP address or localhost. On any other address it has to be set, for whoever reaches the port
    /// may then do it
    #[arg(long, env = "ANONYMOUS_SCOPES", value_name = "SCOPES")]
    anonymous_scopes: Option<String>,
}

/// Where the service listens, and what callers without a token may do.
#[derive(Debug, Clone)]
pub struct Http {
    /// Address and port.
    pub address: SocketAddr,
    /// What callers without a token may do.
    pub anonymous: Scopes,
    /// Nobody said what they may do, and so they may do everything.
    pub open_by_default: bool,
}

impl Options {
    pub fn validate(self, mistakes: &mut Mistakes) -> Option<Http> {
        let host = match self.host.trim() {
            "localhost" => Ok(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            other => other.parse::<IpAddr>(),
        };
        if host.is_err() {
            mistakes
                .note("HOST", "must be an IP address such as 127.0.0.1 or 0.0.0.0, or localhost");
        }
        let granted = given(self.anonymous_scopes).map(|text| scopes(&text));
        let open_by_default = granted.is_none();
        let anonymous = match granted {
            Some(Ok(scopes)) => Some(scopes),
            Some(Err(error)) => {
                mistakes.note("ANONYMOUS_SCOPES", error);
                None
            }
            None if host.as_ref().is_ok_and(|host| !host.is_loopback()) => {
                mistakes.note(
                    "HOST",
                    format!(
                        "is not a loopback address, and whoever reaches it could do everything, {} included; say what they may do with ANONYMOUS_SCOPES, such as ANONYMOUS_SCOPES=lookup:read,credentials:reveal on a private network",
                        Scope::CredentialsReveal
                    ),
                );
                None
            }
            None => Some(Scopes::ALL),
        };
        let address = SocketAddr::new(host.ok()?, self.port);
        Some(Http { address, anonymous: anonymous?, open_by_default })
    }
}

fn scopes(text: &str) -> Result<Scopes, UnknownScope> {
    if text.trim() == "none" { Ok(Scopes::NONE) } else { text.parse() }
}
