//! The stored form of sessions and epochs: a header with fixed offsets that scripts change in place, and a body.
//!
//! All numbers are big-endian and 8 bytes long unless noted; times are milliseconds since 1970. Offsets of a session: 0 format (1),
//! 1 flags (1: revoked 1, without a stamp 2, reserved for `successor_used` 4), 2 reserved (2), 4 locator, 12 generation, 20 floor,
//! 28 version, 36 `rotated_at`, 44 `previous_rotated_at`, 52 `last_activity`, 60 `idle_expires_at`, 68 `expires_at`, 76 `created_at`,
//! 84 stamp (user's incarnation and version, global incarnation and version), 116 `revoked_at`, 124 seed (32), 156 length of the
//! body (4), 160 id (16), 176 body, then, once it is revoked, the reason, a zero byte and the actor.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use session_manager_core::clock::to_millis;
use session_manager_core::{
    Actor, Control, Epoch, Epochs, GlobalEpoch, Locator, Revocation, RevocationReason, Seed, SessionId, SessionRecord,
    Snapshot, Stamp, UserId,
};
use uuid::Uuid;

use crate::body::{Body, time};
use crate::error::{Failure, Outcome};

const FORMAT: u8 = 1;
/// Bytes of a global epoch with the order of its copies.
const GLOBAL: usize = 40;
const REVOKED: u8 = 1;
const UNSTAMPED: u8 = 2;
const HEADER: Failure = Failure::Damaged("a session's header");

/// A session as it is stored.
pub(crate) fn encode(record: &SessionRecord) -> Outcome<Vec<u8>> {
    let (session, control) = (&record.session, &record.control);
    let tail = tail(record)?;
    let mut flags = if control.stamped.is_none() { UNSTAMPED } else { 0 };
    if control.revocation.is_some() {
        flags |= REVOKED;
    }
    let mut value = Vec::with_capacity(156 + tail.len());
    value.extend_from_slice(&[FORMAT, flags, 0, 0]);
    value.extend_from_slice(session.user_id.locator().as_bytes());
    value.extend_from_slice(&self::control(control));
    for at in [control.last_activity, control.idle_expires_at, session.expires_at, session.created_at] {
        value.extend_from_slice(&at.timestamp_millis().to_be_bytes());
    }
    let stamp = control.stamped.map_or([0; 4], |stamp| {
        [stamp.user.incarnation, stamp.user.version, stamp.global.incarnation, stamp.global.version]
    });
    for number in stamp {
        value.extend_from_slice(&number.to_be_bytes());
    }
    let revoked_at = control.revocation.as_ref().map_or(0, |revocation| revocation.at.timestamp_millis());
    value.extend_from_slice(&revoked_at.to_be_bytes());
    value.extend_from_slice(control.seed.as_bytes());
    value.extend_from_slice(&tail);
    if let Some(revocation) = &control.revocation {
        value.extend_from_slice(&note(revocation));
    }
    Ok(value)
}

/// A time as scripts read it.
pub(crate) fn millis(at: DateTime<Utc>) -> [u8; 8] {
    at.timestamp_millis().to_be_bytes()
}

/// Generation, floor, version and the two rotation times: offsets 12 to 52.
pub(crate) fn control(control: &Control) -> [u8; 40] {
    let mut bytes = [0; 40];
    let numbers = [control.generation, control.floor, control.version].map(u64::to_be_bytes);
    let times = [control.rotated_at, control.previous_rotated_at].map(|at| at.timestamp_millis().to_be_bytes());
    for (to, from) in bytes.iter_mut().zip(numbers.iter().chain(&times).flatten()) {
        *to = *from;
    }
    bytes
}

/// Length of the body, id and body: from offset 156.
pub(crate) fn tail(record: &SessionRecord) -> Outcome<Vec<u8>> {
    let body = Body::from(&*record.session).encode()?;
    let length = u32::try_from(body.len()).map_err(|_| Failure::Answer("a session is too large"))?;
    Ok([length.to_be_bytes().as_slice(), record.session.id.as_bytes(), &body].concat())
}

/// What is appended to a session that ends.
pub(crate) fn note(revocation: &Revocation) -> Vec<u8> {
    format!("{}\0{}", revocation.reason, revocation.by).into_bytes()
}

/// Where the user's keys are, by the session's own header.
pub(crate) fn locator(value: &[u8]) -> Outcome<Locator> {
    let mut reader = Reader(value);
    let [format, _, _, _] = reader.take()?;
    if format != FORMAT {
        return Err(Failure::Damaged("a session's format"));
    }
    Ok(Locator::from_bytes(reader.take()?))
}

/// A reading, from the values of the three keys.
pub(crate) fn snapshot(value: &[u8], user: Option<&[u8]>, global: Option<&[u8]>) -> Outcome<Snapshot> {
    let record = record(value)?;
    let user = user.map(|bytes| user_epoch(bytes, &record.session.user_id)).transpose()?;
    let global = global.map(global_epoch).transpose()?;
    Ok(Snapshot::new(record, Epochs::new(user, global)))
}

/// A reading of a session that lives, from its value and the global epoch behind it: its user's epoch is the one in its stamp.
pub(crate) fn admitted(answer: &[u8]) -> Outcome<Snapshot> {
    let (value, global) = answer.split_at_checked(answer.len().saturating_sub(GLOBAL)).ok_or(HEADER)?;
    let record = record(value)?;
    let user = record.control.stamped.map(|stamp| stamp.user);
    Ok(Snapshot::new(record, Epochs::new(user, Some(global_epoch(global)?))))
}

