//! How items look in the cache: a kind, a format number, then postcard; what changes seldom is JSON inside, as core writes it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use session_manager_core::{
    Actor, Control, Epoch, GlobalEpoch, Locator, Revocation, RevocationReason, Seed, Session, SessionId, Stamp, UserId,
};

use uuid::Uuid;

use crate::account::{Account, Entry};
use crate::error::Failure;

/// Raised when an older version of this crate could not read what a newer one writes.
const FORMAT: u8 = 1;
const USER: [u8; 2] = [b'u', FORMAT];
const GLOBAL: [u8; 2] = [b'g', FORMAT];
const POINTER: [u8; 2] = [b'p', FORMAT];

#[derive(Serialize, Deserialize)]
struct StoredAccount<'a> {
    user: &'a str,
    epoch: StoredEpoch,
    #[serde(borrow)]
    sessions: Vec<StoredEntry<'a>>,
}

#[derive(Serialize, Deserialize)]
struct StoredEntry<'a> {
    id: [u8; 16],
    expires_at: i64,
    generation: u64,
    floor: u64,
    seed: [u8; 32],
    rotated_at: i64,
    previous_rotated_at: i64,
    stamped: Option<(StoredEpoch, StoredEpoch)>,
    last_activity: i64,
    idle_expires_at: i64,
    version: u64,
    revocation: Option<StoredRevocation>,
    body: &'a [u8],
}

#[derive(Serialize, Deserialize)]
struct StoredRevocation {
    at: i64,
    reason: RevocationReason,
    by: Actor,
}

/// Incarnation and version.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct StoredEpoch(u64, u64);

#[derive(Serialize, Deserialize)]
struct StoredGlobal {
    epoch: StoredEpoch,
    rotated_at: Option<i64>,
    grace_until: Option<i64>,
}

/// A user's item.
pub(crate) fn account(account: &Account) -> Result<Vec<u8>, Failure> {
    let sessions = account.entries.iter().map(store).collect();
    encode(USER, &StoredAccount { user: account.user.as_str(), epoch: account.epoch.into(), sessions })
}

/// What a user's item says. The key it was found by must be the user's: a connection out of step never passes for an answer.
pub(crate) fn read_account(bytes: &[u8], locator: Locator) -> Result<Account, Failure> {
    let (user, stored) = open_account(bytes, locator)?;
    let entries = stored.sessions.iter().map(restore).collect::<Result<_, _>>()?;
    Ok(Account { user, epoch: stored.epoch.into(), entries })
}

/// One session of a user's item, with the user's epoch: what a read needs of it, and no more is decoded.
pub(crate) fn read_entry(bytes: &[u8], locator: Locator, id: SessionId) -> Result<Option<(Epoch, Entry)>, Failure> {
    let (_, stored) = open_account(bytes, locator)?;
    let found = stored.sessions.iter().find(|entry| entry.id == *id.as_bytes());
    found.map(|entry| Ok((stored.epoch.into(), restore(entry)?))).transpose()
}

fn open_account(bytes: &[u8], locator: Locator) -> Result<(UserId, StoredAccount<'_>), Failure> {
    let stored: StoredAccount<'_> = decode(USER, bytes)?;
    let user = UserId::parse(stored.user).map_err(|_| Failure::Foreign)?;
    if user.locator() == locator { Ok((user, stored)) } else { Err(Failure::Foreign) }
}

/// The bytes that one session takes of its user's item.
pub(crate) fn size(entry: &Entry) -> usize {
    postcard::to_stdvec(&store(entry)).map_or(0, |bytes| bytes.len())
}

/// The global epoch's item.
pub(crate) fn global(global: &GlobalEpoch) -> Result<Vec<u8>, Failure> {
    let millis = |time: DateTime<Utc>| time.timestamp_millis();
    let (rotated_at, grace_until) = (global.rotated_at.map(millis), global.grace_until.map(millis));
    encode(GLOBAL, &StoredGlobal { epoch: global.epoch.into(), rotated_at, grace_until })
}

