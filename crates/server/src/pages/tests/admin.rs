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

#[tokio::test]
async fn once_a_day_is_once_by_whichever_way_and_however_many_at_once() {
    let service = Service::local().await;
    let mut ann = service.signed_in("ann@b.example").await;
    let mut again = service.browser();
    again.sign_in("ann@b.example", PASSWORD).await;
    let mut program = service.browser();
    let bearer = format!("Bearer {}", again.cookies["session"]);
    let form = format!("{WHY}&grace=60&password={PASSWORD}");
    let body = r#"{"reason":"a key of ours has leaked","grace_period_minutes":60}"#;
    let by_api = async {
        // While the page hashes the password.
        tokio::task::yield_now().await;
        let headers = [("authorization", bearer.as_str()), ("accept", "application/json")];
        let request = Request::delete("/api/v1/tokens").header("content-type", "application/json");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        program.router.call(request.body(Body::from(body)).unwrap()).await.unwrap().status()
    };
    let (by_page, by_page_again, by_api) =
        futures_util::join!(ann.post("/admin/rotate", &form), again.post("/admin/rotate", &form), by_api);
    let statuses = [by_page.status, by_page_again.status, by_api];
    let done = statuses.iter().filter(|status| **status == StatusCode::SEE_OTHER || **status == StatusCode::OK).count();
    let refused = statuses.iter().filter(|status| **status == StatusCode::TOO_MANY_REQUESTS).count();
    assert_eq!((done, refused), (1, 2), "{statuses:?}");
    let epochs = service.app.sessions().manager().epochs(None).await.unwrap();
    assert_eq!(epochs.global.unwrap().epoch.version, 2, "rotated once");
}

#[tokio::test]
async fn a_rotation_that_fails_does_not_cost_the_one_of_the_day() {
    let service = Service::local().await;
    // How a write is made to fail is this engine's.
    let crate::sql::Pool::Sqlite(_) = service.app.data().pool else { return };
    let mut ann = service.signed_in("ann@b.example").await;
    let pool = &service.app.data().pool;
    let form = format!("{WHY}&grace=5&password={PASSWORD}");
    crate::sql::query("CREATE TRIGGER no BEFORE UPDATE ON session_epochs BEGIN SELECT RAISE(ABORT, 'no'); END")
        .execute(pool)
        .await
        .unwrap();
    assert!(ann.post("/admin/rotate", &form).await.status.is_server_error());
    crate::sql::query("DROP TRIGGER no").execute(pool).await.unwrap();
    assert_eq!(ann.post("/admin/rotate", &form).await.location(), "/admin?notice=tokens-rotated");
    assert_eq!(ann.post("/admin/rotate", &form).await.status, StatusCode::TOO_MANY_REQUESTS);
}
