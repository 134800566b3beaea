//! Checks of `insert`: what it stores, that it is idempotent, and that nothing is taken twice.

use std::collections::BTreeSet;
use std::sync::Arc;

use session_manager_core::storage::{
    AdvanceOutcome, InsertOutcome, OnLimit, Query, RevokeTarget, SessionLimit, SessionPatch, UpdateOutcome,
};
use session_manager_core::{Control, Seed, SessionRecord, SessionStorage, State};

use super::ability::needs;
use super::concurrency::at_once;
use super::run::CheckOutcome::{self, Passed};
use crate::fixture::{Fixture, ids, inserted, user};
use crate::session::external;

/// Every field of a session and of its control part reads back as it was written, stamped with both epochs.
pub async fn inserted_session_reads_back_in_full(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    let lab = Fixture::new(storage);
    lab.tick(123);
    for builder in [lab.session(&user("alice")).with_everything(), lab.session(&user("bob")).idle(None)] {
        let sent = builder.record();
        let answered = inserted(lab.storage().insert(&lab.insert_of(sent.clone())).await.unwrap());
        let read = lab.find(sent.session.key()).await.expect("it is stored");
        assert_eq!(answered, read, "the answer is what a read gives");
        assert_eq!(*read.session, *sent.session);
        let mut expected = sent.control.clone();
        expected.stamped = read.control.stamped;
        assert_eq!(read.control, expected);
        if lab.storage().capabilities().epochs {
            assert_eq!(read.control.stamped, read.epochs.stamp());
            assert!(read.control.stamped.is_some(), "stamped");
        }
        assert_eq!(read.state(lab.now(), lab.live()), State::Live);
    }
    Passed
}

/// The same id with the same seed is the same insert, however the session has gone on since: nothing changes.
pub async fn insert_is_idempotent(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    let lab = Fixture::new(storage);
    let alice = user("alice");
    let insert = lab.insert_of(lab.session(&alice).record());
    let first = inserted(lab.storage().insert(&insert).await.unwrap());
    for step in 0..3 {
        match step {
            0 => {}
            1 => drop(lab.advance(&first, 1).await),
            _ => drop(lab.logout(&first).await),
        }
        let before = lab.reread(&first).await;
        match lab.storage().insert(&insert).await.unwrap() {
            InsertOutcome::Inserted { snapshot, evicted } => {
                assert_eq!(snapshot, before, "step {step}");
                assert_eq!(evicted, []);
            }
            other => panic!("step {step}: {other:?}"),
        }
        assert_eq!(lab.reread(&first).await, before, "step {step}");
    }
    assert_eq!(lab.stored(&alice).await.len(), 1);
    Passed
}

/// Repeating an insert does not make room for a session that is there already.
pub async fn repeated_insert_evicts_nothing(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    needs!(storage, Cap);
    let lab = Fixture::new(storage);
    let alice = user("alice");
    let older = lab.login(&alice).await;
    lab.tick(1);
    let mut insert = lab.insert_of(lab.session(&alice).record());
    insert.limit = SessionLimit::new(2, OnLimit::EvictOldest);
    let newer = inserted(lab.storage().insert(&insert).await.unwrap());
    for _ in 0..3 {
        inserted(lab.storage().insert(&insert).await.unwrap());
    }
    assert_eq!(lab.live_ids(&alice).await, ids(&[older, newer]));
    Passed
}

/// An id that another session has is refused, and that session is untouched.
pub async fn same_id_with_another_seed_is_refused(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    let lab = Fixture::new(storage);
    let alice = user("alice");
    let first = lab.store(lab.session(&alice).with_everything()).await;
    let mut control = Control::new(Seed::from_bytes([7; 32]), lab.now(), lab.now());
    control.idle_expires_at = first.control.idle_expires_at;
    let other = SessionRecord::new(Arc::clone(&first.session), control);
    let outcome = lab.storage().insert(&lab.insert_of(other)).await.unwrap();
    assert!(matches!(outcome, InsertOutcome::DuplicateId), "{outcome:?}");
    let theirs = lab.session(&alice).id(first.session.id).record();
    let outcome = lab.storage().insert(&lab.insert_of(theirs)).await.unwrap();
    assert!(matches!(outcome, InsertOutcome::DuplicateId), "{outcome:?}");
    assert_eq!(lab.reread(&first).await, first);
    Passed
}

