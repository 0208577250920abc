//! Where to ask how a server is.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use clap::Args;
use hyper::Uri;

use super::listen::{ListenAddress, address, plain_url};

#[derive(Args, Debug)]
pub(crate) struct Health {
    /// URL to ask instead, such as http://127.0.0.1:8080/healthz.
    #[arg(long, value_name = "URL", value_parser = plain_http)]
    url: Option<Uri>,

    #[command(flatten)]
    listen: ListenAddress,

    /// The server's --admin address: ask there, for /readyz.
    #[arg(long, value_name = "ADDR", env = "PARLOR_ADMIN", value_parser = address)]
    admin: Option<SocketAddr>,

    /// The certificate of a server that speaks TLS, which this does not.
    #[arg(
        long,
        hide = true,
        value_name = "FILE",
        env = "PARLOR_TLS_CERT",
        hide_env_values = true
    )]
    tls_cert: Option<PathBuf>,
}

impl Health {
    /// What to ask: the server that the same options and environment would start.
    pub(crate) fn url(&self) -> Result<Uri, String> {
        if let Some(url) = &self.url {
            return Ok(url.clone());
        }
        let (listen, path) = match self.admin {
            Some(admin) => (admin, "/readyz"),
            None if self.tls_cert.is_some() => {
                return Err("the server speaks TLS, and parlor health does not: \
                    give both the same --admin address, such as 127.0.0.1:9090"
                    .into());
            }
            None => (self.listen.socket_addr(), "/healthz"),
        };
        if listen.port() == 0 {
            return Err("the server picks its port itself: say which it is with --url".into());
        }
        let url = Uri::builder().scheme("http").path_and_query(path);
        let url = url.authority(reachable(listen).to_string());
        url.build().map_err(|error| error.to_string())
    }
}

/// Who listens on every address is asked on the loopback.
fn reachable(mut listen: SocketAddr) -> SocketAddr {
    if listen.ip().is_unspecified() {
        listen.set_ip(match listen {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    listen
}

fn plain_http(text: &str) -> Result<Uri, String> {
    let usage = "give a URL without TLS, such as http://127.0.0.1:8080/healthz";
    plain_url(text, "http", usage)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everywhere_is_reached_on_the_loopback() {
        for (listen, expected) in [
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("[::]:80", "[::1]:80"),
            ("192.0.2.1:80", "192.0.2.1:80"),
            ("[2001:db8::1]:80", "[2001:db8::1]:80"),
        ] {
            let listen = listen.parse().expect("it is an address");
            assert_eq!(reachable(listen).to_string(), expected);
        }
    }
}
