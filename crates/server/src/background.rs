//! Work that goes on after the answer was sent, and is waited for when the service ends.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

/// So much work may wait at once; what comes on top runs before the answer.
const PLACES: u32 = 1024;

/// Runs futures beside the requests.
#[derive(Clone, Debug)]
pub(crate) struct Background {
    places: Arc<Semaphore>,
}

impl Default for Background {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(usize::try_from(PLACES).unwrap_or(usize::MAX))) }
    }
}

impl Background {
    /// Starts the work; waits for a free place first, so that a flood slows its sender down instead of filling the memory.
    pub(crate) async fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        // Closed means that the service is ending: the work is then done at once, before the answer.
        match self.places.clone().acquire_owned().await {
            Ok(place) => drop(tokio::spawn(async move {
                work.await;
                drop(place);
            })),
            Err(_) => work.await,
        }
    }

    /// Waits until all work is done, at most so long. Returns whether it is.
    pub(crate) async fn finish(&self, patience: Duration) -> bool {
        let all = tokio::time::timeout(patience, self.places.acquire_many(PLACES)).await;
        matches!(all, Ok(Ok(_)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_end_waits_for_the_work() {
        let background = Background::default();
        let done = Arc::new(AtomicU32::new(0));
        for _ in 0..10 {
            let done = done.clone();
            background
                .spawn(async move {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    done.fetch_add(1, SeqCst);
                })
                .await;
        }
        assert_eq!(done.load(SeqCst), 0);
        assert!(background.finish(Duration::from_secs(2)).await);
        assert_eq!(done.load(SeqCst), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn but_not_for_ever() {
        let background = Background::default();
        background.spawn(std::future::pending()).await;
        assert!(!background.finish(Duration::from_secs(2)).await);
    }
}
