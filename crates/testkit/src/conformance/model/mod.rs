//! Random histories: the storage under test and the reference live through the same, and every answer is compared.

mod compare;
mod operation;
mod world;

use std::sync::Arc;

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use session_manager_core::SessionStorage;

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
        let runtime = runtime();
        let mut config = Config::with_cases(self.cases);
        config.max_shrink_iters = 2_000;
        let result = runner(config, self.seed.as_deref()).run(&operation::histories(self.steps.max(1)), |history| {
            runtime.block_on(async { live_through(Arc::new(factory().await), &history).await })
        });
        match result {
            Ok(()) => {}
            Err(TestError::Fail(difference, history)) => {
                let steps: Vec<_> = history.iter().enumerate().map(|(at, one)| format!("{at:3} {one:?}")).collect();
                let steps = steps.join("\n");
                panic!("the storage differs from the reference\n{difference}\nshortest history found:\n{steps}");
            }
            Err(TestError::Abort(reason)) => panic!("no histories could be drawn: {reason}"),
        }
    }
}

/// A runner of these cases, drawn from a seed where one is given.
pub(super) fn runner(mut config: Config, seed: Option<&str>) -> TestRunner {
    // The history in the failure is what reproduces it; a file beside somebody's manifest would not.
    config.failure_persistence = None;
    match seed {
        None => TestRunner::new(config),
        Some(seed) => {
            let mut bytes = [0; 32];
            bytes.iter_mut().zip(seed.bytes()).for_each(|(to, from)| *to = from);
            TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
        }
    }
}

async fn live_through(subject: Arc<dyn SessionStorage>, history: &[Operation]) -> Result<(), TestCaseError> {
    let epochs = subject.capabilities().epochs;
    let reference = if epochs { ReferenceStorage::new() } else { ReferenceStorage::without_epochs() };
    let mut world = World::new(subject, Arc::new(reference)).await;
    for (step, operation) in history.iter().enumerate() {
        let at = |difference| TestCaseError::fail(format!("step {step}: {difference}"));
        world.perform(operation).await.map_err(at)?;
    }
    world.agree_in_the_end().await.map_err(|difference| TestCaseError::fail(format!("at the end: {difference}")))
}