pub(crate) fn read_global(bytes: &[u8]) -> Result<GlobalEpoch, Failure> {
    let stored: StoredGlobal = decode(GLOBAL, bytes)?;
    let (rotated_at, grace_until) =
        (stored.rotated_at.map(time).transpose()?, stored.grace_until.map(time).transpose()?);
    Ok(GlobalEpoch::rotated(stored.epoch.into(), rotated_at, grace_until))
}

/// A pointer's item.
pub(crate) fn pointer(locator: Locator) -> Vec<u8> {
    [&POINTER[..], locator.as_bytes()].concat()
}

pub(crate) fn read_pointer(bytes: &[u8]) -> Result<Locator, Failure> {
    let place = bytes.strip_prefix(&POINTER).and_then(|place| place.try_into().ok()).ok_or(Failure::Foreign)?;
    Ok(Locator::from_bytes(place))
}

/// A session's JSON. Fields without a value are left out where core reads that as "none".
pub(crate) fn body(session: &Session) -> Result<Vec<u8>, Failure> {
    let mut value = serde_json::to_value(session).map_err(|error| Failure::Encode(error.into()))?;
    if let Some(fields) = value.as_object_mut() {
        for part in ["device", "location"] {
            if let Some(Value::Object(fields)) = fields.get_mut(part) {
                fields.retain(|_, value| !value.is_null());
            }
        }
        // The one field whose absence core does not take for "none".
        fields.retain(|name, value| !value.is_null() || name == "idle_timeout");
    }
    serde_json::to_vec(&value).map_err(|error| Failure::Encode(error.into()))
}

pub(crate) fn read_body(bytes: &[u8]) -> Result<Session, Failure> {
    serde_json::from_slice(bytes).map_err(|_| Failure::Foreign)
}

fn encode(kind: [u8; 2], value: &impl Serialize) -> Result<Vec<u8>, Failure> {
    postcard::to_extend(value, kind.to_vec()).map_err(|error| Failure::Encode(error.into()))
}

fn decode<'a, T: Deserialize<'a>>(kind: [u8; 2], bytes: &'a [u8]) -> Result<T, Failure> {
    let bytes = bytes.strip_prefix(&kind).ok_or(Failure::Foreign)?;
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        _ => Err(Failure::Foreign),
    }
}

fn store(entry: &Entry) -> StoredEntry<'_> {
    let control = &entry.control;
    let revocation = control.revocation.as_deref().map(|revocation| StoredRevocation {
        at: revocation.at.timestamp_millis(),
        reason: revocation.reason.clone(),
        by: revocation.by.clone(),
    });
    StoredEntry {
        id: *entry.id.as_bytes(),
        expires_at: entry.expires_at.timestamp_millis(),
        generation: control.generation,
        floor: control.floor,
        seed: *control.seed.as_bytes(),
        rotated_at: control.rotated_at.timestamp_millis(),
        previous_rotated_at: control.previous_rotated_at.timestamp_millis(),
        stamped: control.stamped.map(|stamp| (stamp.user.into(), stamp.global.into())),
        last_activity: control.last_activity.timestamp_millis(),
        idle_expires_at: control.idle_expires_at.timestamp_millis(),
        version: control.version,
        revocation,
        body: &entry.body,
    }
}

fn restore(stored: &StoredEntry<'_>) -> Result<Entry, Failure> {
    let rotated_at = time(stored.rotated_at)?;
    let mut control = Control::new(Seed::from_bytes(stored.seed), rotated_at, time(stored.idle_expires_at)?);
    (control.generation, control.floor, control.version) = (stored.generation, stored.floor, stored.version);
    control.previous_rotated_at = time(stored.previous_rotated_at)?;
    control.stamped = stored.stamped.map(|(user, global)| Stamp { user: user.into(), global: global.into() });
    control.last_activity = time(stored.last_activity)?;
    if let Some(revocation) = &stored.revocation {
        let (at, by) = (time(revocation.at)?, revocation.by.clone());
        control.revocation = Some(Revocation::new(at, revocation.reason.clone(), by).into());
    }
    let id = SessionId::from(Uuid::from_bytes(stored.id));
    Ok(Entry { id, expires_at: time(stored.expires_at)?, control, body: stored.body.to_vec() })
}

fn time(millis: i64) -> Result<DateTime<Utc>, Failure> {
    DateTime::from_timestamp_millis(millis).ok_or(Failure::Foreign)
}

