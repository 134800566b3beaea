//! Nothing is left behind: not by cycles of sessions, not by users who went away.

use std::time::Duration;

use session_manager_core::SessionStorage;
use session_manager_core::storage::{OnLimit, OnceKey, Purge, PurgeScope, RevokeTarget, Touch};

use super::{at, foreign, insert_under, limit, now, one, record, revoke, user, with_external};
use crate::{MemoryStorage, MemoryStorageConfig};

#[test]
fn a_hundred_thousand_sessions_come_and_go_without_a_trace() {
    let config = MemoryStorageConfig::new().epoch_retention(Duration::ZERO);
    let storage = MemoryStorage::new(config).unwrap();
    let template = record("template", 0, 0, 0);
    let mut last = 0;
    for number in 0..100_000_i64 {
        let name = format!("user-{}", number % 997);
        let start = number;
        let mut fresh = template.clone();
        let mut session = (*template.session).clone();
        session.user_id = user(&name);
        session.id = foreign(&name, u128::try_from(number).unwrap() + 1).session.id;
        (session.created_at, session.expires_at) = (at(start), at(start + 500));
        (fresh.control.last_activity, fresh.control.idle_expires_at) = (at(start), at(start + 100));
        fresh.session = session.into();
        if number % 5 == 0 {
            fresh = with_external(fresh, &number.to_string());
        }
        let (id, key) = (fresh.session.id, fresh.session.key());
        insert_under(&storage, &fresh, limit(3, OnLimit::EvictOldest), start);
        match number % 4 {
            0 => drop(revoke(&storage, one(id), start + 1)),
            1 => drop(now(storage.touch(&[Touch::new(key, at(start + 50), at(start + 150))], at(start + 50))).unwrap()),
            2 if number % 10 == 2 => {
                drop(revoke(&storage, RevokeTarget::User { user: user(&name), except: None }, start + 1));
            }
            _ => {}
        }
        now(storage.remember_once(&OnceKey::parse(&format!("k:{number}")).unwrap(), at(start), at(start + 30)))
            .unwrap();
        if number % 100 == 0 {
            now(storage.purge(&Purge::new(PurgeScope::EndedBefore(at(start - 20)), 1000, at(start)))).unwrap();
            assert!(storage.len() < 400, "{}", storage.len());
        }
        last = start;
    }
    let end = last + 1000;
    let purged = now(storage.purge(&Purge::new(PurgeScope::EndedBefore(at(end)), 1000, at(end)))).unwrap();
    assert!(!purged.more);
    now(storage.remember_once(&OnceKey::parse("over").unwrap(), at(end), at(end + 1))).unwrap();
    assert_eq!(storage.sizes()[..7], [0; 7], "sessions, queue, users, strays, externals");
    assert!(storage.sizes()[8] < 100, "{:?}", storage.sizes());
}

#[test]
fn an_epoch_stays_as_long_as_a_session_could_come_back_and_no_longer() {
    let config = MemoryStorageConfig::new().epoch_retention(Duration::from_secs(1));
    let storage = MemoryStorage::new(config).unwrap();
    let record = record("alice", 0, 100, 500);
    insert_under(&storage, &record, limit(3, OnLimit::EvictOldest), 0);
    revoke(&storage, RevokeTarget::User { user: user("alice"), except: None }, 1);
    now(storage.purge(&Purge::new(PurgeScope::User(user("alice")), 10, at(2)))).unwrap();
    let epoch = || now(storage.epochs(Some(&user("alice")))).unwrap().user;
    for (before, known) in [(2, true), (1500, true), (1501, false)] {
        now(storage.purge(&Purge::new(PurgeScope::EndedBefore(at(before)), 10, at(before)))).unwrap();
        assert_eq!(epoch().map(|epoch| epoch.version), known.then_some(2), "{before}");
    }
}

#[test]
fn a_flood_of_sign_ins_of_one_user_does_not_slow_the_next_one_down() {
    let storage = MemoryStorage::new(MemoryStorageConfig::new().max_sessions(5000)).unwrap();
    for number in 0..20_000 {
        insert_under(&storage, &record("alice", number, 1_000_000, 1_000_000), limit(5, OnLimit::EvictOldest), number);
    }
    assert!(storage.len() <= 5000);
    let shard = storage.table().read(storage.table().number(user("alice").shard()));
    assert_eq!(shard.sessions_of(&user("alice"), false).count(), 5, "only these are looked at when she signs in");
}
