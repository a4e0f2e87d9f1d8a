//! Where the service listens.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::path::PathBuf;

use super::Mistakes;
use super::given::Given;
use super::networks::Networks;
use crate::domain::{Scopes, UnknownScope};

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
    /// lookup:read, tenants:read, tenants:write, credentials:read (masked), credentials:reveal,
    /// credentials:write, credentials:destroy, events:read, audit:read and tokens:admin. Default: `all`
    /// where no database, no other address, no proxy and no TLS is configured, for requests from this machine
    /// to an IP address or localhost; `none` in every other case: then `token create` makes the first token
    #[arg(long, env = "ANONYMOUS_SCOPES", value_name = "SCOPES")]
    anonymous_scopes: Option<Given>,

    /// The certificate as PEM, and behind it the chain that leads to its authority. With it the port
    /// speaks TLS 1.2 and 1.3, and nothing else. It is read again every minute, and on SIGHUP
    #[arg(long, env = "TLS_CERT_FILE", value_name = "FILE")]
    tls_cert_file: Option<Given>,

    /// Its private key as PEM, without a passphrase, in a file that not everybody may read
    #[arg(long, env = "TLS_KEY_FILE", value_name = "FILE")]
    tls_key_file: Option<Given>,

    /// How many requests are worked on at a time; those beyond are answered with 503 at once.
    /// Look-ups that are in memory don't count, nor do probes, metrics and documentation. 0 sets no
    /// limit
    #[arg(long, env = "MAX_CONCURRENT_REQUESTS", default_value = "0", value_name = "NUMBER")]
    max_concurrent_requests: Given,

    /// How many requests a second one client address may send, and as many at once after a pause;
    /// those beyond are answered with 429. Probes, metrics and documentation don't count. 0 sets no
    /// limit
    #[arg(long, env = "RATE_LIMIT_PER_SECOND", default_value = "0", value_name = "NUMBER")]
    rate_limit_per_second: Given,

    /// How many requests a second the bearer of one token may send to this replica, and as many at
    /// once after a pause; those beyond are answered with 429. 0 sets no limit
    #[arg(long, env = "TOKEN_RATE_LIMIT_PER_SECOND", default_value = "0", value_name = "NUMBER")]
    token_rate_limit_per_second: Given,

    /// Addresses and networks (10.0.0.0/8), separated by commas, of the proxies whose
    /// X-Forwarded-For says who the client is
    #[arg(long, env = "TRUSTED_PROXIES", value_name = "NETWORKS")]
    trusted_proxies: Option<Given>,
}

/// Where the service listens, and what callers without a token may do.
#[derive(Debug, Clone)]
pub struct Http {
    /// Address and port.
    pub address: SocketAddr,
    /// What callers without a token may do.
    pub anonymous: Scopes,
    /// Nobody said what they may do, nor configured anything else: so they may do everything.
    pub open_by_default: bool,
    /// What it speaks TLS with, if it does.
    pub tls: Option<TlsFiles>,
    /// How many requests are worked on at a time, if that is limited.
    pub most_at_once: Option<NonZeroU16>,
    /// How many requests a second a client may send, if that is limited.
    pub per_second: Option<NonZeroU16>,
    /// How many the bearer of a token may send, if that is limited.
    pub token_per_second: Option<NonZeroU16>,
    /// The proxies that say who the client is.
    pub proxies: Networks,
}

/// A certificate and its key.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The chain, as PEM.
    pub certificate: PathBuf,
    /// The private key, as PEM.
    pub key: PathBuf,
}

const NETWORKS: &str = "must be IP addresses and networks separated by commas, such as 10.0.0.0/8";
const HOST_ACCEPTS: &str = "must be an IP address such as 127.0.0.1 or 0.0.0.0, or localhost";

impl Options {
    /// `is_embedded`: no database is configured, so the service is tried out.
    pub fn validate(self, is_embedded: bool, mistakes: &mut Mistakes) -> Option<Http> {
        let host = mistakes.parsed("HOST", &self.host, HOST_ACCEPTS, address);
        let port = mistakes.number("PORT", &self.port, "a port", 0..=u16::MAX);
        let is_local = host.is_some_and(|host| host.is_loopback());
        // Who names a proxy or has a certificate means others than those on this machine.
        let is_for_others = self.trusted_proxies.is_some() || self.tls_cert_file.is_some();
        let is_tried = is_embedded && is_local && !is_for_others;
        let open_by_default = self.anonymous_scopes.is_none() && is_tried;
        let anonymous = match self.anonymous_scopes {
            Some(given) => match scopes(mistakes.text("ANONYMOUS_SCOPES", &given)?) {
                Ok(scopes) => Some(scopes),
                Err(error) => {
                    mistakes.note("ANONYMOUS_SCOPES", error);
                    None
                }
            },
            None if open_by_default => Some(Scopes::ALL),
            None => Some(Scopes::NONE),
        };
        let tls = tls_files(self.tls_cert_file, self.tls_key_file, mistakes);
        let most = &self.max_concurrent_requests;
        let most = mistakes.number("MAX_CONCURRENT_REQUESTS", most, "a whole number", 0..=u16::MAX);
        let rate = &self.rate_limit_per_second;
        let rate = mistakes.number("RATE_LIMIT_PER_SECOND", rate, "a whole number", 0..=u16::MAX);
        let name = "TOKEN_RATE_LIMIT_PER_SECOND";
        let given = &self.token_rate_limit_per_second;
        let token_rate = mistakes.number(name, given, "a whole number", 0..=u16::MAX);
        let proxies = self.trusted_proxies.map_or(Some(Networks::default()), |given| {
            mistakes.parsed("TRUSTED_PROXIES", &given, NETWORKS, |text| text.parse().ok())
        });
        let (most_at_once, per_second) = (NonZeroU16::new(most?), NonZeroU16::new(rate?));
        let token_per_second = NonZeroU16::new(token_rate?);
        let (address, anonymous) = (SocketAddr::new(host?, port?), anonymous?);
        let proxies = proxies?;
        Some(Http {
            address,
            anonymous,
            open_by_default,
            tls,
            most_at_once,
            per_second,
            token_per_second,
            proxies,
        })
    }
}

/// Both files, or none.
fn tls_files(
    certificate: Option<Given>,
    key: Option<Given>,
    mistakes: &mut Mistakes,
) -> Option<TlsFiles> {
    match (&certificate, &key) {
        (Some(_), None) => mistakes.note("TLS_KEY_FILE", "is needed with TLS_CERT_FILE"),
        (None, Some(_)) => mistakes.note("TLS_CERT_FILE", "is needed with TLS_KEY_FILE"),
        _ => {}
    }
    let certificate = certificate.and_then(|file| mistakes.readable_file("TLS_CERT_FILE", &file));
    let key = key.and_then(|file| mistakes.readable_file("TLS_KEY_FILE", &file));
    Some(TlsFiles { certificate: certificate?, key: key? })
}

fn address(text: &str) -> Option<IpAddr> {
    if text == "localhost" { Some(Ipv4Addr::LOCALHOST.into()) } else { text.parse().ok() }
}

fn scopes(text: &str) -> Result<Scopes, UnknownScope> {
    if text.trim() == "none" { Ok(Scopes::NONE) } else { text.parse() }
}
