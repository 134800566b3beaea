//! Endpoints 24 to 28 where all goes well, and the state, which has to be good.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::authorization_server::{Answer as Reply, Arrival, AuthorizationServer};
use super::bench::{ANN, Answer, Bench, Tokens};
use crate::sql::Row;

/// A service, a user who is signed in, and a connection that waits.
pub(super) struct Trip {
    pub(super) server: AuthorizationServer,
    pub(super) bench: Bench,
    pub(super) ann: Tokens,
    pub(super) id: String,
}

impl Trip {
    pub(super) async fn to(provider: &str) -> Self {
        let server = AuthorizationServer::start().await;
        let bench = server.bench().await;
        bench.user(ANN).await;
        let ann = bench.login(ANN).await;
        let body = json!({"provider_key": provider, "alias": "a"});
        let made = bench.post("/providers", body).bearer(&ann.access).send().await.expect(201);
        let id = made.json["id"].as_str().unwrap().to_owned();
        Self { server, bench, ann, id }
    }

    /// One that is authorised.
    pub(super) async fn done(provider: &str) -> Self {
        let trip = Self::to(provider).await;
        let arrival = trip.begin().await;
        trip.arrive(&arrival).await.expect(200);
        trip
    }

    /// The same after a restart with other settings.
    pub(super) async fn with(self, settings: crate::config::Settings) -> Self {
        Self { bench: self.bench.restarted(settings).await, ..self }
    }

    pub(super) async fn call(&self, method: &str) -> Answer {
        let path = format!("/providers/{}/authorization", self.id);
        self.bench.call(method, &path).bearer(&self.ann.access).send().await
    }

    /// To the provider, whose user says yes.
    pub(super) async fn begin(&self) -> Arrival {
        let begun = self.call("POST").await.expect(200);
        assert_eq!(begun.members(), ["auth_url", "state"]);
        let arrival = self.server.approve(begun.json["auth_url"].as_str().unwrap());
        assert_eq!(arrival.state, begun.json["state"]);
        arrival
    }

    pub(super) async fn arrive(&self, arrival: &Arrival) -> Answer {
        self.bench.call("GET", &arrival.address()).send().await
    }

    pub(super) async fn status(&self) -> Value {
        self.call("GET").await.expect(200).json["status"].clone()
    }

    /// Waits until so many have the connection's turn, or wait for it.
    pub(super) async fn wait_in_line(&self, count: usize) {
        let (providers, id) = (self.bench.app.providers(), self.id.parse().unwrap());
        let work = async {
            while providers.waiting(id) < count {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), work).await.expect("they wait for their turn");
    }

    /// What is stored of the tokens.
    pub(super) async fn stored(&self) -> Vec<(Vec<u8>, Option<Vec<u8>>, i64)> {
        let rows = crate::sql::query("SELECT access_token, refresh_token, generation FROM provider_tokens");
        let rows = rows.fetch_all(&self.bench.app.data().pool).await.unwrap();
        let read = |row: &Row| {
            let get = |column| row.try_get::<Option<Vec<u8>>>(column).unwrap();
            (get("access_token").unwrap(), get("refresh_token"), row.try_get("generation").unwrap())
        };
        rows.iter().map(read).collect()
    }

    /// The tokens of the connection in clear.
    pub(super) async fn tokens(&self) -> (String, Option<String>) {
        let connections = self.bench.app.providers().connections();
        let (tokens, _) = connections.tokens(self.id.parse().unwrap()).await.unwrap().unwrap();
        (tokens.access.to_string(), tokens.refresh.map(|token| token.to_string()))
    }
}

