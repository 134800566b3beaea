//! Checks of `purge`: only what has ended, bounded, and whatever is asked for by name.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use session_manager_core::clock::after;
use session_manager_core::storage::{Purge, PurgeScope, Purged, RevokeTarget};
use session_manager_core::{SessionId, SessionStorage, State};

use super::ability::needs;
use super::run::CheckOutcome::{self, Passed};
use crate::fixture::{Fixture, ids, user};
use crate::session::external;

async fn purge(lab: &Fixture, scope: PurgeScope, limit: u32) -> Purged {
    lab.storage().purge(&Purge::new(scope, limit, lab.now())).await.unwrap()
}

fn removed(purged: &Purged) -> BTreeSet<SessionId> {
    purged.sessions.iter().map(|ended| ended.session.id).collect()
}

/// What was revoked, or whose deadline lay, before the time goes, to the millisecond; what lives stays, however old.
pub async fn purge_removes_exactly_what_ended_before(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    needs!(storage, CleanUp);
    let lab = Fixture::new(storage);
    let alice = user("alice");
    let begin = lab.now();
    let second = Duration::from_secs(1);
    let logged_out = lab.login(&alice).await;
    let idle = lab.store(lab.session(&alice).idle(Some(second))).await;
    let expired = lab.store(lab.session(&alice).lifetime(second)).await;
    let living = lab.store(lab.session(&alice).idle(None)).await;
    lab.tick(1_000);
    lab.logout(&logged_out).await;
    let end = lab.now();
    lab.set(begin, 20 * 3_600_000);
    assert!(purge(&lab, PurgeScope::EndedBefore(end), 100).await.sessions.is_empty(), "before is strict");
    let purged = purge(&lab, PurgeScope::EndedBefore(after(end, Duration::from_millis(1))), 100).await;
    assert_eq!(removed(&purged), ids(&[logged_out.clone(), idle.clone(), expired.clone()]));
    assert!(!purged.more);
    for (snapshot, state) in [(&logged_out, State::Revoked), (&idle, State::Idle), (&expired, State::Expired)] {
        assert!(lab.find(snapshot.key()).await.is_none());
        let ended = purged.sessions.iter().find(|ended| ended.session.id == snapshot.session.id).expect("reported");
        assert_eq!((ended.state, ended.revocation.is_some()), (state, state == State::Revoked));
        assert_eq!(ended.session, snapshot.session);
    }
    assert_eq!(lab.reread(&living).await, living);
    assert_eq!(ids(&lab.stored(&alice).await), ids(&[living]));
    Passed
}

/// A purge takes no more than its limit, says whether there is more, and repeated comes to an end.
pub async fn purge_is_bounded(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    needs!(storage, CleanUp);
    let lab = Fixture::new(storage);
    for number in 0..10 {
        lab.login(&user(&format!("user {}", number % 4))).await;
    }
    for number in 0..4 {
        lab.revoke(RevokeTarget::User { user: user(&format!("user {number}")), except: None }).await;
    }
    let alive = lab.login(&user("user 0")).await;
    lab.tick(1);
    let mut all = BTreeSet::new();
    for (expected, more) in [(4, true), (4, true), (2, false), (0, false)] {
        let purged = purge(&lab, PurgeScope::EndedBefore(lab.now()), 4).await;
        assert_eq!((purged.sessions.len(), purged.more), (expected, more));
        all.extend(removed(&purged));
    }
    assert_eq!(all.len(), 10);
    assert_eq!(lab.reread(&alive).await.session, alive.session);
    Passed
}

/// When the last of a kind fill the limit exactly, there is no more.
pub async fn purge_knows_when_there_is_no_more(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    needs!(storage, CleanUp);
    let lab = Fixture::new(storage);
    for _ in 0..4 {
        let snapshot = lab.login(&user("alice")).await;
        lab.logout(&snapshot).await;
    }
    lab.tick(1);
    let purged = purge(&lab, PurgeScope::EndedBefore(lab.now()), 4).await;
    assert_eq!((purged.sessions.len(), purged.more), (4, false));
    Passed
}

