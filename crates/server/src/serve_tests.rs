//! The service over real HTTP on a free port: layers, errors, and the end.

use axum::body::Bytes;
use axum::extract::Request;
use axum::routing::{get, post};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;

struct Server {
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

/// The routes of the service and some that misbehave.
async fn start() -> Server {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { data: folder.path().to_owned(), ..Settings::default() };
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let data = Data::open(&settings).await.unwrap();
    let app = App::new(settings, data, address, Arc::new(SystemClock)).await.unwrap();
    let routes = Router::new()
        .route("/panic", get(|| async { panics() }))
        .route("/echo", post(|body: Bytes| async move { body }))
        .route(
            "/id",
            get(|request: Request| async move { request.headers()["x-request-id"].to_str().unwrap().to_owned() }),
        )
        .route("/page", get(|| async { (http::StatusCode::NOT_FOUND, axum::response::Html("<p>page</p>")) }))
        .merge(routes::router(app.clone()));
    let signal = signals::Signals::listen().unwrap();
    tokio::spawn(async move { serve(listener, None, routes, &app, signal).await });
    Server { address, _folder: folder }
}

fn panics() {
    panic!("hunter2")
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .find_map(|line| line.split_once(": ").filter(|(found, _)| *found == name))
            .map(|found| found.1)
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

impl Server {
    async fn send(&self, head: &str, body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let head = format!("{head}\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).await.unwrap();
        // The server may answer and close before it read all of a body that is too large.
        let _ = stream.write_all(body).await;
        let mut text = Vec::new();
        let _ = stream.read_to_end(&mut text).await;
        let text = String::from_utf8(text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }

    /// A client that sends this much, and then no more.
    async fn connect(&self, sent: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        stream
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(&format!("GET {path} HTTP/1.1"), b"").await
    }
}

#[tokio::test]
async fn health_and_readiness_with_and_without_a_slash() {
    let server = start().await;
    for (path, status) in [("/health", "ok"), ("/health/", "ok"), ("/ready", "ready"), ("/ready//", "ready")] {
        let answer = server.get(path).await;
        assert_eq!((answer.status, answer.json()["status"].as_str()), (200, Some(status)), "{path}");
    }
}

#[tokio::test]
async fn every_error_is_a_problem_with_the_request_id() {
    let server = start().await;
    for (request, status, title) in [
        ("GET /nothing HTTP/1.1", 404, "Not found"),
        ("POST /health HTTP/1.1", 405, "Method not allowed"),
        ("GET /panic HTTP/1.1", 500, "Internal error"),
    ] {
        let answer = server.send(request, b"").await;
        let problem = answer.json();
        assert_eq!((answer.status, &problem["status"], &problem["title"]), (status, &status.into(), &title.into()));
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        assert_eq!(problem["request_id"].as_str(), answer.header("x-request-id"));
        assert!(!answer.body.contains("hunter2"));
        assert_eq!(answer.header("allow").is_some(), status == 405, "{}", answer.head);
    }
    assert_eq!(server.get("/health").await.status, 200, "still there after the panic");
}

#[tokio::test]
async fn a_body_may_have_64_kib() {
    let server = start().await;
    for (size, status) in [(64 * 1024, 200), (64 * 1024 + 1, 413)] {
        let answer = server.send("POST /echo HTTP/1.1", &vec![b'x'; size]).await;
        assert_eq!(answer.status, status);
        assert!(status == 200 || answer.json()["status"] == 413);
    }
}

#[tokio::test]
async fn a_decent_request_id_is_kept_and_another_is_replaced() {
    let server = start().await;
    let kept = server.send("GET /id HTTP/1.1\r\nX-Request-Id: abc-1.2_3", b"").await;
    assert_eq!((kept.body.as_str(), kept.header("x-request-id")), ("abc-1.2_3", Some("abc-1.2_3")));
    for bad in [String::new(), "a b".into(), "<script>".into(), "x".repeat(65)] {
        let answer = server.send(&format!("GET /id HTTP/1.1\r\nX-Request-Id: {bad}"), b"").await;
        assert_eq!(answer.body.len(), 32, "{bad}");
        assert_eq!(answer.header("x-request-id"), Some(answer.body.as_str()));
    }
}

#[tokio::test]
async fn every_answer_has_the_security_headers_and_pages_stay_pages() {
    let server = start().await;
    for path in ["/health", "/nothing", "/panic", "/page"] {
        let answer = server.get(path).await;
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("x-frame-options", "DENY"),
            ("cache-control", "no-store"),
            ("content-security-policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{path}");
        }
        assert_eq!(answer.header("strict-transport-security"), None, "the public URL is http");
    }
    assert_eq!(server.get("/page").await.body, "<p>page</p>");
}

#[tokio::test]
async fn a_client_that_does_not_go_on_is_hung_up_on() {
    let server = start().await;
    // From here on time passes when nobody has anything to do.
    tokio::time::pause();
    let whole = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
    for sent in ["", "GET /hea", "GET /health HTTP/1.1\r\nHost: x\r\n", whole] {
        let mut stream = server.connect(sent).await;
        let begun = tokio::time::Instant::now();
        let mut text = String::new();
        let ended = tokio::time::timeout(Duration::from_hours(1), stream.read_to_string(&mut text)).await;
        ended.expect("the connection is closed").unwrap();
        let seconds = begun.elapsed().as_secs();
        let limit = connections::HEAD_TIMEOUT.as_secs();
        assert!((limit..=limit + 1).contains(&seconds), "{sent:?}: after {seconds} s");
        assert_eq!(text.starts_with("HTTP/1.1 200"), sent == whole, "{text}");
    }
}

#[tokio::test]
async fn a_slow_client_that_goes_on_in_time_is_served() {
    let server = start().await;
    tokio::time::pause();
    let mut stream = server.connect("GET /health HTTP/1.1\r\n").await;
    tokio::time::sleep(connections::HEAD_TIMEOUT.mul_f32(0.9)).await;
    stream.write_all(b"Host: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
}

#[tokio::test]
async fn a_taken_port_is_told() {
    let server = start().await;
    let message = bind(server.address).await.unwrap_err().to_string();
    assert!(
        message.contains(&server.address.to_string()) && message.contains("in use by another process"),
        "{message}"
    );
    assert!(message.contains("--listen"), "{message}");
}
