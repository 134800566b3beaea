//! The table of endpoints: what is in it, and that it is kept.

use serde_json::json;

use super::bench::{ANN, Bench, Call};
use crate::api::description::Description;
use crate::api::{Verb, Who, endpoint, endpoints, mount};
use crate::limits::Limit;

#[test]
fn these_are_the_endpoints_and_who_may_call_them() {
    use Who::{Admin, Authenticated, Fresh, FreshAdmin, Public, SelfOrAdmin};
    let found: Vec<_> =
        endpoints().iter().map(|row| (format!("{:?}", row.verb).to_uppercase(), row.path, row.who)).collect();
    let expected = [
        ("POST", "/auth/register", Public),
        ("POST", "/auth/verify-email", Public),
        ("POST", "/auth/login", Public),
        ("POST", "/auth/refresh", Public),
        ("POST", "/auth/logout", Authenticated),
        ("POST", "/auth/reauthenticate", Authenticated),
        ("GET", "/auth/me", Authenticated),
        ("PATCH", "/auth/me", Authenticated),
        ("PATCH", "/auth/me/password", Fresh),
        ("GET", "/auth/sessions", Authenticated),
        ("DELETE", "/auth/sessions/{session_id}", Authenticated),
        ("DELETE", "/auth/sessions/others/revoke", Authenticated),
        ("DELETE", "/auth/sessions/all/revoke", Authenticated),
        ("POST", "/password-resets", Public),
        ("GET", "/password-resets/{token}", Public),
        ("PATCH", "/password-resets/{token}", Public),
        ("DELETE", "/users/{user_id}/tokens", SelfOrAdmin),
        ("DELETE", "/tokens", FreshAdmin),
        ("GET", "/security/config", Admin),
        ("GET", "/admin/users", Admin),
        ("GET", "/admin/users/{user_id}", Admin),
        ("POST", "/admin/users/{user_id}/disable", Admin),
        ("POST", "/admin/users/{user_id}/enable", Admin),
        ("DELETE", "/admin/users/{user_id}/sessions", Admin),
        ("DELETE", "/admin/users/{user_id}/sessions/{session_id}", Admin),
        ("GET", "/admin/audit", Admin),
        ("POST", "/providers", Authenticated),
        ("GET", "/providers", Authenticated),
        ("GET", "/providers/{id}", Authenticated),
        ("PATCH", "/providers/{id}", Authenticated),
        ("DELETE", "/providers/{id}", Authenticated),
        ("POST", "/providers/{id}/authorization", Authenticated),
        ("GET", "/providers/{id}/authorization", Authenticated),
        ("GET", "/providers/{id}/authorization/callback", Public),
        ("PATCH", "/providers/{id}/authorization", Authenticated),
        ("DELETE", "/providers/{id}/authorization", Authenticated),
        ("GET", "/provider-types", Public),
        ("GET", "/provider-types/{key}", Public),
    ];
    assert_eq!(found, expected.map(|(verb, path, who)| (verb.to_owned(), path, who)));
}

#[tokio::test]
async fn every_row_asks_for_what_it_says() {
    let (bench, tokens) = Bench::signed_in().await;
    bench.pass(16 * 60);
    let stale = bench.refresh(&tokens.refresh).await.expect(200).tokens();
    bench.user("bob@example.org").await;
    let bob = bench.login("bob@example.org").await;
    for row in endpoints() {
        let verb = format!("{:?}", row.verb).to_uppercase();
        let named = ["{session_id}", "{user_id}", "{token}", "{id}", "{key}"];
        let path = named.iter().fold(row.path.to_owned(), |path, name| path.replace(name, "x"));
        // The body is no JSON: whoever is let in hears of that, or is served.
        let call = || bench.call(&verb, &path).header("content-type", "application/json").body("{");
        let anonymous = call().send().await;
        match row.who {
            // What is only read has no body to be wrong.
            Who::Public if row.verb == Verb::Get => assert_ne!(anonymous.status, 401, "{path}"),
            Who::Public => drop(anonymous.expect_problem(400, "malformed-json")),
            _ => {
                anonymous.expect_problem(401, "unauthenticated");
                call().bearer("garbage").send().await.expect_problem(401, "invalid-token");
                call().bearer(&stale.refresh).send().await.expect_problem(401, "invalid-token");
            }
        }
        if matches!(row.who, Who::SelfOrAdmin | Who::Admin | Who::FreshAdmin) {
            call().bearer(&bob.access).send().await.expect_problem(403, "forbidden");
        }
        if matches!(row.who, Who::Fresh | Who::FreshAdmin) {
            refused_for_age(call().bearer(&stale.access)).await;
        }
    }
}

