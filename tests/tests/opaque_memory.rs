//! The life of a session with opaque tokens over the storage in memory.

use session_manager_tests::bed::memory;
use session_manager_tests::opaque;

#[tokio::test]
async fn ending_one_device() {
    opaque::ending_one_device(memory()).await;
}

#[tokio::test]
async fn access_tokens_age() {
    opaque::access_tokens_age(memory()).await;
}

#[tokio::test]
async fn a_replay_ends_the_session() {
    opaque::a_replay_ends_the_session(memory()).await;
}

#[tokio::test]
async fn reauthentication_supersedes() {
    opaque::reauthentication_supersedes(memory()).await;
}

#[tokio::test]
async fn garbage_reads_nothing() {
    opaque::garbage_reads_nothing(memory()).await;
}

#[tokio::test]
async fn forgeries_end_nothing() {
    opaque::forgeries_end_nothing(memory()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tabs_agree() {
    opaque::tabs_agree(memory()).await;
}
