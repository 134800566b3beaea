//! Concurrent histories of one session, checked for linearizability: whatever its callers were told must be what they would have been
//! told had their calls been made one after another, each between its beginning and its end.
//!
//! The checker is that of `stateright`, which is compiled only with the feature `linearizability`.

mod caller;
mod plan;
mod record;
mod spec;

use std::cell::Cell;
use std::sync::Arc;

use proptest::test_runner::{Config, TestCaseError, TestError};
use session_manager_core::SessionStorage;
use session_manager_core::storage::Consistency;

use super::Ability;
use super::model::runner;
use super::run::runtime;
use crate::fixture::{Fixture, user};
use caller::Session;
pub use plan::Mix;
use plan::Plan;
use record::Record;
use spec::Spec;

/// A history with more failed calls than this is not judged: almost anything explains it, and trying all of it takes for ever.
const MOST_FAILURES: usize = 4;

/// How many concurrent histories are tried, and from which seed their operations are drawn.
///
/// The races are the machine's: the same seed gives the same operations, never the same order.
///
/// ```
/// use session_manager_testkit::ReferenceStorage;
/// use session_manager_testkit::conformance::{ConcurrentHistories, Mix};
///
/// let histories = ConcurrentHistories::default().cases(4).seed("the same operations");
/// histories.linearize(Mix::Everything, || async { ReferenceStorage::new() });
/// ```
#[derive(Clone, Debug)]
pub struct ConcurrentHistories {
    cases: u32,
    seed: Option<String>,
}

impl Default for ConcurrentHistories {
    /// Forty histories of three or four callers with three to five operations each, different ones every time.
    fn default() -> Self {
        Self { cases: 40, seed: None }
    }
}

impl ConcurrentHistories {
    /// As `SESSION_TESTKIT_CASES` and `SESSION_TESTKIT_SEED` say, where they are set.
    ///
    /// # Panics
    /// When the first is no number.
    pub fn from_env() -> Self {
        let cases = std::env::var("SESSION_TESTKIT_CASES").ok();
        Self {
            cases: cases.map_or(Self::default().cases, |text| text.parse().expect("a number of cases")),
            seed: std::env::var("SESSION_TESTKIT_SEED").ok(),
        }
    }

    /// So many histories.
    pub const fn cases(mut self, cases: u32) -> Self {
        self.cases = cases;
        self
    }

    /// The same operations every time, of this seed; its first 32 bytes count.
    pub fn seed(mut self, seed: &str) -> Self {
        self.seed = Some(seed.to_owned());
        self
    }

    /// Runs every history on a session of its own in one storage.
    ///
    /// # Panics
    /// When a history has no order that explains every answer, with the history; when most operations fail, or stand in a history of
    /// which more than four failed; and when the mix raises epochs and the storage keeps none.
    pub fn linearize<F, Fut, S>(&self, mix: Mix, factory: F)
    where
        F: Fn() -> Fut,
        Fut: Future<Output = S>,
        S: SessionStorage + 'static,
    {
        let runtime = runtime();
        let storage: Arc<dyn SessionStorage> = runtime.block_on(async { Arc::new(factory().await) });
        assert!(
            !mix.raises_epochs() || Ability::Epochs.of(&*storage),
            "{mix:?} raises epochs, and the storage keeps none: say `lacking = [Epochs]`"
        );
        let lab = Fixture::new(storage);
        let (cases, asked, answered) = (Cell::new(0), Cell::new(0), Cell::new(0));
        let mut config = Config::with_cases(self.cases);
        // A race that was seen once may not be seen again: the history is the evidence, and nothing is gained by another.
        config.max_shrink_iters = 0;
        let result = runner(config, self.seed.as_deref()).run(&plan::plans(mix), |plan| {
            cases.set(cases.get() + 1);
            let (spec, record) = runtime.block_on(live_through(&lab, cases.get(), plan));
            asked.set(asked.get() + record.asked());
            if record.asked() - record.answered() > MOST_FAILURES {
                return Ok(());
            }
            answered.set(answered.get() + record.answered());
            if record.is_linearizable(spec.clone()) {
                return Ok(());
            }
            Err(TestCaseError::fail(format!(
                "no order of these calls explains every answer\nat first: {spec:?}\n{record}"
            )))
        });
        // What a storage holds open is closed where it was opened.
        runtime.block_on(async { drop(lab) });
        match result {
            Ok(()) => {}
            Err(TestError::Fail(message, _)) => panic!("{message}"),
            Err(TestError::Abort(reason)) => panic!("no histories could be drawn: {reason}"),
        }
        let (asked, answered) = (asked.get(), answered.get());
        assert!(answered * 2 > asked, "only {answered} of {asked} operations were answered: that proves nothing");
    }
}

/// Runs concurrent histories of this mix on a fresh storage, as a test.
///
/// # Panics
/// As [`ConcurrentHistories::linearize`].
pub fn linearizable<F, Fut, S>(mix: Mix, factory: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = S>,
    S: SessionStorage + 'static,
{
    ConcurrentHistories::from_env().linearize(mix, factory);
}

/// One history on a new session of a new user: how the session was at first, and what its callers did and were told.
async fn live_through(lab: &Fixture, case: u32, plan: Plan) -> (Spec, Record) {
    let snapshot = lab.login(&user(&format!("user-{case}"))).await;
    let first = lab.storage().read(&snapshot.key(), Consistency::Latest).await.unwrap().expect("a new session");
    let spec = Spec::of(&first);
    let record = caller::run(Session::new(lab.clone(), first), plan).await;
    (spec, record)
}

/// Generates a module of tests that check concurrent histories on a storage for linearizability, one test for each [`Mix`].
///
/// The second argument makes a future of a fresh storage, as for [`storage_conformance!`](crate::storage_conformance); it is called once
/// for each test, and every history has a user and a session of its own in it. A storage that keeps no epochs says so.
///
/// ```
/// use session_manager_testkit::{ReferenceStorage, storage_histories};
///
/// storage_histories!(value, || async { ReferenceStorage::new() });
/// storage_histories!(without_epochs, async || ReferenceStorage::without_epochs(), lacking = [Epochs]);
/// ```
#[macro_export]
macro_rules! storage_histories {
    ($module:ident, $factory:expr $(,)?) => {
        mod $module {
            #[allow(unused_imports, reason = "the factory may need nothing from around it")]
            use super::*;

            $crate::storage_histories!(@tests $factory,
                refreshes_are_linearizable: Refreshes,
                updates_are_linearizable: Updates,
                epochs_are_linearizable: Epochs,
                everything_is_linearizable: Everything
            );
        }
    };
    ($module:ident, $factory:expr, lacking = [Epochs] $(,)?) => {
        mod $module {
            #[allow(unused_imports, reason = "the factory may need nothing from around it")]
            use super::*;

            $crate::storage_histories!(@tests $factory,
                refreshes_are_linearizable: Refreshes,
                updates_are_linearizable: Updates
            );
        }
    };
    (@tests $factory:expr, $($test:ident: $mix:ident),*) => {
        $(#[test]
        fn $test() {
            $crate::conformance::linearizable($crate::conformance::Mix::$mix, $factory);
        })*
    };
}
