//! The finer points of the contract: outcomes, epochs, clean-up, feed and scan.

use std::time::Duration;

use session_manager_core::storage::{
    Advance, AdvanceOutcome, Bump, BumpOutcome, BumpTarget, Consistency, InsertOutcome, Notice, OnLimit, OnceKey,
    Phase, Purge, PurgeScope, PutOutcome, Query, Revoke, RevokeTarget, SessionFilter, SessionLimit, Subject, Touch,
};
use session_manager_core::{
    Actor, Epoch, ErrorKind, ExternalId, LivePolicy, RevocationReason, SessionStorage, Snapshot, State,
};
use session_manager_storage_sqlx::FeedTable;
use sqlx::{AssertSqlSafe, Row};

use crate::fixture::{Fixture, GRACE, INCARNATIONS, at, full, insert, record, user};
use crate::mapping::rich;

async fn read(fixture: &Fixture, snapshot: &Snapshot) -> Snapshot {
    fixture.storage.read(&snapshot.key(), Consistency::Latest).await.unwrap().unwrap()
}

#[tokio::test]
async fn insert_is_idempotent_and_ids_are_unique() {
    let fixture = Fixture::new().await;
    let first = rich("alice", 0);
    let InsertOutcome::Inserted { snapshot, .. } = fixture.storage.insert(&insert(first.clone(), 1, 0)).await.unwrap()
    else {
        panic!()
    };
    let InsertOutcome::Inserted { snapshot: again, evicted } =
        fixture.storage.insert(&insert(first.clone(), 1, 5)).await.unwrap()
    else {
        panic!()
    };
    assert_eq!((snapshot, evicted.len()), (again, 0));
    let mut other = first.clone();
    other.control.seed = record("alice", 0).control.seed;
    let mut foreign = record("bob", 1);
    let mut session = (*foreign.session).clone();
    session.id = first.session.id;
    foreign.session = session.into();
    for duplicate in [other, foreign] {
        assert!(matches!(fixture.storage.insert(&insert(duplicate, 1, 1)).await.unwrap(), InsertOutcome::DuplicateId));
    }
    assert_eq!(fixture.storage.epochs(Some(&user("bob"))).await.unwrap().user, None);
}

#[tokio::test]
async fn the_limit_evicts_the_oldest_or_the_idlest_or_rejects() {
    for (on_limit, evicted_index) in
        [(OnLimit::EvictOldest, Some(0)), (OnLimit::EvictIdlest, Some(1)), (OnLimit::Reject, None)]
    {
        let fixture = Fixture::new().await;
        let sessions =
            [fixture.sign_in("alice", 0).await, fixture.sign_in("alice", 1).await, fixture.sign_in("alice", 2).await];
        for index in [0, 2] {
            fixture.storage.touch(&[Touch::new(sessions[index].key(), at(50), at(500_050))], at(50)).await.unwrap();
        }
        fixture.sign_in("bob", 0).await;
        let mut request = insert(record("alice", 60), 3, 60);
        request.limit = SessionLimit::new(3, on_limit);
        match (fixture.storage.insert(&request).await.unwrap(), evicted_index) {
            (InsertOutcome::Inserted { evicted, .. }, Some(index)) => {
                let [ended] = evicted.as_slice() else { panic!("{evicted:?}") };
                assert_eq!((ended.session.id, ended.state), (sessions[index].session.id, State::Revoked));
                let stored = read(&fixture, &sessions[index]).await;
                assert_eq!(stored.revocation().unwrap(), ended.revocation.as_deref().unwrap());
                assert_eq!(
                    (stored.revocation().unwrap().reason.clone(), stored.control.version),
                    (RevocationReason::EVICTED, 2)
                );
            }
            (InsertOutcome::LimitReached { live: 3 }, None) => {}
            (outcome, _) => panic!("{on_limit:?}: {outcome:?}"),
        }
        assert_eq!(fixture.storage.count(&Query::of(user("alice"), at(61))).await.unwrap().value, 3);
    }
}

