//! Single steps whose outcome depends on how this storage is built.

use session_manager_core::storage::{
    Bump, BumpOutcome, BumpTarget, Incarnations, InsertOutcome, OnLimit, Purge, PurgeScope, PutOutcome, Query,
    RevokeTarget, Revoked, SessionFilter, SessionScan, Touch,
};
use session_manager_core::{ErrorKind, LivePolicy, SessionStorage, State};

use super::{
    at, external, foreign, insert, insert_under, limit, now, one, read, record, revoke, small, storage, user,
    with_external,
};

#[test]
fn the_hint_of_an_id_is_no_authority() {
    for shards in [1, 64, 4096] {
        let storage = crate::MemoryStorage::new(crate::MemoryStorageConfig::new().shards(shards)).unwrap();
        let records: Vec<_> = (1..200).map(|number| foreign(&format!("user-{}", number % 7), number)).collect();
        for record in &records {
            insert(&storage, record);
        }
        if shards > 1 {
            assert!(storage.sizes()[5] > 100, "most of them are strays");
        }
        for record in &records {
            let id = record.session.id;
            assert_eq!(read(&storage, id).unwrap().session, record.session);
            assert_eq!(read(&storage, id).unwrap().state(at(1), LivePolicy::TRACKED), State::Live);
            // The same insert again; the same id for somebody else, whose shard is another one.
            insert(&storage, record);
            let mut stolen = record.clone();
            stolen.session = foreign("mallory", 1).session;
            let mut session = (*stolen.session).clone();
            session.id = id;
            stolen.session = session.into();
            assert!(matches!(
                insert_under(&storage, &stolen, limit(5, OnLimit::Unlimited), 1),
                InsertOutcome::DuplicateId
            ));
        }
        for number in 0..7 {
            let target = RevokeTarget::User { user: user(&format!("user-{number}")), except: None };
            let revoked = revoke(&storage, target, 2);
            assert_eq!(
                revoked.sessions.len(),
                records.iter().filter(|one| one.session.user_id == user(&format!("user-{number}"))).count()
            );
        }
        let scope = PurgeScope::EndedBefore(at(3));
        assert_eq!(now(storage.purge(&Purge::new(scope, 1000, at(3)))).unwrap().sessions.len(), 199);
        assert_eq!(storage.sizes()[..2], [0, 0]);
        assert_eq!(storage.sizes()[5], 0);
    }
}

#[test]
fn a_native_id_is_found_taken_by_a_stray_and_the_other_way_round() {
    let storage = storage();
    let native = record("alice", 0, 1000, 1000);
    let mut stray = record("bob", 0, 1000, 1000);
    let mut session = (*stray.session).clone();
    session.id = native.session.id;
    stray.session = session.into();
    let unlimited = limit(0, OnLimit::Unlimited);
    for (first, second) in [(&native, &stray), (&stray, &native)] {
        insert(&storage, first);
        assert!(matches!(insert_under(&storage, second, unlimited, 0), InsertOutcome::DuplicateId));
        let second =
            session_manager_core::Snapshot::new(second.clone(), read(&storage, first.session.id).unwrap().epochs);
        assert_eq!(now(scan(&storage).put(&second)).unwrap(), PutOutcome::Kept);
        assert_eq!(read(&storage, first.session.id).unwrap().session.user_id, first.session.user_id);
        now(storage.purge(&Purge::new(PurgeScope::One(first.session.id.into()), 1, at(0)))).unwrap();
    }
}

#[test]
fn a_full_storage_drops_the_ended_and_never_the_living() {
    let storage = small(3);
    let unlimited = limit(0, OnLimit::Unlimited);
    let records: Vec<_> = (0..3).map(|number| record(&format!("user-{number}"), 0, 10_000, 10_000)).collect();
    for record in &records {
        insert(&storage, record);
    }
    let more = record("late", 0, 10_000, 10_000);
    let request =
        session_manager_core::storage::Insert::new(more.clone(), unlimited, Incarnations { user: 1, global: 2 }, at(1));
    let error = now(storage.insert(&request)).unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true));
    assert!(error.to_string().contains("max_sessions"), "{error}");
    assert_eq!(storage.len(), 3);
    insert(&storage, &records[0]);

    // One ended long ago, one just now: the older goes first.
    revoke(&storage, one(records[0].session.id), 1);
    revoke(&storage, one(records[1].session.id), 4000);
    assert!(matches!(insert_under(&storage, &more, unlimited, 4000), InsertOutcome::Inserted { .. }));
    assert!(read(&storage, records[0].session.id).is_none());
    assert_eq!(read(&storage, records[1].session.id).unwrap().state(at(4000), LivePolicy::TRACKED), State::Revoked);
    assert_eq!(now(storage.check(at(4000))).unwrap().findings.len(), 1, "almost full");
    let another = record("later", 4000, 10_000, 10_000);
    assert!(matches!(insert_under(&storage, &another, unlimited, 4000), InsertOutcome::Inserted { .. }));
    assert!(read(&storage, records[1].session.id).is_none());
    assert!(read(&storage, records[2].session.id).is_some());
    assert_eq!(now(storage.check(at(4000))).unwrap().findings.len(), 2, "and something went before its retention");
}

