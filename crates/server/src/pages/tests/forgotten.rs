//! From "Forgot your password?" to the new one.

use super::*;

const NEW: &str = "Other-Battery-8";

#[tokio::test]
async fn a_forgotten_password_is_replaced_by_the_link_from_the_mail() {
    let service = Service::local().await;
    let mut signed_in = service.signed_in("ann@b.example").await;
    let mut browser = service.browser();
    assert!(browser.get("/sign-in").await.body.contains("<a href=\"/forgot-password\">Forgot your password?</a>"));
    let wrong = browser.post("/forgot-password", "email=x").await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(wrong.body.contains("aria-invalid=\"true\" aria-describedby=\"email-wrong\""));

    let asked = browser.post("/forgot-password", "email=ann%40b.example").await;
    let unknown = service.browser().post("/forgot-password", "email=nobody%40b.example").await;
    assert_eq!((asked.status, asked.location()), (StatusCode::SEE_OTHER, "/sign-in?notice=link-mailed"));
    assert_eq!((unknown.status, unknown.location()), (asked.status, asked.location()));
    let token = service.token_mailed_behind().await;

    let page = browser.get(&format!("/reset-password?token={token}")).await;
    assert!(page.body.contains(&format!("name=\"token\" value=\"{token}\"")), "{}", page.body);
    let weak = browser.post("/reset-password", &format!("token={token}&new_password=password")).await;
    assert_eq!(weak.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(weak.body.contains("<li>must contain an upper-case letter</li>") && weak.body.contains(&token));
    let set = browser.post("/reset-password", &format!("token={token}&new_password={NEW}")).await;
    assert_eq!((set.status, set.location()), (StatusCode::SEE_OTHER, "/sign-in?notice=password-reset"));
    assert!(browser.cookies.is_empty(), "nobody is signed in by it");
    assert_eq!(signed_in.get("/devices").await.location(), "/sign-in?notice=session-over");

    for dead in [
        browser.get(&format!("/reset-password?token={token}")).await,
        browser.post("/reset-password", &format!("token={token}&new_password={NEW}")).await,
        browser.get("/reset-password").await,
    ] {
        assert_eq!(dead.status, StatusCode::BAD_REQUEST);
        assert!(dead.body.contains("href=\"/forgot-password\"") && dead.header("referrer-policy") == "no-referrer");
    }
    assert_eq!(browser.sign_in("ann@b.example", PASSWORD).await.status, StatusCode::FORBIDDEN);
    assert_eq!(browser.sign_in("ann@b.example", NEW).await.location(), "/devices");
}

#[tokio::test]
async fn a_browser_that_hides_where_it_was_may_and_another_site_may_not() {
    let service = Service::local().await;
    service.verified("ann@b.example").await;
    let mut browser = service.browser();
    browser.post("/forgot-password", "email=ann%40b.example").await;
    let form = format!("token={}&new_password={NEW}", service.token_mailed_behind().await);
    for headers in [
        &[("sec-fetch-site", "cross-site")][..],
        &[("sec-fetch-site", "cross-site"), ("origin", "null")],
        &[("sec-fetch-site", "same-site"), ("origin", "null")],
        &[("origin", "http://evil.example")],
        &[],
    ] {
        let refused = browser.send("POST", "/reset-password", &form, headers).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{headers:?}");
    }
    let own = browser.send("POST", "/reset-password", &form, &[("origin", "null")]).await;
    assert_eq!(own.location(), "/sign-in?notice=password-reset");
}

#[tokio::test]
async fn an_outage_does_not_send_the_token_anywhere() {
    let service = Service::local().await;
    service.app.data().pool.close().await;
    let page = service.browser().get("/reset-password?token=secret").await;
    assert_eq!((page.status, page.header("referrer-policy")), (StatusCode::SERVICE_UNAVAILABLE, "no-referrer"));
    assert!(!page.body.contains("secret"));
}