#[tokio::test]
async fn a_connection_is_authorised_renewed_and_given_back() {
    for provider in ["acme", "body", "public"] {
        let trip = Trip::to(provider).await;
        assert_eq!(trip.call("GET").await.expect(200).json, json!({"status": "pending"}));
        let arrival = trip.begin().await;
        assert_eq!(arrival.path, format!("/providers/{provider}/authorization/callback"));
        assert_eq!(trip.status().await, "pending");
        let authorised = trip.arrive(&arrival).await.expect(200);
        let end = (trip.bench.app.now() + Duration::from_hours(1)).to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true);
        let expected = json!({"status": "active", "expires_at": end, "scope": "read write"});
        assert_eq!(authorised.json, expected);
        assert_eq!(trip.call("GET").await.expect(200).json, expected);
        assert_eq!(trip.tokens().await, ("access-1".into(), Some("refresh-1".into())));

        trip.bench.pass(60);
        let renewed = trip.call("PATCH").await.expect(200);
        assert_ne!(renewed.json["expires_at"], expected["expires_at"]);
        assert_eq!(trip.call("GET").await.expect(200).json, renewed.json);
        assert_eq!(trip.tokens().await, ("access-2".into(), Some("refresh-2".into())));
        trip.call("PATCH").await.expect(200);

        assert_eq!(trip.call("DELETE").await.expect(204).json, Value::Null);
        let given_back = [("refresh_token", "refresh-3"), ("access_token", "access-3")];
        assert_eq!(trip.server.revoked(), given_back.map(|(hint, token)| (hint.to_owned(), token.to_owned())));
        assert_eq!(trip.stored().await, []);
        assert_eq!(trip.call("GET").await.expect(200).json, json!({"status": "disconnected"}));
        trip.call("PATCH").await.expect_problem(404, "not-found");
        trip.call("DELETE").await.expect(204);

        let arrival = trip.begin().await;
        trip.arrive(&arrival).await.expect(200);
        assert_eq!(trip.status().await, "active", "and again");
    }
}

#[tokio::test]
async fn nothing_that_a_provider_gave_is_readable_in_the_database() {
    let trip = Trip::done("acme").await;
    let begun = trip.call("POST").await.expect(200);
    let state = begun.json["state"].as_str().unwrap();
    // All of it, with what is still in the log of the changes.
    crate::sql::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&trip.bench.app.data().pool).await.unwrap();
    let file = std::fs::read(trip.bench.app.settings().data.join("session-manager.sqlite3")).unwrap();
    for secret in ["access-1", "refresh-1", state] {
        assert!(!file.windows(secret.len()).any(|part| part == secret.as_bytes()), "{secret}");
    }
    let challenge = begun.json["auth_url"].as_str().unwrap();
    assert!(!challenge.contains("s3cret"));
}

#[tokio::test]
async fn tokens_go_with_their_account_and_their_connection() {
    for (statement, left) in [("DELETE FROM users", 0), ("DELETE FROM provider_connections", 0), ("SELECT 1", 1)] {
        let trip = Trip::done("acme").await;
        trip.call("POST").await.expect(200);
        crate::sql::query(statement).fetch_all(&trip.bench.app.data().pool).await.unwrap();
        assert_eq!(trip.stored().await.len(), left, "{statement}");
        let pending = crate::sql::query("SELECT count(*) FROM provider_authorizations");
        let pending: i64 = pending.fetch_one(&trip.bench.app.data().pool).await.unwrap().only().unwrap();
        assert_eq!(pending, i64::try_from(left).unwrap(), "{statement}");
    }
    let trip = Trip::done("acme").await;
    let path = format!("/providers/{}", trip.id);
    trip.bench.call("DELETE", &path).bearer(&trip.ann.access).send().await.expect(200);
    assert_eq!((trip.stored().await.len(), trip.server.revoked().len()), (0, 2), "erased, and the provider told");
}

#[tokio::test]
async fn a_state_is_good_once_and_for_ten_minutes() {
    let mut trip = Trip::to("acme").await;
    let arrival = trip.begin().await;
    let without = format!("{}?code=x", arrival.path);
    trip.bench.call("GET", &without).send().await.expect_problem(400, "invalid-state");
    let made_up = Arrival { state: "x".into(), ..arrival.clone() };
    trip.arrive(&made_up).await.expect_problem(400, "invalid-state");
    trip.arrive(&arrival).await.expect(200);
    trip.arrive(&arrival).await.expect_problem(400, "invalid-state");
    for (seconds, status) in [(599, 200), (600, 400)] {
        let arrival = trip.begin().await;
        trip.bench.pass(seconds);
        assert_eq!(trip.arrive(&arrival).await.status, status, "{seconds}");
        // The access token did not last so long.
        trip.ann = trip.bench.login(ANN).await;
    }
    let superseded = trip.begin().await;
    let arrival = trip.begin().await;
    trip.arrive(&superseded).await.expect_problem(400, "invalid-state");
    trip.arrive(&arrival).await.expect(200);
    let abandoned = trip.begin().await;
    trip.call("DELETE").await.expect(204);
    trip.arrive(&abandoned).await.expect_problem(400, "invalid-state");
}

