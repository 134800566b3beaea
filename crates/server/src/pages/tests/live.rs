//! The live list: what is told to whom, how soon, and when it ends.

use std::path::Path;

use axum::body::BodyDataStream;
use futures_util::StreamExt as _;

use super::presence::last_activity;
use super::*;
use crate::config::Backend;
use crate::flows;
use crate::keys::{Kind, Overlap};

const ANN: &str = "ann@b.example";
const PATH: &str = "/devices/events";
const OUR_PAGE: [(&str, &str); 3] =
    [("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "cors"), ("accept", "text/event-stream")];

/// A stream that a browser has opened.
struct Events(BodyDataStream);

impl Events {
    async fn open(browser: &mut Browser) -> Self {
        let response = browser.call("GET", PATH, "", &OUR_PAGE).await;
        let headers = response.headers();
        assert_eq!(response.status(), StatusCode::OK);
        for (name, value) in
            [("content-type", "text/event-stream"), ("cache-control", "no-store"), ("x-accel-buffering", "no")]
        {
            assert_eq!(headers[name], value);
        }
        Self(response.into_body().into_data_stream())
    }

    /// The next event or the line between events, as it was written. Nothing at the end.
    async fn next(&mut self) -> Option<String> {
        let next = tokio::time::timeout(Duration::from_secs(20), self.0.next()).await.expect("it is told in time")?;
        Some(String::from_utf8(next.unwrap().to_vec()).unwrap())
    }

    /// The next event.
    async fn event(&mut self) -> Option<String> {
        loop {
            match self.next().await {
                Some(line) if line.starts_with(':') => {}
                event => return event,
            }
        }
    }

    async fn sessions(&mut self) -> Vec<String> {
        let event = self.event().await.unwrap();
        let ids = event.strip_prefix("event: sessions\ndata: ").and_then(|rest| rest.strip_suffix("\n\n"));
        let mut ids: Vec<_> = ids.unwrap_or_else(|| panic!("{event:?}")).split(' ').map(str::to_owned).collect();
        ids.sort();
        ids
    }
}

impl Service {
    /// From now on the clock stands still until it is moved.
    fn be_patient(&self) {
        self.clock.1.store(true, SeqCst);
    }

    /// Another server on the same data folder.
    async fn another(&self) -> App {
        let settings = self.app.settings().clone();
        let data = Data::open(&settings).await.unwrap();
        let clock: Arc<dyn Clock> = self.clock.clone();
        App::new(settings, data, "127.0.0.1:8080".parse().unwrap(), clock).await.unwrap()
    }
}

impl Browser {
    /// The id of its session, as its page has it.
    async fn session(&mut self) -> String {
        let page = self.get("/devices").await.body;
        let row = page.split_once("<li class=\"device current\" data-session=\"").unwrap().1;
        row.split('"').next().unwrap().to_owned()
    }
}

fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort();
    ids
}

#[tokio::test]
async fn a_session_that_ends_elsewhere_leaves_the_list_at_once() {
    let service = Service::local().await;
    let (mut laptop, mut phone) = (service.signed_in(ANN).await, service.signed_in(ANN).await);
    let tablet = service.session(ANN, ClientInfo::new()).await.to_string();
    let mut bob = service.signed_in("bob@b.example").await;
    let (own, other) = (laptop.session().await, phone.session().await);
    service.be_patient();
    let mut events = Events::open(&mut laptop).await;
    assert_eq!(events.sessions().await, sorted(vec![own.clone(), other.clone(), tablet.clone()]));
    phone.post(&format!("/devices/{tablet}/end"), "").await;
    assert_eq!(events.sessions().await, sorted(vec![own.clone(), other]));
    phone.post("/sign-out", "").await;
    assert_eq!(events.sessions().await, [own]);
    // What others do is not told: the next line is the one that says nothing.
    bob.post("/sign-out", "").await;
    service.clock.0.advance(Duration::from_secs(15));
    assert_eq!(events.next().await.unwrap().trim_end(), ":");
}

#[tokio::test]
async fn however_a_session_ends_its_stream_says_so_and_ends() {
    for way in ["by the other", "with others", "everywhere", "here", "account", "idle"] {
        let service = Service::local().await;
        let (mut laptop, mut phone) = (service.signed_in(ANN).await, service.signed_in(ANN).await);
        let own = laptop.session().await;
        service.be_patient();
        let mut events = Events::open(&mut laptop).await;
        assert_eq!(events.sessions().await.len(), 2, "{way}");
        match way {
            "by the other" => assert_eq!(phone.post(&format!("/devices/{own}/end"), "").await.status, 303),
            "with others" => assert_eq!(phone.post("/devices/end-others", "").await.status, 303),
            "everywhere" => assert_eq!(phone.post("/devices/end-all", "").await.status, 303),
            "here" => assert_eq!(laptop.post("/sign-out", "").await.status, 303),
            "account" => {
                let context = RequestContext::from_client(ClientInfo::new());
                let user = service.verified(ANN).await.id;
                assert!(flows::disable_account(&service.app, user, &context).await.unwrap());
            }
            _ => service.clock.0.advance(service.app.sessions().manager().policy().idle_timeout.unwrap()),
        }
        assert_eq!(events.event().await.as_deref(), Some("event: over\ndata: session\n\n"), "{way}");
        assert_eq!(events.next().await, None, "{way}");
    }
}

#[tokio::test]
async fn a_page_whose_session_is_over_is_told_by_an_event() {
    let service = Service::local().await;
    let (mut laptop, mut phone) = (service.signed_in(ANN).await, service.signed_in(ANN).await);
    phone.post("/devices/end-others", "").await;
    for browser in [&mut laptop, &mut service.browser()] {
        let mut events = Events::open(browser).await;
        assert_eq!(events.next().await.as_deref(), Some("event: over\ndata: session\n\n"));
        assert_eq!(events.next().await, None);
    }
}

#[tokio::test]
async fn a_stream_is_no_presence_and_renews_without_it() {
    let service = Service::local().await;
    let mut laptop = service.signed_in(ANN).await;
    let signed_in = last_activity(&service, ANN).await;
    service.be_patient();
    // Longer than the touch interval: the first time with a good access token, the second time with one that has expired.
    for (minutes, renewed) in [(4, 0), (10, 2)] {
        service.clock.0.advance(Duration::from_mins(minutes));
        let response = laptop.call("GET", PATH, "", &OUR_PAGE).await;
        assert_eq!(set_cookies(response.headers()).len(), renewed, "{minutes}");
        let mut events = Events(response.into_body().into_data_stream());
        assert_eq!(events.sessions().await.len(), 1, "{minutes}");
        for _ in 0..8 {
            service.clock.0.advance(Duration::from_secs(15));
            assert_eq!(events.next().await.unwrap().trim_end(), ":");
        }
        assert_eq!(last_activity(&service, ANN).await, signed_in, "{minutes}");
    }
    laptop.get("/devices").await;
    assert_eq!(last_activity(&service, ANN).await, service.app.now(), "a page is a person's doing");
}

#[tokio::test]
async fn other_sites_get_no_stream() {
    let service = Service::local().await;
    let mut laptop = service.signed_in(ANN).await;
    service.clock.0.advance(Duration::from_mins(10));
    let before = laptop.cookies.clone();
    for headers in [
        &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "cors")][..],
        &[("sec-fetch-site", "same-site"), ("sec-fetch-mode", "no-cors")],
        &[("origin", "http://evil.example"), ("sec-fetch-mode", "cors")],
        &[("sec-fetch-mode", "cors")],
    ] {
        let answer = laptop.call("GET", PATH, "", headers).await;
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{headers:?}");
        assert_eq!(laptop.cookies, before, "nor does it renew the session: {headers:?}");
    }
}

