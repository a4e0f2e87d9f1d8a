//! TLS of our own: the handshake, and a certificate that is renewed while connections go on.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{self, ServerConfig};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::config::TlsFiles;
use crate::domain::redact;

/// How long a client may take over the handshake.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);
/// The same once the server is to end.
const LAST_HANDSHAKE_PATIENCE: Duration = Duration::from_secs(2);
/// How often the files are read again. Certificates are renewed weeks before they end.
const RENEWAL: Duration = Duration::from_mins(1);
/// More than any chain has: it stops whoever names the wrong file.
const LARGEST_FILE: u64 = 1 << 20;

/// Why a certificate can't be served. Says what to do, and nothing that a file holds.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read.
    #[error("{0}: can't be read")]
    Read(&'static str, #[source] io::Error),
    /// Whoever is on the machine may read the key.
    #[error(
        "TLS_KEY_FILE: everybody on this machine may read it; take that from them (chmod o= FILE, or in Kubernetes defaultMode: 0440 for the volume)"
    )]
    OpenKey,
    /// There is no certificate in the file.
    #[error("TLS_CERT_FILE: must hold certificates as PEM, the service's own first")]
    NoCertificate,
    /// There is no key in the file.
    #[error("TLS_KEY_FILE: must hold a private key as PEM, without a passphrase")]
    NoKey,
    /// They don't fit together, or are of a kind that is not supported.
    #[error("TLS_CERT_FILE, TLS_KEY_FILE: can't be used together")]
    Pair(#[source] rustls::Error),
    /// The library has no such versions, which a test rules out.
    #[error("TLS can't be set up")]
    Setup(#[source] rustls::Error),
}

/// A certificate from files, and connections that are greeted with it.
pub struct Tls {
    files: TlsFiles,
    provider: Arc<CryptoProvider>,
    served: Arc<Served>,
    acceptor: TlsAcceptor,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// They can't be used.
    pub async fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let pair = read_pair(&files, &provider).await?;
        let served = Arc::new(Served(ArcSwap::from_pointee(pair)));
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(TlsError::Setup)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&served) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { files, provider, served, acceptor: TlsAcceptor::from(Arc::new(config)) })
    }

    /// The connection once its handshake is done; `None` if it fails or takes too long. What is
    /// wrong with it is the client's business.
    pub async fn greet<S>(&self, stream: S, draining: &CancellationToken) -> Option<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.greet_within(HANDSHAKE_PATIENCE, stream, draining).await
    }

    async fn greet_within<S>(
        &self,
        patience: Duration,
        stream: S,
        draining: &CancellationToken,
    ) -> Option<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let last = async {
            draining.cancelled().await;
            tokio::time::sleep(LAST_HANDSHAKE_PATIENCE).await;
        };
        let greeted = tokio::select! {
            greeted = timeout(patience, self.acceptor.accept(stream)) => greeted,
            () = last => return None,
        };
        match greeted {
            Ok(Ok(stream)) => Some(stream),
            Ok(Err(error)) => {
                tracing::debug!(%error, "a TLS handshake failed");
                None
            }
            Err(_) => {
                tracing::debug!("a TLS handshake took too long");
                None
            }
        }
    }

    /// Reads the files again and again, and on SIGHUP. Connections that are open go on.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let mut hangups = match signal(SignalKind::hangup()) {
            Ok(hangups) => hangups,
            Err(error) => {
                tracing::error!(%error, "SIGHUP can't be received");
                return;
            }
        };
        let mut tick = interval(RENEWAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => {}
                _ = hangups.recv() => {}
            }
            match self.renew().await {
                Ok(true) => tracing::info!("a new TLS certificate is served from now on"),
                Ok(false) => {}
                Err(error) => {
                    let error = crate::telemetry::logging::chain(&error);
                    tracing::error!(error, "the TLS certificate can't be renewed; it stays");
                }
            }
        }
    }

    /// Whether the files hold another certificate than before, which is served then.
    async fn renew(&self) -> Result<bool, TlsError> {
        let pair = read_pair(&self.files, &self.provider).await?;
        // A key fits one certificate, so that is the same too.
        if pair.cert == self.served.0.load().cert {
            return Ok(false);
        }
        self.served.0.store(Arc::new(pair));
        Ok(true)
    }
}

/// What is served at present.
struct Served(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Served {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

redact!(Served);

async fn read_pair(files: &TlsFiles, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let certificates = read("TLS_CERT_FILE", &files.certificate, |_| Ok(())).await?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&certificates).collect();
    // Errors of the parser quote the line.
    let chain = chain.ok().filter(|chain| !chain.is_empty()).ok_or(TlsError::NoCertificate)?;
    let key = read("TLS_KEY_FILE", &files.key, refuse_open).await?;
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|_| TlsError::NoKey)?;
    CertifiedKey::from_der(chain, key, provider).map_err(TlsError::Pair)
}

