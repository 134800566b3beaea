//! Random histories: the storage under test and the reference live through the same, and every answer is compared.

mod compare;
mod operation;
mod world;

use std::sync::Arc;

use session_manager_core::SessionStorage;

use super::drawn::Drawn;
use super::run::runtime;
use crate::ReferenceStorage;
use operation::Operation;
use world::World;

/// How many random histories are tried, how long they are, and from which seed they are drawn.
///
/// ```
/// use session_manager_testkit::ReferenceStorage;
/// use session_manager_testkit::conformance::Histories;
///
/// Histories::default().cases(4).seed("reproducible").agree(|| async { ReferenceStorage::new() });
/// ```
#[derive(Clone, Debug)]
pub struct Histories {
    cases: u32,
    steps: usize,
    seed: Option<String>,
}

impl Default for Histories {
    /// Thirty-two histories of up to forty operations, different ones every time.
    fn default() -> Self {
        Self { cases: 32, steps: 40, seed: None }
    }
}

impl Histories {
    /// As `SESSION_TESTKIT_CASES`, `SESSION_TESTKIT_STEPS` and `SESSION_TESTKIT_SEED` say, where they are set.
    ///
    /// # Panics
    /// When one of the first two is no number.
    pub fn from_env() -> Self {
        let default = Self::default();
        let text = |name: &str| std::env::var(name).ok();
        Self {
            cases: text("SESSION_TESTKIT_CASES").map_or(default.cases, |text| text.parse().expect("a number of cases")),
            steps: text("SESSION_TESTKIT_STEPS").map_or(default.steps, |text| text.parse().expect("a number of steps")),
            seed: text("SESSION_TESTKIT_SEED"),
        }
    }

    /// So many histories.
    pub const fn cases(mut self, cases: u32) -> Self {
        self.cases = cases;
        self
    }

    /// Of so many operations at most.
    pub const fn steps(mut self, steps: usize) -> Self {
        self.steps = steps;
        self
    }

    /// The same histories every time, of this seed; its first 32 bytes count.
    pub fn seed(mut self, seed: &str) -> Self {
        self.seed = Some(seed.to_owned());
        self
    }

    /// Compares a fresh storage with a fresh [`ReferenceStorage`] through every history.
    ///
    /// # Panics
    /// When an answer differs, with the shortest history found on which it does.
    pub fn agree<F, Fut, S>(&self, factory: F)
    where
        F: Fn() -> Fut,
        Fut: Future<Output = S>,
        S: SessionStorage + 'static,
    {
        if let Err(difference) = runtime().block_on(self.compare(factory)) {
            panic!("{difference}");
        }
    }

    /// How many histories agreed, or the shortest found on which an answer differs. Inside a multi-thread runtime of tokio.
    pub(super) async fn compare<F, Fut, S>(&self, factory: F) -> Result<u32, String>
    where
        F: Fn() -> Fut,
        Fut: Future<Output = S>,
        S: SessionStorage + 'static,
    {
        let drawn = Drawn { cases: self.cases, seed: self.seed.clone(), shrinks: 2_000 };
        let histories = operation::histories(self.steps.max(1));
        let run = async |history: Vec<Operation>| live_through(Arc::new(factory().await), &history).await;
        drawn.first_failure(&histories, run).await.map(|()| self.cases).map_err(|(difference, history)| {
            let steps: Vec<_> = history.iter().enumerate().map(|(at, one)| format!("{at:3} {one:?}")).collect();
            let steps = steps.join("\n");
            format!("the storage differs from the reference\n{difference}\nshortest history found:\n{steps}")
        })
    }
}

async fn live_through(subject: Arc<dyn SessionStorage>, history: &[Operation]) -> Result<(), String> {
    let epochs = subject.capabilities().epochs;
    let reference = if epochs { ReferenceStorage::new() } else { ReferenceStorage::without_epochs() };
    let mut world = World::new(subject, Arc::new(reference)).await;
    for (step, operation) in history.iter().enumerate() {
        world.perform(operation).await.map_err(|difference| format!("step {step}: {difference}"))?;
    }
    world.agree_in_the_end().await.map_err(|difference| format!("at the end: {difference}"))
}
