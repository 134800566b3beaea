//! Moving last activity forward.

use std::cmp::Reverse;

use chrono::{DateTime, Utc};
use session_manager_core::storage::{Touch, TouchReport};

use super::{Aim, NOWHERE};
use crate::error::Outcome;
use crate::keys::{Place, name};
use crate::reply::Reply;
use crate::script::{self, Call};
use crate::storage::RedisStorage;
use crate::value;

impl RedisStorage {
    pub(crate) async fn touch_sessions(&self, batch: &[Touch], now: DateTime<Utc>) -> Outcome<TouchReport> {
        let all = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        let mut batch: Vec<_> = batch.iter().collect();
        // A session that is named twice counts once, with its latest activity.
        batch.sort_by_key(|touch| (touch.key.id, Reverse(touch.last_activity)));
        batch.dedup_by_key(|touch| touch.key.id);
        let answers = match batch.as_slice() {
            [] => Vec::new(),
            [touch] => vec![self.run(&self.first(touch, now)).await?],
            _ => self.run_all(batch.iter().map(|touch| self.first(touch, now)).collect()).await?,
        };
        let mut touched = 0_u64;
        for (answer, touch) in answers.into_iter().zip(batch) {
            let mut word = Reply::of(answer)?.word()?;
            if matches!(word.as_slice(), b"elsewhere" | b"lost") {
                (word, ..) = self.on_session(&touch.key, false, |place, aim| call(touch, now, place, aim)).await?;
            }
            touched += u64::from(word == b"touched");
        }
        Ok(TouchReport::new(touched, all.saturating_sub(touched)))
    }

    fn first(&self, touch: &Touch, now: DateTime<Utc>) -> Call {
        let aim = Aim { locator: touch.key.locator.unwrap_or(NOWHERE), heal: true };
        call(touch, now, &self.keys.shard(touch.key.id.shard()), aim)
    }
}

fn call(touch: &Touch, now: DateTime<Utc>, place: &Place, aim: Aim) -> Call {
    let (id, locator) = (touch.key.id, aim.locator);
    script::TOUCH
        .on([&place.session(id), &place.user(locator), &place.global(), &place.index(locator)])
        .with(&value::millis(now))
        .with(aim.heal())
        .with(locator.as_bytes())
        .with(&value::millis(touch.last_activity))
        .with(&value::millis(touch.idle_expires_at))
        .with(&value::millis(touch.stale_before()))
        .with(name(id))
}
