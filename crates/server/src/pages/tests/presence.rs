//! What counts as a person's presence, and what does not.

use super::*;

pub(super) async fn last_activity(service: &Service, email: &str) -> DateTime<Utc> {
    let user = UserId::parse(&service.verified(email).await.id.to_string()).unwrap();
    let filter = session_manager_core::storage::SessionFilter::new();
    let listed = service.app.sessions().manager().list(&user, filter, None, 9).await.unwrap();
    let [session] = listed.sessions.as_slice() else { panic!("one session expected") };
    session.snapshot.control.last_activity
}

#[tokio::test]
async fn refreshing_is_no_presence_and_a_page_is() {
    let service = Service::local().await;
    let mut browser = service.signed_in("ann@b.example").await;
    let signed_in = last_activity(&service, "ann@b.example").await;
    for round in 0..5 {
        // Longer than the touch interval, and shorter than the access token lives: the request carries a valid one.
        service.clock.0.advance(Duration::from_mins(4));
        let answer = browser.send("POST", "/api/v1/auth/refresh", "", &[("sec-fetch-site", "same-origin")]).await;
        assert_eq!((answer.status, answer.set_cookies().len()), (StatusCode::OK, 2), "{round}: {}", answer.body);
        assert_eq!(last_activity(&service, "ann@b.example").await, signed_in, "{round}");
    }
    browser.get("/devices").await;
    assert_eq!(last_activity(&service, "ann@b.example").await, service.app.now(), "a page is a person's doing");
}
