//! The upgrade of a request to a WebSocket, and the answers to those that are none (RFC 6455,
//! section 4.2).

use std::net::IpAddr;

use http::header::{
    CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{Request, Response, StatusCode};
use tracing::debug;
use tungstenite::handshake::server::create_response_with_body;

use crate::entrance::admission::Full;
use crate::entrance::{Entered, Entrance, Refusal, origin};

/// What a client without a place is told to wait, s.
const RETRY_AFTER_SECS: &str = "5";

/// Whether a request wants to become a WebSocket. An upgrade to anything else, such as curl's to
/// HTTP/2, is an offer that one need not take.
#[must_use]
pub fn is_upgrade<B>(request: &Request<B>) -> bool {
    let protocol = request.headers().get(UPGRADE);
    protocol.is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

impl Entrance {
    /// Answers a request for the WebSocket of a client at `peer`: with the upgrade if somebody is let
    /// in, else with why not.
    #[must_use]
    pub fn upgrade<B>(
        &self,
        request: &Request<B>,
        peer: Option<IpAddr>,
    ) -> (Response<&'static str>, Option<Entered>) {
        if !is_upgrade(request) {
            let answer = text(
                StatusCode::UPGRADE_REQUIRED,
                "Connect with a WebSocket client.\n",
            );
            let answer = with(answer, UPGRADE, "websocket");
            return (with(answer, CONNECTION, "upgrade"), None);
        }
        let accepted = match create_response_with_body(request, || "") {
            Ok(accepted) => accepted,
            Err(error) => {
                debug!(address = peer.map(tracing::field::display), %error, "not a WebSocket handshake");
                let answer = text(
                    StatusCode::BAD_REQUEST,
                    "This is not a WebSocket handshake of version 13.\n",
                );
                return (with(answer, SEC_WEBSOCKET_VERSION, "13"), None);
            }
        };
        match self.enter(peer, request.headers()) {
            Ok(entered) => (accepted, Some(entered)),
            Err(refusal) => (refused(&refusal), None),
        }
    }
}

fn refused(refusal: &Refusal) -> Response<&'static str> {
    let (status, body) = match refusal {
        Refusal::Origin(refusal) => return text(StatusCode::FORBIDDEN, origin_refused(refusal)),
        Refusal::Full(Full::Server) => (StatusCode::SERVICE_UNAVAILABLE, "The server is full.\n"),
        Refusal::Full(Full::Address) => (
            StatusCode::TOO_MANY_REQUESTS,
            "Your address has too many connections.\n",
        ),
    };
    with(text(status, body), RETRY_AFTER, RETRY_AFTER_SECS)
}

const fn origin_refused(refusal: &origin::Refusal) -> &'static str {
    match refusal {
        origin::Refusal::SeveralOrigins => "There is more than one Origin.\n",
        origin::Refusal::SeveralHosts => "There is more than one Host.\n",
        origin::Refusal::Unreadable => "The Origin is none.\n",
        origin::Refusal::Foreign(_) => {
            "Pages of this Origin may not connect: it is not the Host, and the server does not \
             allow it.\n"
        }
    }
}

