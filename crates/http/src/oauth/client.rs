//! Who asks: the client authentication of RFC 6749 §2.3.1, judged by the application.

use std::fmt;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, header};
use session_manager_core::Result;

use super::form::Form;

/// Knows the clients, which are the application's: resource servers that introspect, and applications that revoke.
#[async_trait]
pub trait ClientAuthenticator: Send + Sync + fmt::Debug {
    /// Whether these are the credentials of a client.
    ///
    /// # Security
    /// Compare in constant time, or compare a hash. Limit the attempts by address.
    ///
    /// # Errors
    /// Where it cannot be told: the endpoint answers 503.
    async fn authenticate(&self, credentials: &ClientCredentials<'_>) -> Result<bool>;
}

/// A client's id and secret as they were sent. `Debug` shows neither.
pub struct ClientCredentials<'a> {
    pub(super) id: &'a str,
    pub(super) secret: &'a str,
}

impl ClientCredentials<'_> {
    /// The client's id.
    pub const fn id(&self) -> &str {
        self.id
    }

    /// The secret, to be compared. Never log it.
    pub const fn secret(&self) -> &str {
        self.secret
    }
}

impl fmt::Debug for ClientCredentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientCredentials(redacted)")
    }
}

/// What a request says of its client.
pub(super) enum Claimed {
    /// Nothing, or only an id: a public client.
    Nobody,
    /// An id and a secret.
    Client { id: String, secret: String },
    /// Credentials in two places, or in no form that is known.
    Malformed,
}

impl Claimed {
    pub(super) fn read(headers: &HeaderMap, form: &Form) -> Self {
        let mut lines = headers.get_all(header::AUTHORIZATION).iter();
        let in_body = form.get("client_secret").map(|secret| (form.get("client_id"), secret));
        match (lines.next(), lines.next(), in_body) {
            (None, _, None) => Self::Nobody,
            (None, _, Some((Some(id), secret))) => Self::Client { id: id.to_owned(), secret: secret.to_owned() },
            (Some(line), None, None) => basic(line.as_bytes()).unwrap_or(Self::Malformed),
            _ => Self::Malformed,
        }
    }
}

/// `Basic`, both halves form-encoded before (RFC 6749 §2.3.1).
fn basic(line: &[u8]) -> Option<Claimed> {
    let (scheme, rest) = line.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let decoded = STANDARD.decode(rest.trim_ascii()).ok()?;
    let text = std::str::from_utf8(&decoded).ok()?;
    let (id, secret) = text.split_once(':')?;
    let (id, secret) = (decode(id)?, decode(secret)?);
    (!id.is_empty()).then_some(Claimed::Client { id, secret })
}

/// One form-encoded value. `&` and `=` cannot be in it.
fn decode(value: &str) -> Option<String> {
    if value.contains(['&', '=']) {
        return None;
    }
    form_urlencoded::parse(value.as_bytes()).next().map_or(Some(String::new()), |(value, _)| Some(value.into_owned()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a failed step is a failed test")]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn claimed(authorization: &[&str], body: &str) -> Claimed {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        for line in authorization {
            headers.append(header::AUTHORIZATION, line.parse().unwrap());
        }
        let form = Form::read(&headers, body.as_bytes()).unwrap();
        Claimed::read(&headers, &form)
    }

    fn basic_of(text: &str) -> String {
        format!("Basic {}", STANDARD.encode(text))
    }

    #[test]
    fn credentials_come_in_one_place() {
        let pair = |claimed: Claimed| match claimed {
            Claimed::Client { id, secret } => (id, secret),
            _ => panic!("a client"),
        };
        let expected = ("shop one".to_owned(), "p:ss/w%".to_owned());
        assert_eq!(pair(claimed(&[&basic_of("shop+one:p%3Ass%2Fw%25")], "token=x")), expected);
        assert_eq!(pair(claimed(&[], "client_id=shop+one&client_secret=p%3Ass/w%25")), expected);
        assert!(matches!(claimed(&[], "token=x&client_id=shop"), Claimed::Nobody));
        let basic = basic_of("a:b");
        for malformed in [
            claimed(&[&basic], "client_id=a&client_secret=b"),
            claimed(&[&basic, &basic], "token=x"),
            claimed(&["Basic !"], "token=x"),
            claimed(&["Bearer abc"], "token=x"),
            claimed(&[&basic_of("nothing")], "token=x"),
            claimed(&[&basic_of(":secret")], "token=x"),
            claimed(&[], "client_secret=b"),
        ] {
            assert!(matches!(malformed, Claimed::Malformed));
        }
    }
}
