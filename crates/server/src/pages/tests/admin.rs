//! The administration, as an administrator and as anybody else.

use super::*;
use crate::config::AuditSink;

const WHY: &str = "reason=a+key+of+ours+has+leaked";

/// Ann's browser, who is the administrator, Bob's, who is not, and the path of Bob's account.
async fn two(service: &Service) -> (Browser, Browser, String) {
    let ann = service.signed_in("ann@b.example").await;
    let bob = service.signed_in("bob@b.example").await;
    let path = format!("/admin/users/{}", service.verified("bob@b.example").await.id);
    (ann, bob, path)
}

#[tokio::test]
async fn only_administrators_see_it() {
    let service = Service::local().await;
    let (mut ann, mut bob, path) = two(&service).await;
    assert!(ann.get("/devices").await.body.contains("href=\"/admin\""));
    assert!(!bob.get("/devices").await.body.contains("/admin"));
    assert_eq!(service.browser().get("/admin").await.location(), "/sign-in");
    let posts = ["end-all", "disable", "enable", "rotate", "sessions/x/end"].map(|what| format!("{path}/{what}"));
    for page in ["/admin", path.as_str(), "/admin/users/x"] {
        assert_eq!(bob.get(page).await.status, StatusCode::FORBIDDEN, "{page}");
    }
    for page in posts.iter().map(String::as_str).chain(["/admin/rotate"]) {
        let form = format!("{WHY}&grace=0&password={PASSWORD}");
        assert_eq!(bob.post(page, &form).await.status, StatusCode::FORBIDDEN, "{page}");
    }
    assert_eq!(bob.get("/devices").await.status, StatusCode::OK);
    assert_eq!(ann.get("/admin").await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_account_is_found_and_its_sessions_ended() {
    let service = Service::local().await;
    let (mut ann, mut bob, path) = two(&service).await;
    let found = ann.get("/admin?email=BOB").await.body;
    assert!(found.contains(&format!("href=\"{path}\"")) && !found.contains("<bdi>ann@b.example</bdi></a>"), "{found}");
    assert!(ann.get("/admin?email=nobody").await.body.contains("There is no such account."));

    let client = ClientInfo::new().agent(PHONE).named("Bob's phone");
    let phone = service.session("bob@b.example", client).await;
    let page = ann.get(&path).await.body;
    for text in ["bob@b.example", "2 active sessions", "Bob's phone", "Disable the account"] {
        assert!(page.contains(text), "{text}");
    }
    let one = format!("{path}/sessions/{phone}/end");
    assert_eq!(ann.post(&one, "").await.location(), format!("{path}?notice=session-ended"));
    assert!(!service.is_live(phone).await);
    assert_eq!(ann.post(&one, "").await.location(), format!("{path}?notice=already-ended"));
    assert_eq!(ann.post(&format!("{path}/sessions/x/end"), "").await.status, StatusCode::NOT_FOUND);
    let all = ann.post(&format!("{path}/end-all"), "").await;
    assert_eq!(all.location(), format!("{path}?notice=sessions-ended"));
    assert_eq!(bob.get("/devices").await.location(), "/sign-in?notice=session-over");
    assert!(ann.get(all.location()).await.body.contains("All sessions of the account are ended."));
}

#[tokio::test]
async fn an_account_is_disabled_enabled_and_rotated() {
    let service = Service::local().await;
    let (mut ann, mut bob, path) = two(&service).await;
    let disabled = ann.post(&format!("{path}/disable"), "").await;
    assert_eq!(disabled.location(), format!("{path}?notice=account-disabled"));
    assert!(bob.sign_in("bob@b.example", PASSWORD).await.body.contains("This account is disabled."));
    let page = ann.get(&path).await.body;
    assert!(page.contains("Enable the account") && page.contains("Disabled") && !page.contains("Disable the account"));
    ann.post(&format!("{path}/enable"), "").await;
    assert_eq!(bob.sign_in("bob@b.example", PASSWORD).await.location(), "/devices");

    let none = ann.post(&format!("{path}/rotate"), "reason=short").await;
    assert_eq!(none.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(none.body.contains("Reason must be 10 to 500 characters long.") && none.body.contains("value=\"short\""));
    assert_eq!(bob.get("/devices").await.status, StatusCode::OK);
    let rotated = ann.post(&format!("{path}/rotate"), WHY).await;
    assert_eq!(rotated.location(), format!("{path}?notice=tokens-rotated"));
    assert_eq!(bob.get("/devices").await.location(), "/sign-in?notice=session-over");

    let own = format!("/admin/users/{}", service.verified("ann@b.example").await.id);
    let page = ann.get(&own).await.body;
    assert!(!page.contains("/disable") && page.contains("This device") && !page.contains("/end\""), "{page}");
    assert_eq!(ann.post(&format!("{own}/disable"), "").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn everybodys_tokens_are_rotated_with_the_password_only() {
    let service = Service::local().await;
    let (mut ann, mut bob, _) = two(&service).await;
    for (form, status, text) in [
        ("reason=x&grace=61", StatusCode::UNPROCESSABLE_ENTITY, "Your password must not be empty."),
        (
            "reason=x&grace=61",
            StatusCode::UNPROCESSABLE_ENTITY,
            "Grace in minutes must be a whole number from 0 to 60.",
        ),
        ("reason=x&grace=", StatusCode::UNPROCESSABLE_ENTITY, "Reason must be 20 to 1000 characters long."),
        (
            "reason=a+key+of+ours+has+leaked&grace=5&password=wrong",
            StatusCode::BAD_REQUEST,
            "Your password must be the one that you sign in with.",
        ),
    ] {
        let refused = ann.post("/admin/rotate", form).await;
        assert_eq!(refused.status, status, "{form}");
        assert!(refused.body.contains(text) && !refused.body.contains("value=\"wrong\""), "{text}: {}", refused.body);
    }
    // However old the sign-in is: the password is the proof.
    service.clock.0.advance(Duration::from_mins(20));
    let rotated = ann.post("/admin/rotate", &format!("{WHY}&grace=5&password={PASSWORD}")).await;
    assert_eq!((rotated.status, rotated.location()), (StatusCode::SEE_OTHER, "/admin?notice=tokens-rotated"));
    // Once a day, as by the API.
    let again = ann.post("/admin/rotate", &format!("{WHY}&grace=5&password={PASSWORD}")).await;
    assert_eq!(again.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(rotated.set_cookies().len(), 2, "the proof has renewed the tokens");
    let page = ann.get("/admin").await.body;
    assert!(page.contains("The last reason was: <bdi>a key of ours has leaked</bdi>"), "{page}");
    assert_eq!(bob.get("/devices").await.status, StatusCode::OK, "it lives on for the grace");
    service.clock.0.advance(Duration::from_mins(5));
    for browser in [&mut ann, &mut bob] {
        assert_eq!(browser.get("/devices").await.location(), "/sign-in?notice=session-over");
    }
}

#[tokio::test]
async fn a_lock_is_told_and_the_search_goes_on() {
    let service = Service::local().await;
    let mut ann = service.signed_in("ann@b.example").await;
    // The device has guesses of its own once it is known, which it is behind the answer.
    assert!(service.app.background().finish(Duration::from_secs(10)).await);
    for _ in 0..10 {
        ann.post("/admin/rotate", &format!("{WHY}&grace=5&password=wrong")).await;
    }
    let locked = ann.post("/admin/rotate", &format!("{WHY}&grace=5&password={PASSWORD}")).await;
    assert_eq!(locked.status, StatusCode::FORBIDDEN);
    assert!(locked.body.contains("Try again in 60 minutes."), "{}", locked.body);
    for number in 0..51 {
        let insert =
            "INSERT INTO users (id, email, name, password_hash, created_at, updated_at) VALUES (?, ?, 'x', 'x', 0, 0)";
        let id = format!("00000000-0000-7000-8000-0000000000{number:02}");
        let insert = crate::sql::query(insert).bind(id).bind(format!("user{number}@c.example"));
        insert.execute(&service.app.data().pool).await.unwrap();
    }
    let first = ann.get("/admin?email=%40c.example").await.body;
    assert_eq!(first.matches("<li class=\"choice\">").count(), 50);
    let more = first.split("href=\"").find(|rest| rest.starts_with("/admin?")).unwrap().split('"').next().unwrap();
    let second = ann.get(&more.replace("&amp;", "&")).await.body;
    assert!(second.contains("user0@c.example") && second.matches("<li class=\"choice\">").count() == 1, "{second}");
}

#[tokio::test]
async fn an_account_has_its_latest_events_beside_it_where_a_trail_is_kept() {
    let service = Service::local().await;
    let (mut ann, _, path) = two(&service).await;
    assert!(!ann.get(&path).await.body.contains("Audit trail"), "there is none");

    let sinks = |settings: &mut Settings| settings.audit.sinks = vec![AuditSink::Db];
    let service = Service::with("http://127.0.0.1:8080", sinks).await;
    let (mut ann, mut bob, path) = two(&service).await;
    let manager = service.app.sessions().manager();
    let rows = |page: &str| page.split("<tbody>").nth(1).unwrap().matches("<tr>").count();
    let client = ClientInfo::new().ip("203.0.113.9".parse().unwrap()).agent("<script>alert(1)</script>");
    service.session("bob@b.example", client).await;
    bob.post("/sign-out", "").await;
    manager.flush().await.unwrap();
    let page = ann.get(&path).await.body;
    let trail = page.split("id=\"trail\"").nth(1).unwrap();
    for text in [
        "<td>created</td>",
        "<td>203.0.113.9</td>",
        "<bdi>&lt;script&gt;alert(1)&lt;/script&gt;</bdi>",
        "<td>revoked</td>",
        "<bdi>logout</bdi>",
        "<bdi>Firefox on Linux</bdi>",
    ] {
        assert!(trail.contains(text), "{text}: {trail}");
    }
    assert!(!page.contains("<script>alert"));
    // Ann's own events are on her page.
    let before = rows(&page);
    ann.post("/sign-out", "").await;
    ann.sign_in("ann@b.example", PASSWORD).await;
    manager.flush().await.unwrap();
    assert_eq!(rows(&ann.get(&path).await.body), before);
    for number in 0..60 {
        service.session("bob@b.example", ClientInfo::new().named(format!("phone {number}"))).await;
    }
    manager.flush().await.unwrap();
    let page = ann.get(&path).await.body;
    assert_eq!(rows(&page), 50);
    assert!(page.contains("<bdi>phone 59</bdi>") && !page.contains("<bdi>Firefox on Linux</bdi>"));
}
