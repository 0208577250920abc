//! Where a request is from, by what trusted proxies say: `Forwarded` (RFC 7239) or
//! `X-Forwarded-For`. Each proxy adds to the right end of what it got, and the rest is what
//! somebody sent it, so only what trusted proxies added is ever read.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use http::header::{FORWARDED, HeaderName};
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Whether `address` is one of the proxies.
pub(super) fn is_trusted(address: IpAddr, proxies: &[IpNet]) -> bool {
    let address = address.to_canonical();
    proxies.iter().any(|network| network.contains(&address))
}

/// The address of the client: the peer's own, or what a trusted peer says it is. A peer that says
/// nothing, or nothing that can be relied on, counts itself.
#[must_use]
pub fn client_address(peer: IpAddr, headers: &HeaderMap, proxies: &[IpNet]) -> IpAddr {
    let told = is_trusted(peer, proxies).then(|| told(headers, proxies));
    told.flatten().unwrap_or(peer).to_canonical()
}

/// What the headers say. A proxy that writes the one mostly passes the other on as the client sent
/// it, and nobody knows which is which; so if there are both, they have to agree.
fn told(headers: &HeaderMap, proxies: &[IpNet]) -> Option<IpAddr> {
    let by = |name: &HeaderName, read| {
        let is_there = headers.contains_key(name);
        is_there.then(|| farthest(headers, name, read, proxies))
    };
    let said = [by(&FORWARDED, element), by(&X_FORWARDED_FOR, address)];
    let mut said = said.into_iter().flatten();
    let first = said.next()?;
    said.all(|other| other == first).then_some(first)?
}

/// The first address from the right that is no trusted proxy. If all are, the last that one of
/// them told of. None if something on the way is no address.
fn farthest(
    headers: &HeaderMap,
    name: &HeaderName,
    read: fn(&str) -> Option<IpAddr>,
    proxies: &[IpNet],
) -> Option<IpAddr> {
    let mut farthest = None;
    for line in headers.get_all(name).iter().rev() {
        // What stands to the left of the address that counts is not looked at, whatever it is.
        let mut rest = Some(line.as_bytes());
        while let Some(list) = rest {
            let (before, last) = split_last(list, b',');
            let address = read(str::from_utf8(last).ok()?.trim_matches([' ', '\t']))?;
            if !is_trusted(address, proxies) {
                return Some(address);
            }
            farthest = Some(address);
            rest = before;
        }
    }
    farthest
}

/// What stands behind the last separator that is not within quotes, and what before it. From the
/// right, so that a quote which a client left open does not swallow what its proxy added.
fn split_last(list: &[u8], separator: u8) -> (Option<&[u8]>, &[u8]) {
    let mut is_quoted = false;
    for at in (0..list.len()).rev() {
        let (before, here) = list.split_at(at);
        match here[0] {
            b'"' if !ends_in_escape(before) => is_quoted = !is_quoted,
            byte if byte == separator && !is_quoted => return (Some(before), &here[1..]),
            _ => {}
        }
    }
    (None, list)
}

/// Whether the next byte is escaped: an odd number of backslashes stands before it.
fn ends_in_escape(text: &[u8]) -> bool {
    let backslashes = text.iter().rev().take_while(|&&byte| byte == b'\\');
    backslashes.count() % 2 == 1
}

/// The address in an element of `Forwarded`, such as `for="[2001:db8::1]:4711";proto=https`.
fn element(text: &str) -> Option<IpAddr> {
    let mut found = None;
    let mut rest = Some(text.as_bytes());
    while let Some(pairs) = rest {
        let (before, last) = split_last(pairs, b';');
        let (name, value) = str::from_utf8(last).ok()?.split_once('=')?;
        if name.trim_matches([' ', '\t']).eq_ignore_ascii_case("for") {
            // Given twice, nobody knows which counts (RFC 7239, section 4, forbids it).
            if found.is_some() {
                return None;
            }
            found = Some(address(unquoted(value.trim_matches([' ', '\t']))?)?);
        }
        rest = before;
    }
    found
}

/// A quoted value without its quotes. An address needs no escapes, so it has none.
fn unquoted(value: &str) -> Option<&str> {
    match value.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"'),
        None => Some(value),
    }
}

