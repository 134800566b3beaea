//! The limits of all endpoints: the numbers of the contract, and that each is kept.

use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use serde_json::json;

use super::bench::{ANN, Answer, Bench, Call, Tokens, credentials};
use crate::api::description::Description;
use crate::api::{Verb, Who, endpoint, endpoints, mount};
use crate::limits::{Limit, Rate, SessionMeter};
use crate::problem::Rejection;

/// The contract: number, method, path, limit.
const CONTRACT: [(u8, &str, &str, &str); 30] = [
    (1, "POST", "/auth/register", "10, 2/min ip"),
    (2, "POST", "/auth/verify-email", "10, 2/min ip"),
    (3, "POST", "/auth/login", "20, 5/min ip"),
    (4, "POST", "/auth/refresh", "10, 10/min session"),
    (5, "POST", "/auth/logout", "–"),
    (6, "GET", "/auth/me", "100/min user"),
    (7, "PATCH", "/auth/me", "50/min user"),
    (8, "PATCH", "/auth/me/password", "5/min user"),
    (9, "POST", "/password-resets", "5, 0.2/min ip"),
    (10, "GET", "/password-resets/{token}", "10/min ip"),
    (11, "PATCH", "/password-resets/{token}", "10/min ip"),
    (12, "GET", "/auth/sessions", "10/min user"),
    (13, "DELETE", "/auth/sessions/{session_id}", "20/min user"),
    (14, "DELETE", "/auth/sessions/others/revoke", "5/h user"),
    (15, "DELETE", "/auth/sessions/all/revoke", "3/h user"),
    (16, "DELETE", "/users/{user_id}/tokens", "5, 0.33/min user"),
    (17, "DELETE", "/tokens", "1/day global"),
    (18, "GET", "/security/config", "10, 1/min user"),
    (19, "POST", "/providers", "100/min user"),
    (20, "GET", "/providers", "100/min user"),
    (21, "GET", "/providers/{id}", "100/min user"),
    (22, "PATCH", "/providers/{id}", "50/min user"),
    (23, "DELETE", "/providers/{id}", "20/min user"),
    (24, "POST", "/providers/{id}/authorization", "50/min user"),
    (25, "GET", "/providers/{id}/authorization", "100/min user"),
    (26, "GET", "/providers/{id}/authorization/callback", "20, 10/min ip"),
    (27, "PATCH", "/providers/{id}/authorization", "20/min user"),
    (28, "DELETE", "/providers/{id}/authorization", "20/min user"),
    (29, "GET", "/provider-types", "100/min ip"),
    (30, "GET", "/provider-types/{key}", "100/min ip"),
];

/// What is there beside the contract.
const BESIDE: [(&str, &str, &str); 8] = [
    ("POST", "/auth/reauthenticate", "5/min user"),
    ("GET", "/admin/users", "100/min user"),
    ("GET", "/admin/users/{user_id}", "100/min user"),
    ("POST", "/admin/users/{user_id}/disable", "50/min user"),
    ("POST", "/admin/users/{user_id}/enable", "50/min user"),
    ("DELETE", "/admin/users/{user_id}/sessions", "50/min user"),
    ("DELETE", "/admin/users/{user_id}/sessions/{session_id}", "50/min user"),
    ("GET", "/admin/audit", "100/min user"),
];

