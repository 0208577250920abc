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