/// An address with or without a port. Identifiers such as `unknown` and `_hidden` are none.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|bracketed| bracketed.strip_suffix(']'));
    let address = match bare {
        Some(bare) => bare.parse().ok().map(IpAddr::V6),
        None => text.parse().ok(),
    };
    let with_port = || text.parse().ok().map(|address: SocketAddr| address.ip());
    address.or_else(with_port).map(|found| found.to_canonical())
}

#[cfg(test)]
mod tests {
    use http::header::HeaderValue;

    use super::*;

    const PEER: &str = "10.0.0.1";

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Who `peer` says the client is, with 10.0.0.0/8 and 2001:db8:1::/48 trusted.
    fn from(peer: &str, lines: &[(&'static str, &str)]) -> IpAddr {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            headers.append(HeaderName::from_static(name), value);
        }
        let proxies = ["10.0.0.0/8", "2001:db8:1::/48"];
        let proxies: Vec<IpNet> = proxies.iter().map(|one| one.parse().unwrap()).collect();
        client_address(ip(peer), &headers, &proxies)
    }

    fn x(value: &str) -> IpAddr {
        from(PEER, &[("x-forwarded-for", value)])
    }

    fn f(value: &str) -> IpAddr {
        from(PEER, &[("forwarded", value)])
    }

    #[test]
    fn the_address_nearest_to_the_proxies_counts() {
        for (value, expected) in [
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.1:4711", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:4711", "2001:db8::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("192.0.2.1, 10.1.2.3,\t2001:db8:1::5", "192.0.2.1"),
            ("192.0.2.1, ::ffff:10.1.2.3", "192.0.2.1"),
            // All are trusted, and so is what the last of them says.
            ("10.9.9.9, 10.1.2.3", "10.9.9.9"),
        ] {
            assert_eq!(x(value), ip(expected), "{value}");
        }
        for (value, expected) in [
            ("for=192.0.2.1", "192.0.2.1"),
            ("For=\"192.0.2.1:4711\"", "192.0.2.1"),
            ("for=\"[2001:db8::1]:4711\"", "2001:db8::1"),
            ("for=\"[2001:db8::1]\"", "2001:db8::1"),
            (
                "proto=https; for = 192.0.2.1 ;by=\"_a,b;c\\\"\"",
                "192.0.2.1",
            ),
            ("for=192.0.2.1;proto=https, for=10.1.2.3;by=_x", "192.0.2.1"),
        ] {
            assert_eq!(f(value), ip(expected), "{value}");
        }
    }

    #[test]
    fn what_a_client_sent_itself_does_not_count() {
        for value in [
            "203.0.113.9, 192.0.2.1",
            "10.0.0.1, 192.0.2.1",
            "unknown, 192.0.2.1",
            "\", 192.0.2.1",
            "\u{fc}, 192.0.2.1",
            ",,,, 192.0.2.1",
            "203.0.113.9, 192.0.2.1, 10.1.2.3",
        ] {
            assert_eq!(x(value), ip("192.0.2.1"), "{value}");
        }
        for value in [
            "for=203.0.113.9, for=192.0.2.1",
            "for=\", for=192.0.2.1",
            "for=\"203.0.113.9, for=192.0.2.1",
            "for=\"\\, for=\"192.0.2.1\"",
            "for=10.0.0.1;x=\", for=\"192.0.2.1\";proto=https, for=10.1.2.3",
            "for=192.0.2.1;host=\"a, for=203.0.113.9\"",
            "for=192.0.2.1;host=\"a;for=203.0.113.9\"",
            "for=192.0.2.1;host=\"a\\\", for=203.0.113.9;x=\\\"\"",
        ] {
            assert_eq!(f(value), ip("192.0.2.1"), "{value}");
        }
    }

    #[test]
    fn whatever_a_client_makes_up_what_its_proxy_adds_counts() {
        let parts = ["\"", "\\", ",", ";", "for=203.0.113.9", "x=", "\u{fc}"];
        let mut made_up = vec![String::new()];
        for _ in 0..5 {
            let longer = |text: &String| parts.map(|part| format!("{text}{part}"));
            made_up = made_up.iter().flat_map(longer).collect();
            for text in &made_up {
                let line = format!("{text}, for=192.0.2.1;proto=https");
                assert_eq!(f(&line), ip("192.0.2.1"), "{line}");
                // A proxy that tells the Host, which is the client's, has to quote it.
                let host = text.replace('\\', "\\\\").replace('"', "\\\"");
                let line = format!("for=192.0.2.1;host=\"{host}\"");
                assert_eq!(f(&line), ip("192.0.2.1"), "{line}");
            }
        }
    }

    #[test]
    fn a_proxy_that_says_nothing_usable_counts_itself() {
        for value in [
            "",
            " ",
            "unknown",
            "_hidden",
            "192.0.2.1,",
            "192.0.2.1, unknown",
            "192.0.2.1, , 10.1.2.3",
            "192.0.2.1 203.0.113.9",
            "192.0.2.256",
            "192.0.2.1:port",
            "192.0.2.1:65536",
            "2001:db8::1]:80",
            "[192.0.2.1]",
            "chat.example",
            "for=192.0.2.1",
            "\"192.0.2.1\"",
            "192.0.2.1, \u{fc}",
        ] {
            assert_eq!(x(value), ip(PEER), "{value}");
        }
        for value in [
            "",
            "192.0.2.1",
            "for",
            "for=",
            "for=unknown",
            "for=_hidden",
            "for=\"_hidden\"",
            "for=\"192.0.2.1",
            "for=192.0.2.1\"",
            "for=\"192.0.2\\.1\"",
            "proto=https;by=192.0.2.1",
            "for=192.0.2.1;for=203.0.113.9",
            "for=192.0.2.1;;",
            "for=192.0.2.1, for=unknown",
        ] {
            assert_eq!(f(value), ip(PEER), "{value}");
        }
        assert_eq!(from(PEER, &[]), ip(PEER));
    }

    #[test]
    fn nobody_else_is_believed() {
        let lines = [
            ("x-forwarded-for", "203.0.113.9"),
            ("forwarded", "for=203.0.113.9"),
        ];
        for peer in ["192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1"] {
            assert_eq!(from(peer, &lines), ip(peer).to_canonical());
        }
        for trusted in [PEER, "2001:db8:1::7", "::ffff:10.0.0.1"] {
            assert_eq!(from(trusted, &lines), ip("203.0.113.9"), "{trusted}");
        }
    }

    #[test]
    fn lines_are_one_list() {
        let name = "x-forwarded-for";
        let spoofed = (name, "203.0.113.9");
        let lines = [spoofed, (name, "192.0.2.1"), (name, "10.1.2.3, 10.1.2.4")];
        assert_eq!(from(PEER, &lines), ip("192.0.2.1"));
        assert_eq!(from(PEER, &[lines[1], (name, "")]), ip(PEER));
        let many = vec![spoofed; 1000];
        let many: Vec<_> = many.into_iter().chain([lines[1]]).collect();
        assert_eq!(from(PEER, &many), ip("192.0.2.1"));
    }

    #[test]
    fn two_headers_that_differ_say_nothing() {
        let one = ("x-forwarded-for", "192.0.2.1");
        assert_eq!(
            from(PEER, &[one, ("forwarded", "for=192.0.2.1")]),
            ip(one.1)
        );
        for spoofed in ["for=203.0.113.9", "for=unknown", ""] {
            assert_eq!(from(PEER, &[one, ("forwarded", spoofed)]), ip(PEER));
        }
    }

    #[test]
    fn a_long_list_is_read_from_its_end() {
        for part in ["203.0.113.9, ", "\"", "\\", "\\\"", ",", "for=\"\\"] {
            let long = part.repeat(10_000);
            assert_eq!(x(&format!("{long}, 192.0.2.1")), ip("192.0.2.1"));
            assert_eq!(f(&format!("{long}, for=192.0.2.1")), ip("192.0.2.1"));
            assert_eq!(x(&format!("192.0.2.1, {long}x")), ip(PEER));
            assert_eq!(f(&format!("for=192.0.2.1, {long}x")), ip(PEER));
        }
        let proxies = "10.1.2.3, ".repeat(1000);
        assert_eq!(x(&format!("192.0.2.1, {proxies}10.1.2.3")), ip("192.0.2.1"));
    }
}
