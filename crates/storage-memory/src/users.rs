//! The users of one shard: each with an epoch and the ids of their sessions.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use session_manager_core::{Epoch, SessionId, Shard as Place, UserId};
use slab::Slab;

/// Where a user's record stands in its shard.
pub(crate) type Slot = usize;

/// One user.
pub(crate) struct User {
    pub(crate) id: UserId,
    /// Its place, computed once: it orders scans and finds sessions whose id hints elsewhere.
    pub(crate) place: Place,
    pub(crate) epoch: Option<Epoch>,
    /// Sessions that nobody revoked. Apart from the revoked ones, so that a flood of sign-ins that evict each other
    /// does not make the next sign-in slow.
    pub(crate) open: Vec<SessionId>,
    pub(crate) revoked: BTreeSet<SessionId>,
    /// The latest deadline of any session the user had, in milliseconds: so long the epoch must stay.
    keep_until: i64,
}

impl User {
    fn is_idle(&self) -> bool {
        self.open.is_empty() && self.revoked.is_empty()
    }

    pub(crate) fn keep_until(&self) -> i64 {
        self.keep_until
    }
}

/// All users of one shard.
pub(crate) struct Users {
    index: HashMap<UserId, Slot>,
    records: Slab<User>,
    /// Users without any session, by the time until which their epoch must stay.
    idle: BTreeSet<(i64, Slot)>,
    /// How many there are in all shards together.
    count: Arc<AtomicUsize>,
}

impl Users {
    pub(crate) fn new(count: Arc<AtomicUsize>) -> Self {
        Self { index: HashMap::new(), records: Slab::new(), idle: BTreeSet::new(), count }
    }

    pub(crate) fn find(&self, id: &UserId) -> Option<Slot> {
        self.index.get(id).copied()
    }

    pub(crate) fn get(&self, slot: Slot) -> Option<&User> {
        self.records.get(slot)
    }

    pub(crate) fn by_id(&self, id: &UserId) -> Option<&User> {
        self.get(self.find(id)?)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &User> {
        self.records.iter().map(|(_, user)| user)
    }

    /// The user's record, made if it is missing.
    pub(crate) fn ensure(&mut self, id: &UserId) -> Slot {
        if let Some(slot) = self.find(id) {
            return slot;
        }
        let user = User {
            id: id.clone(),
            place: id.shard(),
            epoch: None,
            open: Vec::new(),
            revoked: BTreeSet::new(),
            keep_until: i64::MIN,
        };
        let slot = self.records.insert(user);
        self.index.insert(id.clone(), slot);
        self.idle.insert((i64::MIN, slot));
        self.count.fetch_add(1, Ordering::Relaxed);
        slot
    }

    pub(crate) fn set_epoch(&mut self, slot: Slot, epoch: Epoch) {
        if let Some(user) = self.records.get_mut(slot) {
            user.epoch = Some(epoch);
        }
    }

    pub(crate) fn attach(&mut self, slot: Slot, id: SessionId, revoked: bool) {
        let Some(user) = self.records.get_mut(slot) else { return };
        if user.is_idle() {
            self.idle.remove(&(user.keep_until, slot));
        }
        if revoked {
            user.revoked.insert(id);
        } else {
            // Most users have one or two: a vector that doubles from four would be half empty for all of them.
            if user.open.len() < 8 {
                user.open.reserve_exact(1);
            }
            user.open.push(id);
        }
    }

    pub(crate) fn mark_revoked(&mut self, slot: Slot, id: SessionId) {
        let Some(user) = self.records.get_mut(slot) else { return };
        user.open.retain(|open| *open != id);
        user.revoked.insert(id);
    }

    pub(crate) fn detach(&mut self, slot: Slot, id: SessionId) {
        let Some(user) = self.records.get_mut(slot) else { return };
        if !user.revoked.remove(&id) {
            user.open.retain(|open| *open != id);
        }
        if user.is_idle() {
            user.open = Vec::new();
            self.idle.insert((user.keep_until, slot));
        }
    }

    /// The epoch must stay at least until then.
    pub(crate) fn keep(&mut self, slot: Slot, until: i64) {
        let Some(user) = self.records.get_mut(slot) else { return };
        if until <= user.keep_until {
            return;
        }
        if self.idle.remove(&(user.keep_until, slot)) {
            self.idle.insert((until, slot));
        }
        user.keep_until = until;
    }

    /// Whether [`forget_idle`](Self::forget_idle) would find something.
    pub(crate) fn has_idle(&self, before: i64) -> bool {
        self.idle.first().is_some_and(|(until, _)| *until < before)
    }

    /// Removes users without sessions whose epoch had to stay only until a time before this.
    pub(crate) fn forget_idle(&mut self, before: i64) {
        while self.has_idle(before) {
            self.forget_first();
        }
    }

    /// Removes the user without sessions whose epoch had to stay the shortest, and says whether there was one.
    pub(crate) fn forget_first(&mut self) -> bool {
        let Some((_, slot)) = self.idle.pop_first() else { return false };
        if let Some(user) = self.records.try_remove(slot) {
            self.index.remove(&user.id);
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
        true
    }

    #[cfg(test)]
    pub(crate) fn sizes(&self) -> [usize; 3] {
        [self.index.len(), self.records.len(), self.idle.len()]
    }
}
