//! What a node remembers of the feed of revocations: whose access tokens it must not trust without a look at the storage.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::backend::{ClaimedEpoch, Verified};
use crate::clock::{after, before};
use crate::epoch::{Epoch, Epochs, GlobalEpoch};
use crate::id::SessionId;
use crate::storage::{Notice, Phase, Subject};
use crate::user::Locator;

/// The memory of a node in mode `Feed`.
///
/// # Behaviour
/// - An entry about a session means *look*, and no look removes it: it stays as long as a token of before can live.
/// - One about a user or everybody means it while a change is open, and as long if its end is never told: whose sessions a change ended one
///   by one is told before its end.
/// - One about an epoch means it until no change is open and the epoch has been read since the last one ended: from then on a token whose
///   claims agree with what was read is accepted without a look.
/// - Memory counts for nothing unless the feed has been read completely within `max_age`; the age is measured from the start of that read.
#[derive(Debug)]
pub(super) struct Watch {
    max_age: Duration,
    life: Duration,
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Raised by every notice: the ticket of a look.
    sequence: u64,
    complete_at: Option<DateTime<Utc>>,
    sessions: Entries<SessionId, DateTime<Utc>>,
    users: Entries<Locator, Changes>,
    everybody: Option<Changes>,
    user_epochs: Entries<Locator, Raised<Epoch>>,
    global_epoch: Option<Raised<GlobalEpoch>>,
}

/// Changes of one subject, by the time they were announced at.
#[derive(Debug)]
struct Changes {
    until: DateTime<Utc>,
    open: Vec<DateTime<Utc>>,
    /// Those that have ended, so that a beginning that is heard late opens nothing.
    ended: Vec<DateTime<Utc>>,
}

/// What is known of an epoch that was announced to be raised.
#[derive(Debug)]
struct Raised<E> {
    changes: Changes,
    sequence: u64,
    read: Option<E>,
}

/// What to do with a token whose signature is proven.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Advice {
    /// Nothing speaks against it.
    Accept,
    /// Only the storage knows. The ticket goes back with what was read.
    Look(u64),
}

impl Watch {
    pub(super) fn new(max_age: Duration, life: Duration) -> Self {
        Self { max_age, life, known: RwLock::default() }
    }

    /// How often the feed must be read to be known well enough.
    pub(super) fn interval(&self) -> Duration {
        self.max_age / 4
    }

    /// Whether memory may be asked at all.
    pub(super) fn is_fresh(&self, now: DateTime<Utc>) -> bool {
        self.read().is_fresh(now, self.max_age)
    }

    pub(super) fn advise(&self, verified: &Verified, tracked: bool, now: DateTime<Utc>) -> Advice {
        let known = self.read();
        let accepted = known.is_fresh(now, self.max_age) && known.has_nothing_against(verified, tracked, now);
        if accepted { Advice::Accept } else { Advice::Look(known.sequence) }
    }

    /// A look has brought the epochs: where nothing was announced since its ticket was taken, they settle what was.
    pub(super) fn learn(&self, ticket: u64, user: Locator, epochs: &Epochs) {
        // Most looks settle nothing, and need not keep others out.
        let settles = {
            let known = self.read();
            known.global_epoch.as_ref().is_some_and(|raised| raised.may_be_settled(ticket))
                || known.user_epochs.map.get(&user).is_some_and(|raised| raised.may_be_settled(ticket))
        };
        if !settles {
            return;
        }
        let mut known = self.write();
        if let Some(raised) = &mut known.global_epoch {
            raised.settle(ticket, epochs.global);
        }
        if let Some(raised) = known.user_epochs.map.get_mut(&user) {
            raised.settle(ticket, epochs.user);
        }
    }

    /// A notice was read or heard, or is about to be given. Hearing it twice is harmless.
    pub(super) fn hear(&self, notice: &Notice, now: DateTime<Utc>) {
        let until = after(notice.at, self.life);
        if until <= now {
            return;
        }
        let mut known = self.write();
        known.sequence = known.sequence.saturating_add(1);
        let sequence = known.sequence;
        let heard = Heard { notice, until, forgotten: before(now, self.life), sequence };
        match notice.subject {
            Subject::Session(id) => {
                let entry = known.sessions.at(id, until, now);
                *entry = until.max(*entry);
            }
            Subject::User(user) => known.users.at(user, Changes::new(until), now).hear(&heard),
            Subject::Global => known.everybody.get_or_insert_with(|| Changes::new(until)).hear(&heard),
            Subject::UserEpoch(user) => known.user_epochs.at(user, Raised::new(until), now).hear(&heard),
            Subject::GlobalEpoch => known.global_epoch.get_or_insert_with(|| Raised::new(until)).hear(&heard),
        }
    }

