//! Bodies that are right, wrong, and not JSON at all.

use axum::body::Body;
use serde_json::json;

use super::*;
use crate::accounts::{EmailAddress, PersonName};

#[derive(Debug)]
struct Order {
    email: EmailAddress,
    name: Option<PersonName>,
    password: Password,
    remember: bool,
    limit: u64,
}

impl RequestBody for Order {
    fn read(fields: &mut Fields) -> Option<Self> {
        let email = fields.parsed("email", EmailAddress::parse);
        let name = fields.optional_parsed("name", PersonName::parse);
        let password = fields.password("password");
        let remember = fields.optional_bool("remember").unwrap_or_default();
        let limit = fields.optional_integer("limit", 1..=200).unwrap_or(50);
        Some(Self { email: email?, name, password: password?, remember, limit })
    }
}

#[derive(Debug)]
struct Reason(Option<String>);

impl RequestBody for Reason {
    const MAY_BE_EMPTY: bool = true;

    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self(fields.optional_text("reason")))
    }
}

async fn extract<T: RequestBody>(content_type: &str, body: impl Into<Body>) -> Result<T, (u16, Value)> {
    let mut request = Request::new(body.into());
    if !content_type.is_empty() {
        request.headers_mut().insert(header::CONTENT_TYPE, content_type.parse().unwrap());
    }
    match JsonBody::from_request(request, &()).await {
        Ok(JsonBody(value)) => Ok(value),
        Err(rejection) => {
            let response = rejection.problem().to_response();
            Err((response.status().as_u16(), serde_json::from_str(response.body()).unwrap()))
        }
    }
}

#[tokio::test]
async fn a_right_body_is_read_and_unknown_fields_are_ignored() {
    let body =
        json!({"email": "A@b.example", "password": "x", "remember": true, "limit": 200, "more": [1], "name": null});
    for content_type in ["application/json", "Application/JSON; charset=utf-8", "application/vnd.x+json"] {
        let order: Order = extract(content_type, body.to_string()).await.unwrap();
        assert_eq!((order.email.as_str(), order.password.expose()), ("a@b.example", "x"));
        assert_eq!((order.name, order.remember, order.limit), (None, true, 200));
    }
}

#[tokio::test]
async fn every_wrong_field_has_its_entry() {
    let cases = [
        (json!({}), vec![("email", "is required"), ("password", "is required")]),
        (json!({"email": null, "password": null}), vec![("email", "is required"), ("password", "is required")]),
        (
            json!({"email": 1, "name": [], "password": {}, "remember": "yes", "limit": 0}),
            vec![
                ("email", "must be a string"),
                ("name", "must be a string"),
                ("password", "must be a string"),
                ("remember", "must be true or false"),
                ("limit", "must be a whole number from 1 to 200"),
            ],
        ),
        (
            json!({"email": "hunter2", "name": "a\nb", "password": "x", "limit": 1.5}),
            vec![
                ("email", "must be an e-mail address, like name@example.org"),
                ("name", "must not contain control characters"),
                ("limit", "must be a whole number from 1 to 200"),
            ],
        ),
        (json!([1]), vec![("", "the body must be a JSON object")]),
        (json!("hunter2"), vec![("", "the body must be a JSON object")]),
    ];
    for (body, expected) in cases {
        let (status, problem) = extract::<Order>("application/json", body.to_string()).await.unwrap_err();
        let expected: Vec<_> =
            expected.iter().map(|(field, message)| json!({"field": field, "message": message})).collect();
        assert_eq!((status, &problem["errors"]), (422, &Value::from(expected)), "{body}");
        assert!(!problem.to_string().contains("hunter2"));
    }
}

#[tokio::test]
async fn what_is_no_json_is_told_without_repeating_it() {
    let deep = "[".repeat(100_000);
    for body in ["", "{", "{\"password\": \"hunter2\"", "{\"password\": hunter2}", "\u{0}", "{}{}", &deep] {
        let (status, problem) = extract::<Order>("application/json", body.to_owned()).await.unwrap_err();
        assert_eq!(
            (status, &problem["type"]),
            (400, &json!("urn:session-manager:problem:malformed-json")),
            "{body:.20}"
        );
        assert!(!problem.to_string().contains("hunter2"));
    }
    let (status, _) = extract::<Order>("application/json", vec![b'"', 0xff, b'"']).await.unwrap_err();
    assert_eq!(status, 400);
}

#[tokio::test]
async fn other_content_types_are_refused() {
    for content_type in ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonx", "multipart/json"] {
        let (status, _) = extract::<Order>(content_type, "{}").await.unwrap_err();
        assert_eq!(status, 415, "{content_type}");
    }
}

#[tokio::test]
async fn where_it_is_allowed_nothing_is_an_empty_object() {
    assert_eq!(extract::<Reason>("", "").await.unwrap().0, None);
    assert_eq!(
        extract::<Reason>("application/json", r#"{"reason": "lost"}"#).await.unwrap().0.as_deref(),
        Some("lost")
    );
    assert_eq!(extract::<Reason>("", r#"{"reason": "lost"}"#).await.unwrap_err().0, 415);
    assert_eq!(extract::<Order>("", "").await.unwrap_err().0, 415);
}
