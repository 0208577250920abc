//! Certificates made for a test, and clients that trust them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_rustls::pki_types::CertificateDer;
use futures_rustls::rustls::crypto::ring;
use futures_rustls::rustls::{
    ClientConfig, DEFAULT_VERSIONS, RootCertStore, SupportedProtocolVersion,
};
use rcgen::{CertifiedKey, generate_simple_self_signed};

/// The name that certificates are for.
pub const NAME: &str = "localhost";

/// A certificate that signs itself, and its key.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The certificate as PEM.
    pub cert: String,
    /// Its key as PEM (PKCS #8, P-256).
    pub key: String,
    der: CertificateDer<'static>,
}

impl Default for Certificate {
    /// A new one, like no other.
    fn default() -> Self {
        let made = generate_simple_self_signed([NAME.to_string()]);
        let CertifiedKey { cert, signing_key } = made.expect("it is a good name");
        Self {
            cert: cert.pem(),
            key: signing_key.serialize_pem(),
            der: cert.der().clone(),
        }
    }
}

impl Certificate {
    /// Writes certificate and key to `dir`, over those that are there; their files.
    ///
    /// # Panics
    /// When there is no room.
    #[must_use]
    pub fn write(&self, dir: &Path) -> [PathBuf; 2] {
        [("cert.pem", &self.cert), ("key.pem", &self.key)].map(|(name, pem)| {
            let file = dir.join(name);
            std::fs::write(&file, pem).expect("there is room");
            file
        })
    }

    /// What clients need that trust this certificate alone.
    #[must_use]
    pub fn trust(&self) -> Arc<ClientConfig> {
        self.trust_in(DEFAULT_VERSIONS)
    }

    /// The same for clients that speak these versions of TLS only.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn trust_in(&self, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).expect("it is a certificate");
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .expect("there is a version")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config)
    }
}