/// Sessions may have one name elsewhere, also of one user and beside an ended one; one limit counts them like any others.
pub async fn sessions_may_share_an_external_id(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    let lab = Fixture::new(storage);
    let alice = user("alice");
    let ended = lab.store(lab.session(&alice).external("one")).await;
    lab.logout(&ended).await;
    // The browser signs in again under the provider's session, and so does another application.
    let (again, beside) =
        (lab.store(lab.session(&alice).external("one")).await, lab.store(lab.session(&alice).external("one")).await);
    let other = lab.store(lab.session(&user("bob")).external("one")).await;
    for snapshot in [&again, &beside, &other] {
        assert_eq!(lab.reread(snapshot).await, *snapshot);
        assert_eq!(lab.state(snapshot).await, State::Live);
    }
    assert_eq!(lab.state(&ended).await, State::Revoked);
    let insert = lab.insert_of(lab.session(&alice).external("one").record());
    for _ in 0..2 {
        inserted(lab.storage().insert(&insert).await.unwrap());
    }
    assert_eq!((lab.live_ids(&alice).await.len(), lab.stored(&alice).await.len()), (3, 4));
    if lab.storage().capabilities().cap {
        lab.tick(1);
        let mut insert = lab.insert_of(lab.session(&alice).external("one").record());
        insert.limit = SessionLimit::new(1, OnLimit::EvictOldest);
        let newest = inserted(lab.storage().insert(&insert).await.unwrap());
        assert_eq!(lab.live_ids(&alice).await, ids(&[newest]));
        assert_eq!(lab.state(&other).await, State::Live, "a name of one user's is no place of another's");
    }
    Passed
}

/// Of many sign-ins under one name elsewhere at once, of one user and of many, every one is stored.
pub async fn concurrent_logins_share_an_external_id(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    let lab = Fixture::new(storage);
    at_once(24, |number| {
        let lab = lab.clone();
        async move { lab.store(lab.session(&user(&format!("user {}", number % 4))).external("one")).await }
    })
    .await;
    for number in 0..4 {
        assert_eq!(lab.live_ids(&user(&format!("user {number}"))).await.len(), 6);
    }
    if lab.storage().capabilities().external {
        assert_eq!(lab.revoke(RevokeTarget::External(external("one"))).await.sessions.len(), 24);
    }
    Passed
}

/// Of many inserts of one id at once, those with one seed are one session, and of many seeds exactly one wins.
pub async fn concurrent_inserts_of_one_id_store_one(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    let lab = Fixture::new(storage);
    let alice = user("alice");
    let insert = lab.insert_of(lab.session(&alice).record());
    let answers = at_once(16, |_| {
        let (lab, insert) = (lab.clone(), insert.clone());
        async move { lab.storage().insert(&insert).await.unwrap() }
    })
    .await;
    let first: Vec<_> = answers.into_iter().map(inserted).collect();
    assert!(first.iter().all(|snapshot| *snapshot == first[0]));

    let id = lab.session(&alice).record().session.id;
    let answers = at_once(16, |_| {
        let lab = lab.clone();
        let insert = lab.insert_of(lab.session(&user("alice")).id(id).record());
        async move { lab.storage().insert(&insert).await.unwrap() }
    })
    .await;
    let (won, lost): (Vec<_>, Vec<_>) =
        answers.iter().partition(|answer| matches!(answer, InsertOutcome::Inserted { .. }));
    assert_eq!(won.len(), 1, "{won:?}");
    assert!(lost.iter().all(|answer| matches!(answer, InsertOutcome::DuplicateId)), "{lost:?}");
    assert_eq!(lab.stored(&alice).await.len(), 2);
    Passed
}

