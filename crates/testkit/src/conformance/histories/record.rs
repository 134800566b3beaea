//! What was called and answered, in the order in which it began and ended, and whether one order of the calls explains it.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use session_manager_core::ErrorKind;
use stateright::semantics::{ConsistencyTester, LinearizabilityTester};

use super::spec::{Op, Ret, Spec};

/// What callers note while they call. One lock, so that what ended before something began stands before it.
#[derive(Debug, Default)]
pub(super) struct Recorder(Mutex<Vec<Event>>);

#[derive(Clone, Debug)]
struct Event {
    caller: usize,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Called(Op),
    Answered(Ret),
    /// Nobody knows whether it happened.
    Failed(ErrorKind),
}

impl Recorder {
    pub(super) fn called(&self, caller: usize, op: Op) {
        self.note(caller, What::Called(op));
    }

    pub(super) fn ended(&self, caller: usize, answer: Result<Ret, ErrorKind>) {
        self.note(caller, answer.map_or_else(What::Failed, What::Answered));
    }

    fn note(&self, caller: usize, what: What) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Event { caller, what });
    }

    pub(super) fn record(&self) -> Record {
        Record(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// A whole history.
#[derive(Clone, Debug)]
pub(super) struct Record(Vec<Event>);

impl Record {
    /// How many calls there were.
    pub(super) fn asked(&self) -> usize {
        self.0.iter().filter(|event| matches!(event.what, What::Called(_))).count()
    }

    /// How many of them were answered.
    pub(super) fn answered(&self) -> usize {
        self.0.iter().filter(|event| matches!(event.what, What::Answered(_))).count()
    }

    /// Whether its calls can be put in an order, each between its beginning and its end, in which the specification gives every answer
    /// that was given. A call that failed may stand anywhere after its beginning, or nowhere.
    pub(super) fn is_linearizable(&self, first: Spec) -> bool {
        let mut tester = LinearizabilityTester::new(first);
        // A caller whose call failed goes on under another name: to the checker, the failed call is under way for ever.
        let mut failures = vec![0_usize; self.0.iter().map(|event| event.caller + 1).max().unwrap_or(0)];
        for event in &self.0 {
            let name = (event.caller, failures[event.caller]);
            let noted = match &event.what {
                What::Called(op) => tester.on_invoke(name, op.clone()),
                What::Answered(ret) => tester.on_return(name, ret.clone()),
                What::Failed(_) => {
                    failures[event.caller] += 1;
                    continue;
                }
            };
            noted.expect("a caller waits for an answer before it calls again");
        }
        tester.is_consistent()
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, event) in self.0.iter().enumerate() {
            write!(f, "{at:3} caller {} ", event.caller)?;
            match &event.what {
                What::Called(op) => writeln!(f, "calls    {op:?}")?,
                What::Answered(ret) => writeln!(f, "is told  {ret:?}")?,
                What::Failed(kind) => writeln!(f, "fails    {kind:?}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Fixture, ReferenceStorage, user};
    use session_manager_core::State;

    use super::super::spec::View;

    /// A new session, and how it looks at a generation; the version goes with it.
    fn session() -> (Spec, impl Fn(u64) -> View) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let lab = Fixture::new(std::sync::Arc::new(ReferenceStorage::new()));
        let first = runtime.block_on(lab.login(&user("alice")));
        let spec = Spec::of(&first);
        let view = move |generation| {
            let mut then = first.clone();
            (then.control.generation, then.control.version) = (generation, generation);
            View::new(&then, State::Live)
        };
        (spec, view)
    }

    fn refresh() -> Op {
        Op::Refresh { presented: 1, grace: true }
    }

    #[test]
    fn one_answer_only_fits_one_order() {
        let (spec, view) = session();
        let recorder = Recorder::default();
        recorder.called(0, refresh());
        recorder.called(1, refresh());
        recorder.ended(1, Ok(Ret::Advanced(view(2))));
        recorder.ended(0, Ok(Ret::Converge(view(2))));
        assert!(recorder.record().is_linearizable(spec.clone()), "whoever is first");
        recorder.called(1, Op::Read);
        recorder.ended(1, Ok(Ret::Found(view(1))));
        assert!(!recorder.record().is_linearizable(spec), "what has been answered is over");
    }

    #[test]
    fn two_successors_of_one_token_fit_no_order() {
        let (spec, view) = session();
        let recorder = Recorder::default();
        recorder.called(0, refresh());
        recorder.called(1, refresh());
        recorder.ended(0, Ok(Ret::Advanced(view(2))));
        recorder.ended(1, Ok(Ret::Advanced(view(3))));
        assert!(!recorder.record().is_linearizable(spec));
    }

    #[test]
    fn what_failed_may_have_happened_or_not() {
        for seen in [1, 2] {
            let (spec, view) = session();
            let recorder = Recorder::default();
            recorder.called(0, refresh());
            recorder.ended(0, Err(ErrorKind::Unavailable));
            // The same caller goes on, and sees either.
            recorder.called(0, Op::Read);
            recorder.ended(0, Ok(Ret::Found(view(seen))));
            assert!(recorder.record().is_linearizable(spec.clone()), "generation {seen}");
            recorder.called(0, Op::Read);
            recorder.ended(0, Ok(Ret::Found(view(3))));
            assert!(!recorder.record().is_linearizable(spec), "it happened at most once");
        }
    }
}