fn text(status: StatusCode, body: &'static str) -> Response<&'static str> {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    with(answer, CONTENT_TYPE, "text/plain; charset=utf-8")
}

fn with(
    mut answer: Response<&'static str>,
    name: HeaderName,
    value: &'static str,
) -> Response<&'static str> {
    let value = HeaderValue::from_static(value);
    answer.headers_mut().insert(name, value);
    answer
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::entrance::Admission;
    use crate::metrics::Metrics;

    const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn entrance(most: u32, most_per_address: u32) -> Entrance {
        let admission = Admission::new(most, most_per_address);
        Entrance::new(admission, Vec::new(), Vec::new(), Metrics::default())
    }

    /// A good handshake, but for headers that have other values, or none.
    fn handshake(others: &[(&'static str, &[&'static str])]) -> Request<()> {
        let good: [(_, &[_]); 5] = [
            ("host", &["chat.example"]),
            ("connection", &["Upgrade"]),
            ("upgrade", &["WebSocket"]),
            ("sec-websocket-version", &["13"]),
            // The example of RFC 6455, section 1.3.
            ("sec-websocket-key", &["dGhlIHNhbXBsZSBub25jZQ=="]),
        ];
        let mut request = Request::new(());
        let headers = request.headers_mut();
        for (name, values) in good.iter().chain(others) {
            headers.remove(*name);
            for value in *values {
                headers.append(*name, HeaderValue::from_static(value));
            }
        }
        request
    }

    fn shown(answer: &Response<&'static str>) -> String {
        let header =
            |(name, value): (_, &HeaderValue)| format!("{name}: {}", value.to_str().unwrap());
        let mut headers: Vec<String> = answer.headers().iter().map(header).collect();
        headers.sort();
        let status = answer.status().as_u16();
        format!("{status}, {}\n{}", headers.join(", "), answer.body())
    }

    #[test]
    fn a_handshake_is_answered_with_the_upgrade() {
        let (answer, entered) = entrance(1, 1).upgrade(&handshake(&[]), Some(PEER));
        assert_eq!(
            shown(&answer),
            "101, connection: Upgrade, sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=, \
             upgrade: websocket\n"
        );
        assert!(entered.is_some());
    }

    #[test]
    fn what_is_no_handshake_is_told_what_one_is() {
        let to_upgrade = "426, connection: upgrade, content-type: text/plain; charset=utf-8, \
                          upgrade: websocket\nConnect with a WebSocket client.\n";
        let to_13 = "400, content-type: text/plain; charset=utf-8, sec-websocket-version: 13\n\
                     This is not a WebSocket handshake of version 13.\n";
        for (name, values, expected) in [
            ("upgrade", &[][..], to_upgrade),
            ("upgrade", &["h2c"], to_upgrade),
            ("connection", &[], to_13),
            ("sec-websocket-version", &["8"], to_13),
            ("sec-websocket-key", &[], to_13),
        ] {
            let request = handshake(&[(name, values)]);
            let (answer, entered) = entrance(1, 1).upgrade(&request, Some(PEER));
            assert_eq!(shown(&answer), expected, "{name}");
            assert!(entered.is_none());
        }
    }

    #[test]
    fn a_page_that_may_not_connect_is_told_why() {
        let twice = ["https://chat.example"; 2];
        for (name, values, expected) in [
            ("origin", &twice[..], "There is more than one Origin.\n"),
            (
                "host",
                &["a.example", "b.example"],
                "There is more than one Host.\n",
            ),
            ("origin", &["nonsense"], "The Origin is none.\n"),
            (
                "origin",
                &["https://evil.example"],
                "Pages of this Origin may not connect: it is not the Host, and the server does not \
                 allow it.\n",
            ),
        ] {
            let request = handshake(&[(name, values)]);
            let (answer, entered) = entrance(1, 1).upgrade(&request, Some(PEER));
            let head = "403, content-type: text/plain; charset=utf-8\n";
            assert_eq!(shown(&answer), format!("{head}{expected}"));
            assert!(entered.is_none());
        }
    }

    #[test]
    fn who_finds_no_place_is_told_when_to_come_again() {
        for (most, most_per_address, status, body) in [
            (1, 0, 503, "The server is full.\n"),
            (0, 1, 429, "Your address has too many connections.\n"),
        ] {
            let entrance = entrance(most, most_per_address);
            let _first = entrance.upgrade(&handshake(&[]), Some(PEER));
            let (answer, entered) = entrance.upgrade(&handshake(&[]), Some(PEER));
            let headers = "content-type: text/plain; charset=utf-8, retry-after: 5";
            assert_eq!(shown(&answer), format!("{status}, {headers}\n{body}"));
            assert!(entered.is_none());
        }
    }
}
