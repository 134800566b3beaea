//! Checks of `revoke`: every target, ownership, repetition, and that one end is reported once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use session_manager_core::storage::{EndedSession, Revoke, RevokeTarget, Revoked, SessionFilter};
use session_manager_core::{Actor, DeviceKind, RevocationReason, SessionId, SessionStorage, State};

use super::ability::needs;
use super::concurrency::at_once;
use super::run::CheckOutcome::{self, Passed};
use crate::fixture::{Fixture, user};
use crate::session::external;

fn ended(revoked: &Revoked) -> BTreeSet<SessionId> {
    revoked.sessions.iter().map(|ended| ended.session.id).collect()
}

/// A revocation is stored with its time, reason and author, raises the version by one, and is returned.
pub async fn revocation_is_stored_and_returned(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    let lab = Fixture::new(storage);
    let before = lab.store(lab.session(&user("alice")).with_everything()).await;
    lab.tick(17);
    let reason = RevocationReason::parse("stolen laptop – “Büro”").expect("a reason");
    let by = Actor::User(user("admin"));
    let target = RevokeTarget::One { key: before.key(), owner: Some(user("alice")) };
    let request = Revoke::new(target, reason, by, lab.now());
    let revoked = lab.storage().revoke(&request).await.unwrap();
    let mut expected = before.clone();
    expected.control.version += 1;
    expected.control.revocation = Some(Arc::new(request.revocation));
    assert_eq!(lab.reread(&before).await, expected);
    assert_eq!(revoked.already_ended, 0);
    assert_eq!(revoked.sessions, [EndedSession::new(expected.session, State::Revoked, expected.control.revocation)]);
    Passed
}

/// Revoking again keeps the first time, reason and author, and ends nothing a second time.
pub async fn revoking_again_keeps_the_first_reason(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    let lab = Fixture::new(storage);
    let alice = user("alice");
    let snapshot = lab.store(lab.session(&alice).external("sid")).await;
    lab.logout(&snapshot).await;
    let first = lab.reread(&snapshot).await;
    lab.tick(1_000);
    let mut targets = vec![
        RevokeTarget::One { key: snapshot.key(), owner: None },
        RevokeTarget::User { user: alice.clone(), except: Some(lab.session(&alice).record().session.id) },
        RevokeTarget::Matching { user: Some(alice.clone()), filter: SessionFilter::including_ended() },
    ];
    if lab.storage().capabilities().external {
        targets.push(RevokeTarget::External(external("sid")));
    }
    for target in targets {
        let exact = matches!(target, RevokeTarget::One { .. } | RevokeTarget::External(_));
        let request = Revoke::new(target, RevocationReason::BY_ADMIN, Actor::System, lab.now());
        let revoked = lab.storage().revoke(&request).await.unwrap();
        assert!(revoked.sessions.is_empty(), "{request:?}");
        assert!(!exact || revoked.already_ended == 1, "{request:?}: {revoked:?}");
        assert_eq!(lab.reread(&snapshot).await, first, "{request:?}");
    }
    Passed
}

/// A session that ended by time keeps that end: it is not revoked afterwards.
pub async fn timed_out_sessions_are_not_revoked(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    let lab = Fixture::new(storage);
    let alice = user("alice");
    let idle = lab.store(lab.session(&alice).idle(Some(Duration::from_millis(500)))).await;
    lab.tick(500);
    let revoked = lab.logout(&idle).await;
    assert_eq!((revoked.sessions.len(), revoked.already_ended), (0, 1));
    let revoked = lab.revoke(RevokeTarget::User { user: alice, except: None }).await;
    assert!(revoked.sessions.is_empty());
    assert_eq!(lab.reread(&idle).await.control, idle.control);
    Passed
}

/// Another user's session counts as absent: not ended, and not told from one that never was.
pub async fn foreign_sessions_count_as_absent(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    let lab = Fixture::new(storage);
    let snapshot = lab.login(&user("alice")).await;
    let absent = lab.session(&user("alice")).record().session.key();
    for round in 0..2 {
        for (key, owner) in [
            (snapshot.key(), Some(user("bob"))),
            (snapshot.session.id.into(), Some(user("Alice"))),
            (absent, Some(user("alice"))),
            (absent, None),
        ] {
            let revoked = lab.revoke(RevokeTarget::One { key, owner: owner.clone() }).await;
            assert_eq!((revoked.sessions.len(), revoked.already_ended), (0, 0), "round {round}, owner {owner:?}");
        }
        let expected = if round == 0 { State::Live } else { State::Revoked };
        assert_eq!(lab.state(&snapshot).await, expected);
        // In the second round the session has ended, and a stranger still learns nothing of it.
        let key = snapshot.session.id.into();
        lab.revoke(RevokeTarget::One { key, owner: Some(user("alice")) }).await;
    }
    Passed
}