impl From<Epoch> for StoredEpoch {
    fn from(epoch: Epoch) -> Self {
        Self(epoch.incarnation, epoch.version)
    }
}

impl From<StoredEpoch> for Epoch {
    fn from(StoredEpoch(incarnation, version): StoredEpoch) -> Self {
        Self { incarnation, version }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use session_manager_core::SessionRecord;
    use session_manager_testkit::{SequenceRandom, SessionBuilder, user};

    fn at(millis: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(millis).unwrap()
    }

    fn full() -> (Account, SessionRecord) {
        let alice = user("alice \u{1F980}");
        let mut record =
            SessionBuilder::new(&alice, at(1_767_225_600_123), &SequenceRandom::default()).with_everything().record();
        let epoch = Epoch { incarnation: u64::MAX, version: 7 };
        record.control.stamped = Some(Stamp { user: epoch, global: Epoch::first(1 << 63) });
        let by = Actor::User(alice.clone());
        record.control.revocation =
            Some(Revocation::new(at(5), RevocationReason::parse("stolen ’laptop’").unwrap(), by).into());
        let mut account = Account::new(alice, epoch);
        account.put(&record).unwrap();
        (account, record)
    }

    #[test]
    fn everything_reads_back() {
        let (written, record) = full();
        let locator = written.user.locator();
        let bytes = account(&written).unwrap();
        let read = read_account(&bytes, locator).unwrap();
        assert_eq!((&read.user, read.epoch), (&written.user, written.epoch));
        assert_eq!(read.entries[0].record().unwrap(), record);
        let (epoch, entry) = read_entry(&bytes, locator, record.session.id).unwrap().unwrap();
        assert_eq!((epoch, entry.record().unwrap()), (written.epoch, record));
        assert!(read_entry(&bytes, locator, SessionId::from(Uuid::nil())).unwrap().is_none());
    }

    #[test]
    fn a_plain_session_is_small() {
        let alice = user("0190f5fe-7c00-7a00-8000-00000000000a");
        let mut account = Account::new(alice.clone(), Epoch::first(u64::MAX));
        account.put(&SessionBuilder::new(&alice, at(1_767_225_600_123), &SequenceRandom::default()).record()).unwrap();
        assert!(size(&account.entries[0]) < 500, "{}", size(&account.entries[0]));
    }

    #[test]
    fn what_is_not_ours_is_refused() {
        let (written, _) = full();
        let locator = written.user.locator();
        let bytes = account(&written).unwrap();
        let foreign = |bytes: &[u8]| matches!(read_account(bytes, locator), Err(Failure::Foreign));
        assert!(foreign(b"") && foreign(b"u") && foreign(b"hello"));
        assert!(foreign(&[&bytes[..], b"x"].concat()), "more than there should be");
        assert!(foreign(&[&[b'u', FORMAT + 1], &bytes[2..]].concat()), "a newer format");
        for end in 0..bytes.len() {
            assert!(foreign(&bytes[..end]), "cut at {end}");
        }
        let another = read_account(&bytes, user("bob").locator());
        assert!(matches!(another, Err(Failure::Foreign)), "an item found by another user's key");
        assert!(matches!(read_global(&bytes), Err(Failure::Foreign)));
        assert!(matches!(read_pointer(b"p\x01123456789"), Err(Failure::Foreign)));
        assert_eq!(read_pointer(&pointer(locator)).unwrap(), locator);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), kind in 0_usize..3) {
            let bytes = [&[USER, GLOBAL, POINTER][kind][..], &bytes].concat();
            let _ = read_account(&bytes, user("alice").locator());
            let _ = (read_global(&bytes), read_pointer(&bytes));
        }

        #[test]
        fn global_epochs_read_back(incarnation: u64, version: u64, times: Option<(u32, Option<u32>)>) {
            let (rotated, grace) = (times.map(|(at, _)| at), times.and_then(|(_, until)| until));
            let time = |millis: u32| at(millis.into());
            let written = GlobalEpoch::rotated(Epoch { incarnation, version }, rotated.map(time), grace.map(time));
            prop_assert_eq!(read_global(&global(&written).unwrap()).unwrap(), written);
        }
    }
}
