//! An application moves from one real storage to another as the guide says, release by release, while it is used: nobody is signed out,
//! nothing that ended comes back, and every step has its way back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod crowd;

use std::sync::Arc;
use std::time::Duration;

use crowd::Crowd;
use session_manager_core::{Clock, ManualClock, SessionStorage};
use session_manager_storage_migration::{
    CopyOptions, CopyProgress, DualConfig, DualStorage, Lead, ShadowConfig, ShadowStorage, copy,
};
use session_manager_tests::bed::Bed;
use session_manager_tests::servers;
use session_manager_tests::sqlite::Database;

type Storage = Arc<dyn SessionStorage>;

/// The last step before the application goes back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Turn {
    Shadowed,
    DualWritten,
    Copied,
    ReadNew,
    /// It arrives.
    Never,
}

/// An application between two storages.
struct Move {
    clock: Arc<ManualClock>,
    old: Storage,
    new: Storage,
}

impl Move {
    fn new(old: Storage, new: Storage) -> Self {
        Self { clock: Arc::default(), old, new }
    }

    fn node(&self, storage: Storage) -> Bed {
        Bed::with(storage, |builder| builder.clock(self.clock.clone()))
    }

    fn led_by(&self, lead: Lead) -> (Arc<DualStorage>, Bed) {
        let dual = DualStorage::new(Arc::clone(&self.old), Arc::clone(&self.new), DualConfig::new(lead)).unwrap();
        let dual = Arc::new(dual.with_clock(self.clock.clone()));
        (Arc::clone(&dual), self.node(dual))
    }

    async fn copy(&self) -> CopyProgress {
        self.copy_between(&self.old, &self.new).await
    }

    async fn copy_between(&self, from: &Storage, to: &Storage) -> CopyProgress {
        let clock: Arc<dyn Clock> = self.clock.clone();
        // Small pages, so that much happens between them.
        let options = CopyOptions::new().page(7).parallel(3).clock(clock);
        copy(from, to, &options, &mut |_| {}).await.unwrap()
    }
}

fn is_in_step(dual: &DualStorage) {
    let stats = dual.stats();
    assert_eq!((stats.failed, stats.lagging, stats.forgotten), (0, 0, 0), "{stats:?}");
}

/// The steps of the guide. Each is a release: while it is rolled out, the nodes of the one before are used as well.
async fn walk(old: Storage, trial: Storage, new: Storage, turn: Turn, drill: u32) {
    let moving = Move::new(old, new);
    let before = moving.node(Arc::clone(&moving.old));
    let mut crowd = Crowd::gather(&before, moving.clock.clone(), drill).await;
    // 1. Introduce beside: nothing uses it yet.
    crowd.live_through(1, &[&before]).await;

    // 2. Shadow.
    let shadow = ShadowStorage::new(Arc::clone(&moving.old), trial, ShadowConfig::new());
    let shadow = Arc::new(shadow.with_clock(moving.clock.clone()));
    let shadowed = moving.node(shadow.clone());
    let working = tokio::spawn(shadowed.manager.maintenance());
    crowd.live_through(2, &[&before, &shadowed]).await;
    let idle = async {
        while shadow.stats().repeated < 100 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), idle).await.expect("it is repeated in the background");
    assert_eq!((shadow.stats().dropped, shadow.stats().failed), (0, 0));
    if turn == Turn::Shadowed {
        crowd.live_through(3, &[&shadowed, &before]).await;
        crowd.live_through(4, &[&before]).await;
        return crowd.come_to_an_end(&before).await;
    }

    // 3. Dual-write.
    let (dual, by_old) = moving.led_by(Lead::Old);
    crowd.live_through(3, &[&shadowed, &by_old]).await;
    working.abort();
    is_in_step(&dual);
    if turn == Turn::DualWritten {
        crowd.live_through(4, &[&by_old, &before]).await;
        return crowd.come_to_an_end(&before).await;
    }

    // 4. Copy, beside the traffic, and again.
    let (other, by_old_too) = moving.led_by(Lead::Old);
    let nodes = [&by_old, &by_old_too];
    let (first, ()) = tokio::join!(moving.copy(), crowd.live_through(4, &nodes));
    assert!(first.written > 0 && first.cursor.is_none(), "{first:?}");
    let second = moving.copy().await;
    assert_eq!(second.written, 0, "{second:?}");
    is_in_step(&dual);
    is_in_step(&other);
    if turn == Turn::Copied {
        crowd.live_through(5, &[&by_old, &before]).await;
        return crowd.come_to_an_end(&before).await;
    }

    // 5. Read new.
    let (dual, by_new) = moving.led_by(Lead::New);
    crowd.live_through(5, &[&by_old, &by_new]).await;
    is_in_step(&dual);
    if turn == Turn::ReadNew {
        moving.copy_between(&moving.new, &moving.old).await;
        crowd.live_through(6, &[&by_new, &by_old]).await;
        crowd.live_through(7, &[&by_old, &before]).await;
        return crowd.come_to_an_end(&before).await;
    }

    // 6. Remove old.
    let after = moving.node(Arc::clone(&moving.new));
    crowd.live_through(6, &[&by_new, &after]).await;
    crowd.live_through(7, &[&after]).await;
    crowd.come_to_an_end(&after).await;
}

