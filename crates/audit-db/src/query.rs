//! Reading the trail back: pages by cursor, and JSON Lines.

use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures_util::stream::{self, Stream, StreamExt, TryStreamExt};
use session_manager_core::{AuditEvent, AuditKind, Error, ErrorKind, Result, SessionId, UserId};
use uuid::Uuid;

use crate::audit::DbAudit;
use crate::dialect::Dialect;
use crate::error::Failure;
use crate::field::Field;
use crate::link::Link;
use crate::plan::Plan;
use crate::record::Record;
use crate::statement::{Channel, Statement};
use crate::step::{Access, Step};
use crate::value::Value;

/// The most events of a page.
pub const MAX_PAGE: u32 = 1000;

/// Which events are wanted. Without conditions: all, newest first, a hundred a page.
#[derive(Clone, Debug)]
pub struct AuditQuery {
    user: Option<UserId>,
    session: Option<SessionId>,
    kinds: Vec<AuditKind>,
    from: Option<DateTime<Utc>>,
    until: Option<DateTime<Utc>>,
    oldest_first: bool,
    cursor: Option<AuditCursor>,
    limit: u32,
}

impl Default for AuditQuery {
    fn default() -> Self {
        Self {
            user: None,
            session: None,
            kinds: Vec::new(),
            from: None,
            until: None,
            oldest_first: false,
            cursor: None,
            limit: 100,
        }
    }
}

impl AuditQuery {
    /// All events.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only those about this user.
    pub fn user(mut self, user: UserId) -> Self {
        self.user = Some(user);
        self
    }

    /// Only those about this session.
    pub const fn session(mut self, session: SessionId) -> Self {
        self.session = Some(session);
        self
    }

    /// Only those of this kind, or of one that was named before.
    pub fn kind(mut self, kind: AuditKind) -> Self {
        self.kinds.push(kind);
        self
    }

    /// Only those of this time or later.
    pub const fn from(mut self, from: DateTime<Utc>) -> Self {
        self.from = Some(from);
        self
    }

    /// Only those before this time.
    pub const fn until(mut self, until: DateTime<Utc>) -> Self {
        self.until = Some(until);
        self
    }

    /// In the order in which they happened.
    pub const fn oldest_first(mut self) -> Self {
        self.oldest_first = true;
        self
    }

    /// Only those after the page that ended here, of a query of the same order.
    pub const fn after(mut self, cursor: AuditCursor) -> Self {
        self.cursor = Some(cursor);
        self
    }

    /// At most so many a page: 1 to [`MAX_PAGE`].
    pub fn limit(mut self, limit: u32) -> Self {
        self.limit = limit.clamp(1, MAX_PAGE);
        self
    }
}

/// Where a page ended. Its text form is safe in a URL.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AuditCursor {
    at: i64,
    id: Uuid,
}

impl fmt::Display for AuditCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.at, self.id.simple())
    }
}

impl FromStr for AuditCursor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parse = || {
            let (at, id) = text.split_once('.')?;
            let at = at.parse().ok()?;
            DateTime::from_timestamp_millis(at)?;
            Some(Self { at, id: Uuid::try_parse(id).ok()? })
        };
        parse().ok_or_else(|| Error::new(ErrorKind::InvalidCursor, "audit query"))
    }
}

/// Some events, and where to go on.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AuditPage {
    /// The events, in the query's order.
    pub events: Vec<AuditEvent>,
    /// For [`AuditQuery::after`]; `None` where there are no more.
    pub next: Option<AuditCursor>,
}

impl<DB: Dialect, L: Link<DB>> DbAudit<DB, L> {
    /// Reads a page.
    ///
    /// # Behaviour
    /// Events that are added while pages are read shift nothing: each event that was there stands on exactly one page. What still waits in the
    /// queue of a [batched](DbAudit::batched) sink is not there yet. Who acted in an erased event is the service `erased`.
    pub async fn query(&self, query: &AuditQuery) -> Result<AuditPage> {
        self.attempt(query).await.map_err(|failure| failure.during("audit query").into())
    }

