//! TLS: the certificate and its key, handshakes with them, and connections that talk over it.

use std::fmt;
use std::fs;
use std::io;
use std::net::Shutdown;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_lite::FutureExt;
use futures_lite::io::{ReadHalf, split};
use futures_rustls::pki_types::pem::PemObject;
use futures_rustls::pki_types::{CertificateDer, PrivateKeyDer};
use futures_rustls::rustls::crypto::{CryptoProvider, ring};
use futures_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use futures_rustls::rustls::{self, InconsistentKeys, ServerConfig};
use futures_rustls::{TlsAcceptor, server};
use parlor_hub::PipeOutlet;
use parlor_hub::connection::Wire;
use smol::Timer;

use crate::socket::Socket;
use crate::timer::SmolTimer;

/// A stream behind its handshake. Boxed, or the task would have space for it in each of its stages.
pub(crate) type TlsStream = Box<server::TlsStream<Socket>>;

/// A certificate and its key, from files that may be read again.
pub struct Tls {
    cert: PathBuf,
    key: PathBuf,
    config: RwLock<Arc<ServerConfig>>,
}

/// Why there can be no TLS with these files.
#[derive(Debug)]
pub enum TlsError {
    /// The file cannot be read.
    Unreadable(PathBuf, io::Error),
    /// There is no certificate in the file.
    NoCertificate(PathBuf),
    /// There is no private key in the file.
    NoKey(PathBuf),
    /// The certificate is of no use.
    UnusableCertificate(PathBuf, rustls::Error),
    /// The private key is of no use.
    UnusableKey(PathBuf, rustls::Error),
    /// The private key belongs to another certificate.
    Mismatch {
        /// The file of the certificate.
        cert: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
}

impl Tls {
    /// With the chain of certificates in `cert`, the server's own first, and its private key in
    /// `key`, both PEM.
    ///
    /// # Errors
    /// When they cannot be used.
    pub fn load(cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Result<Self, TlsError> {
        let (cert, key) = (cert.into(), key.into());
        let config = RwLock::new(read(&cert, &key)?);
        Ok(Self { cert, key, config })
    }

    /// Reads both files again, which blocks the thread. Handshakes that begin from then on see the
    /// new certificate; connections that stand are left alone.
    ///
    /// # Errors
    /// When they cannot be used; what was there before stays.
    pub fn reload(&self) -> Result<(), TlsError> {
        let fresh = read(&self.cert, &self.key)?;
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    /// The server's part of a handshake, which may take as long as `timeout`.
    pub(crate) async fn accept(&self, socket: Socket, timeout: Duration) -> io::Result<TlsStream> {
        let late = async {
            Timer::after(timeout).await;
            Err(io::ErrorKind::TimedOut.into())
        };
        self.acceptor().accept(socket).or(late).await.map(Box::new)
    }

    fn acceptor(&self) -> TlsAcceptor {
        let config = self.config.read().unwrap_or_else(PoisonError::into_inner);
        config.clone().into()
    }
}

fn read(cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let certified = certified_key(cert, key, &provider)?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has what TLS 1.2 and 1.3 need")
        .with_no_client_auth()
        // Sessions are kept with it, so none outlives its certificate.
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The library's errors about PEM are not passed on: they may quote a line of the file.
fn certified_key(
    cert: &Path,
    key: &Path,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let bytes = |file: &Path| fs::read(file).map_err(|e| TlsError::Unreadable(file.into(), e));
    let chain = CertificateDer::pem_slice_iter(&bytes(cert)?)
        .collect::<Result<Vec<_>, _>>()
        .unwrap_or_default();
    if chain.is_empty() {
        return Err(TlsError::NoCertificate(cert.into()));
    }
    let private = PrivateKeyDer::from_pem_slice(&bytes(key)?);
    let private = private.map_err(|_| TlsError::NoKey(key.into()))?;
    let private = provider.key_provider.load_private_key(private);
    let private = private.map_err(|e| TlsError::UnusableKey(key.into(), e))?;
    let certified = CertifiedKey::new(chain, private);
    match certified.keys_match() {
        Ok(()) => Ok(certified),
        Err(error) if error == InconsistentKeys::KeyMismatch.into() => Err(TlsError::Mismatch {
            cert: cert.into(),
            key: key.into(),
        }),
        Err(error) => Err(TlsError::UnusableCertificate(cert.into(), error)),
    }
}

/// A connection over TLS. Its peer has `grace` to take its last frames.
pub(crate) fn wire(
    stream: TlsStream,
    grace: Duration,
) -> Wire<ReadHalf<TlsStream>, PipeOutlet, Socket> {
    let socket = stream.get_ref().0.clone();
    let (reader, writer) = split(stream);
    let rest = socket.clone();
    let abort = move || {
        // A peer that is gone already needs no word.
        let _ = socket.shutdown(Shutdown::Both);
    };
    Wire::piped::<SmolTimer>(reader, writer, rest, abort, grace)
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(file, error) => write!(f, "cannot read {}: {error}", file.display()),
            Self::NoCertificate(file) => write!(
                f,
                "{}: there is no readable certificate in it; give the chain as PEM, the server's own first",
                file.display()
            ),
            Self::NoKey(file) => write!(
                f,
                "{}: there is no readable private key in it; give it as PEM without a passphrase",
                file.display()
            ),
            Self::UnusableCertificate(file, error) => write!(
                f,
                "{}: the first certificate in it cannot be used: {error}",
                file.display()
            ),
            Self::UnusableKey(file, _) => write!(
                f,
                "{}: the private key in it cannot be used; give RSA of 2048 bits or more, P-256, \
                 P-384 or Ed25519",
                file.display()
            ),
            Self::Mismatch { cert, key } => write!(
                f,
                "{}: the private key in it is not that of the first certificate in {}",
                key.display(),
                cert.display()
            ),
        }
    }
}

impl std::error::Error for TlsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable(_, error) => Some(error),
            Self::UnusableCertificate(_, error) | Self::UnusableKey(_, error) => Some(error),
            Self::NoCertificate(_) | Self::NoKey(_) | Self::Mismatch { .. } => None,
        }
    }
}

