//! Page requests renew an expired session: once, in time or not at all, and never by mistake.

use std::time::Duration;

use futures_util::future::join_all;
use session_manager_core::{RequestContext, RevocationReason, SessionPolicy, TokenPair};
use session_manager_testkit::fault::{Effect, Method};

use crate::harness::{
    ACCESS_COOKIE, Answer, Harness, REFRESH_COOKIE, access_cookie, alice, answer, both_cookies, refresh_cookie, request,
};

const PAGE: (&str, &str) = ("sec-fetch-mode", "navigate");

async fn page(harness: &Harness, path: &str, cookie: &str) -> Answer {
    harness.get(path, &[PAGE, ("cookie", cookie)]).await
}

/// The cookies that a browser holds after this answer.
fn jar(answer: &Answer) -> String {
    let value = |name| answer.cookie(name).unwrap();
    format!("{ACCESS_COOKIE}={}; {REFRESH_COOKIE}={}", value(ACCESS_COOKIE), value(REFRESH_COOKIE))
}

async fn expired_login(harness: &Harness) -> TokenPair {
    let tokens = harness.login().await.tokens;
    harness.let_access_expire();
    tokens
}

#[tokio::test]
async fn a_page_request_is_renewed_and_counts_as_presence() {
    let harness = Harness::new();
    let tokens = expired_login(&harness).await;
    for cookie in [both_cookies(&tokens), refresh_cookie(&tokens)] {
        let answer = page(&harness, "/current", &cookie).await;
        assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, "alice by Cookie"));
        assert_eq!(answer.set_cookies().len(), 2);
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let next = page(&harness, "/current", &jar(&answer)).await;
        assert_eq!((next.status.as_u16(), next.set_cookies().len()), (200, 0));
    }
    let filter = session_manager_core::storage::SessionFilter::default();
    let view = harness.manager.list(&alice(), filter, None, 9).await.unwrap().sessions.pop().unwrap();
    assert_eq!(view.snapshot.control.last_activity, session_manager_core::Clock::now(&*harness.clock));
    assert_eq!(view.snapshot.control.generation, 2, "the second one converged");
}

#[tokio::test]
async fn only_pages_with_an_expired_token_are_renewed() {
    let harness = Harness::new();
    let tokens = harness.login().await.tokens;
    assert!(page(&harness, "/current", &both_cookies(&tokens)).await.set_cookies().is_empty());
    harness.let_access_expire();
    harness.storage.reset();
    let cookie = both_cookies(&tokens);
    for (method, headers) in [
        ("GET", &[("cookie", cookie.as_str())][..]),
        ("GET", &[("cookie", cookie.as_str()), ("sec-fetch-mode", "cors"), ("accept", "text/html")]),
        ("POST", &[("cookie", cookie.as_str()), PAGE, ("sec-fetch-site", "same-origin")]),
    ] {
        let answer = harness.send(request(method, "/current", headers)).await;
        assert_eq!((answer.status.as_u16(), answer.problem().as_str()), (401, "expired"), "{headers:?}");
        assert!(answer.set_cookies().is_empty());
    }
    assert_eq!(harness.storage.calls(Method::Advance), 0);
    assert_eq!(page(&harness, "/current", &cookie).await.status, 200);

    let forged = format!("{ACCESS_COOKIE}=sms_forged; {}", refresh_cookie(&tokens));
    assert_eq!(page(&harness, "/current", &forged).await.problem(), "invalid-token");
    assert_eq!(harness.storage.calls(Method::Advance), 1);
}

#[tokio::test]
async fn a_slow_response_sets_no_cookies() {
    let grace = SessionPolicy::default().refresh_grace.as_secs();
    for (seconds, expected) in [(0, 2), (grace - 1, 2), (grace, 0), (grace + 60, 0)] {
        let harness = Harness::new();
        let tokens = expired_login(&harness).await;
        let answer = page(&harness, &format!("/slow/{seconds}"), &both_cookies(&tokens)).await;
        assert_eq!((answer.body.as_str(), answer.set_cookies().len()), ("alice", expected), "{seconds} s");
    }
}

#[tokio::test]
async fn the_grace_is_that_of_the_rotation_not_of_the_retry() {
    let harness = Harness::new();
    let tokens = expired_login(&harness).await;
    assert_eq!(page(&harness, "/slow/6", &both_cookies(&tokens)).await.set_cookies().len(), 2);
    // The second tab converges 6 s after the rotation and answers 10 s after it.
    assert!(page(&harness, "/slow/4", &both_cookies(&tokens)).await.set_cookies().is_empty());
}

