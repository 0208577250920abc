//! A request that wants to become a WebSocket, as axum hands it to a handler.

use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts};
use http::Request;
use http::request::Parts;
use hyper::upgrade::OnUpgrade;

/// An extractor for the request of a WebSocket; [`Chat::serve`](crate::Chat::serve) answers it. It
/// is for a route of `get`: browsers ask with nothing else.
///
/// It knows where the client is if the application is served
/// [with connect info](axum::Router::into_make_service_with_connect_info); else the connection
/// counts for [`Limits::connections`](parlor_core::Limits::connections) only, not for its address.
///
/// Of a plain TCP socket, as [`axum::serve()`] has it, the system then keeps as many bytes as the
/// limits say. Over any other stream, such as TLS, that is for the application to set.
pub struct Upgrade {
    pub(crate) request: Request<()>,
    pub(crate) peer: Option<IpAddr>,
    pub(crate) on_upgrade: Option<OnUpgrade>,
}

impl<S: Send + Sync> FromRequestParts<S> for Upgrade {
    /// Whatever is wrong with it is said by the answer.
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let mut request = Request::new(());
        *request.method_mut() = parts.method.clone();
        *request.version_mut() = parts.version;
        *request.headers_mut() = parts.headers.clone();
        let connect_info = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        Ok(Self {
            request,
            peer: connect_info.map(|ConnectInfo(address)| address.ip()),
            on_upgrade: parts.extensions.remove(),
        })
    }
}

impl fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Headers may hold secrets.
        f.debug_struct("Upgrade")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}
