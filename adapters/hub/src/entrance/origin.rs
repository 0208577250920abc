//! Whose pages may connect. Any page that somebody opens can make their browser connect to this
//! server, and only the `Origin` that the browser adds tells which page it was (RFC 6455, section
//! 10.2). Whoever is no browser may say what they like, so those who say nothing pass.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use http::HeaderMap;
use http::header::{HOST, HeaderValue, ORIGIN};

/// The longest name that DNS has, with a dot at its end.
const NAME_BYTES: usize = 254;

/// Pages that may connect besides the server's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedOrigin(Allowed);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Allowed {
    Any,
    One(Origin),
}

/// Where a page is from, as browsers say it (RFC 6454, section 6.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// From nowhere that has a name: a file, a sandbox.
    Null,
    Site(Site),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Site {
    scheme: String,
    host: Host,
    /// None if it is the scheme's own.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Name(String),
    V6(Ipv6Addr),
}

/// Why a page may not connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    SeveralOrigins,
    SeveralHosts,
    /// What it says is no origin.
    Unreadable,
    /// It is neither the server's own nor allowed.
    Foreign(Origin),
}

impl AllowedOrigin {
    /// Every page there is, those without a readable origin included.
    pub const ANY: Self = Self(Allowed::Any);
}

/// What is wrong with an origin that was to be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadOrigin;

impl fmt::Display for BadOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "give it as browsers do, such as https://chat.example or http://localhost:3000, \
             without a path; or null for pages without an origin, or * for all",
        )
    }
}

impl std::error::Error for BadOrigin {}

impl FromStr for AllowedOrigin {
    type Err = BadOrigin;

    fn from_str(text: &str) -> Result<Self, BadOrigin> {
        let allowed = match text {
            "*" => Allowed::Any,
            _ => Allowed::One(Origin::parse(text).ok_or(BadOrigin)?),
        };
        Ok(Self(allowed))
    }
}

/// Whether a request with these headers may become a WebSocket.
pub(super) fn check(headers: &HeaderMap, allowed: &[AllowedOrigin]) -> Result<(), Refusal> {
    let host = only(headers.get_all(HOST).iter()).ok_or(Refusal::SeveralHosts)?;
    let origin = only(headers.get_all(ORIGIN).iter()).ok_or(Refusal::SeveralOrigins)?;
    let Some(origin) = origin else {
        return Ok(());
    };
    if allowed.contains(&AllowedOrigin::ANY) {
        return Ok(());
    }
    let origin = origin.to_str().ok().and_then(Origin::parse);
    let origin = origin.ok_or(Refusal::Unreadable)?;
    let host = host.and_then(|host| host.to_str().ok());
    if is_own(&origin, host) || allowed.contains(&AllowedOrigin(Allowed::One(origin.clone()))) {
        return Ok(());
    }
    Err(Refusal::Foreign(origin))
}

/// The only value, if there is one; none at all if there are several.
fn only<'a>(mut values: impl Iterator<Item = &'a HeaderValue>) -> Option<Option<&'a HeaderValue>> {
    let first = values.next();
    values.next().is_none().then_some(first)
}

/// Whether a page was loaded from where it connects to. Schemes are not compared: behind a proxy
/// that speaks TLS the page is https and the request is not. Such proxies also leave the port out
/// of the Host or not, so a Host without one stands for the ports that browsers leave out.
fn is_own(origin: &Origin, host: Option<&str>) -> bool {
    let Origin::Site(site) = origin else {
        return false;
    };
    let Some(port) = site.port.or_else(|| default_port(&site.scheme)) else {
        return false;
    };
    let is_web = default_port(&site.scheme).is_some();
    let own = host.and_then(authority);
    is_web
        && own.is_some_and(|(host, own_port)| {
            host == site.host && own_port.map_or(port == 80 || port == 443, |own| own == port)
        })
}

