//! A storage that is unavailable at chosen calls, before or after it did what it was asked.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use session_manager_core::{Error, ErrorKind, Result};

use super::hooked::{Hook, Hooked};
use super::method::Method;

/// Whether a failing call has its effect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// The call fails and has done nothing.
    Nothing,
    /// The call fails although it has done all: the answer was lost.
    Done,
}

#[derive(Clone, Copy, Debug)]
struct Plan {
    /// `None` is every method.
    method: Option<Method>,
    effect: Effect,
    /// Calls that still pass.
    skip: u32,
    /// Calls that then fail; `None` is all.
    times: Option<u32>,
}

/// Which calls fail, and how.
#[derive(Debug, Default)]
pub struct Failures(Mutex<Vec<Plan>>);

impl Failures {
    /// Whether this call is to fail at this side of its effect; uses the plan up.
    fn strike(&self, method: Method, effect: Effect) -> Result<()> {
        let mut plans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut struck = false;
        for plan in plans.iter_mut() {
            if plan.effect != effect || plan.method.is_some_and(|wanted| wanted != method) || plan.times == Some(0) {
                continue;
            }
            // Every plan counts every call, also one that another makes fail.
            if plan.skip > 0 {
                plan.skip -= 1;
            } else if !struck {
                plan.times = plan.times.map(|times| times - 1);
                struck = true;
            }
        }
        if struck {
            return Err(Error::new(ErrorKind::Unavailable, "injected failure"));
        }
        Ok(())
    }
}

#[async_trait]
impl Hook for Failures {
    async fn before(&self, method: Method) -> Result<()> {
        self.strike(method, Effect::Nothing)
    }

    async fn after(&self, method: Method) -> Result<()> {
        self.strike(method, Effect::Done)
    }

    /// A read without waiting cannot fail, so there is none while reads are to fail.
    fn try_read(&self) -> bool {
        let plans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        plans.iter().all(|plan| plan.times == Some(0) || plan.method.is_some_and(|method| method != Method::Read))
    }
}

/// A storage that is unavailable when it is told to be.
///
/// ```
/// use session_manager_core::{ErrorKind, SessionStorage};
/// use session_manager_testkit::ReferenceStorage;
/// use session_manager_testkit::fault::{Effect, FailingStorage, Method};
///
/// # futures_util::FutureExt::now_or_never(async {
/// let storage = FailingStorage::new(ReferenceStorage::new());
/// storage.fail_next(Method::Epochs, Effect::Nothing);
/// assert_eq!(storage.epochs(None).await.unwrap_err().kind(), ErrorKind::Unavailable);
/// assert!(storage.epochs(None).await.is_ok());
/// # }).unwrap();
/// ```
pub type FailingStorage<S> = Hooked<S, Failures>;

impl<S> FailingStorage<S> {
    /// A storage that works until it is told otherwise.
    pub fn new(storage: S) -> Self {
        Self::with_hook(storage, Failures::default())
    }

    /// The next call of `method` fails.
    pub fn fail_next(&self, method: Method, effect: Effect) {
        self.fail_nth(method, effect, 1);
    }

    /// The `nth` call of `method` from now, counted from 1, fails. To a failure after the effect, only calls that have one count.
    pub fn fail_nth(&self, method: Method, effect: Effect, nth: u32) {
        self.plan(Plan { method: Some(method), effect, skip: nth.saturating_sub(1), times: Some(1) });
    }

    /// Every call of `method` fails until [`heal`](Self::heal).
    pub fn fail_all(&self, method: Method, effect: Effect) {
        self.plan(Plan { method: Some(method), effect, skip: 0, times: None });
    }

    /// Every call of any method fails until [`heal`](Self::heal).
    pub fn outage(&self) {
        self.plan(Plan { method: None, effect: Effect::Nothing, skip: 0, times: None });
    }

    /// Nothing fails any more.
    pub fn heal(&self) {
        self.hook().0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn plan(&self, plan: Plan) {
        self.hook().0.lock().unwrap_or_else(PoisonError::into_inner).push(plan);
    }
}
