//! How ids and times stand in the application's columns.

use std::net::IpAddr;

use chrono::{DateTime, SecondsFormat, SubsecRound, Utc};
use session_manager_core::{Error, ErrorKind, UserId};
use uuid::Uuid;

use crate::error::Failure;
use crate::value::{Kind, Value};

/// How the ids of events and sessions stand in their columns.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum IdEncoding {
    /// The database's UUID type; sixteen bytes where it has none.
    #[default]
    Uuid,
    /// Lower-case hyphenated text.
    Text,
    /// Sixteen bytes.
    Binary,
}

impl IdEncoding {
    pub(crate) const fn kind(self) -> Kind {
        match self {
            Self::Uuid => Kind::Uuid,
            Self::Text => Kind::Text,
            Self::Binary => Kind::Bytes,
        }
    }

    pub(crate) fn encode(self, id: Uuid) -> Value {
        match self {
            Self::Uuid => Value::Uuid(id),
            Self::Text => Value::Text(id.to_string()),
            Self::Binary => Value::Bytes(id.as_bytes().to_vec()),
        }
    }

    pub(crate) fn decode(self, value: Value, column: &str) -> Result<Uuid, Failure> {
        let id = match (self, value) {
            (Self::Text, value) => value.text(column).ok().and_then(|text| Uuid::try_parse(&text).ok()),
            (Self::Uuid | Self::Binary, value) => uuid(value),
        };
        id.ok_or_else(|| Failure::decode(column, "an id"))
    }
}

/// How the user id stands in its column.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum UserIdEncoding {
    /// The text itself.
    #[default]
    Text,
    /// An integer of 64 bits: user ids are decimal numbers.
    BigInt,
    /// The database's UUID type, or sixteen bytes: user ids are UUIDs.
    Uuid,
}

impl UserIdEncoding {
    pub(crate) const fn kind(self) -> Kind {
        match self {
            Self::Text => Kind::Text,
            Self::BigInt => Kind::Int,
            Self::Uuid => Kind::Uuid,
        }
    }

    /// Only ids whose canonical text this column gives back are taken: "007" is not user 7.
    pub(crate) fn encode(self, user: &UserId) -> Result<Value, Failure> {
        let text = user.as_str();
        let value = match self {
            Self::Text => Some(Value::Text(text.to_owned())),
            Self::BigInt => text.parse().ok().filter(|number: &i64| number.to_string() == text).map(Value::Int),
            Self::Uuid => Uuid::try_parse(text).ok().filter(|id| id.hyphenated().to_string() == text).map(Value::Uuid),
        };
        value.ok_or_else(|| {
            let message = "the audit table's user ids are of another form (integers or lower-case hyphenated UUIDs)";
            Failure::Core(Error::new(ErrorKind::InvalidInput, "user id").because(message))
        })
    }

    pub(crate) fn decode(self, value: Value, column: &str) -> Result<UserId, Failure> {
        let user = match (self, value) {
            (Self::Text, value) => value.text(column).ok().and_then(|text| UserId::parse(&text).ok()),
            (Self::BigInt, Value::Int(number)) => Some(UserId::from(number)),
            (Self::Uuid, value) => uuid(value).map(UserId::from),
            _ => None,
        };
        user.ok_or_else(|| Failure::decode(column, "a user id"))
    }
}

/// How times stand in their columns; always whole milliseconds, UTC.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum TimeEncoding {
    /// An integer: milliseconds since 1970.
    #[default]
    Millis,
    /// RFC 3339 text with three decimals and `Z`, which sorts as the times do.
    Rfc3339,
    /// The database's own type: `timestamptz(3)` in PostgreSQL, `DATETIME(3)` in UTC in MySQL and MariaDB, whatever the connection's time
    /// zone; milliseconds in SQLite, which has none.
    Native,
}

impl TimeEncoding {
    pub(crate) const fn kind(self) -> Kind {
        match self {
            Self::Millis => Kind::Int,
            Self::Rfc3339 => Kind::Text,
            Self::Native => Kind::Time,
        }
    }

    pub(crate) fn encode(self, time: DateTime<Utc>) -> Value {
        match self {
            Self::Millis => Value::Int(time.timestamp_millis()),
            Self::Rfc3339 => Value::Text(time.to_rfc3339_opts(SecondsFormat::Millis, true)),
            Self::Native => Value::Time(time.trunc_subsecs(3)),
        }
    }