impl Origin {
    fn parse(text: &str) -> Option<Self> {
        if text == "null" {
            return Some(Self::Null);
        }
        let (scheme, rest) = text.split_once("://")?;
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        if !scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            || !scheme.bytes().all(good)
        {
            return None;
        }
        let scheme = scheme.to_ascii_lowercase();
        let (host, port) = authority(rest)?;
        let port = port.filter(|port| Some(*port) != default_port(&scheme));
        Some(Self::Site(Site { scheme, host, port }))
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

/// A host and its port, if it has one.
fn authority(text: &str) -> Option<(Host, Option<u16>)> {
    let (host, rest) = if let Some(bracketed) = text.strip_prefix('[') {
        let (address, rest) = bracketed.split_once(']')?;
        (Host::V6(address.parse().ok()?), rest)
    } else {
        let (name, rest) = text.split_at(text.find(':').unwrap_or(text.len()));
        (Host::Name(name_of_host(name)?), rest)
    };
    if rest.is_empty() {
        return Some((host, None));
    }
    let digits = rest.strip_prefix(':')?;
    // parse() alone would take a sign.
    let port = digits.bytes().all(|byte| byte.is_ascii_digit());
    Some((host, Some(port.then(|| digits.parse().ok())??)))
}

fn name_of_host(text: &str) -> Option<String> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let is_name = !text.is_empty() && text.len() <= NAME_BYTES && text.bytes().all(good);
    is_name.then(|| text.to_ascii_lowercase())
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Site(Site { scheme, host, port }) = self else {
            return f.write_str("null");
        };
        match host {
            Host::Name(name) => write!(f, "{scheme}://{name}")?,
            Host::V6(address) => write!(f, "{scheme}://[{address}]")?,
        }
        port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(hosts: &[&'static str], origins: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(HOST, HeaderValue::from_static(host));
        }
        for origin in origins {
            headers.append(ORIGIN, HeaderValue::from_static(origin));
        }
        headers
    }

    fn checked(host: &'static str, origin: &'static str, allowed: &[&str]) -> Result<(), Refusal> {
        let allowed: Vec<AllowedOrigin> = allowed.iter().map(|one| one.parse().unwrap()).collect();
        check(&headers(&[host], &[origin]), &allowed)
    }

    fn foreign(origin: &str) -> Result<(), Refusal> {
        Err(Refusal::Foreign(Origin::parse(origin).unwrap()))
    }

    #[test]
    fn a_page_of_the_server_itself_may_connect() {
        for (host, origin) in [
            ("127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("[::1]:8080", "http://[::1]:8080"),
            ("[0:0:0:0:0:0:0:1]:8080", "http://[::1]:8080"),
            ("chat.example", "http://chat.example"),
            ("Chat.Example", "HTTP://CHAT.EXAMPLE"),
            ("chat.example:80", "http://chat.example"),
            ("chat.example", "http://chat.example:80"),
            // Behind a proxy that speaks TLS.
            ("chat.example", "https://chat.example"),
            ("chat.example:443", "https://chat.example"),
            ("chat.example:8443", "https://chat.example:8443"),
        ] {
            assert_eq!(checked(host, origin, &[]), Ok(()), "{host} {origin}");
        }
    }

    #[test]
    fn any_other_page_may_not() {
        for (host, origin) in [
            ("chat.example", "https://evil.example"),
            ("chat.example", "https://chat.example.evil.example"),
            ("chat.example", "https://evil-chat.example"),
            ("chat.example", "https://www.chat.example"),
            ("chat.example", "https://chat.example:8443"),
            ("chat.example:8080", "http://chat.example"),
            ("chat.example:8080", "http://chat.example:3000"),
            ("chat.example:80", "https://chat.example"),
            ("127.0.0.1:8080", "http://localhost:8080"),
            ("[::1]:8080", "http://[::2]:8080"),
            ("chat.example", "chrome-extension://chat.example"),
            ("chat.example", "ftp://chat.example:80"),
            ("null", "null"),
            ("", "https://chat.example"),
            ("chat.example:", "https://chat.example"),
            ("chat.example, evil.example", "https://evil.example"),
            ("user@evil.example", "https://evil.example"),
        ] {
            assert_eq!(checked(host, origin, &[]), foreign(origin), "{host}");
        }
        let nowhere = check(&headers(&[], &["https://a.example"]), &[]);
        assert_eq!(nowhere, foreign("https://a.example"));
    }

    #[test]
    fn a_page_that_is_allowed_may_connect_and_no_other() {
        let allowed = ["https://a.example", "http://b.example:3000", "http://[::1]"];
        for origin in ["https://A.example:443", "http://[0::1]:80"] {
            assert_eq!(checked("chat.example", origin, &allowed), Ok(()));
        }
        for origin in [
            "http://a.example",
            "https://a.example:444",
            "http://b.example",
            "http://b.example:30",
            "null",
        ] {
            let refused = checked("chat.example", origin, &allowed);
            assert_eq!(refused, foreign(origin));
        }
        assert_eq!(checked("chat.example", "null", &["null"]), Ok(()));
        let extension = "chrome-extension://abcdefgh";
        assert_eq!(checked("chat.example", extension, &[extension]), Ok(()));
    }

    #[test]
    fn all_may_connect_if_all_are_allowed() {
        for origin in ["https://a.example", "null", "nonsense", ""] {
            assert_eq!(checked("chat.example", origin, &["*"]), Ok(()));
        }
    }

    #[test]
    fn who_is_no_browser_passes() {
        for hosts in [&["chat.example"][..], &[]] {
            assert_eq!(check(&headers(hosts, &[]), &[]), Ok(()));
        }
    }

    #[test]
    fn one_request_has_one_origin_and_one_host() {
        let (own, other) = ("http://chat.example", "http://evil.example");
        for allowed in [&[][..], &[AllowedOrigin::ANY]] {
            for origins in [[own, other], [other, own], [own, own]] {
                let refused = check(&headers(&["chat.example"], &origins), allowed);
                assert_eq!(refused, Err(Refusal::SeveralOrigins));
            }
            let hosts = headers(&["chat.example", "evil.example"], &[other]);
            assert_eq!(check(&hosts, allowed), Err(Refusal::SeveralHosts));
        }
    }

    const BAD: [&str; 19] = [
        "",
        "chat.example",
        "//chat.example",
        "://chat.example",
        "1http://chat.example",
        "https:/chat.example",
        "https://",
        "https://chat.example/",
        "https://chat.example/page",
        "https://chat.example, https://b.example",
        "https://user@chat.example",
        "https://*.example",
        "https://chat.example:",
        "https://chat.example:+80",
        "https://chat.example:65536",
        "https://[::1",
        "https://[::1]8080",
        "https://::1",
        "NULL",
    ];

    #[test]
    fn what_is_no_origin_is_refused() {
        for bad in BAD {
            assert_eq!(bad.parse::<AllowedOrigin>(), Err(BadOrigin), "{bad}");
            let refused = checked("chat.example", bad, &["https://chat.example"]);
            assert_eq!(refused, Err(Refusal::Unreadable), "{bad}");
        }
        let umlaut = "https://\u{fc}ber.example".parse::<AllowedOrigin>();
        assert_eq!(umlaut, Err(BadOrigin));
        let long = format!("https://{}", "a".repeat(NAME_BYTES + 1));
        assert_eq!(long.parse::<AllowedOrigin>(), Err(BadOrigin));
    }

    #[test]
    fn an_origin_is_written_as_browsers_do() {
        for (text, written) in [
            ("HTTPS://Chat.Example:443", "https://chat.example"),
            ("http://[0::1]:8080", "http://[::1]:8080"),
            ("null", "null"),
        ] {
            assert_eq!(Origin::parse(text).unwrap().to_string(), written);
        }
    }

    #[test]
    fn who_gives_a_bad_origin_is_told_good_ones() {
        let told = BadOrigin.to_string();
        for good in ["https://chat.example", "http://localhost:3000", "null", "*"] {
            assert!(told.contains(good), "{told}");
            assert!(good.parse::<AllowedOrigin>().is_ok());
        }
    }
}
