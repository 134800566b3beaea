//! A service in a temporary folder on a manual clock, and requests to it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use http::{HeaderMap, Request};
use serde_json::{Value, json};
use session_manager_core::{Clock, ManualClock, SessionPolicy};
use tower::ServiceExt as _;

use crate::accounts::{EmailAddress, User};
use crate::app::App;
use crate::config::{SessionStorageKind, Settings};
use crate::data::Data;
use crate::{routes, serve};

pub(super) const PASSWORD: &str = "Correct-Horse-7";
pub(super) const ANN: &str = "ann@example.org";

/// The service.
pub(super) struct Bench {
    pub(super) app: App,
    pub(super) clock: Arc<BenchClock>,
    folder: tempfile::TempDir,
}

/// A manual clock by which answers that are held back are told at once, and noted.
#[derive(Debug, Default)]
pub(super) struct BenchClock {
    manual: ManualClock,
    held_back: Mutex<Vec<Duration>>,
    meanwhile: Meanwhile,
}

/// What happens while the next answer is held back.
#[derive(Default)]
struct Meanwhile(Mutex<Option<BoxFuture<'static, ()>>>);

impl std::fmt::Debug for Meanwhile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meanwhile")
    }
}

impl BenchClock {
    pub(super) fn advance(&self, duration: Duration) {
        self.manual.advance(duration);
    }

    /// Does this while the next answer is held back.
    pub(super) fn meanwhile(&self, work: impl Future<Output = ()> + Send + 'static) {
        *self.meanwhile.0.lock().unwrap() = Some(Box::pin(work));
    }

    /// For how long answers were held back since this was last asked.
    pub(super) fn held_back(&self) -> Vec<Duration> {
        std::mem::take(&mut self.held_back.lock().unwrap())
    }
}

impl Clock for BenchClock {
    fn now(&self) -> DateTime<Utc> {
        self.manual.now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        // The patience with enrichers holds nothing back: they are done before it ends.
        if duration > Duration::from_secs(5) || duration == SessionPolicy::default().enricher_timeout {
            return self.manual.sleep(duration);
        }
        self.held_back.lock().unwrap().push(duration);
        let meanwhile = self.meanwhile.0.lock().unwrap().take();
        meanwhile.unwrap_or_else(|| Box::pin(std::future::ready(())))
    }
}

/// An answer, taken apart.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) json: Value,
    pub(super) text: String,
}

/// What a sign-in gave.
#[derive(Clone, Debug)]
pub(super) struct Tokens {
    pub(super) access: String,
    pub(super) refresh: String,
    pub(super) session: String,
}

/// A request in the making.
pub(super) struct Call<'a> {
    bench: &'a Bench,
    request: http::request::Builder,
    peer: SocketAddr,
    body: Vec<u8>,
}

impl Bench {
    pub(super) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(super) async fn in_memory() -> Self {
        Self::with(|settings| settings.sessions.storage = SessionStorageKind::Memory).await
    }

    /// With rate limits, which the other tests would only run into.
    pub(super) async fn limited() -> Self {
        Self::with(|settings| settings.rate_limits.enabled = true).await
    }

