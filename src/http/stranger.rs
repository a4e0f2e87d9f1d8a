//! Strangers who reach a service that asks nobody for a token: web pages, in a browser that may call it, and
//! whoever a proxy on its machine serves. A token is never sent by them unasked; an address that is
//! trusted is.

use axum::http::header::{FORWARDED, HOST, HeaderName, ORIGIN, VIA};
use axum::http::{HeaderMap, HeaderValue, Request};

/// What browsers say of who has a page send this (Fetch Metadata, W3C).
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// By these a proxy says that it is one.
const OF_PROXIES: [HeaderName; 4] = [
    FORWARDED,
    VIA,
    HeaderName::from_static("x-forwarded-for"),
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
    /// seen in each request; a proxy is known if it passes the name on, or says that it is one.
    Local,
}

impl Reach {
    /// Whether this request is from there.
    pub fn admits<B>(self, request: &Request<B>) -> bool {
        self == Self::Any
            || called_by(request).is_none_or(is_local) && !came_by_a_proxy(request.headers())
    }
}

fn came_by_a_proxy(headers: &HeaderMap) -> bool {
    OF_PROXIES.iter().any(|name| headers.contains_key(name))
}

/// Whether a web page of another site has a browser send this, and it may change something. The page
/// is shown no answer; but what has been done is done (CSRF). The browser says it itself, or names the
/// page's origin (RFC 6454), which is then another one than was called.
pub fn is_cross_site<B>(request: &Request<B>) -> bool {
    if request.method().is_safe() {
        return false;
    }
    let headers = request.headers();
    match headers.get(SEC_FETCH_SITE) {
        Some(site) => !matches!(site.as_bytes(), b"same-origin" | b"none"),
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
        for other in ["evil.example", "127.0.0.1.evil.example:3007", "localhost.evil", "", ":80"] {
            assert!(!admitted(other), "{other}");
        }
        let absolute = Request::builder().uri("http://evil.example/").header(HOST, "localhost");
        assert!(!Reach::Local.admits(&absolute.body(()).unwrap()));
        assert!(Reach::Local.admits(&Request::builder().uri("/").body(()).unwrap()));
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
    fn a_page_of_another_site_may_change_nothing() {
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
        for (headers, expected) in [
            // No browser.
            (&[][..], false),
            (&[own], false),
            (&[of], true),
            (&[("origin", "null")], true),
            (&[("origin", "http://h")], true),
            (&[site("cross-site")], true),
            (&[site("same-site"), own], true),
            (&[site("none")], false),
            // Behind a proxy that changes the host: the browser knows better.
            (&[site("same-origin"), of], false),
        ] {
            for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
                assert_eq!(is_refused(&method, headers), expected, "{method} {headers:?}");
            }
            for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
                assert!(!is_refused(&method, headers), "{method} {headers:?}");
            }
        }
    }
}
