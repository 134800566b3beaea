//! A fixture over one tiered storage whose clock goes with the fixture's.
#![allow(dead_code, reason = "shared by test programs of which not each needs everything")]

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use session_manager_core::storage::Consistency;
use session_manager_core::{Clock, InvalidationBus, LivePolicy, ManualClock, SessionStorage, Snapshot, State};
use session_manager_storage_tiered::{TieredConfig, TieredStorage};
use session_manager_testkit::Fixture;

pub(crate) const MAX_AGE: Duration = Duration::from_secs(10);

/// One node: its tiered storage and the fixture around that.
#[derive(Clone)]
pub(crate) struct Lab {
    fixture: Fixture,
    pub(crate) tiered: Arc<TieredStorage>,
    clock: Arc<ManualClock>,
}

impl Deref for Lab {
    type Target = Fixture;

    fn deref(&self) -> &Fixture {
        &self.fixture
    }
}

impl Lab {
    pub(crate) fn new<S: SessionStorage + 'static>(durable: &Arc<S>) -> Self {
        Self::with(durable, TieredConfig::new().max_age(MAX_AGE), None)
    }

    pub(crate) fn with<S>(durable: &Arc<S>, config: TieredConfig, bus: Option<Arc<dyn InvalidationBus>>) -> Self
    where
        S: SessionStorage + 'static,
    {
        Self::built(durable, config, |tiered| match bus {
            Some(bus) => tiered.with_bus(bus),
            None => tiered,
        })
    }

    /// With whatever else the storage is to have.
    pub(crate) fn built<S>(
        durable: &Arc<S>,
        config: TieredConfig,
        with: impl FnOnce(TieredStorage) -> TieredStorage,
    ) -> Self
    where
        S: SessionStorage + 'static,
    {
        let clock = Arc::new(ManualClock::default());
        let tiered = TieredStorage::new(Arc::clone(durable) as Arc<dyn SessionStorage>, config).unwrap();
        let tiered = Arc::new(with(tiered.with_clock(Arc::clone(&clock) as Arc<dyn Clock>)));
        Self { fixture: Fixture::new(Arc::clone(&tiered) as Arc<dyn SessionStorage>), tiered, clock }
    }

    /// Moves both clocks.
    pub(crate) fn tick(&self, millis: i64) {
        self.fixture.tick(millis);
        self.clock.set(self.fixture.now());
    }

    /// A fixture past the cache, at this one's time.
    pub(crate) fn past<S: SessionStorage + 'static>(&self, durable: &Arc<S>) -> Fixture {
        let past = Fixture::new(Arc::clone(durable) as Arc<dyn SessionStorage>);
        past.clock().set(self.now());
        past
    }

    /// Listens until the task is aborted; returns when it does.
    pub(crate) async fn listen(&self) -> tokio::task::JoinHandle<()> {
        let tiered = Arc::clone(&self.tiered);
        let listening = tokio::spawn(async move { tiered.maintenance().expect("there is a bus").await });
        tokio::task::yield_now().await;
        listening
    }

    pub(crate) async fn eventual(&self, snapshot: &Snapshot) -> Option<Snapshot> {
        let key = snapshot.key();
        let reading = self.tiered.read(&key, Consistency::Eventual);
        // A read that waits for one that the test holds is a failure, not a reason to hang.
        tokio::time::timeout(Duration::from_secs(10), reading).await.expect("it waits for nobody").unwrap()
    }

    /// How a session stands as far as this node remembers.
    pub(crate) async fn seen(&self, snapshot: &Snapshot) -> State {
        self.eventual(snapshot).await.expect("it is stored").state(self.now(), LivePolicy::TRACKED)
    }

    pub(crate) fn reading(&self, snapshot: &Snapshot) -> tokio::task::JoinHandle<Option<Snapshot>> {
        let (lab, snapshot) = (self.clone(), snapshot.clone());
        tokio::spawn(async move { lab.eventual(&snapshot).await })
    }

    pub(crate) fn revoking(&self, snapshot: &Snapshot) -> tokio::task::JoinHandle<()> {
        let (lab, snapshot) = (self.clone(), snapshot.clone());
        tokio::spawn(async move {
            lab.logout(&snapshot).await;
        })
    }
}