/// A session that was just stored, with the epochs that it was stamped with.
pub(crate) fn stamped(value: &[u8], record: &SessionRecord, epochs: &[u8]) -> Outcome<Snapshot> {
    let mut reader = Reader(epochs);
    let (user, global) = (reader.epoch()?, global_epoch(reader.0)?);
    // What has finer times than are stored is read as it is stored.
    let mut record = if is_whole(record) { record.clone() } else { self::record(value)? };
    record.control.stamped = Some(Stamp { user, global: global.epoch });
    record.control.revocation = None;
    Ok(Snapshot::new(record, Epochs::new(Some(user), Some(global))))
}

/// Whether its times are of whole milliseconds.
fn is_whole(record: &SessionRecord) -> bool {
    let (session, control) = (&record.session, &record.control);
    let proof = &session.authentication;
    let always = [session.created_at, session.expires_at, proof.at, control.rotated_at, control.previous_rotated_at];
    let sometimes = [session.trusted_until, proof.step_up_since];
    let all = always.into_iter().chain([control.last_activity, control.idle_expires_at]);
    all.chain(sometimes.into_iter().flatten()).all(|at| to_millis(at) == at)
        && session.idle_timeout.is_none_or(|timeout| timeout.subsec_nanos().is_multiple_of(1_000_000))
}

pub(crate) fn record(value: &[u8]) -> Outcome<SessionRecord> {
    let mut reader = Reader(value);
    let [format, flags, _, _] = reader.take()?;
    if format != FORMAT {
        return Err(Failure::Damaged("a session's format"));
    }
    let locator: [u8; 8] = reader.take()?;
    let (generation, floor, version) = (reader.number()?, reader.number()?, reader.number()?);
    let (rotated_at, previous_rotated_at) = (reader.time()?, reader.time()?);
    let (last_activity, idle_expires_at) = (reader.time()?, reader.time()?);
    let (expires_at, created_at) = (reader.time()?, reader.time()?);
    let stamp = Stamp { user: reader.epoch()?, global: reader.epoch()? };
    let (revoked_at, seed) = (reader.time()?, Seed::from_bytes(reader.take()?));
    let length = usize::try_from(u32::from_be_bytes(reader.take()?)).map_err(|_| HEADER)?;
    let id = SessionId::from(Uuid::from_bytes(reader.take()?));
    let (body, note) = reader.0.split_at_checked(length).ok_or(HEADER)?;
    let session = Body::decode(body)?.session(id, created_at, expires_at)?;
    if *session.user_id.locator().as_bytes() != locator {
        return Err(HEADER);
    }
    let mut control = Control::new(seed, created_at, idle_expires_at);
    (control.generation, control.floor, control.version) = (generation, floor, version);
    (control.rotated_at, control.previous_rotated_at) = (rotated_at, previous_rotated_at);
    control.last_activity = last_activity;
    control.stamped = (flags & UNSTAMPED == 0).then_some(stamp);
    control.revocation = if flags & REVOKED == 0 { None } else { Some(Arc::new(revocation(note, revoked_at)?)) };
    Ok(SessionRecord::new(session, control))
}

fn revocation(note: &[u8], at: DateTime<Utc>) -> Outcome<Revocation> {
    let read = || {
        let (reason, actor) = std::str::from_utf8(note).ok()?.split_once('\0')?;
        Some(Revocation::new(at, RevocationReason::parse(reason).ok()?, Actor::parse(actor).ok()?))
    };
    read().ok_or(Failure::Damaged("a session's revocation"))
}

/// A user's epoch record; it names the user, so that two users of one locator are never merged.
pub(crate) fn user_epoch(record: &[u8], user: &UserId) -> Outcome<Epoch> {
    let mut reader = Reader(record);
    let epoch = reader.epoch()?;
    if reader.0 == user.as_str().as_bytes() { Ok(epoch) } else { Err(COLLISION) }
}

/// Two users whose 76 bits are equal: an error, whatever it costs them.
pub(crate) const COLLISION: Failure = Failure::Damaged("a user's record (it is another user's)");

pub(crate) fn global_epoch(record: &[u8]) -> Outcome<GlobalEpoch> {
    let mut reader = Reader(record);
    let (epoch, rotated_at, grace_until) = (reader.epoch()?, reader.time()?, reader.time()?);
    let some = |at: DateTime<Utc>| (at.timestamp_millis() != 0).then_some(at);
    Ok(GlobalEpoch::rotated(epoch, some(rotated_at), some(grace_until)))
}

/// A global epoch as it is stored, but for the order of its copies.
pub(crate) fn encode_global(global: &GlobalEpoch) -> Vec<u8> {
    let millis = |at: Option<DateTime<Utc>>| at.map_or(0, |at| at.timestamp_millis()).to_be_bytes();
    [encode_epoch(global.epoch), [millis(global.rotated_at), millis(global.grace_until)].concat()].concat()
}

pub(crate) fn encode_epoch(epoch: Epoch) -> Vec<u8> {
    [epoch.incarnation.to_be_bytes(), epoch.version.to_be_bytes()].concat()
}

/// Reads fields in turn.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl Reader<'_> {
    pub(crate) fn take<const N: usize>(&mut self) -> Outcome<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk().ok_or(HEADER)?;
        self.0 = rest;
        Ok(*field)
    }

    pub(crate) fn number(&mut self) -> Outcome<u64> {
        self.take().map(u64::from_be_bytes)
    }

    pub(crate) fn time(&mut self) -> Outcome<DateTime<Utc>> {
        time(i64::from_be_bytes(self.take()?))
    }

    pub(crate) fn epoch(&mut self) -> Outcome<Epoch> {
        Ok(Epoch { incarnation: self.number()?, version: self.number()? })
    }
}
