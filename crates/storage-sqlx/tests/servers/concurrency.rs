//! What many connections do at once: limits hold, one refresh wins, and no deadlock reaches the caller.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use session_manager_core::storage::{
    Advance, AdvanceOutcome, Bump, BumpOutcome, BumpTarget, Consistency, InsertOutcome, OnLimit, OnceKey, Purge,
    PurgeScope, Query, Revoke, RevokeTarget, SessionFilter, SessionLimit, Touch,
};
use session_manager_core::{Actor, LivePolicy, RevocationReason, SessionStorage};
use session_manager_services::Service;
use session_manager_storage_sqlx::SqlxStorage;
use sqlx::{MySql, Postgres};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::server::{Fixture, GRACE, INCARNATIONS, Server, at, full, insert, record, user};

on_each! {
    sixty_logins_at_once_leave_exactly_five,
    sixty_four_refreshes_at_once_have_one_successor,
    one_of_many_is_told_that_a_value_is_new,
    mixed_load_with_clean_up_never_fails,
    mixed_load_has_no_deadlock,
    a_revocation_is_not_lost_to_a_rotation_that_keeps,
    cleaners_share_the_work,
    a_clean_up_does_not_spin_on_rows_that_somebody_holds,
    dropped_futures_leave_whole_steps,
    a_large_batch_of_touches_holds_up_nobody,
}

async fn sixty_logins_at_once_leave_exactly_five<S: Server>() {
    for on_limit in [OnLimit::EvictOldest, OnLimit::EvictIdlest, OnLimit::Reject] {
        let fixture = Fixture::<S>::new().await;
        let barrier = Arc::new(Barrier::new(60));
        let mut tasks = JoinSet::new();
        for _ in 0..60 {
            let (storage, barrier) = (fixture.storage.clone(), Arc::clone(&barrier));
            tasks.spawn(async move {
                barrier.wait().await;
                let mut request = insert(record("alice", 0), 5, 0);
                request.limit = SessionLimit::new(5, on_limit);
                match storage.insert(&request).await.unwrap() {
                    InsertOutcome::Inserted { evicted, .. } => evicted.len(),
                    InsertOutcome::LimitReached { live: 5 } if on_limit == OnLimit::Reject => 1,
                    outcome => panic!("{outcome:?}"),
                }
            });
        }
        let turned_away: usize = tasks.join_all().await.into_iter().sum();
        assert_eq!(turned_away, 55, "{on_limit:?}");
        assert_eq!(fixture.storage.count(&Query::of(user("alice"), at(1))).await.unwrap().value, 5);
    }
}

async fn sixty_four_refreshes_at_once_have_one_successor<S: Server>() {
    let fixture = Fixture::<S>::new().await;
    let session = fixture.sign_in("alice", 0).await;
    let barrier = Arc::new(Barrier::new(64));
    let mut tasks = JoinSet::new();
    for _ in 0..64 {
        let (storage, barrier, key) = (fixture.storage.clone(), Arc::clone(&barrier), session.key());
        tasks.spawn(async move {
            barrier.wait().await;
            storage.advance(&Advance::new(key, 1, GRACE, at(1))).await.unwrap()
        });
    }
    let outcomes = tasks.join_all().await;
    let advanced = |o: &&AdvanceOutcome| matches!(o, AdvanceOutcome::Advanced(s) if s.control.generation == 2);
    let converged = |o: &&AdvanceOutcome| matches!(o, AdvanceOutcome::Converge(s) if s.control.generation == 2);
    assert_eq!((outcomes.iter().filter(advanced).count(), outcomes.iter().filter(converged).count()), (1, 63));
}

async fn one_of_many_is_told_that_a_value_is_new<S: Server>() {
    let fixture = Fixture::<S>::new().await;
    // The first time, and again when it has run out.
    for now in [0, 10] {
        let mut tasks = JoinSet::new();
        for _ in 0..60 {
            let storage = fixture.storage.clone();
            let key = OnceKey::parse("dpop:x").unwrap();
            tasks.spawn(async move { storage.remember_once(&key, at(now), at(now + 10)).await.unwrap() });
        }
        assert_eq!(tasks.join_all().await.into_iter().filter(|new| *new).count(), 1, "{now}");
    }
}