    /// Everything announced before `began_at` has been heard.
    pub(super) fn complete(&self, began_at: DateTime<Utc>) {
        let mut known = self.write();
        known.complete_at = known.complete_at.max(Some(began_at));
    }
}

impl Watch {
    // A panic cannot leave an entry half-written: a poisoned lock is used on.
    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn is_fresh(&self, now: DateTime<Utc>, max_age: Duration) -> bool {
        // A clock that was set back makes knowledge too old rather than too young.
        self.complete_at.is_some_and(|at| at <= now && now < after(at, max_age))
    }

    fn has_nothing_against(&self, verified: &Verified, tracked: bool, now: DateTime<Utc>) -> bool {
        let Some(user) = verified.key.locator.filter(|_| verified.user_id.is_some()) else { return false };
        if self.everybody.as_ref().is_some_and(|changes| changes.are_open(now))
            || self.sessions.map.get(&verified.key.id).is_some_and(|until| !until.is_over(now))
            || self.users.map.get(&user).is_some_and(|changes| changes.are_open(now))
        {
            return false;
        }
        let global = self.global_epoch.as_ref().filter(|raised| !raised.is_over(now));
        let own = self.user_epochs.map.get(&user).filter(|raised| !raised.is_over(now));
        let Some(claimed) = verified.epochs else {
            // Where the storage keeps epochs a token must name them; where it keeps none, there is nothing to compare with.
            return !tracked && global.is_none() && own.is_none();
        };
        global.is_none_or(|raised| raised.settled().is_some_and(|epoch| admits_globally(epoch, claimed.global, now)))
            && own.is_none_or(|raised| raised.settled().is_some_and(|epoch| ClaimedEpoch::from(*epoch) == claimed.user))
    }
}

/// The rule of [`Epochs::admit`] for what a token says of the global epoch.
fn admits_globally(global: &GlobalEpoch, claimed: ClaimedEpoch, now: DateTime<Utc>) -> bool {
    let current = ClaimedEpoch::from(global.epoch);
    current == claimed
        || (current.incarnation == claimed.incarnation
            && current.version == claimed.version.saturating_add(1)
            && global.grace_until.is_some_and(|until| now < until))
}

/// A notice, and what follows from when it was heard.
struct Heard<'a> {
    notice: &'a Notice,
    until: DateTime<Utc>,
    /// Changes that were announced before this and have not ended are over, or will never be made.
    forgotten: DateTime<Utc>,
    sequence: u64,
}

impl Changes {
    const fn new(until: DateTime<Utc>) -> Self {
        Self { until, open: Vec::new(), ended: Vec::new() }
    }

    fn hear(&mut self, heard: &Heard<'_>) {
        let at = heard.notice.at;
        self.until = self.until.max(heard.until);
        self.open.retain(|open| *open > heard.forgotten);
        self.ended.retain(|ended| *ended > heard.forgotten);
        match heard.notice.phase {
            Phase::Intent if self.open.contains(&at) || self.ended.contains(&at) => {}
            Phase::Intent => self.open.push(at),
            Phase::Done => {
                self.open.retain(|open| *open != at);
                if !self.ended.contains(&at) {
                    self.ended.push(at);
                }
            }
        }
    }

    fn are_open(&self, now: DateTime<Utc>) -> bool {
        now < self.until && !self.open.is_empty()
    }
}

impl<E: Copy> Raised<E> {
    const fn new(until: DateTime<Utc>) -> Self {
        Self { changes: Changes::new(until), sequence: 0, read: None }
    }

    fn hear(&mut self, heard: &Heard<'_>) {
        self.changes.hear(heard);
        self.sequence = heard.sequence;
        self.read = None;
    }

    fn may_be_settled(&self, ticket: u64) -> bool {
        self.read.is_none() && self.changes.open.is_empty() && self.sequence <= ticket
    }

    fn settle(&mut self, ticket: u64, epoch: Option<E>) {
        if self.may_be_settled(ticket) {
            self.read = epoch;
        }
    }

    const fn settled(&self) -> Option<&E> {
        self.read.as_ref()
    }
}

/// Entries that go when they are over. They are swept when there are twice as many as mattered last time, so that a notice costs the same
/// however many there are.
#[derive(Debug)]
struct Entries<K, V> {
    map: HashMap<K, V>,
    sweep_at: usize,
}

/// Fewer entries are not worth sweeping.
const FEW: usize = 1024;

impl<K, V> Default for Entries<K, V> {
    fn default() -> Self {
        Self { map: HashMap::new(), sweep_at: FEW }
    }
}

