//! TLS, by rustls.

use std::io;
use std::sync::Arc;

use futures_lite::{AsyncRead, AsyncWrite};
use futures_rustls::TlsConnector;
use futures_rustls::client::TlsStream;
use futures_rustls::pki_types::ServerName;
use futures_rustls::rustls::crypto::ring;
use futures_rustls::rustls::{ClientConfig, RootCertStore};
use rustls_native_certs::load_native_certs;

use crate::error::ConnectError;
use crate::options::Options;

/// How to speak TLS with one server.
#[derive(Clone)]
pub(crate) struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Tls {
    /// With whom the system trusts, if the options say nothing else.
    pub(crate) fn new(host: &str, options: &Options) -> Result<Self, ConnectError> {
        let name = ServerName::try_from(host.to_string()).map_err(|_| {
            ConnectError::Url("the host of a wss:// URL has to be a name or an IP address")
        })?;
        let config = match &options.tls {
            Some(config) => config.clone(),
            None => Arc::new(trusting_the_system()?),
        };
        Ok(Self { config, name })
    }

    pub(crate) async fn connect<S>(&self, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let connector = TlsConnector::from(self.config.clone());
        connector.connect(self.name.clone(), stream).await
    }
}

fn trusting_the_system() -> Result<ClientConfig, ConnectError> {
    let mut roots = RootCertStore::empty();
    // Some that cannot be read are no harm; that none can is.
    roots.add_parsable_certificates(load_native_certs().certs);
    if roots.is_empty() {
        return Err(ConnectError::NoCertificates);
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has what TLS 1.2 and 1.3 need")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
