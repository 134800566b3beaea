//! What goes wrong in requests over real HTTP: always the documented problem, never a 500.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "tests")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use session_manager_tests::client::{Answer, Client, Tokens};
use session_manager_tests::server::Server;
use tempfile::TempDir;

const PASSWORD: &str = "Correct-Horse-7";
const JSON: (&str, &str) = ("content-type", "application/json");

struct Scene {
    server: Server,
    client: Client,
    ann: Tokens,
    _folder: TempDir,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // It makes more mistakes than one client may.
        let server = Server::start(&folder.path().join("data"), &["--set", "rate_limits.enabled=false"]);
        let client = server.client("errors/1");
        let ann = sign_up(&server, &client, "ann@example.org");
        Self { server, client, ann, _folder: folder }
    }

    fn raw(&self, method: &str, path: &str, fields: &[(&str, &str)], body: &[u8]) -> Answer {
        self.client.raw(method, &format!("/api/v1{path}"), fields, body)
    }
}

fn sign_up(server: &Server, client: &Client, email: &str) -> Tokens {
    client.post("/auth/register", json!({"email": email, "password": PASSWORD, "name": "Ann"})).expect(201);
    client.post("/auth/verify-email", json!({"token": server.mailed_token("/verify-email")})).expect(200);
    client.login(email, PASSWORD)
}

