//! One shard: some users with all of their sessions, and the order in which those end.

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use chrono::{DateTime, Utc};
use session_manager_core::{
    Control, Epoch, Epochs, GlobalEpoch, LivePolicy, Session, SessionId, SessionRecord, Shard as Place, Snapshot,
    UserId,
};

use crate::changes::Changes;
use crate::users::{Slot, Users};

/// A stored session.
pub(crate) struct Entry {
    pub(crate) session: Arc<Session>,
    pub(crate) control: Control,
    /// The time under which it stands in the queue: never later than it really ends.
    queued_at: i64,
    user: Slot,
    /// Whether the user's epoch is the one that the session is stamped with. It spares the usual read the way to the user's record; it says
    /// nothing of a revoked session, and [`Shard::set_epoch`] keeps it true of all others.
    in_step: bool,
}

/// What one lock protects.
///
/// All sessions of a user are in one shard, with the user's epoch and a copy of the global one: whatever concerns one user is one critical
/// section, and a reading with both epochs takes one lock.
pub(crate) struct Shard {
    /// Ids are ours or a migration's, not an attacker's to choose, so that a fast seeded hash is enough here; user ids get the standard one.
    sessions: HashMap<SessionId, Box<Entry>, foldhash::fast::RandomState>,
    pub(crate) users: Users,
    /// When sessions end, lazily: a touch leaves its entry where it is, and whoever finds it too early moves it.
    queue: BTreeSet<(i64, SessionId)>,
    /// How far in the queue the search for the rotated out has come.
    searched: Option<(i64, SessionId)>,
    pub(crate) global: Option<GlobalEpoch>,
    /// Followed for a save, while one is running.
    pub(crate) changes: Option<Changes>,
}

/// What a part of the search for the rotated out came to.
#[derive(Default)]
pub(crate) struct Searched {
    pub(crate) found: Vec<SessionId>,
    pub(crate) examined: usize,
    /// The end of the shard was reached: the next search begins anew.
    pub(crate) complete: bool,
}

impl Shard {
    /// An empty shard; all shards count their users together.
    pub(crate) fn new(user_count: Arc<AtomicUsize>) -> Self {
        Self {
            sessions: HashMap::default(),
            users: Users::new(user_count),
            queue: BTreeSet::new(),
            searched: None,
            global: None,
            changes: None,
        }
    }

    pub(crate) fn contains(&self, id: SessionId) -> bool {
        self.sessions.contains_key(&id)
    }

    /// Reads a session with both its epochs.
    pub(crate) fn read(&self, id: SessionId) -> Option<Snapshot> {
        self.sessions.get(&id).map(|entry| self.snapshot(entry))
    }

    pub(crate) fn snapshot(&self, entry: &Entry) -> Snapshot {
        let user = match entry.control.stamped {
            Some(stamp) if entry.in_step => Some(stamp.user),
            _ => self.epoch(entry.user),
        };
        debug_assert_eq!(user, self.epoch(entry.user), "the short cut and the long way agree");
        let record = SessionRecord::new(Arc::clone(&entry.session), entry.control.clone());
        Snapshot::new(record, Epochs::new(user, self.global))
    }

    fn epoch(&self, slot: Slot) -> Option<Epoch> {
        self.users.get(slot).and_then(|user| user.epoch)
    }

    /// Changes a user's epoch, the only way to do so.
    pub(crate) fn set_epoch(&mut self, slot: Slot, epoch: Epoch) {
        if self.epoch(slot) == Some(epoch) {
            return;
        }
        self.users.set_epoch(slot, epoch);
        if let Some(changes) = &mut self.changes {
            changes.user(slot);
        }
        for id in self.users.get(slot).into_iter().flat_map(|user| user.open.iter()) {
            if let Some(entry) = self.sessions.get_mut(id) {
                entry.in_step = in_step(&entry.control, Some(epoch));
            }
        }
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.sessions.values().map(|entry| &**entry)
    }

    /// Every session in the order of scans.
    pub(crate) fn places(&self) -> impl Iterator<Item = (Place, SessionId)> {
        let place = |entry: &Entry| self.users.get(entry.user).map(|user| user.place);
        self.sessions.iter().filter_map(move |(id, entry)| Some((place(entry)?, *id)))
    }

    pub(crate) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// The user's sessions that nobody revoked, and with `revoked` the others too.
    pub(crate) fn sessions_of(&self, user: &UserId, revoked: bool) -> impl Iterator<Item = &Entry> {
        let user = self.users.by_id(user);
        let open = user.into_iter().flat_map(|user| user.open.iter());
        let ended = user.filter(|_| revoked).into_iter().flat_map(|user| user.revoked.iter());
        open.chain(ended).filter_map(|id| self.sessions.get(id).map(|entry| &**entry))
    }

