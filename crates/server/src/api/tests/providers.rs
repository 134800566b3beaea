//! Endpoints 19 to 23, 29 and 30: connections, and what can be connected to.

use serde_json::{Value, json};

use super::authorization_server::AuthorizationServer;
use super::bench::{ANN, Answer, Bench, Tokens};

async fn signed_in() -> (AuthorizationServer, Bench, Tokens) {
    let server = AuthorizationServer::start().await;
    let bench = server.bench().await;
    bench.user(ANN).await;
    let tokens = bench.login(ANN).await;
    (server, bench, tokens)
}

async fn create(bench: &Bench, tokens: &Tokens, key: &str, alias: &str) -> Answer {
    bench.post("/providers", json!({"provider_key": key, "alias": alias})).bearer(&tokens.access).send().await
}

async fn list(bench: &Bench, tokens: &Tokens, query: &str) -> Answer {
    bench.call("GET", &format!("/providers{query}")).bearer(&tokens.access).send().await
}

fn aliases(answer: &Answer) -> Vec<&str> {
    answer.json["items"].as_array().unwrap().iter().map(|item| item["alias"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_connection_is_made_and_seen() {
    let (_server, bench, ann) = signed_in().await;
    let made = create(&bench, &ann, "acme", "  My savings ").await.expect(201);
    assert_eq!(made.members(), ["alias", "created_at", "id", "provider_key", "status", "updated_at"]);
    let shown = ["alias", "provider_key", "status"].map(|name| &made.json[name]);
    assert_eq!(shown, [&json!("My savings"), &json!("acme"), &json!("pending")]);
    let id = uuid::Uuid::parse_str(made.json["id"].as_str().unwrap()).unwrap();
    assert_eq!(id.get_version_num(), 7);
    let path = format!("/providers/{id}");
    let seen = bench.call("GET", &path).bearer(&ann.access).send().await.expect(200);
    assert_eq!(seen.json, made.json);
    assert_eq!(list(&bench, &ann, "").await.expect(200).json["items"], json!([made.json]));
}

#[tokio::test]
async fn what_cannot_be_made_is_told() {
    let (_server, bench, ann) = signed_in().await;
    let post = |body: Value| bench.post("/providers", body).bearer(&ann.access).send();
    post(json!({})).await.expect_fields(&["provider_key", "alias"]);
    post(json!({"provider_key": 1, "alias": "a\nb"})).await.expect_fields(&["provider_key", "alias"]);
    post(json!({"provider_key": "acme", "alias": "x".repeat(101)})).await.expect_fields(&["alias"]);
    create(&bench, &ann, "nobody", "a").await.expect_problem(400, "unknown-provider");
    create(&bench, &ann, "later", "a").await.expect_problem(400, "provider-not-configured");
    create(&bench, &ann, "acme", "a").await.expect(201);
    create(&bench, &ann, "body", " a ").await.expect_problem(409, "alias-taken");
    create(&bench, &ann, "acme", "A").await.expect(201);
    bench.user("bob@example.org").await;
    let bob = bench.login("bob@example.org").await;
    create(&bench, &bob, "acme", "a").await.expect(201);
}

#[tokio::test]
async fn one_account_has_an_end_to_what_it_can_store() {
    let (_server, bench, ann) = signed_in().await;
    let user = bench.account(ANN).await.id.to_string();
    let rows: Vec<_> = (0..1000).map(|i| format!("('x{i}', ?1, 'acme', 'x{i}', 0, 0)")).collect();
    let many = "INSERT INTO provider_connections (id, user_id, provider_key, alias, created_at, updated_at) VALUES ";
    crate::sql::query(format!("{many}{}", rows.join(", "))).bind(user).execute(&bench.app.data().pool).await.unwrap();
    create(&bench, &ann, "acme", "one more").await.expect_problem(409, "too-many-connections");
}

#[tokio::test]
async fn pages_of_the_list() {
    let (_server, bench, ann) = signed_in().await;
    let empty = list(&bench, &ann, "").await.expect(200);
    let expected =
        json!({"items": [], "total": 0, "page": 1, "per_page": 20, "pages": 0, "has_next": false, "has_prev": false});
    assert_eq!(empty.json, expected);
    for number in 0..25 {
        create(&bench, &ann, if number % 5 == 0 { "body" } else { "acme" }, &format!("c{number:02}")).await.expect(201);
        bench.pass(1);
    }
    let facts = |answer: &Answer| {
        ["total", "page", "per_page", "pages", "has_next", "has_prev"].map(|name| answer.json[name].clone())
    };
    let first = list(&bench, &ann, "").await.expect(200);
    assert_eq!(facts(&first), [json!(25), json!(1), json!(20), json!(2), json!(true), json!(false)]);
    assert_eq!((aliases(&first).len(), aliases(&first)[0]), (20, "c24"), "newest first");
    let last = list(&bench, &ann, "?page=3&per_page=10").await.expect(200);
    assert_eq!(facts(&last), [json!(25), json!(3), json!(10), json!(3), json!(false), json!(true)]);
    assert_eq!(aliases(&last), ["c04", "c03", "c02", "c01", "c00"]);
    let beyond = list(&bench, &ann, "?page=4294967295&per_page=100").await.expect(200);
    assert_eq!((aliases(&beyond).len(), &beyond.json["has_next"]), (0, &json!(false)));
    let sorted = list(&bench, &ann, "?sort=alias&order=asc&per_page=2").await.expect(200);
    assert_eq!(aliases(&sorted), ["c00", "c01"]);
    let grouped = list(&bench, &ann, "?sort=provider_key&order=desc&per_page=2").await.expect(200);
    assert_eq!(aliases(&grouped), ["c20", "c15"], "what is equal is newest first");
    for (query, total) in [
        ("?provider_key=body", 5),
        ("?status=pending", 25),
        ("?status=active", 0),
        ("?status=pending&provider_key=acme", 20),
        ("?nothing=1", 25),
    ] {
        assert_eq!(list(&bench, &ann, query).await.expect(200).json["total"], total, "{query}");
    }
}

#[tokio::test]
async fn queries_that_make_no_sense() {
    let (_server, bench, ann) = signed_in().await;
    for query in ["sort=token", "sort=", "sort=alias%3Bdrop", "order=up", "status=Active", "status=x"] {
        list(&bench, &ann, &format!("?{query}")).await.expect_problem(400, "invalid-query");
    }
    list(&bench, &ann, "?provider_key=nobody").await.expect_problem(400, "unknown-provider");
    for value in ["0", "-1", "x", "1.5", "99999999999"] {
        list(&bench, &ann, &format!("?page={value}&per_page={value}")).await.expect_fields(&["page", "per_page"]);
    }
    list(&bench, &ann, "?per_page=101").await.expect_fields(&["per_page"]);
    list(&bench, &ann, "?per_page=100").await.expect(200);
}

#[tokio::test]
async fn a_connection_is_renamed() {
    let (_server, bench, ann) = signed_in().await;
    let made = create(&bench, &ann, "acme", "a").await.expect(201);
    create(&bench, &ann, "acme", "b").await.expect(201);
    bench.pass(1);
    let path = format!("/providers/{}", made.json["id"].as_str().unwrap());
    let rename = |body: Value| bench.call("PATCH", &path).bearer(&ann.access).json(body).send();
    let renamed = rename(json!({"alias": " c "})).await.expect(200);
    assert_eq!((&renamed.json["alias"], &renamed.json["created_at"]), (&json!("c"), &made.json["created_at"]));
    assert_ne!(renamed.json["updated_at"], made.json["updated_at"]);
    rename(json!({"alias": "c"})).await.expect(200);
    rename(json!({"alias": "b"})).await.expect_problem(409, "alias-taken");
    rename(json!({})).await.expect_fields(&["alias"]);
    rename(json!({"alias": ""})).await.expect_fields(&["alias"]);
    create(&bench, &ann, "acme", "a").await.expect(201);
}

#[tokio::test]
async fn a_connection_is_removed() {
    let (_server, bench, ann) = signed_in().await;
    let made = create(&bench, &ann, "acme", "a").await.expect(201);
    let path = format!("/providers/{}", made.json["id"].as_str().unwrap());
    let gone = bench.call("DELETE", &path).bearer(&ann.access).send().await.expect(200);
    assert_eq!(gone.members(), ["message"]);
    for method in ["DELETE", "GET"] {
        bench.call(method, &path).bearer(&ann.access).send().await.expect_problem(404, "not-found");
    }
    create(&bench, &ann, "acme", "a").await.expect(201);
}

#[tokio::test]
async fn another_users_connection_looks_like_none() {
    let (_server, bench, ann) = signed_in().await;
    bench.user("bob@example.org").await;
    let bob = bench.login("bob@example.org").await;
    let bobs = create(&bench, &bob, "acme", "a").await.expect(201);
    let bobs = bobs.json["id"].as_str().unwrap();
    let unknown = "01930000-0000-7000-8000-000000000000";
    let mut bodies = Vec::new();
    for id in [bobs, unknown, "garbage", "%00", "%ff", "..%2f..", "'%20OR%201=1"] {
        for (method, path) in [
            ("GET", ""),
            ("PATCH", ""),
            ("DELETE", ""),
            ("POST", "/authorization"),
            ("GET", "/authorization"),
            ("PATCH", "/authorization"),
            ("DELETE", "/authorization"),
        ] {
            let call = bench.call(method, &format!("/providers/{id}{path}")).bearer(&ann.access);
            let mut answer = call.json(json!({"alias": "stolen"})).send().await.expect_problem(404, "not-found");
            answer.json["request_id"] = json!(null);
            bodies.push(answer.json);
        }
    }
    assert!(bodies.iter().all(|body| *body == bodies[0]));
    let seen = bench.call("GET", &format!("/providers/{bobs}")).bearer(&bob.access).send().await.expect(200);
    assert_eq!(seen.json["alias"], "a");
    assert_eq!(list(&bench, &ann, "").await.json["total"], 0);
}

#[tokio::test]
async fn everybody_sees_what_can_be_connected_to_and_no_secret() {
    let (_server, bench, _) = signed_in().await;
    let keys = |answer: &Answer| {
        let types = answer.json.as_array().unwrap();
        types.iter().map(|one| one["key"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for (query, expected) in [
        ("", &["acme", "body", "later", "public", "strict"][..]),
        ("?configured=true", &["acme", "body", "public", "strict"]),
        ("?configured=false", &["later"]),
    ] {
        let types = bench.call("GET", &format!("/provider-types{query}")).send().await.expect(200);
        assert_eq!(keys(&types), expected, "{query}");
        assert!(!types.json.to_string().contains("s3cret") && !types.json.to_string().contains("our id"));
    }
    let acme = bench.call("GET", "/provider-types/acme").send().await.expect(200);
    let expected = json!({"key": "acme", "name": "Acme Bank", "configured": true, "scopes": ["read", "write"]});
    assert_eq!(acme.json, expected);
    for key in ["nobody", "%ff", "ACME"] {
        bench.call("GET", &format!("/provider-types/{key}")).send().await.expect_problem(404, "not-found");
    }
    bench.call("GET", "/provider-types?configured=1").send().await.expect_fields(&["configured"]);
}

#[tokio::test]
async fn without_providers_there_is_nothing_and_all_works() {
    let (bench, ann) = Bench::signed_in().await;
    assert_eq!(bench.call("GET", "/provider-types").send().await.expect(200).json, json!([]));
    create(&bench, &ann, "acme", "a").await.expect_problem(400, "unknown-provider");
    assert_eq!(list(&bench, &ann, "").await.expect(200).json["total"], 0);
}

#[tokio::test]
async fn an_outage_is_no_verdict_on_a_connection() {
    let (_server, bench, ann) = signed_in().await;
    bench.app.data().close().await;
    list(&bench, &ann, "").await.expect_problem(503, "unavailable");
    let back = bench.call("GET", "/providers/acme/authorization/callback?state=x&code=y");
    back.send().await.expect_problem(503, "unavailable");
}
