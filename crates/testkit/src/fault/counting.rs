//! A storage that counts its calls: for "one round trip" and "one write an interval".

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use session_manager_core::Result;

use super::hooked::{Hook, Hooked};
use super::method::Method;

/// Counts calls by method.
#[derive(Debug, Default)]
pub struct Counter(Mutex<BTreeMap<Method, u64>>);

impl Counter {
    fn count(&self, method: Method) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(method).or_default() += 1;
    }
}

#[async_trait]
impl Hook for Counter {
    async fn before(&self, method: Method) -> Result<()> {
        self.count(method);
        Ok(())
    }

    fn try_read(&self) -> bool {
        self.count(Method::TryRead);
        true
    }
}

/// A storage that counts its calls.
///
/// ```
/// use session_manager_core::{SessionStorage, storage::Consistency};
/// use session_manager_testkit::fault::{CountingStorage, Method};
/// use session_manager_testkit::{Fixture, ReferenceStorage, user};
///
/// # futures_util::FutureExt::now_or_never(async {
/// let storage = CountingStorage::new(ReferenceStorage::new());
/// storage.epochs(None).await?;
/// assert_eq!((storage.calls(Method::Epochs), storage.calls(Method::Read)), (1, 0));
/// # Ok::<(), session_manager_core::Error>(()) }).unwrap()?;
/// # Ok::<(), session_manager_core::Error>(())
/// ```
pub type CountingStorage<S> = Hooked<S, Counter>;

impl<S> CountingStorage<S> {
    /// Counts the calls of `storage`.
    pub fn new(storage: S) -> Self {
        Self::with_hook(storage, Counter::default())
    }

    /// How often a method was called since the last [`reset`](Self::reset).
    pub fn calls(&self, method: Method) -> u64 {
        self.hook().0.lock().unwrap_or_else(PoisonError::into_inner).get(&method).copied().unwrap_or_default()
    }

    /// How often any method was called.
    pub fn total(&self) -> u64 {
        self.hook().0.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }

    /// Begins again at nought.
    pub fn reset(&self) {
        self.hook().0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
