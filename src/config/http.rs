//! Where the service listens.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::Mistakes;
use super::given::Given;
use crate::domain::{Scope, Scopes, UnknownScope};

#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "HTTP")]
#[group(skip)]
pub(super) struct Options {
    /// Address to listen on: an IP address, or localhost
    #[arg(long, env = "HOST", default_value = "127.0.0.1")]
    host: Given,

    /// Port to listen on; 0 takes a free one
    #[arg(long, env = "PORT", default_value = "3007")]
    port: Given,

    /// What a caller without a token may do: `all`, `none`, or scopes separated by commas, out of
    /// lookup:read, tenants:read, tenants:write, credentials:read (masked), credentials:reveal and
    /// credentials:write. Default: `all` on a loopback address, for requests to an IP
    /// address or localhost. On any other address it has to be set, for whoever reaches the port
    /// may then do it
    #[arg(long, env = "ANONYMOUS_SCOPES", value_name = "SCOPES")]
    anonymous_scopes: Option<Given>,
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

const HOST_ACCEPTS: &str = "must be an IP address such as 127.0.0.1 or 0.0.0.0, or localhost";

impl Options {
    pub fn validate(self, mistakes: &mut Mistakes) -> Option<Http> {
        let host = mistakes.parsed("HOST", &self.host, HOST_ACCEPTS, address);
        let port = mistakes.number("PORT", &self.port, "a port", 0..=u16::MAX);
        let open_by_default = self.anonymous_scopes.is_none();
        let anonymous = match self.anonymous_scopes {
            Some(given) => match scopes(mistakes.text("ANONYMOUS_SCOPES", &given)?) {
                Ok(scopes) => Some(scopes),
                Err(error) => {
                    mistakes.note("ANONYMOUS_SCOPES", error);
                    None
                }
            },
            None if host.is_some_and(|host| !host.is_loopback()) => {
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
        let address = SocketAddr::new(host?, port?);
        Some(Http { address, anonymous: anonymous?, open_by_default })
    }
}

fn address(text: &str) -> Option<IpAddr> {
    if text == "localhost" { Some(Ipv4Addr::LOCALHOST.into()) } else { text.parse().ok() }
}

fn scopes(text: &str) -> Result<Scopes, UnknownScope> {
    if text.trim() == "none" { Ok(Scopes::NONE) } else { text.parse() }
}
