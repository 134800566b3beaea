//! All shards, what spans them, and the order in which locks are taken.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use session_manager_core::{ExternalId, GlobalEpoch, SessionId, SessionRecord, Shard as Place, Snapshot};

use crate::externals::Externals;
use crate::shard::Shard;

/// The sessions of everybody.
///
/// A session lives in its **user's** shard. Its id usually hints at that shard; one that does not (any UUID may be an id) is a *stray* and
/// stands in a directory beside, which is looked at only after the hinted shard and only if there are strays at all. So the hint makes
/// look-ups fast and decides nothing.
///
/// # Lock order
/// Shards by ascending number, then strays, then externals. Nobody who holds a later one takes an earlier one, and no lock is held across an
/// await. An id is given away only under the write lock of the shard it hints at, and is therefore unique across shards.
///
/// No code panics while it holds a lock, so that a poisoned one, should there be any, protects consistent data and is used on.
pub(crate) struct Table {
    shards: Box<[Padded]>,
    /// How many low bits of a place do not count.
    shift: u32,
    strays: RwLock<HashMap<SessionId, usize>>,
    stray_count: AtomicUsize,
    externals: Externals,
    total: AtomicUsize,
    users: Arc<AtomicUsize>,
    /// Where the next search for users to forget begins.
    next_forgotten: AtomicUsize,
}

/// Two shards share no cache line.
#[repr(align(128))]
struct Padded(RwLock<Shard>);

/// A shard that is about to take a session in.
pub(crate) struct Opened<'a> {
    pub(crate) home: RwLockWriteGuard<'a, Shard>,
    number: usize,
    /// The shard that the id hints at, where it is another one: held so that nobody gives the id away meanwhile.
    hinted: Option<RwLockWriteGuard<'a, Shard>>,
}

/// Whether an id is free.
pub(crate) enum Occupant {
    Free,
    /// It names a session of this shard.
    Here(Box<Snapshot>),
    /// It names a session of another user.
    Elsewhere,
}

impl Table {
    /// A table of `shards` shards, which is a power of two of at most 4096.
    pub(crate) fn new(shards: u16) -> Self {
        let users = Arc::new(AtomicUsize::new(0));
        Self {
            shards: (0..shards.max(1)).map(|_| Padded(RwLock::new(Shard::new(Arc::clone(&users))))).collect(),
            shift: Place::COUNT.trailing_zeros().saturating_sub(shards.trailing_zeros()),
            strays: RwLock::default(),
            stray_count: AtomicUsize::new(0),
            externals: Externals::default(),
            total: AtomicUsize::new(0),
            users,
            next_forgotten: AtomicUsize::new(0),
        }
    }

    pub(crate) fn shard_count(&self) -> usize {
        self.shards.len()
    }

    /// How many sessions there are, ended ones included.
    pub(crate) fn total(&self) -> usize {
        self.total.load(Ordering::Relaxed)
    }

    /// How many users have a record.
    pub(crate) fn users(&self) -> usize {
        self.users.load(Ordering::Relaxed)
    }

    /// Forgets users without sessions, of each shard in turn the one whose epoch had to stay the shortest, until no more than `bound` have a
    /// record. Returns how many. The caller holds no lock.
    pub(crate) fn forget_surplus(&self, bound: usize) -> usize {
        let (mut forgotten, mut in_vain) = (0_usize, 0);
        // Each user with a session has one of `max_sessions` of them: in one round there is somebody to forget.
        while self.users() > bound && in_vain < self.shards.len() {
            let number = self.next_forgotten.fetch_add(1, Ordering::Relaxed);
            if self.write(number).users.forget_first() {
                (forgotten, in_vain) = (forgotten.saturating_add(1), 0);
            } else {
                in_vain += 1;
            }
        }
        forgotten
    }

    /// The number of the shard of a place. Shards hold consecutive places, so that a scan in the order of places reads one after the other.
    pub(crate) fn number(&self, place: Place) -> usize {
        usize::from(place.number() >> self.shift)
    }

    #[allow(clippy::indexing_slicing, reason = "the number is taken modulo the length, which is at least one")]
    fn lock(&self, number: usize) -> &RwLock<Shard> {
        &self.shards[number % self.shards.len()].0
    }

