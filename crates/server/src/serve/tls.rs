//! TLS of the listener: handshakes that are bounded in time and number, and a certificate that is read again while the service runs.

use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use chrono::{DateTime, Utc};
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use session_manager_core::Clock;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::places::Places;
use super::signals::Hangups;
use crate::certificate::{Certificate, Pair};
use crate::exit::StartError;

/// A handshake takes a few round trips.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Handshakes under way. Beyond it, the one that has been so for longest is broken off.
const HANDSHAKES: usize = 128;
/// A handshake is not broken off before, however many others there are.
const PATIENCE: Duration = Duration::from_millis(100);
/// How often the files are looked at.
pub(super) const READ_EVERY: Duration = Duration::from_secs(30);
/// How often it is said that the certificate has expired, or soon will have.
const WARN_EVERY: Duration = Duration::from_hours(24);

/// What greets clients by TLS. Cheap to clone.
#[derive(Clone)]
pub(super) struct Tls {
    acceptor: TlsAcceptor,
    handshakes: Places,
}

impl Tls {
    /// TLS 1.2 and 1.3, with HTTP/2 and HTTP/1.1 over it. Also what keeps the certificate up to date.
    ///
    /// # Errors
    /// The provider of the cryptography does not fit, which no configuration brings about.
    pub(super) fn new(pair: Pair) -> Result<(Self, Presented), StartError> {
        let presented = Presented(Arc::new(RwLock::new(pair)));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let versions = versions.map_err(|error| {
            StartError::environment("TLS cannot be set up", error.to_string(), "This is a fault of the server.")
        })?;
        let mut config = versions.with_no_client_auth().with_cert_resolver(Arc::new(presented.clone()));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Ok((Self { acceptor, handshakes: Places::new(HANDSHAKES, PATIENCE) }, presented))
    }

    /// The handshake with a client.
    ///
    /// # Errors
    /// It is not one of TLS, takes too long, or is broken off in favour of others.
    pub(super) async fn greet<S>(&self, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let greeting = async {
            let place = self.handshakes.take().await;
            tokio::select! {
                done = self.acceptor.accept(stream) => done,
                () = place.is_needed() => Err(io::Error::other("there are too many handshakes")),
            }
        };
        let timely = tokio::time::timeout(HANDSHAKE_TIMEOUT, greeting).await;
        timely.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

/// The certificate that clients are shown. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Presented(Arc<RwLock<Pair>>);

impl Presented {
    /// Reads the files again, now and then and when it is asked for, and shows what is new in them. Runs until it is dropped.
    ///
    /// # Behaviour
    /// A pair that cannot be used changes nothing; why is logged once.
    pub(super) async fn follow(
        self,
        certificate: Certificate,
        host: Option<String>,
        clock: Arc<dyn Clock>,
        mut hangups: Hangups,
    ) {
        let mut told: Option<String> = None;
        let mut warned = clock.now();
        loop {
            let is_asked = tokio::select! {
                () = hangups.next() => true,
                () = clock.sleep(READ_EVERY) => false,
            };
            match certificate.read().await {
                Ok(pair) => {
                    if told.take().is_some() {
                        tracing::info!("the TLS certificate can be read again");
                    }
                    let is_new = self.show(pair);
                    if is_new {
                        tracing::info!("a new TLS certificate is shown from now on");
                    } else if is_asked {
                        tracing::info!("the TLS certificate is the one that is shown already");
                    }
                    if is_new || clock.now() - warned >= chrono_of(WARN_EVERY) {
                        warned = clock.now();
                        self.warn(host.as_deref(), warned);
                    }
                }
                Err(error) => {
                    let error = error.to_string();
                    if is_asked || told.as_ref() != Some(&error) {
                        tracing::error!(%error, "the TLS certificate cannot be read again; the one of before is shown on");
                    }
                    told = Some(error);
                }
            }
        }
    }

    /// Logs what clients will not like about it.
    pub(super) fn warn(&self, host: Option<&str>, now: DateTime<Utc>) {
        let pair = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        for concern in pair.concerns(host, now) {
            tracing::warn!("{concern}");
        }
    }

    /// Returns whether it is another one.
    fn show(&self, pair: Pair) -> bool {
        let mut shown = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let is_new = !shown.is_same(&pair);
        if is_new {
            *shown = pair;
        }
        is_new
    }
}

impl ResolvesServerCert for Presented {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).certified())
    }
}

fn chrono_of(duration: Duration) -> chrono::TimeDelta {
    chrono::TimeDelta::from_std(duration).unwrap_or(chrono::TimeDelta::MAX)
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