#[test]
fn sessions_of_one_external_id_end_together_and_leave_no_name_behind() {
    let storage = storage();
    let named = |name: &str, sid: &str| insert(&storage, &with_external(record(name, 0, 1000, 1000), sid));
    let theirs = [named("alice", "s"), named("alice", "s"), named("bob", "s"), named("carol", "s")];
    let other = named("alice", "t");
    revoke(&storage, one(theirs[1].session.id), 1);
    let revoked = revoke(&storage, RevokeTarget::External(external("s")), 2);
    assert_eq!((revoked.sessions.len(), revoked.already_ended), (3, 1));
    assert_eq!(revoke(&storage, RevokeTarget::External(external("s")), 3).already_ended, 4);
    assert!(read(&storage, other.session.id).unwrap().state(at(3), LivePolicy::TRACKED).is_live());
    for name in ["alice", "bob"] {
        now(storage.purge(&Purge::new(PurgeScope::User(user(name)), 10, at(4)))).unwrap();
    }
    assert_eq!(storage.sizes()[6], 1, "carol's");
    assert_eq!(revoke(&storage, RevokeTarget::External(external("t")), 5), Revoked::default());
    now(storage.purge(&Purge::new(PurgeScope::User(user("carol")), 10, at(4)))).unwrap();
    assert_eq!(storage.sizes()[6], 0);
}

#[test]
fn a_session_is_found_by_the_name_that_an_import_gave_it_and_no_longer_by_the_one_before() {
    let storage = storage();
    let mut imported = insert(&storage, &with_external(record("alice", 0, 1000, 1000), "old"));
    let session = with_external(imported.record(), "new").session;
    (imported.session, imported.control.version) = (session, 9);
    assert_eq!(now(scan(&storage).put(&imported)).unwrap(), PutOutcome::Written);
    assert_eq!(storage.sizes()[6], 1);
    assert_eq!(revoke(&storage, RevokeTarget::External(external("old")), 1), Revoked::default());
    assert_eq!(revoke(&storage, RevokeTarget::External(external("new")), 1).sessions.len(), 1);
}

#[test]
fn a_touched_session_is_purged_at_its_real_end_only() {
    let storage = storage();
    let record = record("alice", 0, 100, 1000);
    insert(&storage, &record);
    for time in [50, 60, 70] {
        let touch = Touch::new(record.session.key(), at(time), at(time + 100));
        assert_eq!(now(storage.touch(&[touch], at(time))).unwrap().touched, 1);
    }
    assert_eq!(storage.sizes()[1], 1, "the queue did not grow");
    let purge = |before: i64| {
        now(storage.purge(&Purge::new(PurgeScope::EndedBefore(at(before)), 10, at(500)))).unwrap().sessions
    };
    assert!(purge(101).is_empty() && purge(170).is_empty());
    assert_eq!(purge(171)[0].state, State::Idle);
}

#[test]
fn purge_says_exactly_whether_there_is_more() {
    let storage = storage();
    let records: Vec<_> = (0..10).map(|number| record(&format!("user-{number}"), 0, 100 + number, 1000)).collect();
    for record in &records {
        insert(&storage, record);
    }
    let touch = Touch::new(records[9].session.key(), at(50), at(900));
    now(storage.touch(&[touch], at(50))).unwrap();
    let purge = |limit| {
        let purged = now(storage.purge(&Purge::new(PurgeScope::EndedBefore(at(500)), limit, at(500)))).unwrap();
        (purged.sessions.len(), purged.more)
    };
    assert_eq!(purge(0), (0, true));
    assert_eq!(purge(8), (8, true));
    assert_eq!(purge(1), (1, false), "the touched one is not of the kind");
    assert_eq!((purge(1), storage.len()), ((0, false), 1));
}

#[test]
fn bumps_are_idempotent_by_expectation_and_keep_one() {
    let storage = storage();
    let (kept, other) = (record("alice", 0, 1000, 1000), record("alice", 1, 1000, 1000));
    insert(&storage, &kept);
    insert(&storage, &other);
    let bump = |expected, keep, time| {
        let target = BumpTarget::User { user: user("alice"), keep };
        let bump = Bump::new(target, Incarnations { user: 5, global: 6 }, at(time)).expecting(expected);
        now(storage.bump(&bump)).unwrap()
    };
    let foreign = record("bob", 0, 1000, 1000);
    insert(&storage, &foreign);
    assert!(matches!(bump(1, Some(foreign.session.id), 2), BumpOutcome::KeepEnded));
    let BumpOutcome::Bumped(bumped) = bump(1, Some(kept.session.id), 2) else { panic!() };
    assert!(bumped.applied && bumped.kept.unwrap().control.generation == 3);
    let BumpOutcome::Bumped(again) = bump(1, Some(kept.session.id), 3) else { panic!() };
    assert!(!again.applied && again.kept.unwrap().control.generation == 3);
    assert!(matches!(bump(4, None, 3), BumpOutcome::Conflict { version: 2 }));
    let state = |id| read(&storage, id).unwrap().state(at(4), LivePolicy::TRACKED);
    assert_eq!((state(kept.session.id), state(other.session.id)), (State::Live, State::RotatedOut));
}

