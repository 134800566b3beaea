//! Concurrent histories of one session, checked for linearizability: whatever its callers were told must be what they would have been
//! told had their calls been made one after another, each between its beginning and its end.
//!
//! The checker is that of `stateright`, which is compiled only with the feature `linearizability`.

mod caller;
mod plan;
mod record;
mod spec;

use std::fmt;
use std::sync::Arc;

use session_manager_core::SessionStorage;
use session_manager_core::storage::Consistency;

use super::Ability;
use super::drawn::Drawn;
use super::run::runtime;
use crate::broken::Race;
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
/// let judged = histories.linearize(Mix::Everything, || async { ReferenceStorage::new() });
/// assert_eq!(judged.judged, 4);
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

    /// Runs every history on a session of its own in one storage, and says how many could be judged.
    ///
    /// # Panics
    /// When a history has no order that explains every answer, with the history; when no history could be judged, or most calls failed,
    /// since that proves nothing; and when the mix raises epochs and the storage keeps none.
    pub fn linearize<F, Fut, S>(&self, mix: Mix, factory: F) -> HistoryCount
    where
        F: Fn() -> Fut,
        Fut: Future<Output = S>,
        S: SessionStorage + 'static,
    {
        runtime().block_on(self.judge(mix, factory)).unwrap_or_else(|message| panic!("{message}"))
    }

    /// The same, told and not panicked. Inside a multi-thread runtime of tokio.
    pub(super) async fn judge<F, Fut, S>(&self, mix: Mix, factory: F) -> Result<HistoryCount, String>
    where
        F: Fn() -> Fut,
        Fut: Future<Output = S>,
        S: SessionStorage + 'static,
    {
        let storage: Arc<dyn SessionStorage> = Arc::new(factory().await);
        if mix.raises_epochs() && !Ability::Epochs.of(&*storage) {
            return Err(format!("{mix:?} raises epochs, and the storage keeps none: say `lacking = [Epochs]`"));
        }
        let lab = Fixture::new(storage);
        let mut judged = HistoryCount::default();
        // A race that was seen once may not be seen again: the history is the evidence, and nothing is gained by another.
        let drawn = Drawn { cases: self.cases, seed: self.seed.clone(), shrinks: 0 };
        let run = async |plan: Plan| {
            judged.histories += 1;
            let (spec, record) = live_through(&lab, judged.histories, plan).await;
            judged.calls += record.asked();
            judged.answered += record.answered();
            if record.asked() - record.answered() > MOST_FAILURES {
                return Ok(());
            }
            judged.judged += 1;
            if record.is_linearizable(spec.clone()) {
                return Ok(());
            }
            Err(format!("no order of these calls explains every answer\nat first: {spec:?}\n{record}"))
        };
        drawn.first_failure(&plan::plans(mix), run).await.map_err(|(message, _)| message)?;
        if judged.judged == 0 || judged.answered * 2 <= judged.calls {
            return Err(format!("{judged}: that proves nothing"));
        }
        Ok(judged)
    }
}

/// How much a run of concurrent histories proved.
///
/// A history with more than four calls of which nobody knows whether they happened is not judged: almost anything would explain it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct HistoryCount {
    /// Histories that were lived through.
    pub histories: u32,
    /// Those of them that an order was looked for, and found.
    pub judged: u32,
    /// Calls of all histories.
    pub calls: usize,
    /// Those of them that were answered; the others failed.
    pub answered: usize,
}

impl fmt::Display for HistoryCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { histories, judged, calls, answered } = self;
        write!(f, "{judged} of {histories} histories were judged, {answered} of {calls} calls were answered")
    }
}

/// Runs concurrent histories of this mix on a fresh storage, as a test, and says how many could be judged.
///
/// # Panics
/// As [`ConcurrentHistories::linearize`].
#[allow(clippy::print_stderr, reason = "what was not judged is not proved, and that is said aloud")]
pub fn linearizable<F, Fut, S>(mix: Mix, factory: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = S>,
    S: SessionStorage + 'static,
{
    let judged = ConcurrentHistories::from_env().linearize(mix, factory);
    eprintln!("{mix:?}: {judged}");
}

/// Runs the mixes that are named for a race on fresh storages that have it, as a test: one history must have no order.
///
/// # Panics
/// When four hundred histories of a mix show nothing wrong.
#[allow(clippy::print_stderr, reason = "the matrix of defects and checks is made of these lines")]
pub fn races_are_caught<F, Fut, S>(race: Race, factory: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = S>,
    S: SessionStorage + 'static,
{
    for mix in caught_by(race) {
        let broken = || async { race.over(Arc::new(factory().await)) };
        let histories = ConcurrentHistories::default().cases(400);
        let message = match runtime().block_on(histories.judge(*mix, broken)) {
            Ok(judged) => panic!("{} does not see the race {}: {judged}", mix.test(), race.name()),
            Err(message) => message,
        };
        assert!(message.starts_with("no order of these calls explains every answer"), "{message}");
        eprintln!("CAUGHT {} by {}\n{message}", race.name(), mix.test());
    }
}

/// The mixes that must find a race.
const fn caught_by(race: Race) -> &'static [Mix] {
    match race {
        Race::CheckThenRefresh => &[Mix::Refreshes],
        Race::CheckThenUpdate => &[Mix::Updates],
        Race::CheckThenRevoke | Race::LateRevocation => &[Mix::Refreshes, Mix::Updates],
        Race::StaleEpoch => &[Mix::Epochs],
    }
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

/// Generates a module of tests, one for each [`Race`] that concurrent histories on this storage must find.
///
/// The arguments are those of [`storage_histories!`](crate::storage_histories).
///
/// ```
/// use session_manager_testkit::{ReferenceStorage, storage_races};
///
/// storage_races!(races, || async { ReferenceStorage::new() });
/// ```
#[macro_export]
macro_rules! storage_races {
    ($module:ident, $factory:expr $(,)?) => {
        mod $module {
            #[allow(unused_imports, reason = "the factory may need nothing from around it")]
            use super::*;

            $crate::storage_races!(@tests $factory,
                check_then_refresh: CheckThenRefresh,
                check_then_update: CheckThenUpdate,
                check_then_revoke: CheckThenRevoke,
                late_revocation: LateRevocation,
                stale_epoch: StaleEpoch
            );
        }
    };
    ($module:ident, $factory:expr, lacking = [Epochs] $(,)?) => {
        mod $module {
            #[allow(unused_imports, reason = "the factory may need nothing from around it")]
            use super::*;

            $crate::storage_races!(@tests $factory,
                check_then_refresh: CheckThenRefresh,
                check_then_update: CheckThenUpdate,
                check_then_revoke: CheckThenRevoke,
                late_revocation: LateRevocation
            );
        }
    };
    (@tests $factory:expr, $($test:ident: $race:ident),*) => {
        $(#[test]
        fn $test() {
            $crate::conformance::races_are_caught($crate::broken::Race::$race, $factory);
        })*
    };
}
