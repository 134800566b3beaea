//! What changed in a shard since a running save wrote it.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use session_manager_core::SessionId;

use crate::users::Slot;

/// What a save has to write of a shard once more.
///
/// However long a save takes, this never names more sessions than two full storages have: those that the file has, and those that are stored.
#[derive(Default)]
pub(crate) struct Changes {
    /// By session, whether the file has it already.
    sessions: HashMap<SessionId, bool, foldhash::fast::RandomState>,
    users: HashSet<Slot, foldhash::fast::RandomState>,
}

impl Changes {
    pub(crate) fn added(&mut self, id: SessionId, user: Slot) {
        self.sessions.entry(id).or_insert(false);
        self.users.insert(user);
    }

    pub(crate) fn changed(&mut self, id: SessionId) {
        self.sessions.entry(id).or_insert(true);
    }

    pub(crate) fn removed(&mut self, id: SessionId) {
        match self.sessions.entry(id) {
            // It came and went unseen.
            Entry::Occupied(entry) if !entry.get() => drop(entry.remove()),
            Entry::Occupied(_) => {}
            Entry::Vacant(entry) => drop(entry.insert(true)),
        }
    }

    pub(crate) fn user(&mut self, user: Slot) {
        self.users.insert(user);
    }

    pub(crate) fn sessions(&self) -> impl Iterator<Item = SessionId> {
        self.sessions.keys().copied()
    }

    pub(crate) fn users(&self) -> impl Iterator<Item = Slot> {
        self.users.iter().copied()
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.sessions.len()
    }
}
