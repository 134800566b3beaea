//! Connections: taken until the service ends, each served by a task of its own.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::response::Response;
use futures_util::FutureExt as _;
use http::{HeaderValue, Version, header};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tower::{Service, ServiceExt as _};

use super::activity::{Activity, Awaited, Watched};
use super::places::Places;
use super::progress::Progress;
use super::tls::Tls;

/// A client that has not sent the head of a request within this time, the first or another one, is hung up on. Each connection holds one of
/// the process's descriptors, so that a few silent clients could keep out everybody else.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// A client that takes nothing of an answer for this long is hung up on.
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// A connection without a request for less than this, or without the rest of one, makes no room for others: its request may be on the way. Once somebody has waited for so
/// long, each connection that gives an answer ends with it, since one that is asked again and again is never without a request for long.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often a connection of HTTP/2, which has no such limits of its own, is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Without descriptors no connection can be taken; one is free again as soon as another ends.
const PAUSE: Duration = Duration::from_secs(1);
/// A client of HTTP/2 is told that its connection ends, and has so long for leaving by itself. One of HTTP/1.1 is told with its last answer.
const FAREWELL: Duration = Duration::from_secs(1);
/// So many that make room are waited for at once, beside those that there may be: nobody waits for a place because of them.
const FAREWELLS: usize = 16;
/// Requests at once on one connection of HTTP/2.
const STREAMS: u32 = 100;
/// What a client may send of a request's body before it is read. No body is longer.
const WINDOW: u32 = 64 * 1024;

/// The connections that are open. They go on while nobody ends them.
#[derive(Debug)]
pub(super) struct Open(watch::Sender<bool>);

impl Open {
    /// Lets the requests under way end, and waits for it.
    pub(super) async fn shutdown(self) {
        self.0.send_replace(true);
        self.0.closed().await;
    }
}

/// Serves so many connections until `end`, and then takes no more. Those that are still open are in what is returned.
///
/// # Behaviour
/// One more than `most` is taken, and waits until the idlest one has made room; the others wait in the queue of the operating system. Of
/// those that made room, [`FAREWELLS`] may be open a moment longer.
pub(super) async fn serve<S>(
    listener: TcpListener,
    tls: Option<Tls>,
    most: usize,
    service: S,
    end: impl Future<Output = ()>,
) -> Open
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let open = Open(watch::Sender::new(false));
    let places = Places::new(most, PATIENCE);
    let farewells = Arc::new(Semaphore::new(FAREWELLS));
    let mut end = pin!(end);
    loop {
        let (stream, peer, place) = tokio::select! {
            taken = async { let (stream, peer) = accept(&listener).await; (stream, peer, places.take().await) } => taken,
            () = &mut end => return open,
        };
        let connection = Connection {
            service: service.clone(),
            peer,
            activity: Activity::new(place),
            ending: open.0.subscribe(),
            waits: Arc::default(),
            farewells: Arc::clone(&farewells),
        };
        tokio::spawn(connection.run(stream, tls.clone()));
    }
}

/// One that is open.
struct Connection<S> {
    service: S,
    peer: SocketAddr,
    activity: Activity,
    ending: watch::Receiver<bool>,
    /// Whether a write waits for the client.
    waits: Arc<AtomicBool>,
    farewells: Arc<Semaphore>,
}