#[tokio::test]
async fn epochs_end_sessions_without_touching_rows() {
    let fixture = Fixture::new().await;
    let (alice, bob) = (fixture.sign_in("alice", 0).await, fixture.sign_in("bob", 0).await);
    let bump = Bump::new(BumpTarget::User { user: user("alice"), keep: None }, INCARNATIONS, at(1)).expecting(1);
    for (applied, version) in [(true, 2), (false, 2)] {
        let BumpOutcome::Bumped(bumped) = fixture.storage.bump(&bump).await.unwrap() else { panic!() };
        assert_eq!((bumped.applied, bumped.epochs.user.unwrap().version), (applied, version));
    }
    assert!(matches!(
        fixture.storage.bump(&bump.clone().expecting(7)).await.unwrap(),
        BumpOutcome::Conflict { version: 2 }
    ));
    assert_eq!(read(&fixture, &alice).await.state(at(1), LivePolicy::TRACKED), State::RotatedOut);
    assert_eq!(fixture.storage.touch(&[Touch::new(alice.key(), at(2), at(9))], at(2)).await.unwrap().touched, 0);

    let global = Bump::new(BumpTarget::Global { grace: Duration::from_millis(10) }, INCARNATIONS, at(5));
    fixture.storage.bump(&global).await.unwrap();
    for (now, state) in [(14, State::Live), (15, State::RotatedOut)] {
        assert_eq!(read(&fixture, &bob).await.state(at(now), LivePolicy::TRACKED), state, "{now}");
        let live = u64::from(state.is_live());
        assert_eq!(fixture.storage.count(&Query::of(user("bob"), at(now))).await.unwrap().value, live);
        assert_eq!(
            fixture.storage.touch(&[Touch::new(bob.key(), at(now), at(500_100))], at(now)).await.unwrap().touched,
            live
        );
    }
    let mut anew = global.anew();
    anew.incarnations.global = 77;
    fixture.storage.bump(&anew).await.unwrap();
    let epochs = fixture.storage.epochs(None).await.unwrap().global.unwrap();
    assert_eq!((epochs.epoch, epochs.grace_until), (Epoch::first(77), None));
    assert_eq!(read(&fixture, &bob).await.state(at(6), LivePolicy::TRACKED), State::EpochLost);
    let missing = Bump::new(BumpTarget::User { user: user("carol"), keep: None }, INCARNATIONS, at(1));
    let BumpOutcome::Bumped(bumped) = fixture.storage.bump(&missing).await.unwrap() else { panic!() };
    assert_eq!((bumped.before, bumped.epochs.user.unwrap()), (None, Epoch::first(INCARNATIONS.user).next()));
}

#[tokio::test]
async fn a_refresh_goes_through_the_whole_table() {
    let fixture = Fixture::new().await;
    let session = fixture.sign_in("alice", 0).await;
    let step = async |presented, now| {
        fixture.storage.advance(&Advance::new(session.key(), presented, GRACE, at(now))).await.unwrap()
    };
    assert!(
        matches!(step(1, 1).await, AdvanceOutcome::Advanced(s) if s.control.generation == 2 && s.control.previous_rotated_at == at(0))
    );
    assert!(matches!(step(1, 10_000).await, AdvanceOutcome::Converge(_)));
    assert!(matches!(step(1, 10_001).await, AdvanceOutcome::Behind(_)));
    assert!(matches!(step(0, 10_001).await, AdvanceOutcome::BelowFloor(_)));
    assert!(matches!(step(9, 10_001).await, AdvanceOutcome::Ahead(s) if s.control.generation == 10));
    assert!(matches!(step(u64::MAX, 10_002).await, AdvanceOutcome::Ahead(s) if s.control.generation == u64::MAX));
    let stored = read(&fixture, &session).await;
    assert_eq!(
        (stored.control.generation, stored.control.version, stored.control.rotated_at),
        (u64::MAX, 4, at(10_002))
    );
    assert!(matches!(step(u64::MAX, 500_000).await, AdvanceOutcome::Ended(State::Idle, _)));
    let missing = Advance::new(record("x", 0).session.key(), 1, GRACE, at(0));
    assert!(matches!(fixture.storage.advance(&missing).await.unwrap(), AdvanceOutcome::Missing));
}