#[test]
fn lists_across_users_are_complete_and_ordered_over_all_pages() {
    let storage = storage();
    let mut wanted: Vec<_> = (0..150)
        .map(|number| insert(&storage, &record(&format!("user-{}", number % 40), number / 3, 1000, 1000)))
        .collect();
    wanted.sort_by_key(|one| std::cmp::Reverse((one.session.created_at, one.session.id)));
    let (mut cursor, mut seen) = (None, Vec::new());
    loop {
        let query = Query::everybody(at(500)).after(cursor).limited(50);
        let page = futures_util::FutureExt::now_or_never(storage.list(&query));
        assert!(page.is_none(), "the thread is handed back now and then");
        let page = block(storage.list(&query)).unwrap();
        seen.extend(page.sessions);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, wanted);
    let all = Query::everybody(at(500)).filtered(SessionFilter::including_ended());
    assert_eq!(block(storage.count(&all)).unwrap().value, 150);
    assert_eq!(block(storage.count(&Query::everybody(at(1000)))).unwrap().value, 0);
}

#[test]
fn a_scan_meets_everything_once_and_its_cursor_outlives_another_shard_count() {
    let storage = storage();
    for number in 0..300_u32 {
        insert(&storage, &record(&format!("user-{number}"), 0, 1000, 1000));
    }
    let (copy, mut cursor, mut pages) =
        (crate::MemoryStorage::new(crate::MemoryStorageConfig::new().shards(4)).unwrap(), None, 0);
    loop {
        // Every other page is read from the copy's point of view: the order is the same whatever the number of shards.
        let page = now(scan(&storage).scan(cursor.as_ref(), 7)).unwrap();
        for snapshot in &page.sessions {
            assert_eq!(now(scan(&copy).put(snapshot)).unwrap(), PutOutcome::Written);
        }
        let copied = now(scan(&copy).scan(cursor.as_ref(), 7)).unwrap();
        assert_eq!(copied.sessions, page.sessions);
        pages += 1;
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!((pages, copy.len()), (43, 300));
    assert_eq!(
        now(scan(&storage).scan(Some(&session_manager_core::storage::ScanCursor("?".into())), 7)).unwrap_err().kind(),
        ErrorKind::InvalidCursor
    );
}

#[test]
fn put_writes_only_over_a_lower_version_and_never_revives() {
    let storage = storage();
    let first = insert(&storage, &record("alice", 0, 1000, 1000));
    let put = |change: &dyn Fn(&mut session_manager_core::Snapshot)| {
        let mut snapshot = first.clone();
        change(&mut snapshot);
        now(scan(&storage).put(&snapshot)).unwrap()
    };
    assert_eq!(put(&|_| {}), PutOutcome::Kept);
    assert_eq!(put(&|one| one.control.version = 5), PutOutcome::Written);
    assert_eq!(put(&|one| one.control.version = 5), PutOutcome::Kept);
    let raised = |one: &mut session_manager_core::Snapshot| {
        one.control.version = 6;
        one.epochs.user = one.epochs.user.map(session_manager_core::Epoch::next);
        one.epochs.global = one.epochs.global.map(|global| session_manager_core::GlobalEpoch::new(global.epoch.next()));
    };
    assert_eq!(put(&raised), PutOutcome::Written);
    assert_eq!(put(&|one| one.control.version = 7), PutOutcome::Written);
    let stored = read(&storage, first.session.id).unwrap();
    assert_eq!(
        (stored.epochs.user.unwrap().version, stored.epochs.global.unwrap().epoch.version),
        (2, 2),
        "raised, never lowered"
    );
    assert_eq!(stored.state(at(1), LivePolicy::TRACKED), State::RotatedOut);
    let fresh = insert(&storage, &record("alice", 0, 1000, 1000));
    revoke(&storage, one(fresh.session.id), 1);
    let mut late = fresh.clone();
    late.control.version = 99;
    assert_eq!(now(scan(&storage).put(&late)).unwrap(), PutOutcome::Kept);
    assert_eq!(read(&storage, fresh.session.id).unwrap().state(at(2), LivePolicy::TRACKED), State::Revoked);
}

/// Polls until ready: only lists and counts across users need more than one poll.
fn block<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    loop {
        if let std::task::Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
}

fn scan(storage: &crate::MemoryStorage) -> &dyn SessionScan {
    storage.scan().unwrap()
}
