//! Whom a request comes from.

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderName};

use crate::config::Networks;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Whom a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client(IpAddr);

impl Client {
    /// Whoever has this address.
    #[must_use]
    pub const fn at(address: IpAddr) -> Self {
        Self(address)
    }

    /// Whom a request comes from: the peer, or whom proxies that are trusted say that they speak
    /// for. Each appends to the list who it was asked by, so it is read from its end; what stands
    /// before the first address that is not a proxy's, anybody may have written.
    #[must_use]
    pub fn of(peer: IpAddr, headers: &HeaderMap, proxies: &Networks) -> Self {
        let mut client = peer.to_canonical();
        let lists = headers.get_all(X_FORWARDED_FOR).iter().rev();
        let mut told = lists.flat_map(|list| list.as_bytes().rsplit(|byte| *byte == b','));
        while proxies.contain(client) {
            let Some(next) = told.next().and_then(address) else { break };
            client = next.to_canonical();
        }
        Self(client)
    }

    /// Its address.
    #[must_use]
    pub const fn address(self) -> IpAddr {
        self.0
    }
}

/// An address, with or without a port.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let with_port = || text.parse().ok().map(|address: std::net::SocketAddr| address.ip());
    text.parse().ok().or_else(with_port)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn client(peer: &str, told: &[&'static str]) -> String {
        let mut headers = HeaderMap::new();
        for list in told {
            headers.append(X_FORWARDED_FOR, HeaderValue::from_static(list));
        }
        let proxies = "10.0.0.0/8, ::1".parse().unwrap();
        Client::of(peer.parse().unwrap(), &headers, &proxies).0.to_string()
    }

    #[test]
    fn a_client_is_whom_trusted_proxies_name() {
        for (peer, told, expected) in [
            ("1.2.3.4", &[][..], "1.2.3.4"),
            // It is no proxy, so it may say what it likes.
            ("1.2.3.4", &["5.6.7.8"], "1.2.3.4"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["5.6.7.8"], "5.6.7.8"),
            ("::ffff:10.0.0.1", &["5.6.7.8"], "5.6.7.8"),
            // What stands before is what the client itself has said.
            ("10.0.0.1", &["9.9.9.9, 5.6.7.8"], "5.6.7.8"),
            ("10.0.0.1", &["9.9.9.9", "5.6.7.8"], "5.6.7.8"),
            ("10.0.0.1", &["9.9.9.9", "5.6.7.8 , 10.0.0.2"], "5.6.7.8"),
            ("10.0.0.1", &["5.6.7.8:1234"], "5.6.7.8"),
            ("::1", &["[2001:db8::1]:80"], "2001:db8::1"),
            // All that is known is the proxy.
            ("10.0.0.1", &["unknown"], "10.0.0.1"),
            ("10.0.0.1", &["5.6.7.8, unknown"], "10.0.0.1"),
            ("10.0.0.1", &[""], "10.0.0.1"),
        ] {
            assert_eq!(client(peer, told), expected, "{peer} {told:?}");
        }
    }
}