#[tokio::test]
async fn a_touch_is_monotonic_and_bounded() {
    let fixture = Fixture::new().await;
    let session = fixture.sign_in("alice", 0).await;
    let cases = [
        (10, 2_000_000, 1, 10, 1_000_000),
        (10, 2_000_000, 0, 10, 1_000_000),
        (9, 1, 0, 10, 1_000_000),
        (20, 1, 1, 20, 1_000_000),
    ];
    for (seen, idle, touched, last, deadline) in cases {
        let report = fixture.storage.touch(&[Touch::new(session.key(), at(seen), at(idle))], at(20)).await.unwrap();
        let control = read(&fixture, &session).await.control;
        assert_eq!(
            (report.touched, control.last_activity, control.idle_expires_at),
            (touched, at(last), at(deadline)),
            "{seen}"
        );
        assert_eq!(control.version, 1);
    }
}

#[tokio::test]
async fn revocation_finds_its_targets() {
    let fixture = Fixture::new().await;
    let session = fixture.storage.insert(&insert(rich("alice", 0), 9, 0)).await.unwrap();
    let InsertOutcome::Inserted { snapshot, .. } = session else { panic!() };
    let revoke = async |target| {
        fixture.storage.revoke(&Revoke::new(target, RevocationReason::LOGOUT, Actor::System, at(1))).await.unwrap()
    };
    let foreign = revoke(RevokeTarget::One { key: snapshot.key(), owner: Some(user("bob")) }).await;
    assert_eq!((foreign.sessions.len(), foreign.already_ended), (0, 0));
    let external = ExternalId { issuer: "idp".into(), sid: "sid-0".into() };
    assert_eq!(revoke(RevokeTarget::External(external.clone())).await.sessions.len(), 1);
    assert_eq!(revoke(RevokeTarget::External(external)).await.already_ended, 1);
    let (one, two) = (fixture.sign_in("alice", 1).await, fixture.sign_in("alice", 2).await);
    let others = revoke(RevokeTarget::User { user: user("alice"), except: Some(one.session.id) }).await;
    assert_eq!(others.sessions.iter().map(|ended| ended.session.id).collect::<Vec<_>>(), [two.session.id]);
    assert_eq!(fixture.storage.epochs(Some(&user("alice"))).await.unwrap().user.unwrap().version, 1);
    let bob = fixture.sign_in("bob", 0).await;
    let all = revoke(RevokeTarget::Matching { user: None, filter: SessionFilter::including_ended() }).await;
    assert_eq!(all.sessions.len(), 2);
    assert!(read(&fixture, &bob).await.revocation().is_some());
    revoke(RevokeTarget::User { user: user("alice"), except: None }).await;
    assert_eq!(fixture.storage.epochs(Some(&user("alice"))).await.unwrap().user.unwrap().version, 2);
    revoke(RevokeTarget::User { user: user("nobody"), except: None }).await;
    assert_eq!(fixture.storage.epochs(Some(&user("nobody"))).await.unwrap().user, None);
}

#[tokio::test]
async fn a_thousand_sessions_end_in_one_step() {
    let fixture = Fixture::new().await;
    for number in 0..300 {
        fixture.sign_in(&format!("user{number}"), number).await;
    }
    let target = RevokeTarget::Matching { user: None, filter: SessionFilter::new() };
    let revoked =
        fixture.storage.revoke(&Revoke::new(target, RevocationReason::BY_ADMIN, Actor::System, at(400))).await.unwrap();
    assert_eq!(revoked.sessions.len(), 300);
    assert_eq!(fixture.storage.count(&Query::everybody(at(401))).await.unwrap().value, 0);
}

