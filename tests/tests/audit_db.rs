//! The audit table as a required sink: in the application's transaction together with the sessions, and what the manager forgets.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed unwrap is a failed test")]

use std::sync::Arc;

use session_manager_audit_db::{AuditQuery, AuditTable, ChainKey, ChainTable, DbAudit, reference_ddl, share};
use session_manager_core::{AuditKind, Delivery, ErrorKind, RevocationReason, State};
use session_manager_tests::bed::{Bed, firefox, user};
use session_manager_tests::sqlite::Database;
use sqlx::{AssertSqlSafe, Sqlite};

async fn audited(database: &Database) -> (Bed, Arc<DbAudit<Sqlite>>) {
    let mapping = AuditTable::new("audit").chained(ChainTable::new("audit_chain"));
    let ddl = reference_ddl::<Sqlite>(&mapping).unwrap();
    sqlx::raw_sql(AssertSqlSafe(ddl)).execute(&database.pool).await.unwrap();
    let key = ChainKey::new(b"an audit chain's key of 40 random bytes.").unwrap();
    let audit = Arc::new(DbAudit::chained(database.pool.clone(), mapping, key).unwrap());
    let sink = audit.clone();
    let bed = Bed::with(Arc::new(database.storage.clone()), |builder| builder.audit(sink, Delivery::Required));
    (bed, audit)
}

async fn kinds(audit: &DbAudit<Sqlite>) -> Vec<AuditKind> {
    let page = audit.query(&AuditQuery::new()).await.unwrap();
    let mut kinds: Vec<_> = page.events.into_iter().map(|event| event.kind).collect();
    // The clock stands still.
    kinds.sort_by_key(|kind| kind.as_str());
    kinds
}

#[tokio::test]
async fn sessions_and_trail_commit_and_roll_back_together() {
    let database = Database::new().await;
    let (bed, audit) = audited(&database).await;
    let session = bed.sign_in("alice").await;
    for commit in [false, true] {
        let mut transaction = database.pool.begin().await.unwrap();
        let after = {
            let shared = share(&mut transaction);
            let storage = database.storage.in_shared_transaction(shared.clone());
            let inside = audit.in_shared_transaction(shared);
            let scoped = bed.manager.in_transaction(&storage, &[&*bed.sink, &inside]).unwrap();
            let ended = scoped.revoke_all(&user("alice"), RevocationReason::PASSWORD_RESET, &firefox()).await.unwrap();
            assert_eq!(ended.len(), 1);
            scoped.after_commit()
        };
        if commit {
            transaction.commit().await.unwrap();
            after.publish().await;
            assert_eq!(kinds(&audit).await, [AuditKind::Accessed, AuditKind::Created, AuditKind::Revoked]);
            assert_eq!(bed.access(&session.tokens.access).await, Err(ErrorKind::SessionEnded(State::Revoked)));
        } else {
            transaction.rollback().await.unwrap();
            drop(after);
            assert_eq!(kinds(&audit).await, [AuditKind::Created]);
            assert_eq!(bed.access(&session.tokens.access).await, Ok(()));
        }
    }
    assert!(audit.verify(None).await.unwrap().broken().is_none());
}

#[tokio::test]
async fn a_required_table_must_join_the_transaction() {
    let database = Database::new().await;
    let (bed, _audit) = audited(&database).await;
    let mut transaction = database.pool.begin().await.unwrap();
    let storage = database.storage.in_transaction(&mut transaction);
    assert_eq!(bed.manager.in_transaction(&storage, &[&*bed.sink]).unwrap_err().kind(), ErrorKind::Misconfigured);
}