#[tokio::test]
async fn a_user_has_only_so_many_streams() {
    let service = Service::local().await;
    let (mut ann, mut bob) = (service.signed_in(ANN).await, service.signed_in("bob@b.example").await);
    service.be_patient();
    let mut open = Vec::new();
    for _ in 0..8 {
        open.push(Events::open(&mut ann).await);
    }
    let refused = ann.call("GET", PATH, "", &OUR_PAGE).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    Events::open(&mut bob).await;
    open.pop();
    Events::open(&mut ann).await;
}

#[tokio::test]
async fn streams_end_with_the_service() {
    let service = Service::local().await;
    let mut laptop = service.signed_in(ANN).await;
    service.be_patient();
    let mut events = Events::open(&mut laptop).await;
    assert_eq!(events.sessions().await.len(), 1);
    service.app.streams().end();
    assert_eq!(events.next().await, None, "nobody is signed out by it");
    let refused = laptop.call("GET", PATH, "", &OUR_PAGE).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers().contains_key("retry-after"));
}

#[tokio::test]
async fn streams_end_when_a_key_is_revoked_and_browsers_go_on_with_what_is_good() {
    for backend in [Backend::Jwt, Backend::Opaque] {
        let service = Service::with("http://127.0.0.1:8080", |settings| settings.backend = backend).await;
        let kind = if backend == Backend::Jwt { Kind::Access } else { Kind::Refresh };
        let mut laptop = service.signed_in(ANN).await;
        service.be_patient();
        let at = (Overlap::of(&service.app.settings().policy), service.app.now());
        let keys = service.app.data().keys.clone();
        let old = keys.named(at.0, at.1).into_iter().find(|named| named.kind == kind).unwrap().name;
        let keys = keys.with_token_key(Path::new(""), kind, at.1, at).unwrap();
        service.app.keys().replace(&keys).unwrap();
        let mut phone = service.signed_in(ANN).await;
        let (mut one, mut other) = (Events::open(&mut laptop).await, Events::open(&mut phone).await);
        assert_eq!((one.sessions().await.len(), other.sessions().await.len()), (2, 2), "each key is good");
        let mut unread = Events::open(&mut laptop).await;
        let (keys, _) = keys.without_token_key(&old, at).unwrap();
        service.app.keys().replace(&keys).unwrap();
        for events in [&mut one, &mut other, &mut unread] {
            assert_eq!(events.next().await, None, "{backend:?}");
        }
        if backend == Backend::Jwt {
            // What the browser has beside it is good, and gets it another one.
            assert_eq!(laptop.get("/devices").await.status, 200);
            assert_eq!(Events::open(&mut laptop).await.sessions().await.len(), 2);
        } else {
            let mut again = Events::open(&mut laptop).await;
            assert_eq!(again.next().await.as_deref(), Some("event: over\ndata: session\n\n"));
            assert_eq!(laptop.get("/devices").await.location(), "/sign-in", "nothing that it has is good");
        }
        assert_eq!(Events::open(&mut phone).await.sessions().await.len(), 2, "{backend:?}");
    }
}

