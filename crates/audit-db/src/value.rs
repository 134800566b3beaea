//! The small set of values that cross between the operations and a dialect.

use std::fmt;
use std::net::IpAddr;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::error::Failure;

/// A value to bind, or one that was read.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// NULL of a type: some databases want to know.
    Null(Kind),
    /// An integer of 64 bits.
    Int(i64),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A UUID: the native type where there is one, else sixteen bytes.
    Uuid(Uuid),
    /// A time of the database's own type.
    Time(DateTime<Utc>),
    /// JSON text for a column of a JSON type.
    Json(String),
    /// An address for a column of such a type.
    Inet(IpAddr),
}

/// What kind of value a column holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Kind {
    /// An integer of 64 bits.
    Int,
    /// Text.
    Text,
    /// Bytes.
    Bytes,
    /// A UUID.
    Uuid,
    /// A time of the database's own type; milliseconds since 1970 where it has none.
    Time,
    /// JSON as it was written, where the database has such a type.
    Json,
    /// An address, where the database has such a type; else text.
    Inet,
}

/// A row: its values in the order of the statement's columns.
pub(crate) type Row = std::vec::IntoIter<Value>;

impl Value {
    /// NULL becomes `None`.
    pub(crate) fn present(self) -> Option<Self> {
        (!matches!(self, Self::Null(_))).then_some(self)
    }

    pub(crate) fn int(self, column: &str) -> Result<i64, Failure> {
        match self {
            Self::Int(number) => Ok(number),
            _ => Err(Failure::decode(column, "an integer")),
        }
    }

    pub(crate) fn text(self, column: &str) -> Result<String, Failure> {
        match self {
            Self::Text(text) | Self::Json(text) => Ok(text),
            // A binary column is how some databases tell texts apart by their bytes.
            Self::Bytes(bytes) => String::from_utf8(bytes).map_err(|_| Failure::decode(column, "text")),
            _ => Err(Failure::decode(column, "text")),
        }
    }

    pub(crate) fn bytes(self, column: &str) -> Result<Vec<u8>, Failure> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Uuid(id) => Ok(id.as_bytes().to_vec()),
            _ => Err(Failure::decode(column, "bytes")),
        }
    }
}

impl From<Option<String>> for Value {
    fn from(text: Option<String>) -> Self {
        text.map_or(Self::Null(Kind::Text), Self::Text)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl fmt::Debug for Value {
    /// Only the kind: a value may be personal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null(_) => "Null",
            Self::Int(_) => "Int(redacted)",
            Self::Text(_) => "Text(redacted)",
            Self::Bytes(_) => "Bytes(redacted)",
            Self::Uuid(_) => "Uuid(redacted)",
            Self::Time(_) => "Time(redacted)",
            Self::Json(_) => "Json(redacted)",
            Self::Inet(_) => "Inet(redacted)",
        })
    }
}
