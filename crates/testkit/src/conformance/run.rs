//! Runs checks: one as a test of its own, or all into a report.

use std::fmt;
use std::sync::Arc;

use session_manager_core::SessionStorage;
use tokio::runtime::{Builder, Runtime};

use super::ability::Ability;
use super::drawn::said;
#[cfg(feature = "linearizability")]
use super::histories::{ConcurrentHistories, Mix};
use super::model::Histories;
use super::table::{Check, checks};
use crate::broken::Defect;

/// How a check came out; a failure is a panic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "a skipped check proves nothing"]
pub enum CheckOutcome {
    /// The storage does what the check proves.
    Passed,
    /// The storage lacks this, and nothing was proved.
    Skipped(Ability),
}

/// Runs one check on a fresh storage, as a test.
///
/// # Panics
/// When the check fails, or is skipped for want of an ability that is not in `lacking`.
pub fn run<F, Fut, S>(name: &str, lacking: &[Ability], factory: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = S>,
    S: SessionStorage + 'static,
{
    let check = Check::named(name);
    let outcome = runtime().block_on(async { check.run(Arc::new(factory().await)).await });
    assert_expected(name, outcome, lacking);
}

/// Runs the checks that are named for a defect on fresh storages that have it, as a test.
///
/// # Panics
/// When a check does not see the defect, or is skipped for want of an ability that is not in `lacking`.
#[allow(clippy::print_stderr, reason = "the matrix of defects and checks is made of these lines")]
pub fn catches<F, Fut, S>(name: &str, lacking: &[Ability], factory: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = S>,
    S: SessionStorage + 'static,
{
    let defect = Defect::named(name);
    for name in defect.caught_by() {
        let check = Check::named(name);
        let outcome = runtime().block_on(async {
            let storage = defect.of(Arc::new(factory().await));
            tokio::spawn(check.run(storage)).await
        });
        match outcome {
            Err(_) => eprintln!("CAUGHT {} by {name}", defect.name()),
            Ok(CheckOutcome::Passed) => panic!("{name} does not see the defect {}", defect.name()),
            Ok(outcome) => assert_expected(name, outcome, lacking),
        }
    }
}

/// Compares random histories on fresh storages with the reference, as a test.
///
/// # Panics
/// When an outcome differs from the reference's, with the shortest history that was found.
pub fn run_model<F, Fut, S>(factory: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = S>,
    S: SessionStorage + 'static,
{
    Histories::from_env().agree(factory);
}

/// Fails unless the storage lacks exactly what the test says.
///
/// # Panics
/// When it has more than that, or less.
pub fn abilities_are_as_declared<F, Fut, S>(lacking: &[Ability], factory: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = S>,
    S: SessionStorage + 'static,
{
    runtime().block_on(async {
        let storage = factory().await;
        for ability in Ability::ALL {
            assert_eq!(
                ability.of(&storage),
                !lacking.contains(&ability),
                "the storage and its test disagree on {ability:?}: the test says that it lacks {lacking:?}"
            );
        }
    });
}

/// Runs every check, the random histories and, with the feature `linearizability`, the concurrent ones on fresh storages, whatever fails.
///
/// How many histories there are, [`Histories::from_env`] says.
///
/// # Panics
/// Only when called outside a multi-thread runtime of tokio.
pub async fn report<F, Fut, S>(factory: F) -> Report
where
    F: Fn() -> Fut,
    Fut: Future<Output = S>,
    S: SessionStorage + 'static,
{
    let mut lines = Vec::new();
    for check in checks() {
        let storage: Arc<dyn SessionStorage> = Arc::new(factory().await);
        let result = tokio::spawn(check.run(storage)).await.map_err(|error| match error.try_into_panic() {
            Ok(panic) => said(&*panic),
            Err(error) => error.to_string(),
        });
        lines.push(ReportLine { group: check.group(), name: check.name(), result, extent: None });
    }
    let (result, extent) =
        passed(Histories::from_env().compare(&factory).await.map(|cases| format!("{cases} histories")));
    lines.push(ReportLine { group: "model", name: "random_histories_match_the_reference", result, extent });
    #[cfg(feature = "linearizability")]
    {
        let without_epochs = !Ability::Epochs.of(&factory().await);
        for mix in Mix::ALL {
            let (result, extent) = if mix.raises_epochs() && without_epochs {
                (Ok(CheckOutcome::Skipped(Ability::Epochs)), None)
            } else {
                passed(ConcurrentHistories::from_env().judge(mix, &factory).await.map(|judged| judged.to_string()))
            };
            lines.push(ReportLine { group: "histories", name: mix.test(), result, extent });
        }
    }
    Report { lines }
}

/// The outcome of histories, and how many there were.
fn passed(result: Result<String, String>) -> (Result<CheckOutcome, String>, Option<String>) {
    match result {
        Ok(extent) => (Ok(CheckOutcome::Passed), Some(extent)),
        Err(message) => (Err(message), None),
    }
}

/// What every check said. Its `Display` is a table for people.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// One line a check, in the order of the suite.
    pub lines: Vec<ReportLine>,
}

/// What one check said.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReportLine {
    /// The subject it belongs to.
    pub group: &'static str,
    /// The name of the check, or of the test of histories.
    pub name: &'static str,
    /// Its outcome, or the message with which it failed.
    pub result: Result<CheckOutcome, String>,
    /// How much was tried, where that is not always the same: so many histories, so many of them judged.
    pub extent: Option<String>,
}

impl Report {
    /// Whether nothing failed and nothing but `lacking` was skipped.
    ///
    /// Where the concurrent histories were not compiled, this says nothing of them; the text of the report says that.
    pub fn is_certified(&self, lacking: &[Ability]) -> bool {
        self.lines.iter().all(|line| match line.result {
            Ok(CheckOutcome::Passed) => true,
            Ok(CheckOutcome::Skipped(ability)) => lacking.contains(&ability),
            Err(_) => false,
        })
    }

    /// The names of the checks that failed.
    pub fn failed(&self) -> impl Iterator<Item = &'static str> {
        self.lines.iter().filter(|line| line.result.is_err()).map(|line| line.name)
    }

    /// The names of the checks that proved nothing, and why.
    pub fn skipped(&self) -> impl Iterator<Item = (&'static str, Ability)> {
        self.lines.iter().filter_map(|line| match line.result {
            Ok(CheckOutcome::Skipped(ability)) => Some((line.name, ability)),
            _ => None,
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ReportLine { name, result, extent, .. } in &self.lines {
            match result {
                Ok(CheckOutcome::Passed) => write!(f, "passed   {name}")?,
                Ok(CheckOutcome::Skipped(ability)) => write!(f, "SKIPPED  {name}: lacks {ability:?}")?,
                Err(message) => write!(f, "FAILED   {name}: {message}")?,
            }
            extent.as_ref().map_or(Ok(()), |extent| write!(f, ": {extent}"))?;
            writeln!(f)?;
        }
        if cfg!(not(feature = "linearizability")) {
            writeln!(f, "NOT RUN  concurrent histories: the kit's feature `linearizability` is off")?;
        }
        let (failed, skipped) = (self.failed().count(), self.skipped().count());
        write!(f, "{} passed, {failed} failed, {skipped} skipped", self.lines.len() - failed - skipped)
    }
}

#[allow(clippy::print_stderr, reason = "a skipped check says so aloud")]
fn assert_expected(name: &str, outcome: CheckOutcome, lacking: &[Ability]) {
    if let CheckOutcome::Skipped(ability) = outcome {
        assert!(
            lacking.contains(&ability),
            "{name} needs {ability:?}, which the storage lacks: give it, or say `lacking = [{ability:?}]`"
        );
        eprintln!("SKIPPED {name}: the storage lacks {ability:?}");
    }
}

pub(super) fn runtime() -> Runtime {
    // More workers than cores, so that the races of the concurrent checks happen on small machines too.
    Builder::new_multi_thread().worker_threads(4).enable_all().build().expect("a runtime")
}
