//! *Connections*: made, renamed, connected and removed by forms, and the way back from a provider.

use super::*;

const BACK: &str = "/api/v1/providers/acme/authorization/callback";

/// The path of the only connection.
async fn only(browser: &mut Browser) -> String {
    let page = browser.get("/connections").await.body;
    let (before, _) = page.split_once("/rename\"").unwrap();
    before.rsplit_once("action=\"").unwrap().1.to_owned()
}

async fn connected_to(service: &Service) -> (Browser, String) {
    let mut browser = service.signed_in("ann@b.example").await;
    let added = browser.post("/connections", "provider_key=acme&alias=My+savings").await;
    assert_eq!((added.status, added.location()), (StatusCode::SEE_OTHER, "/connections?notice=connection-added"));
    let path = only(&mut browser).await;
    (browser, path)
}

/// The state on the way to a provider.
fn state(answer: &Answer) -> String {
    let location = answer.location();
    assert!(location.starts_with("https://acme.example/authorize?"), "{location}");
    let query = url::Url::parse(location).unwrap();
    query.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned()
}

#[tokio::test]
async fn connections_are_made_renamed_and_removed() {
    let service = Service::local().await;
    let (mut browser, path) = connected_to(&service).await;
    assert!(browser.get("/devices").await.body.contains("href=\"/connections\""));
    let page = browser.get("/connections?notice=connection-added").await.body;
    for text in ["1 connection<", "My savings", "Acme &lt;Bank&gt;", "Not connected yet", "The connection is added"] {
        assert!(page.contains(text), "{text}");
    }
    assert!(!page.contains("value=\"later\""), "there is nothing to choose that cannot be connected to");
    let renamed = browser.post(&format!("{path}/rename"), "alias=%3Cb%3EHouse").await;
    assert_eq!(renamed.location(), "/connections?notice=connection-renamed");
    assert!(browser.get("/connections").await.body.contains("&lt;b&gt;House"));
    browser.post("/connections", "provider_key=acme&alias=Car").await;
    for (alias, notice) in [("Car", "alias-taken"), ("", "alias-wrong"), ("a%0Ab", "alias-wrong")] {
        let refused = browser.post(&format!("{path}/rename"), &format!("alias={alias}")).await;
        assert_eq!(refused.location(), format!("/connections?notice={notice}"));
        assert!(browser.get(refused.location()).await.body.contains("role=\"alert\""));
    }
    assert_eq!(browser.post(&format!("{path}/remove"), "").await.location(), "/connections?notice=connection-removed");
    assert!(!browser.get("/connections").await.body.contains("House"));
    for action in ["rename", "remove", "connect", "disconnect"] {
        let gone = browser.post(&format!("{path}/{action}"), "alias=x").await;
        assert_eq!(gone.status, StatusCode::NOT_FOUND, "{action}");
    }
}

#[tokio::test]
async fn what_is_wrong_is_told_at_its_field() {
    let service = Service::local().await;
    let (mut browser, _) = connected_to(&service).await;
    for (form, text) in [
        ("provider_key=acme&alias=", "Alias must not be empty."),
        ("provider_key=acme&alias=My+savings", "Alias must not be that of another connection."),
        ("provider_key=later&alias=x", "Provider must be one of the list."),
        ("alias=x", "Provider must be one of the list."),
    ] {
        let page = browser.post("/connections", form).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "{form}");
        assert!(page.body.contains(text) && page.body.contains("1 connection<"), "{form}: {}", page.body);
    }
}

#[tokio::test]
async fn others_see_and_send_nothing() {
    let service = Service::local().await;
    let (mut ann, path) = connected_to(&service).await;
    let mut bob = service.signed_in("bob@b.example").await;
    assert!(!bob.get("/connections").await.body.contains("My savings"));
    let mut visitor = service.browser();
    assert_eq!(visitor.get("/connections").await.location(), "/sign-in");
    for action in ["rename", "remove", "connect", "disconnect"] {
        let path = format!("{path}/{action}");
        assert_eq!(bob.post(&path, "alias=x").await.status, StatusCode::NOT_FOUND, "{action}");
        assert_eq!(visitor.post(&path, "alias=x").await.location(), "/sign-in", "{action}");
        let cross = ann.send("POST", &path, "alias=x", &[("sec-fetch-site", "cross-site")]).await;
        assert_eq!(cross.status, StatusCode::FORBIDDEN, "{action}");
    }
    assert!(ann.get("/connections").await.body.contains("My savings"));
}