/// The text of a file that `check` has nothing against.
async fn read(
    variable: &'static str,
    path: &Path,
    check: fn(&std::fs::Metadata) -> Result<(), TlsError>,
) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    let (failed, path) = (move |error| TlsError::Read(variable, error), path.to_owned());
    // Not by Tokio's `File`, which reads into a buffer of its own and leaves that behind.
    let read = spawn_blocking(move || {
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        check(&metadata)?;
        // One that grows leaves copies of its beginning behind. The byte more is for the end of file.
        let size = usize::try_from(metadata.len().min(LARGEST_FILE)).unwrap_or_default();
        let mut text = Zeroizing::new(Vec::with_capacity(size + 1));
        file.take(LARGEST_FILE).read_to_end(&mut text).map_err(failed)?;
        Ok(text)
    });
    read.await.unwrap_or_else(|error| Err(failed(error.into())))
}

fn refuse_open(key: &std::fs::Metadata) -> Result<(), TlsError> {
    use std::os::unix::fs::PermissionsExt;
    if key.permissions().mode() & 0o004 == 0 { Ok(()) } else { Err(TlsError::OpenKey) }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use tokio::io::duplex;

    use super::*;

    /// Files that hold these texts.
    fn files(certificate: &str, key: &str) -> (tempfile::TempDir, TlsFiles) {
        let folder = tempfile::tempdir().unwrap();
        let files =
            TlsFiles { certificate: folder.path().join("cert"), key: folder.path().join("key") };
        fs::write(&files.certificate, certificate).unwrap();
        fs::write(&files.key, key).unwrap();
        fs::set_permissions(&files.key, Permissions::from_mode(0o640)).unwrap();
        (folder, files)
    }

    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    async fn refusal(files: TlsFiles) -> String {
        Tls::load(files).await.err().unwrap().to_string()
    }

    #[tokio::test]
    async fn files_that_cannot_be_used_are_told_apart() {
        let ((certificate, key), (_, other)) = (pair(), pair());
        for (certificate, key, told) in [
            ("hunter2", &*key, "TLS_CERT_FILE: must hold certificates"),
            ("-----BEGIN hunter2", &key, "TLS_CERT_FILE: must hold certificates"),
            (&certificate, "hunter2", "TLS_KEY_FILE: must hold a private key"),
            (&certificate, &certificate, "TLS_KEY_FILE: must hold a private key"),
            (&certificate, &other, "can't be used together"),
        ] {
            let (_folder, files) = files(certificate, key);
            let refusal = refusal(files).await;
            assert!(refusal.contains(told) && !refusal.contains("hunter2"), "{refusal}");
        }
        let (folder, files) = files(&certificate, &key);
        drop(folder);
        assert_eq!(refusal(files).await, "TLS_CERT_FILE: can't be read");
    }

    #[tokio::test]
    async fn a_key_that_everybody_may_read_is_refused() {
        let (certificate, key) = pair();
        let (_folder, files) = files(&certificate, &key);
        assert!(Tls::load(files.clone()).await.is_ok());
        fs::set_permissions(&files.key, Permissions::from_mode(0o644)).unwrap();
        assert!(refusal(files).await.contains("chmod o="));
    }

    #[tokio::test]
    async fn a_certificate_is_new_or_it_is_not() {
        let ((certificate, key), (newer, newer_key)) = (pair(), pair());
        let (_folder, files) = files(&certificate, &key);
        let tls = Tls::load(files.clone()).await.unwrap();
        assert!(!tls.renew().await.unwrap());
        // Half of a pair is none.
        fs::write(&files.certificate, newer).unwrap();
        assert!(tls.renew().await.is_err());
        fs::write(&files.key, newer_key).unwrap();
        assert!(tls.renew().await.unwrap());
        assert!(!tls.renew().await.unwrap());
    }

    #[tokio::test]
    async fn a_client_that_says_nothing_is_left() {
        let (certificate, key) = pair();
        let (_folder, files) = files(&certificate, &key);
        let tls = Tls::load(files).await.unwrap();
        let (_client, server) = duplex(64);
        let draining = CancellationToken::new();
        assert!(tls.greet_within(Duration::ZERO, server, &draining).await.is_none());
        // Also where it has all the time that there is, once the process is to end.
        let (_client, server) = duplex(64);
        draining.cancel();
        assert!(tls.greet_within(Duration::MAX, server, &draining).await.is_none());
    }
}
