//! The HTTP client for talking to providers: no redirects, no waiting without end, no answers without end.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use http::{Response, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use oauth2::{AsyncHttpClient, HttpRequest, HttpResponse};
use rustls::{ClientConfig, RootCertStore};

use crate::exit::StartError;
use crate::problem::chain;

/// For one request, from the look-up of the name to the last byte.
const PATIENCE: Duration = Duration::from_secs(10);
/// Tokens have some hundred bytes, a few thousand with much in them.
const LONGEST_ANSWER: usize = 64 * 1024;

/// Reaches providers. Cheap to clone.
#[derive(Clone)]
pub(crate) struct HttpClient(Client<HttpsConnector<HttpConnector>, Body>);

/// A provider could not be reached, or not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HttpFailure {
    #[error("the provider cannot be reached")]
    Unreachable,
    #[error("the provider did not answer in time")]
    TooSlow,
    #[error("the provider's answer broke off or is too long")]
    Unreadable,
    #[error("the provider sent us elsewhere")]
    Redirect,
}

impl HttpClient {
    /// `tls` with the certificates that the system trusts; without it, none is trusted.
    ///
    /// # Errors
    /// The system trusts none, or they cannot be read.
    pub(super) fn new(tls: bool) -> Result<Self, StartError> {
        let roots = if tls { system_roots()? } else { RootCertStore::empty() };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.map_err(|error| no_tls(error.to_string()))?;
        let config = config.with_root_certificates(roots).with_no_client_auth();
        let connector = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new())
            // Providers are asked seldom: a connection kept open would have been closed by then. And a code or a refresh token is sent once.
            .pool_max_idle_per_host(0)
            .retry_canceled_requests(false)
            .build(connector);
        Ok(Self(client))
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Security
    /// A redirect is an error: the request holds secrets, which are meant for this address and no other.
    pub(super) async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpFailure> {
        let work = async {
            let answer = self.0.request(request.map(Body::from)).await.map_err(|error| {
                // Of names, connections and certificates; nothing of what was to be sent.
                tracing::warn!(error = %chain(&error), "a provider cannot be reached");
                HttpFailure::Unreachable
            })?;
            if answer.status().is_redirection() && answer.status() != StatusCode::NOT_MODIFIED {
                return Err(HttpFailure::Redirect);
            }
            let (parts, body) = answer.into_parts();
            let bytes = to_bytes(Body::new(body), LONGEST_ANSWER).await.map_err(|_| HttpFailure::Unreadable)?;
            Ok(Response::from_parts(parts, bytes.to_vec()))
        };
        tokio::time::timeout(PATIENCE, work).await.unwrap_or(Err(HttpFailure::TooSlow))
    }
}

fn system_roots() -> Result<RootCertStore, StartError> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    // One that is damaged is no reason to trust none of the others.
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added > 0 {
        return Ok(roots);
    }
    let why = found.errors.first().map_or_else(|| "it trusts nobody".to_owned(), ToString::to_string);
    Err(no_tls(why))
}

fn no_tls(why: String) -> StartError {
    let remedy =
        "Install the system's certificates (the package is often named ca-certificates), or set SSL_CERT_FILE.";
    StartError::environment("the certificates that the system trusts cannot be read", why, remedy)
}

impl<'c> AsyncHttpClient<'c> for HttpClient {
    type Error = HttpFailure;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpFailure>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HttpClient")
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// What comes of a request to a server that does this with a connection.
    async fn outcome(answer: &'static [u8], hang: bool) -> Result<HttpResponse, HttpFailure> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/token", listener.local_addr().unwrap());
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 64];
            stream.read_exact(&mut head).await.unwrap();
            stream.write_all(answer).await.unwrap();
            if hang {
                std::future::pending::<()>().await;
            }
        };
        let client = HttpClient::new(false).unwrap();
        let request = http::Request::post(url).body(b"grant_type=x".to_vec()).unwrap();
        tokio::select! {
            sent = async { client.send(request).await } => sent,
            () = async { server.await; std::future::pending().await } => unreachable!(),
        }
    }

    #[tokio::test]
    async fn an_answer_is_read_whole() {
        let answer = outcome(b"HTTP/1.1 400 Bad\r\nContent-Length: 2\r\n\r\nno", true).await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.body().as_slice()), (400, b"no".as_slice()));
    }

    #[tokio::test]
    async fn what_breaks_off_or_leads_elsewhere_is_an_error() {
        for (answer, failure) in [
            (&b""[..], HttpFailure::Unreachable),
            (b"garbage\r\n\r\n", HttpFailure::Unreachable),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nno", HttpFailure::Unreadable),
            (b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", HttpFailure::Redirect),
            (b"HTTP/1.1 308 Moved\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", HttpFailure::Redirect),
        ] {
            assert_eq!(outcome(answer, false).await.unwrap_err(), failure, "{}", answer.escape_ascii());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_takes_its_time_is_not_waited_for() {
        for answer in [&b""[..], b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nno"] {
            let started = tokio::time::Instant::now();
            assert_eq!(outcome(answer, true).await.unwrap_err(), HttpFailure::TooSlow);
            assert_eq!(started.elapsed().as_secs(), PATIENCE.as_secs());
        }
    }

    #[test]
    fn the_systems_certificates_are_trusted_where_a_provider_needs_them() {
        if !rustls_native_certs::load_native_certs().certs.is_empty() {
            HttpClient::new(true).unwrap();
        }
    }
}
