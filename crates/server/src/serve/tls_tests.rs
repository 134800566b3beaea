//! TLS over real sockets: both versions of HTTP, clients that are silent or speak something else, and certificates that are replaced.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::response::IntoResponse as _;
use axum::routing::get;
use futures_util::{StreamExt as _, stream};
use http::Version;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use session_manager_core::SystemClock;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio_rustls::{TlsConnector, client};

use super::super::connections::{self, HEAD_TIMEOUT};
use super::*;

struct Server {
    address: SocketAddr,
    folder: tempfile::TempDir,
    /// The certificate that it began with.
    chain: String,
    presented: Presented,
    end: oneshot::Sender<()>,
    /// Until all connections have ended.
    served: JoinHandle<()>,
}

/// Writes a new certificate for `localhost`, which is returned.
fn renew(folder: &Path) -> String {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let chain = params.self_signed(&key).unwrap().pem();
    std::fs::write(folder.join("chain.pem"), &chain).unwrap();
    write_key(folder, &key.serialize_pem());
    chain
}

fn write_key(folder: &Path, text: &str) {
    let _ = std::fs::remove_file(folder.join("key.pem"));
    crate::files::write_new(folder, "key.pem", text.as_bytes()).unwrap();
}

fn files(folder: &Path) -> Certificate {
    Certificate { chain: folder.join("chain.pem"), key: folder.join("key.pem") }
}

