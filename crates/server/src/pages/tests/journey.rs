//! From registration to sign-out, every form answered with a redirect.

use super::*;

#[tokio::test]
async fn register_confirm_sign_in_and_out() {
    let service = Service::local().await;
    let mut browser = service.browser();
    assert_eq!(browser.get("/").await.location(), "/sign-in");
    assert_eq!(browser.get("/devices").await.location(), "/sign-in", "nothing has ended, so nothing is said");

    let form = format!("name=Ann&email=ann%40b.example&password={PASSWORD}");
    let registered = browser.post("/register", &form).await;
    assert_eq!((registered.status, registered.location()), (StatusCode::SEE_OTHER, "/sign-in?notice=check-mail"));
    let again = browser.post("/register", &form).await;
    assert_eq!(again.location(), registered.location(), "a taken address looks the same");
    assert!(browser.get("/sign-in?notice=check-mail").await.body.contains("open the link in the mail"));
    let early = browser.sign_in("ann@b.example", PASSWORD).await;
    assert_eq!(early.status, StatusCode::FORBIDDEN);
    assert!(early.body.contains("not confirmed yet"));

    let token = service.mailed_token();
    for _ in 0..2 {
        let page = browser.get(&format!("/verify-email?token={token}")).await;
        assert!(page.body.contains(&format!("name=\"token\" value=\"{token}\"")), "looking uses nothing up");
    }
    let confirmed = browser.post("/verify-email", &format!("token={token}")).await;
    assert_eq!((confirmed.status, confirmed.location()), (StatusCode::SEE_OTHER, "/sign-in?notice=verified"));
    assert_eq!(browser.post("/verify-email", &format!("token={token}")).await.status, StatusCode::BAD_REQUEST);

    let signed_in = browser.sign_in("ann@b.example", PASSWORD).await;
    assert_eq!((signed_in.status, signed_in.location()), (StatusCode::SEE_OTHER, "/devices"));
    for path in ["/", "/sign-in", "/register"] {
        assert_eq!(browser.get(path).await.location(), "/devices");
    }
    let devices = browser.get("/devices").await;
    for text in ["ann@b.example", "1 active session<", "Firefox on Linux", "This device", "This computer", "Just now"] {
        assert!(devices.body.contains(text), "{text}");
    }
    assert!(!devices.body.contains("end-others"), "there are no others");

    let out = browser.post("/sign-out", "").await;
    assert_eq!((out.status, out.location()), (StatusCode::SEE_OTHER, "/sign-in?notice=signed-out"));
    assert_eq!(browser.get("/devices").await.location(), "/sign-in");
    assert_eq!(browser.post("/sign-out", "").await.status, StatusCode::SEE_OTHER, "twice is no error");
}

#[tokio::test]
async fn devices_are_ended_one_by_one_the_others_and_all() {
    let service = Service::local().await;
    let mut browser = service.signed_in("ann@b.example").await;
    let client = || ClientInfo::new().agent(PHONE).named("Ann's phone").ip("203.0.113.9".parse().unwrap());
    let phone = service.session("ann@b.example", client()).await;
    let page = browser.get("/devices").await.body;
    for text in ["2 active sessions", "Ann's phone", "Safari on iOS", "203.0.113.9"] {
        assert!(page.contains(text), "{text}");
    }
    assert!(page.find("This device").unwrap() < page.find("Ann's phone").unwrap(), "this device first");
    assert_eq!(page.matches("/end\"").count(), 1, "no button for this device");

    let path = format!("/devices/{phone}/end");
    assert_eq!(browser.post(&path, "").await.location(), "/devices?notice=session-ended");
    assert!(!service.is_live(phone).await);
    assert_eq!(browser.post(&path, "").await.location(), "/devices?notice=already-ended");
    assert!(!browser.get("/devices").await.body.contains("Ann's phone"));

    let phone = service.session("ann@b.example", client()).await;
    assert_eq!(browser.post("/devices/end-others", "").await.location(), "/devices?notice=others-ended");
    assert!(!service.is_live(phone).await);
    assert_eq!(browser.get("/devices").await.status, StatusCode::OK);

    let phone = service.session("ann@b.example", client()).await;
    let all = browser.post("/devices/end-all", "").await;
    assert_eq!(all.location(), "/sign-in?notice=signed-out-everywhere");
    assert!(!service.is_live(phone).await);
    assert!(!browser.cookies.contains_key("session") && !browser.cookies.contains_key("renewal"));
}

