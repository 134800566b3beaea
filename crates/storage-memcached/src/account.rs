//! A user's item, decoded: the epoch and all sessions, and the changes that keep them together.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use session_manager_core::clock::after;
use session_manager_core::storage::EndedSession;
use session_manager_core::{
    Control, Epoch, Epochs, GlobalEpoch, LivePolicy, Revocation, Session, SessionId, SessionRecord, Snapshot, State,
    UserId,
};

use crate::cache::TimeToLive;
use crate::encoding;
use crate::error::Failure;

/// One user.
pub(crate) struct Account {
    pub(crate) user: UserId,
    pub(crate) epoch: Epoch,
    pub(crate) entries: Vec<Entry>,
}

/// One session. Its seldom changing part stays encoded until somebody asks.
pub(crate) struct Entry {
    pub(crate) id: SessionId,
    pub(crate) expires_at: DateTime<Utc>,
    pub(crate) control: Control,
    pub(crate) body: Vec<u8>,
}

impl Entry {
    pub(crate) fn record(&self) -> Result<SessionRecord, Failure> {
        Ok(SessionRecord::new(encoding::read_body(&self.body)?, self.control.clone()))
    }

    /// When it ended, or will for want of anything else: by it the longest ended are known.
    fn end(&self) -> DateTime<Utc> {
        let deadline = self.expires_at.min(self.control.idle_expires_at);
        self.control.revocation.as_ref().map_or(deadline, |revocation| revocation.at.min(deadline))
    }

    /// Whether it cannot be live, whatever the epochs say: it then need not be decoded to be passed over.
    fn is_over(&self, now: DateTime<Utc>) -> bool {
        self.end() <= now || self.control.revocation.is_some()
    }
}

impl Account {
    /// A user without sessions.
    pub(crate) const fn new(user: UserId, epoch: Epoch) -> Self {
        Self { user, epoch, entries: Vec::new() }
    }

    pub(crate) const fn epochs(&self, global: Option<GlobalEpoch>) -> Epochs {
        Epochs::new(Some(self.epoch), global)
    }

    pub(crate) fn snapshot(&self, id: SessionId, global: Option<GlobalEpoch>) -> Result<Option<Snapshot>, Failure> {
        let entry = self.entries.iter().find(|entry| entry.id == id);
        entry.map(|entry| Ok(Snapshot::new(entry.record()?, self.epochs(global)))).transpose()
    }

    pub(crate) fn snapshots(&self, global: Option<GlobalEpoch>) -> Result<Vec<Snapshot>, Failure> {
        self.entries.iter().map(|entry| Ok(Snapshot::new(entry.record()?, self.epochs(global)))).collect()
    }

    /// The sessions that live.
    pub(crate) fn live(&self, global: Option<GlobalEpoch>, now: DateTime<Utc>) -> Result<Vec<Snapshot>, Failure> {
        let open = self.entries.iter().filter(|entry| !entry.is_over(now));
        let snapshots = open.map(|entry| Ok(Snapshot::new(entry.record()?, self.epochs(global))));
        let live = |one: &Snapshot| one.state(now, LivePolicy::TRACKED).is_live();
        snapshots.filter(|one| one.as_ref().map_or(true, live)).collect()
    }

    /// Writes a session, new or changed.
    pub(crate) fn put(&mut self, record: &SessionRecord) -> Result<(), Failure> {
        let session: &Session = &record.session;
        let body = encoding::body(session)?;
        let entry = Entry { id: session.id, expires_at: session.expires_at, control: record.control.clone(), body };
        match self.entries.iter_mut().find(|there| there.id == entry.id) {
            Some(there) => *there = entry,
            None => self.entries.push(entry),
        }
        Ok(())
    }

