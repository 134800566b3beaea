//! The users' epochs in columns of the application's users table, whose key is an integer.

use session_manager_core::storage::{
    Bump, BumpOutcome, BumpTarget, Consistency, PutOutcome, Revoke, RevokeTarget, Severity,
};
use session_manager_core::{Actor, ErrorKind, LivePolicy, RevocationReason, SessionStorage, Snapshot, State};
use session_manager_storage_sqlx::{SessionTable, UserEpochs, UserIdEncoding, reference_ddl};
use sqlx::{MySql, Postgres};

use crate::server::{Fixture, INCARNATIONS, Server, at, full, insert, record, user};

on_each! {
    epochs_stand_beside_the_users,
    a_missing_row_is_no_user,
}

fn mapping() -> SessionTable {
    full().user_id(UserIdEncoding::BigInt).user_epochs(UserEpochs::new("users", "id").columns("era", "edition", "turn"))
}

async fn with_users<S: Server>() -> Fixture<S> {
    let users = "CREATE TABLE users (id BIGINT PRIMARY KEY, name VARCHAR(40) NOT NULL); INSERT INTO users VALUES (7, 'a'), (8, 'b');";
    let ddl = format!("{users}\n{}", reference_ddl::<S>(&mapping()).unwrap());
    let fixture = Fixture::<S>::with_ddl(mapping(), &ddl).await;
    let findings = fixture.storage.check_schema().await.unwrap().findings;
    assert!(findings.is_empty(), "{findings:?}");
    fixture
}

async fn state<S: Server>(fixture: &Fixture<S>, snapshot: &Snapshot) -> State {
    let read = fixture.storage.read(&snapshot.key(), Consistency::Latest).await.unwrap().unwrap();
    read.state(at(9), LivePolicy::TRACKED)
}

async fn epochs_stand_beside_the_users<S: Server>() {
    let fixture = with_users::<S>().await;
    let (first, second) = (fixture.sign_in("7", 0).await, fixture.sign_in("7", 1).await);
    let other = fixture.sign_in("8", 2).await;
    let keep = BumpTarget::User { user: user("7"), keep: Some(second.session.id) };
    let bumped = fixture.storage.bump(&Bump::new(keep, INCARNATIONS, at(3)).expecting(1)).await.unwrap();
    let BumpOutcome::Bumped(bumped) = bumped else { panic!("{bumped:?}") };
    assert_eq!(bumped.epochs.user.map(|epoch| epoch.version), Some(2));
    assert_eq!((state(&fixture, &first).await, state(&fixture, &second).await), (State::RotatedOut, State::Live));
    assert_eq!(S::number(&fixture.pool, "SELECT edition FROM users WHERE id = 7").await, 2);
    // Everybody's alone is in the table of epochs.
    assert_eq!(S::number(&fixture.pool, "SELECT COUNT(*) FROM session_epochs").await, 1);
    let target = RevokeTarget::User { user: user("7"), except: None };
    let revoke = Revoke::new(target, RevocationReason::ALL, Actor::System, at(4));
    assert_eq!(fixture.storage.revoke(&revoke).await.unwrap().sessions.len(), 1);
    assert_eq!(S::number(&fixture.pool, "SELECT edition FROM users WHERE id = 7").await, 3);
    assert_eq!(state(&fixture, &other).await, State::Live);
    // A session that is brought along raises the record, and makes one where there is none.
    S::run(&fixture.pool, "UPDATE users SET era = NULL, edition = NULL, turn = NULL WHERE id = 8").await;
    let mut carried = other.clone();
    carried.control.version += 1;
    assert_eq!(fixture.storage.scan().unwrap().put(&carried).await.unwrap(), PutOutcome::Written);
    assert_eq!(state(&fixture, &other).await, State::Live);
}

async fn a_missing_row_is_no_user<S: Server>() {
    let fixture = with_users::<S>().await;
    let error = fixture.storage.insert(&insert(record("9", 0), 5, 0)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
    let bump = Bump::new(BumpTarget::User { user: user("9"), keep: None }, INCARNATIONS, at(1));
    assert_eq!(fixture.storage.bump(&bump).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    let session = fixture.sign_in("7", 0).await;
    S::run(&fixture.pool, "DELETE FROM users WHERE id = 7").await;
    assert_eq!(state(&fixture, &session).await, State::EpochLost);
}

/// Two columns of different collations cannot be compared in PostgreSQL, not even for equality.
#[tokio::test]
async fn collations_that_differ_are_named() {
    if session_manager_services::url(Postgres::SERVICE).is_none() {
        return;
    }
    let mapping = full().user_epochs(UserEpochs::new("users", "name"));
    let ddl = format!("CREATE TABLE users (name text PRIMARY KEY);\n{}", reference_ddl::<Postgres>(&mapping).unwrap());
    let fixture = Fixture::<Postgres>::with_ddl(mapping, &ddl).await;
    let findings = fixture.storage.check_schema().await.unwrap().findings;
    let [finding] = findings.as_slice() else { panic!("{findings:?}") };
    assert_eq!(finding.severity, Severity::Error);
    assert!(finding.message.contains("users.name") && finding.message.contains("sessions.user_id"), "{finding:?}");
}