/// Revoking a user ends all of theirs and nobody else's.
pub async fn revoke_user_ends_all_of_theirs(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    let lab = Fixture::new(storage);
    let (alice, bob) = (user("alice"), user("bob"));
    let mut theirs = BTreeSet::new();
    for _ in 0..12 {
        theirs.insert(lab.login(&alice).await.session.id);
    }
    let other = lab.login(&bob).await;
    let revoked = lab.revoke(RevokeTarget::User { user: alice.clone(), except: None }).await;
    assert_eq!((ended(&revoked), revoked.sessions.len()), (theirs, 12));
    assert!(revoked.sessions.iter().all(|ended| ended.state == State::Revoked && ended.revocation.is_some()));
    assert!(lab.live_ids(&alice).await.is_empty());
    assert_eq!(lab.reread(&other).await, other);
    lab.login(&alice).await;
    assert_eq!(lab.live_ids(&alice).await.len(), 1, "a new sign-in lives");
    Passed
}

/// Revoking all but one keeps that one, unchanged; one that is not the user's protects nothing.
pub async fn revoke_user_keeps_the_excepted_one(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    let lab = Fixture::new(storage);
    let (alice, bob) = (user("alice"), user("bob"));
    let kept = lab.login(&alice).await;
    let gone = BTreeSet::from([lab.login(&alice).await.session.id, lab.login(&alice).await.session.id]);
    let foreign = lab.login(&bob).await;
    let revoked = lab.revoke(RevokeTarget::User { user: alice.clone(), except: Some(kept.session.id) }).await;
    assert_eq!(ended(&revoked), gone);
    assert_eq!(lab.reread(&kept).await, kept, "the kept session is not touched, nor is its epoch");
    let revoked = lab.revoke(RevokeTarget::User { user: alice, except: Some(foreign.session.id) }).await;
    assert_eq!(ended(&revoked), BTreeSet::from([kept.session.id]));
    assert_eq!(lab.state(&foreign).await, State::Live);
    Passed
}

/// Revoking a user without exception raises the epoch, so that sessions an index has lost end too; with one it does not.
pub async fn revoke_user_raises_the_epoch(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    needs!(storage, Epochs);
    let lab = Fixture::new(storage);
    let alice = user("alice");
    let snapshot = lab.login(&alice).await;
    let epoch = snapshot.epochs.user.expect("an epoch");
    lab.revoke(RevokeTarget::User { user: alice.clone(), except: Some(snapshot.session.id) }).await;
    assert_eq!(lab.storage().epochs(Some(&alice)).await.unwrap().user, Some(epoch));
    lab.revoke(RevokeTarget::User { user: alice.clone(), except: None }).await;
    assert_eq!(lab.storage().epochs(Some(&alice)).await.unwrap().user, Some(epoch.next()));
    let global = lab.storage().epochs(None).await.unwrap();
    assert_eq!((global.user, global.global), (None, snapshot.epochs.global), "and nobody else's");
    lab.revoke(RevokeTarget::User { user: user("nobody"), except: None }).await;
    assert_eq!(lab.storage().epochs(Some(&user("nobody"))).await.unwrap().user, None, "nothing is created");
    Passed
}

/// A session is found and ended by its name elsewhere, exactly.
pub async fn revoke_by_external_id(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    needs!(storage, External);
    let lab = Fixture::new(storage);
    let snapshot = lab.store(lab.session(&user("alice")).external("Sid%1")).await;
    let other = lab.store(lab.session(&user("alice")).external("Sid%2")).await;
    for sid in ["sid%1", "Sid%", "Sid_1", "Sid%1 ", ""] {
        let revoked = lab.revoke(RevokeTarget::External(external(sid))).await;
        assert_eq!((revoked.sessions.len(), revoked.already_ended), (0, 0), "{sid:?}");
    }
    let mut elsewhere = external("Sid%1");
    elsewhere.issuer.push('x');
    assert!(lab.revoke(RevokeTarget::External(elsewhere)).await.sessions.is_empty(), "another issuer");
    let revoked = lab.revoke(RevokeTarget::External(external("Sid%1"))).await;
    assert_eq!(ended(&revoked), BTreeSet::from([snapshot.session.id]));
    assert_eq!((lab.state(&snapshot).await, lab.state(&other).await), (State::Revoked, State::Live));
    Passed
}