    /// Writes what changes often, and copies the rest as it is.
    pub(crate) fn set_control(&mut self, id: SessionId, control: &Control) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.id == id) {
            entry.control.clone_from(control);
        }
    }

    /// Ends one session.
    pub(crate) fn end(&mut self, mut snapshot: Snapshot, revocation: &Arc<Revocation>) -> EndedSession {
        snapshot.control.revocation = Some(Arc::clone(revocation));
        snapshot.control.version = snapshot.control.version.saturating_add(1);
        self.set_control(snapshot.session.id, &snapshot.control);
        EndedSession::new(snapshot.session, State::Revoked, snapshot.control.revocation)
    }

    pub(crate) fn remove(&mut self, id: SessionId) {
        self.entries.retain(|entry| entry.id != id);
    }

    /// Drops what ended longer than `retention` ago.
    pub(crate) fn forget(&mut self, retention: Duration, now: DateTime<Utc>) {
        self.entries.retain(|entry| !entry.is_over(now) || now < after(entry.end(), retention));
    }

    /// The item's bytes. Where they are more than `max`, ended sessions are dropped first, the longest ended before the others.
    pub(crate) fn fit(
        &mut self,
        max: usize,
        global: Option<GlobalEpoch>,
        now: DateTime<Utc>,
    ) -> Result<Vec<u8>, Failure> {
        let bytes = encoding::account(self)?;
        if bytes.len() <= max {
            return Ok(bytes);
        }
        let live: Vec<SessionId> = self.live(global, now)?.iter().map(|one| one.session.id).collect();
        let ended = self.entries.iter().filter(|entry| !live.contains(&entry.id));
        let mut ended: Vec<_> = ended.map(|entry| (entry.end(), entry.id, encoding::size(entry))).collect();
        ended.sort_unstable();
        let mut surplus = bytes.len().saturating_sub(max);
        let mut dropped = Vec::new();
        for (_, id, size) in ended {
            if surplus == 0 {
                break;
            }
            surplus = surplus.saturating_sub(size);
            dropped.push(id);
        }
        self.entries.retain(|entry| !dropped.contains(&entry.id));
        let bytes = encoding::account(self)?;
        if bytes.len() <= max { Ok(bytes) } else { Err(Failure::NoRoom { max_item_bytes: max }) }
    }

    /// How long the item is wanted: until nobody asks for its last session any more.
    pub(crate) fn ttl(&self, retention: Duration, now: DateTime<Utc>) -> TimeToLive {
        let last = self.entries.iter().map(|entry| entry.expires_at).max().unwrap_or(now);
        ttl_until(last, retention, now)
    }
}

/// How long an item is wanted that ends with a deadline.
pub(crate) fn ttl_until(deadline: DateTime<Utc>, retention: Duration, now: DateTime<Utc>) -> TimeToLive {
    /// What clocks of servers and nodes may differ by, and more.
    const MARGIN: Duration = Duration::from_hours(1);
    let left = (deadline - now).to_std().unwrap_or_default();
    TimeToLive::For(left.saturating_add(retention.max(MARGIN)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;
    use session_manager_core::{Actor, RevocationReason};
    use session_manager_testkit::{SequenceRandom, SessionBuilder, user};

    fn at(millis: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(millis).unwrap()
    }

    /// Ten sessions of about 1 KB, the first five ended one after the other.
    fn ten() -> (Account, GlobalEpoch) {
        let (alice, random) = (user("alice"), SequenceRandom::default());
        let global = GlobalEpoch::new(Epoch::first(2));
        let mut account = Account::new(alice.clone(), Epoch::first(1));
        for number in 0..10 {
            let session = SessionBuilder::new(&alice, at(number), &random).attribute("long", "x".repeat(500).into());
            let mut record = session.record();
            record.control.stamped = account.epochs(Some(global)).stamp();
            account.put(&record).unwrap();
        }
        for number in 0..5 {
            let snapshot = account.snapshots(Some(global)).unwrap().swap_remove(number);
            let time = at(100 + i64::try_from(number).unwrap());
            account.end(snapshot, &Arc::new(Revocation::new(time, RevocationReason::LOGOUT, Actor::System)));
        }
        (account, global)
    }

    #[test]
    fn the_longest_ended_make_room_and_the_live_never_do() {
        let (mut account, global) = ten();
        let (now, before) = (at(1_000), account.live(Some(global), at(1_000)).unwrap());
        let full = account.fit(usize::MAX, Some(global), now).unwrap().len();
        let size = encoding::size(&account.entries[0]);
        let second = account.entries[1].id;
        assert!(account.fit(full - 1, Some(global), now).unwrap().len() <= full - size);
        assert_eq!((account.entries.len(), account.entries[0].id), (9, second), "only the longest ended went");
        account.fit(full - 5 * size, Some(global), now).unwrap();
        assert_eq!(account.live(Some(global), now).unwrap(), before);
        let error = account.fit(full - 6 * size, Some(global), now).unwrap_err();
        assert!(matches!(error, Failure::NoRoom { .. }));
        assert_eq!(account.live(Some(global), now).unwrap(), before);
    }

    #[test]
    fn retention_is_exact_and_spares_the_live() {
        let (mut account, _) = ten();
        account.forget(Duration::from_millis(10), at(111));
        assert_eq!(account.entries.len(), 8, "those that ended at 100 and 101 are gone");
        account.forget(Duration::ZERO, at(1_000));
        assert_eq!(account.entries.len(), 5);
    }

    #[test]
    fn an_item_is_wanted_until_its_last_session_is_over() {
        let (account, _) = ten();
        let day = Duration::from_hours(24);
        let hours = |hours| TimeToLive::For(Duration::from_hours(hours) + Duration::from_millis(9));
        assert_eq!(account.ttl(day, at(0)), hours(48));
        assert_eq!(account.ttl(Duration::ZERO, at(0)), hours(25));
        assert_eq!(account.ttl(day, at(1_000_000_000_000)), TimeToLive::For(day));
    }
}
