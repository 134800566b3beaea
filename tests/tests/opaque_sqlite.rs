//! The life of a session with opaque tokens over SQLite.

use session_manager_tests::opaque;
use session_manager_tests::sqlite::Database;

#[tokio::test]
async fn ending_one_device() {
    opaque::ending_one_device(Database::new().await.into_storage()).await;
}

#[tokio::test]
async fn access_tokens_age() {
    opaque::access_tokens_age(Database::new().await.into_storage()).await;
}

#[tokio::test]
async fn a_replay_ends_the_session() {
    opaque::a_replay_ends_the_session(Database::new().await.into_storage()).await;
}

#[tokio::test]
async fn reauthentication_supersedes() {
    opaque::reauthentication_supersedes(Database::new().await.into_storage()).await;
}

#[tokio::test]
async fn garbage_reads_nothing() {
    opaque::garbage_reads_nothing(Database::new().await.into_storage()).await;
}

#[tokio::test]
async fn forgeries_end_nothing() {
    opaque::forgeries_end_nothing(Database::new().await.into_storage()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tabs_agree() {
    opaque::tabs_agree(Database::new().await.into_storage()).await;
}