#[tokio::test]
async fn what_nobody_finished_in_time_is_removed() {
    let trip = Trip::to("acme").await;
    trip.begin().await;
    let connections = trip.bench.app.providers().connections();
    trip.bench.pass(599);
    assert_eq!(connections.purge(9, trip.bench.app.now()).await.unwrap(), 0);
    trip.bench.pass(1);
    assert_eq!(connections.purge(9, trip.bench.app.now()).await.unwrap(), 1);
}

#[tokio::test]
async fn a_state_of_two_requests_at_once_serves_one() {
    let trip = Trip::to("acme").await;
    let arrival = trip.begin().await;
    let mut statuses: Vec<_> =
        join_all((0..8).map(|_| trip.arrive(&arrival))).await.iter().map(|one| one.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 400, 400, 400, 400, 400, 400, 400]);
    assert_eq!(trip.server.token_requests(), 1);
}

#[tokio::test]
async fn a_state_is_of_its_session_and_of_its_place() {
    let trip = Trip::to("acme").await;
    trip.bench.user("bob@example.org").await;
    let (bob, second) = (trip.bench.login("bob@example.org").await, trip.bench.login(ANN).await);
    for other in [&bob, &second] {
        let arrival = trip.begin().await;
        let stranger = trip.bench.call("GET", &arrival.address()).bearer(&other.access);
        stranger.send().await.expect_problem(400, "invalid-state");
        trip.arrive(&arrival).await.expect_problem(400, "invalid-state");
    }
    let arrival = trip.begin().await;
    let own = trip.bench.call("GET", &arrival.address()).bearer(&trip.ann.access);
    own.send().await.expect(200);

    let arrival = trip.begin().await;
    let garbage = trip.bench.call("GET", &arrival.address()).bearer("garbage");
    garbage.send().await.expect_problem(401, "invalid-token");
    trip.arrive(&arrival).await.expect(200);

    for (place, status) in [("body", 400), (second.session.as_str(), 400), ("x", 400), (trip.id.as_str(), 200)] {
        let arrival = Arrival { path: format!("/providers/{place}/authorization/callback"), ..trip.begin().await };
        assert_eq!(trip.arrive(&arrival).await.status, status, "{place}");
    }
}

#[tokio::test]
async fn a_state_ends_with_its_session_and_its_account() {
    let trip = Trip::to("acme").await;
    let arrival = trip.begin().await;
    trip.bench.call("POST", "/auth/logout").bearer(&trip.ann.access).send().await.expect(200);
    trip.arrive(&arrival).await.expect_problem(400, "invalid-state");

    let trip = Trip::to("acme").await;
    let arrival = trip.begin().await;
    let user = trip.bench.account(ANN).await.id;
    let context = session_manager_core::RequestContext::default();
    assert!(crate::flows::disable_account(&trip.bench.app, user, &context).await.unwrap());
    trip.arrive(&arrival).await.expect_problem(400, "invalid-state");
    assert_eq!(trip.server.token_requests(), 0);
}

#[tokio::test]
async fn what_a_browser_began_the_same_browser_ends() {
    let trip = Trip::to("acme").await;
    let cookies = format!("session={}; renewal={}", trip.ann.access, trip.ann.refresh);
    let begin = async || {
        let path = format!("/providers/{}/authorization", trip.id);
        let call = trip.bench.call("POST", &path).header("cookie", &cookies).header("sec-fetch-site", "same-origin");
        let begun = call.send().await.expect(200);
        trip.server.approve(begun.json["auth_url"].as_str().unwrap())
    };
    let arrival = begin().await;
    trip.arrive(&arrival).await.expect_problem(400, "invalid-state");
    let arrival = begin().await;
    // A provider's redirect: the browser comes from another site, with cookies that are `Lax`.
    let back = trip.bench.call("GET", &arrival.address()).header("cookie", &cookies);
    back.header("sec-fetch-site", "cross-site").header("sec-fetch-mode", "navigate").send().await.expect(200);
    assert_eq!(trip.status().await, "active");
}

