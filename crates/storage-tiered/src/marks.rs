//! What was invalidated when: the tombstones that keep late fills out.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use chrono::{DateTime, Utc};
use foldhash::fast::RandomState;
use session_manager_core::clock::after;
use session_manager_core::storage::{Phase, Subject};
use session_manager_core::{Locator, SessionId};

/// One sequence for everything, and for each subject the number of its last invalidation.
///
/// An answer whose read began at ticket *t* is good while no subject it depends on has been invalidated after *t*, and none is about to be.
/// Invalidating is therefore one number, whatever it concerns; nothing is searched for.
pub(crate) struct Marks {
    sequence: u64,
    global: Mark,
    users: Places<Locator>,
    sessions: Places<SessionId>,
    /// The newest mark of any user: for answers of whom it is not known whose they are.
    newest_user: u64,
    /// Until then the ends that are heard may belong to beginnings that were not.
    unsure_until: DateTime<Utc>,
    /// How long an announced change may stay open without word of its end.
    open_life: Duration,
    /// How long a mark matters: longer than any answer or fill that began before it.
    life: Duration,
}

#[derive(Clone, Copy)]
struct Mark {
    /// The number of the last invalidation.
    raised: u64,
    /// How many changes have begun and not ended.
    open: u32,
    /// Until when they are waited for.
    open_until: DateTime<Utc>,
    /// How many of those that nobody waits for any more may still end.
    given_up: u32,
    /// When the mark matters no more.
    until: DateTime<Utc>,
}

impl Mark {
    const NEVER: Self =
        Self { raised: 0, open: 0, open_until: DateTime::<Utc>::MIN_UTC, given_up: 0, until: DateTime::<Utc>::MIN_UTC };

    fn is_open(&self, now: DateTime<Utc>) -> bool {
        self.open > 0 && now < self.open_until
    }

    fn admits(&self, ticket: u64, now: DateTime<Utc>) -> bool {
        ticket >= self.raised && !self.is_open(now)
    }

    fn open(&mut self, now: DateTime<Utc>, until: DateTime<Utc>) {
        if !self.is_open(now) {
            self.given_up = self.given_up.saturating_add(self.open);
            self.open = 0;
        }
        (self.open, self.open_until) = (self.open.saturating_add(1), until);
    }

    /// One has ended: which one is not said, so it is taken for the oldest. Better one that is waited for in vain than one that is not.
    fn close(&mut self) {
        if self.given_up > 0 {
            self.given_up -= 1;
        } else {
            self.open = self.open.saturating_sub(1);
        }
    }
}

/// A change that has begun.
#[derive(Clone, Copy, Debug)]
#[must_use = "a change that is not ended keeps its subject out of the cache for an entry's life"]
pub(crate) struct Change {
    pub(crate) subject: Subject,
    pub(crate) began_at: DateTime<Utc>,
    raised: u64,
}

impl Marks {
    pub(crate) fn new(open_life: Duration, life: Duration) -> Self {
        Self {
            sequence: 1,
            global: Mark::NEVER,
            users: Places::default(),
            sessions: Places::default(),
            newest_user: 0,
            unsure_until: DateTime::<Utc>::MIN_UTC,
            open_life,
            life,
        }
    }

    /// The ticket of a read that begins now.
    pub(crate) const fn ticket(&self) -> u64 {
        self.sequence
    }

    /// Whether an answer that was read at `ticket` is still good.
    pub(crate) fn admit(&self, ticket: u64, id: SessionId, locator: Option<Locator>, now: DateTime<Utc>) -> bool {
        self.global.admits(ticket, now)
            && self.sessions.get(&id).is_none_or(|mark| mark.admits(ticket, now))
            && match locator {
                Some(locator) => self.users.get(&locator).is_none_or(|mark| mark.admits(ticket, now)),
                None => ticket >= self.newest_user,
            }
    }

    /// A change of this node begins.
    pub(crate) fn begin(&mut self, subject: Subject, now: DateTime<Utc>) -> Change {
        let raised = self.hear(subject, Phase::Intent, now);
        Change { subject, began_at: now, raised }
    }

    /// A change of this node has ended. Returns whether nothing else happened to `known` meanwhile: what the change returned is then the
    /// newest there is, as of the ticket after this.
    pub(crate) fn end(
        &mut self,
        change: &Change,
        known: Option<(SessionId, Option<Locator>)>,
        now: DateTime<Utc>,
    ) -> bool {
        if let Some(mark) = self.existing(change.subject) {
            mark.close();
        }
        let alone = known.is_some_and(|(id, locator)| self.admit(change.raised, id, locator, now));
        self.raise(change.subject, now);
        alone
    }

    /// A notice of somebody's. Returns the number it was given.
    pub(crate) fn hear(&mut self, subject: Subject, phase: Phase, now: DateTime<Utc>) -> u64 {
        let (open_until, is_unsure) = (after(now, self.open_life), now < self.unsure_until);
        let raised = self.raise(subject, now);
        if let Some(mark) = self.existing(subject) {
            match phase {
                Phase::Intent => mark.open(now, open_until),
                Phase::Done if is_unsure => {}
                Phase::Done => mark.close(),
            }
        }
        raised
    }

    /// Notices may have been lost: everything read before now is bad, and for a while an end that is heard ends nothing here, because its
    /// beginning may not have been heard.
    pub(crate) fn lose(&mut self, now: DateTime<Utc>) {
        self.unsure_until = after(now, self.open_life);
        self.raise(Subject::Global, now);
    }

