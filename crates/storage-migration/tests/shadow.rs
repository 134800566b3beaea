//! A shadow changes nothing for callers, agrees where the new storage is right, and counts where it is not.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "tests: a failed unwrap is a failed test, and a cast to a trait object loses nothing"
)]

use std::sync::Arc;
use std::time::Duration;

use session_manager_core::storage::{Query, RevokeTarget, SessionPatch};
use session_manager_core::{Clock, ManualClock, SessionStorage, State};
use session_manager_storage_memory::MemoryStorage;
use session_manager_storage_migration::{Differences, ShadowConfig, ShadowStorage};
use session_manager_testkit::fault::{Effect, FailingStorage, Method, PausingStorage};
use session_manager_testkit::{Fixture, ReferenceStorage, user};

struct Lab {
    shadow: Arc<ShadowStorage>,
    fixture: Fixture,
    clock: Arc<ManualClock>,
    work: Option<tokio::task::JoinHandle<()>>,
}

fn lab(new: Arc<dyn SessionStorage>, config: ShadowConfig) -> Lab {
    let clock = Arc::new(ManualClock::default());
    let shadow = ShadowStorage::new(Arc::new(MemoryStorage::default()), new, config);
    let shadow = Arc::new(shadow.with_clock(Arc::clone(&clock) as Arc<dyn Clock>));
    let fixture = Fixture::new(Arc::clone(&shadow) as Arc<dyn SessionStorage>);
    Lab { shadow, fixture, clock, work: None }
}

impl Lab {
    async fn settle(&mut self) {
        if self.work.is_none() {
            let shadow = Arc::clone(&self.shadow);
            self.work = Some(tokio::spawn(async move { shadow.maintenance().unwrap().await }));
        }
        for _ in 0..500 {
            tokio::task::yield_now().await;
        }
    }

    async fn traffic(&self, round: u32) {
        let lab = &self.fixture;
        let alice = user("alice");
        let (one, two) = (
            lab.login(&alice).await,
            lab.store(lab.session(&alice).with_everything().external(&round.to_string())).await,
        );
        lab.tick(1_000);
        lab.advance(&one, 1).await;
        lab.advance(&one, 1).await;
        lab.touch(&two).await;
        let mut patch = SessionPatch::new();
        patch.raise_floor = true;
        lab.update(&lab.reread(&two).await, patch).await;
        lab.live_ids(&alice).await;
        lab.shadow_count(&alice).await;
        lab.bump_user(&alice, Some(two.session.id)).await;
        lab.reread(&one).await;
        lab.bump_global(1_000).await;
        lab.revoke(RevokeTarget::User { user: alice.clone(), except: None }).await;
        assert!(!lab.state(&two).await.is_live());
    }
}

trait Counted {
    async fn shadow_count(&self, user: &session_manager_core::UserId);
}

impl Counted for Fixture {
    async fn shadow_count(&self, user: &session_manager_core::UserId) {
        self.storage().count(&Query::of(user.clone(), self.now())).await.unwrap();
    }
}

#[tokio::test]
async fn two_right_storages_do_not_differ() {
    let mut lab = lab(Arc::new(ReferenceStorage::new()), ShadowConfig::new());
    for round in 0..5 {
        lab.traffic(round).await;
    }
    assert_eq!(lab.shadow.stats().repeated, 0, "nothing is repeated on the caller's time");
    lab.settle().await;
    let stats = lab.shadow.stats();
    assert!(stats.repeated > 50, "{stats:?}");
    assert_eq!((stats.differences, stats.dropped, stats.failed, stats.timed_out), (Differences::default(), 0, 0, 0));
}

#[tokio::test]
async fn differences_are_counted_by_kind() {
    // The new storage loses every revocation, and then answers as if there had been none.
    let new = Arc::new(FailingStorage::new(ReferenceStorage::new()));
    let mut lab = lab(Arc::clone(&new) as Arc<dyn SessionStorage>, ShadowConfig::new());
    let one = lab.fixture.login(&user("alice")).await;
    lab.settle().await;
    new.fail_next(Method::Revoke, Effect::Nothing);
    lab.fixture.logout(&one).await;
    lab.settle().await;
    assert_eq!(lab.shadow.stats().failed, 1);
    lab.fixture.reread(&one).await;
    lab.settle().await;
    assert_eq!(lab.shadow.stats().differences.state, 1);

    new.fail_next(Method::Insert, Effect::Nothing);
    let two = lab.fixture.login(&user("bob")).await;
    lab.fixture.reread(&two).await;
    lab.settle().await;
    assert_eq!(lab.shadow.stats().differences.missing, 1);

    let three = lab.fixture.login(&user("carol")).await;
    lab.fixture.tick(1_000);
    new.fail_next(Method::Touch, Effect::Nothing);
    lab.fixture.touch(&three).await;
    lab.fixture.reread(&three).await;
    new.fail_next(Method::Advance, Effect::Nothing);
    lab.fixture.advance(&three, 1).await;
    lab.fixture.reread(&three).await;
    lab.settle().await;
    let found = lab.shadow.stats().differences;
    assert_eq!((found.tokens, found.total() > 3), (2, true), "{found:?}");
}

#[tokio::test]
async fn the_new_one_never_fails_or_delays_the_old() {
    let new = Arc::new(PausingStorage::new(FailingStorage::new(ReferenceStorage::new())));
    let config = ShadowConfig::new().queue(8).timeout(Duration::from_secs(1));
    let mut lab = lab(Arc::clone(&new) as Arc<dyn SessionStorage>, config);
    let mut held = new.pause_next(Method::Insert);
    lab.settle().await;
    let one = lab.fixture.login(&user("alice")).await;
    lab.settle().await;
    held.reached().await;
    for _ in 0..50 {
        assert_eq!(lab.fixture.state(&one).await, State::Live, "answered while the new storage hangs");
    }
    let stats = lab.shadow.stats();
    assert!(stats.dropped >= 40 && stats.repeated == 0, "{stats:?}");
    lab.clock.advance(Duration::from_secs(1));
    lab.settle().await;
    assert_eq!(lab.shadow.stats().timed_out, 1);
    assert!(lab.shadow.stats().repeated > 0, "the next ones went on");
    new.inner().outage();
    let two = lab.fixture.login(&user("bob")).await;
    lab.settle().await;
    assert_eq!(lab.fixture.state(&two).await, State::Live);
    assert!(lab.shadow.stats().failed > 0);
}

#[tokio::test]
async fn a_sample_is_of_whole_users() {
    let new = Arc::new(ReferenceStorage::new());
    let mut lab = lab(Arc::clone(&new) as Arc<dyn SessionStorage>, ShadowConfig::new().per_mille(500));
    let mut users = Vec::new();
    for number in 0..100 {
        let user = user(&format!("user {number}"));
        for _ in 0..2 {
            let one = lab.fixture.login(&user).await;
            lab.fixture.advance(&one, 1).await;
        }
        users.push(user);
        lab.settle().await;
    }
    let mut counts = [0; 3];
    for user in users {
        let page = new.list(&Query::of(user, lab.fixture.now())).await.unwrap();
        counts[page.sessions.len()] += 1;
    }
    assert!(counts[0] > 20 && counts[1] == 0 && counts[2] > 20, "{counts:?}");
    assert_eq!(lab.shadow.stats().differences.total(), 0);
}