/// A purge of one removes that one, live or not, and nothing else.
pub async fn purge_of_one_removes_it(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    let lab = Fixture::new(storage);
    let alice = user("alice");
    let (live, over, other) = (lab.login(&alice).await, lab.login(&alice).await, lab.login(&alice).await);
    lab.logout(&over).await;
    for (snapshot, state) in [(&live, State::Live), (&over, State::Revoked)] {
        let purged = purge(&lab, PurgeScope::One(snapshot.key()), 10).await;
        assert_eq!(removed(&purged), BTreeSet::from([snapshot.session.id]));
        assert_eq!(purged.sessions[0].state, state);
        assert!(lab.find(snapshot.key()).await.is_none());
        let again = purge(&lab, PurgeScope::One(snapshot.key()), 10).await;
        assert!(again.sessions.is_empty() && !again.more);
    }
    assert_eq!(ids(&lab.stored(&alice).await), ids(&[other]));
    Passed
}

/// A user's erasure removes everything of theirs but the epoch: their names elsewhere lead to others' sessions only, their old ones stay
/// dead.
pub async fn purge_of_a_user_erases_them(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    let lab = Fixture::new(storage);
    let alice = user("alice");
    let externals = lab.storage().capabilities().external;
    let mut theirs = Vec::new();
    for number in 0..5 {
        let mut session = lab.session(&alice).with_everything();
        session = session.external(&format!("sid {number}"));
        theirs.push(lab.store(session).await);
    }
    lab.logout(&theirs[0]).await;
    let other = lab.store(lab.session(&user("bob")).external("sid 2")).await;
    let epochs = lab.storage().epochs(Some(&alice)).await.unwrap();
    let purged = purge(&lab, PurgeScope::User(alice.clone()), 100).await;
    assert_eq!((removed(&purged), purged.more), (ids(&theirs), false));
    assert!(lab.stored(&alice).await.is_empty());
    for snapshot in &theirs {
        assert!(lab.find(snapshot.key()).await.is_none());
    }
    assert_eq!(lab.storage().epochs(Some(&alice)).await.unwrap(), epochs, "the epoch stays");
    assert_eq!(lab.reread(&other).await, other);
    if externals {
        let revoked = lab.revoke(RevokeTarget::External(external("sid 1"))).await;
        assert_eq!((revoked.sessions.len(), revoked.already_ended), (0, 0), "the name leads nowhere");
        let revoked = lab.revoke(RevokeTarget::External(external("sid 2"))).await;
        assert_eq!((revoked.sessions.len(), revoked.already_ended), (1, 0), "but to whoever shared it");
        lab.store(lab.session(&alice).external("sid 1")).await;
    }
    Passed
}

/// Clean-up beside sign-ins and revocations removes no live session, and none twice.
pub async fn purge_beside_traffic_removes_no_live_session(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    needs!(storage, CleanUp);
    let lab = Fixture::new(storage);
    for _ in 0..20 {
        let snapshot = lab.login(&user("alice")).await;
        lab.logout(&snapshot).await;
    }
    lab.tick(1);
    let now = lab.now();
    let answers = super::concurrency::at_once(12, |number| {
        let lab = lab.clone();
        async move {
            if number % 2 == 0 {
                lab.login(&user("alice")).await;
                return Vec::new();
            }
            purge(&lab, PurgeScope::EndedBefore(now), 5).await.sessions
        }
    })
    .await;
    let mut all: Vec<_> = answers.iter().flatten().map(|ended| ended.session.id).collect();
    let count = all.len();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), count, "none is removed twice");
    while purge(&lab, PurgeScope::EndedBefore(now), 5).await.more {}
    assert_eq!((lab.live_ids(&user("alice")).await.len(), lab.stored(&user("alice")).await.len()), (6, 6));
    Passed
}
