//! The feed of revocations: by a counter, or by marks where a row may become visible after a later one.

use std::time::Instant;

use async_trait::async_trait;
use session_manager_core::storage::{FeedBatch, FeedCursor, Notice, Phase, Subject};
use session_manager_core::{Error, ErrorKind, Locator, SessionId};

use super::{Access, Operation};
use crate::dialect::{Dialect, MarkSql};
use crate::encoding::hex;
use crate::error::Failure;
use crate::plan::Plan;
use crate::side_tables::FeedPlan;
use crate::statement::{CHUNK, Channel, Statement, fetch};
use crate::value::{Row, Value};

/// Writes notices.
pub(crate) struct Announce<'a> {
    pub(crate) notices: &'a [Notice],
}

/// Reads notices.
pub(crate) struct Since<'a> {
    pub(crate) cursor: Option<&'a FeedCursor>,
    pub(crate) limit: u32,
}

#[async_trait]
impl<DB: Dialect> Operation<DB> for Announce<'_> {
    type Output = ();
    const NAME: &'static str = "announce";

    fn access(&self, _plan: &Plan) -> Access {
        // Where a mark has to be settled in time, each statement commits by itself.
        let at_once = DB::MARK.is_some_and(|mark| mark.within.is_some() || self.notices.len() <= CHUNK);
        if at_once { Access::Statement } else { Access::Writes }
    }

    async fn run(&self, plan: &Plan, connection: &mut Channel<'_, DB>) -> Result<(), Failure> {
        let feed = mapped(plan, "announce")?;
        let (insert, row) = &feed.announce;
        for chunk in self.notices.chunks(CHUNK) {
            let mut statement = Statement::<DB>::new(insert);
            for (number, notice) in chunk.iter().enumerate() {
                let values = [Value::Text(subject(notice.subject)?), phase(notice.phase).into(), plan.time(notice.at)];
                statement = statement.push(if number == 0 { "" } else { ", " }).condition(row, values);
            }
            let began = Instant::now();
            statement.execute(connection).await?;
            if DB::MARK.and_then(|mark| mark.within).is_some_and(|within| began.elapsed() > within) {
                return Err(Failure::Busy { code: "an announcement took too long".to_owned() });
            }
        }
        Ok(())
    }
}

#[async_trait]
impl<DB: Dialect> Operation<DB> for Since<'_> {
    type Output = FeedBatch;
    const NAME: &'static str = "feed";

    fn access(&self, _plan: &Plan) -> Access {
        Access::Statement
    }

    async fn run(&self, plan: &Plan, connection: &mut Channel<'_, DB>) -> Result<FeedBatch, Failure> {
        let feed = mapped(plan, "feed")?;
        match DB::MARK {
            None => by_counter::<DB>(self, plan, feed, connection).await,
            Some(mark) => by_mark::<DB>(self, plan, feed, connection, &mark).await,
        }
    }
}

/// Reads a feed whose rows become visible in the order of their counter.
async fn by_counter<DB: Dialect>(
    request: &Since<'_>,
    plan: &Plan,
    feed: &FeedPlan,
    connection: &mut Channel<'_, DB>,
) -> Result<FeedBatch, Failure> {
    let mut last = match request.cursor {
        None => 0,
        Some(cursor) => cursor.0.parse::<i64>().map_err(|_| invalid_cursor())?,
    };
    let limit = i64::from(request.limit.max(1));
    let rows = fetch::<DB>(connection, &feed.since, vec![Value::Int(last), Value::Int(limit)]).await?;
    let complete = i64::try_from(rows.len()).is_ok_and(|read| read < limit);
    let mut notices = Vec::with_capacity(rows.len());
    for mut row in rows {
        let (seq, notice) = decode(plan, &mut row)?;
        last = seq;
        notices.push(notice);
    }
    Ok(FeedBatch::new(notices, FeedCursor(last.to_string()), complete))
}

/// A place in a feed whose rows may become visible late.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct MarkedPlace {
    mark: u64,
    seq: i64,
    /// Within a poll that is not complete: what was settled when it began. The next poll begins there, and so reads again whatever may have
    /// become visible behind this one's back.
    settled: Option<u64>,
}

impl MarkedPlace {
    fn parse(cursor: Option<&FeedCursor>) -> Option<Self> {
        let Some(cursor) = cursor else { return Some(Self::default()) };
        let mut parts = cursor.0.split('.');
        let (mark, seq) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let settled = match parts.next() {
            Some(settled) => Some(settled.parse().ok()?),
            None => None,
        };
        parts.next().is_none().then_some(Self { mark, seq, settled })
    }