    pub(crate) fn decode(self, value: Value, column: &str) -> Result<DateTime<Utc>, Failure> {
        let time = match (self, value) {
            (Self::Millis | Self::Native, Value::Int(millis)) => DateTime::from_timestamp_millis(millis),
            // What the application wrote more finely counts in whole milliseconds, as everywhere.
            (Self::Native, Value::Time(time)) => Some(time.trunc_subsecs(3)),
            (Self::Rfc3339, value) => value
                .text(column)
                .ok()
                .and_then(|text| DateTime::parse_from_rfc3339(&text).ok())
                .map(|time| time.to_utc()),
            _ => None,
        };
        time.ok_or_else(|| Failure::decode(column, "a time"))
    }
}

/// What type the JSON columns have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum JsonEncoding {
    /// Text.
    #[default]
    Text,
    /// `json` in PostgreSQL, `JSON` in MySQL and MariaDB; text in SQLite. A chain wants text.
    Json,
}

impl JsonEncoding {
    pub(crate) const fn kind(self) -> Kind {
        match self {
            Self::Text => Kind::Text,
            Self::Json => Kind::Json,
        }
    }

    pub(crate) fn encode(self, text: String) -> Value {
        match self {
            Self::Text => Value::Text(text),
            Self::Json => Value::Json(text),
        }
    }
}

/// How addresses stand in their column.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum AddressEncoding {
    /// Text.
    #[default]
    Text,
    /// `inet` in PostgreSQL; text elsewhere.
    Inet,
}

impl AddressEncoding {
    pub(crate) const fn kind(self) -> Kind {
        match self {
            Self::Text => Kind::Text,
            Self::Inet => Kind::Inet,
        }
    }

    pub(crate) fn encode(self, address: IpAddr) -> Value {
        match self {
            Self::Text => Value::Text(address.to_string()),
            Self::Inet => Value::Inet(address),
        }
    }

    pub(crate) fn decode(value: Value, column: &str) -> Result<IpAddr, Failure> {
        match value {
            Value::Inet(address) => Ok(address),
            value => value.text(column)?.parse().map_err(|_| Failure::decode(column, "an address")),
        }
    }
}

fn uuid(value: Value) -> Option<Uuid> {
    match value {
        Value::Uuid(id) => Some(id),
        Value::Bytes(bytes) => Uuid::from_slice(&bytes).ok(),
        Value::Text(text) => Uuid::try_parse(&text).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_ids_keep_their_identity() {
        let id = "0190f5fe-7c00-7a00-8000-00000000000a";
        let cases = [
            (UserIdEncoding::Text, "Bob ", true),
            (UserIdEncoding::BigInt, "42", true),
            (UserIdEncoding::BigInt, "-1", true),
            (UserIdEncoding::BigInt, "007", false),
            (UserIdEncoding::BigInt, "+7", false),
            (UserIdEncoding::BigInt, "alice", false),
            (UserIdEncoding::BigInt, "9223372036854775808", false),
            (UserIdEncoding::Uuid, id, true),
            (UserIdEncoding::Uuid, "0190F5FE-7C00-7A00-8000-00000000000A", false),
            (UserIdEncoding::Uuid, "alice", false),
        ];
        for (encoding, text, good) in cases {
            let user = UserId::parse(text).unwrap();
            match encoding.encode(&user) {
                Ok(value) => assert_eq!((encoding.decode(value, "c").unwrap(), good), (user, true), "{text}"),
                Err(_) => assert!(!good, "{text}"),
            }
        }
    }

    #[test]
    fn times_round_trip_and_sort() {
        let times: Vec<_> = [0, 1, 999, 1_000, 1_767_225_600_123, 253_402_300_799_999]
            .map(|ms| DateTime::from_timestamp_millis(ms).unwrap())
            .into();
        for encoding in [TimeEncoding::Millis, TimeEncoding::Rfc3339, TimeEncoding::Native] {
            for time in &times {
                assert_eq!(encoding.decode(encoding.encode(*time), "c").unwrap(), *time);
            }
        }
        let texts: Vec<_> = times.iter().map(|time| TimeEncoding::Rfc3339.encode(*time).text("c").unwrap()).collect();
        assert!(texts.is_sorted());
    }
}