/// Something that is over at some time.
trait Passing {
    fn is_over(&self, now: DateTime<Utc>) -> bool;
}

impl Passing for DateTime<Utc> {
    fn is_over(&self, now: DateTime<Utc>) -> bool {
        *self <= now
    }
}

impl Passing for Changes {
    fn is_over(&self, now: DateTime<Utc>) -> bool {
        self.until <= now
    }
}

impl<E> Passing for Raised<E> {
    fn is_over(&self, now: DateTime<Utc>) -> bool {
        self.changes.is_over(now)
    }
}

impl<K: Eq + Hash, V: Passing> Entries<K, V> {
    fn at(&mut self, key: K, new: V, now: DateTime<Utc>) -> &mut V {
        if self.map.len() >= self.sweep_at {
            self.map.retain(|_, value| !value.is_over(now));
            self.sweep_at = self.map.len().saturating_mul(2).max(FEW);
        }
        self.map.entry(key).or_insert(new)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a failed step is a failed test")]
mod tests {
    use super::*;
    use crate::backend::ClaimedEpochs;
    use crate::id::SessionKey;
    use crate::user::UserId;

    fn at(millis: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(millis).unwrap()
    }

    fn epochs(version: u64) -> Epochs {
        Epochs::new(Some(Epoch { incarnation: 7, version }), Some(GlobalEpoch::new(Epoch::first(9))))
    }

    /// A token of alice under a version of her epoch.
    fn token(version: u64) -> Verified {
        let alice = UserId::parse("alice").unwrap();
        let mut verified =
            Verified::new(SessionKey::new(SessionId::from(uuid::Uuid::from_u128(1)), alice.locator()), 1);
        verified.epochs = epochs(version).stamp().map(|stamp| ClaimedEpochs {
            user: ClaimedEpoch::from(stamp.user),
            global: ClaimedEpoch::from(stamp.global),
        });
        verified.user_id = Some(alice);
        verified
    }

    struct Bed(Watch, Locator);

    impl Bed {
        fn new() -> Self {
            let watch = Watch::new(Duration::from_secs(5), Duration::from_mins(6));
            watch.complete(at(0));
            Self(watch, UserId::parse("alice").unwrap().locator())
        }

        fn bump(&self, millis: i64) {
            for phase in [Phase::Intent, Phase::Done] {
                self.0.hear(&Notice::new(Subject::UserEpoch(self.1), phase, at(millis)), at(millis));
            }
        }

        fn advise(&self, version: u64) -> Advice {
            self.0.advise(&token(version), true, at(1000))
        }

        fn look(&self, version: u64) -> u64 {
            match self.advise(version) {
                Advice::Look(ticket) => ticket,
                Advice::Accept => panic!("it must be looked at"),
            }
        }
    }

    #[test]
    fn a_read_that_began_before_an_announcement_settles_nothing() {
        let bed = Bed::new();
        bed.bump(1);
        let ticket = bed.look(2);
        // While it is read the epoch is raised again: what comes back is of before.
        bed.bump(2);
        bed.0.learn(ticket, bed.1, &epochs(2));
        let ticket = bed.look(2);
        bed.0.learn(ticket, bed.1, &epochs(3));
        bed.look(2);
        assert_eq!(bed.advise(3), Advice::Accept);
    }

    #[test]
    fn what_was_settled_is_open_again_with_the_next_announcement() {
        let bed = Bed::new();
        bed.bump(1);
        let ticket = bed.look(2);
        bed.0.learn(ticket, bed.1, &epochs(2));
        assert_eq!(bed.advise(2), Advice::Accept);
        bed.bump(2);
        bed.look(2);
    }

    #[test]
    fn a_beginning_that_is_heard_late_opens_nothing() {
        let bed = Bed::new();
        bed.bump(1);
        let ticket = bed.look(2);
        bed.0.learn(ticket, bed.1, &epochs(2));
        let late = Notice::new(Subject::User(bed.1), Phase::Intent, at(1));
        bed.0.hear(&Notice::new(Subject::User(bed.1), Phase::Done, at(1)), at(1));
        bed.0.hear(&late, at(2));
        assert_eq!(bed.advise(2), Advice::Accept);
    }

    #[test]
    fn entries_that_are_over_are_forgotten() {
        let watch = Watch::new(Duration::from_secs(5), Duration::from_millis(10));
        for number in 0..100_000_u32 {
            let id = SessionId::from(uuid::Uuid::from_u128(number.into()));
            let now = at(number.into());
            watch.hear(&Notice::new(Subject::Session(id), Phase::Done, now), now);
        }
        assert!(watch.read().sessions.map.len() <= FEW);
    }
}