    pub(super) async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = crate::data::test_settings(folder.path());
        settings.rate_limits.enabled = false;
        change(&mut settings);
        let clock = Arc::new(BenchClock::default());
        let data = Data::open(&settings).await.unwrap();
        let address = "127.0.0.1:8080".parse().unwrap();
        let app = App::new(settings, data, address, clock.clone()).await.unwrap();
        Self { app, clock, folder }
    }

    /// The same service after a restart with other settings.
    pub(super) async fn restarted(self, settings: Settings) -> Self {
        let Self { app, clock, folder } = self;
        app.data().close().await;
        drop(app);
        let data = Data::open(&settings).await.unwrap();
        let app = App::new(settings, data, "127.0.0.1:8080".parse().unwrap(), clock.clone()).await.unwrap();
        Self { app, clock, folder }
    }

    pub(super) fn call(&self, method: &str, path: &str) -> Call<'_> {
        self.request(method, &format!("/api/v1{path}"))
    }

    /// A GET outside the API.
    pub(super) fn root(&self, path: &str) -> Call<'_> {
        self.request("GET", path)
    }

    pub(super) fn request(&self, method: &str, path: &str) -> Call<'_> {
        let request = Request::builder().method(method).uri(path).header("user-agent", "curl/8");
        Call { bench: self, request, peer: "198.51.100.1:4711".parse().unwrap(), body: Vec::new() }
    }

    pub(super) fn post(&self, path: &str, body: Value) -> Call<'_> {
        self.call("POST", path).json(body)
    }

    pub(super) async fn register(&self, email: &str) {
        let body = json!({"email": email, "password": PASSWORD, "name": "Ann"});
        self.post("/auth/register", body).send().await.expect(201);
    }

    /// A registered user who confirmed the address.
    pub(super) async fn user(&self, email: &str) {
        self.register(email).await;
        let token = self.take_mail().pop().unwrap().1.unwrap();
        self.post("/auth/verify-email", json!({"token": token})).send().await.expect(200);
    }

    /// The account behind an address.
    pub(super) async fn account(&self, email: &str) -> User {
        let email = EmailAddress::parse(email).unwrap();
        self.app.accounts().find_by_email(&email).await.unwrap().unwrap()
    }

    pub(super) async fn login(&self, email: &str) -> Tokens {
        self.login_as(email, "curl/8").await
    }

    pub(super) async fn login_as(&self, email: &str, agent: &str) -> Tokens {
        self.post("/auth/login", credentials(email)).header("user-agent", agent).send().await.expect(200).tokens()
    }

    /// A sign-in from another address, by which that of the others is not spent.
    pub(super) async fn login_from(&self, email: &str, peer: &str) -> Tokens {
        self.post("/auth/login", credentials(email)).at_peer(peer).send().await.expect(200).tokens()
    }

    /// A confirmed user and a session of theirs.
    pub(super) async fn signed_in() -> (Self, Tokens) {
        let bench = Self::new().await;
        bench.user(ANN).await;
        let tokens = bench.login(ANN).await;
        (bench, tokens)
    }

    pub(super) async fn refresh(&self, token: &str) -> Answer {
        self.post("/auth/refresh", json!({"refresh_token": token})).send().await
    }

    pub(super) fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// Kind and token of each spooled mail, oldest first; the spool is empty afterwards.
    pub(super) fn take_mail(&self) -> Vec<(String, Option<String>)> {
        let entries = std::fs::read_dir(self.folder.path().join("mail")).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        let mut paths: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|name| name == "eml")).collect();
        paths.sort();
        let letter = |path: PathBuf| {
            let text = std::fs::read_to_string(&path).unwrap();
            std::fs::remove_file(&path).unwrap();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let kind = name.split_once('-').unwrap().1.rsplit_once('-').unwrap().0.to_owned();
            (kind, text.lines().find_map(|line| line.split_once("?token=")).map(|(_, token)| token.to_owned()))
        };
        paths.into_iter().map(letter).collect()
    }

    /// [`Bench::take_mail`] after the work behind the answers is done: the kinds only.
    pub(super) async fn mail_kinds(&self) -> Vec<String> {
        assert!(self.app.background().finish(Duration::from_secs(10)).await);
        self.take_mail().into_iter().map(|letter| letter.0).collect()
    }
}

impl Call<'_> {
    pub(super) fn header(mut self, name: &str, value: impl AsRef<str>) -> Self {
        // The last one counts, so that a default can be replaced.
        if let Some(headers) = self.request.headers_mut() {
            headers.insert(http::HeaderName::try_from(name).unwrap(), value.as_ref().parse().unwrap());
        }
        self
    }

    pub(super) fn bearer(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    #[allow(clippy::needless_pass_by_value, reason = "callers write `json!` in place")]
    pub(super) fn json(self, body: Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }

    pub(super) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub(super) fn at_peer(mut self, peer: &str) -> Self {
        self.peer = peer.parse().unwrap();
        self
    }

    pub(super) async fn send(self) -> Answer {
        let mut request = self.request.body(Body::from(self.body)).unwrap();
        request.extensions_mut().insert(ConnectInfo(self.peer));
        let app = self.bench.app.clone();
        let service = serve::service(routes::router(app.clone()), &app);
        let (parts, body) = service.oneshot(request).await.unwrap().into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        let json = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Answer { status: parts.status.as_u16(), headers: parts.headers, json, text }
    }
}

impl Answer {
    #[track_caller]
    pub(super) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// A problem whose type ends with `:kind`.
    #[track_caller]
    pub(super) fn expect_problem(self, status: u16, kind: &str) -> Self {
        assert_eq!((self.status, &self.json["status"]), (status, &json!(status)), "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        assert_eq!(self.json["type"], format!("urn:session-manager:problem:{kind}"), "{self:?}");
        assert_eq!(self.json["request_id"].as_str(), self.header("x-request-id"));
        assert_eq!(self.header("www-authenticate").is_some(), status == 401 || kind == "step-up-required", "{self:?}");
        self
    }

    /// The fields that a 422 names, each once.
    #[track_caller]
    pub(super) fn expect_fields(self, fields: &[&str]) {
        let answer = self.expect_problem(422, "invalid-input");
        let named: Vec<_> =
            answer.json["errors"].as_array().unwrap().iter().map(|error| error["field"].as_str().unwrap()).collect();
        assert_eq!(named, fields, "{answer:?}");
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(super) fn set_cookies(&self) -> Vec<&str> {
        self.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap()).collect()
    }

    #[track_caller]
    pub(super) fn tokens(&self) -> Tokens {
        let text = |name: &str| self.json[name].as_str().unwrap_or_else(|| panic!("no {name}: {self:?}")).to_owned();
        Tokens { access: text("access_token"), refresh: text("refresh_token"), session: text("session_id") }
    }

    /// The names of the body's members, sorted.
    pub(super) fn members(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.json.as_object().unwrap().keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }
}

pub(super) fn credentials(email: &str) -> Value {
    json!({"email": email, "password": PASSWORD})
}