#[tokio::test]
async fn the_way_to_the_provider_and_a_way_back_that_fails() {
    let service = Service::local().await;
    let (mut browser, path) = connected_to(&service).await;
    let from_there = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")];
    let away = browser.post(&format!("{path}/connect"), "").await;
    assert_eq!(away.status, StatusCode::SEE_OTHER);
    // Nobody answers at the token endpoint; the person said no; the state is used up.
    let state_of_first = state(&away);
    for query in [
        format!("code=x&state={state_of_first}"),
        format!("error=access_denied&state={}", state(&browser.post(&format!("{path}/connect"), "").await)),
        format!("code=x&state={state_of_first}"),
    ] {
        let back = browser.send("GET", &format!("{BACK}?{query}"), "", &from_there).await;
        assert_eq!(
            (back.status, back.location()),
            (StatusCode::SEE_OTHER, "/connections?notice=not-connected"),
            "{query}"
        );
        assert_eq!(
            service.browser().get(back.location()).await.location(),
            "/sign-in",
            "nothing of it is in the address"
        );
    }
    assert!(browser.get("/connections?notice=not-connected").await.body.contains("role=\"alert\""));
}

#[tokio::test]
async fn a_browser_that_is_not_signed_in_is_asked_whose_account_it_is() {
    let service = Service::local().await;
    let (mut ann, path) = connected_to(&service).await;
    let id = path.strip_prefix("/connections/").unwrap().to_owned();
    let user = UserId::parse(&service.verified("ann@b.example").await.id.to_string()).unwrap();
    let created = service.app.sessions().manager().create(NewSession::of(user), &RequestContext::default()).await;
    let token = created.unwrap().tokens.access.expose().to_owned();
    let begin = async || {
        let request = Request::post(format!("/api/v1/providers/{id}/authorization"));
        let request = request.header("authorization", format!("Bearer {token}")).body(Body::empty()).unwrap();
        let response = service.router.clone().call(request).await.unwrap();
        let bytes = to_bytes(response.into_body(), 1 << 16).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        body["state"].as_str().unwrap().to_owned()
    };
    let from_there = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")];
    let mut visitor = service.browser();
    let state = begin().await;
    let address = format!("{BACK}?code=%3Ccode%3E&state={state}");
    for _ in 0..2 {
        let question = visitor.send("GET", &address, "", &from_there).await;
        assert_eq!(question.status, StatusCode::OK, "{}", question.body);
        assert_eq!(question.header("referrer-policy"), "no-referrer", "there are state and code in its address");
        for text in ["Is this your account?", "ann@b.example", "Acme &lt;Bank&gt;", "value=\"&lt;code&gt;\""] {
            assert!(question.body.contains(text), "{text}: looking uses nothing up");
        }
    }
    let form = format!("place=acme&code=x&state={state}");
    let cross = visitor.send("POST", "/connections/finish", &form, &[("sec-fetch-site", "cross-site")]).await;
    assert_eq!(cross.status, StatusCode::FORBIDDEN);
    // The answer is taken to the provider, at whose token endpoint nobody listens. A browser that does not say `Sec-Fetch-Site` hides where our
    // form was, as the page told it to.
    let hidden = [("origin", "null")];
    let answered = visitor.send("POST", "/connections/finish", &form, &hidden).await;
    assert_eq!(answered.header("referrer-policy"), "no-referrer");
    assert_eq!(answered.status, StatusCode::BAD_GATEWAY, "{}", answered.body);
    let again = visitor.post("/connections/finish", &form).await;
    assert_eq!(again.status, StatusCode::BAD_REQUEST);

    // Ann's browser has a session, and not the one that began.
    let address = format!("{BACK}?code=x&state={}", begin().await);
    let back = ann.send("GET", &address, "", &from_there).await;
    assert_eq!(back.location(), "/connections?notice=not-connected");

    // What a browser began is not asked about elsewhere.
    let away = ann.post(&format!("{path}/connect"), "").await;
    let location = url::Url::parse(away.location()).unwrap();
    let state = location.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    let stranger = visitor.send("GET", &format!("{BACK}?code=x&state={state}"), "", &from_there).await;
    assert_eq!((stranger.status, stranger.header("referrer-policy")), (StatusCode::BAD_REQUEST, "no-referrer"));
    assert!(!stranger.body.contains("ann@b.example"));
}
