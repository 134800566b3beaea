//! Two storages, inhabited or not, led as one.
#![allow(dead_code, reason = "shared by test programs of which not each needs everything")]

use std::sync::Arc;

use session_manager_core::storage::{Consistency, Revoke, RevokeTarget};
use session_manager_core::{Actor, Epochs, LivePolicy, RevocationReason, SessionStorage, Snapshot, State, UserId};
use session_manager_storage_migration::{CopyOptions, CopyProgress, DualConfig, DualStorage, Lead, copy};
use session_manager_testkit::fault::{FailingStorage, PausingStorage};
use session_manager_testkit::{Fixture, ReferenceStorage, user};

pub(crate) const LEADS: [Lead; 3] = [Lead::Old, Lead::NewThenOld, Lead::New];

pub(crate) type Side = Arc<FailingStorage<PausingStorage<ReferenceStorage>>>;

pub(crate) struct Lab {
    pub(crate) old: Side,
    pub(crate) new: Side,
    pub(crate) dual: Arc<DualStorage>,
    pub(crate) fixture: Fixture,
}

pub(crate) fn side() -> Side {
    Arc::new(FailingStorage::new(PausingStorage::new(ReferenceStorage::new())))
}

pub(crate) fn lab(lead: Lead) -> Lab {
    let (old, new) = (side(), side());
    over(&old, &new, lead)
}

pub(crate) fn over(old: &Side, new: &Side, lead: Lead) -> Lab {
    let (old, new) = (Arc::clone(old), Arc::clone(new));
    let both = (Arc::clone(&old) as Arc<dyn SessionStorage>, Arc::clone(&new) as Arc<dyn SessionStorage>);
    let dual = Arc::new(DualStorage::new(both.0, both.1, DualConfig::new(lead)).unwrap());
    let fixture = Fixture::new(Arc::clone(&dual) as Arc<dyn SessionStorage>);
    Lab { old, new, dual, fixture }
}

impl Lab {
    /// The same two storages, led otherwise, at the same time.
    pub(crate) fn led_by(&self, lead: Lead) -> Self {
        let next = over(&self.old, &self.new, lead);
        next.fixture.clock().set(self.fixture.now());
        next
    }

    pub(crate) fn revoke_of(&self, target: RevokeTarget) -> Revoke {
        Revoke::new(target, RevocationReason::LOGOUT, Actor::System, self.fixture.now())
    }

    pub(crate) async fn in_both(&self, snapshot: &Snapshot) -> [Option<Snapshot>; 2] {
        let key = snapshot.key();
        [
            self.old.read(&key, Consistency::Latest).await.unwrap(),
            self.new.read(&key, Consistency::Latest).await.unwrap(),
        ]
    }

    pub(crate) async fn states(&self, snapshot: &Snapshot) -> [Option<State>; 2] {
        let now = self.fixture.now();
        self.in_both(snapshot).await.map(|found| found.map(|found| found.state(now, LivePolicy::TRACKED)))
    }

    pub(crate) async fn epochs(&self, user: &UserId) -> [Epochs; 2] {
        [self.old.epochs(Some(user)).await.unwrap(), self.new.epochs(Some(user)).await.unwrap()]
    }

    pub(crate) async fn copy(&self) -> CopyProgress {
        copy(&self.old, &self.new, &CopyOptions::new().clock(self.fixture.clock()), &mut |_| {}).await.unwrap()
    }
}

/// Fills a storage alone, as it was before the migration.
pub(crate) async fn inhabited(old: &Side) -> (Fixture, Vec<Snapshot>) {
    let before = Fixture::new(Arc::clone(old) as Arc<dyn SessionStorage>);
    let mut all = Vec::new();
    for name in ["alice", "bob", "carol"] {
        for _ in 0..3 {
            all.push(before.login(&user(name)).await);
        }
        before.bump_user(&user(name), None).await;
        all.push(before.store(before.session(&user(name)).with_everything().external(name)).await);
    }
    before.tick(1_000);
    before.advance(&all[3], 1).await;
    before.logout(&all[7]).await;
    before.bump_global(60_000).await;
    (before, all)
}
