//! Error answers as `application/problem+json` (RFC 9457).

use std::{borrow::Cow, time::Duration};

use http::{HeaderValue, Response, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{challenge::Challenge, problem_type::ProblemType};

/// The media type of a [`Problem`].
pub const PROBLEM_JSON: &str = "application/problem+json";

/// An RFC 9457 problem, with the headers that belong to it.
///
/// # Behaviour
///
/// - The response's status and the member `status` are the same.
/// - A 401 always carries `WWW-Authenticate`: the bare `Bearer` unless a [challenge](Problem::with_challenge) was given.
/// - No answer may be cached (`Cache-Control: no-store`).
/// - Every answer has a `detail`. That of a 5xx is the general one of its type, whatever was set, and there is no `instance`: what went
///   wrong inside belongs in the log.
///
/// ```
/// use session_manager_http::{Problem, ProblemType};
///
/// let response = Problem::of(ProblemType::Expired).with_extension("request_id", "r-1").to_response();
/// assert_eq!(response.status(), 401);
/// assert_eq!(response.headers()["content-type"], "application/problem+json");
/// assert!(response.body().contains(r#""type":"urn:session-manager:problem:expired""#));
/// assert!(response.body().contains(r#""request_id":"r-1""#));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Problem {
    #[serde(rename = "type", default = "about_blank")]
    type_uri: Cow<'static, str>,
    title: Cow<'static, str>,
    #[serde(with = "status_number")]
    status: StatusCode,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    instance: Option<String>,
    #[serde(flatten)]
    extensions: Map<String, Value>,
    /// The detail where there is no particular one.
    #[serde(skip, default = "general")]
    general: &'static str,
    #[serde(skip)]
    challenge: Option<Challenge>,
    #[serde(skip)]
    retry_after: Option<Duration>,
}

impl Problem {
    /// A problem of one of our types, with its usual status and title.
    pub fn of(problem_type: ProblemType) -> Self {
        let mut problem = Self::new(problem_type.status(), problem_type.uri(), problem_type.title());
        problem.general = problem_type.detail();
        problem
    }

    /// A problem of the application's own type. The title is the same for every problem of the type.
    pub fn new(
        status: StatusCode,
        type_uri: impl Into<Cow<'static, str>>,
        title: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            type_uri: type_uri.into(),
            title: title.into(),
            status,
            detail: None,
            instance: None,
            extensions: Map::new(),
            general: if status.is_server_error() { ProblemType::Internal.detail() } else { general() },
            challenge: None,
            retry_after: None,
        }
    }

    /// A problem that says no more than its status does (`about:blank`).
    pub fn status_only(status: StatusCode) -> Self {
        Self::new(status, "about:blank", status.canonical_reason().unwrap_or("Error"))
    }

    /// The 429 of a rate limit: `Retry-After`, and the members `retry_after` (whole seconds, rounded up) and `endpoint`.
    pub fn too_many_requests(retry_after: Duration, endpoint: &str) -> Self {
        Self::of(ProblemType::RateLimited).with_retry_after(retry_after).with_extension("endpoint", endpoint)
    }

    /// With what is particular to this occurrence, for a person. Never more than the client may know.
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// With a URI of this occurrence.
    pub fn with_instance(mut self, instance: impl Into<String>) -> Self {
        self.instance = Some(instance.into());
        self
    }

    /// With a member of its own. The names that RFC 9457 defines are left as they are.
    pub fn with_extension(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        let name = name.into();
        if !["type", "title", "status", "detail", "instance"].contains(&name.as_str()) {
            self.extensions.insert(name, value.into());
        }
        self
    }

    /// With this `WWW-Authenticate` header.
    pub fn with_challenge(mut self, challenge: Challenge) -> Self {
        self.challenge = Some(challenge);
        self
    }

    /// With `Retry-After` and the member `retry_after`, both in whole seconds, rounded up.
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self.with_extension("retry_after", seconds_rounded_up(after))
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The type, a URI: what clients match on.
    pub fn type_uri(&self) -> &str {
        &self.type_uri
    }

    /// What is particular to this occurrence.
    pub fn detail(&self) -> Option<&str> {
        self.detail.as_deref()
    }

    /// The whole answer.
    pub fn to_response(&self) -> Response<String> {
        let mut response = Response::new(self.body());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(after) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds_rounded_up(after)));
        }
        let bare = || (self.status == StatusCode::UNAUTHORIZED).then(Challenge::bearer);
        if let Some(challenge) = self.challenge.clone().or_else(bare) {
            headers.insert(header::WWW_AUTHENTICATE, challenge.to_header());
        }
        response
    }

    fn body(&self) -> String {
        let mut shown = Cow::Borrowed(self);
        if self.status.is_server_error() {
            let shown = shown.to_mut();
            (shown.detail, shown.instance) = (None, None);
        }
        if shown.detail.is_none() {
            shown.to_mut().detail = Some(self.general.to_owned());
        }
        // A map with string keys always serialises; the empty object is a valid problem of type `about:blank`.
        serde_json::to_string(shown.as_ref()).unwrap_or_else(|_| "{}".to_owned())
    }
}

