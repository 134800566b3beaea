//! Endpoints 24 to 28 where a provider does not do its part, and that its answers stay with us.

use serde_json::json;

use super::authorization::Trip;
use super::authorization_server::{Answer as Reply, Arrival};
use super::bench::{ANN, Answer};

fn failures() -> Vec<(Reply, &'static str)> {
    let plainly = |status, kind, text: &str| Reply::Plainly(status, kind, text.to_owned());
    vec![
        (plainly(401, "application/json", r#"{"error":"invalid_client","error_description":"hunter2"}"#), "refused"),
        (plainly(400, "application/json", r#"{"error":"hunter2"}"#), "refused"),
        (plainly(500, "text/html", "<h1>hunter2</h1>"), "unavailable"),
        (plainly(503, "text/plain", ""), "unavailable"),
        (plainly(200, "text/html", "hunter2"), "unavailable"),
        (plainly(200, "application/json", "{\"access_token\": \"hunter2"), "unavailable"),
        (plainly(200, "application/json", r#"{"access_token":"hunter2"}"#), "unavailable"),
        (plainly(200, "application/json", &" ".repeat(70_000)), "unavailable"),
        (Reply::With(json!({"token_type": "mac", "access_token": "hunter2"})), "unavailable"),
        (Reply::With(json!({"access_token": ""})), "unavailable"),
        (Reply::Redirect, "unavailable"),
    ]
}

fn leaks_nothing(answer: &Answer) {
    assert!(
        !answer.json.to_string().contains("hunter2") && !answer.json.to_string().contains("127.0.0.1"),
        "{answer:?}"
    );
}

#[tokio::test]
async fn a_provider_that_does_not_renew_is_told_and_its_answer_is_not() {
    for (reply, kind) in failures() {
        let trip = Trip::done("acme").await;
        let before = trip.stored().await;
        trip.server.answer(reply);
        let failed = trip.call("PATCH").await.expect_problem(502, &format!("provider-{kind}"));
        leaks_nothing(&failed);
        assert_eq!(trip.stored().await, before, "nothing is lost");
        assert_eq!(trip.status().await, "active");
    }
    let trip = Trip::done("acme").await;
    trip.server.answer(Reply::Plainly(500, "text/plain", String::new()));
    trip.call("PATCH").await.expect(502);
    trip.server.answer(Reply::Well);
    trip.call("PATCH").await.expect(200);
}

#[tokio::test]
async fn a_provider_that_does_not_exchange_is_told_and_its_answer_is_not() {
    for (reply, kind) in failures() {
        let trip = Trip::to("acme").await;
        trip.server.answer(reply);
        let arrival = trip.begin().await;
        let failed = trip.arrive(&arrival).await.expect_problem(502, &format!("provider-{kind}"));
        leaks_nothing(&failed);
        assert_eq!((trip.stored().await.len(), trip.status().await), (0, json!("pending")));
        trip.arrive(&arrival).await.expect_problem(400, "invalid-state");
    }
}

#[tokio::test]
async fn a_refusal_of_the_refresh_token_is_the_end_of_the_authorisation() {
    let trip = Trip::done("acme").await;
    trip.server.answer(Reply::Plainly(400, "application/json", r#"{"error":"invalid_grant"}"#.to_owned()));
    trip.call("PATCH").await.expect_problem(502, "provider-refused");
    assert_eq!(trip.call("GET").await.expect(200).json, json!({"status": "expired"}));
    assert_eq!(trip.stored().await, [], "they are worth nothing any more");
    trip.call("PATCH").await.expect_problem(404, "not-found");
    trip.server.answer(Reply::Well);
    let arrival = trip.begin().await;
    trip.arrive(&arrival).await.expect(200);
    assert_eq!(trip.status().await, "active");
}

#[tokio::test]
async fn those_who_wait_for_a_refresh_that_is_refused_do_not_ask_again() {
    let trip = Trip::done("acme").await;
    trip.server.answer(Reply::Plainly(400, "application/json", r#"{"error":"invalid_grant"}"#.to_owned()));
    let before = trip.server.token_requests();
    trip.server.hold();
    let calls = futures_util::future::join_all((0..3).map(|_| trip.call("PATCH")));
    let all_wait = async {
        trip.server.arrived().await;
        trip.wait_in_line(3).await;
        trip.server.release();
    };
    let (answers, ()) = futures_util::future::join(calls, all_wait).await;
    for answer in answers {
        answer.expect_problem(502, "provider-refused");
    }
    assert_eq!(trip.server.token_requests() - before, 1);
}

#[tokio::test]
async fn what_cannot_be_renewed_is_told() {
    let trip = Trip::to("acme").await;
    trip.call("PATCH").await.expect_problem(404, "not-found");
    trip.server.answer(Reply::With(json!({"refresh_token": null})));
    let arrival = trip.begin().await;
    trip.arrive(&arrival).await.expect(200);
    trip.call("PATCH").await.expect_problem(409, "not-refreshable");
    trip.call("DELETE").await.expect(204);
    assert_eq!(trip.server.revoked(), [("access_token".to_owned(), "access-1".to_owned())]);
}

#[tokio::test]
async fn while_another_server_renews_this_one_does_not() {
    let trip = Trip::done("acme").await;
    let id = trip.id.parse().unwrap();
    assert!(trip.bench.app.providers().connections().claim(id, 1, trip.bench.app.now()).await.unwrap());
    let busy = trip.call("PATCH").await.expect_problem(503, "unavailable");
    assert_eq!(busy.header("retry-after"), Some("2"));
    assert_eq!(trip.server.token_requests(), 1);
    trip.bench.pass(20);
    trip.call("PATCH").await.expect(200);
}

/// Their turns are of one process; another one's end of a connection comes in between.
#[tokio::test]
async fn what_another_server_has_disconnected_is_not_authorised_by_this_one() {
    let trip = Trip::done("acme").await;
    let id = trip.id.parse().unwrap();
    let arrival = trip.begin().await;
    trip.server.hold();
    let elsewhere = async {
        trip.server.arrived().await;
        trip.bench.pass(1);
        trip.bench.app.providers().connections().disconnected(id, trip.bench.app.now()).await.unwrap();
        trip.server.release();
    };
    let (answer, ()) = futures_util::future::join(trip.arrive(&arrival), elsewhere).await;
    answer.expect_problem(400, "invalid-state");
    assert_eq!(trip.status().await, "disconnected");
    assert_eq!(trip.stored().await, []);
    let given_back = [("refresh_token", "refresh-2"), ("access_token", "access-2")];
    assert_eq!(trip.server.revoked(), given_back.map(|(hint, token)| (hint.to_owned(), token.to_owned())));
    let arrival = trip.begin().await;
    trip.arrive(&arrival).await.expect(200);
    assert_eq!(trip.status().await, "active", "and again");
}

#[tokio::test]
async fn a_provider_that_says_no_is_believed() {
    let trip = Trip::to("acme").await;
    let arrival = trip.begin().await;
    let denied = format!("{}?error=access_denied&error_description=hunter2&state={}", arrival.path, arrival.state);
    let answer = trip.bench.call("GET", &denied).send().await.expect_problem(400, "authorization-denied");
    leaks_nothing(&answer);
    trip.arrive(&arrival).await.expect_problem(400, "invalid-state");
    for code in ["", "&code="] {
        let arrival = trip.begin().await;
        let address = format!("{}?state={}{code}", arrival.path, arrival.state);
        trip.bench.call("GET", &address).send().await.expect_problem(400, "no-code");
    }
    assert_eq!(trip.server.token_requests(), 0);
}

#[tokio::test]
async fn a_code_that_is_not_good_is_refused() {
    let trip = Trip::to("acme").await;
    let (first, second) = (trip.begin().await, trip.begin().await);
    // The code of one authorisation does not fit the verifier of another.
    let mixed = Arrival { code: first.code, ..second };
    let refused = trip.arrive(&mixed).await.expect_problem(400, "code-refused");
    leaks_nothing(&refused);
    let made_up = Arrival { code: "x".into(), ..trip.begin().await };
    trip.arrive(&made_up).await.expect_problem(400, "code-refused");
    assert_eq!(trip.status().await, "pending");
}

#[tokio::test]
async fn the_issuer_is_checked_where_it_is_known() {
    let trip = Trip::to("strict").await;
    let right = format!("http://{}", trip.server.address);
    for (issuer, status) in [(None, 400), (Some("http://evil.example"), 400), (Some(right.as_str()), 200)] {
        let arrival = trip.begin().await;
        let issuer = issuer.map_or_else(String::new, |issuer| format!("&iss={issuer}"));
        let answer = trip.bench.call("GET", &(arrival.address() + &issuer)).send().await;
        assert_eq!(answer.status, status, "{answer:?}");
        if status == 400 {
            answer.expect_problem(400, "wrong-issuer");
        }
    }
    assert_eq!(trip.server.token_requests(), 1);
}

#[tokio::test]
async fn tokens_are_erased_whatever_the_provider_says() {
    for path in ["/authorization", ""] {
        let trip = Trip::done("acme").await;
        let mut settings = trip.bench.app.settings().clone();
        // Nobody listens there any more.
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        settings.providers.get_mut("acme").unwrap().revocation_url =
            crate::config::EndpointUrl::parse(&format!("http://{nobody}/revoke")).ok();
        let trip = trip.with(settings).await;
        let path = format!("/providers/{}{path}", trip.id);
        let gone = trip.bench.call("DELETE", &path).bearer(&trip.ann.access).send().await;
        assert!(matches!(gone.status, 200 | 204), "{gone:?}");
        assert_eq!(trip.stored().await, []);
    }
}

#[tokio::test]
async fn tokens_for_a_connection_that_went_meanwhile_are_given_back() {
    let trip = Trip::to("acme").await;
    let arrival = trip.begin().await;
    trip.server.hold();
    let gone = async {
        trip.server.arrived().await;
        crate::sql::query("DELETE FROM provider_connections").execute(&trip.bench.app.data().pool).await.unwrap();
        trip.server.release();
    };
    let (answer, ()) = futures_util::future::join(trip.arrive(&arrival), gone).await;
    answer.expect_problem(400, "invalid-state");
    assert_eq!((trip.stored().await.len(), trip.server.revoked().len()), (0, 2));
}

#[tokio::test]
async fn a_provider_that_left_the_configuration_is_told() {
    let trip = Trip::done("acme").await;
    let mut settings = trip.bench.app.settings().clone();
    settings.providers.clear();
    let trip = trip.with(settings).await;
    trip.call("POST").await.expect_problem(400, "provider-not-configured");
    trip.call("PATCH").await.expect_problem(502, "provider-refused");
    assert_eq!(trip.status().await, "active");
    trip.call("DELETE").await.expect(204);
    assert_eq!(trip.stored().await, []);
}

/// The places in the background of providers are apart from the service's own.
#[tokio::test]
async fn a_provider_that_hangs_keeps_nobody_else_from_anything() {
    let trip = Trip::done("acme").await;
    trip.server.hold();
    // All but one of the places are taken by requests that nobody answers, and two more come.
    for _ in 0..1023 {
        trip.bench.app.providers().background().spawn(std::future::pending()).await;
    }
    let hanging = futures_util::future::join(trip.call("PATCH"), trip.call("PATCH"));
    let others = async {
        trip.server.arrived().await;
        // Both leave work behind the answer, and the letters are that work.
        trip.bench.login_as(ANN, "another/1").await;
        trip.bench.post("/password-resets", json!({"email": ANN})).send().await.expect(202);
        assert_eq!(trip.bench.mail_kinds().await, ["new-device", "reset"]);
    };
    tokio::select! {
        answers = hanging => panic!("the provider has not answered: {answers:?}"),
        served = tokio::time::timeout(std::time::Duration::from_mins(1), others) => served.expect("they are served"),
    }
}
