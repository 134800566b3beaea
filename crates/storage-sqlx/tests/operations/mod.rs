//! Every operation of the storage on a stage that is set for it: what is counted, and what is run inside the application's transaction.

#![allow(dead_code, clippy::too_many_lines, reason = "each binary of tests uses its part of one list")]

pub(crate) mod users;

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use session_manager_core::storage::{
    Advance, AdvanceOutcome, Bump, BumpOutcome, BumpTarget, Consistency, Incarnations, Insert, InsertOutcome, Notice,
    OnLimit, OnceKey, Phase, Purge, PurgeScope, PutOutcome, Query, Revoke, RevokeTarget, SessionFilter, SessionLimit,
    SessionPatch, Subject, Touch, Update, UpdateOutcome,
};
use session_manager_core::{
    Actor, Control, Epochs, ExternalId, RevocationReason, Seed, Session, SessionId, SessionRecord, SessionStorage,
    Snapshot, SystemRandom, UserId,
};

const INCARNATIONS: Incarnations = Incarnations { user: u64::MAX - 6, global: 9 };
const GRACE: Duration = Duration::from_secs(10);

/// An operation, what it leaves behind, and how it is run.
pub(crate) struct Operation {
    /// Its row in the README's table.
    pub(crate) name: &'static str,
    pub(crate) writes: bool,
    pub(crate) run: for<'a> fn(&'a dyn SessionStorage, &'a Stage) -> BoxFuture<'a, ()>,
}

/// Three live sessions of alice, the last of them under a name of elsewhere, one of bob that was refreshed, and one of carol that has ended.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) alice: [Snapshot; 3],
    pub(crate) bob: Snapshot,
    pub(crate) carol: Snapshot,
}

/// All that a storage holds, but for announcements and what is remembered.
#[derive(PartialEq, Debug)]
pub(crate) struct State {
    sessions: Vec<Snapshot>,
    epochs: Vec<Epochs>,
}

impl State {
    pub(crate) async fn of(storage: &dyn SessionStorage) -> Self {
        let page = storage.scan().unwrap().scan(None, 1_000).await.unwrap();
        assert!(page.next.is_none());
        let mut epochs = vec![storage.epochs(None).await.unwrap()];
        for name in ["alice", "bob", "carol"] {
            epochs.push(storage.epochs(Some(&user(name))).await.unwrap());
        }
        Self { sessions: page.sessions, epochs }
    }
}

impl Stage {
    /// Sets it; alice, bob and carol have no sessions but those of stages before, which are removed.
    pub(crate) async fn set(storage: &dyn SessionStorage) -> Self {
        for name in ["alice", "bob", "carol"] {
            storage.purge(&Purge::new(PurgeScope::User(user(name)), 100, at(0))).await.unwrap();
        }
        let mut alice = Vec::new();
        for number in 0..3 {
            alice.push(sign_in(storage, record("alice", number)).await);
        }
        let bob = sign_in(storage, record("bob", 0)).await;
        let advanced = storage.advance(&Advance::new(bob.key(), 1, GRACE, at(5))).await.unwrap();
        let AdvanceOutcome::Advanced(bob) = advanced else { panic!("{advanced:?}") };
        let carol = sign_in(storage, record("carol", 0)).await;
        storage.revoke(&revoke(one(&carol), 5)).await.unwrap();
        Self { alice: alice.try_into().unwrap(), bob, carol }
    }

    fn keys(&self) -> [session_manager_core::SessionKey; 3] {
        self.alice.each_ref().map(Snapshot::key)
    }
}

macro_rules! operation {
    ($name:literal, $writes:literal, |$storage:ident, $stage:ident| $body:expr) => {
        Operation {
            name: $name,
            writes: $writes,
            run: |$storage, $stage| {
                Box::pin(async move {
                    let _ = $stage;
                    $body
                })
            },
        }
    };
}

