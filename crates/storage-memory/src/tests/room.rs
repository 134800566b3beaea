//! What goes when the storage is full, and what never does.

use session_manager_core::storage::{Incarnations, Insert, InsertOutcome, OnLimit, Purge, PurgeScope, PutOutcome};
use session_manager_core::{ErrorKind, SessionRecord, SessionStorage};

use super::{at, bump, findings, insert, is_live, limit, now, read, record, revoke, rotate_all, rotate_user, user};
use crate::{MemoryStorage, MemoryStorageConfig};

/// Far away: no deadline makes room here.
const END: i64 = 1_000_000;

fn full(sessions: usize, shards: u16) -> (MemoryStorage, Vec<SessionRecord>) {
    let storage = MemoryStorage::new(MemoryStorageConfig::new().max_sessions(sessions).shards(shards)).unwrap();
    let records: Vec<_> = (0..sessions).map(|number| record(&format!("user-{number}"), 0, END, END)).collect();
    for record in &records {
        insert(&storage, record);
    }
    (storage, records)
}

/// Whether a sign-in finds room.
fn sign_in(storage: &MemoryStorage, name: &str, time: i64) -> Option<SessionRecord> {
    let (record, unlimited) = (record(name, time, END, END), limit(0, OnLimit::Unlimited));
    let request = Insert::new(record.clone(), unlimited, Incarnations { user: 11, global: 22 }, at(time));
    match now(storage.insert(&request)) {
        Ok(outcome) => matches!(outcome, InsertOutcome::Inserted { .. }).then_some(record),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Unavailable);
            None
        }
    }
}

#[test]
fn a_rotation_of_everybody_makes_room_at_once() {
    for shards in [1, 128] {
        let (storage, records) = full(1000, shards);
        assert!(sign_in(&storage, "early", 1).is_none(), "all live");
        bump(&storage, rotate_all(0), 2);
        let fresh: Vec<_> =
            (0..1000).map(|number| sign_in(&storage, &format!("new-{number}"), 3).expect("room")).collect();
        assert!(sign_in(&storage, "late", 3).is_none(), "all live again");
        assert!(records.iter().all(|one| read(&storage, one.session.id).is_none()));
        assert!(fresh.iter().all(|one| is_live(&storage, one.session.id, 3)));
        assert!(findings(&storage).iter().any(|text| text.starts_with("1000 ended sessions")), "{storage:?}");
    }
}

#[test]
fn in_the_grace_of_a_rotation_nobody_has_to_go() {
    let (storage, _) = full(10, 4);
    bump(&storage, rotate_all(100), 2);
    assert!(sign_in(&storage, "early", 101).is_none());
    assert!(sign_in(&storage, "late", 102).is_some());
}

#[test]
fn a_rotation_of_one_user_makes_room_after_a_bounded_search() {
    let (storage, records) = full(20_000, 8);
    for round in 0..3 {
        let ended = 1000 + round * 7000;
        bump(&storage, rotate_user(&format!("user-{ended}")), 1);
        // 4096 sessions are looked at for each sign-in.
        let refused = (0..20).take_while(|_| sign_in(&storage, &format!("late-{round}"), 2).is_none()).count();
        assert!(refused <= 20_000 / 4096 + 1, "{refused}");
        assert!(read(&storage, records[ended].session.id).is_none());
        assert_eq!(storage.len(), 20_000);
        assert!(findings(&storage).iter().any(|text| text.starts_with(&format!("{} ended", round + 1))));
    }
    let left = records.iter().filter(|one| is_live(&storage, one.session.id, 2)).count();
    assert_eq!(left, 20_000 - 3, "of the living none");
}

#[test]
fn a_search_looks_at_no_more_sessions_than_allowed() {
    let (storage, records) = full(100, 4);
    // The last one that a search comes to.
    let (last, last_of) = (storage.table().shard_count() - 1, |shard: usize| {
        let of = |one: &&SessionRecord| storage.table().number(one.session.user_id.shard()) == shard;
        records.iter().filter(of).max_by_key(|one| one.session.id).unwrap()
    });
    bump(&storage, rotate_user(last_of(last).session.user_id.as_str()), 1);
    let calls: Vec<usize> = (0..10).map(|_| storage.drop_early(1, 0, 10, at(2))).collect();
    assert_eq!(calls, [0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    assert_eq!(storage.drop_early(1, 0, usize::MAX, at(2)), 0, "one whole round");
}

#[test]
fn users_are_bounded_and_those_without_sessions_go_first() {
    let config = MemoryStorageConfig::new().max_sessions(10).max_users(20).shards(4);
    let storage = MemoryStorage::new(config).unwrap();
    let staying = insert(&storage, &record("staying", 0, END, END));
    for number in 0..1000 {
        let name = format!("user-{number}");
        match number % 3 {
            0 => bump(&storage, rotate_user(&name), number),
            1 => {
                insert(&storage, &record(&name, number, END, END));
                now(storage.purge(&Purge::new(PurgeScope::User(user(&name)), 10, at(number)))).unwrap();
            }
            _ => {
                let mut other = staying.clone();
                other.session = record(&name, number, END, END).session;
                assert_eq!(now(storage.scan().unwrap().put(&other)).unwrap(), PutOutcome::Written);
                now(storage.purge(&Purge::new(PurgeScope::User(user(&name)), 10, at(number)))).unwrap();
            }
        }
        assert!(storage.sizes()[3] <= 20, "{:?}", storage.sizes());
        assert!(is_live(&storage, staying.session.id, number), "who has a session is not forgotten");
    }
    assert_eq!(storage.sizes()[3], 20);
    let findings = findings(&storage);
    assert!(findings.iter().any(|text| text.contains("20 of max_users = 20")), "{findings:?}");
    assert!(findings.iter().any(|text| text.starts_with("the epochs of 981 users")), "{findings:?}");
}

#[test]
fn of_users_without_sessions_those_stay_whose_epoch_may_still_matter() {
    let config = MemoryStorageConfig::new().max_sessions(3).max_users(3).shards(1);
    let storage = MemoryStorage::new(config).unwrap();
    for (name, end) in [("soon", 500), ("never", 0), ("late", 900), ("later", 1000), ("early", 100)] {
        if end == 0 {
            bump(&storage, rotate_user(name), 1);
        } else {
            insert(&storage, &record(name, 1, end, end));
            now(storage.purge(&Purge::new(PurgeScope::User(user(name)), 10, at(1)))).unwrap();
        }
    }
    let known = |name: &str| now(storage.epochs(Some(&user(name)))).unwrap().user.is_some();
    assert_eq!(["soon", "never", "late", "later", "early"].map(known), [false, false, true, true, true]);
    insert(&storage, &record("fresh", 1, 2000, 2000));
    assert_eq!(["late", "later", "early", "fresh"].map(known), [true, true, false, true]);
}

#[test]
fn a_sign_in_is_never_refused_for_the_bound_of_users() {
    let storage = MemoryStorage::new(MemoryStorageConfig::new().max_sessions(5).max_users(5)).unwrap();
    for number in 0..100 {
        let name = format!("user-{number}");
        assert!(sign_in(&storage, &name, number).is_some());
        if number >= 4 {
            let oldest = format!("user-{}", number - 4);
            revoke(
                &storage,
                session_manager_core::storage::RevokeTarget::User { user: user(&oldest), except: None },
                number,
            );
        }
    }
    assert!(storage.sizes()[3] <= 5);
    assert!(MemoryStorage::new(MemoryStorageConfig::new().max_sessions(5)).unwrap().config().user_bound() == 20);
}
