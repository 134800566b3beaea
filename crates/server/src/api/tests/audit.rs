//! The search of the audit trail.

use serde_json::{Value, json};

use super::bench::{ANN, Answer, Bench, Tokens};
use crate::config::AuditSink;

const BOB: &str = "bob@example.org";

/// Ann, the administrator, whose session is from a second before that of Bob, who has signed out.
async fn two() -> (Bench, Tokens, Tokens) {
    let bench = Bench::with(|settings| settings.audit.sinks = vec![AuditSink::Db]).await;
    bench.user(ANN).await;
    bench.user(BOB).await;
    let ann = bench.login(ANN).await;
    bench.pass(1);
    let bob = bench.login_as(BOB, "<b>phone</b>").await;
    bench.pass(1);
    bench.call("POST", "/auth/logout").bearer(&bob.access).send().await.expect(200);
    (bench, ann, bob)
}

async fn search(bench: &Bench, tokens: &Tokens, query: &str) -> Answer {
    // The trail is written behind the answers.
    bench.app.sessions().manager().flush().await.unwrap();
    bench.call("GET", &format!("/admin/audit{query}")).bearer(&tokens.access).send().await
}

fn events(answer: &Answer) -> &[Value] {
    answer.json["events"].as_array().unwrap()
}

#[tokio::test]
async fn what_happened_is_told_newest_first() {
    let (bench, ann, bob) = two().await;
    let bobs = bench.account(BOB).await.id;
    let found = search(&bench, &ann, &format!("?user={bobs}")).await.expect(200);
    assert_eq!(found.members(), ["events"]);
    let times: Vec<_> = events(&found).iter().map(|event| event["at"].as_str().unwrap()).collect();
    assert!(times.is_sorted_by(|newer, older| newer >= older) && times.first() > times.last(), "{times:?}");
    let ended = events(&found).iter().find(|event| event["kind"] == "revoked").unwrap();
    assert_eq!((&ended["session_id"], &ended["reason"]), (&json!(bob.session), &json!("logout")));
    let created = events(&found).iter().find(|event| event["kind"] == "created").unwrap();
    for (name, value) in [
        ("user_id", json!(bobs)),
        ("session_id", json!(bob.session)),
        ("actor", json!(format!("user:{bobs}"))),
        ("ip_address", json!("198.51.100.1")),
        ("user_agent", json!("<b>phone</b>")),
        ("device_name", Value::Null),
    ] {
        assert_eq!(created[name], value, "{name}");
    }
    assert!(created["request_id"].is_string() && created["details"].is_object(), "{created}");
    assert!(!found.text.contains(&bob.access) && !found.text.contains(&bob.refresh));
}

#[tokio::test]
async fn each_filter_leaves_out_what_is_not_meant() {
    let (bench, ann, bob) = two().await;
    let (anns, bobs) = (bench.account(ANN).await.id, bench.account(BOB).await.id);
    let created = search(&bench, &ann, "?kind=created").await.expect(200);
    let users: Vec<_> = events(&created).iter().map(|event| event["user_id"].clone()).collect();
    assert_eq!(users, [json!(bobs), json!(anns)]);
    let of_session = search(&bench, &ann, &format!("?session={}&kind=created", ann.session)).await.expect(200);
    assert_eq!(events(&of_session).len(), 1);
    assert_eq!(events(&of_session)[0]["session_id"], ann.session);
    let (first, second) = (&events(&created)[1]["at"], events(&created)[0]["at"].as_str().unwrap());
    // `since` is part of the time, `until` is not.
    let since = search(&bench, &ann, &format!("?kind=created&since={second}")).await.expect(200);
    assert_eq!((events(&since).len(), &events(&since)[0]["session_id"]), (1, &json!(bob.session)));
    let until = search(&bench, &ann, &format!("?kind=created&until={second}")).await.expect(200);
    assert_eq!((events(&until).len(), &events(&until)[0]["at"]), (1, first));
    let nobodys = search(&bench, &ann, "?user=01930000-0000-7000-8000-000000000000").await.expect(200);
    assert_eq!(nobodys.json, json!({"events": []}));
}

#[tokio::test]
async fn pages_hold_each_event_once() {
    let (bench, ann, bob) = two().await;
    let filter = format!("session={}", bob.session);
    let all = search(&bench, &ann, &format!("?{filter}")).await.expect(200);
    let ids = |answer: &Answer| events(answer).iter().map(|event| event["id"].clone()).collect::<Vec<_>>();
    let (mut found, mut query) = (Vec::new(), format!("?{filter}&limit=1&cursor="));
    loop {
        let page = search(&bench, &ann, &query).await.expect(200);
        assert_eq!(events(&page).len(), 1);
        found.extend(ids(&page));
        let Some(next) = page.json["next_cursor"].as_str() else { break };
        query = format!("?{filter}&limit=1&cursor={next}");
    }
    assert!(found.len() > 1);
    assert_eq!(found, ids(&all));
}

#[tokio::test]
async fn wrong_fields_are_all_told() {
    let (bench, ann, _) = two().await;
    let wrong = "?user=ann&session=x&kind=Created&since=today&until=1&cursor=x&limit=0";
    let names = ["user", "session", "kind", "since", "until", "cursor", "limit"];
    search(&bench, &ann, wrong).await.expect_fields(&names);
}

#[tokio::test]
async fn only_administrators_search_and_only_where_there_is_a_trail() {
    let (bench, ..) = two().await;
    let bob = bench.login(BOB).await;
    search(&bench, &bob, "").await.expect_problem(403, "forbidden");
    bench.call("GET", "/admin/audit").send().await.expect_problem(401, "unauthenticated");
    let (bench, ann) = Bench::signed_in().await;
    let none = search(&bench, &ann, "").await.expect_problem(404, "not-found");
    assert!(none.json["detail"].as_str().unwrap().contains("`audit.sinks` has no db"), "{none:?}");
}
