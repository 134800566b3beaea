//! A small HTTP client for the service's API: one user agent, answers as values.

use std::time::Duration;

use serde_json::{Value, json};
use ureq::http::{Request, Response};
use ureq::{Agent, Body};

/// A client with one user agent.
#[derive(Clone, Debug)]
pub struct Client {
    agent: Agent,
    base: String,
}

/// An answer, read whole.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The header fields, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body as text.
    pub text: String,
    /// The body as JSON, or null.
    pub json: Value,
}

/// The tokens and session of a sign-in or refresh.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// The access token.
    pub access: String,
    /// The refresh token.
    pub refresh: String,
    /// The session's id.
    pub session: String,
}

impl Client {
    /// A client of the server at this address.
    pub fn new(address: &str, agent: &str) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(Duration::from_secs(30)))
            .user_agent(agent)
            .build();
        Self { agent: config.into(), base: format!("http://{address}") }
    }

    /// Sends a request with a JSON body, if any, and an access token, if any.
    pub fn send(&self, method: &str, path: &str, token: Option<&str>, body: Option<&Value>) -> Answer {
        let mut fields = Vec::new();
        let bearer = token.map(|token| format!("Bearer {token}"));
        if let Some(bearer) = &bearer {
            fields.push(("authorization", bearer.as_str()));
        }
        if body.is_some() {
            fields.push(("content-type", "application/json"));
        }
        let text = body.map(Value::to_string).unwrap_or_default();
        self.raw(method, path, &fields, text.as_bytes())
    }

    /// Sends a request as it is.
    pub fn raw(&self, method: &str, path: &str, fields: &[(&str, &str)], body: &[u8]) -> Answer {
        self.try_raw(method, path, fields, body).expect("an answer")
    }

    /// Sends a request as it is; a lost connection is an error.
    ///
    /// # Errors
    /// What the transport met.
    pub fn try_raw(
        &self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer, ureq::Error> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(body.to_vec()).expect("a request");
        Answer::read(self.agent.run(request)?)
    }

    /// POSTs JSON to the API.
    #[allow(clippy::needless_pass_by_value, reason = "callers write `json!` in place")]
    pub fn post(&self, path: &str, body: Value) -> Answer {
        self.send("POST", &format!("/api/v1{path}"), None, Some(&body))
    }

    /// GETs from the API with an access token.
    pub fn get(&self, path: &str, token: &str) -> Answer {
        self.send("GET", &format!("/api/v1{path}"), Some(token), None)
    }

    /// Sends a request without a body to the API with an access token.
    pub fn call(&self, method: &str, path: &str, token: &str) -> Answer {
        self.send(method, &format!("/api/v1{path}"), Some(token), None)
    }

    /// Signs in and expects success.
    pub fn login(&self, email: &str, password: &str) -> Tokens {
        self.post("/auth/login", json!({"email": email, "password": password})).expect(200).tokens()
    }

    /// Refreshes.
    pub fn refresh(&self, token: &str) -> Answer {
        self.post("/auth/refresh", json!({"refresh_token": token}))
    }
}

impl Answer {
    fn read(response: Response<Body>) -> Result<Self, ureq::Error> {
        let status = response.status().as_u16();
        let field = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
            (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let headers = response.headers().iter().map(field).collect();
        let text = response.into_body().read_to_string()?;
        let json = serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok(Self { status, headers, text, json })
    }

    /// The answer, if it has this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{} {:?}", self.text, self.headers);
        self
    }

    /// The answer, if it is a problem (RFC 9457) of this status; its `type` ends with `kind`.
    #[track_caller]
    pub fn expect_problem(self, status: u16, kind: &str) -> Self {
        let answer = self.expect(status);
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{}", answer.text);
        assert_eq!(answer.json["status"], status);
        let found = answer.json["type"].as_str().unwrap_or_default();
        assert!(found.ends_with(kind), "{}", answer.text);
        for member in ["title", "detail", "request_id"] {
            assert!(answer.json[member].is_string(), "{member}: {}", answer.text);
        }
        answer
    }

    /// The first header field of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// The tokens in the body.
    #[track_caller]
    pub fn tokens(&self) -> Tokens {
        let text =
            |name: &str| self.json[name].as_str().unwrap_or_else(|| panic!("no {name} in {}", self.text)).to_owned();
        Tokens { access: text("access_token"), refresh: text("refresh_token"), session: text("session_id") }
    }
}
