//! The pages over the whole service, as a browser sees them.

mod admin;
mod connections;
mod forgotten;
mod headers;
mod journey;
mod live;
mod presence;
mod refusals;
mod strangers;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::extract::Request;
use axum::response::Response;
use chrono::{DateTime, Utc};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{HeaderMap, StatusCode, header};
use session_manager_core::{ClientInfo, Clock, ManualClock, NewSession, RequestContext, SessionId, UserId};
use tower::Service as _;

use crate::accounts::{EmailAddress, PersonName, Registration, User};
use crate::app::App;
use crate::config::{PublicUrl, Settings};
use crate::data::Data;
use crate::passwords::Password;
use crate::routes;

const PASSWORD: &str = "Correct-Horse-7";
const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0";
const PHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 Mobile/15E148 Safari/604.1";

/// A clock that nobody has to wait for: sleeping moves it, until it is told to be patient.
#[derive(Debug, Default)]
struct Hasty(ManualClock, AtomicBool);

impl Clock for Hasty {
    fn now(&self) -> DateTime<Utc> {
        self.0.now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        if self.1.load(SeqCst) {
            return self.0.sleep(duration);
        }
        self.0.advance(duration);
        std::future::ready(()).boxed()
    }
}

struct Service {
    app: App,
    router: Router,
    clock: Arc<Hasty>,
    /// The mails whose token was taken.
    read: Mutex<BTreeSet<PathBuf>>,
    _folder: tempfile::TempDir,
}

impl Service {
    /// On this machine, without https.
    async fn local() -> Self {
        Self::at("http://127.0.0.1:8080").await
    }

    async fn at(public_url: &str) -> Self {
        Self::with(public_url, |_| {}).await
    }

    async fn with(public_url: &str, change: impl FnOnce(&mut Settings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let public_url = Some(PublicUrl::parse(public_url).unwrap());
        let provider = serde_json::json!({
            "name": "Acme <Bank>", "client_id": "us", "auth_url": "https://acme.example/authorize",
            "token_url": "http://127.0.0.1:9/token",
        });
        let later = serde_json::json!({"name": "Later"});
        let providers = serde_json::from_value(serde_json::json!({"acme": provider, "later": later})).unwrap();
        let mut settings = Settings { public_url, providers, ..crate::data::test_settings(folder.path()) };
        change(&mut settings);
        let data = Data::open(&settings).await.unwrap();
        let clock = Arc::new(Hasty::default());
        let (address, shared) = ("127.0.0.1:8080".parse().unwrap(), Arc::clone(&clock));
        let app = App::new(settings, data, address, shared).await.unwrap();
        Self { router: routes::router(app.clone()), app, clock, read: Mutex::default(), _folder: folder }
    }

    fn browser(&self) -> Browser {
        Browser { router: self.router.clone(), cookies: BTreeMap::new(), agent: FIREFOX }
    }

    /// A browser in which this user, made if need be, has just signed in.
    async fn signed_in(&self, email: &str) -> Browser {
        self.verified(email).await;
        let mut browser = self.browser();
        let answer = browser.sign_in(email, PASSWORD).await;
        assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, "/devices"), "{}", answer.body);
        browser
    }

    async fn verified(&self, email: &str) -> User {
        let address = EmailAddress::parse(email).unwrap();
        if let Some(user) = self.app.accounts().find_by_email(&address).await.unwrap() {
            return user;
        }
        let registration = Registration {
            email: address,
            name: PersonName::parse("Ann").unwrap(),
            password: Password::new(PASSWORD.to_owned()),
        };
        self.app.accounts().register(registration, self.app.now()).await.unwrap();
        let token = self.mailed_token();
        self.app.accounts().verify_email(&token, self.app.now()).await.unwrap().unwrap()
    }

    /// The token of the mail that was sent behind the answer.
    async fn token_mailed_behind(&self) -> String {
        assert!(self.app.background().finish(Duration::from_secs(10)).await);
        self.mailed_token()
    }

    /// The token of the newest mail that has one.
    fn mailed_token(&self) -> String {
        let mails = std::fs::read_dir(&self.app.data().mail).unwrap().map(|entry| entry.unwrap().path());
        // Those that are being written have other names.
        let mails = mails.filter(|path| path.extension().is_some_and(|name| name == "eml"));
        let with_token = mails.filter_map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            let token = text.lines().find_map(|line| line.split_once("?token="))?.1.to_owned();
            Some((path, token))
        });
        let mut read = self.read.lock().unwrap();
        // Of one moment of the clock, and of the file system's, the newest is the one that nobody has read.
        let newest = with_token
            .max_by_key(|(path, _)| (!read.contains(path), std::fs::metadata(path).unwrap().modified().unwrap()));
        let (path, token) = newest.unwrap();
        read.insert(path);
        token
    }

    /// A session of the user on another client.
    async fn session(&self, email: &str, client: ClientInfo) -> SessionId {
        let user = UserId::parse(&self.verified(email).await.id.to_string()).unwrap();
        let context = RequestContext::from_client(client);
        let created = self.app.sessions().manager().create(NewSession::of(user), &context).await;
        created.unwrap().snapshot.session.id
    }

    async fn is_live(&self, id: SessionId) -> bool {
        let found = self.app.sessions().manager().get(None, id).await.unwrap();
        found.is_some_and(|view| view.state.is_live())
    }
}

/// What a browser does: it keeps cookies and says where a request comes from.
struct Browser {
    router: Router,
    cookies: BTreeMap<String, String>,
    agent: &'static str,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Browser {
    async fn get(&mut self, path: &str) -> Answer {
        self.send("GET", path, "", &[("sec-fetch-site", "none")]).await
    }

    async fn post(&mut self, path: &str, form: &str) -> Answer {
        self.send("POST", path, form, &[("sec-fetch-site", "same-origin")]).await
    }

    async fn sign_in(&mut self, email: &str, password: &str) -> Answer {
        let email = email.replace('+', "%2B");
        self.post("/sign-in", &format!("email={email}&password={password}")).await
    }

    async fn send(&mut self, method: &str, path: &str, form: &str, headers: &[(&str, &str)]) -> Answer {
        let response = self.call(method, path, form, headers).await;
        let (parts, body) = response.into_parts();
        let body = String::from_utf8(to_bytes(body, 1 << 20).await.unwrap().to_vec()).unwrap();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// The answer as soon as it begins. Its cookies are kept.
    async fn call(&mut self, method: &str, path: &str, form: &str, headers: &[(&str, &str)]) -> Response {
        let peer: SocketAddr = "127.0.0.1:50000".parse().unwrap();
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("user-agent", self.agent)
            .header("accept", "text/html,application/xhtml+xml,*/*;q=0.8")
            .header("content-type", "application/x-www-form-urlencoded")
            .extension(ConnectInfo(peer));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        for (name, value) in &self.cookies {
            request = request.header("cookie", format!("{name}={value}"));
        }
        let response = self.router.call(request.body(Body::from(form.to_owned())).unwrap()).await.unwrap();
        for line in set_cookies(response.headers()) {
            let (name, rest) = line.split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            if value.is_empty() {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        response
    }
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn location(&self) -> &str {
        self.header("location")
    }

    fn set_cookies(&self) -> Vec<String> {
        set_cookies(&self.headers)
    }
}

fn set_cookies(headers: &HeaderMap) -> Vec<String> {
    headers.get_all(header::SET_COOKIE).iter().map(|line| line.to_str().unwrap().to_owned()).collect()
}
