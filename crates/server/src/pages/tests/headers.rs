//! What every page carries, and that none needs a script: the only one keeps a list up to date.

use super::*;

#[tokio::test]
async fn every_page_has_its_headers_and_works_without_scripts() {
    let service = Service::local().await;
    let mut visitor = service.browser();
    let mut user = service.signed_in("ann@b.example").await;
    service.session("ann@b.example", ClientInfo::new().agent(PHONE)).await;
    let mut pages = Vec::new();
    for path in [
        "/sign-in",
        "/sign-in?notice=signed-out",
        "/register",
        "/verify-email?token=x",
        "/verify-email",
        "/nothing",
        "/forgot-password",
    ] {
        pages.push((path, visitor.get(path).await));
    }
    visitor.post("/forgot-password", "email=ann%40b.example").await;
    let reset = format!("/reset-password?token={}", service.token_mailed_behind().await);
    for path in [reset.as_str(), "/reset-password?token=x", "/reset-password"] {
        pages.push((path, visitor.get(path).await));
    }
    let weak = format!("{}&new_password=x", reset.split_once('?').unwrap().1);
    pages.push(("/reset-password, weak", visitor.post("/reset-password", &weak).await));
    pages.push(("wrong password", visitor.sign_in("ann@b.example", "x").await));
    pages.push(("wrong fields", visitor.post("/register", "email=x").await));
    pages.push(("used link", visitor.post("/verify-email", "token=x").await));
    pages.push(("cross-site", visitor.send("POST", "/sign-in", "", &[("sec-fetch-site", "cross-site")]).await));
    pages.push(("wrong method", visitor.send("PUT", "/sign-in", "", &[("sec-fetch-site", "same-origin")]).await));
    pages.push(("/devices", user.get("/devices?notice=session-ended").await));
    pages.push(("no such session", user.post("/devices/x/end", "").await));
    let account = format!("/admin/users/{}", service.verified("ann@b.example").await.id);
    pages.push(("/admin", user.get("/admin?notice=tokens-rotated").await));
    pages.push(("/admin, searched", user.get("/admin?email=b.example").await));
    pages.push(("account", user.get(&account).await));
    pages.push(("no reason", user.post(&format!("{account}/rotate"), "").await));
    pages.push(("no such account", user.get("/admin/users/x").await));
    let connections = user.get("/connections").await;
    let policy = connections.header("content-security-policy").to_owned();
    assert!(policy.contains("; form-action 'self' https://acme.example; "), "{policy}");
    pages.push(("wrong alias", user.post("/connections", "provider_key=acme&alias=").await));
    pages.push(("/connections", connections));
    pages.push(("no such connection", user.post("/connections/x/remove", "").await));
    for (name, page) in pages {
        let policy = page.header("content-security-policy").replace(" https://acme.example", "");
        assert_eq!(page.header("content-type"), "text/html; charset=utf-8", "{name}");
        let (from_us, scripts) =
            if name == "/devices" { ("script-src 'self'; connect-src 'self'; ", 1) } else { ("", 0) };
        assert_eq!(
            policy,
            format!(
                "default-src 'none'; {from_us}style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
            ),
            "{name}"
        );
        assert_eq!(page.body.matches("<script").count(), scripts, "{name}");
        let ours = "<script src=\"/assets/devices.js?v=";
        assert_eq!(page.body.matches(ours).count(), page.body.matches("></script>").count(), "{name}: none is inline");
        assert_eq!(page.header("cache-control"), "no-store", "{name}");
        assert_eq!(page.header("x-content-type-options"), "nosniff", "{name}");
        let is_secret = ["/verify-email", "/reset-password", "used link"].iter().any(|path| name.starts_with(path));
        let referrer = match name {
            _ if is_secret => "no-referrer",
            // There may be somebody's mail address in its own.
            "/admin" | "/admin, searched" => "strict-origin",
            _ => "same-origin",
        };
        assert_eq!(page.header("referrer-policy"), referrer, "{name}");
        assert!(page.body.starts_with("<!DOCTYPE html><html lang=\"en\">"), "{name}");
        for needed in ["<title>", "name=\"viewport\"", "href=\"#main\"", "<h1>"] {
            assert_eq!(page.body.matches(needed).count(), 1, "{name}: {needed}");
        }
        // The policy above forbids them anyway; that there are none is why the pages work.
        for forbidden in ["style=", "javascript:", " onclick", " onload", "http://", "https://"] {
            assert!(!page.body.contains(forbidden), "{name}: {forbidden}");
        }
        assert_eq!(
            page.body.matches("<form").count(),
            page.body.matches("<form method=\"post\" action=\"/").count()
                + page.body.matches("<form class=\"stack\" method=\"post\" action=\"/").count()
                + page.body.matches("<form class=\"stack\" method=\"get\" action=\"/admin\"").count()
        );
    }
}

#[tokio::test]
async fn programs_get_problems_and_the_api_is_never_a_page() {
    let service = Service::local().await;
    let mut browser = service.browser();
    let api = browser.get("/api/v1/nothing").await;
    assert!(!api.body.contains("<html"), "{}", api.body);
    let request = Request::builder().uri("/nothing").header("accept", "*/*").body(Body::empty()).unwrap();
    let response = browser.router.call(request).await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/problem+json");
}

#[tokio::test]
async fn the_files_are_where_the_pages_say() {
    let service = Service::local().await;
    let mut browser = service.signed_in("ann@b.example").await;
    let page = browser.get("/devices").await.body;
    for (start, content_type) in [
        ("/assets/app.css?v=", "text/css; charset=utf-8"),
        ("/assets/icon.svg?v=", "image/svg+xml"),
        ("/assets/devices.js?v=", "text/javascript; charset=utf-8"),
    ] {
        let from = page.find(start).unwrap();
        let path = page[from..].split('"').next().unwrap();
        let file = browser.get(path).await;
        assert_eq!((file.status, file.header("content-type")), (StatusCode::OK, content_type));
        assert_eq!(file.header("cache-control"), "public, max-age=31536000, immutable");
    }
}
