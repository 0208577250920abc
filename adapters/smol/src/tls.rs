//! TLS: the certificate and its key, handshakes with them, and connections that talk over it.
//!
//! The hub cannot write to a TLS stream itself, since reading and writing share its state. It writes
//! to a pipe, and the connection's task carries on what comes out.

use std::fmt;
use std::fs;
use std::future::Future;
use std::io;
use std::net::Shutdown;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_lite::io::{ReadHalf, WriteHalf, split};
use futures_lite::{AsyncWriteExt, FutureExt};
use futures_rustls::pki_types::pem::PemObject;
use futures_rustls::pki_types::{CertificateDer, PrivateKeyDer};
use futures_rustls::rustls::crypto::ring;
use futures_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use futures_rustls::rustls::{self, InconsistentKeys, ServerConfig};
use futures_rustls::{TlsAcceptor, server};
use parlor_hub::{LastWord, PipeOutlet, PipeReader, pipe};
use smol::Timer;
use tracing::{debug, error};

use crate::beside::Beside;
use crate::connection::Wire;
use crate::socket::Socket;

/// Bytes that wait for encryption: four full records, or some hundred messages. What is beyond them
/// waits in the hub, which may still cut the connection and decide anew.
const PIPE_BYTES: usize = 64 << 10;

/// A stream behind its handshake.
pub(crate) type TlsStream = server::TlsStream<Socket>;

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
        self.acceptor().accept(socket).or(late).await
    }

    fn acceptor(&self) -> TlsAcceptor {
        let config = self.config.read().unwrap_or_else(PoisonError::into_inner);
        config.clone().into()
    }
}

fn read(cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let bytes = |file: &Path| fs::read(file).map_err(|e| TlsError::Unreadable(file.into(), e));
    // The library's own errors may quote a line of the file.
    let chain = CertificateDer::pem_slice_iter(&bytes(cert)?)
        .collect::<Result<Vec<_>, _>>()
        .unwrap_or_default();
    if chain.is_empty() {
        return Err(TlsError::NoCertificate(cert.into()));
    }
    let private = PrivateKeyDer::from_pem_slice(&bytes(key)?);
    let private = private.map_err(|_| TlsError::NoKey(key.into()))?;

    let provider = Arc::new(ring::default_provider());
    let private = provider.key_provider.load_private_key(private);
    let private = private.map_err(|e| TlsError::UnusableKey(key.into(), e))?;
    let certified = CertifiedKey::new(chain, private);
    certified.keys_match().map_err(|error| {
        let (cert, key) = (cert.into(), key.into());
        if error == InconsistentKeys::KeyMismatch.into() {
            TlsError::Mismatch { cert, key }
        } else {
            TlsError::UnusableCertificate(cert, error)
        }
    })?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has what TLS 1.2 and 1.3 need")
        .with_no_client_auth()
        // Sessions are kept with it, so none outlives its certificate.
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

impl Wire<ReadHalf<TlsStream>, PipeOutlet> {
    /// A connection over TLS. Its peer has `grace` to take its last frames once all of them are in
    /// the pipe.
    pub(crate) fn tls(stream: TlsStream, grace: Duration) -> Self {
        let socket = stream.get_ref().0.clone();
        let (reader, writer) = split(stream);
        let (outlet, frames) = pipe(PIPE_BYTES);
        Self {
            reader,
            outlet,
            pump: Beside::new(pump(frames, writer, socket.clone(), grace)),
            socket,
        }
    }
}

/// Encrypts and sends what comes out of the pipe, and says goodbye behind it. If that fails or takes
/// too long, the connection ends as a whole.
fn pump(
    frames: PipeReader,
    writer: WriteHalf<TlsStream>,
    socket: Socket,
    grace: Duration,
) -> impl Future<Output = ()> {
    let pumping = async move {
        let given_up = async {
            match frames.last_word().await {
                LastWord::Finish => Timer::after(grace).await,
                LastWord::Abort => return Err(io::ErrorKind::ConnectionAborted.into()),
            };
            Err(io::ErrorKind::TimedOut.into())
        };
        // First, since behind an abort there is nothing to carry either.
        given_up.or(carry(&frames, writer)).await
    };
    async move {
        let pumped = AssertUnwindSafe(pumping).catch_unwind().await;
        match pumped {
            Ok(Ok(())) => return,
            Ok(Err(error)) => debug!(%error, "cannot write"),
            Err(_) => error!("the task of this connection panicked"),
        }
        // The reading half learns that it is over. A peer that is gone already needs no word.
        let _ = socket.shutdown(Shutdown::Both);
    }
}

async fn carry(frames: &PipeReader, mut writer: WriteHalf<TlsStream>) -> io::Result<()> {
    while let Some(bytes) = frames.read().await {
        writer.write_all(&bytes).await?;
        writer.flush().await?;
    }
    // close_notify, and the end of the socket's sending half.
    writer.close().await
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