/// All of them.
pub(crate) fn all() -> Vec<Operation> {
    vec![
        operation!("`read`", false, |storage, stage| {
            assert!(storage.read(&stage.bob.key(), Consistency::Latest).await.unwrap().is_some());
        }),
        operation!("`read_many`", false, |storage, stage| {
            assert!(storage.read_many(&stage.keys(), Consistency::Latest).await.unwrap().iter().all(Option::is_some));
        }),
        operation!("`insert`", true, |storage, stage| {
            let outcome = storage.insert(&limited(9, OnLimit::EvictOldest)).await.unwrap();
            assert!(matches!(outcome, InsertOutcome::Inserted { evicted, .. } if evicted.is_empty()));
        }),
        operation!("`insert` that evicts", true, |storage, stage| {
            let outcome = storage.insert(&limited(2, OnLimit::EvictOldest)).await.unwrap();
            let InsertOutcome::Inserted { evicted, .. } = outcome else { panic!("{outcome:?}") };
            let evicted: Vec<_> = evicted.iter().map(|ended| ended.session.id).collect();
            assert_eq!(evicted, [stage.alice[0].session.id, stage.alice[1].session.id]);
        }),
        operation!("`insert` that is refused", false, |storage, stage| {
            let outcome = storage.insert(&limited(3, OnLimit::Reject)).await.unwrap();
            assert!(matches!(outcome, InsertOutcome::LimitReached { live: 3 }), "{outcome:?}");
        }),
        operation!("`advance`", true, |storage, stage| {
            let outcome = storage.advance(&Advance::new(stage.bob.key(), 2, GRACE, at(6))).await.unwrap();
            assert!(matches!(outcome, AdvanceOutcome::Advanced(snapshot) if snapshot.control.generation == 3));
        }),
        operation!("`advance` that converges, is a replay or too late", false, |storage, stage| {
            let outcome = storage.advance(&Advance::new(stage.bob.key(), 1, GRACE, at(6))).await.unwrap();
            assert!(matches!(outcome, AdvanceOutcome::Converge(snapshot) if snapshot.control.generation == 2));
        }),
        operation!("`advance` over a lost write", true, |storage, stage| {
            let outcome = storage.advance(&Advance::new(stage.bob.key(), 7, GRACE, at(6))).await.unwrap();
            assert!(matches!(outcome, AdvanceOutcome::Ahead(snapshot) if snapshot.control.generation == 8));
        }),
        operation!("`update`", true, |storage, stage| {
            let mut patch = SessionPatch::new();
            patch.device_name = Some(Some("phone".to_owned()));
            let update = Update::new(stage.bob.key(), stage.bob.control.version, patch, at(6));
            assert!(matches!(storage.update(&update).await.unwrap(), UpdateOutcome::Updated(_)));
        }),
        operation!("`touch` of one", true, |storage, stage| {
            let touch = Touch::new(stage.bob.key(), at(900), at(500_900));
            assert_eq!(storage.touch(&[touch], at(900)).await.unwrap().touched, 1);
        }),
        operation!("`touch` of up to a hundred", true, |storage, stage| {
            let touches = stage.keys().map(|key| Touch::new(key, at(900), at(500_900)));
            assert_eq!(storage.touch(&touches, at(900)).await.unwrap().touched, 3);
        }),
        operation!("`revoke` of one", true, |storage, stage| {
            assert_eq!(storage.revoke(&revoke(one(&stage.bob), 6)).await.unwrap().sessions.len(), 1);
        }),
        operation!("`revoke` of one that has ended", false, |storage, stage| {
            assert_eq!(storage.revoke(&revoke(one(&stage.carol), 6)).await.unwrap().already_ended, 1);
        }),
        operation!("`revoke` of all of a user's", true, |storage, stage| {
            let target = RevokeTarget::User { user: user("alice"), except: None };
            assert_eq!(storage.revoke(&revoke(target, 6)).await.unwrap().sessions.len(), 3);
        }),
        operation!("`revoke` of all but one", true, |storage, stage| {
            let target = RevokeTarget::User { user: user("alice"), except: Some(stage.alice[1].session.id) };
            assert_eq!(storage.revoke(&revoke(target, 6)).await.unwrap().sessions.len(), 2);
        }),
        operation!("`revoke` by external id", true, |storage, stage| {
            let target = RevokeTarget::External(stage.alice[2].session.external.clone().unwrap());
            assert_eq!(storage.revoke(&revoke(target, 6)).await.unwrap().sessions.len(), 1);
        }),
        operation!("`revoke` of a user's that match", true, |storage, stage| {
            let target = RevokeTarget::Matching { user: Some(user("alice")), filter: SessionFilter::new() };
            assert_eq!(storage.revoke(&revoke(target, 6)).await.unwrap().sessions.len(), 3);
        }),
        operation!("`bump` of a user", true, |storage, stage| {
            bump(storage, BumpTarget::User { user: user("bob"), keep: None }).await;
        }),
        operation!("`bump` of a user that keeps one", true, |storage, stage| {
            bump(storage, BumpTarget::User { user: user("bob"), keep: Some(stage.bob.session.id) }).await;
        }),
        operation!("`bump` of everybody", true, |storage, stage| {
            bump(storage, BumpTarget::Global { grace: GRACE }).await;
        }),
        operation!("`epochs`", false, |storage, stage| {
            assert!(storage.epochs(Some(&user("bob"))).await.unwrap().user.is_some());
        }),
        operation!("`list`", false, |storage, stage| {
            assert_eq!(storage.list(&Query::of(user("alice"), at(6))).await.unwrap().sessions.len(), 3);
        }),
        operation!("`count`", false, |storage, stage| {
            assert_eq!(storage.count(&Query::of(user("alice"), at(6))).await.unwrap().value, 3);
        }),
        operation!("`purge` of what has ended", true, |storage, stage| {
            let purge = Purge::new(PurgeScope::EndedBefore(at(100)), 9, at(100));
            assert_eq!(storage.purge(&purge).await.unwrap().sessions.len(), 1);
        }),
        operation!("`purge` of one", true, |storage, stage| {
            let purge = Purge::new(PurgeScope::One(stage.bob.key()), 1, at(6));
            assert_eq!(storage.purge(&purge).await.unwrap().sessions.len(), 1);
        }),
        operation!("`purge` of a user", true, |storage, stage| {
            let purge = Purge::new(PurgeScope::User(user("alice")), 9, at(6));
            assert_eq!(storage.purge(&purge).await.unwrap().sessions.len(), 3);
        }),
        operation!("`remember_once`", true, |storage, stage| {
            let key = OnceKey::parse(&format!("jti:{}", stage.bob.session.id)).unwrap();
            assert!(storage.remember_once(&key, at(6), at(1_000_000_000)).await.unwrap());
        }),
        operation!("`announce`", false, |storage, stage| {
            let notice = Notice::new(Subject::Session(stage.bob.session.id), Phase::Intent, at(6));
            // The view of a transaction has no feed where another connection has to announce.
            if let Some(feed) = storage.feed() {
                feed.announce(&[notice]).await.unwrap();
            }
        }),
        operation!("`since`", false, |storage, stage| {
            if let Some(feed) = storage.feed() {
                feed.since(None, 9, at(6)).await.unwrap();
            }
        }),
        operation!("`scan`", false, |storage, stage| {
            assert!(storage.scan().unwrap().scan(None, 9).await.unwrap().sessions.len() >= 4);
        }),
        operation!("`put`", true, |storage, stage| {
            let mut wanted = stage.bob.clone();
            wanted.control.version += 1;
            assert_eq!(storage.scan().unwrap().put(&wanted).await.unwrap(), PutOutcome::Written);
        }),
    ]
}