async fn start(routes: Router, most: usize) -> Server {
    let folder = tempfile::tempdir().unwrap();
    let chain = renew(folder.path());
    let (tls, presented) = Tls::new(files(folder.path()).read().await.unwrap()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (end, ended) = oneshot::channel::<()>();
    let served = tokio::spawn(async move {
        let ended = async { drop(ended.await) };
        connections::serve(listener, Some(tls), most, routes, ended).await.shutdown().await;
    });
    Server { address, folder, chain, presented, end, served }
}

fn routes() -> Router {
    let version = |request: Request| async move {
        let cookies = request.headers().get_all("cookie").iter().count();
        format!("{:?} {} {cookies}", request.version(), request.uri().path())
    };
    Router::new().route("/version", get(version))
}

/// A client that trusts this certificate, and offers these protocols.
async fn connect(address: SocketAddr, chain: &str, protocols: &[&[u8]]) -> io::Result<client::TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(chain.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await
}

impl Server {
    async fn connect(&self, protocols: &[&[u8]]) -> client::TlsStream<TcpStream> {
        connect(self.address, &self.chain, protocols).await.unwrap()
    }

    async fn http2(&self) -> (hyper::client::conn::http2::SendRequest<Body>, JoinHandle<hyper::Result<()>>) {
        let stream = self.connect(&[b"h2"]).await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (client, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        (client, tokio::spawn(connection))
    }

    async fn accepts(&self, chain: &str) -> bool {
        connect(self.address, chain, &[]).await.is_ok()
    }

    fn follow(&self) -> JoinHandle<()> {
        let hangups = Hangups::listen().unwrap();
        tokio::spawn(self.presented.clone().follow(files(self.folder.path()), None, Arc::new(SystemClock), hangups))
    }
}

/// What is to happen has happened by then, however busy the machine is.
const BOUND: Duration = Duration::from_secs(10);

/// Lets so much time pass at once for whoever waits. What the operating system has to bring comes when the clock goes on as usual.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::sleep(time).await;
    tokio::time::resume();
}

fn request(path: &str) -> http::Request<Body> {
    http::Request::get(format!("https://localhost{path}")).body(Body::empty()).unwrap()
}

async fn http1(stream: &mut client::TlsStream<TcpStream>) -> String {
    stream.write_all(b"GET /version HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test]
async fn both_versions_of_http_are_spoken_as_the_client_chooses() {
    let server = start(routes(), 16).await;
    for (protocols, version) in
        [(&[][..], "HTTP/1.1"), (&[&b"http/1.1"[..]], "HTTP/1.1"), (&[b"http/1.1", b"h2"], "h2")]
    {
        let mut stream = server.connect(protocols).await;
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(&b"h2"[..]);
        assert_eq!(is_http2, version == "h2", "{protocols:?}");
        if !is_http2 {
            assert!(http1(&mut stream).await.ends_with("HTTP/1.1 /version 0"));
        }
    }
    let (mut client, _connection) = server.http2().await;
    let answer = client.send_request(request("/version")).await.unwrap();
    assert_eq!((answer.version(), answer.status().as_u16()), (Version::HTTP_2, 200));
    let text = to_bytes(Body::new(answer.into_body()), 99).await.unwrap();
    assert_eq!(text, "HTTP/2.0 /version 0");
}

#[tokio::test]
async fn whoever_speaks_no_tls_is_hung_up_on_and_disturbs_nobody() {
    let server = start(routes(), 16).await;
    for sent in ["GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\u{16}\u{3}\u{1}\u{7f}\u{7f}garbage", "SSH-2.0-x\r\n"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut rest = Vec::new();
        // Closed or reset, and no more than an alert before that.
        let _ = stream.read_to_end(&mut rest).await;
        assert!(rest.len() < 16 && !rest.starts_with(b"HTTP"), "{rest:?}");
    }
    assert!(http1(&mut server.connect(&[]).await).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_silent_client_is_hung_up_on_in_time() {
    let server = start(routes(), 16).await;
    for sent in [&b""[..], b"\x16\x03\x01\x02\x00"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(sent).await.unwrap();
        // Its handshake has begun, and from here on time passes when nobody has anything to do.
        tokio::time::sleep(Duration::from_millis(20)).await;
        tokio::time::pause();
        let begun = tokio::time::Instant::now();
        let _ = stream.read_to_end(&mut Vec::new()).await;
        let seconds = begun.elapsed().as_secs();
        assert!(
            (HANDSHAKE_TIMEOUT.as_secs() - 1..=HANDSHAKE_TIMEOUT.as_secs()).contains(&seconds),
            "after {seconds} s"
        );
        tokio::time::resume();
    }
}

#[tokio::test]
async fn silent_handshakes_make_room_for_others() {
    let server = start(routes(), 4 * HANDSHAKES).await;
    let mut silent = Vec::new();
    for _ in 0..2 * HANDSHAKES {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    let begun = std::time::Instant::now();
    assert!(http1(&mut server.connect(&[]).await).await.starts_with("HTTP/1.1 200"));
    assert!(begun.elapsed() < HANDSHAKE_TIMEOUT / 2);
    // The first ones were given up, the last ones are still waited for.
    assert_eq!(silent[0].read(&mut [0]).await.unwrap_or(0), 0);
    let last = silent.last_mut().unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(50), last.read(&mut [0])).await.is_err());
}

#[tokio::test]
async fn a_connection_of_http2_without_requests_is_ended() {
    let server = start(routes(), 16).await;
    let (mut client, connection) = server.http2().await;
    client.send_request(request("/version")).await.unwrap();
    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    let _ = connection.await.unwrap();
    let (seconds, limit) = (begun.elapsed().as_secs(), HEAD_TIMEOUT.as_secs());
    assert!((limit - 1..=limit + 6).contains(&seconds), "after {seconds} s");
}

#[tokio::test]
async fn a_client_of_http2_that_takes_nothing_is_hung_up_on_and_one_that_waits_is_not() {
    let whole = || async { vec![b'x'; 1024 * 1024].into_response() };
    let events = || async {
        let lines = stream::iter([Ok::<_, axum::Error>(Bytes::from("first\n"))]).chain(stream::pending());
        Body::from_stream(lines).into_response()
    };
    let server = start(Router::new().route("/whole", get(whole)).route("/events", get(events)), 16).await;
    for (path, is_hung_up_on) in [("/whole", true), ("/events", false)] {
        let (mut client, connection) = server.http2().await;
        let answer = client.send_request(request(path)).await.unwrap();
        // What fits into the window has come; the client takes none of it out.
        tokio::time::sleep(Duration::from_millis(200)).await;
        pass(Duration::from_mins(5)).await;
        let bound = if is_hung_up_on { BOUND } else { Duration::from_millis(100) };
        assert_eq!(tokio::time::timeout(bound, connection).await.is_ok(), is_hung_up_on, "{path}");
        drop(answer);
    }
}

const DATA: u8 = 0;
const GOAWAY: u8 = 7;

/// A client of HTTP/2 that sends what it is told to, and nothing by itself.
async fn frames(server: &Server, sent: &[u8]) -> client::TlsStream<TcpStream> {
    let mut stream = server.connect(&[b"h2"]).await;
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    stream.write_all(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &settings[..], sent].concat()).await.unwrap();
    stream
}

/// The kind of the next frame, and what is in it. Nothing at the end.
async fn frame(stream: &mut client::TlsStream<TcpStream>) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.ok()?;
    let [a, b, c, kind, ..] = head;
    let mut payload = vec![0; usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap()];
    stream.read_exact(&mut payload).await.ok()?;
    Some((kind, payload))
}

/// Whether the client is told, without a fault, that the connection ends; and then it does.
async fn is_told_of_the_end(stream: &mut client::TlsStream<TcpStream>) -> bool {
    let mut is_told = false;
    while let Some((kind, payload)) = frame(stream).await {
        is_told |= kind == GOAWAY && payload.get(4..8) == Some(&[0; 4]);
    }
    is_told
}

#[tokio::test]
async fn a_connection_of_http2_that_makes_room_is_told_so_first() {
    let server = start(routes(), 1).await;
    let mut idle = frames(&server, &[]).await;
    let mut next = server.connect(&[]).await;
    assert!(http1(&mut next).await.starts_with("HTTP/1.1 200"));
    assert!(tokio::time::timeout(BOUND, is_told_of_the_end(&mut idle)).await.unwrap());
}

#[tokio::test]
async fn a_client_of_http2_that_takes_nothing_is_told_that_it_is_hung_up_on() {
    let whole = || async { vec![b'x'; 1024 * 1024].into_response() };
    let server = start(Router::new().route("/whole", get(whole)), 16).await;
    // GET, https, and path and host as they stand there.
    let request =
        [&[0, 0, 21, 1, 5, 0, 0, 0, 1, 0x82, 0x87, 0x04, 6][..], b"/whole", &[0x01, 9], b"localhost"].concat();
    let mut slow = frames(&server, &request).await;
    let mut taken = 0;
    // As much as the client lets come without another word.
    while taken < 65535 {
        let (kind, payload) = tokio::time::timeout(BOUND, frame(&mut slow)).await.unwrap().unwrap();
        taken += if kind == DATA { payload.len() } else { 0 };
    }
    pass(Duration::from_mins(5)).await;
    assert!(tokio::time::timeout(BOUND, is_told_of_the_end(&mut slow)).await.unwrap());
}

#[tokio::test]
async fn a_client_of_http2_that_asks_again_and_again_makes_room() {
    let server = start(routes(), 1).await;
    let (mut busy, connection) = server.http2().await;
    let asking = tokio::spawn(async move {
        let mut answers = 0_usize;
        while let Ok(answer) = busy.send_request(request("/version")).await {
            let text = to_bytes(Body::new(answer.into_body()), 99).await;
            assert_eq!(text.unwrap(), "HTTP/2.0 /version 0", "what is begun is answered");
            answers += 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        answers
    });
    let next = async { http1(&mut server.connect(&[]).await).await };
    assert!(tokio::time::timeout(BOUND, next).await.expect("it has made room").starts_with("HTTP/1.1 200"));
    tokio::time::timeout(BOUND, connection).await.expect("it has ended").unwrap().unwrap();
    assert!(asking.await.unwrap() > 0);
}

#[tokio::test]
async fn a_new_pair_is_shown_and_a_wrong_one_is_not() {
    let server = start(routes(), 16).await;
    let following = server.follow();
    let hang_up = || {
        let pid = own_pid();
        assert!(std::process::Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
    };
    let mut before = server.connect(&[b"http/1.1"]).await;
    // A chain whose key has not come yet.
    let key = std::fs::read_to_string(server.folder.path().join("key.pem")).unwrap();
    let next = renew(server.folder.path());
    let next_key = std::fs::read_to_string(server.folder.path().join("key.pem")).unwrap();
    for wrong in [key.as_str(), "", "garbage"] {
        write_key(server.folder.path(), wrong);
        hang_up();
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(server.accepts(&server.chain).await && !server.accepts(&next).await, "{}", wrong.len());
    }
    write_key(server.folder.path(), &next_key);
    hang_up();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
    while !server.accepts(&next).await {
        assert!(tokio::time::Instant::now() < deadline, "the new certificate is not shown");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!server.accepts(&server.chain).await);
    assert!(http1(&mut before).await.starts_with("HTTP/1.1 200"), "connections of before go on");
    assert!(!following.is_finished());
    following.abort();
}

fn own_pid() -> String {
    std::process::id().to_string()
}

/// A clock whose waits are those of tokio.
#[derive(Debug)]
struct Paused;

impl Clock for Paused {
    fn now(&self) -> DateTime<Utc> {
        SystemClock.now()
    }

    fn sleep(&self, duration: Duration) -> futures_util::future::BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

#[tokio::test]
async fn the_files_are_looked_at_now_and_then_without_a_signal() {
    let server = start(routes(), 16).await;
    let hangups = Hangups::listen().unwrap();
    let following = server.presented.clone().follow(files(server.folder.path()), None, Arc::new(Paused), hangups);
    let following = tokio::spawn(following);
    let next = renew(server.folder.path());
    assert!(!server.accepts(&next).await);
    tokio::time::pause();
    tokio::time::sleep(READ_EVERY + Duration::from_secs(1)).await;
    tokio::time::resume();
    assert!(server.accepts(&next).await);
    following.abort();
}

#[tokio::test]
async fn the_end_waits_for_requests_and_for_nothing_else() {
    let (begun, go_on, done) = (Arc::new(Notify::new()), Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)));
    let handler = {
        let (begun, go_on, done) = (begun.clone(), go_on.clone(), done.clone());
        move || {
            let (begun, go_on, done) = (begun.clone(), go_on.clone(), done.clone());
            async move {
                begun.notify_one();
                go_on.notified().await;
                done.store(true, Ordering::SeqCst);
                "done"
            }
        }
    };
    let server = start(Router::new().route("/slow", get(handler)), 16).await;
    // One has not begun its handshake, one is idle after it, and one of each version has a request.
    let silent = TcpStream::connect(server.address).await.unwrap();
    let idle = server.connect(&[b"http/1.1"]).await;
    let (mut idle2, _idle2_connection) = server.http2().await;
    idle2.ready().await.unwrap();
    let (mut client, _connection) = server.http2().await;
    let answer = tokio::spawn(async move { client.send_request(request("/slow")).await });
    begun.notified().await;
    let mut slow = server.connect(&[b"http/1.1"]).await;
    slow.write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    begun.notified().await;
    let Server { end, served: task, address, .. } = server;
    end.send(()).unwrap();
    let task = Mutex::new(task);
    let ended = || task.lock().unwrap().is_finished();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!ended(), "two requests are under way");
    assert!(TcpStream::connect(address).await.is_err(), "no more are taken");
    go_on.notify_one();
    go_on.notify_one();
    tokio::time::sleep(Duration::from_millis(20)).await;
    go_on.notify_one();
    let answer = answer.await.unwrap().unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    let mut text = String::new();
    slow.read_to_string(&mut text).await.unwrap();
    assert!(text.ends_with("done") && done.load(Ordering::SeqCst), "{text}");
    let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
    while !ended() {
        assert!(tokio::time::Instant::now() < deadline, "a connection without a request holds up the end");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop((silent, idle, idle2));
}
