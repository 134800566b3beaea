//! The OpenAPI document, the page of it and the list in the book: that they say what the service does.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::bench::{ANN, Answer, Bench, PASSWORD, credentials};
use crate::api::description::Reads;
use crate::api::{REFRESH, Who, documented, endpoints};
use crate::config::AuditSink;
use crate::json::Described;

/// With this variable set, the list of endpoints is written instead of compared.
const UPDATE: &str = "UPDATE_ENDPOINTS";

async fn document() -> Value {
    let bench = Bench::new().await;
    let answer = bench.root("/openapi.json").send().await.expect(200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    answer.json
}

#[tokio::test]
async fn every_row_is_an_operation_and_there_is_no_other() {
    let document = document().await;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let paths = document["paths"].as_object().unwrap();
    let found: BTreeSet<_> = paths
        .iter()
        .flat_map(|(path, item)| item.as_object().unwrap().keys().map(move |verb| (verb.to_uppercase(), path.clone())))
        .collect();
    let rows = endpoints();
    assert_eq!(found, rows.iter().map(|row| (row.verb.name().to_owned(), format!("/api/v1{}", row.path))).collect());
    let mut ids = BTreeSet::new();
    for row in &rows {
        let operation = &paths[&format!("/api/v1{}", row.path)][row.verb.name().to_lowercase()];
        assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{operation}");
        assert!(!row.description.summary.is_empty() && !row.description.records.is_empty());
        let responses = &operation["responses"];
        let (guarded, limited) = (row.who != Who::Public, row.limit.bound().is_some());
        assert_eq!(responses.get("401").is_some(), guarded || matches!(row.path, "/auth/login" | "/auth/refresh"));
        assert_eq!(responses.get("429").is_some(), guarded || limited, "{}", row.path);
        assert_eq!(operation["security"].as_array().unwrap().iter().any(|one| one.get("bearer").is_some()), guarded);
        assert_eq!(operation["security"].as_array().unwrap().contains(&json!({})), !guarded, "{}", row.path);
        for (status, response) in responses.as_object().unwrap() {
            let told = response["headers"].get("X-RateLimit-Reset").is_some();
            assert_eq!(told, limited && !status.starts_with('5'), "{} {status}", row.path);
            let media = if status.starts_with('2') { "application/json" } else { "application/problem+json" };
            assert_eq!(response["content"].get(media).is_some(), status != "204", "{} {status}", row.path);
        }
    }
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"#").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(document.pointer(reference).is_some(), "{reference} leads nowhere");
    }
}

/// The fields that a row says it reads are sent as what no field is; the handler names each of them, or the row lies.
#[tokio::test]
async fn what_a_row_says_it_reads_is_what_its_handler_reads() {
    let document = document().await;
    let bench = Bench::new().await;
    bench.user(ANN).await;
    for row in endpoints() {
        let tokens = bench.login(ANN).await;
        let call = |path: &str| bench.call(row.verb.name(), path).bearer(&tokens.access);
        let parts = ["{session_id}", "{user_id}", "{token}", "{id}", "{key}"];
        let path = parts.iter().fold(row.path.to_owned(), |path, name| path.replace(name, "x"));
        match row.description.reads {
            Reads::Nothing => {
                let answer = call(&path).header("content-type", "application/json").body("{").send().await;
                assert!(![400, 415, 422].contains(&answer.status), "{path}: {answer:?}");
            }
            Reads::Body(described) => {
                let described: Described = described();
                let names: Vec<_> = described.fields.iter().map(|field| field.name.as_str()).collect();
                let body: Map<String, Value> = names.iter().map(|name| ((*name).to_owned(), json!([]))).collect();
                call(&path).json(Value::Object(body)).send().await.expect_fields(&names);
                let required: Vec<_> =
                    described.fields.iter().filter(|field| field.required).map(|field| field.name.as_str()).collect();
                let nothing: Map<String, Value> = names.iter().map(|name| ((*name).to_owned(), Value::Null)).collect();
                for body in [json!({}), Value::Object(nothing)] {
                    let answer = call(&path).json(body).send().await;
                    if answer.status == 422 && row.path != REFRESH {
                        answer.expect_fields(&required);
                    } else {
                        assert!(required.is_empty(), "{path}: {answer:?}");
                    }
                }
                let operation = format!(
                    "/paths/{}/{}",
                    format!("/api/v1{}", row.path).replace('/', "~1"),
                    row.verb.name().to_lowercase()
                );
                let schema =
                    &document.pointer(&operation).unwrap()["requestBody"]["content"]["application/json"]["schema"];
                for field in &described.fields {
                    let kind = schema["properties"][&field.name]["type"].clone();
                    assert_eq!(kind.as_array().is_some_and(|kinds| kinds.contains(&json!("null"))), !field.required);
                }
                let empty = call(&path).send().await;
                assert_eq!(empty.status != 415, described.may_be_empty, "{path}");
            }
            Reads::Query(described) => {
                let shaped: Vec<_> = described().fields.into_iter().filter(|field| field.shape.is_some()).collect();
                let names: Vec<_> = shaped.iter().map(|field| field.name.as_str()).collect();
                let query: Vec<_> = names.iter().map(|name| format!("{name}=%3F%3F%3F")).collect();
                if names.is_empty() {
                    // Whatever it says is judged by what it means.
                    continue;
                }
                call(&format!("{path}?{}", query.join("&"))).send().await.expect_fields(&names);
            }
        }
        // Only a field that is read can have a shape.
        if let Reads::Body(described) | Reads::Query(described) = row.description.reads {
            assert_eq!(described().lost_shapes, Vec::<&str>::new(), "{path}");
        }
    }
}