#[tokio::test]
async fn what_a_browser_loads_beside_a_page_authorises_nothing() {
    let trip = Trip::to("acme").await;
    let arrival = trip.begin().await;
    let picture = trip.bench.call("GET", &arrival.address()).header("accept", "image/avif,image/webp,*/*;q=0.8");
    let picture = picture.header("sec-fetch-site", "cross-site").header("sec-fetch-mode", "no-cors");
    let asked = picture.send().await.expect(200);
    assert_eq!(asked.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!((trip.status().await, trip.server.token_requests()), (json!("pending"), 0));
    trip.arrive(&arrival).await.expect(200);
}

#[tokio::test]
async fn several_refreshes_at_once_ask_the_provider_once() {
    let trip = Trip::done("acme").await;
    trip.server.hold();
    let before = trip.server.token_requests();
    let calls = join_all((0..5).map(|_| trip.call("PATCH")));
    let all_wait = async {
        trip.server.arrived().await;
        trip.wait_in_line(5).await;
        trip.server.release();
    };
    let (answers, ()) = futures_util::future::join(calls, all_wait).await;
    let expected = &answers[0].json;
    assert!(answers.iter().all(|answer| answer.status == 200 && answer.json == *expected), "{answers:?}");
    assert_eq!(trip.server.token_requests() - before, 1);
    trip.call("PATCH").await.expect(200);
    assert_eq!(trip.server.token_requests() - before, 2, "one after the other ask each");
}

#[tokio::test]
async fn an_answer_is_kept_when_nobody_waits_for_it_any_more() {
    let trip = Trip::done("acme").await;
    trip.server.hold();
    {
        let mut call = std::pin::pin!(trip.call("PATCH"));
        tokio::select! {
            _ = &mut call => panic!("it was held back"),
            () = trip.server.arrived() => {}
        }
    }
    trip.server.release();
    assert!(trip.bench.app.providers().background().finish(Duration::from_secs(10)).await);
    assert_eq!(trip.tokens().await, ("access-2".into(), Some("refresh-2".into())));
    trip.call("PATCH").await.expect(200);
}

#[tokio::test]
async fn a_provider_that_keeps_its_refresh_token_need_not_repeat_it() {
    let trip = Trip::done("acme").await;
    trip.server.answer(Reply::With(json!({"refresh_token": null, "scope": "read", "expires_in": null})));
    let renewed = trip.call("PATCH").await.expect(200);
    assert_eq!(renewed.json, json!({"status": "active", "scope": "read"}));
    assert_eq!(trip.tokens().await, ("access-2".into(), Some("refresh-1".into())));
}

#[tokio::test]
async fn a_refresh_encrypts_with_the_newest_key() {
    let trip = Trip::done("acme").await;
    let app = &trip.bench.app;
    let rotated = app.data().keys.clone().with_provider_key(&app.settings().data.join("keys")).unwrap();
    // As after the next start.
    let next = crate::providers::Providers::new(app.settings(), app.public_url(), &app.data().pool, &rotated).unwrap();
    let id = trip.id.parse().unwrap();
    let (tokens, generation) = next.connections().tokens(id).await.unwrap().unwrap();
    assert_eq!(*tokens.access, "access-1", "the older key decrypts");
    assert!(next.connections().renewed(id, generation, &tokens, app.now()).await.unwrap());
    assert!(app.providers().connections().tokens(id).await.is_err(), "the older key alone does not");
    assert_eq!(next.connections().tokens(id).await.unwrap().unwrap().0, tokens);
    trip.call("PATCH").await.expect_problem(500, "internal");
    trip.call("DELETE").await.expect(204);
    assert_eq!(trip.stored().await, [], "what cannot be read can be erased");
}
