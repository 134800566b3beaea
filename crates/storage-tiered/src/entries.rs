//! What is remembered: a bounded map in which what was asked for lately outlives what was not.

use std::collections::HashMap;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use foldhash::fast::RandomState;
use session_manager_core::{Locator, SessionId, Snapshot};

/// One remembered answer. Whether it may be given is decided when it is asked for, by its ticket and age.
#[derive(Clone)]
pub(crate) struct Entry {
    /// The session, or that there is none.
    pub(crate) snapshot: Option<Snapshot>,
    /// Whose it is, as far as that is known.
    pub(crate) locator: Option<Locator>,
    /// The sequence number before its read.
    pub(crate) ticket: u64,
    /// When its read began.
    pub(crate) read_at: DateTime<Utc>,
}

type Map = HashMap<SessionId, Entry, RandomState>;

/// Two generations of entries: when the young one is full it becomes the old one, and the old one is forgotten. What is asked for moves
/// to the young one. That is within a factor of two of least-recently-used, at the price of two plain maps.
struct Generations {
    young: Map,
    old: Map,
    half: usize,
}

impl Generations {
    fn get(&mut self, id: SessionId) -> Option<Entry> {
        if let Some(entry) = self.young.get(&id) {
            return Some(entry.clone());
        }
        let entry = self.old.remove(&id)?;
        self.put(id, entry.clone());
        Some(entry)
    }

    fn put(&mut self, id: SessionId, entry: Entry) {
        if self.half == 0 {
            return;
        }
        self.old.remove(&id);
        if self.young.len() >= self.half && !self.young.contains_key(&id) {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(id, entry);
    }
}

/// The entries, in parts with a lock each.
pub(crate) struct Entries(Box<[Mutex<Generations>]>);

/// How many parts.
const PARTS: usize = 16;

impl Entries {
    pub(crate) fn new(max: usize) -> Self {
        let parts = if max < PARTS * 2 { 1 } else { PARTS };
        // None at all only where none is asked for.
        let half = if max == 0 { 0 } else { (max / parts / 2).max(1) };
        let part = || Mutex::new(Generations { young: Map::default(), old: Map::default(), half });
        Self((0..parts).map(|_| part()).collect())
    }

    pub(crate) fn get(&self, id: SessionId) -> Option<Entry> {
        self.part(id)?.get(id)
    }

    pub(crate) fn put(&self, id: SessionId, entry: Entry) {
        if let Some(mut part) = self.part(id) {
            part.put(id, entry);
        }
    }

    pub(crate) fn remove(&self, id: SessionId) {
        if let Some(mut part) = self.part(id) {
            part.young.remove(&id);
            part.old.remove(&id);
        }
    }

    pub(crate) fn clear(&self) {
        for part in &self.0 {
            let mut part = lock(part);
            (part.young, part.old) = (Map::default(), Map::default());
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(lock).map(|part| part.young.len() + part.old.len()).sum()
    }

    fn part(&self, id: SessionId) -> Option<MutexGuard<'_, Generations>> {
        // The last byte of an id is random.
        let byte = id.as_bytes().last().copied().map_or(0, usize::from);
        self.0.get(byte.checked_rem(self.0.len())?).map(lock)
    }
}

fn lock(part: &Mutex<Generations>) -> MutexGuard<'_, Generations> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(ticket: u64) -> Entry {
        Entry { snapshot: None, locator: None, ticket, read_at: DateTime::UNIX_EPOCH }
    }

    fn id(number: u128) -> SessionId {
        SessionId::from(uuid::Uuid::from_u128(number))
    }

    #[test]
    fn it_stays_within_its_bound_and_keeps_what_is_asked_for() {
        let none = Entries::new(0);
        none.put(id(1), entry(7));
        assert_eq!((none.len(), none.get(id(1)).is_none()), (0, true));
        for max in [1, 2, 7, 64, 1000] {
            let entries = Entries::new(max);
            for number in 0..10_000 {
                entries.put(id(number), entry(7));
                entries.get(id(0));
                assert!(entries.len() <= max.max(2), "{max}: {}", entries.len());
            }
            assert_eq!(entries.get(id(9_999)).map(|entry| entry.ticket), Some(7));
            assert!(max < 4 || entries.get(id(0)).is_some(), "{max}: what is always asked for stays");
            assert!(entries.get(id(17)).is_none());
            entries.remove(id(9_999));
            assert!(entries.get(id(9_999)).is_none());
            entries.clear();
            assert_eq!(entries.len(), 0);
        }
    }
}
