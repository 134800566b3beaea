//! Storages that race with themselves: what should be one step is done in two, or is answered before it is done.
//!
//! A sequence of calls shows none of this; the concurrent histories (feature `linearizability`) must.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use session_manager_core::refresh::{Verdict, judge};
use session_manager_core::storage::{
    Advance, AdvanceOutcome, Consistency, EndedSession, Revoke, RevokeTarget, Revoked, Update, UpdateOutcome,
};
use session_manager_core::{Epochs, LivePolicy, Result, SessionKey, SessionStorage, Snapshot, State, UserId};

use super::twist::{Twist, Twisted};

/// What is done in two steps that should be one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Race {
    /// A token is looked at, and then whatever is current is advanced: a token is used twice.
    CheckThenRefresh,
    /// A version is compared, and then whatever is current is written over: an update is lost.
    CheckThenUpdate,
    /// A session is seen alive, and its end is reported whoever ended it meanwhile: one end is told twice.
    CheckThenRevoke,
    /// A revocation is answered before it is done: the session is seen after its end.
    LateRevocation,
    /// The epochs of the reading before are handed out: a rotation is not seen.
    StaleEpoch,
}

impl Race {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::CheckThenRefresh, Self::CheckThenUpdate, Self::CheckThenRevoke, Self::LateRevocation, Self::StaleEpoch];

    /// Its name, which is that of its test.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CheckThenRefresh => "check_then_refresh",
            Self::CheckThenUpdate => "check_then_update",
            Self::CheckThenRevoke => "check_then_revoke",
            Self::LateRevocation => "late_revocation",
            Self::StaleEpoch => "stale_epoch",
        }
    }

    /// A storage with this race in it. Inside a runtime of tokio.
    pub fn over(self, storage: Arc<dyn SessionStorage>) -> Arc<dyn SessionStorage> {
        Arc::new(Twisted(Racy { race: self, storage, remembered: Mutex::default() }))
    }
}

#[derive(Debug)]
struct Racy {
    race: Race,
    storage: Arc<dyn SessionStorage>,
    remembered: Mutex<Vec<(UserId, Epochs)>>,
}

impl Racy {
    /// Looks, and lets others go on before anything is made of what was seen.
    async fn look(&self, key: &SessionKey) -> Result<Option<Snapshot>> {
        let seen = self.storage.read(key, Consistency::Latest).await?;
        tokio::task::yield_now().await;
        Ok(seen)
    }

    fn live(&self) -> LivePolicy {
        if self.storage.capabilities().epochs { LivePolicy::TRACKED } else { LivePolicy::UNTRACKED }
    }
}

#[async_trait]
impl Twist for Racy {
    fn inner(&self) -> &dyn SessionStorage {
        &*self.storage
    }

    fn seen(&self, mut snapshot: Snapshot) -> Snapshot {
        if self.race != Race::StaleEpoch {
            return snapshot;
        }
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let user = &snapshot.session.user_id;
        let before = remembered.iter().position(|(of, _)| of == user).map(|at| remembered.swap_remove(at).1);
        remembered.push((user.clone(), snapshot.epochs));
        snapshot.epochs = before.unwrap_or(snapshot.epochs);
        snapshot
    }

    async fn advance(&self, request: &Advance) -> Result<AdvanceOutcome> {
        if self.race != Race::CheckThenRefresh {
            return self.storage.advance(request).await;
        }
        let Some(seen) = self.look(&request.key).await? else { return Ok(AdvanceOutcome::Missing) };
        if judge(&seen, request.presented, request.now, request.grace, self.live()) != Verdict::Advance {
            return self.storage.advance(request).await;
        }
        let Some(current) = self.storage.read(&request.key, Consistency::Latest).await? else {
            return Ok(AdvanceOutcome::Missing);
        };
        let next = Advance::new(request.key, current.control.generation, request.grace, request.now);
        self.storage.advance(&next).await
    }

    async fn update(&self, request: &Update) -> Result<UpdateOutcome> {
        if self.race != Race::CheckThenUpdate {
            return self.storage.update(request).await;
        }
        match self.look(&request.key).await? {
            Some(seen) if seen.control.version == request.expected_version => {}
            _ => return self.storage.update(request).await,
        }
        let Some(current) = self.storage.read(&request.key, Consistency::Latest).await? else {
            return Ok(UpdateOutcome::Missing);
        };
        let blind = Update::new(request.key, current.control.version, request.patch.clone(), request.now);
        self.storage.update(&blind).await
    }

    async fn revoke(&self, request: &Revoke) -> Result<Revoked> {
        let key = match (self.race, &request.target) {
            (Race::CheckThenRevoke | Race::LateRevocation, RevokeTarget::One { key, .. }) => *key,
            _ => return self.storage.revoke(request).await,
        };
        let seen = match self.look(&key).await? {
            Some(seen) if seen.state(request.now(), self.live()) == State::Live => seen,
            _ => return self.storage.revoke(request).await,
        };
        if self.race == Race::CheckThenRevoke {
            self.storage.revoke(request).await?;
        } else {
            let (storage, late) = (Arc::clone(&self.storage), request.clone());
            tokio::spawn(async move {
                for _ in 0..64 {
                    tokio::task::yield_now().await;
                }
                storage.revoke(&late).await
            });
        }
        Ok(Revoked::new(vec![EndedSession::new(seen.session, State::Revoked, None)], 0))
    }
}
