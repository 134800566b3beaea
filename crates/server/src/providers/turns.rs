//! One at a time for each connection: whoever talks to its provider or changes its tokens waits for a turn.
//!
//! Two refreshes at once would use one refresh token twice, which a provider that rotates them takes for theft.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Mutex as Waiting, OwnedMutexGuard};
use uuid::Uuid;

/// The turns of this process. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Turns(Arc<Mutex<HashMap<Uuid, Weak<Waiting<()>>>>>);

/// A turn; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    _guard: OwnedMutexGuard<()>,
}

impl Turns {
    /// Waits for the connection's turn; those who came first have it first.
    pub(super) async fn take(&self, connection: Uuid) -> Turn {
        let place = self.place(connection);
        Turn { _guard: place.lock_owned().await }
    }

    #[cfg(test)]
    pub(super) fn waiting(&self, connection: Uuid) -> usize {
        self.0.lock().unwrap().get(&connection).map_or(0, Weak::strong_count)
    }

    fn place(&self, connection: Uuid) -> Arc<Waiting<()>> {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = places.get(&connection).and_then(Weak::upgrade) {
            return place;
        }
        // Those that nobody waits at any more go, so that the list is as long as what is under way.
        places.retain(|_, place| place.strong_count() > 0);
        let place = Arc::default();
        places.insert(connection, Arc::downgrade(&place));
        place
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn one_connection_has_one_turn_at_a_time() {
        let (turns, [a, b]) = (Turns::default(), [1, 2].map(Uuid::from_u128));
        let first = turns.take(a).await;
        assert!(turns.take(b).now_or_never().is_some(), "another connection does not wait");
        let mut second = Box::pin(turns.take(a));
        assert!((&mut second).now_or_never().is_none());
        drop(first);
        let second = second.now_or_never().unwrap();
        assert!(turns.take(a).now_or_never().is_none());
        drop(second);
        drop(turns.take(b).await);
        assert_eq!(turns.0.lock().unwrap().len(), 1, "what is over is forgotten");
    }
}
