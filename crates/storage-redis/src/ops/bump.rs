//! Raising epochs.

use std::time::Duration;

use session_manager_core::clock::after;
use session_manager_core::storage::{Bump, BumpOutcome, BumpTarget, Bumped};
use session_manager_core::{Epochs, Error, ErrorKind, SessionId, UserId};

use super::Aim;
use crate::config::millis;
use crate::error::{Failure, Outcome};
use crate::recent::Deed;
use crate::reply::Reply;
use crate::script;
use crate::storage::RedisStorage;
use crate::value::{self, COLLISION};

/// How often a global bump begins anew because a copy knew more than the authority.
const ATTEMPTS: u32 = 4;

impl RedisStorage {
    pub(crate) async fn bump_target(&self, request: &Bump) -> Outcome<BumpOutcome> {
        match &request.target {
            BumpTarget::User { user, keep } => self.bump_user(request, user, *keep).await,
            BumpTarget::Global { grace } => self.bump_global(request, *grace).await,
            _ => Err(Error::new(ErrorKind::Unsupported, "bump").into()),
        }
    }

    async fn bump_user(&self, request: &Bump, user: &UserId, keep: Option<SessionId>) -> Outcome<BumpOutcome> {
        if keep.is_some_and(|id| id.shard() != user.shard()) {
            // No session of this user's, and its key is in another slot.
            return self.keep_nothing(request, user).await;
        }
        let (place, locator) = (self.keys.shard(user.shard()), user.locator());
        let record = place.user(locator);
        let kept = keep.map_or_else(|| record.clone(), |id| place.session(id));
        let mut aim = Aim { locator, heal: true };
        loop {
            let call = script::BUMP_USER
                .on([&record, &place.global(), &place.index(locator), &kept])
                .with(request.now.timestamp_millis())
                .with(locator.as_bytes().as_slice())
                .with(aim.heal())
                .with(user.as_str())
                .with(request.incarnations.user.to_be_bytes().as_slice())
                .with(expected(request))
                .with(if keep.is_some() { "1" } else { "" })
                .with(anew(request))
                .with(millis(self.config.epoch_retention));
            let (answer, confirmed) = self.run_confirmed(&call).await?;
            let mut reply = Reply::of(answer)?;
            let word = reply.word()?;
            if word == b"lost" && aim.heal {
                self.restore_copy(user.shard()).await?;
                aim.heal = false;
                continue;
            }
            let applied = match word.as_slice() {
                b"applied" => true,
                b"repeated" => false,
                b"keep_ended" => return Ok(BumpOutcome::KeepEnded),
                b"conflict" => return Ok(BumpOutcome::Conflict { version: u64::from_be_bytes(reply.array()?) }),
                b"collision" => return Err(COLLISION),
                _ => return Err(Failure::Answer("bump")),
            };
            let (before, after, global, kept) = (reply.filled()?, reply.filled()?, reply.filled()?, reply.filled()?);
            let epoch = |record: Option<&[u8]>| record.map(|record| value::user_epoch(record, user)).transpose();
            if let Some(raised) = epoch(after.as_deref())?.filter(|_| applied) {
                self.recent.keep(Deed::Raised(user.clone(), epoch(before.as_deref())?, raised));
            }
            let global_epoch = global.as_deref().map(value::global_epoch).transpose()?;
            let epochs = Epochs::new(epoch(after.as_deref())?, global_epoch);
            let kept = kept.map(|kept| value::snapshot(&kept, after.as_deref(), global.as_deref())).transpose()?;
            return Ok(bumped(Bumped::new(epoch(before.as_deref())?, epochs, kept, applied), confirmed));
        }
    }

    /// The expectation is looked at before the kept session, also where that cannot be the user's.
    async fn keep_nothing(&self, request: &Bump, user: &UserId) -> Outcome<BumpOutcome> {
        let epochs = self.read_epochs(Some(user)).await?;
        match (epochs.user, request.expected) {
            (Some(epoch), Some(expected)) if epoch.version != expected => {
                if !request.new_incarnation && expected.saturating_add(1) == epoch.version {
                    return Ok(BumpOutcome::Bumped(Bumped::new(Some(epoch), epochs, None, false)));
                }
                Ok(BumpOutcome::Conflict { version: epoch.version })
            }
            _ => Ok(BumpOutcome::KeepEnded),
        }
    }

    /// Raises the authority, then all copies: the bump is done when all are written.
    async fn bump_global(&self, request: &Bump, grace: Duration) -> Outcome<BumpOutcome> {
        let graceful = !grace.is_zero() && !request.new_incarnation;
        let until = if graceful { after(request.now, grace).timestamp_millis() } else { 0 };
        if self.authority().await?.is_none() {
            self.recover_authority().await?;
        }
        let mut ahead = Vec::new();
        for _ in 0..ATTEMPTS {
            let call = script::BUMP_GLOBAL
                .on([&self.keys.authority()])
                .with(request.now.timestamp_millis())
                .with(request.incarnations.global.to_be_bytes().as_slice())
                .with(expected(request))
                .with(until)
                .with(anew(request))
                .with(&ahead);
            let (answer, confirmed) = self.run_confirmed(&call).await?;
            let mut reply = Reply::of(answer)?;
            let applied = match reply.word()?.as_slice() {
                b"applied" => true,
                b"repeated" => false,
                b"conflict" => return Ok(BumpOutcome::Conflict { version: u64::from_be_bytes(reply.array()?) }),
                _ => return Err(Failure::Answer("bump")),
            };
            let (before, record) = (reply.filled()?, reply.filled()?);
            let epoch = |record: &[u8]| value::global_epoch(record).map(|global| global.epoch);
            let before = before.as_deref().map(epoch).transpose()?;
            let Some(record) = record else {
                return Ok(bumped(Bumped::new(before, Epochs::default(), None, applied), confirmed));
            };
            // A repeated bump writes the copies again: the call before may have stopped half-way.
            if let Some(newer) = self.raise_all(&record).await?
                && applied
                && request.expected.is_none()
                && self.authority().await?.as_ref() == Some(&record)
            {
                // Nobody else raised it meanwhile: a failover took from the authority what copies still have, and the version that was just
                // given out is one that sessions are stamped with.
                ahead = newer;
                continue;
            }
            let epochs = Epochs::new(None, Some(value::global_epoch(&record)?));
            if applied {
                self.recent.keep(Deed::RaisedAll(record));
            }
            return Ok(bumped(Bumped::new(before, epochs, None, applied), confirmed));
        }
        Err(Failure::Answer("the copies of the global epoch outrun it"))
    }
}

fn bumped(bumped: Bumped, confirmed: bool) -> BumpOutcome {
    BumpOutcome::Bumped(if confirmed { bumped } else { bumped.unconfirmed() })
}

fn expected(request: &Bump) -> Vec<u8> {
    request.expected.map(|version| version.to_be_bytes().to_vec()).unwrap_or_default()
}

fn anew(request: &Bump) -> &'static str {
    if request.new_incarnation { "1" } else { "" }
}
