//! Where the server is: for whoever starts it, and for whoever asks it something.

use std::net::{SocketAddr, ToSocketAddrs};

use clap::Args;
use hyper::Uri;

#[derive(Args, Clone, Debug)]
pub(crate) struct ListenAddress {
    /// Address to listen on; port 0 picks a free one. PORT in the environment replaces the port.
    #[arg(long, value_name = "ADDR", env = "PARLOR_LISTEN", default_value = "127.0.0.1:8080", value_parser = address)]
    listen: SocketAddr,

    /// Port that replaces the one of --listen, as hosting platforms set it.
    #[arg(long, hide = true, env = "PORT", hide_env_values = true)]
    port: Option<u16>,
}

impl ListenAddress {
    pub(crate) fn socket_addr(&self) -> SocketAddr {
        let mut listen = self.listen;
        if let Some(port) = self.port {
            listen.set_port(port);
        }
        listen
    }
}

/// A URL with this scheme and a host.
pub(crate) fn plain_url(text: &str, scheme: &str, usage: &str) -> Result<Uri, String> {
    let url = text.parse::<Uri>();
    let url = url.map_err(|error| format!("{error}; {usage}"))?;
    let plain = url.scheme_str() == Some(scheme) && url.host().is_some_and(|host| !host.is_empty());
    plain.then_some(url).ok_or_else(|| usage.into())
}

/// An address with its port, by number or by name.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    let usage = "give an address and a port, such as 127.0.0.1:8080 or [::]:8080";
    let mut found = text
        .to_socket_addrs()
        .map_err(|error| format!("{error}; {usage}"))?;
    found.next().ok_or_else(|| usage.into())
}
