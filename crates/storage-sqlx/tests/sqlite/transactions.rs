//! Every operation inside the application's own transaction: rolled back it leaves nothing, committed it is there, and nobody sees it before.

use crate::fixture::Fixture;
use crate::operations::{Stage, State, all};

#[tokio::test]
async fn each_operation_is_rolled_back_and_committed() {
    let fixture = Fixture::new().await;
    let remembered = async || {
        let count = sqlx::query_as("SELECT COUNT(*) FROM session_once").fetch_one(&fixture.pool).await;
        let (count,): (i64,) = count.unwrap();
        count
    };
    for operation in all() {
        let stage = Stage::set(&fixture.storage).await;
        let before = (State::of(&fixture.storage).await, remembered().await);
        for commit in [false, true] {
            let mut transaction = fixture.pool.begin().await.unwrap();
            (operation.run)(&fixture.storage.in_transaction(&mut transaction), &stage).await;
            let meanwhile = (State::of(&fixture.storage).await, remembered().await);
            assert_eq!(meanwhile, before, "{} is seen before its commit", operation.name);
            if commit {
                transaction.commit().await.unwrap();
            } else {
                transaction.rollback().await.unwrap();
            }
            let after = (State::of(&fixture.storage).await, remembered().await);
            assert_eq!(after != before, commit && operation.writes, "{}, committed: {commit}", operation.name);
        }
    }
}
