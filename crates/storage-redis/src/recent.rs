//! What this node ended, or learned to have ended, in the last quarter of an hour: a failover may undo it, and this is what repairs that.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use session_manager_core::storage::{EndedSession, Notice, Subject};
use session_manager_core::{Epoch, Revocation, SessionId, SessionKey, UserId};

/// How long it is kept.
pub(crate) const KEPT: Duration = Duration::from_mins(15);

/// How many are kept at most: some twenty megabytes. Beyond that the oldest go first.
const MOST: usize = 65_536;

/// Something that must not be undone.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Deed {
    /// A session was ended.
    Ended(SessionKey, Revocation),
    /// A session was removed.
    Removed(SessionKey),
    /// A user's epoch was raised: from what it was to what it is.
    Raised(UserId, Option<Epoch>, Epoch),
    /// Everybody's epoch was raised: the record.
    RaisedAll(Vec<u8>),
}

impl Deed {
    pub(crate) const fn is_of_a_session(&self) -> bool {
        matches!(self, Self::Ended(..) | Self::Removed(_))
    }
}

/// The memory of one node; its storages, over whatever connection, share it.
#[derive(Default)]
pub(crate) struct Recent(Mutex<Known>);

#[derive(Default)]
struct Known {
    deeds: VecDeque<(Instant, Deed)>,
    /// Of whom it was heard that something changed, and not looked at yet.
    heard: BTreeSet<SessionId>,
    heard_of_all: bool,
    /// The replication ids of the primaries, by their addresses.
    groups: BTreeMap<String, String>,
}

/// What was heard of and not looked at.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) sessions: Vec<SessionId>,
    pub(crate) all: bool,
}

impl Recent {
    /// Keeps what was done.
    pub(crate) fn keep(&self, deed: Deed) {
        self.keep_at(deed, Instant::now());
    }

    fn keep_at(&self, deed: Deed, now: Instant) {
        let mut known = self.known();
        while known.deeds.len() >= MOST || known.deeds.front().is_some_and(|(at, _)| now.duration_since(*at) >= KEPT) {
            known.deeds.pop_front();
        }
        known.deeds.push_back((now, deed));
    }

    /// Keeps the ends of sessions.
    pub(crate) fn keep_ends(&self, ended: &[EndedSession]) {
        for one in ended {
            if let Some(revocation) = &one.revocation {
                self.keep(Deed::Ended(one.session.key(), (**revocation).clone()));
            }
        }
    }

    /// Everything that is still kept, in the order in which it was done.
    pub(crate) fn deeds(&self) -> Vec<Deed> {
        self.deeds_at(Instant::now())
    }

    fn deeds_at(&self, now: Instant) -> Vec<Deed> {
        let known = self.known();
        let young = |(at, _): &&(Instant, Deed)| now.duration_since(*at) < KEPT;
        known.deeds.iter().filter(young).map(|(_, deed)| deed.clone()).collect()
    }

    /// A notice of somebody's. It proves nothing: it is looked at later.
    pub(crate) fn hear(&self, notice: &Notice) {
        let mut known = self.known();
        match notice.subject {
            Subject::Session(id) if known.heard.len() < MOST => drop(known.heard.insert(id)),
            Subject::Global => known.heard_of_all = true,
            // A user's name without their shard finds nothing.
            _ => {}
        }
    }

    pub(crate) fn take_heard(&self) -> Heard {
        let mut known = self.known();
        let all = std::mem::take(&mut known.heard_of_all);
        Heard { sessions: std::mem::take(&mut known.heard).into_iter().collect(), all }
    }

    /// It could not be looked at.
    pub(crate) fn put_back(&self, heard: Heard) {
        let mut known = self.known();
        known.heard.extend(heard.sessions);
        known.heard_of_all |= heard.all;
    }

    /// Whether these primaries have another history than those that were known: one of them is new, or none was known and there is
    /// something to lose.
    pub(crate) fn is_news(&self, groups: &BTreeMap<String, String>) -> bool {
        let known = self.known();
        if known.groups.is_empty() {
            return !known.deeds.is_empty();
        }
        groups.values().any(|group| !known.groups.values().any(|known| known == group))
    }

    /// All is as it should be with these primaries.
    pub(crate) fn settle(&self, groups: BTreeMap<String, String>) {
        self.known().groups = groups;
    }

    // A panic cannot leave a list half-written: a poisoned lock is used on.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn deed(number: u128) -> Deed {
        Deed::Removed(SessionKey::by_id(SessionId::from(Uuid::from_u128(number))))
    }

    #[test]
    fn it_forgets_what_is_old_and_keeps_to_its_bound() {
        let recent = Recent::default();
        let begun = Instant::now();
        recent.keep_at(deed(1), begun);
        recent.keep_at(deed(2), begun + Duration::from_mins(10));
        assert_eq!(recent.deeds_at(begun + Duration::from_millis(899_999)), [deed(1), deed(2)]);
        assert_eq!(recent.deeds_at(begun + KEPT), [deed(2)]);
        for number in 0..u128::try_from(MOST).unwrap() + 10 {
            recent.keep_at(deed(number), begun + Duration::from_mins(11));
        }
        let kept = recent.deeds_at(begun + Duration::from_mins(11));
        assert_eq!((kept.len(), kept.first()), (MOST, Some(&deed(10))));
        recent.keep_at(deed(3), begun + Duration::from_mins(30));
        assert_eq!(recent.known().deeds.len(), 1, "what is old takes no memory");
    }

    #[test]
    fn another_history_is_news_once() {
        let recent = Recent::default();
        let groups = |id: &str| BTreeMap::from([(String::new(), id.to_owned())]);
        assert!(!recent.is_news(&groups("a")), "nothing is known and nothing to be lost");
        recent.keep(deed(1));
        assert!(recent.is_news(&groups("a")), "it may have been another one that was told");
        recent.settle(groups("a"));
        assert!(!recent.is_news(&groups("a")));
        assert!(recent.is_news(&groups("b")));
        let moved = BTreeMap::from([("other:1".to_owned(), "a".to_owned())]);
        assert!(!recent.is_news(&moved), "an address is no history");
    }
}
