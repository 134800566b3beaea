//! The step of a refresh: the script decides the ordinary case, core judges the others on the reading that the script held still.

use chrono::{DateTime, Utc};
use session_manager_core::clock::to_millis;
use session_manager_core::refresh::{Verdict, judge};
use session_manager_core::storage::{Advance, AdvanceOutcome};
use session_manager_core::{LivePolicy, SessionKey, SessionRecord, Snapshot};

use super::snapshot;
use crate::error::{Failure, Outcome};
use crate::reply::DONE;
use crate::script;
use crate::storage::RedisStorage;
use crate::value;

impl RedisStorage {
    pub(crate) async fn advance_session(&self, request: &Advance) -> Outcome<AdvanceOutcome> {
        let next = request.presented.saturating_add(1);
        loop {
            let (word, mut reply, _) = self
                .on_session(&request.key, false, |place, aim| {
                    script::ADVANCE
                        .on([&place.session(request.key.id), &place.user(aim.locator), &place.global()])
                        .with(&value::millis(request.now))
                        .with(aim.heal())
                        .with([*aim.locator.as_bytes(), request.presented.to_be_bytes()].concat())
                        .with(&next.to_be_bytes())
                })
                .await?;
            let found = match word.as_slice() {
                b"missing" => return Ok(AdvanceOutcome::Missing),
                DONE => {
                    let mut now_is = value::admitted(&reply.bytes()?)?;
                    // As it was: the script does not build what is known.
                    now_is.control.advance_to(next, to_millis(request.now));
                    return Ok(AdvanceOutcome::Advanced(now_is));
                }
                b"judge" => snapshot(&mut reply)?,
                _ => return Err(Failure::Answer("advance")),
            };
            match judge(&found, request.presented, request.now, request.grace, LivePolicy::TRACKED) {
                Verdict::Converge => return Ok(AdvanceOutcome::Converge(found)),
                Verdict::Behind => return Ok(AdvanceOutcome::Behind(found)),
                Verdict::BelowFloor => return Ok(AdvanceOutcome::BelowFloor(found)),
                Verdict::Ended(state) => return Ok(AdvanceOutcome::Ended(state, found)),
                Verdict::Ahead => {
                    let mut control = found.control.clone();
                    control.advance_to(next, request.now);
                    let moved = SessionRecord::new(found.session, control);
                    let version = found.control.version;
                    match self.replace(&request.key, version, &moved, false, request.now).await? {
                        Replaced::Done(after) => return Ok(AdvanceOutcome::Ahead(after)),
                        Replaced::Missing => return Ok(AdvanceOutcome::Missing),
                        // Somebody was faster: judged anew.
                        Replaced::Moved(_) => {}
                    }
                }
                // The script does that itself; it saw another reading than core, and sees the next one anew.
                Verdict::Advance => return Err(Failure::Answer("a script and core judge differently")),
            }
        }
    }

    /// Writes a record over the same version of a live session.
    pub(crate) async fn replace(
        &self,
        key: &SessionKey,
        version: u64,
        record: &SessionRecord,
        with_body: bool,
        now: DateTime<Utc>,
    ) -> Outcome<Replaced> {
        let tail = if with_body { value::tail(record)? } else { Vec::new() };
        let control = value::control(&record.control);
        let (word, mut reply, _) = self
            .on_session(key, false, |place, aim| {
                script::REPLACE
                    .on([&place.session(key.id), &place.user(aim.locator), &place.global()])
                    .with(now.timestamp_millis())
                    .with(aim.locator.as_bytes())
                    .with(aim.heal())
                    .with(&version.to_be_bytes())
                    .with(control.as_slice())
                    .with(&tail)
            })
            .await?;
        match word.as_slice() {
            b"missing" => Ok(Replaced::Missing),
            b"replaced" => Ok(Replaced::Done(snapshot(&mut reply)?)),
            b"judge" => Ok(Replaced::Moved(snapshot(&mut reply)?)),
            _ => Err(Failure::Answer("replace")),
        }
    }
}

/// What became of a compare-and-set.
#[allow(clippy::large_enum_variant, reason = "the large variant is the usual one")]
pub(crate) enum Replaced {
    Done(Snapshot),
    /// It has another version, or has ended.
    Moved(Snapshot),
    Missing,
}