impl From<ProblemType> for Problem {
    fn from(problem_type: ProblemType) -> Self {
        Self::of(problem_type)
    }
}

impl From<Problem> for Response<String> {
    fn from(problem: Problem) -> Self {
        problem.to_response()
    }
}

const fn general() -> &'static str {
    "the request could not be answered as it is"
}

fn about_blank() -> Cow<'static, str> {
    Cow::Borrowed("about:blank")
}

fn seconds_rounded_up(duration: Duration) -> u64 {
    duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0))
}

/// The member `status` is a number.
mod status_number {
    use http::StatusCode;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
    pub(super) fn serialize<S: Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u16(status.as_u16())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<StatusCode, D::Error> {
        let number = u16::deserialize(deserializer)?;
        StatusCode::from_u16(number).map_err(D::Error::custom)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn header<'r>(response: &'r Response<String>, name: &str) -> Option<&'r str> {
        response.headers().get(name).map(|value| value.to_str().unwrap())
    }

    #[test]
    fn a_whole_answer() {
        let problem = Problem::of(ProblemType::NotFound)
            .with_detail("there is no such session")
            .with_extension("request_id", "r-1");
        let response = problem.to_response();
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert_eq!(header(&response, "content-type"), Some(PROBLEM_JSON));
        assert_eq!(header(&response, "cache-control"), Some("no-store"));
        assert_eq!(header(&response, "www-authenticate"), None);
        let body: Value = serde_json::from_str(response.body()).unwrap();
        let expected = serde_json::json!({
            "type": "urn:session-manager:problem:not-found", "title": "Not found", "status": 404,
            "detail": "there is no such session", "request_id": "r-1",
        });
        assert_eq!(body, expected);
        let read = serde_json::from_str::<Problem>(response.body()).unwrap();
        assert_eq!(read.to_response().body(), response.body());
    }

    #[test]
    fn unauthorised_always_carries_a_challenge() {
        let bare = Problem::status_only(StatusCode::UNAUTHORIZED).to_response();
        assert_eq!(header(&bare, "www-authenticate"), Some("Bearer"));
        let own = Problem::of(ProblemType::Expired).with_challenge(Challenge::bearer().realm("bank")).to_response();
        assert_eq!(header(&own, "www-authenticate"), Some("Bearer realm=\"bank\""));
    }

    #[test]
    fn rate_limits() {
        let response = Problem::too_many_requests(Duration::from_millis(1500), "login").to_response();
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(header(&response, "retry-after"), Some("2"));
        let body: Value = serde_json::from_str(response.body()).unwrap();
        assert_eq!((&body["retry_after"], &body["endpoint"]), (&Value::from(2), &Value::from("login")));
    }

    #[test]
    fn server_errors_leak_nothing() {
        let problem = Problem::of(ProblemType::Internal).with_detail("password=hunter2").with_instance("/hunter2");
        let response = problem.to_response();
        assert!(!response.body().contains("hunter2"));
        assert!(response.body().contains(ProblemType::Internal.detail()));
    }

    #[test]
    fn every_answer_has_a_detail() {
        let plain = [StatusCode::NOT_FOUND, StatusCode::BAD_GATEWAY].map(Problem::status_only);
        for problem in ProblemType::ALL.iter().copied().map(Problem::of).chain(plain) {
            let body: Value = serde_json::from_str(problem.to_response().body()).unwrap();
            assert!(body["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{body}");
        }
    }

    #[test]
    fn defined_members_cannot_be_overridden() {
        let problem = ["type", "title", "status", "detail", "instance"]
            .iter()
            .fold(Problem::of(ProblemType::NotFound), |problem, name| problem.with_extension(*name, "forged"));
        assert!(!problem.to_response().body().contains("forged"));
    }
}