impl<S> Connection<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    async fn run(mut self, stream: TcpStream, tls: Option<Tls>) {
        // An answer is written in one piece, which need not wait for another. Without it, it only comes a little later.
        let _ = stream.set_nodelay(true);
        let stream = Progress::new(stream, WRITE_TIMEOUT);
        self.waits = stream.waits();
        let Some(tls) = tls else { return self.http1(stream).await };
        let greeted = tokio::select! {
            greeted = tls.greet(stream) => greeted,
            () = self.activity.is_needed() => return,
            _ = self.ending.wait_for(|ending| *ending) => return,
        };
        match greeted {
            Ok(stream) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => self.http2(stream).await,
            Ok(stream) => self.http1(stream).await,
            Err(error) => tracing::debug!(%error, "a TLS handshake failed"),
        }
    }

    async fn http1(mut self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
        let (inner, peer, activity) = (self.service, self.peer, self.activity.clone());
        let service = service_fn(move |request| answer(&inner, peer, &activity, request));
        let connection = http.serve_connection(TokioIo::new(stream), service);
        last(connection, &self.activity, &self.waits, &mut self.ending, std::future::pending(), None).await;
    }

    async fn http2(mut self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let mut http = http2::Builder::new(TokioExecutor::new());
        http.timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(4 * WINDOW);
        let (inner, peer, activity) = (self.service, self.peer, self.activity.clone());
        let service = service_fn(move |request| answer(&inner, peer, &activity, request));
        let connection = http.serve_connection(TokioIo::new(stream), service);
        let over = async {
            while !self.activity.is_over(HEAD_TIMEOUT) {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        last(connection, &self.activity, &self.waits, &mut self.ending, over, Some(&self.farewells)).await;
    }
}

/// Sees a connection to its end: its own, the service's, or that of the patience with its client.
async fn last<C>(
    connection: C,
    activity: &Activity,
    waits: &AtomicBool,
    ending: &mut watch::Receiver<bool>,
    over: impl Future<Output = ()>,
    farewells: Option<&Semaphore>,
) where
    C: GracefulConnection,
    C::Error: std::fmt::Display,
{
    let (mut connection, mut over) = (pin!(connection), pin!(over));
    let mut is_last_request = false;
    // Nothing is cut off: what was answered has been written.
    let is_idle = || activity.is_idle(PATIENCE) && !waits.load(Ordering::Relaxed);
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection ended early");
                }
                return;
            }
            () = async { let _ = ending.wait_for(|ending| *ending).await; }, if !is_last_request => {}
            () = activity.is_needed() => {
                if is_idle() {
                    let Some(farewells) = farewells else { return };
                    connection.as_mut().graceful_shutdown();
                    let Ok(_permit) = farewells.try_acquire() else {
                        // It is told, and not waited for.
                        let _ = connection.as_mut().now_or_never();
                        return;
                    };
                    activity.free();
                    return farewell(connection, is_idle, over).await;
                }
                activity.stay();
            }
            () = &mut over => {
                tracing::debug!("a client neither asked nor took an answer, and was hung up on");
                connection.as_mut().graceful_shutdown();
                return farewell(connection, || true, pin!(std::future::pending())).await;
            }
        }
        connection.as_mut().graceful_shutdown();
        is_last_request = true;
    }
}

/// Gives a client a moment to hear that the connection ends. What it asked before it heard of it is answered.
async fn farewell<C: GracefulConnection>(
    mut connection: Pin<&mut C>,
    is_idle: impl Fn() -> bool,
    mut over: Pin<&mut impl Future<Output = ()>>,
) {
    loop {
        tokio::select! {
            _ = connection.as_mut() => return,
            () = over.as_mut() => return,
            () = tokio::time::sleep(FAREWELL) => if is_idle() { return },
        }
    }
}

/// Answers a request, and knows until when the client has the answer.
fn answer<S>(
    service: &S,
    peer: SocketAddr,
    activity: &Activity,
    request: http::Request<Incoming>,
) -> impl Future<Output = Result<http::Response<Watched>, Infallible>> + Send + use<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let (work, version, activity) = (activity.begin(), request.version(), activity.clone());
    let request = request.map(|body| Body::new(Awaited::new(body, activity.clone())));
    let answered = service.clone().oneshot(of_peer(request, peer));
    async move {
        let mut answer = answered.await?;
        // Others wait, and whoever asks again and again is never idle for long.
        if activity.is_overdue() {
            if version == Version::HTTP_2 {
                activity.ask();
            } else {
                answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
        }
        Ok(answer.map(|body| Watched::new(body, work)))
    }
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            // The client went away while it waited.
            Err(error) if is_of_the_client(&error) => {}
            Err(error) => {
                tracing::error!(%error, "no connection can be taken");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn is_of_the_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionRefused | ConnectionAborted | ConnectionReset)
}

/// The request as axum takes it, with the peer where its extractors look for it.
fn of_peer(mut request: Request, peer: SocketAddr) -> Request {
    request.extensions_mut().insert(ConnectInfo(peer));
    request
}

#[cfg(test)]
#[path = "connections_tests.rs"]
mod tests;