    /// Reads all events that a query asks for, from its cursor on, each as a line of JSON that ends with a newline. A page at a time is held
    /// in memory.
    ///
    /// # Security
    /// It holds personal data. JSON escapes control characters, so that no value splits a line.
    pub fn export(&self, query: AuditQuery) -> impl Stream<Item = Result<String>> + Send + '_ {
        let first = Some(query.limit(MAX_PAGE));
        let pages = stream::try_unfold(first, move |query| async move {
            let Some(query) = query else { return Ok::<_, Error>(None) };
            let page = self.query(&query).await?;
            let following = page.next.map(|cursor| query.after(cursor));
            Ok(Some((page.events, following)))
        });
        pages.map_ok(|events| stream::iter(events).map(|event| line(&event))).try_flatten()
    }
}

fn line(event: &AuditEvent) -> Result<String> {
    let text = serde_json::to_string(event);
    let text = text.map_err(|source| Error::new(ErrorKind::Internal, "audit export").with_source(source))?;
    Ok(text + "\n")
}

#[async_trait]
impl<DB: Dialect> Step<DB> for AuditQuery {
    type Output = AuditPage;

    fn access(&self, _: &Plan) -> Access {
        Access::Statement
    }

    async fn run(&self, plan: &Plan, channel: &mut Channel<'_, DB>) -> Result<AuditPage, Failure> {
        let rows = self.select::<DB>(plan)?.fetch(channel).await?;
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        let mut events = Vec::with_capacity(rows.len().min(limit));
        for mut row in rows.into_iter().take(limit) {
            events.push(Record::read(&mut row, plan)?.event(plan)?);
        }
        let next = events.last().filter(|_| more);
        let next = next.map(|event| AuditCursor { at: event.at.timestamp_millis(), id: event.id });
        Ok(AuditPage { events, next })
    }
}

impl AuditQuery {
    fn select<DB: Dialect>(&self, plan: &Plan) -> Result<Statement<DB>, Failure> {
        let mapping = &plan.mapping;
        let column = |field| plan.column(field);
        let (id, at) = (column(Field::Id), column(Field::At));
        let (direction, than) = if self.oldest_first { ("", ">") } else { (" DESC", "<") };
        let mut select =
            Statement::<DB>::new(format!("SELECT {} FROM {} WHERE 1 = 1", plan.event_columns(), plan.table));
        if let Some(user) = &self.user {
            select = select.push(&format!(" AND {} = ", column(Field::UserId))).bind(mapping.users.encode(user)?);
        }
        if let Some(session) = self.session {
            select = select
                .push(&format!(" AND {} = ", column(Field::SessionId)))
                .bind(mapping.ids.encode(session.as_uuid()));
        }
        if !self.kinds.is_empty() {
            let kinds = self.kinds.iter().map(|kind| Value::from(kind.as_str())).collect();
            select = select.push(&format!(" AND {}", column(Field::Kind))).one_of(kinds);
        }
        if let Some(from) = self.from {
            select = select.push(&format!(" AND {at} >= ")).bind(mapping.times.encode(from));
        }
        if let Some(until) = self.until {
            select = select.push(&format!(" AND {at} < ")).bind(mapping.times.encode(until));
        }
        if let Some(cursor) = self.cursor {
            let time = DateTime::from_timestamp_millis(cursor.at).unwrap_or_default();
            let time = || mapping.times.encode(time);
            select = select.push(&format!(" AND {at} {than}= ")).bind(time());
            select = select.push(&format!(" AND ({at} {than} ")).bind(time());
            select = select.push(&format!(" OR {id} {than} ")).bind(mapping.ids.encode(cursor.id)).push(")");
        }
        let past = u64::from(self.limit) + 1;
        Ok(select.push(&format!(" ORDER BY {at}{direction}, {id}{direction} LIMIT {past}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_round_trip_and_nonsense_is_refused() {
        let cursor = AuditCursor { at: -5, id: Uuid::from_u128(7) };
        assert_eq!(cursor.to_string().parse::<AuditCursor>().unwrap(), cursor);
        for bad in ["", ".", "1", "1.", "x.00", "9223372036854775807.00000000000000000000000000000007", "1.zz"] {
            assert_eq!(bad.parse::<AuditCursor>().unwrap_err().kind(), ErrorKind::InvalidCursor, "{bad}");
        }
    }
}
