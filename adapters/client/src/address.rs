//! Where a server is.

use http::Uri;

use crate::error::ConnectError;

/// A URL that can be connected to.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    pub(crate) uri: Uri,
    /// A name, or an IP address without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) is_tls: bool,
}

impl Address {
    /// What is wrong is said without the URL, in which there may be secrets.
    pub(crate) fn parse(url: &str) -> Result<Self, ConnectError> {
        const SCHEME: &str = "a URL has to begin with ws:// or wss://, as wss://chat.example/ws";
        let parsed = url.parse::<Uri>();
        let uri = parsed.map_err(|_| {
            ConnectError::Url("this is no URL; give one such as wss://chat.example/ws")
        })?;
        let is_tls = match uri.scheme_str() {
            Some(scheme) if scheme.eq_ignore_ascii_case("ws") => false,
            Some(scheme) if scheme.eq_ignore_ascii_case("wss") => true,
            Some(_) | None => return Err(ConnectError::Url(SCHEME)),
        };
        let authority = uri.authority().ok_or(ConnectError::Url(SCHEME))?;
        if authority.as_str().contains('@') {
            return Err(ConnectError::Url(
                "a URL with a user in it (user@host) is not for Parlor; give the name in the options",
            ));
        }
        if url.contains('#') {
            return Err(ConnectError::Url(
                "a URL of a WebSocket has no fragment; leave out what begins with #",
            ));
        }
        let host = authority.host();
        let default = if is_tls { 443 } else { 80 };
        let port = match authority.as_str()[host.len()..].strip_prefix(':') {
            // `host:` is allowed, and the same as `host`.
            None | Some("") => default,
            Some(port) => port.parse().unwrap_or(0),
        };
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let host = bare.unwrap_or(host).to_string();
        if host.is_empty() || port == 0 {
            return Err(ConnectError::Url(
                "a URL has to name a host and may name a port, as wss://chat.example:8443/ws",
            ));
        }
        Ok(Self {
            uri,
            host,
            port,
            is_tls,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, host: &str, port: u16, path: &str) {
        let address = Address::parse(url).expect(url);
        assert_eq!((&*address.host, address.port), (host, port), "{url}");
        assert_eq!(
            address.uri.path_and_query().map_or("/", |p| p.as_str()),
            path
        );
    }

    #[test]
    fn a_url_says_where_a_server_is() {
        check("ws://chat.example/ws", "chat.example", 80, "/ws");
        check("ws://127.0.0.1:8080/ws?a=b", "127.0.0.1", 8080, "/ws?a=b");
        check("ws://[::1]:8080/ws", "::1", 8080, "/ws");
        check("ws://chat.example:/ws", "chat.example", 80, "/ws");
        check("WS://CHAT.example", "CHAT.example", 80, "/");
    }

    #[test]
    fn tls_has_a_port_of_its_own() {
        check("wss://chat.example/ws", "chat.example", 443, "/ws");
        check("wss://chat.example:8443/ws", "chat.example", 8443, "/ws");
        assert!(Address::parse("wss://chat.example/ws").unwrap().is_tls);
        assert!(!Address::parse("ws://chat.example/ws").unwrap().is_tls);
    }

    #[test]
    fn what_is_no_address_is_told_what_to_change() {
        for (url, says) in [
            ("", "this is no URL"),
            ("ws://", "this is no URL"),
            ("chat example", "this is no URL"),
            ("chat.example", "begin with ws:// or wss://"),
            ("/ws", "begin with ws:// or wss://"),
            ("https://chat.example/ws", "begin with ws:// or wss://"),
            ("ws://:80/ws", "name a host"),
            ("ws://chat.example:0/ws", "name a host"),
            ("ws://chat.example:99999/ws", "may name a port"),
            ("ws://me:secret@chat.example/ws", "with a user in it"),
            ("ws://chat.example/ws#top", "no fragment"),
        ] {
            let said = match Address::parse(url) {
                Ok(address) => panic!("{url} is {address:?}"),
                Err(error) => error.to_string(),
            };
            assert!(said.contains(says), "{url}: {said}");
            assert!(!said.contains("secret"), "{said}");
        }
    }
}