#[tokio::test]
async fn without_a_grace_no_page_request_uses_up_a_token() {
    let mut policy = SessionPolicy::default();
    policy.refresh_grace = Duration::ZERO;
    let harness = Harness::with(policy, |layer| layer);
    let tokens = expired_login(&harness).await;
    assert_eq!(page(&harness, "/current", &both_cookies(&tokens)).await.problem(), "expired");
    assert_eq!(harness.storage.calls(Method::Advance), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_page_requests_converge() {
    let harness = Harness::new();
    let tokens = expired_login(&harness).await;
    let cookie = both_cookies(&tokens);
    let tabs = (0..64).map(|_| {
        let request = request("GET", "/current", &[PAGE, ("cookie", &cookie)]);
        tokio::spawn(answer(harness.app.clone(), request))
    });
    let answers: Vec<Answer> = join_all(tabs).await.into_iter().map(Result::unwrap).collect();
    for answer in &answers {
        assert_eq!(answer.status, 200);
        assert_eq!(answer.cookie(REFRESH_COOKIE), answers[0].cookie(REFRESH_COOKIE));
    }
    assert_ne!(answers[0].cookie(REFRESH_COOKIE), Some(tokens.refresh.expose()));
    harness.let_access_expire();
    assert_eq!(page(&harness, "/current", &jar(&answers[63])).await.status, 200);
}

#[tokio::test]
async fn a_refused_refresh_token_is_removed() {
    let context = RequestContext::default();
    // Replayed: used twice, outside the grace.
    let harness = Harness::new();
    let tokens = expired_login(&harness).await;
    let good = jar(&page(&harness, "/current", &both_cookies(&tokens)).await);
    harness.let_access_expire();
    let answer = page(&harness, "/current", &both_cookies(&tokens)).await;
    assert_removed(&answer, "reuse-detected");
    assert_removed(&page(&harness, "/current", &good).await, "revoked");

    // Ended by its user.
    let harness = Harness::new();
    let tokens = expired_login(&harness).await;
    harness.manager.revoke_all(&alice(), RevocationReason::ALL, &context).await.unwrap();
    assert_removed(&page(&harness, "/current", &both_cookies(&tokens)).await, "revoked");

    // Replaced by a re-authentication, whose own cookies may have reached the browser meanwhile: refused, and nothing removed.
    let harness = Harness::new();
    let created = harness.login().await;
    harness.manager.reauthenticate(created.snapshot.key(), &["pwd"], None, &context).await.unwrap();
    let answer = page(&harness, "/current", &refresh_cookie(&created.tokens)).await;
    assert_eq!((answer.status.as_u16(), answer.problem().as_str()), (401, "rotated"));
    assert!(answer.set_cookies().is_empty());

    // Not ours at all; the visitor's page is served all the same.
    let answer = page(&harness, "/optional", &format!("{REFRESH_COOKIE}=smr_forged")).await;
    assert_eq!((answer.body.as_str(), answer.cookie(REFRESH_COOKIE)), ("nobody", Some("")));
    // A response that late could remove the cookies of a sign-in made meanwhile.
    let late = page(&harness, "/slow/10", &format!("{REFRESH_COOKIE}=smr_forged")).await;
    assert!(late.set_cookies().is_empty());
}

fn assert_removed(answer: &Answer, problem: &str) {
    assert_eq!((answer.status.as_u16(), answer.problem().as_str()), (401, problem));
    assert_eq!((answer.cookie(ACCESS_COOKIE), answer.cookie(REFRESH_COOKIE)), (Some(""), Some("")), "{problem}");
}

#[tokio::test]
async fn an_outage_during_the_renewal_removes_nothing_and_loses_nothing() {
    let harness = Harness::new();
    let tokens = expired_login(&harness).await;
    for effect in [Effect::Nothing, Effect::Done] {
        harness.storage.inner().fail_next(Method::Advance, effect);
        for path in ["/optional", "/current"] {
            let answer = page(&harness, path, &refresh_cookie(&tokens)).await;
            if path == "/optional" {
                assert_eq!((answer.status.as_u16(), answer.set_cookies().len()), (503, 0), "{effect:?}");
            } else {
                assert_eq!((answer.status.as_u16(), answer.set_cookies().len()), (200, 2), "{effect:?}");
            }
        }
    }
}

#[tokio::test]
async fn what_counts_as_a_page_can_be_configured_and_is_judged_for_its_origin() {
    let harness = Harness::with(SessionPolicy::default(), |layer| layer.page_requests(|_| true));
    let tokens = expired_login(&harness).await;
    let cookie = refresh_cookie(&tokens);
    let cross_site = [("cookie", cookie.as_str()), ("sec-fetch-site", "cross-site")];
    let answer = harness.send(request("POST", "/current", &cross_site)).await;
    assert_eq!((answer.status.as_u16(), answer.problem().as_str()), (403, "cross-site"));
    assert_eq!(harness.storage.calls(Method::Advance), 0);
    let own = [("cookie", cookie.as_str()), ("sec-fetch-site", "same-origin")];
    assert_eq!(harness.send(request("POST", "/current", &own)).await.status, 200);
    // An access cookie alone is not renewed.
    harness.let_access_expire();
    assert_eq!(harness.get("/current", &[("cookie", &access_cookie(&tokens))]).await.problem(), "expired");
}

#[tokio::test]
async fn the_handlers_own_cookies_count() {
    let harness = Harness::new();
    let tokens = expired_login(&harness).await;
    let answer = page(&harness, "/sign-out", &both_cookies(&tokens)).await;
    assert_eq!(harness.storage.calls(Method::Advance), 1, "it was renewed");
    assert_eq!(answer.set_cookies().len(), 2);
    assert_eq!((answer.cookie(ACCESS_COOKIE), answer.cookie(REFRESH_COOKIE)), (Some(""), Some("")));
}