/// A revocation by a name elsewhere ends all sessions that have it, whosever they are, counts those that had ended before, and ends no other.
pub async fn revoke_by_external_id_ends_all_of_them(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    needs!(storage, External);
    let lab = Fixture::new(storage);
    let (alice, bob) = (user("alice"), user("bob"));
    let mut gone = BTreeSet::new();
    for name in [&alice, &alice, &bob] {
        gone.insert(lab.store(lab.session(name).external("one")).await.session.id);
    }
    let before = lab.store(lab.session(&alice).external("one")).await;
    lab.logout(&before).await;
    let first_end = lab.reread(&before).await;
    let idle = lab.store(lab.session(&bob).external("one").idle(Some(Duration::from_millis(5)))).await;
    let others = [lab.store(lab.session(&alice).external("two")).await, lab.login(&bob).await];
    let epochs = lab.storage().epochs(Some(&alice)).await.unwrap();
    lab.tick(5);
    let revoked = lab.revoke(RevokeTarget::External(external("one"))).await;
    assert_eq!((ended(&revoked), revoked.sessions.len(), revoked.already_ended), (gone.clone(), 3, 2));
    for one in &revoked.sessions {
        assert_eq!(one.state, State::Revoked);
        assert_eq!(lab.state(&lab.find(one.session.id).await.expect("stored")).await, State::Revoked);
    }
    assert_eq!((lab.reread(&before).await, lab.state(&idle).await), (first_end, State::Idle), "ends stay as they were");
    for other in &others {
        assert_eq!(lab.reread(other).await, *other);
    }
    assert_eq!(lab.storage().epochs(Some(&alice)).await.unwrap(), epochs, "nobody's epoch is raised");
    let again = lab.revoke(RevokeTarget::External(external("one"))).await;
    assert_eq!((again.sessions.len(), again.already_ended), (0, 5));
    let newer = lab.store(lab.session(&alice).external("one")).await;
    let revoked = lab.revoke(RevokeTarget::External(external("one"))).await;
    assert_eq!((ended(&revoked), revoked.already_ended), (BTreeSet::from([newer.session.id]), 5));
    Passed
}

/// Of many revocations by one name elsewhere at once, beside sign-ins under it, each session is ended and reported exactly once.
pub async fn concurrent_revocations_by_external_id_end_once(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    needs!(storage, External);
    let lab = Fixture::new(storage);
    for number in 0..6 {
        lab.store(lab.session(&user(&format!("user {}", number % 3))).external("one")).await;
    }
    let answers = at_once(16, |number| {
        let lab = lab.clone();
        async move {
            if number % 4 == 0 {
                lab.store(lab.session(&user("late")).external("one")).await;
                return Revoked::default();
            }
            lab.revoke(RevokeTarget::External(external("one"))).await
        }
    })
    .await;
    let rest = lab.revoke(RevokeTarget::External(external("one"))).await;
    let all = answers.iter().chain([&rest]).flat_map(|revoked| &revoked.sessions);
    let reported: Vec<_> = all.map(|one| one.session.id).collect();
    let distinct: BTreeSet<_> = reported.iter().copied().collect();
    assert_eq!((reported.len(), distinct.len()), (10, 10));
    Passed
}

/// A revocation by filter ends what the filter means, of one user.
pub async fn revoke_matching_ends_what_the_filter_means(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    let lab = Fixture::new(storage);
    let alice = user("alice");
    let phone = lab.store(lab.session(&alice).device(DeviceKind::Phone)).await;
    let desktop = lab.store(lab.session(&alice).device(DeviceKind::Desktop)).await;
    let foreign = lab.store(lab.session(&user("bob")).device(DeviceKind::Phone)).await;
    let mut filter = SessionFilter::new();
    filter.device = Some(DeviceKind::Phone);
    let revoked = lab.revoke(RevokeTarget::Matching { user: Some(alice), filter }).await;
    assert_eq!(ended(&revoked), BTreeSet::from([phone.session.id]));
    assert_eq!((lab.state(&desktop).await, lab.state(&foreign).await), (State::Live, State::Live));
    Passed
}

/// A revocation by filter reaches everybody where no user is named.
pub async fn revoke_matching_reaches_everybody(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    needs!(storage, ListAll);
    let lab = Fixture::new(storage);
    let mut gone = BTreeSet::new();
    for name in ["alice", "bob", "carol"] {
        gone.insert(lab.store(lab.session(&user(name)).place("DE", "Köln")).await.session.id);
        lab.store(lab.session(&user(name)).place("FR", "Paris")).await;
    }
    let mut filter = SessionFilter::new();
    filter.country = Some("DE".to_owned());
    let revoked = lab.revoke(RevokeTarget::Matching { user: None, filter }).await;
    assert_eq!(ended(&revoked), gone);
    for name in ["alice", "bob", "carol"] {
        assert_eq!(lab.live_ids(&user(name)).await.len(), 1, "{name}");
    }
    Passed
}

/// Of many revocations at once, each session is ended and reported exactly once.
pub async fn concurrent_revocations_end_once(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    let lab = Fixture::new(storage);
    let alice = user("alice");
    let mut all = Vec::new();
    for _ in 0..8 {
        all.push(lab.login(&alice).await);
    }
    let answers = at_once(24, |number| {
        let (lab, snapshot) = (lab.clone(), all[number % all.len()].clone());
        async move {
            if number % 3 == 0 {
                lab.revoke(RevokeTarget::User { user: user("alice"), except: None }).await
            } else {
                lab.logout(&snapshot).await
            }
        }
    })
    .await;
    let reported: Vec<_> = answers.iter().flat_map(|revoked| &revoked.sessions).map(|one| one.session.id).collect();
    let distinct: BTreeSet<_> = reported.iter().copied().collect();
    assert_eq!((reported.len(), distinct.len()), (8, 8));
    Passed
}