#[test]
fn the_limits_are_those_of_the_contract() {
    let mut found: Vec<_> = endpoints()
        .iter()
        .map(|row| (row.description.number, row.verb.name(), row.path, row.limit.to_string()))
        .collect();
    let mut expected: Vec<_> = CONTRACT
        .iter()
        .map(|(number, method, path, limit)| (Some(*number), *method, *path, (*limit).to_owned()))
        .chain(BESIDE.iter().map(|(method, path, limit)| (None, *method, *path, (*limit).to_owned())))
        .collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn guessing_stays_bounded_in_an_outage_and_only_there() {
    let kept: Vec<_> = endpoints().into_iter().filter(|row| row.limit.is_kept()).map(|row| row.path).collect();
    assert_eq!(
        kept,
        [
            "/auth/login",
            "/auth/reauthenticate",
            "/password-resets",
            "/password-resets/{token}",
            "/password-resets/{token}",
        ]
    );
}

/// `most` and the window's seconds, of a limit as the contract writes it: worked out here once more.
fn numbers(limit: &str) -> (u64, u64) {
    let (rate, _) = limit.rsplit_once(' ').unwrap();
    if let Some((most, refill)) = rate.split_once(", ") {
        let most: u64 = most.parse().unwrap();
        let hundredths = (refill.strip_suffix("/min").unwrap().parse::<f64>().unwrap() * 100.0).round();
        return (most, most * 60 * 100 / format!("{hundredths}").parse::<u64>().unwrap());
    }
    let (most, unit) = rate.split_once('/').unwrap();
    let seconds = match unit {
        "min" => 60,
        "h" => 3600,
        "day" => 86400,
        _ => panic!("{limit}"),
    };
    (most.parse().unwrap(), seconds)
}

fn number(answer: &Answer, header: &str) -> u64 {
    answer.header(header).unwrap_or_else(|| panic!("no {header}: {answer:?}")).parse().unwrap()
}

#[track_caller]
fn expect_limited(answer: Answer, template: &str) {
    let answer = answer.expect_problem(429, "rate-limited");
    assert_eq!(answer.json["endpoint"], format!("/api/v1{template}"));
    assert_eq!(answer.json["retry_after"], number(&answer, "retry-after"));
    assert_eq!(number(&answer, "retry-after"), number(&answer, "x-ratelimit-reset"));
    assert_eq!(number(&answer, "x-ratelimit-remaining"), 0);
}

#[tokio::test]
async fn each_limit_is_kept_to_the_last_request_and_ends_with_its_window() {
    let contract = CONTRACT.iter().map(|(_, method, path, limit)| (*method, *path, *limit));
    for (method, path, limit) in contract.chain(BESIDE).filter(|row| row.2 != "–" && !row.2.ends_with("session")) {
        let bench = Bench::limited().await;
        bench.user(ANN).await;
        let (most, window) = numbers(limit);
        // A new window for whatever was asked so far, and not its first second.
        let second = u64::try_from(bench.app.now().timestamp()).unwrap();
        bench.pass(window - second % window + 1);
        let sign_in = || bench.login_from(ANN, "203.0.113.7:1");
        let mut tokens = sign_in().await;
        let mut asked = 0;
        loop {
            let answer = send(&bench, &tokens, method, path).await;
            if answer.status == 429 {
                assert_eq!(asked, most, "{method} {path}");
                assert_eq!(number(&answer, "retry-after"), window - 1, "{method} {path}");
                expect_limited(answer, path);
                break;
            }
            asked += 1;
            assert_eq!(number(&answer, "x-ratelimit-limit"), most, "{method} {path}");
            assert_eq!(number(&answer, "x-ratelimit-remaining"), most - asked, "{method} {path}");
            assert_eq!(number(&answer, "x-ratelimit-reset"), window - 1, "{method} {path}");
            if path.ends_with("/all/revoke") {
                tokens = sign_in().await;
            }
        }
        bench.pass(window - 2);
        // The access token may be over by now.
        let tokens = sign_in().await;
        expect_limited(send(&bench, &tokens, method, path).await, path);
        bench.pass(1);
        assert_ne!(send(&bench, &tokens, method, path).await.status, 429, "{method} {path}");
    }
}

/// A request that is wrong where there is anything to be wrong: that costs as much.
async fn send(bench: &Bench, tokens: &Tokens, method: &str, path: &str) -> Answer {
    let path = path.replace("{session_id}", "00000000-0000-0000-0000-000000000000");
    let call = bench.call(method, &path).header("content-type", "application/json").bearer(&tokens.access);
    if path == "/tokens" {
        // Only what was done counts there.
        return call.body(r#"{"reason":"a drill for everybody","grace_period_minutes":60}"#).send().await;
    }
    if path.ends_with("/revoke") || method == "GET" { call.send().await } else { call.body("{").send().await }
}

#[tokio::test]
async fn a_slash_a_query_and_another_id_are_the_same_route() {
    let bench = Bench::limited().await;
    for path in ["/auth/login", "/auth/login/", "/auth/login?a=b", "/auth/login/?a"].iter().cycle().take(20) {
        bench.post(path, json!({})).send().await.expect(422);
    }
    for path in ["/auth/login", "/auth/login/", "/auth/login?c=d"] {
        expect_limited(bench.post(path, json!({})).send().await, "/auth/login");
    }
    bench.call("POST", "/auth/%6cogin").json(json!({})).send().await.expect(404);

    bench.user(ANN).await;
    let tokens = bench.login_from(ANN, "203.0.113.7:1").await;
    for id in 0..20 {
        bench.call("DELETE", &format!("/auth/sessions/{id}")).bearer(&tokens.access).send().await.expect(404);
    }
    let answer = bench.call("DELETE", "/auth/sessions/secret/").bearer(&tokens.access).send().await;
    assert!(!answer.json.to_string().contains("secret"));
    expect_limited(answer, "/auth/sessions/{session_id}");
}

#[tokio::test]
async fn each_address_counts_by_itself_and_one_of_ipv6_by_its_network() {
    let bench = Bench::with(|settings| {
        settings.rate_limits.enabled = true;
        settings.http.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
    })
    .await;
    let ask = |peer: &'static str, forwarded: &'static str| {
        let call = bench.post("/auth/login", json!({})).at_peer(peer);
        if forwarded.is_empty() { call.send() } else { call.header("x-forwarded-for", forwarded).send() }
    };
    for _ in 0..20 {
        ask("[2001:db8:1:2::1]:1", "").await.expect(422);
    }
    for (peer, forwarded, status) in [
        ("[2001:db8:1:2:ffff::9]:1", "", 429),
        ("[2001:db8:1:3::1]:1", "", 422),
        ("198.51.100.1:1", "", 422),
        // A stranger's word about its address is worth nothing, a trusted proxy's is.
        ("[2001:db8:1:2::1]:1", "203.0.113.1", 429),
        ("10.0.0.1:1", "2001:db8:1:2::5", 429),
        ("10.0.0.1:1", "203.0.113.1", 422),
    ] {
        ask(peer, forwarded).await.expect(status);
    }
    for left in (0..19).rev() {
        assert_eq!(number(&ask("[::ffff:198.51.100.1]:1", "").await, "x-ratelimit-remaining"), left);
    }
    ask("198.51.100.1:2", "").await.expect(429);
}

#[tokio::test]
async fn nobody_uses_up_the_budget_of_another() {
    let bench = Bench::limited().await;
    bench.user(ANN).await;
    let tokens = bench.login(ANN).await;
    let me = |token: &str| bench.call("GET", "/auth/me").bearer(token).send();
    // A token of Ann's with another signature names her, and proves nothing.
    let forged = format!("{}AAAA", tokens.access.strip_suffix(&tokens.access[tokens.access.len() - 4..]).unwrap());
    for left in (0..300).rev() {
        let answer = me(&forged).await.expect_problem(401, "invalid-token");
        assert_eq!((number(&answer, "x-ratelimit-limit"), number(&answer, "x-ratelimit-remaining")), (300, left));
    }
    expect_limited(me(&forged).await, "/auth/me");
    expect_limited(bench.call("GET", "/auth/sessions").send().await, "/auth/sessions");
    expect_limited(bench.call("POST", "/auth/logout").bearer(&forged).send().await, "/auth/logout");
    let answer = me(&tokens.access).await.expect(200);
    assert_eq!(number(&answer, "x-ratelimit-remaining"), 99, "whoever is signed in is not refused for its neighbours");
    bench.call("GET", "/auth/me").bearer(&forged).at_peer("203.0.113.7:1").send().await.expect(401);

    // Two users behind one address have a budget each, and a user has one over all sessions.
    bench.user("bob@example.org").await;
    let (bob, again) = (bench.login("bob@example.org").await, bench.login(ANN).await);
    assert_eq!(number(&me(&bob.access).await, "x-ratelimit-remaining"), 99);
    assert_eq!(number(&me(&again.access).await, "x-ratelimit-remaining"), 98);
}

#[tokio::test]
async fn another_site_spends_nothing() {
    let bench = Bench::limited().await;
    bench.user(ANN).await;
    let tokens = bench.login(ANN).await;
    let call =
        || bench.call("PATCH", "/auth/me").header("cookie", format!("session={}", tokens.access)).json(json!({}));
    for _ in 0..3 {
        let refused = call().header("origin", "https://evil.example").send().await.expect_problem(403, "cross-site");
        assert_eq!(number(&refused, "x-ratelimit-remaining"), 300);
    }
    let answer = call().header("sec-fetch-site", "same-origin").send().await.expect(200);
    assert_eq!(number(&answer, "x-ratelimit-remaining"), 49);
}

#[tokio::test]
async fn what_all_share_is_spent_by_success_alone() {
    let bench = Bench::limited().await;
    bench.user(ANN).await;
    let tokens = bench.login(ANN).await;
    let app = bench.app.clone();
    let rotate = |meter: SessionMeter, headers: http::HeaderMap| async move {
        let status = http::StatusCode::from_u16(headers["x-answer"].to_str().unwrap().parse().unwrap()).unwrap();
        meter
            .for_everybody(async move {
                tokio::task::yield_now().await;
                if status.is_success() { Ok(status) } else { Err(Rejection::new(status, "x", "x")) }
            })
            .await
    };
    let row = endpoint(Verb::Delete, "/tokens", Who::Authenticated, rotate)
        .limit(Limit::global(Rate::per_day(1)))
        .described(Description::new("Rotates", "nothing"));
    let router = mount(vec![row], &app).layer(app.sessions().layer()).with_state(app);
    let send = |token: &str, answer: &str| {
        let request = http::Request::delete("/api/v1/tokens").header("x-answer", answer);
        let mut request = request.header("authorization", format!("Bearer {token}")).body(Body::empty()).unwrap();
        request.extensions_mut().insert(ConnectInfo::<std::net::SocketAddr>("198.51.100.1:1".parse().unwrap()));
        let router = router.clone();
        async {
            let response = tower::ServiceExt::oneshot(router, request).await.unwrap();
            let left = response.headers()["x-ratelimit-remaining"].to_str().unwrap().to_owned();
            (response.status().as_u16(), left)
        }
    };
    assert_eq!(send("garbage", "200").await, (401, "299".to_owned()));
    assert_eq!(send(&tokens.access, "422").await, (422, "1".to_owned()));
    assert_eq!(send(&tokens.access, "503").await, (503, "1".to_owned()));
    let at_once = futures_util::future::join_all((0..8).map(|_| send(&tokens.access, "200"))).await;
    assert_eq!(at_once.iter().filter(|answer| answer.0 == 200).count(), 1, "{at_once:?}");
    assert_eq!(send(&tokens.access, "200").await, (429, "0".to_owned()));
    bench.clock.advance(Duration::from_hours(24));
    let tokens = bench.login(ANN).await;
    assert_eq!(send(&tokens.access, "200").await, (200, "0".to_owned()));
}

#[tokio::test]
async fn pages_spend_what_their_endpoints_do() {
    let bench = Bench::limited().await;
    bench.user(ANN).await;
    let form = |path: &str, body: &str| -> Call<'_> {
        let call = bench.request("POST", path).header("content-type", "application/x-www-form-urlencoded");
        call.header("accept", "text/html").header("sec-fetch-site", "same-origin").body(body)
    };
    for (page, endpoint, most) in [
        ("/sign-in", "/auth/login", 20),
        ("/register", "/auth/register", 9),
        ("/verify-email", "/auth/verify-email", 9),
    ] {
        for _ in 0..most {
            assert_ne!(form(page, "").send().await.status, 429, "{page}");
        }
        let answer = form(page, "").send().await.expect(429);
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
        assert_eq!(answer.header("retry-after"), answer.header("x-ratelimit-reset"));
        expect_limited(bench.post(endpoint, json!({})).send().await, endpoint);
    }
    let tokens = bench.login_from(ANN, "203.0.113.7:1").await;
    let signed_in = |path: &str| form(path, "").header("cookie", format!("session={}", tokens.access));
    for left in (0..20).rev() {
        let answer = signed_in("/devices/none/end").send().await.expect(404);
        assert_eq!(number(&answer, "x-ratelimit-remaining"), left);
    }
    bench.call("DELETE", "/auth/sessions/x").bearer(&tokens.access).send().await.expect(429);
    for _ in 0..5 {
        signed_in("/devices/end-others").send().await.expect(303);
    }
    signed_in("/devices/end-others").send().await.expect(429);
    let refused = form("/sign-in", "").header("sec-fetch-site", "cross-site").at_peer("203.0.113.9:1").send().await;
    assert_eq!(
        (refused.status, refused.header("x-ratelimit-limit")),
        (403, None),
        "another site's form is not counted"
    );
}

#[tokio::test]
async fn without_limits_nothing_is_counted() {
    let bench = Bench::new().await;
    for _ in 0..25 {
        let answer = bench.post("/auth/login", credentials(ANN)).send().await;
        assert!(answer.status != 429 && answer.header("x-ratelimit-limit").is_none());
    }
}

#[tokio::test]
async fn pages_that_read_what_is_stored_have_a_limit() {
    let bench = Bench::limited().await;
    bench.user(ANN).await;
    let tokens = bench.login(ANN).await;
    let get = |path: &str, peer: &str| {
        let call = bench.request("GET", path).header("accept", "text/html").header("sec-fetch-site", "same-origin");
        call.header("cookie", format!("session={}", tokens.access)).at_peer(peer).send()
    };
    let account = format!("/admin/users/{}", bench.account(ANN).await.id);
    for path in ["/devices", "/connections", "/admin", account.as_str()] {
        for left in (0..100).rev() {
            let page = get(path, "198.51.100.1:1").await.expect(200);
            assert_eq!(number(&page, "x-ratelimit-remaining"), left, "{path}");
        }
        // Whose they are counts, not from where.
        let page = get(path, "198.51.100.2:1").await.expect(429);
        assert!(page.text.contains("A little slower, please") && page.header("retry-after").is_some(), "{path}");
    }
    // Nobody has to be signed in for this one, and it shares the limit of the endpoint that says the same.
    for left in (0..10).rev() {
        let page = get("/reset-password?token=x", "203.0.113.1:1").await.expect(400);
        assert_eq!(number(&page, "x-ratelimit-remaining"), left);
    }
    let page = get("/reset-password?token=x", "203.0.113.1:1").await.expect(429);
    assert_eq!(page.header("referrer-policy"), Some("no-referrer"), "the token in its address goes nowhere");
    bench.call("GET", "/password-resets/x").at_peer("203.0.113.1:1").send().await.expect(429);
    get("/reset-password?token=x", "203.0.113.2:1").await.expect(400);
}

#[tokio::test]
async fn the_answer_to_the_question_of_a_provider_has_the_limit_of_the_way_back() {
    let bench = Bench::limited().await;
    let finish = || {
        let call = bench.request("POST", "/connections/finish").header("sec-fetch-site", "same-origin");
        let call = call.header("content-type", "application/x-www-form-urlencoded").header("accept", "text/html");
        call.body("place=acme&state=x&code=x").send()
    };
    for left in (1..20).rev() {
        assert_eq!(number(&finish().await.expect(400), "x-ratelimit-remaining"), left);
    }
    let back = "/providers/acme/authorization/callback?state=x&code=x";
    assert_eq!(number(&bench.call("GET", back).send().await.expect(400), "x-ratelimit-remaining"), 0);
    finish().await.expect(429);
    expect_limited(bench.call("GET", back).send().await, "/providers/{id}/authorization/callback");
}