#[tokio::test]
async fn what_is_answered_has_the_schema_that_was_promised() {
    let document = document().await;
    let bench = Bench::with(|settings| settings.audit.sinks = vec![AuditSink::Db]).await;
    let register = json!({"email": ANN, "password": PASSWORD, "name": "Ann"});
    let check = |method: &str, path: &str, answer: Answer| {
        let operation = format!("/paths/{}/{}", format!("/api/v1{path}").replace('/', "~1"), method.to_lowercase());
        let operation = document.pointer(&operation).unwrap();
        let response = &operation["responses"][answer.status.to_string()];
        let content = response["content"].as_object().unwrap_or_else(|| panic!("{method} {path}: {answer:?}"));
        let (_, media) = content.iter().next().unwrap();
        let wrong = mismatch(&document, &media["schema"], &answer.json, "");
        assert_eq!(wrong, None, "{method} {path}: {}", answer.json);
        answer
    };
    check("POST", "/auth/register", bench.post("/auth/register", register).send().await.expect(201));
    let token = bench.take_mail().pop().unwrap().1.unwrap();
    let confirm = || bench.post("/auth/verify-email", json!({"token": token})).send();
    check("POST", "/auth/verify-email", confirm().await.expect(200));
    check("POST", "/auth/verify-email", confirm().await.expect(400));
    check("POST", "/auth/register", bench.post("/auth/register", json!({})).send().await.expect(422));
    let tokens =
        check("POST", "/auth/login", bench.post("/auth/login", credentials(ANN)).send().await.expect(200)).tokens();
    let other = bench.login(ANN).await;
    check("POST", "/auth/refresh", bench.refresh(&other.refresh).await.expect(200));
    check("POST", "/auth/refresh", bench.refresh("garbage").await.expect(401));
    let call = |method: &str, path: &str| bench.call(method, path).bearer(&tokens.access);
    check("GET", "/auth/me", call("GET", "/auth/me").send().await.expect(200));
    let change = call("PATCH", "/auth/me").json(json!({"name": "B", "email": "new@example.org"}));
    check("PATCH", "/auth/me", change.send().await.expect(200));
    check("GET", "/auth/sessions", call("GET", "/auth/sessions?limit=1").send().await.expect(200));
    bench.app.sessions().manager().flush().await.unwrap();
    let trail = call("GET", "/admin/audit?limit=1").send().await.expect(200);
    assert_eq!(trail.json["events"].as_array().unwrap().len(), 1);
    check("GET", "/admin/audit", trail);
    let revoke = || call("DELETE", &format!("/auth/sessions/{}", other.session)).send();
    check("DELETE", "/auth/sessions/{session_id}", revoke().await.expect(200));
    check("DELETE", "/auth/sessions/{session_id}", revoke().await.expect(409));
    check("GET", "/auth/sessions", call("GET", "/auth/sessions?include_ended=true").send().await.expect(200));
    let others = call("DELETE", "/auth/sessions/others/revoke").send().await.expect(200);
    check("DELETE", "/auth/sessions/others/revoke", others);
    let proof = call("POST", "/auth/reauthenticate").json(json!({"password": PASSWORD})).send().await.expect(200);
    let tokens = check("POST", "/auth/reauthenticate", proof).tokens();
    let call = |method: &str, path: &str| bench.call(method, path).bearer(&tokens.access);
    let passwords = json!({"current_password": PASSWORD, "new_password": "Other-Battery-8"});
    let changed = call("PATCH", "/auth/me/password").json(passwords).send().await.expect(200);
    let tokens = check("PATCH", "/auth/me/password", changed).tokens();
    let all = bench.call("DELETE", "/auth/sessions/all/revoke").bearer(&tokens.access).send().await.expect(200);
    check("DELETE", "/auth/sessions/all/revoke", all);
    check("POST", "/auth/logout", bench.call("POST", "/auth/logout").send().await.expect(401));
}