async fn bump(storage: &dyn SessionStorage, target: BumpTarget) {
    let outcome = storage.bump(&Bump::new(target, INCARNATIONS, at(6))).await.unwrap();
    assert!(matches!(outcome, BumpOutcome::Bumped(bumped) if bumped.applied));
}

fn one(snapshot: &Snapshot) -> RevokeTarget {
    RevokeTarget::One { key: snapshot.key(), owner: Some(snapshot.session.user_id.clone()) }
}

fn revoke(target: RevokeTarget, now: i64) -> Revoke {
    Revoke::new(target, RevocationReason::ALL, Actor::System, at(now))
}

fn limited(max: u32, on_limit: OnLimit) -> Insert {
    Insert::new(record("alice", 8), SessionLimit::new(max, on_limit), INCARNATIONS, at(8))
}

async fn sign_in(storage: &dyn SessionStorage, record: SessionRecord) -> Snapshot {
    let now = record.session.created_at;
    let request = Insert::new(record, SessionLimit::new(100, OnLimit::EvictOldest), INCARNATIONS, now);
    let outcome = storage.insert(&request).await.unwrap();
    let InsertOutcome::Inserted { snapshot, .. } = outcome else { panic!("{outcome:?}") };
    snapshot
}

fn record(name: &str, millis: i64) -> SessionRecord {
    let random = SystemRandom::new().unwrap();
    let id = SessionId::generate(&user(name), at(millis), &random).unwrap();
    let mut session = Session::new(id, user(name), at(millis), at(millis + 1_000_000));
    if (name, millis) == ("alice", 2) {
        session.external = Some(ExternalId { issuer: "https://id.example".to_owned(), sid: id.to_string() });
    }
    let control = Control::new(Seed::generate(&random).unwrap(), at(millis), at(millis + 500_000));
    SessionRecord::new(session, control)
}

fn at(millis: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(1_767_225_600_000 + millis).unwrap()
}

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

/// What the README's table says of an operation: the column is 1 for PostgreSQL, 2 for MySQL and MariaDB, 3 for SQLite.
pub(crate) fn documented(name: &str, column: usize) -> usize {
    let row = include_str!("../../README.md").lines().find(|line| line.starts_with(&format!("| {name} |")));
    let row = row.unwrap_or_else(|| panic!("the README's table lacks {name}"));
    row.split('|').nth(column + 1).unwrap().trim().parse().unwrap_or_else(|_| panic!("no number: {row}"))
}
