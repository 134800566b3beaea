//! The jobs of the background: an operation of the new storage and what the old one answered.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures_util::future::{self, BoxFuture, Either};
use session_manager_core::storage::Consistency;
use session_manager_core::{LivePolicy, Result, SessionKey, SessionStorage};

use super::ShadowStorage;
use super::compare::{self, Difference};

/// What is done on the new storage; the difference to the old one's answer comes back.
pub(super) type Repeat =
    Box<dyn FnOnce(Arc<dyn SessionStorage>, LivePolicy) -> BoxFuture<'static, Result<Option<Difference>>> + Send>;

/// One job.
pub(super) enum Job {
    /// Repeats an operation.
    Repeat {
        /// Which sessions it concerns: where one differs, it is looked at again when all that waits has been repeated.
        about: Vec<SessionKey>,
        /// When it was.
        now: DateTime<Utc>,
        /// What is done.
        repeat: Repeat,
    },
    /// Looks at a session again that seemed to differ.
    Examine {
        /// The session.
        key: SessionKey,
        /// The time to judge it at.
        now: DateTime<Utc>,
        /// How often it is looked at before it counts.
        looks: u8,
    },
}

/// A difference that is still there after so many looks, with everything before each repeated, is one.
const LOOKS: u8 = 3;

impl ShadowStorage {
    pub(super) async fn perform(&self, job: Job) {
        let limit = self.clock.sleep(self.config.timeout);
        let work = Box::pin(async {
            match job {
                Job::Repeat { about, now, repeat } => self.repeat(about, now, repeat).await,
                Job::Examine { key, now, looks } => self.examine(key, now, looks).await,
            }
        });
        match future::select(work, limit).await {
            Either::Left((Ok(()), _)) => {}
            Either::Left((Err(_), _)) => self.tally.failed(),
            Either::Right(_) => self.tally.timed_out(),
        }
    }

    async fn repeat(&self, about: Vec<SessionKey>, now: DateTime<Utc>, repeat: Repeat) -> Result<()> {
        let suspected = repeat(Arc::clone(&self.new), self.live()).await?;
        self.tally.repeated();
        let Some(suspected) = suspected else { return Ok(()) };
        if about.is_empty() {
            self.tally.differs(suspected);
        }
        for key in about {
            self.enqueue(Job::Examine { key, now, looks: LOOKS });
        }
        Ok(())
    }

    async fn examine(&self, key: SessionKey, now: DateTime<Utc>, looks: u8) -> Result<()> {
        let old = self.old.read(&key, Consistency::Latest).await?;
        let new = self.new.read(&key, Consistency::Latest).await?;
        match compare::sessions(old.as_ref(), new.as_ref(), now, self.live()) {
            None => self.tally.settled(),
            Some(difference) if looks <= 1 => self.tally.differs(difference),
            Some(_) => self.enqueue(Job::Examine { key, now, looks: looks.saturating_sub(1) }),
        }
        Ok(())
    }

    fn live(&self) -> LivePolicy {
        if self.old.capabilities().epochs { LivePolicy::TRACKED } else { LivePolicy::UNTRACKED }
    }
}
