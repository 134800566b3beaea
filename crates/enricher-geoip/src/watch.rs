//! Looking for newer files now and then.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_channel::oneshot;
use session_manager_core::Clock;

use crate::enricher::Parts;

type Run = dyn Fn(Box<dyn FnOnce() + Send>) + Send + Sync;

/// How often, and how to do work that blocks.
pub(crate) struct Watch {
    every: Duration,
    run: Box<Run>,
}

impl Watch {
    pub(crate) fn new(every: Duration, run: impl Fn(Box<dyn FnOnce() + Send>) + Send + Sync + 'static) -> Self {
        Self { every, run: Box::new(run) }
    }

    pub(crate) async fn over(&self, parts: &Arc<Parts>, clock: &dyn Clock) {
        loop {
            clock.sleep(self.every).await;
            if parts.is_outdated() {
                let (done, wait) = oneshot::channel();
                let parts = Arc::clone(parts);
                (self.run)(Box::new(move || {
                    parts.reload();
                    // Whoever waited may be gone.
                    let _ = done.send(());
                }));
                // Work that was never run, or panicked, is tried again.
                let _ = wait.await;
            }
        }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("every", &self.every).finish_non_exhaustive()
    }
}
