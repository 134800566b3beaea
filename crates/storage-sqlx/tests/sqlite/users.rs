//! The users' epochs in columns of the application's users table.

use session_manager_core::storage::{Bump, BumpTarget, Consistency, Severity};
use session_manager_core::{ErrorKind, LivePolicy, SessionStorage, State};
use session_manager_storage_sqlx::{SessionTable, SqlxStorage, UserEpochs, UserIdEncoding, reference_ddl};
use sqlx::{AssertSqlSafe, Sqlite};

use crate::fixture::{Fixture, INCARNATIONS, at, full, insert, pool, record, user};

fn in_columns() -> SessionTable {
    full().user_id(UserIdEncoding::BigInt).user_epochs(UserEpochs::new("users", "id"))
}

async fn with_users() -> Fixture {
    let users = "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL); INSERT INTO users VALUES (7, 'Alice'), (8, 'Bob');\n";
    Fixture::with_ddl(in_columns(), format!("{users}{}", reference_ddl::<Sqlite>(&in_columns()).unwrap())).await
}

#[tokio::test]
async fn a_users_row_is_the_applications() {
    let fixture = with_users().await;
    assert!(fixture.storage.capabilities().epochs);
    assert!(fixture.storage.check_schema().await.unwrap().findings.is_empty());
    let (alice, bob) = (fixture.sign_in("7", 0).await, fixture.sign_in("8", 0).await);
    // Nobody has such a row.
    let error = fixture.storage.insert(&insert(record("9", 0), 5, 0)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
    let nobody = Bump::new(BumpTarget::User { user: user("9"), keep: None }, INCARNATIONS, at(1));
    assert_eq!(fixture.storage.bump(&nobody).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    // A user that the application removes is signed out, and stays so when the row is made anew.
    let state = async |snapshot: &session_manager_core::Snapshot| {
        let read = fixture.storage.read(&snapshot.key(), Consistency::Latest).await.unwrap().unwrap();
        read.state(at(1), LivePolicy::TRACKED)
    };
    for sql in ["DELETE FROM users WHERE id = 7", "INSERT INTO users (id, name) VALUES (7, 'Alice')"] {
        sqlx::raw_sql(sql).execute(&fixture.pool).await.unwrap();
        assert_eq!((state(&alice).await, state(&bob).await), (State::EpochLost, State::Live), "{sql}");
    }
    let mut request = insert(record("7", 2), 5, 2);
    request.incarnations.user = 77;
    fixture.storage.insert(&request).await.unwrap();
    assert_eq!(state(&alice).await, State::EpochLost);
}

#[tokio::test]
async fn the_columns_are_looked_for() {
    let (pool, _directory) = pool().await;
    let ddl = reference_ddl::<Sqlite>(&full().user_id(UserIdEncoding::BigInt)).unwrap();
    let users =
        "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL, session_version INTEGER NOT NULL DEFAULT 1)";
    sqlx::raw_sql(AssertSqlSafe(format!("{users};\n{ddl}"))).execute(&pool).await.unwrap();
    let storage = SqlxStorage::new(pool, in_columns()).unwrap();
    let findings = storage.check_schema().await.unwrap().findings;
    let messages: Vec<_> = findings.iter().map(|finding| (finding.severity, finding.message.as_str())).collect();
    assert_eq!(
        messages,
        [
            (Severity::Error, "column users.session_incarnation is missing (INTEGER)"),
            (Severity::Error, "column users.session_version must accept NULL"),
            (Severity::Error, "column users.session_seq is missing (INTEGER)"),
        ]
    );
}

#[tokio::test]
async fn everybodys_epoch_needs_its_table() {
    let mapping = SessionTable::new("sessions").user_epochs(UserEpochs::new("users", "id"));
    let (pool, _directory) = pool().await;
    assert_eq!(SqlxStorage::new(pool.clone(), mapping).unwrap_err().kind(), ErrorKind::Misconfigured);
    // With neither there are none.
    assert!(!SqlxStorage::new(pool, SessionTable::new("sessions")).unwrap().capabilities().epochs);
}
