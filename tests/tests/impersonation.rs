//! Sessions in which somebody acts in a user's name: short, visible, beside the user's own, and never a proof of the user.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::time::Duration;

use session_manager_core::storage::SessionFilter;
use session_manager_core::{Actor, AuditKind, ErrorKind, NewSession, PolicyOverrides, State};
use session_manager_tests::bed::{Bed, firefox, phone, user};

fn support() -> Actor {
    Actor::User(user("support"))
}

#[tokio::test]
async fn an_impersonation_ends_soon_whatever_was_asked_for() {
    let bed = Bed::in_memory();
    let long = PolicyOverrides::new().absolute_lifetime(Duration::from_hours(24 * 7));
    let new = NewSession::of(user("alice")).impersonated_by(support()).overriding(long);
    let created = bed.manager.create(new, &firefox()).await.unwrap();
    let hour = bed.manager.policy().impersonation_lifetime;
    assert_eq!(created.snapshot.session.expires_at, bed.clock_now() + hour);
    bed.pass(hour);
    let refused = bed.manager.refresh(created.tokens.refresh.expose(), &firefox()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::SessionEnded(State::Expired));
}

#[tokio::test]
async fn it_evicts_nobody_and_everybody_sees_it() {
    let bed = Bed::in_memory();
    for _ in 0..bed.manager.policy().max_sessions {
        bed.pass(Duration::from_secs(1));
        bed.sign_in("alice").await;
    }
    let new = NewSession::of(user("alice")).impersonated_by(support());
    let created = bed.manager.create(new, &phone()).await.unwrap();
    assert!(created.evicted.is_empty());
    let page = bed.manager.list(&user("alice"), SessionFilter::new(), None, 50).await.unwrap();
    let by: Vec<_> = page.sessions.iter().filter_map(|view| view.impersonator()).collect();
    assert_eq!((page.sessions.len(), by), (6, vec![&support()]));
    let event = bed.sink.last();
    assert_eq!((event.kind, event.actor), (AuditKind::Created, support()));
}

#[tokio::test]
async fn it_is_no_proof_of_the_user() {
    let bed = Bed::in_memory();
    let new = NewSession::of(user("alice")).impersonated_by(support());
    let created = bed.manager.create(new, &firefox()).await.unwrap();
    let minute = Duration::from_mins(1);
    let stale = bed.manager.require_fresh(&created.snapshot.session, minute).unwrap_err();
    assert_eq!(stale.kind(), ErrorKind::StepUpRequired);
    let refused = bed.manager.reauthenticate(created.snapshot.key(), &["pwd"], None, &firefox()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    assert_eq!(bed.access(&created.tokens.access).await, Ok(()), "nothing has changed");
}
