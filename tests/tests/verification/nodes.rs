//! Several managers on one storage and one clock, each counting what it reads.

use std::sync::Arc;
use std::time::Duration;

use session_manager_core::{
    Authenticated, Clock, Created, Delivery, ErrorKind, InvalidationBus, ManualClock, NewSession, SessionManager,
    SessionManagerBuilder, SessionStorage, Token, Verification,
};
use session_manager_testkit::fault::{CountingStorage, Method};
use session_manager_tests::bed::{backend, firefox, memory, user};
use session_manager_tests::sink::RememberingSink;
use tokio::task::JoinHandle;

/// What the tests take as `max_age`.
pub(crate) const MAX_AGE: Duration = Duration::from_secs(5);

/// The mode that most of these tests are about.
pub(crate) const FEED: Verification = Verification::Feed { max_age: MAX_AGE };

/// A millisecond less.
pub(crate) fn just_before(duration: Duration) -> Duration {
    duration.checked_sub(Duration::from_millis(1)).unwrap()
}

/// A service of several nodes.
pub(crate) struct Nodes {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) storage: Arc<dyn SessionStorage>,
    bus: Option<Arc<dyn InvalidationBus>>,
}

/// One of them. Its background work ends with it.
pub(crate) struct Node {
    pub(crate) manager: SessionManager,
    pub(crate) reads: Arc<CountingStorage<Arc<dyn SessionStorage>>>,
    pub(crate) sink: Arc<RememberingSink>,
    pub(crate) work: JoinHandle<()>,
}

impl Nodes {
    pub(crate) fn new() -> Self {
        Self { clock: Arc::default(), storage: memory(), bus: None }
    }

    /// With a bus between them.
    pub(crate) fn with_bus(bus: Arc<dyn InvalidationBus>) -> Self {
        Self { bus: Some(bus), ..Self::new() }
    }

    /// A node whose background work has had its first turn.
    pub(crate) async fn node(&self, verification: Verification) -> Node {
        self.node_with(verification, |builder| builder).await
    }

    pub(crate) async fn node_with(
        &self,
        verification: Verification,
        more: impl FnOnce(SessionManagerBuilder) -> SessionManagerBuilder,
    ) -> Node {
        let reads = Arc::new(CountingStorage::new(Arc::clone(&self.storage)));
        let sink = Arc::new(RememberingSink::default());
        let mut builder = SessionManager::builder()
            .storage(reads.clone())
            .backend(backend())
            .clock(self.clock.clone())
            .audit(sink.clone(), Delivery::BestEffort)
            .allow_volatile(true)
            .verification(verification);
        if let Some(bus) = &self.bus {
            builder = builder.bus(Arc::clone(bus));
        }
        let (manager, work) = more(builder).build_with_maintenance().expect("the parts fit");
        let node = Node { manager, reads, sink, work: tokio::spawn(work) };
        turn().await;
        node
    }

    /// Moves the clock in steps in which the background work of every node keeps up.
    pub(crate) async fn pass(&self, duration: Duration) {
        let step = Duration::from_millis(500);
        let mut left = duration;
        while !left.is_zero() {
            let now = left.min(step);
            self.clock.advance(now);
            turn().await;
            left -= now;
        }
    }

    pub(crate) fn now(&self) -> chrono::DateTime<chrono::Utc> {
        self.clock.now()
    }
}

/// Lets background work run until it waits.
pub(crate) async fn turn() {
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
}

impl Node {
    pub(crate) async fn sign_in(&self, name: &str) -> Created {
        self.manager.create(NewSession::of(user(name)).by(["pwd"]), &firefox()).await.expect("a sign-in")
    }

    /// What a request with this token is told.
    pub(crate) async fn access(&self, token: &Token) -> Result<Authenticated, ErrorKind> {
        self.manager.authenticate(token.expose(), &firefox()).await.map_err(|error| error.kind())
    }

    /// How many reads of sessions a request with this token costs, and what it is told.
    pub(crate) async fn cost(&self, token: &Token) -> (u64, Result<(), ErrorKind>) {
        self.reads.reset();
        let outcome = self.access(token).await.map(drop);
        (self.reads.calls(Method::TryRead).max(self.reads.calls(Method::Read)), outcome)
    }

    /// What it is told where it need not read.
    pub(crate) async fn unread(&self, token: &Token) -> Result<(), ErrorKind> {
        let (reads, outcome) = self.cost(token).await;
        assert_eq!(reads, 0, "nothing is read: {outcome:?}");
        outcome
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.work.abort();
    }
}