#[tokio::test]
async fn what_another_server_ends_is_seen_within_the_touch_interval() {
    let service = Service::local().await;
    let mut laptop = service.signed_in(ANN).await;
    let (own, phone) = (laptop.session().await, service.session(ANN, ClientInfo::new()).await);
    service.be_patient();
    let mut events = Events::open(&mut laptop).await;
    assert_eq!(events.sessions().await.len(), 2);
    let another = service.another().await;
    let context = RequestContext::from_client(ClientInfo::new());
    let reason = session_manager_core::RevocationReason::BY_USER;
    another.sessions().manager().revoke(None, phone, reason, &context).await.unwrap();
    for _ in 0..4 {
        service.clock.0.advance(Duration::from_secs(15));
        assert_eq!(events.next().await.unwrap().trim_end(), ":");
    }
    assert_eq!(events.sessions().await, [own]);
}

#[tokio::test]
async fn an_outage_ends_no_stream() {
    let service = Service::local().await;
    let mut laptop = service.signed_in(ANN).await;
    service.be_patient();
    let mut events = Events::open(&mut laptop).await;
    assert_eq!(events.sessions().await.len(), 1);
    service.app.data().pool.close().await;
    for _ in 0..6 {
        service.clock.0.advance(Duration::from_secs(15));
        assert_eq!(events.next().await.unwrap().trim_end(), ":");
    }
}
