//! What goes when the storage is full, and what never does.

use session_manager_core::storage::{Incarnations, Insert, InsertOutcome, OnLimit};
use session_manager_core::{ErrorKind, SessionRecord, SessionStorage};

use super::{at, bump, findings, insert, is_live, limit, now, read, record, rotate_all, rotate_user};
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
