//! Who calls, by which name, and what they may do.

use axum::http::header::HOST;
use axum::http::{HeaderValue, Request};

use super::problem::Problem;
use crate::domain::{Scope, Scopes};

/// What an operation asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing: probes, metrics and the documentation.
    Open,
    /// This scope.
    Needs(Scope),
}

/// Somebody who sends a request. All of them are anonymous as yet: what they may do is what the
/// operator grants to callers without a token.
#[derive(Debug, Clone, Copy)]
pub struct Caller {
    scopes: Scopes,
}

impl Caller {
    /// A caller without a token.
    #[must_use]
    pub const fn anonymous(granted: Scopes) -> Self {
        Self { scopes: granted }
    }

    /// Lets the caller in, or not.
    ///
    /// # Errors
    /// 401: the scope that the operation needs is not among the caller's.
    pub fn authorize(self, access: Access) -> Result<(), Problem> {
        match access {
            Access::Needs(scope) if !self.scopes.contains(scope) => {
                Err(Problem::unauthorized(scope))
            }
            Access::Open | Access::Needs(_) => Ok(()),
        }
    }
}

/// The names by which the service may be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// Any.
    Any,
    /// IP addresses and `localhost`.
    ///
    /// For a service that is open to all on its machine because nobody said otherwise. A web page
    /// in a browser there reaches it too, by a name that its owner points at the loopback address
    /// (DNS rebinding), and so does the world, through a proxy on that machine. Neither calls it
    /// by an address.
    Local,
}

impl Names {
    /// Whether this request calls the service by one of these names.
    pub fn admit<B>(self, request: &Request<B>) -> bool {
        self == Self::Any || called_by(request).is_none_or(is_local)
    }
}

/// The host in the request's target, else in its header. A browser sends it always.
fn called_by<B>(request: &Request<B>) -> Option<&[u8]> {
    match request.uri().authority() {
        Some(authority) => Some(authority.as_str().as_bytes()),
        None => request.headers().get(HOST).map(HeaderValue::as_bytes),
    }
}

fn is_local(host: &[u8]) -> bool {
    // An IPv6 address stands in brackets, and no name has any.
    if host.starts_with(b"[") {
        return true;
    }
    let name = host.split(|byte| *byte == b':').next().unwrap_or_default();
    // No top-level domain is made of digits, so this is an IPv4 address or nothing.
    let is_address = |byte: &u8| byte.is_ascii_digit() || *byte == b'.';
    (!name.is_empty() && name.iter().all(is_address)) || name.eq_ignore_ascii_case(b"localhost")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_addresses_and_localhost_are_local() {
        let admitted = |host: &str| {
            let request = Request::builder().uri("/").header(HOST, host).body(()).unwrap();
            assert!(Names::Any.admit(&request));
            Names::Local.admit(&request)
        };
        for local in ["localhost", "LocalHost:3007", "127.0.0.1:3007", "10.0.0.1", "[::1]:3007"] {
            assert!(admitted(local), "{local}");
        }
        for other in ["evil.example", "127.0.0.1.evil.example:3007", "localhost.evil", "", ":80"] {
            assert!(!admitted(other), "{other}");
        }
        let absolute = Request::builder().uri("http://evil.example/").header(HOST, "localhost");
        assert!(!Names::Local.admit(&absolute.body(()).unwrap()));
        assert!(Names::Local.admit(&Request::builder().uri("/").body(()).unwrap()));
    }

    proptest! {
        #[test]
        fn exactly_the_granted_scopes_open_doors(granted in proptest::sample::subsequence(Scope::ALL.to_vec(), 0..=10)) {
            let caller = Caller::anonymous(granted.iter().copied().collect());
            prop_assert!(caller.authorize(Access::Open).is_ok());
            for scope in Scope::ALL {
                prop_assert_eq!(caller.authorize(Access::Needs(scope)).is_ok(), granted.contains(&scope));
            }
        }
    }
}
