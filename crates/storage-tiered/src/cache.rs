//! The cache in this process: what may be answered, what may be remembered, and who says so.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use chrono::{DateTime, Utc};
use session_manager_core::clock::after;
use session_manager_core::storage::{Notice, Subject};
use session_manager_core::{BusEvent, Locator, SessionKey, Snapshot};

use crate::config::{TieredConfig, WhenDeaf};
use crate::entries::{Entries, Entry};
use crate::marks::{Change, Marks};
use crate::stats::Counters;

pub(crate) struct Cache {
    pub(crate) counters: Counters,
    config: TieredConfig,
    entries: Entries,
    /// Held for writing by everything that invalidates, so that nothing slips between a judgement and what follows from it.
    knowledge: RwLock<Knowledge>,
}

struct Knowledge {
    marks: Marks,
    ear: Ear,
}

/// What is known of the bus.
#[derive(Default)]
struct Ear {
    /// Whether there is a bus at all.
    wanted: bool,
    /// How many maintenance futures listen.
    listeners: usize,
    /// Whether a stream has ended, and the one after it has said nothing yet.
    broken: bool,
    /// When its last heartbeat was heard.
    heard_at: Option<DateTime<Utc>>,
}

/// What the cache says to a question.
#[allow(clippy::large_enum_variant, reason = "the large variant is the usual one, and lives for a moment")]
pub(crate) enum Look {
    /// This is the answer.
    Hit(Option<Snapshot>),
    /// Ask the durable storage, and come back with this ticket.
    Miss(Ticket),
    /// Ask the durable storage, and do not come back.
    Bypass,
}

/// When a read began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    number: u64,
    began_at: DateTime<Utc>,
}

impl Cache {
    pub(crate) fn new(config: TieredConfig) -> Self {
        let life = config.max_age.saturating_add(config.fill_timeout);
        Self {
            counters: Counters::default(),
            entries: Entries::new(config.max_entries),
            knowledge: RwLock::new(Knowledge { marks: Marks::new(config.max_age, life), ear: Ear::default() }),
            config,
        }
    }

    pub(crate) const fn config(&self) -> &TieredConfig {
        &self.config
    }

    pub(crate) fn look(&self, key: &SessionKey, now: DateTime<Utc>) -> Look {
        let knowledge = self.read();
        let Some(limit) = self.limit(&knowledge.ear, now) else {
            return Look::Bypass;
        };
        let number = knowledge.marks.ticket();
        // If not even an answer of this moment would be good, the subject is just being changed.
        if !knowledge.marks.admit(number, key.id, key.locator, now) {
            return Look::Bypass;
        }
        match self.entries.get(key.id) {
            Some(entry) if self.is_good(&entry, key, &knowledge, limit, now) => Look::Hit(entry.snapshot),
            _ => Look::Miss(Ticket { number, began_at: now }),
        }
    }

    fn is_good(&self, entry: &Entry, key: &SessionKey, known: &Knowledge, limit: Duration, now: DateTime<Utc>) -> bool {
        let limit = if entry.snapshot.is_some() { limit } else { limit.min(self.config.negative_age) };
        // A clock that was set back makes everything too old rather than too young.
        (entry.read_at <= now && now < after(entry.read_at, limit))
            && is_asked_for(entry, key)
            && entry.snapshot.as_ref().is_none_or(|snapshot| !may_have_been_touched(snapshot, now))
            && known.marks.admit(entry.ticket, key.id, entry.locator, now)
    }

    /// Whether a read that began with `ticket` may be shared by one that begins now.
    pub(crate) fn may_join(&self, ticket: Ticket, key: &SessionKey, now: DateTime<Utc>) -> bool {
        self.in_time(ticket, now) && self.read().marks.admit(ticket.number, key.id, key.locator, now)
    }

    /// Remembers what a read found, unless something happened since its ticket. What came from a shared cache was read earlier than that:
    /// `read_at`.
    pub(crate) fn fill(
        &self,
        ticket: Ticket,
        key: &SessionKey,
        found: Option<&Snapshot>,
        read_at: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) {
        if found.is_none() && self.config.negative_age.is_zero() {
            return;
        }
        let locator = locator_of(key, found);
        let knowledge = self.read();
        if !self.in_time(ticket, now) || !knowledge.marks.admit(ticket.number, key.id, locator, now) {
            self.counters.refused_fills.count();
            return;
        }
        let read_at = read_at.map_or(ticket.began_at, |read_at| read_at.min(ticket.began_at));
        let entry = Entry { snapshot: found.cloned(), locator, ticket: ticket.number, read_at };
        self.entries.put(key.id, entry);
    }

    /// A change begins: from now until it ends its subject is neither answered from nor taken into the cache.
    pub(crate) fn begin(&self, subject: Subject, now: DateTime<Utc>) -> Change {
        self.write().marks.begin(subject, now)
    }

