//! The API by cookie: what a page's script may do, and another site's may not.

use serde_json::json;

use super::bench::{ANN, Answer, Bench, PASSWORD, Tokens, credentials};

fn cookie(answer: &Answer, name: &str) -> Option<String> {
    let mut lines = answer.set_cookies().into_iter();
    lines.find_map(|line| Some(line.split(';').next()?.strip_prefix(name)?.strip_prefix('=')?.to_owned()))
}

fn both(tokens: &Tokens) -> String {
    format!("session={}; renewal={}", tokens.access, tokens.refresh)
}

#[tokio::test]
async fn the_access_cookie_serves_as_the_bearer_token_does() {
    let (bench, tokens) = Bench::signed_in().await;
    bench.call("GET", "/auth/me").header("cookie", both(&tokens)).send().await.expect(200);
    let patch = || bench.call("PATCH", "/auth/me").header("cookie", both(&tokens)).json(json!({"name": "B"}));
    patch().send().await.expect_problem(403, "cross-site");
    patch().header("sec-fetch-site", "cross-site").send().await.expect_problem(403, "cross-site");
    patch().header("origin", "https://evil.example").send().await.expect_problem(403, "cross-site");
    patch().header("sec-fetch-site", "same-origin").send().await.expect(200);
    patch().header("origin", "http://127.0.0.1:8080").send().await.expect(200);
}

#[tokio::test]
async fn a_refresh_by_cookie_answers_by_cookie() {
    let (bench, tokens) = Bench::signed_in().await;
    let call = || bench.call("POST", "/auth/refresh").header("cookie", both(&tokens));
    call().send().await.expect_problem(403, "cross-site");
    let answer = call().header("sec-fetch-site", "same-origin").send().await.expect(200);
    assert_eq!(answer.members(), ["expires_in", "server_time", "session_id", "token_type"]);
    let access = cookie(&answer, "session").unwrap();
    assert_ne!(cookie(&answer, "renewal").unwrap(), tokens.refresh);
    assert!(answer.set_cookies().iter().all(|line| line.contains("HttpOnly") && !line.contains("Max-Age")));
    bench.call("GET", "/auth/me").bearer(&access).send().await.expect(200);
    bench.pass(11);
    let refused = call().header("sec-fetch-site", "same-origin").send().await.expect_problem(401, "reuse-detected");
    assert_eq!(refused.set_cookies().len(), 2, "both are removed");
    assert!(refused.set_cookies().iter().all(|line| line.contains("Max-Age=0")));
}

#[tokio::test]
async fn signing_out_removes_the_cookies() {
    for (method, path) in [("POST", "/auth/logout"), ("DELETE", "/auth/sessions/all/revoke")] {
        let (bench, tokens) = Bench::signed_in().await;
        let call = bench.call(method, path).header("cookie", both(&tokens)).header("sec-fetch-site", "same-origin");
        let answer = call.send().await.expect(200);
        assert!(answer.header("clear-site-data").is_some());
        assert_eq!(answer.set_cookies().len(), 2);
        assert!(answer.set_cookies().iter().all(|line| line.contains("Max-Age=0")), "{answer:?}");
    }
}

#[tokio::test]
async fn new_tokens_after_step_up_and_password_change_go_into_the_cookies() {
    let (bench, tokens) = Bench::signed_in().await;
    let by_cookie = |tokens: &str, method, path| {
        bench.call(method, path).header("cookie", tokens).header("sec-fetch-site", "same-origin")
    };
    let proof = by_cookie(&both(&tokens), "POST", "/auth/reauthenticate").json(json!({"password": PASSWORD}));
    let answer = proof.send().await.expect(200);
    assert_eq!(answer.json.get("access_token"), None);
    let cookies = format!("session={}", cookie(&answer, "session").unwrap());
    let body = json!({"current_password": PASSWORD, "new_password": "Other-Battery-8"});
    let answer = by_cookie(&cookies, "PATCH", "/auth/me/password").json(body).send().await.expect(200);
    assert_eq!(answer.json.get("refresh_token"), None);
    let cookies = format!("session={}", cookie(&answer, "session").unwrap());
    by_cookie(&cookies, "GET", "/auth/me").send().await.expect(200);
}

#[tokio::test]
async fn cookies_of_a_remembered_session_outlast_the_browser_when_renewed() {
    let (bench, _) = Bench::signed_in().await;
    for (remember, persistent) in [(true, true), (false, false)] {
        let mut body = credentials(ANN);
        body["remember"] = json!(remember);
        let tokens = bench.post("/auth/login", body).send().await.expect(200).tokens();
        let call = bench.call("POST", "/auth/refresh").header("cookie", both(&tokens));
        let answer = call.header("sec-fetch-site", "same-origin").send().await.expect(200);
        assert!(answer.set_cookies().iter().all(|line| line.contains("Max-Age=") == persistent), "{answer:?}");

        // Renewed by the layer on the way to a page.
        let tokens = Tokens { refresh: cookie(&answer, "renewal").unwrap(), ..tokens };
        bench.pass(6 * 60);
        let page = bench.call("GET", "/auth/me").header("cookie", both(&tokens)).header("sec-fetch-mode", "navigate");
        let answer = page.send().await.expect(200);
        assert_eq!(answer.set_cookies().len(), 2);
        assert!(answer.set_cookies().iter().all(|line| line.contains("Max-Age=") == persistent), "{answer:?}");
    }
}

#[tokio::test]
async fn a_known_device_is_neither_mailed_of_nor_locked_out() {
    let (bench, _) = Bench::signed_in().await;
    let device = crate::accounts::DeviceToken::generate().unwrap();
    let login = || {
        let call = bench.post("/auth/login", credentials(ANN)).header("user-agent", "Browser/1");
        call.header("cookie", format!("device={}", device.expose()))
    };
    login().send().await.expect(200);
    assert_eq!(bench.mail_kinds().await, ["new-device"]);
    login().header("user-agent", "Browser/2").send().await.expect(200);
    assert_eq!(bench.mail_kinds().await, Vec::<String>::new(), "the cookie counts, not the user agent");
}

#[tokio::test]
async fn https_cookies_have_their_prefixes() {
    let bench = Bench::with(|settings| {
        settings.public_url = crate::config::PublicUrl::parse("https://accounts.example.org").ok();
    })
    .await;
    bench.user(ANN).await;
    let tokens = bench.login(ANN).await;
    let cookies = format!("__Host-session={}; __Secure-renewal={}", tokens.access, tokens.refresh);
    let call = bench.call("POST", "/auth/refresh").header("cookie", &cookies);
    let answer = call.header("origin", "https://accounts.example.org").send().await.expect(200);
    assert!(cookie(&answer, "__Host-session").is_some() && cookie(&answer, "__Secure-renewal").is_some());
    assert!(answer.set_cookies().iter().all(|line| line.contains("Secure") && line.contains("SameSite=Lax")));
}
