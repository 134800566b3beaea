//! What most tests of a storage begin with: the storage, a clock that stands still, and short words for the common requests.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use session_manager_core::storage::{
    Advance, AdvanceOutcome, Bump, BumpOutcome, BumpTarget, Bumped, Consistency, Incarnations, Insert, InsertOutcome,
    OnLimit, Query, Revoke, RevokeTarget, Revoked, SessionFilter, SessionLimit, SessionPatch, Touch, TouchReport,
    Update, UpdateOutcome,
};
use session_manager_core::{
    Actor, Clock, LivePolicy, ManualClock, Random, Result, RevocationReason, SessionId, SessionKey, SessionRecord,
    SessionStorage, Snapshot, State, UserId,
};

use crate::session::SessionBuilder;

/// The refresh grace that [`Fixture::advance`] uses.
pub const GRACE: Duration = Duration::from_secs(10);

/// A user with this id.
pub fn user(id: &str) -> UserId {
    UserId::parse(id).expect("a user id")
}

/// Bytes that look random, never repeat and are the same in every run.
#[derive(Debug, Default)]
pub struct SequenceRandom(AtomicU64);

impl SequenceRandom {
    /// The next number.
    pub fn next(&self) -> u64 {
        // The finaliser of SplitMix64: a bijection, so that distinct counters give distinct numbers.
        let step = self.0.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let mut mixed = step.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

impl Random for SequenceRandom {
    fn fill(&self, buffer: &mut [u8]) -> Result<()> {
        for chunk in buffer.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_be_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

/// A storage, a manual clock and reproducible randomness. Clones share all three.
///
/// Its methods panic where the storage answers with an error.
#[derive(Clone, Debug)]
pub struct Fixture {
    storage: Arc<dyn SessionStorage>,
    clock: Arc<ManualClock>,
    random: Arc<SequenceRandom>,
}

impl Fixture {
    /// A fixture around an empty storage.
    pub fn new(storage: Arc<dyn SessionStorage>) -> Self {
        Self { storage, clock: Arc::default(), random: Arc::default() }
    }

    /// The storage.
    pub fn storage(&self) -> &dyn SessionStorage {
        &*self.storage
    }

    /// The clock.
    pub fn clock(&self) -> Arc<ManualClock> {
        Arc::clone(&self.clock)
    }

    /// The present.
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Moves the clock by milliseconds, back if negative.
    pub fn tick(&self, millis: i64) {
        self.clock.set(self.now() + TimeDelta::milliseconds(millis));
    }

    /// Sets the clock to `time` and some milliseconds.
    pub fn set(&self, time: DateTime<Utc>, offset_millis: i64) {
        self.clock.set(time + TimeDelta::milliseconds(offset_millis));
    }

    /// The rule of life that fits the storage's capabilities.
    pub fn live(&self) -> LivePolicy {
        if self.storage.capabilities().epochs { LivePolicy::TRACKED } else { LivePolicy::UNTRACKED }
    }

    /// Fresh numbers for missing epoch records, of all 64 bits: a storage with signed integers must keep them too.
    pub fn incarnations(&self) -> Incarnations {
        Incarnations { user: self.random.next(), global: self.random.next() }
    }

    /// A session of `user` that begins now.
    pub fn session(&self, user: &UserId) -> SessionBuilder {
        SessionBuilder::new(user, self.now(), &*self.random)
    }

    /// The request to insert this, without a limit.
    pub fn insert_of(&self, record: SessionRecord) -> Insert {
        Insert::new(record, SessionLimit::new(1, OnLimit::Unlimited), self.incarnations(), self.now())
    }

    /// Inserts a session without a limit.
    pub async fn store(&self, session: SessionBuilder) -> Snapshot {
        inserted(self.storage.insert(&self.insert_of(session.record())).await.unwrap())
    }

    /// Signs a user in, without a limit.
    pub async fn login(&self, user: &UserId) -> Snapshot {
        self.store(self.session(user)).await
    }

    /// Signs a user in under a limit.
    pub async fn login_within(&self, user: &UserId, max: u32, on_limit: OnLimit) -> InsertOutcome {
        let mut insert = self.insert_of(self.session(user).record());
        insert.limit = SessionLimit::new(max, on_limit);
        self.storage.insert(&insert).await.unwrap()
    }

    /// Reads a session.
    pub async fn find(&self, key: impl Into<SessionKey>) -> Option<Snapshot> {
        self.storage.read(&key.into(), Consistency::Latest).await.unwrap()
    }

    /// Reads a session that must be there.
    pub async fn reread(&self, snapshot: &Snapshot) -> Snapshot {
        self.find(snapshot.key()).await.expect("the session is still stored")
    }

    /// How a session stands now.
    pub async fn state(&self, snapshot: &Snapshot) -> State {
        self.reread(snapshot).await.state(self.now(), self.live())
    }

    /// Presents a refresh token of this generation.
    pub async fn advance(&self, snapshot: &Snapshot, presented: u64) -> AdvanceOutcome {
        self.advance_within(snapshot, presented, GRACE).await
    }

    /// Presents a refresh token of this generation, with this grace.
    pub async fn advance_within(&self, snapshot: &Snapshot, presented: u64, grace: Duration) -> AdvanceOutcome {
        self.storage.advance(&Advance::new(snapshot.key(), presented, grace, self.now())).await.unwrap()
    }

    /// Changes a session whose version is that of `snapshot`.
    pub async fn update(&self, snapshot: &Snapshot, patch: SessionPatch) -> UpdateOutcome {
        self.storage.update(&Update::new(snapshot.key(), snapshot.control.version, patch, self.now())).await.unwrap()
    }

    /// Says that the user was seen now.
    pub async fn touch(&self, snapshot: &Snapshot) -> TouchReport {
        let now = self.now();
        let touch = Touch::new(snapshot.key(), now, snapshot.session.idle_deadline(now));
        self.storage.touch(&[touch], now).await.unwrap()
    }

    /// Ends sessions, as a logout.
    pub async fn revoke(&self, target: RevokeTarget) -> Revoked {
        self.storage.revoke(&Revoke::new(target, RevocationReason::LOGOUT, Actor::System, self.now())).await.unwrap()
    }

    /// Ends one session, as a logout.
    pub async fn logout(&self, snapshot: &Snapshot) -> Revoked {
        self.revoke(RevokeTarget::One { key: snapshot.key(), owner: None }).await
    }

    /// The request to raise an epoch.
    pub fn bump_of(&self, target: BumpTarget) -> Bump {
        Bump::new(target, self.incarnations(), self.now())
    }

    /// Raises a user's epoch, keeping one session.
    pub async fn bump_user(&self, user: &UserId, keep: Option<SessionId>) -> BumpOutcome {
        let target = BumpTarget::User { user: user.clone(), keep };
        self.storage.bump(&self.bump_of(target)).await.unwrap()
    }

    /// Raises everybody's epoch with a grace of so many milliseconds.
    pub async fn bump_global(&self, grace_millis: u64) -> Bumped {
        let target = BumpTarget::Global { grace: Duration::from_millis(grace_millis) };
        bumped(self.storage.bump(&self.bump_of(target)).await.unwrap())
    }

    /// All pages of a query in one.
    pub async fn list_all(&self, query: Query) -> Vec<Snapshot> {
        let (mut query, mut all) = (query.limited(Query::MAX_LIMIT), Vec::new());
        loop {
            let page = self.storage.list(&query).await.unwrap();
            all.extend(page.sessions);
            assert!(all.len() < 100_000, "a list comes to an end");
            match page.next {
                Some(next) => query = query.after(Some(next)),
                None => return all,
            }
        }
    }

    /// The live sessions of a user.
    pub async fn live_ids(&self, user: &UserId) -> BTreeSet<SessionId> {
        ids(&self.list_all(Query::of(user.clone(), self.now())).await)
    }

    /// All stored sessions of a user, ended ones included.
    pub async fn stored(&self, user: &UserId) -> Vec<Snapshot> {
        self.list_all(Query::of(user.clone(), self.now()).filtered(SessionFilter::including_ended())).await
    }
}

/// The ids of these sessions.
pub(crate) fn ids(snapshots: &[Snapshot]) -> BTreeSet<SessionId> {
    snapshots.iter().map(|snapshot| snapshot.session.id).collect()
}

/// What was inserted, where something was.
pub(crate) fn inserted(outcome: InsertOutcome) -> Snapshot {
    match outcome {
        InsertOutcome::Inserted { snapshot, .. } => snapshot,
        other => panic!("expected an insert, got {other:?}"),
    }
}

/// The raised epoch, where one was raised.
pub(crate) fn bumped(outcome: BumpOutcome) -> Bumped {
    match outcome {
        BumpOutcome::Bumped(bumped) => bumped,
        other => panic!("expected a raised epoch, got {other:?}"),
    }
}
