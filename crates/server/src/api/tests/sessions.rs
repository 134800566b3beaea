//! Endpoints 12 to 15.

use serde_json::{Value, json};

use super::bench::{ANN, Answer, Bench, PASSWORD, Tokens};

async fn list(bench: &Bench, tokens: &Tokens, query: &str) -> Answer {
    bench.call("GET", &format!("/auth/sessions{query}")).bearer(&tokens.access).send().await
}

fn ids(answer: &Answer) -> Vec<&str> {
    answer.json["sessions"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect()
}

fn entry<'a>(answer: &'a Answer, id: &str) -> &'a Value {
    answer.json["sessions"].as_array().unwrap().iter().find(|one| one["id"] == id).unwrap()
}

#[tokio::test]
async fn the_list_shows_each_session_and_no_secret() {
    let (bench, first) = Bench::signed_in().await;
    bench.pass(1);
    let body = json!({"email": ANN, "password": PASSWORD, "device_name": "Ann's phone"});
    let login = bench.post("/auth/login", body).header("user-agent", "other/1").at_peer("[2001:db8::1]:1");
    let second = login.send().await.expect(200).tokens();
    let answer = list(&bench, &first, "").await.expect(200);
    assert_eq!(answer.members(), ["sessions", "total_count"]);
    assert_eq!(ids(&answer), [&second.session, &first.session], "newest first");
    assert_eq!(answer.json["total_count"], 2);
    let (this, other) = (entry(&answer, &first.session), entry(&answer, &second.session));
    let mut members: Vec<_> = this.as_object().unwrap().keys().collect();
    members.sort();
    let expected = [
        "created_at",
        "device",
        "device_info",
        "expires_at",
        "id",
        "ip_address",
        "is_current",
        "is_revoked",
        "is_trusted",
        "last_activity",
        "location",
    ];
    assert_eq!(members, expected);
    assert_eq!((&this["is_current"], &other["is_current"]), (&json!(true), &json!(false)));
    assert_eq!((&this["device_info"], &this["ip_address"]), (&json!("curl (bot)"), &json!("198.51.100.1")));
    assert_eq!((&other["device_info"], &other["ip_address"]), (&json!("Ann's phone"), &json!("2001:db8::1")));
}

#[tokio::test]
async fn pages_follow_one_another_and_filters_narrow() {
    let (bench, first) = Bench::signed_in().await;
    let mut expected = vec![first.session.clone()];
    for _ in 0..4 {
        bench.pass(1);
        expected.insert(0, bench.login(ANN).await.session);
    }
    let (mut found, mut query) = (Vec::new(), "?limit=2".to_owned());
    loop {
        let page = list(&bench, &first, &query).await.expect(200);
        assert_eq!(page.json["total_count"], 5);
        found.extend(ids(&page).into_iter().map(str::to_owned));
        let Some(next) = page.json["next_cursor"].as_str() else { break };
        query = format!("?limit=2&cursor={next}");
    }
    assert_eq!(found, expected);
    for (query, count) in
        [("?device=bot", 5), ("?device=phone", 0), ("?device=unknown", 0), ("?country=de", 0), ("?nothing=1", 5)]
    {
        assert_eq!(list(&bench, &first, query).await.expect(200).json["total_count"], count, "{query}");
    }
    list(&bench, &first, "?cursor=x").await.expect_problem(400, "invalid-cursor");
    list(&bench, &first, "?limit=0&device=x&country=D&include_ended=1").await.expect_fields(&[
        "limit",
        "include_ended",
        "device",
        "country",
    ]);
    for limit in ["201", "-1", "x", "1.5", "99999999999"] {
        list(&bench, &first, &format!("?limit={limit}")).await.expect_fields(&["limit"]);
    }
}

#[tokio::test]
async fn a_revoked_session_is_refused_everywhere_and_shown_with_its_reason() {
    let (bench, this) = Bench::signed_in().await;
    let other = bench.login_as(ANN, "other/1").await;
    let path = format!("/auth/sessions/{}", other.session);
    let revoke = || bench.call("DELETE", &path).bearer(&this.access);
    revoke().json(json!({"reason": "lost\nphone"})).send().await.expect_fields(&["reason"]);
    revoke().json(json!({"reason": ""})).send().await.expect_fields(&["reason"]);
    let answer = revoke().json(json!({"reason": "lost phone"})).send().await.expect(200);
    assert_eq!(answer.members(), ["message", "revoked_session_id"]);
    assert_eq!(answer.json["revoked_session_id"], other.session);
    bench.call("GET", "/auth/me").bearer(&other.access).send().await.expect_problem(401, "revoked");
    bench.refresh(&other.refresh).await.expect_problem(401, "revoked");
    revoke().send().await.expect_problem(409, "already-ended");

    assert_eq!(ids(&list(&bench, &this, "").await), [&this.session]);
    let all = list(&bench, &this, "?include_ended=true").await;
    assert_eq!(all.json["total_count"], 2);
    let ended = entry(&all, &other.session);
    assert_eq!((&ended["is_revoked"], &ended["revoked_reason"]), (&json!(true), &json!("lost phone")));
}