#[tokio::test]
async fn a_page_and_a_form_renew_an_expired_access_token_once() {
    let service = Service::local().await;
    let mut browser = service.signed_in("ann@b.example").await;
    for (method, path, expected) in
        [("GET", "/devices", StatusCode::OK), ("POST", "/devices/end-others", StatusCode::SEE_OTHER)]
    {
        let before = browser.cookies.clone();
        service.clock.0.advance(Duration::from_mins(10));
        let answer =
            browser.send(method, path, "", &[("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "navigate")]).await;
        assert_eq!(answer.status, expected, "{method}");
        assert_ne!(answer.location(), "/sign-in", "{method}");
        assert_eq!(answer.set_cookies().len(), 2, "{method}");
        assert!(before["session"] != browser.cookies["session"] && before["renewal"] != browser.cookies["renewal"]);
        assert!(browser.get("/devices").await.set_cookies().is_empty(), "{method}: the next one needs no renewal");
    }
    service.clock.0.advance(Duration::from_mins(10));
    assert_eq!(browser.post("/sign-out", "").await.location(), "/sign-in?notice=signed-out");
    let user = service.verified("ann@b.example").await;
    let user = UserId::parse(&user.id.to_string()).unwrap();
    let left =
        service.app.sessions().manager().list(&user, session_manager_core::storage::SessionFilter::new(), None, 9);
    assert!(left.await.unwrap().sessions.is_empty(), "it ended although its access token had expired before");
}

#[tokio::test]
async fn a_second_sign_in_replaces_the_session_of_the_browser() {
    let service = Service::local().await;
    let mut browser = service.signed_in("ann@b.example").await;
    let before = browser.get("/devices").await.body;
    assert!(before.contains("1 active session<"));
    browser.sign_in("ann@b.example", PASSWORD).await;
    assert!(browser.get("/devices").await.body.contains("1 active session<"), "the replaced one has ended");
}

#[tokio::test]
async fn a_sign_in_that_is_not_to_be_remembered_is_not_after_one_that_was() {
    let service = Service::local().await;
    service.verified("ann@b.example").await;
    let mut browser = service.browser();
    let form = format!("email=ann%40b.example&password={PASSWORD}");
    // The older session's access token is still good, or it is renewed on the way.
    for pause in [Duration::from_mins(1), Duration::from_mins(10)] {
        browser.post("/sign-in", &format!("{form}&remember=yes")).await;
        service.clock.0.advance(pause);
        let page = browser.get("/devices").await.set_cookies();
        assert!(page.iter().all(|line| line.contains("Max-Age=")), "renewed, it is remembered: {page:?}");
        service.clock.0.advance(pause);
        let navigation = [("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "navigate")];
        let lines = browser.send("POST", "/sign-in", &form, &navigation).await.set_cookies();
        let session: Vec<_> = lines.iter().filter(|line| !line.starts_with("device=")).collect();
        assert_eq!(session.len(), 2, "{lines:?}");
        assert!(session.iter().all(|line| !line.contains("Max-Age")), "{pause:?}: {lines:?}");
        // Nor is the new session remembered when it is renewed.
        service.clock.0.advance(Duration::from_mins(10));
        let renewed = browser.get("/devices").await.set_cookies();
        assert_eq!(renewed.len(), 2);
        assert!(renewed.iter().all(|line| !line.contains("Max-Age")), "{renewed:?}");
    }
}

#[tokio::test]
async fn who_was_signed_out_elsewhere_is_told() {
    let service = Service::local().await;
    let mut browser = service.signed_in("ann@b.example").await;
    let mut other = service.signed_in("ann@b.example").await;
    other.post("/devices/end-others", "").await;
    assert_eq!(browser.get("/devices").await.location(), "/sign-in?notice=session-over");
    assert!(browser.get("/sign-in?notice=session-over").await.body.contains("Your session has ended"));
}
