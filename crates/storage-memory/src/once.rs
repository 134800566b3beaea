//! Values that are remembered once: single-use proofs and codes.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

use crate::error::MemoryError;

/// The remembered values, each until its time.
pub(crate) struct Remembered {
    bound: usize,
    until: HashMap<Arc<str>, i64>,
    /// By expiry. A value that was remembered again after its time stands here twice until its first time is cleared.
    queue: BinaryHeap<Reverse<(i64, Arc<str>)>>,
}

impl Remembered {
    pub(crate) fn new(bound: usize) -> Self {
        Self { bound, until: HashMap::new(), queue: BinaryHeap::new() }
    }

    /// Remembers a value, and says whether it was new.
    ///
    /// # Errors
    /// Full: a caller cannot be told that a value is new if it will not be remembered.
    pub(crate) fn remember(&mut self, key: &str, now: i64, until: i64) -> Result<bool, MemoryError> {
        if self.until.get(key).is_some_and(|known| now < *known) {
            return Ok(false);
        }
        if until <= now {
            return Ok(true);
        }
        // Two for each one that comes: the queue shrinks to what is alive without anybody waiting for a long clean-up.
        self.forget(now, 2);
        if self.until.len() >= self.bound && !self.until.contains_key(key) {
            self.forget(now, usize::MAX);
            if self.until.len() >= self.bound {
                return Err(MemoryError::RememberedFull);
            }
        }
        let key: Arc<str> = Arc::from(key);
        self.until.insert(Arc::clone(&key), until);
        self.queue.push(Reverse((until, key)));
        Ok(true)
    }

    fn forget(&mut self, now: i64, at_most: usize) {
        for _ in 0..at_most {
            if self.queue.peek().is_none_or(|Reverse((until, _))| *until > now) {
                return;
            }
            if let Some(Reverse((until, key))) = self.queue.pop()
                && self.until.get(&key) == Some(&until)
            {
                self.until.remove(&key);
            }
        }
    }

    /// Everything remembered, in no order.
    pub(crate) fn all(&self) -> Vec<(Arc<str>, i64)> {
        self.until.iter().map(|(key, until)| (Arc::clone(key), *until)).collect()
    }

    #[cfg(test)]
    pub(crate) fn sizes(&self) -> [usize; 2] {
        [self.until.len(), self.queue.len()]
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_new_once_until_its_time() {
        let mut remembered = Remembered::new(10);
        for (key, now, until, new) in [
            ("a", 0, 10, true),
            ("a", 9, 20, false),
            ("b", 9, 20, true),
            ("a", 10, 30, true),
            ("a", 29, 30, false),
            ("c", 5, 5, true),
            ("c", 5, 6, true),
        ] {
            assert_eq!(remembered.remember(key, now, until).unwrap(), new, "{key} at {now}");
        }
    }

    #[test]
    fn it_is_bounded_and_forgets_what_is_over() {
        let mut remembered = Remembered::new(3);
        for key in ["a", "b", "c"] {
            assert!(remembered.remember(key, 0, 10).unwrap());
        }
        assert!(matches!(remembered.remember("d", 9, 20), Err(MemoryError::RememberedFull)));
        assert!(!remembered.remember("a", 9, 20).unwrap());
        assert!(remembered.remember("d", 10, 20).unwrap());
        assert_eq!(remembered.sizes(), [2, 2], "two expired ones went, the third goes with the next");
        for round in 1..10_000 {
            remembered.remember("x", round * 100, round * 100 + 50).unwrap();
        }
        assert!(remembered.sizes()[1] <= 3, "{:?}", remembered.sizes());
    }
}