#[tokio::test]
async fn a_session_that_ran_out_is_not_revoked() {
    let (bench, old) = Bench::signed_in().await;
    bench.pass(7 * 24 * 3600);
    let this = bench.login(ANN).await;
    let all = list(&bench, &this, "?include_ended=true").await;
    let ended = entry(&all, &old.session);
    assert_eq!((&ended["is_revoked"], ended.get("revoked_reason")), (&json!(false), None));
}

#[tokio::test]
async fn what_cannot_be_revoked() {
    let (bench, this) = Bench::signed_in().await;
    bench.user("bob@example.org").await;
    let bob = bench.login("bob@example.org").await;
    let revoke = |id: &str| bench.call("DELETE", &format!("/auth/sessions/{id}")).bearer(&this.access).send();
    revoke(&this.session).await.expect_problem(400, "current-session");
    let unknown = "01930000-0000-7000-8000-000000000000";
    let mut bodies = Vec::new();
    for id in [bob.session.as_str(), unknown, "garbage", "%00", "%ff", "..%2f..", "' OR 1=1 --"] {
        let id = id.replace(' ', "%20");
        let mut answer = revoke(&id).await.expect_problem(404, "not-found");
        answer.json["request_id"] = json!(null);
        bodies.push(answer.json);
    }
    assert!(bodies.iter().all(|body| *body == bodies[0]), "another's session looks like none");
    bench.call("GET", "/auth/me").bearer(&bob.access).send().await.expect(200);
}

#[tokio::test]
async fn all_others_end_and_this_one_stays() {
    let (bench, this) = Bench::signed_in().await;
    let others = [bench.login(ANN).await, bench.login(ANN).await];
    bench.user("bob@example.org").await;
    let bob = bench.login("bob@example.org").await;
    for count in [2, 0] {
        let answer = bench.call("DELETE", "/auth/sessions/others/revoke").bearer(&this.access).send().await.expect(200);
        assert_eq!(answer.members(), ["message", "revoked_count"]);
        assert_eq!(answer.json["revoked_count"], count);
    }
    for other in &others {
        bench.call("GET", "/auth/me").bearer(&other.access).send().await.expect_problem(401, "revoked");
    }
    for tokens in [&this, &bob] {
        bench.call("GET", "/auth/me").bearer(&tokens.access).send().await.expect(200);
    }
}

#[tokio::test]
async fn all_end_with_their_access_tokens() {
    let (bench, this) = Bench::signed_in().await;
    let other = bench.login(ANN).await;
    let answer = bench.call("DELETE", "/auth/sessions/all/revoke").bearer(&this.access).send().await.expect(200);
    assert_eq!(answer.json["revoked_count"], 2);
    for tokens in [&this, &other] {
        bench.call("GET", "/auth/me").bearer(&tokens.access).send().await.expect(401);
        bench.refresh(&tokens.refresh).await.expect(401);
    }
    bench.login(ANN).await;
}

#[tokio::test]
async fn client_addresses_come_from_trusted_proxies_only() {
    let bench = Bench::with(|settings| settings.http.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()]).await;
    bench.user(ANN).await;
    for (peer, expected) in [("10.1.2.3:1", "203.0.113.9"), ("192.0.2.7:1", "192.0.2.7")] {
        let body = json!({"email": ANN, "password": PASSWORD});
        let login = bench.post("/auth/login", body).at_peer(peer).header("x-forwarded-for", "1.2.3.4, 203.0.113.9");
        let tokens = login.header("user-agent", "a\u{9}b").send().await.expect(200).tokens();
        let answer = list(&bench, &tokens, "").await;
        let this = entry(&answer, &tokens.session);
        assert_eq!((&this["ip_address"], &this["device_info"]), (&json!(expected), &json!("a b")));
    }
}
