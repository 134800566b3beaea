//! The sink inside the application's own transaction.

use session_manager_audit_db::share;
use session_manager_core::AuditBackend;

use crate::fixture::{Fixture, Server, events, user};

on_each!(it_commits_and_rolls_back_with_the_application, several_share_one_transaction);

async fn it_commits_and_rolls_back_with_the_application<S: Server>() {
    for fixture in [Fixture::<S>::plain().await, Fixture::<S>::chained().await] {
        fixture.run("CREATE TABLE users (password VARCHAR(9))").await;
        fixture.audit.record(&events("before", 2)).await.unwrap();
        for commit in [false, true] {
            let mut transaction = fixture.pool.begin().await.unwrap();
            S::run_on(&mut transaction, "INSERT INTO users VALUES ('new')").await;
            {
                let inside = fixture.audit.in_transaction(&mut transaction);
                let inside: &dyn AuditBackend = &inside;
                assert_eq!(inside.name(), "db");
                assert!(inside.maintenance().is_none());
                inside.record(&events("alice", 2)).await.unwrap();
                inside.record(&events("alice", 1)).await.unwrap();
                inside.flush().await.unwrap();
            }
            if commit {
                transaction.commit().await.unwrap();
            } else {
                transaction.rollback().await.unwrap();
            }
            assert_eq!(fixture.rows().await, if commit { 5 } else { 2 });
        }
        fixture.audit.record(&events("after", 1)).await.unwrap();
        if let Ok(head) = fixture.audit.head().await {
            assert_eq!(head.seq, 6, "what was rolled back has left no gap");
            assert!(fixture.audit.verify(Some(&head)).await.unwrap().broken().is_none());
        }
    }
}

async fn several_share_one_transaction<S: Server>() {
    let fixture = Fixture::<S>::chained().await;
    let mut transaction = fixture.pool.begin().await.unwrap();
    {
        let shared = share(&mut transaction);
        let one = fixture.audit.in_shared_transaction(shared.clone());
        let other = fixture.another().in_shared_transaction(shared);
        one.record(&events("alice", 1)).await.unwrap();
        other.record(&events("bob", 1)).await.unwrap();
        assert_eq!(one.erase(&user("bob")).await.unwrap(), 1);
        assert!(other.verify(None).await.unwrap().broken().is_none());
    }
    transaction.commit().await.unwrap();
    assert_eq!(fixture.rows().await, 2);
    assert!(fixture.audit.verify(None).await.unwrap().broken().is_none());
}