#[tokio::test]
async fn clean_up_is_bounded_and_uses_its_indexes() {
    let fixture = Fixture::new().await;
    let (idle, live) = (fixture.sign_in("alice", 0).await, fixture.sign_in("alice", 600_000).await);
    let revoked = fixture.sign_in("bob", 600_000).await;
    let target = RevokeTarget::One { key: revoked.key(), owner: None };
    fixture.storage.revoke(&Revoke::new(target, RevocationReason::LOGOUT, Actor::System, at(600_001))).await.unwrap();
    assert!(fixture.storage.remember_once(&OnceKey::parse("a").unwrap(), at(0), at(5)).await.unwrap());
    let purge = Purge::new(PurgeScope::EndedBefore(at(600_002)), 1, at(700_000));
    let (one, two) = (fixture.storage.purge(&purge).await.unwrap(), fixture.storage.purge(&purge).await.unwrap());
    assert_eq!((one.more, two.more, fixture.storage.purge(&purge).await.unwrap().sessions.len()), (true, false, 0));
    let mut states: Vec<_> =
        one.sessions.iter().chain(&two.sessions).map(|ended| (ended.session.id, ended.state)).collect();
    states.sort_by_key(|(id, _)| *id);
    assert_eq!(
        states,
        [(idle.session.id, State::Idle), (revoked.session.id, State::Revoked)]
            .into_iter()
            .collect::<std::collections::BTreeMap<_, _>>()
            .into_iter()
            .collect::<Vec<_>>()
    );
    assert_eq!(
        sqlx::query("SELECT COUNT(*) FROM session_once").fetch_one(&fixture.pool).await.unwrap().get::<i64, _>(0),
        0
    );
    let user = Purge::new(PurgeScope::User(user("alice")), 10, at(700_000));
    let gone = fixture.storage.purge(&user).await.unwrap();
    assert_eq!((gone.sessions.len(), gone.sessions[0].state), (1, State::Live));
    assert!(fixture.storage.read(&live.key(), Consistency::Latest).await.unwrap().is_none());

    let plan = "EXPLAIN QUERY PLAN SELECT s.id FROM sessions AS s WHERE (s.revoked_at < ?1 OR s.expires_at < ?2 OR s.idle_expires_at < ?3) LIMIT 9";
    let rows = sqlx::query(AssertSqlSafe(plan.to_owned())).fetch_all(&fixture.pool).await.unwrap();
    let plan: Vec<String> = rows.iter().map(|row| row.get::<String, _>(3)).collect();
    assert!(plan.iter().all(|step| !step.starts_with("SCAN")), "{plan:?}");
}

#[tokio::test]
async fn the_feed_is_complete_and_ordered() {
    let fixture = Fixture::new().await;
    let feed = fixture.storage.feed().unwrap();
    let subjects =
        [Subject::Session(record("alice", 0).session.id), Subject::User(user("alice").locator()), Subject::Global];
    let notices: Vec<_> = subjects
        .iter()
        .flat_map(|subject| [Phase::Intent, Phase::Done].map(|phase| Notice::new(*subject, phase, at(5))))
        .collect();
    feed.announce(&notices).await.unwrap();
    let first = feed.since(None, 4, at(9)).await.unwrap();
    let second = feed.since(Some(&first.next), 4, at(9)).await.unwrap();
    assert_eq!((first.complete, second.complete), (false, true));
    assert_eq!([first.notices, second.notices].concat(), notices);
    let idle = feed.since(Some(&second.next), 4, at(9)).await.unwrap();
    assert_eq!((idle.notices.len(), &idle.next), (0, &second.next));
    let bad = session_manager_core::storage::FeedCursor("x".into());
    assert_eq!(feed.since(Some(&bad), 4, at(9)).await.unwrap_err().kind(), ErrorKind::InvalidCursor);
}