/// The fields that a 422 names.
fn fields(answer: Answer) -> Vec<String> {
    let answer = answer.expect_problem(422, ":invalid-input");
    let errors = answer.json["errors"].as_array().unwrap();
    errors.iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn bodies_that_are_no_request() {
    let scene = Scene::new();
    for path in ["/auth/register", "/auth/login", "/auth/verify-email", "/auth/refresh"] {
        for body in [&b"{"[..], b"{\"a\":}", b"\xff\xfe", b"nul", b"{}{}", b"{\"a\":1,}"] {
            scene.raw("POST", path, &[JSON], body).expect_problem(400, ":malformed-json");
        }
        for body in [&b"[]"[..], b"null", b"1", b"\"x\""] {
            assert_eq!(fields(scene.raw("POST", path, &[JSON], body)), [""], "{path}");
        }
        let deep = "[".repeat(50_000);
        scene.raw("POST", path, &[JSON], deep.as_bytes()).expect_problem(400, ":malformed-json");
        let large = format!("{{\"email\":\"{}\"}}", "x".repeat(70_000));
        scene.raw("POST", path, &[JSON], large.as_bytes()).expect_problem(413, ":too-large");
        let form = [("content-type", "application/x-www-form-urlencoded")];
        scene.raw("POST", path, &form, b"a=b").expect_problem(415, ":unsupported-media-type");
        scene.raw("POST", path, &[], b"{}").expect_problem(415, ":unsupported-media-type");
    }
}

#[test]
fn wrong_types_and_characters_are_told_field_by_field() {
    let scene = Scene::new();
    let post = |path: &str, body: Value| fields(scene.client.post(path, body));
    for wrong in [json!(1), json!(null), json!([]), json!({}), json!(true)] {
        let all = json!({"email": wrong, "password": wrong, "name": wrong});
        assert_eq!(post("/auth/register", all), ["email", "name", "password"]);
        assert_eq!(post("/auth/verify-email", json!({"token": wrong})), ["token"]);
        assert_eq!(post("/auth/refresh", json!({"refresh_token": wrong})), ["refresh_token"]);
    }
    for wrong in [json!(1), json!([]), json!({}), json!("yes")] {
        let login = json!({"email": "ann@example.org", "password": PASSWORD, "remember": wrong});
        assert_eq!(post("/auth/login", login), ["remember"]);
    }
    for control in ["\u{0}", "\n", "\u{1b}[31m", "\u{7f}", "\u{85}", "\u{2028}", "\u{202e}"] {
        let text = format!("a{control}b");
        let named = json!({"email": "x@example.org", "password": PASSWORD, "name": text});
        assert_eq!(post("/auth/register", named), ["name"], "{control:?}");
        let login = json!({"email": "ann@example.org", "password": PASSWORD, "device_name": text});
        assert_eq!(post("/auth/login", login), ["device_name"], "{control:?}");
        let change =
            scene.client.send("PATCH", "/api/v1/auth/me", Some(&scene.ann.access), Some(&json!({"name": text})));
        assert_eq!(fields(change), ["name"], "{control:?}");
    }
    let long = json!({"email": "ann@example.org", "password": PASSWORD, "device_name": "x".repeat(101)});
    assert_eq!(post("/auth/login", long), ["device_name"]);
    let huge = json!({"email": "ann@example.org", "password": "x".repeat(60_000)});
    scene.client.post("/auth/login", huge).expect_problem(401, ":invalid-credentials");
}

#[test]
fn user_agents_of_strangers_are_stored_harmless() {
    let scene = Scene::new();
    let body = json!({"email": "ann@example.org", "password": PASSWORD}).to_string();
    // The client library would refuse to send it; a stranger would not.
    let mut stream = TcpStream::connect(scene.server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut request = format!(
        "POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(b"User-Agent: <script>\tx\xff");
    request.extend_from_slice("\u{202e}".as_bytes());
    request.extend_from_slice(&[b'y'; 2000]);
    request.extend_from_slice(b"\r\n\r\n");
    request.extend_from_slice(body.as_bytes());
    stream.write_all(&request).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let list = scene.client.get("/auth/sessions", &scene.ann.access).expect(200);
    let shown = list.json["sessions"][0]["device_info"].as_str().unwrap();
    assert!(shown.starts_with("<script> x\u{fffd} yyy") && shown.len() <= 512, "{shown}");
}

#[test]
fn tokens_that_are_not_ours() {
    let scene = Scene::new();
    let Tokens { access, refresh, .. } = &scene.ann;
    let me = |token: &str| scene.client.get("/auth/me", token);
    me(access).expect(200);
    let mut forged: Vec<String> = vec!["x".into(), "a.b.c".into(), "x".repeat(9000), refresh.clone()];
    let parts: Vec<_> = access.split('.').collect();
    forged.push(format!("{}.{}.", parts[0], parts[1]));
    // alg: none
    forged.push(format!("eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0.{}.", parts[1]));
    for position in [1, parts[0].len() + 5, access.len() - 5] {
        let mut bytes = access.clone().into_bytes();
        bytes[position] = if bytes[position] == b'A' { b'B' } else { b'A' };
        forged.push(String::from_utf8(bytes).unwrap());
    }
    for token in &forged {
        let refused = me(token).expect_problem(401, ":invalid-token");
        assert!(refused.header("www-authenticate").is_some_and(|value| value.contains("invalid_token")));
        if token != refresh {
            scene.client.refresh(token).expect_problem(401, ":invalid-token");
        }
    }
    let mut bytes = refresh.clone().into_bytes();
    for position in [0, 10, bytes.len() - 2] {
        let kept = bytes[position];
        bytes[position] = if kept == b'A' { b'B' } else { b'A' };
        let forged = String::from_utf8(bytes.clone()).unwrap();
        scene.client.refresh(&forged).expect_problem(401, ":invalid-token");
        bytes[position] = kept;
    }
    scene.client.refresh(access).expect_problem(401, ":invalid-token");
    for value in ["Bearer", "Bearer ", "Bearer a b", "Bearer \""] {
        let answer = scene.raw("GET", "/auth/me", &[("authorization", value)], b"");
        assert!(answer.status == 401, "{value}: {}", answer.text);
    }
    scene.raw("GET", "/auth/me", &[], b"").expect_problem(401, ":unauthenticated");
    scene.raw("GET", "/auth/me", &[("authorization", "Basic YTpi")], b"").expect_problem(401, ":unauthenticated");
    me(access).expect(200);
}

#[test]
fn another_users_session_is_no_session() {
    let scene = Scene::new();
    let bob = sign_up(&scene.server, &scene.client, "bob@example.org");
    let revoke = |id: &str| scene.client.call("DELETE", &format!("/auth/sessions/{id}"), &scene.ann.access);
    let mut bodies = Vec::new();
    for id in [bob.session.as_str(), "01930000-0000-7000-8000-000000000000", "x", "%00", "%ff", "%2e%2e", "'--"] {
        let mut body = revoke(id).expect_problem(404, ":not-found").json;
        body["request_id"] = Value::Null;
        bodies.push(body);
    }
    assert!(bodies.iter().all(|body| *body == bodies[0]), "nothing tells them apart");
    scene.client.get("/auth/me", &bob.access).expect(200);
    let all = scene.client.get("/auth/sessions?include_ended=true", &scene.ann.access).expect(200);
    assert!(!all.text.contains(&bob.session));
}

#[test]
fn paths_and_methods() {
    let scene = Scene::new();
    for path in ["/api/v1", "/api/v1/", "/api/v1/nothing", "/api/v2/auth/me", "/%00", "/api/v1/auth/%2e%2e/me"] {
        scene.client.raw("GET", path, &[], b"").expect_problem(404, ":not-found");
    }
    for (method, path) in [("GET", "/auth/login"), ("PUT", "/auth/me"), ("DELETE", "/auth/me"), ("TRACE", "/auth/me")] {
        let refused = scene.raw(method, path, &[], b"").expect_problem(405, ":method-not-allowed");
        assert!(refused.header("allow").is_some(), "{method} {path}");
    }
    for path in ["/auth/me", "/auth/me/"] {
        scene.client.get(path, &scene.ann.access).expect(200);
    }
    let login = json!({"email": "ann@example.org", "password": PASSWORD});
    scene.client.post("/auth/login/", login).expect(200);
    for (query, field) in [("limit=x", "limit"), ("include_ended=x", "include_ended"), ("country=%00%00", "country")] {
        let list = scene.client.get(&format!("/auth/sessions?{query}"), &scene.ann.access);
        assert_eq!(fields(list), [field]);
    }
    scene.client.get("/auth/sessions?cursor=%00", &scene.ann.access).expect_problem(400, ":invalid-cursor");
}
