//! Whether the service can do its work, asked of the storage no more than once a second however many ask.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use session_manager_core::Clock;
use session_manager_core::clock::after;
use tokio::sync::Mutex;

/// So long an answer is good for everybody else who asks.
const GOOD_FOR: Duration = Duration::from_secs(1);

/// The last answer. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Readiness<T> {
    clock: Arc<dyn Clock>,
    last: Arc<Mutex<Option<Answer<T>>>>,
}

#[derive(Debug)]
struct Answer<T> {
    at: DateTime<Utc>,
    found: T,
}

impl<T: Clone + Send + 'static> Readiness<T> {
    /// By this clock.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, last: Arc::default() }
    }

    /// What the look found, or another one that ended within the last second.
    ///
    /// # Behaviour
    /// Of any number who ask at once one looks, and the others wait for it. A look goes to its end when whoever began it goes away: otherwise
    /// those who ask and go away would begin one each.
    pub(crate) async fn ask<F>(&self, look: impl Fn() -> F) -> T
    where
        F: Future<Output = T> + Send + 'static,
    {
        loop {
            if let Ok(mut last) = Arc::clone(&self.last).try_lock_owned() {
                if let Some(found) = self.good(last.as_ref()) {
                    return found;
                }
                let (looking, clock) = (look(), Arc::clone(&self.clock));
                // It holds the lock until it is done.
                let looked = tokio::spawn(async move {
                    let found = looking.await;
                    *last = Some(Answer { at: clock.now(), found: found.clone() });
                    found
                });
                match looked.await.map_err(tokio::task::JoinError::try_into_panic) {
                    Ok(found) => return found,
                    Err(Ok(panic)) => std::panic::resume_unwind(panic),
                    // The process ends.
                    Err(Err(_)) => std::future::pending::<()>().await,
                }
            }
            if let Some(found) = self.good(self.last.lock().await.as_ref()) {
                return found;
            }
        }
    }

    fn good(&self, last: Option<&Answer<T>>) -> Option<T> {
        let (last, now) = (last?, self.clock.now());
        // A clock that was set back makes an answer no better.
        (last.at <= now && now < after(last.at, GOOD_FOR)).then(|| last.found.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

    use futures_util::future::join_all;
    use session_manager_core::ManualClock;
    use tokio::sync::Semaphore;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    /// Looks that take until they are let go, and are counted.
    struct Looks {
        begun: Arc<AtomicU32>,
        gate: Arc<Semaphore>,
    }

    impl Looks {
        fn one(&self) -> impl Future<Output = u32> + Send + use<> {
            let (begun, gate) = (Arc::clone(&self.begun), Arc::clone(&self.gate));
            async move {
                let number = begun.fetch_add(1, SeqCst) + 1;
                gate.acquire().await.unwrap().forget();
                number
            }
        }
    }

    fn new() -> (Readiness<u32>, Arc<ManualClock>, Looks) {
        let clock = Arc::new(ManualClock::default());
        let looks = Looks { begun: Arc::default(), gate: Arc::new(Semaphore::new(0)) };
        (Readiness::new(clock.clone()), clock, looks)
    }

    #[tokio::test]
    async fn of_many_one_looks_and_its_answer_is_good_for_a_second() {
        let (readiness, clock, looks) = new();
        let many = join_all((0..100).map(|_| readiness.ask(|| looks.one())));
        looks.gate.add_permits(1);
        assert_eq!(tokio::time::timeout(PATIENCE, many).await.expect("one look is enough"), [1; 100]);
        clock.advance(Duration::from_millis(999));
        assert_eq!(readiness.ask(|| looks.one()).await, 1);
        clock.advance(Duration::from_millis(1));
        looks.gate.add_permits(1);
        assert_eq!(readiness.ask(|| looks.one()).await, 2);
    }

    #[tokio::test]
    async fn those_who_ask_and_go_away_begin_no_more_than_one() {
        let (readiness, _, looks) = new();
        for _ in 0..100 {
            let gone = tokio::time::timeout(Duration::from_millis(1), readiness.ask(|| looks.one())).await;
            assert!(gone.is_err());
        }
        assert_eq!(looks.begun.load(SeqCst), 1);
        looks.gate.add_permits(1);
        let heard = tokio::time::timeout(PATIENCE, readiness.ask(|| looks.one())).await.expect("one look is enough");
        assert_eq!(heard, 1, "what the first one began is what the last one hears");
    }
}