/// Where a value is not what its schema says: members that are unknown, missing or of another type.
fn mismatch(document: &Value, schema: &Value, value: &Value, at: &str) -> Option<String> {
    if let Some(reference) = schema["$ref"].as_str() {
        return mismatch(document, document.pointer(reference.strip_prefix('#').unwrap())?, value, at);
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let fits = choices.iter().any(|choice| mismatch(document, choice, value, at).is_none());
        return (!fits).then(|| format!("{at}: none of the choices"));
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let allowed = schema["type"].as_array().cloned().unwrap_or_else(|| vec![schema["type"].clone()]);
    if !allowed.contains(&json!(kind)) {
        return Some(format!("{at}: {kind} is not {}", schema["type"]));
    }
    match value {
        Value::Array(items) => {
            items.iter().find_map(|item| mismatch(document, &schema["items"], item, &format!("{at}[]")))
        }
        Value::Object(members) => {
            let properties = schema["properties"].as_object()?;
            let required = schema["required"].as_array().cloned().unwrap_or_default();
            let missing = required.iter().find(|name| !members.contains_key(name.as_str().unwrap()));
            let unknown = members
                .keys()
                .find(|name| !properties.contains_key(*name) && schema.get("additionalProperties").is_none());
            missing
                .map(|name| format!("{at}: no {name}"))
                .or_else(|| unknown.map(|name| format!("{at}: unknown {name}")))
                .or_else(|| {
                    members
                        .iter()
                        .filter_map(|(name, value)| Some((properties.get(name)?, name, value)))
                        .find_map(|(schema, name, value)| mismatch(document, schema, value, &format!("{at}.{name}")))
                })
        }
        _ => None,
    }
}

#[tokio::test]
async fn the_page_names_every_endpoint_and_runs_no_script() {
    let bench = Bench::new().await;
    let answer = bench.root("/docs").send().await.expect(200);
    assert!(answer.header("content-security-policy").unwrap().starts_with("default-src 'none'; style-src 'self'"));
    for endpoint in documented() {
        let heading = format!("{} {}", endpoint.method, endpoint.path);
        assert!(answer.text.contains(&heading) && answer.text.contains(&endpoint.limit), "{heading}");
    }
    assert!(!answer.text.contains("<script") && !answer.text.contains("style="));
}

/// The list in the book is made here; `UPDATE_ENDPOINTS=1 cargo test -p session-manager-server endpoints` writes it.
#[test]
fn the_list_of_endpoints_in_the_book_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/endpoints.md");
    let list = list();
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&path, &list).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), list, "write it anew with {UPDATE}=1");
}

fn list() -> String {
    let mut rows = documented();
    rows.sort_by_key(|row| row.description.number.unwrap_or(u8::MAX));
    let mut text = String::from(
        "# Endpoints\n\n\
         Made from the server's table of endpoints by a test, which also compares it. Each server describes itself at `/openapi.json`, and for\n\
         people at `/docs`.\n\n\
         `N, R/min` is a bucket of N that is refilled at R a minute, kept as a window: N in N/R minutes. Windows begin by the clock, so that up to\n\
         two windows' worth can follow each other closely. *fresh* means that the sign-in is not older than `policy.step_up_max_age`. The audit\n\
         events that are named hold the client's address and user agent.\n\n\
         | # | method | path | what | who | limit | recorded of the client |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let number = row.description.number.map_or_else(|| "–".to_owned(), |number| number.to_string());
        let (what, records) = (row.description.summary, row.description.records);
        let (method, path, who, limit) = (row.method, row.path, row.who, row.limit);
        writeln!(text, "| {number} | {method} | `{path}` | {what} | {who} | {limit} | {records} |").unwrap();
    }
    text
}
