//! Strangers who reach a service that asks nobody for a token: web pages, in a browser that may call it, and
//! whoever a proxy on its machine serves. A token is never sent by them unasked; an address that is
//! trusted is.

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::http::header::{FORWARDED, HOST, HeaderName, ORIGIN, VIA};
use axum::http::{HeaderMap, HeaderValue, Request};

/// What browsers say of who has a page send this (Fetch Metadata, W3C).
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// By these a proxy says that it is one.
const OF_PROXIES: [HeaderName; 6] = [
    FORWARDED,
    VIA,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-real-ip"),
];

/// From where the service may be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// From anywhere, by any name.
    Any,
    /// From its machine, by an IP address or as `localhost`.
    ///
    /// For a service that is open to all on its machine because nobody said otherwise. A web page
    /// in a browser there reaches it too, by a name that its owner points at the loopback address
    /// (DNS rebinding), and so does the world, through a proxy on that machine. A page's name is
    /// seen in each request, for its browser says it; a proxy is known if it says that it is one, or
    /// passes on the name of a caller who does not lie about it.
    Local,
}

impl Reach {
    /// Whether this request is from there.
    pub fn admits<B>(self, request: &Request<B>) -> bool {
        self == Self::Any
            || called_by(request).is_some_and(is_local) && !came_by_a_proxy(request.headers())
    }
}

fn came_by_a_proxy(headers: &HeaderMap) -> bool {
    OF_PROXIES.iter().any(|name| headers.contains_key(name))
}

/// Whether a web page of another site has a browser send this. The page is shown no answer; but what has
/// been done is done (CSRF), and what was shown to nobody is in the audit trail. The browser says it
/// itself; one that does not (it talks to an address that it does not trust) names the page's origin
/// (RFC 6454) with whatever may change something, and that is then another one than was called.
pub fn is_cross_site<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    match headers.get(SEC_FETCH_SITE) {
        Some(site) => !matches!(site.as_bytes(), b"same-origin" | b"none"),
        None if request.method().is_safe() => false,
        None => headers.get(ORIGIN).is_some_and(|origin| {
            let host = host_of(origin.as_bytes());
            // That of a page without one is `null`.
            !called_by(request).is_some_and(|called| host.eq_ignore_ascii_case(called))
        }),
    }
}

/// Of `http://host:port`, what stands behind the scheme.
fn host_of(origin: &[u8]) -> &[u8] {
    let scheme = origin.windows(3).position(|three| three == b"://");
    scheme.map_or(origin, |at| &origin[at + 3..])
}

/// The host in the request's target, else in its header. A browser sends it always.
fn called_by<B>(request: &Request<B>) -> Option<&[u8]> {
    match request.uri().authority() {
        Some(authority) => Some(authority.as_str().as_bytes()),
        None => request.headers().get(HOST).map(HeaderValue::as_bytes),
    }
}

fn is_local(host: &[u8]) -> bool {
    // An IPv6 address stands in brackets, and no name has any. Before an @ there is a user, and no host.
    let Ok(host) = str::from_utf8(host) else { return false };
    if let Some(rest) = host.strip_prefix('[') {
        let address = rest.split_once(']').map(|(address, _)| address.parse::<Ipv6Addr>());
        return matches!(address, Some(Ok(_)));
    }
    let name = host.split_once(':').map_or(host, |(name, _)| name);
    let is_address = name.parse::<Ipv4Addr>().is_ok();
    !host.contains('@') && (is_address || name.eq_ignore_ascii_case("localhost"))
}

#[cfg(test)]
mod tests {
    use axum::http::Method;

    use super::*;

    #[test]
    fn only_addresses_and_localhost_are_local() {
        let admitted = |host: &str| {
            let request = Request::builder().uri("/").header(HOST, host).body(()).unwrap();
            assert!(Reach::Any.admits(&request));
            Reach::Local.admits(&request)
        };
        for local in ["localhost", "LocalHost:3007", "127.0.0.1:3007", "10.0.0.1", "[::1]:3007"] {
            assert!(admitted(local), "{local}");
        }
        for other in [
            "evil.example",
            "127.0.0.1.evil.example:3007",
            "localhost.evil",
            "localhost:x@evil.example",
            "127.0.0.1:3007@evil.example",
            "[evil.example]",
            "[::1",
            "1.2.3",
            "2130706433",
            "",
            ":80",
        ] {
            assert!(!admitted(other), "{other}");
        }
        let absolute = Request::builder().uri("http://evil.example/").header(HOST, "localhost");
        assert!(!Reach::Local.admits(&absolute.body(()).unwrap()));
        let absolute = Request::builder().uri("http://localhost:x@evil.example/").body(()).unwrap();
        assert!(!Reach::Local.admits(&absolute));
        // HTTP/1.0 needs no host. Who has one says it.
        assert!(!Reach::Local.admits(&Request::builder().uri("/").body(()).unwrap()));
    }

    #[test]
    fn what_came_by_a_proxy_is_from_elsewhere() {
        for name in OF_PROXIES {
            let request = Request::builder().header(HOST, "127.0.0.1:3007").header(&name, "x");
            let request = request.body(()).unwrap();
            assert!(!Reach::Local.admits(&request), "{name}");
            assert!(Reach::Any.admits(&request), "{name}");
        }
    }

    #[test]
    fn a_page_of_another_site_is_known() {
        let is_refused = |method: &Method, headers: &[(&str, &str)]| {
            let request = Request::builder().method(method).uri("/").header(HOST, "h:3007");
            let add = |request: axum::http::request::Builder, (name, value): &(&str, &str)| {
                request.header(*name, *value)
            };
            let request = headers.iter().fold(request, add).body(()).unwrap();
            is_cross_site(&request)
        };
        let (of, own) = (("origin", "https://evil.example"), ("origin", "http://H:3007"));
        let site = |value| ("sec-fetch-site", value);
        // Of what may change something, and of what may not.
        for (headers, unsafe_one, safe_one) in [
            // No browser.
            (&[][..], false, false),
            (&[own], false, false),
            (&[of], true, false),
            (&[("origin", "null")], true, false),
            (&[("origin", "http://h")], true, false),
            (&[site("cross-site")], true, true),
            (&[site("same-site"), own], true, true),
            (&[site("none")], false, false),
            // Behind a proxy that changes the host: the browser knows better.
            (&[site("same-origin"), of], false, false),
        ] {
            for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
                assert_eq!(is_refused(&method, headers), unsafe_one, "{method} {headers:?}");
            }
            for method in [Method::GET, Method::HEAD] {
                assert_eq!(is_refused(&method, headers), safe_one, "{method} {headers:?}");
            }
        }
    }
}