/// Missing epoch records begin with the proposed incarnations, also the largest, and stay as they are.
pub async fn missing_epochs_are_created_as_proposed(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    needs!(storage, Epochs);
    let lab = Fixture::new(storage);
    let alice = user("alice");
    let before = lab.storage().epochs(Some(&alice)).await.unwrap();
    assert_eq!((before.user, before.global), (None, None), "an empty storage has no epochs");
    let mut insert = lab.insert_of(lab.session(&alice).record());
    (insert.incarnations.user, insert.incarnations.global) = (u64::MAX, u64::MAX - 1);
    let snapshot = inserted(lab.storage().insert(&insert).await.unwrap());
    let stamp = snapshot.control.stamped.expect("a stamp");
    assert_eq!((stamp.user.incarnation, stamp.user.version), (u64::MAX, 1));
    assert_eq!((stamp.global.incarnation, stamp.global.version), (u64::MAX - 1, 1));
    let second = lab.login(&alice).await;
    assert_eq!(second.control.stamped, Some(stamp), "existing records are not replaced");
    let bob = lab.login(&user("bob")).await.control.stamped.expect("a stamp");
    assert_eq!(bob.global, stamp.global);
    assert_ne!(bob.user, stamp.user);
    Passed
}

/// First sign-ins of many users at once agree on one global epoch, and those of one user on one epoch of theirs.
pub async fn concurrent_first_logins_agree_on_the_epochs(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    needs!(storage, Epochs);
    let lab = Fixture::new(storage);
    let snapshots = at_once(24, |number| {
        let lab = lab.clone();
        async move { lab.login(&user(&format!("user {}", number % 6))).await }
    })
    .await;
    for snapshot in &snapshots {
        assert_eq!(lab.state(snapshot).await, State::Live, "no session is born with an epoch that lost the race");
    }
    Passed
}

/// A hundred sign-ins of one user at once are all stored, listed and counted.
pub async fn hundred_concurrent_logins_are_all_listed(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    let lab = Fixture::new(storage);
    let alice = user("alice");
    let snapshots = at_once(100, |_| {
        let lab = lab.clone();
        async move { lab.login(&user("alice")).await }
    })
    .await;
    let mut query = Query::of(alice, lab.now());
    query = query.limited(200);
    let page = lab.storage().list(&query).await.unwrap();
    assert_eq!(ids(&page.sessions), ids(&snapshots));
    assert_eq!((page.sessions.len(), page.next), (100, None));
    assert_eq!(lab.storage().count(&query).await.unwrap().value, 100);
    Passed
}

/// Users are distinguished by the exact bytes of their ids: case, spaces and accents count.
pub async fn users_are_told_apart_by_their_bytes(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    let lab = Fixture::new(storage);
    let longest = "x".repeat(128);
    let names = ["bob", "Bob", "bob ", " bob", "bo%", "bób", "bo\u{301}b", "b_b", "ＢＯＢ", "1", "01", &longest];
    let mut seen = BTreeSet::new();
    for name in names {
        seen.insert(lab.login(&user(name)).await.session.id);
    }
    assert_eq!(seen.len(), names.len());
    for name in names {
        let theirs = lab.list_all(Query::of(user(name), lab.now())).await;
        assert_eq!(theirs.len(), 1, "{name:?} has one session");
        assert_eq!(theirs[0].session.user_id.as_str(), name);
    }
    lab.revoke(RevokeTarget::User { user: user("bob"), except: None }).await;
    for name in names {
        let live = lab.live_ids(&user(name)).await.len();
        assert_eq!(live, usize::from(name != "bob"), "{name:?} after bob signed out");
    }
    Passed
}

/// What comes back from a change is what a read gives afterwards.
pub async fn answers_are_what_a_read_gives(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    let lab = Fixture::new(storage);
    let snapshot = lab.store(lab.session(&user("alice")).with_everything()).await;
    lab.tick(5);
    match lab.advance(&snapshot, 1).await {
        AdvanceOutcome::Advanced(answer) => {
            assert_eq!(answer, lab.reread(&snapshot).await);
            let mut patch = SessionPatch::new();
            patch.device_name = Some(Some("new".to_owned()));
            match lab.update(&answer, patch).await {
                UpdateOutcome::Updated(answer) => {
                    assert_eq!(answer, lab.reread(&snapshot).await);
                }
                other => panic!("{other:?}"),
            }
        }
        other => panic!("{other:?}"),
    }
    let revoked = lab.logout(&snapshot).await;
    let read = lab.reread(&snapshot).await;
    assert_eq!(revoked.sessions[0].session, read.session);
    assert_eq!(revoked.sessions[0].revocation, read.control.revocation);
    Passed
}