/// The files, never what is in them.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tls({}, {})", self.cert.display(), self.key.display())
    }
}

#[cfg(test)]
mod tests {

    use rcgen::{CertificateParams, KeyPair};
    use tempfile::TempDir;

    use super::*;

    const RSA: &str = include_str!("../../token/tests/keys/rsa-private.pem");
    const RSA_PKCS1: &str = include_str!("../../token/tests/keys/rsa-private-pkcs1.pem");
    const EC: &str = include_str!("../../token/tests/keys/ec-private.pem");
    const EC_SEC1: &str = include_str!("../../token/tests/keys/ec-private-sec1.pem");
    const ED: &str = include_str!("../../token/tests/keys/ed-private.pem");

    /// A certificate for a key.
    fn certificate(key: &str) -> String {
        let key = KeyPair::from_pem(key).unwrap();
        let params = CertificateParams::new([String::from("localhost")]).unwrap();
        params.self_signed(&key).unwrap().pem()
    }

    /// Files with these texts, in a directory of their own.
    struct Files {
        dir: TempDir,
    }

    impl Files {
        fn new(cert: &str, key: &str) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let files = Self { dir };
            files.write(cert, key);
            files
        }

        fn write(&self, cert: &str, key: &str) {
            fs::write(self.cert(), cert).unwrap();
            fs::write(self.key(), key).unwrap();
        }

        fn cert(&self) -> PathBuf {
            self.dir.path().join("cert.pem")
        }

        fn key(&self) -> PathBuf {
            self.dir.path().join("key.pem")
        }

