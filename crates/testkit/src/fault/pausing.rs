//! A storage whose calls can be held between their effect and their answer, to put races in order without sleeping.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use session_manager_core::Result;
use tokio::sync::oneshot;

use super::hooked::{Hook, Hooked};
use super::method::Method;

/// Holds calls back.
#[derive(Debug, Default)]
pub struct Gate(Mutex<Vec<Hold>>);

#[derive(Debug)]
struct Hold {
    method: Method,
    reached: oneshot::Sender<()>,
    released: oneshot::Receiver<()>,
}

#[async_trait]
impl Hook for Gate {
    async fn after(&self, method: Method) -> Result<()> {
        let hold = {
            let mut holds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            holds.iter().position(|hold| hold.method == method).map(|at| holds.remove(at))
        };
        if let Some(hold) = hold {
            // Whoever does not wait for the pause, or drops it, has let the call go.
            let _ = hold.reached.send(());
            let _ = hold.released.await;
        }
        Ok(())
    }

    /// A read without waiting cannot be held, so there is none while one is to be.
    fn try_read(&self) -> bool {
        let holds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        holds.iter().all(|hold| hold.method != Method::Read)
    }
}

/// A call that is, or is going to be, held. Dropping it lets the call go.
#[derive(Debug)]
pub struct Paused {
    reached: Option<oneshot::Receiver<()>>,
    release: oneshot::Sender<()>,
}

impl Paused {
    /// Waits until the call has had its effect and is held before its answer.
    pub async fn reached(&mut self) {
        if let Some(reached) = self.reached.take() {
            reached.await.expect("the storage was dropped before the call came");
        }
    }

    /// Lets the call answer.
    pub fn release(self) {
        // The caller may have given up on the call.
        let _ = self.release.send(());
    }
}

/// A storage whose calls can be held before they answer.
///
/// ```
/// use std::sync::Arc;
/// use session_manager_core::SessionStorage;
/// use session_manager_testkit::ReferenceStorage;
/// use session_manager_testkit::fault::{Method, PausingStorage};
///
/// # tokio::runtime::Builder::new_multi_thread().build().unwrap().block_on(async {
/// let storage = Arc::new(PausingStorage::new(ReferenceStorage::new()));
/// let mut paused = storage.pause_next(Method::Epochs);
/// let reader = tokio::spawn({
///     let storage = Arc::clone(&storage);
///     async move { storage.epochs(None).await }
/// });
/// paused.reached().await;
/// // … whatever is to happen between the read and its answer …
/// assert!(!reader.is_finished());
/// paused.release();
/// assert!(reader.await.unwrap().is_ok());
/// # });
/// ```
pub type PausingStorage<S> = Hooked<S, Gate>;

impl<S> PausingStorage<S> {
    /// A storage that answers at once until it is told otherwise.
    pub fn new(storage: S) -> Self {
        Self::with_hook(storage, Gate::default())
    }

    /// Holds the next call of `method` that nobody holds yet.
    pub fn pause_next(&self, method: Method) -> Paused {
        let (reached, was_reached) = oneshot::channel();
        let (release, released) = oneshot::channel();
        let hold = Hold { method, reached, released };
        self.hook().0.lock().unwrap_or_else(PoisonError::into_inner).push(hold);
        Paused { reached: Some(was_reached), release }
    }
}
