//! The storage is gone, and the clean-up while it is there.

use std::time::Duration;

use session_manager_http::ProblemType;

use super::bench::{ANN, Bench, credentials};

#[tokio::test]
async fn an_outage_is_no_verdict() {
    let (bench, tokens) = Bench::signed_in().await;
    bench.root("/ready").send().await.expect(200);
    bench.app.data().close().await;
    bench.root("/ready").send().await.expect(200);
    bench.pass(1);
    let answers = [
        bench.root("/ready").send().await,
        bench.call("GET", "/auth/me").bearer(&tokens.access).send().await,
        bench.call("GET", "/auth/sessions").bearer(&tokens.access).send().await,
        bench.call("POST", "/auth/logout").bearer(&tokens.access).send().await,
        bench.refresh(&tokens.refresh).await,
        bench.post("/auth/login", credentials(ANN)).send().await,
    ];
    for answer in answers {
        let answer = answer.expect_problem(503, "unavailable");
        assert_eq!(answer.header("retry-after"), Some("2"));
        assert_eq!(answer.json["detail"], ProblemType::Unavailable.detail(), "nothing of the inside");
    }
    bench.root("/health").send().await.expect(200);
}

#[tokio::test]
async fn the_clean_up_removes_what_has_no_meaning_any_more() {
    let (bench, tokens) = Bench::signed_in().await;
    bench.register("never@example.org").await;
    bench.call("POST", "/auth/logout").bearer(&tokens.access).send().await.expect(200);
    let left = || async {
        let count = "SELECT (SELECT count(*) FROM sessions) + (SELECT count(*) FROM mail_tokens)";
        crate::sql::query(count).fetch_one(&bench.app.data().pool).await.unwrap().only::<i64>().unwrap()
    };
    assert_eq!(left().await, 2, "a session, and a link that waits");
    let work = tokio::spawn(bench.app.maintenance());
    // The clock of the service goes ten minutes at a tick; the clean-up has a moment for each.
    let mut ticks = tokio::time::interval(Duration::from_millis(2));
    for _ in 0..5000 {
        ticks.tick().await;
        if left().await == 0 {
            break;
        }
        bench.clock.advance(Duration::from_mins(10));
    }
    work.abort();
    assert_eq!(left().await, 0);
    let hours =
        (bench.app.now() - session_manager_core::Clock::now(&session_manager_core::ManualClock::default())).num_hours();
    assert!(hours >= 24, "not before a day has passed: {hours}");
}
