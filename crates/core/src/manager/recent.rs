//! A bounded memory of what was recorded lately, so that the end of a session is recorded once however often its tokens are presented.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

/// How many are remembered. What was forgotten is recorded once more, under the same id.
const REMEMBERED: usize = 8192;

/// Ids of events that were recorded lately.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<(HashSet<Uuid>, VecDeque<Uuid>)>);

impl Recent {
    /// Whether the event is new; it is remembered.
    pub(super) fn is_new(&self, id: Uuid) -> bool {
        let (known, order) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.insert(id) {
            return false;
        }
        order.push_back(id);
        if order.len() > REMEMBERED
            && let Some(oldest) = order.pop_front()
        {
            known.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten_first() {
        let recent = Recent::default();
        let id = |number: usize| Uuid::from_u128(u128::try_from(number).unwrap_or_default());
        assert!(recent.is_new(id(0)) && !recent.is_new(id(0)));
        assert!((1..REMEMBERED).all(|number| recent.is_new(id(number))));
        assert!(!recent.is_new(id(0)), "the memory is full");
        assert!(recent.is_new(id(REMEMBERED)));
        assert!(!recent.is_new(id(1)) && recent.is_new(id(0)));
    }
}