    /// Everything read before now is bad.
    pub(crate) fn raise(&mut self, subject: Subject, now: DateTime<Utc>) -> u64 {
        self.sequence = self.sequence.saturating_add(1);
        let (raised, until) = (self.sequence, after(now, self.life));
        let mark = match subject {
            Subject::Session(id) => self.sessions.at(id, now),
            Subject::User(locator) | Subject::UserEpoch(locator) => {
                self.newest_user = raised;
                self.users.at(locator, now)
            }
            // Also whatever subjects there may be one day.
            _ => &mut self.global,
        };
        if mark.until <= now {
            *mark = Mark::NEVER;
        }
        (mark.raised, mark.until) = (raised, until);
        raised
    }

    fn existing(&mut self, subject: Subject) -> Option<&mut Mark> {
        match subject {
            Subject::Session(id) => self.sessions.marks.get_mut(&id),
            Subject::User(locator) | Subject::UserEpoch(locator) => self.users.marks.get_mut(&locator),
            _ => Some(&mut self.global),
        }
    }
}

/// The marks of one kind. Those that matter no more go when there are twice as many as mattered last time: the number follows the rate of
/// changes, and a change costs the same however many there are.
struct Places<K> {
    marks: HashMap<K, Mark, RandomState>,
    sweep_at: usize,
}

/// Fewer marks are not worth sweeping.
const FEW: usize = 1024;

impl<K> Default for Places<K> {
    fn default() -> Self {
        Self { marks: HashMap::default(), sweep_at: FEW }
    }
}

impl<K: Eq + Hash> Places<K> {
    fn get(&self, key: &K) -> Option<&Mark> {
        self.marks.get(key)
    }

    fn at(&mut self, key: K, now: DateTime<Utc>) -> &mut Mark {
        if self.marks.len() >= self.sweep_at {
            self.marks.retain(|_, mark| now < mark.until || mark.is_open(now));
            self.sweep_at = self.marks.len().saturating_mul(2).max(FEW);
        }
        self.marks.entry(key).or_insert(Mark::NEVER)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    fn at(millis: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(millis).unwrap()
    }

    fn id(number: u128) -> SessionId {
        SessionId::from(uuid::Uuid::from_u128(number))
    }

    fn marks() -> Marks {
        Marks::new(Duration::from_millis(100), Duration::from_millis(150))
    }

    #[test]
    fn each_subject_reaches_what_it_names_and_no_more() {
        let (alice, bob) = (Locator::from_bytes([1; 8]), Locator::from_bytes([2; 8]));
        let asked = [(id(1), Some(alice)), (id(2), Some(alice)), (id(3), Some(bob)), (id(4), None)];
        let cases = [
            (Subject::Session(id(1)), [false, true, true, true]),
            (Subject::User(alice), [false, false, true, false]),
            (Subject::Global, [false; 4]),
        ];
        for (subject, expected) in cases {
            let mut marks = marks();
            let before = marks.ticket();
            marks.raise(subject, at(0));
            let after = marks.ticket();
            assert_eq!(asked.map(|(id, whose)| marks.admit(before, id, whose, at(0))), expected, "{subject:?}");
            assert_eq!(asked.map(|(id, whose)| marks.admit(after, id, whose, at(0))), [true; 4]);
        }
    }

    #[test]
    fn an_open_change_keeps_everybody_out_until_it_ends_or_is_given_up() {
        let subject = Subject::Session(id(1));
        let mut marks = marks();
        let admitted = |marks: &Marks, now| marks.admit(marks.ticket(), id(1), None, at(now));
        let first = marks.begin(subject, at(0));
        let second = marks.begin(subject, at(10));
        assert!(!marks.end(&first, Some((id(1), None)), at(20)), "it was not alone");
        assert!(!admitted(&marks, 20) && !admitted(&marks, 109), "the second is open");
        assert!(admitted(&marks, 110), "nobody waits longer than an entry lives");
        assert!(!marks.end(&second, Some((id(1), None)), at(120)), "the first ended meanwhile");
        let third = marks.begin(subject, at(130));
        assert!(marks.end(&third, Some((id(1), None)), at(131)), "alone");
        assert!(admitted(&marks, 131));
        let read_meanwhile = marks.ticket();
        let _never_ended = marks.begin(subject, at(140));
        assert!(!marks.admit(read_meanwhile, id(1), None, at(500)), "what was read before it began stays bad");
    }

    #[test]
    fn the_late_end_of_a_change_that_was_given_up_ends_no_other() {
        let subject = Subject::Session(id(1));
        let mut marks = marks();
        let admitted = |marks: &Marks, now| marks.admit(marks.ticket(), id(1), None, at(now));
        marks.hear(subject, Phase::Intent, at(0));
        assert!(admitted(&marks, 100), "given up");
        marks.hear(subject, Phase::Intent, at(110));
        marks.hear(subject, Phase::Done, at(120));
        assert!(!admitted(&marks, 120), "that was the first: the second is open");
        marks.hear(subject, Phase::Done, at(130));
        assert!(admitted(&marks, 130));
        // One that never ends costs no more than the life of the mark.
        marks.hear(subject, Phase::Intent, at(200));
        marks.hear(subject, Phase::Intent, at(350));
        marks.hear(subject, Phase::Done, at(351));
        assert!(admitted(&marks, 351));
    }

    #[test]
    fn marks_that_matter_no_more_are_forgotten() {
        let mut marks = marks();
        for number in 0..100_000_u32 {
            marks.raise(Subject::Session(id(number.into())), at(i64::from(number)));
        }
        assert!(marks.sessions.marks.len() <= FEW, "{}", marks.sessions.marks.len());
    }
}
