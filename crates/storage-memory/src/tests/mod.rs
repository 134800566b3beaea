//! Unit tests that look inside, real threads included; the contract as such is the conformance suite's.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a failed test panics")]

mod concurrency;
mod contract;
mod file;
mod growth;
mod room;
mod saving;

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use session_manager_core::storage::{
    Bump, BumpOutcome, BumpTarget, Incarnations, Insert, InsertOutcome, OnLimit, Revoke, RevokeTarget, Revoked,
    SessionLimit,
};
use session_manager_core::{
    Actor, Control, ExternalId, LivePolicy, RevocationReason, Seed, Session, SessionId, SessionRecord, SessionStorage,
    Snapshot, SystemRandom, UserId,
};

use crate::{MemoryStorage, MemoryStorageConfig};

impl MemoryStorage {
    /// Sessions, queue, users by id, users, idle users, strays, externals, remembered, their queue.
    pub(crate) fn sizes(&self) -> Vec<usize> {
        [self.table().sizes(), self.remembered().sizes().to_vec()].concat()
    }
}

/// Nothing of this storage waits.
pub(crate) fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("a memory storage is ready at once")
}

pub(crate) fn at(millis: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(millis).unwrap()
}

pub(crate) fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

pub(crate) fn storage() -> MemoryStorage {
    MemoryStorage::default()
}

pub(crate) fn small(max_sessions: usize) -> MemoryStorage {
    let config = MemoryStorageConfig::new().max_sessions(max_sessions).retention(Duration::from_secs(1));
    MemoryStorage::new(config).unwrap()
}

/// A record of a session that began at `start` and has two deadlines.
pub(crate) fn record(name: &str, start: i64, idle: i64, end: i64) -> SessionRecord {
    let random = SystemRandom::new().unwrap();
    let user = user(name);
    let id = SessionId::generate(&user, at(start), &random).unwrap();
    let control = Control::new(Seed::generate(&random).unwrap(), at(start), at(idle));
    SessionRecord::new(Session::new(id, user, at(start), at(end)), control)
}

/// The same with an id that hints at no shard in particular.
pub(crate) fn foreign(name: &str, number: u128) -> SessionRecord {
    let mut record = record(name, 0, 1000, 1000);
    let mut session = Session::clone(&record.session);
    session.id = SessionId::from(uuid::Uuid::from_u128(number.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835)));
    record.session = session.into();
    record
}

pub(crate) fn with_external(mut record: SessionRecord, sid: &str) -> SessionRecord {
    let mut session = Session::clone(&record.session);
    session.external = Some(external(sid));
    record.session = session.into();
    record
}

pub(crate) fn external(sid: &str) -> ExternalId {
    ExternalId { issuer: "idp".into(), sid: sid.into() }
}

pub(crate) fn limit(max: u32, on_limit: OnLimit) -> SessionLimit {
    SessionLimit::new(max, on_limit)
}

pub(crate) fn insert_under(
    storage: &MemoryStorage,
    record: &SessionRecord,
    limit: SessionLimit,
    time: i64,
) -> InsertOutcome {
    now(storage.insert(&Insert::new(record.clone(), limit, Incarnations { user: 11, global: 22 }, at(time)))).unwrap()
}

/// Inserts without a limit.
pub(crate) fn insert(storage: &MemoryStorage, record: &SessionRecord) -> Snapshot {
    let time = record.session.created_at.timestamp_millis();
    match insert_under(storage, record, limit(0, OnLimit::Unlimited), time) {
        InsertOutcome::Inserted { snapshot, .. } => snapshot,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn read(storage: &MemoryStorage, id: SessionId) -> Option<Snapshot> {
    storage.try_read(&id.into()).unwrap()
}

pub(crate) fn revoke(storage: &MemoryStorage, target: RevokeTarget, time: i64) -> Revoked {
    now(storage.revoke(&Revoke::new(target, RevocationReason::LOGOUT, Actor::System, at(time)))).unwrap()
}

pub(crate) fn bump(storage: &MemoryStorage, target: BumpTarget, time: i64) {
    let bump = Bump::new(target, Incarnations { user: 11, global: 22 }, at(time));
    assert!(matches!(now(storage.bump(&bump)).unwrap(), BumpOutcome::Bumped(_) | BumpOutcome::KeepEnded));
}

pub(crate) fn rotate_user(name: &str) -> BumpTarget {
    BumpTarget::User { user: user(name), keep: None }
}

pub(crate) fn rotate_all(grace: u64) -> BumpTarget {
    BumpTarget::Global { grace: Duration::from_millis(grace) }
}

/// What `check` has to say.
pub(crate) fn findings(storage: &MemoryStorage) -> Vec<String> {
    now(storage.check(at(0))).unwrap().findings.into_iter().map(|finding| finding.message).collect()
}

pub(crate) fn is_live(storage: &MemoryStorage, id: SessionId, time: i64) -> bool {
    read(storage, id).is_some_and(|one| one.state(at(time), LivePolicy::TRACKED).is_live())
}

pub(crate) fn one(id: SessionId) -> RevokeTarget {
    RevokeTarget::One { key: id.into(), owner: None }
}
