//! From an address to an open WebSocket.

use std::pin::Pin;
use std::sync::Arc;

use async_tungstenite::client_async_with_config;
use futures_lite::{AsyncRead, AsyncWrite};
use parlor_client::Secret;
use tungstenite::Error;
use tungstenite::protocol::WebSocketConfig;

use crate::address::Address;
use crate::error::ConnectError;
use crate::options::{Fetch, Options};
use crate::runtime::Runtime;
use crate::socket::Socket;
use crate::tls::Tls;

/// For frames of a few hundred bytes, a few of which come at once.
const BUFFER_BYTES: usize = 8 << 10;

/// A socket, and the token to say hello with on it; or why there is none.
pub(crate) type Dialled = Result<(Socket, Option<Secret>), String>;

/// A connection, with TLS or without.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Duplex for S {}

/// Whom to call, and how.
pub(crate) struct Dialler {
    address: Address,
    token: Option<Arc<Fetch>>,
    max_frame_bytes: usize,
    tls: Option<Tls>,
}

impl Dialler {
    pub(crate) fn new(url: &str, options: &Options) -> Result<Self, ConnectError> {
        let address = Address::parse(url)?;
        let tls = match address.is_tls {
            true => Some(Tls::new(&address.host, options)?),
            false => None,
        };
        Ok(Self {
            address,
            token: options.token.clone(),
            max_frame_bytes: options.max_frame_bytes,
            tls,
        })
    }

    /// Opens a WebSocket. The token comes first, since the server waits for no hello for long.
    pub(crate) async fn dial(&self, runtime: &impl Runtime) -> Dialled {
        let token = match &self.token {
            Some(fetch) => {
                let fetched = fetch().await;
                Some(fetched.map_err(|error| format!("no token: {error}"))?)
            }
            None => None,
        };
        let Address { host, port, .. } = &self.address;
        let stream = runtime.dial(host, *port).await;
        let stream = stream.map_err(|error| error.to_string())?;
        let stream = self.secure(stream).await?;
        let (uri, config) = (self.address.uri.clone(), self.config());
        match client_async_with_config(uri, stream, Some(config)).await {
            Ok((socket, _)) => Ok((Socket::new(socket), token)),
            Err(error) => Err(refused(&error)),
        }
    }

    async fn secure(&self, stream: impl Duplex + 'static) -> Result<Pin<Box<dyn Duplex>>, String> {
        let Some(tls) = &self.tls else {
            return Ok(Box::pin(stream));
        };
        match tls.connect(stream).await {
            Ok(stream) => Ok(Box::pin(stream)),
            Err(error) => Err(error.to_string()),
        }
    }

    fn config(&self) -> WebSocketConfig {
        WebSocketConfig::default()
            .read_buffer_size(BUFFER_BYTES)
            .write_buffer_size(BUFFER_BYTES)
            .max_message_size(Some(self.max_frame_bytes))
            .max_frame_size(Some(self.max_frame_bytes))
    }
}

/// Why a server speaks no WebSocket with us, for people.
fn refused(error: &Error) -> String {
    if let Error::Http(response) = error {
        let status = response.status();
        return format!("the server answered {status}; look whether the path is right (it is /ws)");
    }
    error.to_string()
}