#[tokio::test]
async fn a_scan_moves_everything_elsewhere() {
    let (from, to) = (Fixture::new().await, Fixture::new().await);
    for number in 0..7 {
        from.sign_in(&format!("user{}", number % 3), number).await;
    }
    from.storage.bump(&Bump::new(BumpTarget::Global { grace: GRACE }, INCARNATIONS, at(10))).await.unwrap();
    let (source, target) = (from.storage.scan().unwrap(), to.storage.scan().unwrap());
    let mut cursor = None;
    let mut all = Vec::new();
    loop {
        let page = source.scan(cursor.as_ref(), 3).await.unwrap();
        for snapshot in &page.sessions {
            assert_eq!(target.put(snapshot).await.unwrap(), PutOutcome::Written);
            assert_eq!(target.put(snapshot).await.unwrap(), PutOutcome::Kept);
        }
        all.extend(page.sessions);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(all.len(), 7);
    for snapshot in &all {
        assert_eq!(&read(&to, snapshot).await, snapshot);
    }
}

#[tokio::test]
async fn clean_up_forgets_in_bounded_steps() {
    let feed = FeedTable::new("session_feed").retention(Duration::from_millis(3));
    let fixture = Fixture::with(full().feed(feed)).await;
    for number in 0..300 {
        let key = OnceKey::parse(&format!("k{number}")).unwrap();
        assert!(fixture.storage.remember_once(&key, at(0), at(if number < 290 { 5 } else { 50 })).await.unwrap());
    }
    let notices = [Notice::new(Subject::Global, Phase::Done, at(1)), Notice::new(Subject::Global, Phase::Done, at(9))];
    fixture.storage.feed().unwrap().announce(&notices).await.unwrap();
    for left in [44, 10, 10] {
        fixture.storage.purge(&Purge::new(PurgeScope::EndedBefore(at(2)), 1, at(5))).await.unwrap();
        let row = sqlx::query("SELECT COUNT(*) FROM session_once").fetch_one(&fixture.pool).await.unwrap();
        assert_eq!(row.get::<i64, _>(0), left);
    }
    let batch = fixture.storage.feed().unwrap().since(None, 9, at(9)).await.unwrap();
    assert_eq!(batch.notices, notices[1..]);
}

#[tokio::test]
async fn a_session_named_twice_is_touched_once() {
    let fixture = Fixture::new().await;
    let session = fixture.sign_in("alice", 0).await;
    let batch = [10, 30, 20].map(|seen| Touch::new(session.key(), at(seen), at(500_000 + seen)));
    let report = fixture.storage.touch(&batch, at(30)).await.unwrap();
    let control = read(&fixture, &session).await.control;
    assert_eq!((report.touched, report.skipped), (1, 2));
    assert_eq!((control.last_activity, control.idle_expires_at), (at(30), at(500_030)));
}

/// Repeating a new incarnation does not end the tokens that the kept session got by the first call.
#[tokio::test]
async fn a_repeated_incarnation_moves_nothing() {
    let fixture = Fixture::new().await;
    let kept = fixture.sign_in("alice", 0).await;
    let mut bump =
        Bump::new(BumpTarget::User { user: user("alice"), keep: Some(kept.session.id) }, INCARNATIONS, at(1));
    bump.incarnations.user = 5;
    for applied in [true, false] {
        let outcome = fixture.storage.bump(&bump.clone().anew().expecting(1)).await.unwrap();
        let BumpOutcome::Bumped(bumped) = outcome else { panic!("{outcome:?}") };
        let control = bumped.kept.unwrap().control;
        assert_eq!((bumped.applied, bumped.epochs.user, control.floor), (applied, Some(Epoch::first(5)), 3));
    }
    assert_eq!(read(&fixture, &kept).await.state(at(2), LivePolicy::TRACKED), State::Live);
}

#[tokio::test]
async fn a_put_that_is_kept_changes_nothing() {
    let fixture = Fixture::new().await;
    fixture.storage.insert(&insert(rich("alice", 0), 9, 0)).await.unwrap();
    let stored = fixture.storage.list(&Query::of(user("alice"), at(1))).await.unwrap().sessions.remove(0);
    let mut foreign = stored.clone();
    let mut session = (*record("bob", 0).session).clone();
    session.id = stored.session.id;
    (foreign.session, foreign.control.version) = (session.into(), 99);
    foreign.epochs.user = Some(Epoch { incarnation: 4, version: 9 });
    assert_eq!(fixture.storage.scan().unwrap().put(&foreign).await.unwrap(), PutOutcome::Kept);
    assert_eq!(fixture.storage.epochs(Some(&user("bob"))).await.unwrap().user, None);
    assert_eq!(read(&fixture, &stored).await, stored);
}
