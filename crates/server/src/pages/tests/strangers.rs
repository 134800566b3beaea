//! Texts and ids of strangers: escaped, and never somebody else's session.

use super::*;

const HOSTILE: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>";

#[tokio::test]
async fn what_clients_say_is_escaped() {
    let service = Service::local().await;
    let mut browser = service.signed_in("o'neil+x@b.example").await;
    let user = "o'neil+x@b.example";
    service.session(user, ClientInfo::new().agent(HOSTILE)).await;
    service.session(user, ClientInfo::new().agent(PHONE).named(HOSTILE)).await;
    let page = browser.get("/devices").await.body;
    assert!(page.contains("3 active sessions"));
    assert!(!page.contains("<script>") && !page.contains("<img"), "{page}");
    assert_eq!(page.matches("<script").count(), 1, "our own");
    assert!(page.matches("&lt;script&gt;alert(1)&lt;/script&gt;").count() >= 2, "{page}");
    assert!(page.contains("<bdi>o'neil+x@b.example</bdi>"));

    let mut visitor = service.browser();
    let encoded = "%22%3E%3Cscript%3Ealert(1)%3C/script%3E";
    for answer in [
        visitor.post("/sign-in", &format!("email={encoded}&password=x")).await,
        visitor.post("/register", &format!("email={encoded}&name={encoded}&password=x")).await,
        visitor.get(&format!("/verify-email?token={encoded}")).await,
        visitor.get(&format!("/sign-in?notice={encoded}")).await,
        visitor.get(&format!("/{encoded}")).await,
    ] {
        assert!(!answer.body.contains("<script"), "{}", answer.body);
    }
    let echoed = visitor.post("/sign-in", &format!("email={encoded}&password=x")).await.body;
    assert!(echoed.contains("value=\"&quot;&gt;&lt;script&gt;"), "{echoed}");
}

#[tokio::test]
async fn a_session_of_somebody_else_is_not_there() {
    let service = Service::local().await;
    let mut ann = service.signed_in("ann@b.example").await;
    let bobs = service.session("bob@b.example", ClientInfo::new()).await;
    let unknown = "01944a3c-2b00-7000-8000-000000000001";
    let mut bodies = Vec::new();
    for id in [bobs.to_string().as_str(), unknown, "x", "..%2Fsign-out"] {
        let answer = ann.post(&format!("/devices/{id}/end"), "").await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{id}");
        bodies.push(answer.body);
    }
    assert!(bodies.windows(2).all(|pair| pair[0] == pair[1]), "nothing tells them apart");
    assert!(service.is_live(bobs).await);
    assert!(!ann.get("/devices").await.body.contains(&bobs.to_string()));
}
