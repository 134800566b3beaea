//! Checks that a deadline is the same moment for every operation: alive one millisecond before it, over at it.

use std::sync::Arc;
use std::time::Duration;

use session_manager_core::storage::{AdvanceOutcome, Query, SessionPatch, UpdateOutcome};
use session_manager_core::{SessionStorage, Snapshot, State};

use super::run::CheckOutcome::{self, Passed};
use crate::fixture::{Fixture, user};

/// Asks every operation about a session at a moment, and compares with what it should be.
async fn all_say(lab: &Fixture, snapshot: &Snapshot, expected: State, at: &str) {
    let alive = expected.is_live();
    let owner = &snapshot.session.user_id;
    assert_eq!(lab.state(snapshot).await, expected, "{at}: read");
    assert_eq!(lab.live_ids(owner).await.contains(&snapshot.session.id), alive, "{at}: list");
    let count = lab.storage().count(&Query::of(owner.clone(), lab.now())).await.unwrap();
    assert_eq!(count.value, u64::from(alive), "{at}: count");
    match lab.advance(snapshot, snapshot.control.generation).await {
        AdvanceOutcome::Advanced(_) => assert!(alive, "{at}: advance"),
        AdvanceOutcome::Ended(state, _) => assert_eq!(state, expected, "{at}: advance"),
        other => panic!("{at}: {other:?}"),
    }
    let now = lab.reread(snapshot).await;
    match lab.update(&now, SessionPatch::new()).await {
        UpdateOutcome::Updated(_) => assert!(alive, "{at}: update"),
        UpdateOutcome::Ended(state, _) => assert_eq!(state, expected, "{at}: update"),
        other => panic!("{at}: {other:?}"),
    }
    // Last, for they change what was asked: a touch moves the idle deadline, and a revocation ends it all.
    let touched = lab.touch(snapshot).await;
    assert_eq!((touched.touched, touched.skipped), (u64::from(alive), u64::from(!alive)), "{at}: touch");
    let revoked = lab.logout(snapshot).await;
    let counts = (revoked.sessions.len(), revoked.already_ended);
    assert_eq!(counts, (usize::from(alive), u64::from(!alive)), "{at}: revoke");
    assert_eq!(lab.state(snapshot).await, if alive { State::Revoked } else { expected }, "{at}: after revoke");
}

/// The idle deadline binds every operation at exactly its millisecond.
pub async fn idle_deadline_is_exact_everywhere(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    let lab = Fixture::new(storage);
    for (offset, expected) in [(-1, State::Live), (0, State::Idle), (1, State::Idle)] {
        let name = format!("idle {offset}");
        let snapshot = lab.store(lab.session(&user(&name)).idle(Some(Duration::from_millis(5_003)))).await;
        lab.set(snapshot.session.created_at, 5_003 + offset);
        all_say(&lab, &snapshot, expected, &name).await;
    }
    Passed
}

/// The absolute deadline binds every operation at exactly its millisecond.
pub async fn absolute_deadline_is_exact_everywhere(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    let lab = Fixture::new(storage);
    for (offset, expected) in [(-1, State::Live), (0, State::Expired), (1, State::Expired)] {
        let name = format!("absolute {offset}");
        let session = lab.session(&user(&name)).lifetime(Duration::from_millis(7_001)).idle(None);
        let snapshot = lab.store(session).await;
        lab.set(snapshot.session.created_at, 7_001 + offset);
        all_say(&lab, &snapshot, expected, &name).await;
    }
    Passed
}

/// Activity moves the idle deadline and nothing moves the absolute one: not touching, not refreshing without end.
pub async fn nothing_outlives_the_absolute_deadline(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    let lab = Fixture::new(storage);
    let session = lab.session(&user("alice")).lifetime(Duration::from_mins(1)).idle(Some(Duration::from_secs(20)));
    let snapshot = lab.store(session).await;
    for generation in 1..=5 {
        lab.tick(10_000);
        assert_eq!(lab.touch(&snapshot).await.touched, 1);
        assert!(matches!(lab.advance(&snapshot, generation).await, AdvanceOutcome::Advanced(_)));
    }
    lab.tick(9_999);
    assert_eq!(lab.state(&snapshot).await, State::Live);
    lab.tick(1);
    assert_eq!(lab.state(&snapshot).await, State::Expired);
    let outcome = lab.advance(&snapshot, 6).await;
    assert!(matches!(outcome, AdvanceOutcome::Ended(State::Expired, _)), "{outcome:?}");
    Passed
}