        fn load(&self) -> Result<Tls, TlsError> {
            Tls::load(self.cert(), self.key())
        }
    }

    #[test]
    fn keys_may_have_every_usual_form() {
        for (key, form) in [
            (RSA, RSA),
            (RSA, RSA_PKCS1),
            (EC, EC),
            (EC, EC_SEC1),
            (ED, ED),
        ] {
            let loaded = Files::new(&certificate(key), form).load();
            assert!(
                loaded.is_ok(),
                "{loaded:?}: {}",
                form.lines().next().unwrap()
            );
        }
    }

    #[test]
    fn a_chain_is_kept_whole_and_begins_with_the_servers_own() {
        let chain = [certificate(EC), certificate(ED), certificate(RSA)];
        let files = Files::new(&chain.concat(), EC);
        let provider = ring::default_provider();
        let certified = certified_key(&files.cert(), &files.key(), &provider).unwrap();
        let expected = chain.map(|pem| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap());
        assert_eq!(certified.cert, expected);
    }

    #[test]
    fn what_is_of_no_use_is_said_with_its_file() {
        let (cert, other) = (certificate(EC), certificate(ED));
        let locked = EC.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
        let torn = EC.replace("-----END", "-----");
        let junk = |what: &str| format!("-----BEGIN {what}-----\nc2VjcmV0\n-----END {what}-----\n");
        let both_ways = format!("{other}{cert}");
        for (cert, key, says) in [
            ("", EC, "cert.pem: there is no readable certificate"),
            (
                "\u{1}\u{2}",
                EC,
                "cert.pem: there is no readable certificate",
            ),
            (EC, EC, "cert.pem: there is no readable certificate"),
            (
                &cert[..cert.len() / 2],
                EC,
                "cert.pem: there is no readable certificate",
            ),
            (&junk("CERTIFICATE"), EC, "cert.pem: the first certificate"),
            (&cert, "", "key.pem: there is no readable private key"),
            (&cert, &cert, "key.pem: there is no readable private key"),
            (&cert, &locked, "key.pem: there is no readable private key"),
            (&cert, &torn, "key.pem: there is no readable private key"),
            (
                &cert,
                &junk("PRIVATE KEY"),
                "key.pem: the private key in it cannot be used",
            ),
            (
                &other,
                EC,
                "key.pem: the private key in it is not that of the first certificate",
            ),
            (&both_ways, EC, "key.pem: the private key in it is not that"),
        ] {
            let refused = Files::new(cert, key).load().unwrap_err();
            let said = refused.to_string();
            assert!(said.contains(says), "{says:?} is not in {said}");
            let secrets = EC.lines().filter(|line| !line.starts_with("-----"));
            for secret in secrets.chain(["c2VjcmV0"]) {
                assert!(!said.contains(secret) && !format!("{refused:?}").contains(secret));
            }
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let files = Files::new(&certificate(EC), EC);
        fs::remove_file(files.key()).unwrap();
        let said = files.load().unwrap_err().to_string();
        assert!(
            said.starts_with("cannot read") && said.contains("key.pem"),
            "{said}"
        );
        fs::remove_file(files.cert()).unwrap();
        let said = files.load().unwrap_err().to_string();
        assert!(
            said.starts_with("cannot read") && said.contains("cert.pem"),
            "{said}"
        );
    }

    #[test]
    fn what_cannot_be_used_replaces_nothing() {
        let files = Files::new(&certificate(EC), EC);
        let tls = files.load().unwrap();
        let config = || tls.config.read().unwrap().clone();
        let first = config();
        // The certificate is there already, its key is not yet.
        files.write(&certificate(ED), EC);
        assert!(tls.reload().is_err());
        assert!(Arc::ptr_eq(&config(), &first));
        files.write(&certificate(ED), ED);
        tls.reload().unwrap();
        assert!(!Arc::ptr_eq(&config(), &first));
    }

    #[test]
    fn only_the_files_are_printed() {
        let files = Files::new(&certificate(EC), EC);
        let printed = format!("{:?}", files.load().unwrap());
        let expected = format!("Tls({}, {})", files.cert().display(), files.key().display());
        assert_eq!(printed, expected);
    }
}
