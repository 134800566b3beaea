//! The feed: sixteen streams, so that announcements do not meet at one node.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use redis::{Cmd, Value};
use session_manager_core::storage::{FeedBatch, FeedCursor, Notice, Phase, RevocationFeed, Subject};
use session_manager_core::{Error, ErrorKind, Locator, Result, SessionId};

use crate::body::time;
use crate::config::millis;
use crate::error::{Failure, Outcome};
use crate::keys::{Keys, STREAMS};
use crate::link::Command;
use crate::reply::{self, Reply};
use crate::script;
use crate::storage::RedisStorage;

/// A place in a stream: milliseconds and number.
type Place = (u64, u64);

const FORM: Failure = Failure::Damaged("a notice");

#[async_trait]
impl RevocationFeed for RedisStorage {
    async fn announce(&self, notices: &[Notice]) -> Result<()> {
        self.write(notices).await.map_err(|failure| failure.during("announce"))
    }

    async fn since(&self, cursor: Option<&FeedCursor>, limit: u32, _: DateTime<Utc>) -> Result<FeedBatch> {
        self.poll(cursor, limit).await.map_err(|failure| failure.during("feed"))
    }

    fn retention(&self) -> Option<Duration> {
        Some(self.config.feed_retention)
    }
}

impl RedisStorage {
    async fn write(&self, notices: &[Notice]) -> Outcome<()> {
        let mut calls = Vec::new();
        for number in 0..STREAMS {
            let mut theirs = notices.iter().filter(|notice| Keys::stream_of(notice.subject) == number).peekable();
            if theirs.peek().is_none() {
                continue;
            }
            let mut call = script::ANNOUNCE.on([&self.keys.stream(number)]).with(millis(self.config.feed_retention));
            for notice in theirs {
                let phase = if notice.phase == Phase::Intent { "i" } else { "d" };
                call = call.with(subject(notice.subject)?).with(phase).with(notice.at.timestamp_millis());
            }
            calls.push(call);
        }
        match calls.as_slice() {
            [] => {}
            [call] => drop(self.run(call).await?),
            _ => drop(self.run_all(calls).await?),
        }
        Ok(())
    }

    async fn poll(&self, cursor: Option<&FeedCursor>, limit: u32) -> Outcome<FeedBatch> {
        let mut places = match cursor {
            None => [(0, 0); STREAMS],
            Some(cursor) => decode(cursor).ok_or_else(|| Error::new(ErrorKind::InvalidCursor, "feed"))?,
        };
        let limit = usize::try_from(limit.max(1)).unwrap_or(usize::MAX);
        let commands: Vec<_> =
            places.iter().enumerate().map(|(number, place)| self.range(number, *place, limit)).collect();
        let (mut found, mut full) = (Vec::new(), false);
        for (number, answer) in self.link.call_all(&commands).await?.into_iter().enumerate() {
            let Value::Array(entries) = answer? else { return Err(FORM) };
            full |= entries.len() >= limit;
            for one in entries {
                let (place, notice) = entry(one)?;
                found.push((place, number, notice));
            }
        }
        // The earliest of all streams first, so that a busy stream keeps none of the others waiting.
        found.sort_unstable_by_key(|(place, number, _)| (*place, *number));
        let complete = !full && found.len() <= limit;
        let mut notices = Vec::with_capacity(found.len().min(limit));
        for (place, number, notice) in found.into_iter().take(limit) {
            if let Some(to) = places.get_mut(number) {
                *to = place;
            }
            // Somebody may have to end it again.
            self.recent.hear(&notice);
            notices.push(notice);
        }
        Ok(FeedBatch::new(notices, encode(places), complete))
    }

    fn range(&self, number: usize, (millis, count): Place, limit: usize) -> Command {
        let key = self.keys.stream(number);
        let mut command = Cmd::new();
        command.arg("XRANGE").arg(&key).arg(format!("({millis}-{count}")).arg("+").arg("COUNT").arg(limit);
        Command::new(key, command)
    }
}

fn entry(entry: Value) -> Outcome<(Place, Notice)> {
    let mut entry = Reply::of(entry)?;
    let id = String::from_utf8(entry.bytes()?).map_err(|_| FORM)?;
    let place = parse_place(&id).ok_or(FORM)?;
    let mut fields = Reply::of(entry.next().ok_or(FORM)?)?;
    let (mut about, mut phase, mut at) = (None, None, None);
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        let value = reply::text(value)?;
        match reply::text(name)?.as_str() {
            "s" => about = parse_subject(&value),
            "p" => phase = Some(if value == "i" { Phase::Intent } else { Phase::Done }),
            "t" => at = Some(time(value.parse().map_err(|_| FORM)?)?),
            _ => {}
        }
    }
    match (about, phase, at) {
        (Some(about), Some(phase), Some(at)) => Ok((place, Notice::new(about, phase, at))),
        _ => Err(FORM),
    }
}

fn subject(subject: Subject) -> Outcome<String> {
    match subject {
        Subject::Session(id) => Ok(format!("s{id}")),
        Subject::User(locator) => Ok(format!("u{locator}")),
        Subject::Global => Ok("g".to_owned()),
        Subject::UserEpoch(locator) => Ok(format!("v{locator}")),
        Subject::GlobalEpoch => Ok("h".to_owned()),
        _ => Err(Error::new(ErrorKind::Unsupported, "announce").into()),
    }
}

fn parse_subject(text: &str) -> Option<Subject> {
    match text.split_at_checked(1)? {
        ("s", id) => SessionId::parse(id).ok().map(Subject::Session),
        ("u", hex) => locator(hex).map(Subject::User),
        ("v", hex) => locator(hex).map(Subject::UserEpoch),
        ("g", "") => Some(Subject::Global),
        ("h", "") => Some(Subject::GlobalEpoch),
        _ => None,
    }
}

fn locator(hex: &str) -> Option<Locator> {
    let number = u64::from_str_radix(hex, 16).ok().filter(|_| hex.len() == 16)?;
    Some(Locator::from_bytes(number.to_be_bytes()))
}

fn encode(places: [Place; STREAMS]) -> FeedCursor {
    FeedCursor(places.map(|(millis, count)| format!("{millis}-{count}")).join(" "))
}

fn decode(cursor: &FeedCursor) -> Option<[Place; STREAMS]> {
    let places: Option<Vec<_>> = cursor.0.split(' ').map(parse_place).collect();
    places?.try_into().ok()
}

fn parse_place(text: &str) -> Option<Place> {
    let (millis, count) = text.split_once('-')?;
    Some((millis.parse().ok()?, count.parse().ok()?))
}
