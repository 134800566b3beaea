//! What is done to sessions and accounts in one transaction is done to both, or to neither.

use session_manager_core::storage::SessionFilter;
use session_manager_core::{NewSession, SystemClock};

use super::*;
use crate::app::App;
use crate::config::{Backend, SessionStorageKind};
use crate::data::{Data, test_settings};
use crate::sql::Pool;

async fn app(folder: &std::path::Path, storage: SessionStorageKind) -> App {
    let mut settings = test_settings(folder);
    settings.sessions.storage = storage;
    settings.backend = Backend::Opaque;
    let data = Data::open(&settings).await.unwrap();
    App::new(settings, data, "127.0.0.1:8080".parse().unwrap(), std::sync::Arc::new(SystemClock)).await.unwrap()
}

async fn live(app: &App, user: &UserId) -> usize {
    app.sessions().manager().list(user, SessionFilter::default(), None, 10).await.unwrap().sessions.len()
}

#[tokio::test]
async fn what_is_rolled_back_has_ended_no_session() {
    let folder = tempfile::tempdir().unwrap();
    let app = app(folder.path(), SessionStorageKind::Sqlx).await;
    let (sessions, user) = (app.sessions(), UserId::from(Uuid::from_u128(7)));
    let context = RequestContext::default();
    sessions.manager.create(NewSession::of(user.clone()), &context).await.unwrap();
    for (commits, left) in [(false, 1), (true, 0)] {
        let mut transaction = sessions.pool.begin().await.unwrap();
        let storage = sessions.joined(&mut transaction).expect("they are in the accounts' database");
        let scoped = sessions.manager.in_transaction(&*storage, &[]).unwrap();
        scoped.revoke_all(&user, RevocationReason::PASSWORD_RESET, &context).await.unwrap();
        let after = scoped.after_commit();
        drop(storage);
        if commits {
            transaction.commit().await.unwrap();
            after.publish().await;
        } else {
            transaction.rollback().await.unwrap();
        }
        assert_eq!(live(&app, &user).await, left);
    }
}

#[tokio::test]
async fn sessions_elsewhere_take_no_part() {
    let folder = tempfile::tempdir().unwrap();
    let app = app(folder.path(), SessionStorageKind::Memory).await;
    let mut transaction = app.sessions().pool.begin().await.unwrap();
    assert!(app.sessions().joined(&mut transaction).is_none());
}

/// What goes out while a transaction is open, the feed of what ended and notices to other nodes, takes none of the connections that transactions have.
#[tokio::test]
async fn transactions_on_all_connections_wait_for_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let app = app(folder.path(), SessionStorageKind::Sqlx).await;
    let (sessions, context) = (app.sessions(), RequestContext::default());
    let all = match &sessions.pool {
        Pool::Postgres(pool) => pool.options().get_max_connections(),
        Pool::MySql(pool) => pool.options().get_max_connections(),
        // One alone writes.
        Pool::Sqlite(_) => return,
    };
    let mut transactions = Vec::new();
    for number in 0..all {
        let user = UserId::from(Uuid::from_u128(number.into()));
        sessions.manager.create(NewSession::of(user.clone()), &context).await.unwrap();
        transactions.push((sessions.pool.begin().await.unwrap(), user));
    }
    for (mut transaction, user) in transactions {
        let storage = sessions.joined(&mut transaction).expect("they are in the accounts' database");
        let scoped = sessions.manager.in_transaction(&*storage, &[]).unwrap();
        assert_eq!(scoped.revoke_all(&user, RevocationReason::PASSWORD_RESET, &context).await.unwrap().len(), 1);
        let after = scoped.after_commit();
        drop(storage);
        transaction.commit().await.unwrap();
        after.publish().await;
    }
}
