//! The form in which OAuth requests come: `application/x-www-form-urlencoded`, each parameter once (RFC 6749 §3.2).

use std::collections::HashMap;

use http::{HeaderMap, header};

/// The parameters of a request. `Debug` would show tokens, so there is none.
pub(super) struct Form(HashMap<String, String>);

impl Form {
    /// Reads a body; `None` where it is no such form, or names a parameter twice.
    pub(super) fn read(headers: &HeaderMap, body: &[u8]) -> Option<Self> {
        let content_type = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return None;
        }
        // What is no UTF-8 would be replaced, and one token must not become another.
        let body = std::str::from_utf8(body).ok()?;
        let mut parameters = HashMap::new();
        for (name, value) in form_urlencoded::parse(body.as_bytes()) {
            if parameters.insert(name.into_owned(), value.into_owned()).is_some() {
                return None;
            }
        }
        Some(Self(parameters))
    }

    /// A parameter that is there and not empty (RFC 6749 §3.1: an empty one counts as left out).
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn read(content_type: &'static str, body: &[u8]) -> Option<Form> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        Form::read(&headers, body)
    }

    const FORM: &str = "application/x-www-form-urlencoded";

    #[test]
    fn parameters_come_once() {
        let form = read("Application/X-WWW-form-urlencoded; charset=UTF-8", b"token=a%2Bb&hint=&x=1").unwrap();
        assert_eq!((form.get("token"), form.get("hint"), form.get("y")), (Some("a+b"), None, None));
        assert!(read(FORM, b"token=a&token=b").is_none());
        assert!(read("application/json", b"token=a").is_none());
        assert!(Form::read(&HeaderMap::new(), b"token=a").is_none());
        assert!(read(FORM, b"token=\xff").is_none());
    }

    proptest! {
        #[test]
        fn any_body_is_read_or_refused(body in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = read(FORM, &body);
        }
    }
}