/// The new storage answers before everything is copied, because the old one is failing.
async fn hurry(old: Storage, new: Storage, drill: u32) {
    let moving = Move::new(old, new);
    let before = moving.node(Arc::clone(&moving.old));
    let mut crowd = Crowd::gather(&before, moving.clock.clone(), drill).await;
    crowd.live_through(1, &[&before]).await;
    let (_, by_old) = moving.led_by(Lead::Old);
    crowd.live_through(2, &[&before, &by_old]).await;
    let (dual, falling_back) = moving.led_by(Lead::NewThenOld);
    crowd.live_through(3, &[&by_old, &falling_back]).await;
    let nodes = [&falling_back];
    let (_, ()) = tokio::join!(moving.copy(), crowd.live_through(4, &nodes));
    moving.copy().await;
    is_in_step(&dual);
    let (_, by_new) = moving.led_by(Lead::New);
    crowd.live_through(5, &[&falling_back, &by_new]).await;
    let after = moving.node(Arc::clone(&moving.new));
    crowd.live_through(6, &[&by_new, &after]).await;
    crowd.live_through(7, &[&after]).await;
    crowd.come_to_an_end(&after).await;
}

async fn sqlite() -> Storage {
    Database::new().await.into_storage()
}

async fn postgres() -> Storage {
    Arc::new(servers::postgres().await)
}

async fn redis() -> Storage {
    Arc::new(servers::redis().await)
}

/// One test for each way back, and one for each step at which it matters that everybody is rotated there.
macro_rules! moves {
    ($module:ident, $old:path, $new:path) => {
        mod $module {
            use super::*;

            async fn go(turn: Turn, drill: u32) {
                walk($old().await, $new().await, $new().await, turn, drill).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn back_from_the_shadow() {
                go(Turn::Shadowed, 2).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn back_from_dual_writing() {
                go(Turn::DualWritten, 3).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn back_from_the_copy() {
                go(Turn::Copied, 4).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn back_from_the_new_one() {
                go(Turn::ReadNew, 5).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn all_the_way_with_a_rotation_before() {
                go(Turn::Never, 1).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn all_the_way_with_a_rotation_beside_nodes_that_do_not_write_both() {
                go(Turn::Never, 3).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn all_the_way_with_a_rotation_beside_the_copy() {
                go(Turn::Never, 4).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn all_the_way_with_a_rotation_while_the_lead_changes() {
                go(Turn::Never, 5).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn in_a_hurry() {
                hurry($old().await, $new().await, 3).await;
            }
        }
    };
}

moves!(from_sqlite_to_postgres, sqlite, postgres);
moves!(from_sqlite_to_redis, sqlite, redis);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_redis_to_postgres_and_from_there_to_sqlite() {
    walk(redis().await, postgres().await, postgres().await, Turn::Never, 6).await;
    hurry(postgres().await, sqlite().await, 2).await;
}