async fn refused_for_age(call: Call<'_>) {
    let refused = call.send().await.expect_problem(403, "step-up-required");
    let challenge = refused.header("www-authenticate").unwrap();
    assert!(challenge.contains("insufficient_user_authentication") && challenge.contains("max_age=\"900\""));
}

#[tokio::test]
async fn a_handler_that_asks_for_nothing_is_guarded_by_its_row() {
    let (bench, tokens) = Bench::signed_in().await;
    let row = |path, who| {
        endpoint(Verb::Get, path, who, || async { "served" })
            .limit(Limit::none())
            .described(Description::new("Serves", "nothing"))
    };
    let rows = vec![
        row("/public", Who::Public),
        row("/signed-in", Who::Authenticated),
        row("/fresh", Who::Fresh),
        row("/admin", Who::Admin),
        row("/fresh-admin", Who::FreshAdmin),
        row("/of/{user_id}", Who::SelfOrAdmin),
    ];
    let app = bench.app.clone();
    let router = mount(rows, &app).layer(app.sessions().layer()).with_state(app);
    let status = |path: &str, token: Option<&str>| {
        let mut request = http::Request::get(format!("/api/v1{path}"));
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let answer = tower::ServiceExt::oneshot(router.clone(), request.body(axum::body::Body::empty()).unwrap());
        async { answer.await.unwrap().status().as_u16() }
    };
    bench.user("bob@example.org").await;
    let (bob, bob_id) = (bench.login("bob@example.org").await, bench.account("bob@example.org").await.id);
    let (bobs, anns) = (format!("/of/{bob_id}"), format!("/of/{}", bench.account(ANN).await.id));
    let spelt_otherwise = bobs.to_uppercase().replace("/OF/", "/of/");
    for (path, anonymous, others) in [
        ("/public", 200, 200),
        ("/signed-in", 401, 200),
        ("/fresh", 401, 200),
        ("/admin", 401, 403),
        ("/fresh-admin", 401, 403),
        (&bobs, 401, 200),
        (&spelt_otherwise, 401, 200),
        (&anns, 401, 403),
        ("/of/x", 401, 403),
        ("/of/%ff", 401, 403),
    ] {
        assert_eq!(status(path, None).await, anonymous, "{path}");
        assert_eq!(status(path, Some(&bob.access)).await, others, "{path}");
        assert_eq!(status(path, Some(&tokens.access)).await, 200, "{path}");
    }
    bench.pass(16 * 60);
    let stale = bench.refresh(&tokens.refresh).await.tokens();
    for (path, expected) in [("/signed-in", 200), ("/fresh", 403), ("/admin", 200), ("/fresh-admin", 403)] {
        assert_eq!(status(path, Some(&stale.access)).await, expected, "{path}");
    }
}

#[tokio::test]
async fn unknown_paths_and_methods() {
    let bench = Bench::new().await;
    for path in ["/nothing", "", "/auth", "/auth/sessions/a/b/c", "/password-resets/a/b"] {
        bench.call("GET", path).send().await.expect_problem(404, "not-found");
    }
    for (method, path, allow) in
        [("GET", "/auth/login", "POST"), ("PUT", "/auth/me", "GET,HEAD,PATCH"), ("POST", "/auth/sessions", "GET,HEAD")]
    {
        let refused = bench.call(method, path).send().await.expect_problem(405, "method-not-allowed");
        assert_eq!(refused.header("allow"), Some(allow), "{path}");
    }
}

#[tokio::test]
async fn a_slash_at_the_end_changes_nothing() {
    let (bench, tokens) = Bench::signed_in().await;
    for path in ["/auth/me", "/auth/me/", "/auth/sessions/"] {
        bench.call("GET", path).bearer(&tokens.access).send().await.expect(200);
    }
    bench.post("/auth/login/", json!({"email": ANN, "password": super::bench::PASSWORD})).send().await.expect(200);
    bench.call("DELETE", "/auth/sessions/others/revoke/").bearer(&tokens.access).send().await.expect(200);
}

#[tokio::test]
async fn the_published_key_is_the_one_that_signs() {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let (bench, tokens) = Bench::signed_in().await;
    let jwks = bench.root("/.well-known/jwks.json").send().await.expect(200).json;
    let header = URL_SAFE_NO_PAD.decode(tokens.access.split('.').next().unwrap()).unwrap();
    let header: serde_json::Value = serde_json::from_slice(&header).unwrap();
    assert_eq!((&jwks["keys"][0]["kid"], &jwks["keys"][0]["alg"]), (&header["kid"], &header["alg"]));
    let (signed, signature) = tokens.access.rsplit_once('.').unwrap();
    let public = URL_SAFE_NO_PAD.decode(jwks["keys"][0]["x"].as_str().unwrap()).unwrap();
    let key = aws_lc_rs::signature::UnparsedPublicKey::new(&aws_lc_rs::signature::ED25519, public);
    key.verify(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
}
