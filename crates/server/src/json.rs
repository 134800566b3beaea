//! JSON request bodies, and queries in the same way: every wrong field is told, unknown ones are ignored.

mod described;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};
use serde_json::{Map, Value};
use url::form_urlencoded;

use crate::passwords::Password;
use crate::problem::{FieldError, Rejection};

pub(crate) use described::{Described, DescribedField, Kind, Shape};

/// A request body, read field by field.
pub(crate) trait RequestBody: Sized {
    /// An empty body counts as an object without fields.
    const MAY_BE_EMPTY: bool = false;

    /// What is to be known of a field beyond that it is a string. Which fields there are is told by reading them.
    const SHAPES: &'static [(&'static str, Shape)] = &[];

    /// Takes the fields. Reads all of them before it gives up, so that all that is wrong is told.
    fn read(fields: &mut Fields) -> Option<Self>;
}

/// Extracts a [`RequestBody`].
///
/// # Errors
/// 400 what is no JSON, 413 too large, 415 another content type, 422 with one entry per wrong field.
#[derive(Clone, Debug)]
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<S: Send + Sync, T: RequestBody> FromRequest<S> for JsonBody<T> {
    type Rejection = Rejection;

    async fn from_request(request: Request, state: &S) -> Result<Self, Rejection> {
        let is_json = is_json(request.headers());
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| unreadable(rejection.status()))?;
        if bytes.is_empty() && T::MAY_BE_EMPTY {
            return from_fields(Map::new()).map(Self);
        }
        if !is_json {
            let title = "Unsupported media type";
            return Err(Rejection::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", title)
                .detail("send the request as application/json"));
        }
        let Value::Object(members) = parse(&bytes)? else {
            let message = "the body must be a JSON object".to_owned();
            return Err(Rejection::fields(&[FieldError { field: String::new(), message }]));
        };
        from_fields(members).map(Self)
    }
}

/// Extracts a [`RequestBody`] from the query of the URL; of a repeated name the last counts.
///
/// # Errors
/// 422 with one entry per wrong field.
#[derive(Clone, Debug)]
pub(crate) struct QueryFields<T>(pub(crate) T);

impl<S: Send + Sync, T: RequestBody> FromRequestParts<S> for QueryFields<T> {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        let query = parts.uri.query().unwrap_or_default();
        let pairs = form_urlencoded::parse(query.as_bytes());
        from_fields(pairs.map(|(name, value)| (name.into_owned(), Value::String(value.into_owned()))).collect())
            .map(Self)
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || essence.starts_with("application/") && essence.ends_with("+json")
}

/// Parses without repeating the text in the error: it may hold a password.
fn parse(bytes: &[u8]) -> Result<Value, Rejection> {
    serde_json::from_slice(bytes).map_err(|error| {
        malformed(&format!("the body is not valid JSON, at line {} column {}", error.line(), error.column()))
    })
}

fn malformed(detail: &str) -> Rejection {
    Rejection::new(StatusCode::BAD_REQUEST, "malformed-json", "Malformed JSON").detail(detail)
}

fn unreadable(status: StatusCode) -> Rejection {
    if status == StatusCode::PAYLOAD_TOO_LARGE {
        Rejection::new(status, "too-large", "Request too large").detail("the body is too large")
    } else {
        malformed("the body ended early")
    }
}

fn from_fields<T: RequestBody>(members: Map<String, Value>) -> Result<T, Rejection> {
    let mut fields = Fields { members, errors: Vec::new(), seen: None };
    match T::read(&mut fields) {
        Some(body) if fields.errors.is_empty() => Ok(body),
        _ => Err(Rejection::fields(&fields.errors)),
    }
}

/// The fields of a request and what is wrong with them.
///
/// Each method takes a field and gives nothing when it is wrong, which is then noted; the optional ones also when it is
/// missing or null.
#[derive(Debug)]
pub(crate) struct Fields {
    members: Map<String, Value>,
    errors: Vec<FieldError>,
    /// The fields that were asked for, where that is what is wanted.
    seen: Option<Vec<DescribedField>>,
}

impl Fields {
    /// A string that must be there.
    pub(crate) fn text(&mut self, name: &str) -> Option<String> {
        self.asked(name, Kind::Text, true);
        self.take_text(name)
    }

    /// A string that may be missing.
    pub(crate) fn optional_text(&mut self, name: &str) -> Option<String> {
        self.asked(name, Kind::Text, false);
        self.take_text(name)
    }

    /// A string that must be there and have a form.
    pub(crate) fn parsed<T>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, &'static str>) -> Option<T> {
        self.asked(name, Kind::Text, true);
        self.take_parsed(name, parse)
    }

    /// A string that may be missing and otherwise has a form.
    pub(crate) fn optional_parsed<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, &'static str>,
    ) -> Option<T> {
        self.asked(name, Kind::Text, false);
        self.take_parsed(name, parse)
    }

    /// A password that must be there; its rules are checked elsewhere.
    pub(crate) fn password(&mut self, name: &str) -> Option<Password> {
        self.asked(name, Kind::Password, true);
        self.take_text(name).map(Password::new)
    }

    /// A boolean that may be missing.
    pub(crate) fn optional_bool(&mut self, name: &str) -> Option<bool> {
        self.asked(name, Kind::Flag, false);
        match self.members.remove(name)? {
            Value::Bool(value) => Some(value),
            Value::Null => None,
            _ => self.wrong(name, "must be true or false"),
        }
    }

    /// A whole number from a range that may be missing.
    pub(crate) fn optional_integer(&mut self, name: &str, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
        self.asked(name, Kind::Whole { least: *range.start(), most: *range.end() }, false);
        let value = self.members.remove(name)?;
        match value.as_u64() {
            Some(number) if range.contains(&number) => Some(number),
            None if value.is_null() => None,
            _ => self.wrong(name, &format!("must be a whole number from {} to {}", range.start(), range.end())),
        }
    }

    /// Notes what is wrong with a field.
    pub(crate) fn wrong<T>(&mut self, name: &str, message: &str) -> Option<T> {
        self.errors.push(FieldError { field: name.to_owned(), message: message.to_owned() });
        None
    }

    fn take_text(&mut self, name: &str) -> Option<String> {
        match self.members.remove(name)? {
            Value::String(text) => Some(text),
            Value::Null => None,
            _ => self.wrong(name, "must be a string"),
        }
    }

    fn take_parsed<T>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, &'static str>) -> Option<T> {
        let text = self.take_text(name)?;
        match parse(&text) {
            Ok(value) => Some(value),
            Err(message) => self.wrong(name, message),
        }
    }

    /// Every method that takes a field begins here, so that the description knows all that is read.
    fn asked(&mut self, name: &str, kind: Kind, required: bool) {
        if let Some(seen) = &mut self.seen {
            seen.push(DescribedField { name: name.to_owned(), kind, shape: None, required });
        }
        if required && self.members.get(name).is_none_or(Value::is_null) {
            self.wrong::<()>(name, "is required");
        }
    }
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