    /// A change has ended; what it returned is remembered if nothing else happened meanwhile.
    pub(crate) fn end(&self, change: &Change, now_is: Option<&Snapshot>, now: DateTime<Utc>) {
        let known = now_is.map(|snapshot| (snapshot.session.id, Some(snapshot.session.user_id.locator())));
        let mut knowledge = self.write();
        let alone = knowledge.marks.end(change, known, now);
        let Some(snapshot) = now_is.filter(|_| alone) else { return };
        if self.limit(&knowledge.ear, now).is_some() {
            let (ticket, locator) = (knowledge.marks.ticket(), known.and_then(|(_, locator)| locator));
            let entry = Entry { snapshot: Some(snapshot.clone()), locator, ticket, read_at: change.began_at };
            self.entries.put(snapshot.session.id, entry);
        }
    }

    /// Whatever was read of these before now is bad.
    pub(crate) fn raise(&self, subjects: impl Iterator<Item = Subject>, now: DateTime<Utc>) {
        let mut knowledge = self.write();
        for subject in subjects {
            knowledge.marks.raise(subject, now);
            if let Subject::Session(id) = subject {
                self.entries.remove(id);
            }
        }
    }

    /// A notice was heard, or is about to be given.
    pub(crate) fn hear(&self, notice: &Notice, now: DateTime<Utc>) {
        self.counters.notices.count();
        self.write().marks.hear(notice.subject, notice.phase, now);
        if let Subject::Session(id) = notice.subject {
            self.entries.remove(id);
        }
    }

    /// Everything is forgotten.
    pub(crate) fn flush(&self, now: DateTime<Utc>) {
        self.counters.flushes.count();
        let mut knowledge = self.write();
        knowledge.marks.lose(now);
        self.entries.clear();
    }

    /// There is a bus: until it is heard the cache is deaf.
    pub(crate) fn expect_bus(&self) {
        self.write().ear.wanted = true;
    }

    /// Listening begins.
    pub(crate) fn listen(&self) {
        let mut knowledge = self.write();
        knowledge.ear.listeners = knowledge.ear.listeners.saturating_add(1);
    }

    /// Listening ends.
    pub(crate) fn stop_listening(&self) {
        let mut knowledge = self.write();
        knowledge.ear.listeners = knowledge.ear.listeners.saturating_sub(1);
        knowledge.ear.heard_at = None;
    }

    /// The stream has ended. The next one may be connecting for a while before it ends too: it is believed when it says something.
    pub(crate) fn break_off(&self, now: DateTime<Utc>) {
        self.write().ear.broken = true;
        self.flush(now);
    }

    /// The bus has said something. Returns whether it is heard again after it was not.
    pub(crate) fn heard(&self, event: &BusEvent, now: DateTime<Utc>) -> bool {
        let ear = &mut self.write().ear;
        let was_heard = self.hears(ear, now);
        ear.broken = false;
        match event {
            BusEvent::Heartbeat => ear.heard_at = Some(now),
            // It may be of this very node, which hears it whether or not it has got any further.
            BusEvent::Notice(_) => {}
            // It is, or was just now, down.
            _ => ear.heard_at = None,
        }
        !was_heard && self.hears(ear, now)
    }

    /// Whether the bus is heard; `true` where there is none.
    pub(crate) fn is_hearing(&self, now: DateTime<Utc>) -> bool {
        self.hears(&self.read().ear, now)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    fn hears(&self, ear: &Ear, now: DateTime<Utc>) -> bool {
        let in_time = |silence| ear.heard_at.is_some_and(|heard_at| now <= after(heard_at, silence));
        !ear.wanted || ear.listeners > 0 && !ear.broken && self.config.heartbeat.is_none_or(in_time)
    }

    /// How old an answer may be at this moment; `None` where the cache is not to be asked.
    fn limit(&self, ear: &Ear, now: DateTime<Utc>) -> Option<Duration> {
        match self.config.when_deaf {
            _ if self.hears(ear, now) => Some(self.config.max_age),
            WhenDeaf::Bypass => None,
            WhenDeaf::Bounded(age) => Some(age.min(self.config.max_age)),
        }
    }

    fn in_time(&self, ticket: Ticket, now: DateTime<Utc>) -> bool {
        ticket.began_at <= now && now < after(ticket.began_at, self.config.fill_timeout)
    }

    // A panic cannot leave numbers half-written: a poisoned lock is used on.
    fn read(&self) -> RwLockReadGuard<'_, Knowledge> {
        self.knowledge.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Knowledge> {
        self.knowledge.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an entry answers this very key: one that names another user is for the durable storage to judge.
fn is_asked_for(entry: &Entry, key: &SessionKey) -> bool {
    match &entry.snapshot {
        Some(_) => key.locator.is_none() || key.locator == entry.locator,
        None => key.locator == entry.locator,
    }
}

/// Whether a session seems to have ended for want of activity: activity that another node wrote down is not announced, so that only the
/// durable storage knows.
pub(crate) fn may_have_been_touched(snapshot: &Snapshot, now: DateTime<Utc>) -> bool {
    snapshot.revocation().is_none() && snapshot.control.idle_expires_at <= now && now < snapshot.session.expires_at
}

fn locator_of(key: &SessionKey, found: Option<&Snapshot>) -> Option<Locator> {
    found.map_or(key.locator, |snapshot| Some(snapshot.session.user_id.locator()))
}
