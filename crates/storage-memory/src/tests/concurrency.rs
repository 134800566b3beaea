//! Real threads on one storage: what must be one step is one.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use session_manager_core::storage::{
    Advance, AdvanceOutcome, Bump, BumpOutcome, BumpTarget, Incarnations, InsertOutcome, OnLimit, OnceKey, PutOutcome,
    RevokeTarget, SessionPatch, Touch, Update, UpdateOutcome,
};
use session_manager_core::{LivePolicy, SessionStorage, State};

use super::{
    at, external, foreign, insert, insert_under, limit, now, one, read, record, revoke, storage, user, with_external,
};

/// Runs `step` on this many threads, all released at the same moment.
fn together<T: Send>(threads: usize, step: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let (start, step) = (Barrier::new(threads), &step);
    thread::scope(|scope| {
        let start = &start;
        let running: Vec<_> = (0..threads)
            .map(|number| {
                scope.spawn(move || {
                    start.wait();
                    step(number)
                })
            })
            .collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn sixty_sign_ins_at_once_leave_as_many_sessions_as_allowed() {
    for (on_limit, round) in [(OnLimit::EvictOldest, 0), (OnLimit::EvictIdlest, 1), (OnLimit::Reject, 2)] {
        // Half of the ids hint at other shards, so that two locks are taken in either order.
        let storage = storage();
        let records: Vec<_> = (0..60)
            .map(|number| {
                if number % 2 == 0 {
                    record("alice", number, 1000, 1000)
                } else {
                    foreign("alice", (round * 100 + number + 1).try_into().unwrap())
                }
            })
            .collect();
        let outcomes = together(60, |number| insert_under(&storage, &records[number], limit(5, on_limit), 100));
        let mut counts = (0, 0, 0);
        for outcome in outcomes {
            match outcome {
                InsertOutcome::Inserted { evicted, .. } => counts = (counts.0 + 1, counts.1 + evicted.len(), counts.2),
                InsertOutcome::LimitReached { live } => {
                    counts = (counts.0, counts.1, counts.2 + usize::from(live == 5));
                }
                other => panic!("{other:?}"),
            }
        }
        let live = records
            .iter()
            .filter_map(|one| read(&storage, one.session.id))
            .filter(|one| one.state(at(100), LivePolicy::TRACKED).is_live());
        assert_eq!(live.count(), 5);
        assert_eq!(counts, if on_limit == OnLimit::Reject { (5, 0, 55) } else { (60, 55, 0) });
    }
}

#[test]
fn one_id_is_given_away_once_and_one_external_id_to_everybody() {
    for round in 0..50_u128 {
        let storage = storage();
        let outcomes = together(16, |number| {
            let number = u128::try_from(number).unwrap();
            // Sixteen users: half of them fight for one id, half share one external id.
            let record = if number % 2 == 0 {
                foreign(&format!("u{number}"), round + 1)
            } else {
                with_external(foreign(&format!("u{number}"), 1000 * (round + 1) + number), "s")
            };
            matches!(insert_under(&storage, &record, limit(5, OnLimit::EvictOldest), 0), InsertOutcome::Inserted { .. })
        });
        assert_eq!(outcomes.iter().filter(|inserted| **inserted).count(), 9);
        assert_eq!((storage.len(), storage.sizes()[6]), (9, 8));
        let ended = together(4, |_| revoke(&storage, RevokeTarget::External(external("s")), 1).sessions.len());
        assert_eq!(ended.iter().sum::<usize>(), 8, "each is ended once");
    }
}

#[test]
fn sixty_four_refreshes_at_once_consume_the_token_once() {
    let storage = storage();
    let record = record("alice", 0, 100_000, 100_000);
    insert(&storage, &record);
    for generation in 1..=20 {
        let time = at(i64::try_from(generation).unwrap() * 100);
        let advance = Advance::new(record.session.key(), generation, Duration::from_millis(10), time);
        let outcomes = together(64, |_| now(storage.advance(&advance)).unwrap());
        let advanced = outcomes.iter().filter(|outcome| matches!(outcome, AdvanceOutcome::Advanced(_))).count();
        let converged = outcomes.iter().filter(|outcome| matches!(outcome, AdvanceOutcome::Converge(_))).count();
        assert_eq!((advanced, converged), (1, 63));
    }
    assert_eq!(read(&storage, record.session.id).unwrap().control.generation, 21);
}

#[test]
fn nothing_written_late_revives_a_revoked_session() {
    for round in 0..100 {
        let storage = storage();
        let first = insert(
            &storage,
            &if round % 2 == 0 { record("alice", 0, 1000, 1000) } else { foreign("alice", round + 1) },
        );
        let (id, key) = (first.session.id, first.key());
        let done = AtomicBool::new(false);
        together(6, |number| {
            let mut version = 1;
            for step in 1..40 {
                let time = at(step);
                match number {
                    0 if step == 20 => {
                        let target = if round % 4 < 2 {
                            one(id)
                        } else {
                            RevokeTarget::User { user: user("alice"), except: None }
                        };
                        assert_eq!(revoke(&storage, target, 20).sessions.len(), 1);
                        done.store(true, Ordering::SeqCst);
                    }
                    1 => drop(now(storage.touch(&[Touch::new(key, time, at(900))], time)).unwrap()),
                    2 => {
                        let over = done.load(Ordering::SeqCst);
                        let outcome =
                            now(storage.update(&Update::new(key, version, SessionPatch::new(), time))).unwrap();
                        match outcome {
                            UpdateOutcome::Updated(_) if over => panic!("updated after it was revoked"),
                            UpdateOutcome::Updated(now) | UpdateOutcome::Conflict(now) => version = now.control.version,
                            _ => {}
                        }
                    }
                    3 => {
                        let mut late = first.clone();
                        late.control.version = version.saturating_add(u64::try_from(step).unwrap());
                        let over = done.load(Ordering::SeqCst);
                        assert!(now(storage.scan().unwrap().put(&late)).unwrap() == PutOutcome::Kept || !over);
                    }
                    4 => {
                        let over = done.load(Ordering::SeqCst);
                        let outcome =
                            now(storage.advance(&Advance::new(key, 1, Duration::from_secs(1), time))).unwrap();
                        assert!(!over || matches!(outcome, AdvanceOutcome::Ended(State::Revoked, _)), "{outcome:?}");
                    }
                    _ => {
                        let over = done.load(Ordering::SeqCst);
                        let live = read(&storage, id).unwrap().state(time, LivePolicy::TRACKED).is_live();
                        assert!(!(over && live));
                    }
                }
            }
        });
        assert_eq!(read(&storage, id).unwrap().state(at(41), LivePolicy::TRACKED), State::Revoked);
    }
}

#[test]
fn sign_ins_during_a_rotation_are_before_it_or_after_it() {
    let storage = storage();
    let incarnations = Incarnations { user: 11, global: 22 };
    insert(&storage, &record("warm", 0, 1000, 1000));
    let snapshots = together(8, |number| {
        if number < 2 {
            let target = BumpTarget::Global { grace: Duration::ZERO };
            let bump = Bump::new(target, incarnations, at(1)).expecting(1);
            return match now(storage.bump(&bump)).unwrap() {
                BumpOutcome::Bumped(bumped) => (usize::from(bumped.applied), Vec::new()),
                other => panic!("{other:?}"),
            };
        }
        (0, (0..200).map(|step| insert(&storage, &record(&format!("u{number}-{step}"), 1, 1000, 1000))).collect())
    });
    assert_eq!(snapshots.iter().map(|(applied, _)| applied).sum::<usize>(), 1, "two equal bumps raise once");
    for snapshot in snapshots.into_iter().flat_map(|(_, snapshots)| snapshots) {
        let version = snapshot.control.stamped.unwrap().global.version;
        let state = read(&storage, snapshot.session.id).unwrap().state(at(2), LivePolicy::TRACKED);
        assert_eq!(state, if version == 2 { State::Live } else { State::RotatedOut });
    }
}

#[test]
fn a_value_is_new_to_exactly_one() {
    let storage = storage();
    let news = AtomicUsize::new(0);
    let key = OnceKey::parse("dpop:x").unwrap();
    together(32, |_| {
        if now(storage.remember_once(&key, at(1), at(10))).unwrap() {
            news.fetch_add(1, Ordering::SeqCst);
        }
    });
    assert_eq!(news.into_inner(), 1);
}

#[test]
fn opposite_strays_do_not_wait_for_each_other_for_ever() {
    let storage = storage();
    // Users of two shards whose ids hint at each other's, rotations of everybody in between.
    let (a, b) = (record("alice", 0, 1_000_000, 1_000_000), record("bob", 0, 1_000_000, 1_000_000));
    insert(&storage, &record("warm", 0, 1000, 1000));
    together(4, |number| {
        for step in 0..500_u128 {
            let (own, other) = if number % 2 == 0 { (&a, &b) } else { (&b, &a) };
            let mut record = own.clone();
            let mut session = (*record.session).clone();
            let unlike = u128::from_be_bytes(*other.session.id.as_bytes());
            session.id = uuid::Uuid::from_u128(unlike ^ (step * 4 + u128::try_from(number).unwrap() + 1)).into();
            record.session = session.into();
            if number == 3 && step % 50 == 0 {
                let target = BumpTarget::Global { grace: Duration::ZERO };
                drop(now(storage.bump(&Bump::new(target, Incarnations { user: 1, global: 2 }, at(1)))).unwrap());
            }
            insert_under(&storage, &record, limit(3, OnLimit::EvictOldest), 1);
            assert_eq!(read(&storage, record.session.id).unwrap().session.user_id, record.session.user_id);
        }
    });
    assert_eq!(storage.sizes()[5], 2000);
}
