//! Sessions inside the application's own transaction: all or nothing with the application's change.

use std::sync::Arc;
use std::time::Duration;

use session_manager_core::storage::{Phase, SessionFilter, Subject};
use session_manager_core::{
    AuditKind, Delivery, ErrorKind, NewSession, RevocationReason, Rotation, SessionStorage, State,
};
use session_manager_tests::bed::{Bed, firefox, user};
use session_manager_tests::sink::RememberingSink;
use session_manager_tests::sqlite::Database;

/// A bed whose sinks are all best effort: they hear after the commit.
fn bed(database: &Database) -> (Bed, Arc<RememberingSink>) {
    let aside = Arc::new(RememberingSink::default());
    let bed =
        Bed::with(Arc::new(database.storage.clone()), |builder| builder.audit(aside.clone(), Delivery::BestEffort));
    (bed, aside)
}

#[tokio::test]
async fn a_commit_makes_the_change_and_then_tells() {
    let database = Database::new().await;
    let (bed, aside) = bed(&database);
    let (kept, other) = (bed.sign_in("alice").await, bed.sign_in("alice").await);
    aside.clear();
    bed.sink.clear();

    let mut transaction = database.pool.begin().await.unwrap();
    sqlx::query("CREATE TABLE passwords (hash TEXT)").execute(&mut *transaction).await.unwrap();
    let view = database.storage.in_transaction(&mut transaction);
    let scoped = bed.manager.in_transaction(&view, &[&*bed.sink]).unwrap();
    let rotated = scoped
        .rotate_user(&user("alice"), &Rotation::new("password").keeping(kept.snapshot.session.id), &firefox())
        .await
        .unwrap();
    let after = scoped.after_commit();
    drop(view);
    assert_eq!((bed.sink.count(AuditKind::Rotated), aside.count(AuditKind::Rotated)), (1, 0));
    assert_eq!(bed.access(&other.tokens.access).await, Ok(()), "not before the commit");
    transaction.commit().await.unwrap();
    after.publish().await;

    assert_eq!(aside.count(AuditKind::Rotated), 1);
    assert_eq!(bed.sink.count(AuditKind::Rotated), 1, "the joined sink is not told twice");
    assert_eq!(bed.access(&other.tokens.access).await, Err(ErrorKind::SessionEnded(State::RotatedOut)));
    assert_eq!(bed.access(&kept.tokens.access).await, Err(ErrorKind::Superseded));
    assert_eq!(bed.access(&rotated.kept.unwrap().tokens.access).await, Ok(()));

    let feed = database.storage.feed().unwrap();
    let told = feed.since(None, 100, bed.clock_now()).await.unwrap();
    let phases: Vec<_> = told.notices.iter().map(|notice| (notice.subject, notice.phase)).collect();
    let alice = Subject::UserEpoch(user("alice").locator());
    assert_eq!(phases[phases.len() - 2..], [(alice, Phase::Intent), (alice, Phase::Done)]);
}

#[tokio::test]
async fn a_rollback_leaves_everything_as_it_was() {
    let database = Database::new().await;
    let (bed, aside) = bed(&database);
    let created = bed.sign_in("alice").await;
    aside.clear();

    let mut transaction = database.pool.begin().await.unwrap();
    let view = database.storage.in_transaction(&mut transaction);
    let scoped = bed.manager.in_transaction(&view, &[&*bed.sink]).unwrap();
    scoped.revoke_all(&user("alice"), RevocationReason::PASSWORD_RESET, &firefox()).await.unwrap();
    let second = scoped.create(NewSession::of(user("alice")), &firefox()).await.unwrap();
    drop(scoped);
    drop(view);
    transaction.rollback().await.unwrap();

    assert_eq!(bed.access(&created.tokens.access).await, Ok(()));
    assert!(bed.access(&second.tokens.access).await.is_err());
    assert_eq!(bed.manager.count(Some(&user("alice")), SessionFilter::including_ended()).await.unwrap().value, 1);
    assert!(aside.kinds().iter().all(|kind| *kind != AuditKind::Revoked && *kind != AuditKind::Created));
}

#[tokio::test]
async fn a_required_sink_must_join_and_the_storage_must_be_a_view() {
    let database = Database::new().await;
    let (bed, _) = bed(&database);
    let error = bed.manager.in_transaction(&database.storage, &[&*bed.sink]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let mut transaction = database.pool.begin().await.unwrap();
    let view = database.storage.in_transaction(&mut transaction);
    let error = bed.manager.in_transaction(&view, &[]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misconfigured);

    // Each of them, by its name: another one beside it does not stand for it.
    let second = Arc::new(RememberingSink::named("second"));
    let two =
        Bed::with(Arc::new(database.storage.clone()), |builder| builder.audit(second.clone(), Delivery::Required));
    let error = two.manager.in_transaction(&view, &[&*two.sink]).unwrap_err();
    assert!(error.kind() == ErrorKind::Misconfigured && error.to_string().contains("second"), "{error}");
    assert!(two.manager.in_transaction(&view, &[&*two.sink, &*second]).is_ok());
}

#[tokio::test]
async fn the_whole_life_on_a_database() {
    let bed = Bed::on(Database::new().await.into_storage());
    let created = bed.sign_in("alice").await;
    bed.access(&created.tokens.access).await.unwrap();
    let refreshed = bed.manager.refresh(created.tokens.refresh.expose(), &firefox()).await.unwrap();
    bed.pass(Duration::from_secs(10));
    let replay = bed.manager.refresh(created.tokens.refresh.expose(), &firefox()).await.unwrap_err();
    assert_eq!(replay.kind(), ErrorKind::ReplayDetected);
    assert_eq!(bed.access(&refreshed.tokens.access).await, Err(ErrorKind::SessionEnded(State::Revoked)));
    let page = bed.manager.list(&user("alice"), SessionFilter::including_ended(), None, 5).await.unwrap();
    let reason = page.sessions[0].snapshot.revocation().map(|revocation| revocation.reason.clone());
    assert_eq!(reason, Some(RevocationReason::REFRESH_REPLAY));
    assert!(bed.manager.check().await.unwrap().is_sound());
}
