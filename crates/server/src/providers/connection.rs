//! A connection as its user sees it.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::accounts::is_unprintable;
use crate::sql::{FromRow, Row};

/// A connection. Its tokens are elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Connection {
    #[schema(value_type = String, format = "uuid")]
    pub(crate) id: Uuid,
    pub(crate) provider_key: String,
    pub(crate) alias: String,
    pub(crate) status: Status,
    #[schema(value_type = String, format = "date-time")]
    pub(crate) created_at: DateTime<Utc>,
    #[schema(value_type = String, format = "date-time")]
    pub(crate) updated_at: DateTime<Utc>,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = ConnectionStatus)]
pub(crate) enum Status {
    /// It was never authorised.
    Pending,
    /// There are tokens.
    Active,
    /// The provider would not renew its tokens: it has to be authorised anew.
    Expired,
    /// The authorisation was given back.
    Disconnected,
}

impl Status {
    const ALL: [Self; 4] = [Self::Pending, Self::Active, Self::Expired, Self::Disconnected];

    /// Its name, in the API and in the database.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Disconnected => "disconnected",
        }
    }

    /// The one of this name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }
}

/// What a user calls a connection: 1 to 100 characters on one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Alias(String);

impl Alias {
    /// Reads a name; blanks around it do not count.
    ///
    /// # Errors
    /// One sentence for the person who typed it.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        if text.chars().any(is_unprintable) {
            return Err("must not contain control characters");
        }
        let name = text.trim();
        match name.chars().count() {
            0 => Err("must not be empty"),
            1..=100 => Ok(Self(name.to_owned())),
            _ => Err("must be at most 100 characters long"),
        }
    }

    /// The text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromRow for Connection {
    fn from_row(row: &Row) -> sqlx::Result<Self> {
        let (id, status): (String, String) = (row.try_get("id")?, row.try_get("status")?);
        Ok(Self {
            id: id.parse().map_err(|_| sqlx::Error::Decode("the id of a connection is not a UUID".into()))?,
            provider_key: row.try_get("provider_key")?,
            alias: row.try_get("alias")?,
            status: Status::parse(&status).ok_or_else(|| sqlx::Error::Decode("there is no such status".into()))?,
            created_at: time(row.try_get("created_at")?)?,
            updated_at: time(row.try_get("updated_at")?)?,
        })
    }
}

/// Stored milliseconds as a time.
pub(super) fn time(millis: i64) -> sqlx::Result<DateTime<Utc>> {
    DateTime::from_timestamp_millis(millis).ok_or_else(|| sqlx::Error::Decode("a stored time is out of range".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_are_one_line_of_text() {
        let longest = "\u{e4}".repeat(100);
        for (text, read) in [
            (" My bank ", Some("My bank")),
            (longest.as_str(), Some(longest.as_str())),
            (&"x".repeat(101), None),
            ("", None),
            ("  ", None),
            ("a\nb", None),
            ("a\u{202e}b", None),
        ] {
            assert_eq!(Alias::parse(text).ok().as_ref().map(Alias::as_str), read, "{text:?}");
        }
    }

    #[test]
    fn statuses_have_one_name() {
        for status in Status::ALL {
            assert_eq!(Status::parse(status.as_str()), Some(status));
            assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
        }
        assert_eq!(Status::parse("Active"), None);
    }
}