    /// Adds a session that is not there.
    pub(crate) fn add(&mut self, record: SessionRecord) {
        let SessionRecord { session, control, .. } = record;
        let (id, user) = (session.id, self.users.ensure(&session.user_id));
        self.users.attach(user, id, control.revocation.is_some());
        self.users.keep(user, session.expires_at.timestamp_millis());
        let queued_at = end(&session, &control);
        self.queue.insert((queued_at, id));
        let in_step = in_step(&control, self.epoch(user));
        if let Some(changes) = &mut self.changes {
            changes.added(id, user);
        }
        self.sessions.insert(id, Box::new(Entry { session, control, queued_at, user, in_step }));
    }

    /// Writes a session that is there.
    pub(crate) fn store(&mut self, id: SessionId, session: &Arc<Session>, control: &Control) {
        let Some(entry) = self.sessions.get_mut(&id) else { return };
        if control.revocation.is_some() && entry.control.revocation.is_none() {
            self.users.mark_revoked(entry.user, id);
        }
        entry.session = Arc::clone(session);
        entry.control = control.clone();
        entry.in_step = in_step(control, self.users.get(entry.user).and_then(|user| user.epoch));
        let ends = end(session, control);
        if ends < entry.queued_at {
            self.queue.remove(&(entry.queued_at, id));
            self.queue.insert((ends, id));
            entry.queued_at = ends;
        }
        let (user, until) = (entry.user, session.expires_at.timestamp_millis());
        self.users.keep(user, until);
        if let Some(changes) = &mut self.changes {
            changes.changed(id);
            changes.user(user);
        }
    }

    /// Moves last activity and the idle deadline; the caller has made sure that they move forward.
    pub(crate) fn touch(&mut self, id: SessionId, last_activity: DateTime<Utc>, idle_expires_at: DateTime<Utc>) {
        if let Some(entry) = self.sessions.get_mut(&id) {
            entry.control.last_activity = last_activity;
            entry.control.idle_expires_at = idle_expires_at;
            if let Some(changes) = &mut self.changes {
                changes.changed(id);
            }
        }
    }

    /// Takes a session out and returns it as it was.
    pub(crate) fn remove(&mut self, id: SessionId) -> Option<Snapshot> {
        let snapshot = self.read(id)?;
        let entry = self.sessions.remove(&id)?;
        self.queue.remove(&(entry.queued_at, id));
        self.users.detach(entry.user, id);
        if let Some(changes) = &mut self.changes {
            changes.removed(id);
        }
        Some(snapshot)
    }

    /// Whether a session may have ended before this time: cheap, and never wrongly `false`.
    pub(crate) fn may_be_due(&self, before: i64) -> bool {
        self.queue.first().is_some_and(|(at, _)| *at < before)
    }

    /// A session that ended before this time, the longest ended first as far as the queue knows.
    pub(crate) fn due(&mut self, before: i64) -> Option<SessionId> {
        while self.may_be_due(before) {
            let (at, id) = self.queue.first().copied()?;
            let entry = self.sessions.get_mut(&id)?;
            let ends = end(&entry.session, &entry.control);
            if ends == at || ends < before {
                return Some(id);
            }
            // Touched since it was queued: each touch pays for at most one such move.
            self.queue.remove(&(at, id));
            self.queue.insert((ends, id));
            entry.queued_at = ends;
        }
        None
    }

    /// Looks for sessions that do not live, whatever ended them, where the last search stopped: at so many, and for at most so many.
    ///
    /// What was revoked or is past its deadline stands in front of the queue; what an epoch ended, anywhere in it.
    pub(crate) fn search(&mut self, examine: usize, at_most: usize, now: DateTime<Utc>) -> Searched {
        let (mut part, mut last) = (Searched { complete: true, ..Searched::default() }, self.searched);
        for place in self.queue.range((last.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded)) {
            if part.examined >= examine || part.found.len() >= at_most {
                part.complete = false;
                break;
            }
            part.examined = part.examined.saturating_add(1);
            last = Some(*place);
            if self.read(place.1).is_some_and(|one| !one.state(now, LivePolicy::TRACKED).is_live()) {
                part.found.push(place.1);
            }
        }
        self.searched = last.filter(|_| !part.complete);
        part
    }

    #[cfg(test)]
    pub(crate) fn sizes(&self) -> Vec<usize> {
        [vec![self.sessions.len(), self.queue.len()], self.users.sizes().to_vec()].concat()
    }
}

/// What [`Entry::in_step`] says: never of a revoked session, whose user's epoch may move on without it.
fn in_step(control: &Control, epoch: Option<Epoch>) -> bool {
    control.revocation.is_none() && epoch.is_some() && control.stamped.map(|stamp| stamp.user) == epoch
}

/// When a session ends, or ended, in milliseconds: at its revocation or its deadline, whichever is first.
fn end(session: &Session, control: &Control) -> i64 {
    let deadline = session.expires_at.min(control.idle_expires_at);
    control.revocation.as_ref().map_or(deadline, |revocation| revocation.at.min(deadline)).timestamp_millis()
}