/// At REPEATABLE READ, the default of these connections, single statements may have to be repeated in a transaction of ours.
async fn mixed_load_with_clean_up_never_fails<S: Server>() {
    mixed_load(Fixture::<S>::new().await).await;
}

/// At the server's own default no step waits for another that waits for it: all take their locks in the same order.
async fn mixed_load_has_no_deadlock<S: Server>() {
    let mut fixture = Fixture::<S>::new().await;
    fixture.storage = SqlxStorage::new(S::ordinary(&fixture.pool).await, full()).unwrap();
    let storage = fixture.storage.clone();
    mixed_load(fixture).await;
    assert_eq!(storage.repeated_steps(), 0);
}

/// Sixteen at a time on eight connections, three users: sign-in, refresh, touch, list, rotation, revocation of all kinds, and clean-up.
async fn mixed_load<S: Server>(fixture: Fixture<S>) {
    let (over, removed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut cleaners = JoinSet::new();
    for _ in 0..2 {
        let (storage, over, removed) = (fixture.storage.clone(), Arc::clone(&over), Arc::clone(&removed));
        cleaners.spawn(async move {
            loop {
                let last = over.load(Ordering::SeqCst);
                let purged =
                    storage.purge(&Purge::new(PurgeScope::EndedBefore(at(5_000)), 7, at(5_000))).await.unwrap();
                removed.fetch_add(purged.sessions.len(), Ordering::SeqCst);
                assert!(purged.sessions.iter().all(|ended| !ended.state.is_live()));
                if last && !purged.more {
                    return;
                }
            }
        });
    }
    let mut tasks = JoinSet::new();
    for worker in 0..16_i64 {
        let storage = fixture.storage.clone();
        tasks.spawn(async move {
            for round in 0..20_i64 {
                let now = worker * 20 + round;
                let name = user(["alice", "bob", "carol"][usize::try_from(now % 3).unwrap()]);
                let record = record(name.as_str(), now);
                let key = record.session.key();
                storage.insert(&insert(record, 4, now)).await.unwrap();
                storage.advance(&Advance::new(key, 1, GRACE, at(now))).await.unwrap();
                let mine = storage.list(&Query::of(name.clone(), at(now))).await.unwrap().sessions;
                let touches: Vec<_> = mine.iter().map(|s| Touch::new(s.key(), at(now + 5), at(510_000))).collect();
                storage.touch(&touches, at(now)).await.unwrap();
                let target = match round % 5 {
                    0 => RevokeTarget::User { user: name.clone(), except: None },
                    1 => RevokeTarget::User { user: name.clone(), except: Some(key.id) },
                    2 => RevokeTarget::Matching { user: None, filter: SessionFilter::new() },
                    3 => {
                        let keep = Some(key.id);
                        let bump = BumpTarget::User { user: name.clone(), keep };
                        storage.bump(&Bump::new(bump, INCARNATIONS, at(now))).await.unwrap();
                        RevokeTarget::One { key, owner: Some(name.clone()) }
                    }
                    _ => {
                        let bump = BumpTarget::Global { grace: GRACE };
                        storage.bump(&Bump::new(bump, INCARNATIONS, at(now))).await.unwrap();
                        continue;
                    }
                };
                storage.revoke(&Revoke::new(target, RevocationReason::ALL, Actor::System, at(now))).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    let target = RevokeTarget::Matching { user: None, filter: SessionFilter::new() };
    fixture.storage.revoke(&Revoke::new(target, RevocationReason::ALL, Actor::System, at(400))).await.unwrap();
    assert_eq!(fixture.storage.count(&Query::everybody(at(400))).await.unwrap().value, 0);
    over.store(true, Ordering::SeqCst);
    cleaners.join_all().await;
    // What a rotation ended, and nobody revoked, goes with its deadline; nothing has been missed or removed twice.
    let purge = Purge::new(PurgeScope::EndedBefore(at(2_000_000)), 1_000, at(2_000_000));
    let rest = fixture.storage.purge(&purge).await.unwrap();
    assert!(!rest.more);
    assert_eq!(removed.load(Ordering::SeqCst) + rest.sessions.len(), 320);
}

/// A single statement that judges with the epochs of its own start would find the kept session dead and report it as ended before.
async fn a_revocation_is_not_lost_to_a_rotation_that_keeps<S: Server>() {
    let fixture = Fixture::<S>::new().await;
    for round in 0..60 {
        let session = fixture.sign_in("alice", round).await;
        let keep = BumpTarget::User { user: user("alice"), keep: Some(session.session.id) };
        let bump = Bump::new(keep, INCARNATIONS, at(round));
        let one = RevokeTarget::One { key: session.key(), owner: None };
        let revoke = Revoke::new(one, RevocationReason::LOGOUT, Actor::System, at(round));
        let (bumped, revoked) = tokio::join!(
            async {
                let storage = fixture.storage.clone();
                tokio::spawn(async move { storage.bump(&bump).await.unwrap() }).await.unwrap()
            },
            async {
                let storage = fixture.storage.clone();
                tokio::spawn(async move { storage.revoke(&revoke).await.unwrap() }).await.unwrap()
            }
        );
        assert!(matches!(bumped, BumpOutcome::Bumped(_) | BumpOutcome::KeepEnded), "{bumped:?}");
        assert_eq!((revoked.sessions.len(), revoked.already_ended), (1, 0), "{round}");
        let stored = fixture.storage.read(&session.key(), Consistency::Latest).await.unwrap().unwrap();
        assert!(!stored.state(at(round), LivePolicy::TRACKED).is_live());
    }
}

async fn cleaners_share_the_work<S: Server>() {
    let fixture = Fixture::<S>::new().await;
    for number in 0..60 {
        fixture.sign_in("alice", number).await;
    }
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let storage = fixture.storage.clone();
        tasks.spawn(async move {
            let mut removed = Vec::new();
            loop {
                let purge = Purge::new(PurgeScope::EndedBefore(at(2_000_000)), 5, at(2_000_000));
                let purged = storage.purge(&purge).await.unwrap();
                removed.extend(purged.sessions.iter().map(|ended| ended.session.id));
                if !purged.more {
                    return removed;
                }
            }
        });
    }
    let mut removed: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
    assert_eq!(removed.len(), 60);
    removed.sort();
    removed.dedup();
    assert_eq!(removed.len(), 60, "none is removed twice");
}

async fn a_clean_up_does_not_spin_on_rows_that_somebody_holds<S: Server>() {
    let fixture = Fixture::<S>::new().await;
    for number in 0..4 {
        fixture.sign_in("alice", number).await;
    }
    let purge = Purge::new(PurgeScope::EndedBefore(at(2_000_000)), 2, at(2_000_000));
    let clean = async || {
        let purged = fixture.storage.purge(&purge).await.unwrap();
        (purged.sessions.len(), purged.more)
    };
    for (held, free) in [
        ("SELECT id FROM sessions FOR UPDATE", vec![]),
        ("SELECT id FROM sessions ORDER BY id LIMIT 1 FOR UPDATE", vec![(2, true), (1, true)]),
    ] {
        let mut holder = fixture.pool.begin().await.unwrap();
        S::run_on(&mut holder, held).await;
        for expected in free {
            assert_eq!(clean().await, expected, "{held}");
        }
        assert_eq!(clean().await, (0, false), "{held}: nothing can be removed now");
        holder.rollback().await.unwrap();
    }
    assert_eq!(clean().await, (1, false), "and later it is");
}

/// Somebody holds the last of two hundred and fifty rows. In PostgreSQL the batch is one statement, which waits; in MariaDB what came in
/// earlier transactions is done, and its rows are free.
async fn a_large_batch_of_touches_holds_up_nobody<S: Server>() {
    let fixture = Fixture::<S>::new().await;
    let mut sessions = Vec::new();
    for number in 0..250 {
        sessions.push(fixture.sign_in(&format!("user{}", number % 5), number).await);
    }
    let batch: Vec<_> = sessions.iter().map(|one| Touch::new(one.key(), at(1_000), at(501_000))).collect();
    let mut holder = fixture.pool.begin().await.unwrap();
    S::run_on(&mut holder, "SELECT id FROM sessions ORDER BY id DESC LIMIT 1 FOR UPDATE").await;
    let storage = fixture.storage.clone();
    let waiting = tokio::spawn(async move { storage.touch(&batch, at(1_000)).await.unwrap() });
    let seen = || async {
        let query = Query::everybody(at(1_000)).filtered({
            let mut filter = SessionFilter::new();
            filter.last_activity_before = Some(at(1_000));
            filter
        });
        250 - fixture.storage.count(&query).await.unwrap().value
    };
    if S::SERVICE == Service::MariaDb {
        let earlier = async { while seen().await < 200 {} };
        tokio::time::timeout(Duration::from_secs(20), earlier).await.unwrap();
        // Its row was in an earlier transaction: nobody waits for it.
        let first = sessions.iter().min_by_key(|session| session.session.id).unwrap();
        let target = RevokeTarget::One { key: first.key(), owner: None };
        let revoke = Revoke::new(target, RevocationReason::LOGOUT, Actor::System, at(1_000));
        assert_eq!(fixture.storage.revoke(&revoke).await.unwrap().sessions.len(), 1);
        assert!(!waiting.is_finished() && seen().await == 200);
    }
    holder.rollback().await.unwrap();
    let report = waiting.await.unwrap();
    assert_eq!((report.touched, report.skipped), (250, 0));
    if S::SERVICE == Service::Postgres {
        // Each row remembers the transaction and the command within it that wrote it last.
        let commands = S::number(&fixture.pool, "SELECT COUNT(DISTINCT (xmin::text, cmin::text)) FROM sessions").await;
        assert_eq!(commands, 1, "one statement");
    }
}

/// A dropped future leaves all of its step or nothing: no lock, no transaction that somebody else finds on the connection.
async fn dropped_futures_leave_whole_steps<S: Server>() {
    let fixture = Fixture::<S>::new().await;
    fixture.storage.insert(&insert(record("alice", 0), 1, 0)).await.unwrap();
    let mut dropped = 0;
    for number in 1..=150_u64 {
        let request = insert(record("alice", 1), 1, 1);
        let pause = tokio::time::sleep(Duration::from_micros(number * 60 % 6_000));
        tokio::select! {
            biased;
            outcome = fixture.storage.insert(&request) => assert!(matches!(outcome.unwrap(), InsertOutcome::Inserted { .. })),
            () = pause => dropped += 1,
        }
        if number % 10 == 0 {
            let live = fixture.storage.list(&Query::of(user("alice"), at(2))).await.unwrap().sessions;
            assert_eq!(live.len(), 1, "after {number}");
            // Written by single statements: on a connection with a forgotten transaction nobody else would ever see them.
            let touch = Touch::new(live[0].key(), at(10 + i64::try_from(number).unwrap()), at(500_500));
            assert_eq!(fixture.storage.touch(&[touch], at(2)).await.unwrap().touched, 1);
            let stored: Vec<_> =
                futures_util::future::join_all((0..8).map(|_| fixture.storage.read(&touch.key, Consistency::Latest)))
                    .await;
            for stored in stored {
                assert_eq!(stored.unwrap().unwrap().control.last_activity, touch.last_activity);
            }
        }
    }
    assert!(dropped > 0, "nothing was dropped in time");
    fixture.storage.insert(&insert(record("alice", 2), 1, 2)).await.unwrap();
}