    pub(crate) fn read(&self, number: usize) -> RwLockReadGuard<'_, Shard> {
        self.lock(number).read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self, number: usize) -> RwLockWriteGuard<'_, Shard> {
        self.lock(number).write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks everything, in order.
    pub(crate) fn write_all(&self) -> Vec<RwLockWriteGuard<'_, Shard>> {
        (0..self.shards.len()).map(|number| self.write(number)).collect()
    }

    /// Reads a session by its id alone.
    pub(crate) fn snapshot(&self, id: SessionId) -> Option<Snapshot> {
        let hinted = self.read(self.number(id.shard()));
        if let Some(snapshot) = hinted.read(id) {
            return Some(snapshot);
        }
        drop(hinted);
        self.read(self.stray(id)?).read(id)
    }

    /// Locks the shard of a session for a change; `None` if there is no such session.
    pub(crate) fn lock_session(&self, id: SessionId) -> Option<RwLockWriteGuard<'_, Shard>> {
        let hinted = self.write(self.number(id.shard()));
        if hinted.contains(id) {
            return Some(hinted);
        }
        drop(hinted);
        Some(self.write(self.stray(id)?)).filter(|shard| shard.contains(id))
    }

    /// The shard of a session whose id hints elsewhere.
    fn stray(&self, id: SessionId) -> Option<usize> {
        // Whoever has just looked into the hinted shard sees the count of every stray that was let in under its lock.
        if self.stray_count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        self.strays.read().unwrap_or_else(PoisonError::into_inner).get(&id).copied()
    }

    /// Locks the shard of a user whose session `id` is about to be let in.
    pub(crate) fn open(&self, id: SessionId, user: Place) -> Opened<'_> {
        let (number, hint) = (self.number(user), self.number(id.shard()));
        if hint == number {
            return Opened { home: self.write(number), number, hinted: None };
        }
        if hint < number {
            let hinted = Some(self.write(hint));
            return Opened { home: self.write(number), number, hinted };
        }
        let home = self.write(number);
        Opened { home, number, hinted: Some(self.write(hint)) }
    }

    pub(crate) fn occupant(&self, opened: &Opened<'_>, id: SessionId) -> Occupant {
        if let Some(snapshot) = opened.home.read(id) {
            return Occupant::Here(Box::new(snapshot));
        }
        if opened.hinted.as_ref().is_some_and(|hinted| hinted.contains(id)) || self.stray(id).is_some() {
            return Occupant::Elsewhere;
        }
        Occupant::Free
    }

    /// Counts one more session if there are fewer than `bound`.
    pub(crate) fn claim_room(&self, bound: usize) -> bool {
        let claimed = |total: usize| (total < bound).then_some(total.saturating_add(1));
        self.total.fetch_update(Ordering::Relaxed, Ordering::Relaxed, claimed).is_ok()
    }

    /// Gives back what [`claim_room`](Self::claim_room) took.
    pub(crate) fn give_room_back(&self) {
        self.total.fetch_sub(1, Ordering::Relaxed);
    }

    /// Lets a session in whose id is free and which is counted already.
    pub(crate) fn add(&self, opened: &mut Opened<'_>, record: SessionRecord) {
        if opened.hinted.is_some() {
            let mut strays = self.strays.write().unwrap_or_else(PoisonError::into_inner);
            strays.insert(record.session.id, opened.number);
            self.stray_count.store(strays.len(), Ordering::Relaxed);
        }
        if let Some(external) = &record.session.external {
            self.externals.add(external, record.session.id, opened.number);
        }
        opened.home.add(record);
    }

    /// Takes a session out of its shard, whose lock the caller holds, and out of every directory.
    pub(crate) fn remove(&self, shard: &mut Shard, id: SessionId) -> Option<Snapshot> {
        let snapshot = shard.remove(id)?;
        if self.number(id.shard()) != self.number(snapshot.session.user_id.shard()) {
            let mut strays = self.strays.write().unwrap_or_else(PoisonError::into_inner);
            strays.remove(&id);
            self.stray_count.store(strays.len(), Ordering::Relaxed);
        }
        if let Some(external) = &snapshot.session.external {
            self.externals.remove(external, id);
        }
        self.give_room_back();
        Some(snapshot)
    }

    /// The sessions with this name elsewhere, by the number of their shard.
    pub(crate) fn by_external(&self, external: &ExternalId) -> Vec<(usize, SessionId)> {
        self.externals.holders(external)
    }

    /// Gives a session of an opened shard another name elsewhere than it has.
    pub(crate) fn rename(
        &self,
        opened: &Opened<'_>,
        id: SessionId,
        before: Option<&ExternalId>,
        after: Option<&ExternalId>,
    ) {
        if before == after {
            return;
        }
        if let Some(external) = before {
            self.externals.remove(external, id);
        }
        if let Some(external) = after {
            self.externals.add(external, id, opened.number);
        }
    }

    /// Changes the global epoch in one step for everybody. Every shard has a copy, so that nobody reads a shared one.
    pub(crate) fn change_global<R>(&self, change: impl FnOnce(Option<GlobalEpoch>) -> (Option<GlobalEpoch>, R)) -> R {
        let mut shards = self.write_all();
        let (changed, result) = change(shards.first().and_then(|shard| shard.global));
        for shard in &mut shards {
            shard.global = changed;
        }
        result
    }

    #[cfg(test)]
    pub(crate) fn sizes(&self) -> Vec<usize> {
        let mut sums = vec![0; 5];
        for number in 0..self.shards.len() {
            let sizes = self.read(number).sizes();
            sums.iter_mut().zip(sizes).for_each(|(sum, size)| *sum += size);
        }
        let strays = self.strays.read().unwrap().len();
        assert_eq!(strays, self.stray_count.load(Ordering::Relaxed));
        assert_eq!((self.total(), self.users()), (sums[0], sums[3]));
        sums.extend([strays, self.externals.len()]);
        sums
    }
}
