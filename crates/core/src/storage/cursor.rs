//! The opaque place in a list, bound to the query it belongs to.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::request::Query;
use crate::error::{Error, ErrorKind, Result};
use crate::id::SessionId;
use crate::snapshot::Snapshot;

/// Where a page of a list ended. Opaque text, safe in a URL, good only for the same user and filter.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cursor(String);

/// The last session of a page: the next page holds what sorts after it, newest first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Position {
    /// Its creation time.
    pub created_at: DateTime<Utc>,
    /// Its id.
    pub id: SessionId,
}

impl Position {
    /// Whether a session belongs to the pages after this position.
    pub fn precedes(&self, created_at: DateTime<Utc>, id: SessionId) -> bool {
        (created_at, id) < (self.created_at, self.id)
    }
}

impl Cursor {
    /// The cursor of the page that ends with `last`.
    pub fn after(query: &Query, last: &Snapshot) -> Self {
        let mut bytes = Vec::with_capacity(33);
        bytes.push(1);
        bytes.extend_from_slice(&fingerprint(query));
        bytes.extend_from_slice(&last.session.created_at.timestamp_millis().to_be_bytes());
        bytes.extend_from_slice(last.session.id.as_bytes());
        Self(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Takes a cursor from a request, unexamined.
    pub fn from_text(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn position(&self, query: &Query) -> Result<Position> {
        self.decode(query).ok_or_else(|| Error::new(ErrorKind::InvalidCursor, "list"))
    }

    fn decode(&self, query: &Query) -> Option<Position> {
        let bytes: [u8; 33] = URL_SAFE_NO_PAD.decode(&self.0).ok()?.try_into().ok()?;
        let (version, rest) = bytes.split_first()?;
        let (print, rest) = rest.split_first_chunk::<8>()?;
        let (millis, rest) = rest.split_first_chunk::<8>()?;
        let id = <[u8; 16]>::try_from(rest).ok()?;
        if *version != 1 || *print != fingerprint(query) {
            return None;
        }
        let created_at = DateTime::from_timestamp_millis(i64::from_be_bytes(*millis))?;
        Some(Position { created_at, id: SessionId::from(Uuid::from_bytes(id)) })
    }
}

/// What ties a cursor to its user and filter. No secret: a cursor only narrows a list that the caller may see anyway.
fn fingerprint(query: &Query) -> [u8; 8] {
    let described = serde_json::to_vec(&(&query.user, &query.filter)).unwrap_or_default();
    let mut print = [0; 8];
    print.iter_mut().zip(Sha256::digest(&described)).for_each(|(to, from)| *to = from);
    print
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;
    use crate::control::{Control, Seed};
    use crate::epoch::Epochs;
    use crate::session::Session;
    use crate::snapshot::SessionRecord;
    use crate::storage::SessionFilter;
    use crate::user::UserId;

    #[test]
    fn a_cursor_is_bound_to_its_query() {
        let now = DateTime::from_timestamp_millis(5).unwrap();
        let user = UserId::parse("alice").unwrap();
        let session = Session::new(SessionId::from(Uuid::from_u128(9)), user.clone(), now, now);
        let control = Control::new(Seed::from_bytes([0; 32]), now, now);
        let snapshot = Snapshot::new(SessionRecord::new(session, control), Epochs::default());
        let query = Query::of(user.clone(), now);
        let cursor = Cursor::after(&query, &snapshot);
        let position = query.clone().after(Some(cursor.clone())).position().unwrap().unwrap();
        assert_eq!((position.created_at, position.id), (now, snapshot.session.id));

        let others = [
            Query::everybody(now),
            Query::of(UserId::parse("bob").unwrap(), now),
            Query::of(user, now).filtered(SessionFilter::including_ended()),
        ];
        for other in others {
            let error = other.after(Some(cursor.clone())).position().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidCursor);
        }
        for bad in ["", "AA", "!!!!", &"A".repeat(44), &"A".repeat(10_000)] {
            assert!(query.clone().after(Some(Cursor::from_text(bad))).position().is_err(), "{bad:.20}");
        }
    }
}