    fn cursor(self) -> FeedCursor {
        let Self { mark, seq, settled } = self;
        FeedCursor(settled.map_or_else(|| format!("{mark}.{seq}"), |settled| format!("{mark}.{seq}.{settled}")))
    }
}

async fn by_mark<DB: Dialect>(
    request: &Since<'_>,
    plan: &Plan,
    feed: &FeedPlan,
    connection: &mut Channel<'_, DB>,
    sql: &MarkSql,
) -> Result<FeedBatch, Failure> {
    let mut place = MarkedPlace::parse(request.cursor).ok_or_else(invalid_cursor)?;
    let limit = i64::from(request.limit.max(1));
    let mark = |mark: u64| if sql.text.is_some() { Value::Text(mark.to_string()) } else { mark.into() };
    let values = vec![mark(place.mark), mark(place.mark), Value::Int(place.seq), Value::Int(limit)];
    let rows = fetch::<DB>(connection, &feed.since, values).await?;
    let complete = i64::try_from(rows.len()).is_ok_and(|read| read < limit);
    let mut notices = Vec::with_capacity(rows.len());
    for mut row in rows {
        let mut number = || number(row.next().ok_or(Failure::Driver("a row is too short"))?);
        let (mark, settled) = (number()?, number()?);
        let (seq, notice) = decode(plan, &mut row)?;
        place = MarkedPlace { mark, seq, settled: place.settled.or(Some(settled)) };
        notices.push(notice);
    }
    if let (true, Some(settled)) = (complete, place.settled) {
        place = MarkedPlace { mark: settled, seq: 0, settled: None };
    }
    Ok(FeedBatch::new(notices, place.cursor(), complete))
}

fn number(value: Value) -> Result<u64, Failure> {
    match value {
        Value::Int(number) => u64::try_from(number).ok(),
        value => value.text("mark")?.parse().ok(),
    }
    .ok_or_else(|| Failure::decode("mark", "a mark"))
}

fn invalid_cursor() -> Failure {
    Failure::Core(Error::new(ErrorKind::InvalidCursor, "feed"))
}

fn mapped<'p>(plan: &'p Plan, operation: &'static str) -> Result<&'p FeedPlan, Failure> {
    let unsupported =
        || Failure::Core(Error::new(ErrorKind::Unsupported, operation).because("no feed table is mapped"));
    plan.feed.as_ref().ok_or_else(unsupported)
}

fn decode(plan: &Plan, row: &mut Row) -> Result<(i64, Notice), Failure> {
    let mut next = || row.next().ok_or(Failure::Driver("a row is too short"));
    let seq = next()?.int("seq")?;
    let subject = parse_subject(&next()?.text("subject")?).ok_or_else(|| Failure::decode("subject", "a subject"))?;
    let phase = match next()?.text("phase")?.as_str() {
        "intent" => Phase::Intent,
        "done" => Phase::Done,
        _ => return Err(Failure::decode("phase", "a phase")),
    };
    Ok((seq, Notice::new(subject, phase, plan.mapping.times.decode(next()?, "announced_at")?)))
}

fn subject(subject: Subject) -> Result<String, Failure> {
    match subject {
        Subject::Session(id) => Ok(format!("session:{id}")),
        Subject::User(locator) => Ok(format!("user:{}", hex(locator.as_bytes()))),
        Subject::Global => Ok("global".to_owned()),
        Subject::UserEpoch(locator) => Ok(format!("user-epoch:{}", hex(locator.as_bytes()))),
        Subject::GlobalEpoch => Ok("global-epoch".to_owned()),
        _ => {
            Err(Error::new(ErrorKind::Unsupported, "announce").because("this storage does not know the subject").into())
        }
    }
}

fn parse_subject(text: &str) -> Option<Subject> {
    let locator = |hex: &str| {
        let number = u64::from_str_radix(hex, 16).ok().filter(|_| hex.len() == 16)?;
        Some(Locator::from_bytes(number.to_be_bytes()))
    };
    match text.split_once(':') {
        None if text == "global" => Some(Subject::Global),
        None if text == "global-epoch" => Some(Subject::GlobalEpoch),
        Some(("session", id)) => SessionId::parse(id).ok().map(Subject::Session),
        Some(("user", hex)) => locator(hex).map(Subject::User),
        Some(("user-epoch", hex)) => locator(hex).map(Subject::UserEpoch),
        _ => None,
    }
}

const fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Intent => "intent",
        Phase::Done => "done",
    }
}
