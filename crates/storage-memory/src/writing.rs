//! Creating and changing sessions: insert, advance, update, touch.

use std::cmp::Reverse;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use session_manager_core::refresh::{Verdict, judge};
use session_manager_core::storage::{
    Advance, AdvanceOutcome, EndedSession, Insert, InsertOutcome, SessionLimit, Touch, TouchReport, Update,
    UpdateOutcome,
};
use session_manager_core::{
    Actor, Epoch, Epochs, GlobalEpoch, LivePolicy, Result, Revocation, RevocationReason, SessionId, SessionRecord,
    Shard as Place, Snapshot, UserId,
};

use crate::ending::end;
use crate::error::MemoryError;
use crate::shard::Shard;
use crate::storage::MemoryStorage;
use crate::table::Occupant;

impl MemoryStorage {
    pub(crate) fn insert_now(&self, request: &Insert) -> Result<InsertOutcome> {
        let mut made_room = false;
        let place = request.record.session.user_id.shard();
        loop {
            match self.try_insert(request, place) {
                Step::Done(outcome) => {
                    self.bound_users();
                    return Ok(outcome);
                }
                Step::NoGlobal => self.ensure_global(request.incarnations.global),
                Step::NoRoom if made_room => return Err(MemoryError::Full.during("insert")),
                Step::NoRoom => {
                    self.make_room(request.now);
                    made_room = true;
                }
            }
        }
    }

    /// One attempt, under the user's lock. What it cannot do under that lock it asks for.
    fn try_insert(&self, request: &Insert, place: Place) -> Step {
        let (session, table) = (&request.record.session, self.table());
        let (id, user) = (session.id, &session.user_id);
        let mut opened = table.open(id, place);
        match table.occupant(&opened, id) {
            Occupant::Here(there)
                if there.session.user_id == *user && there.control.seed == request.record.control.seed =>
            {
                return Step::Done(InsertOutcome::Inserted { snapshot: *there, evicted: Vec::new() });
            }
            Occupant::Here(_) | Occupant::Elsewhere => return Step::Done(InsertOutcome::DuplicateId),
            Occupant::Free => {}
        }
        let Some(global) = opened.home.global else { return Step::NoGlobal };
        let surplus = match surplus(&opened.home, user, request.limit, request.now) {
            Ok(surplus) => surplus,
            Err(live) => return Step::Done(InsertOutcome::LimitReached { live }),
        };
        if !table.claim_room(self.config().max_sessions) {
            return Step::NoRoom;
        }
        let revocation = Arc::new(Revocation::new(request.now, RevocationReason::EVICTED, Actor::System));
        let evicted: Vec<EndedSession> =
            surplus.into_iter().map(|one| end(&mut opened.home, one, &revocation)).collect();
        let slot = opened.home.users.ensure(user);
        let known = opened.home.users.get(slot).and_then(|user| user.epoch);
        let epoch = known.unwrap_or(Epoch::first(request.incarnations.user));
        opened.home.set_epoch(slot, epoch);
        let epochs = Epochs::new(Some(epoch), Some(global));
        let mut record = request.record.clone();
        record.control.stamped = epochs.stamp();
        table.add(&mut opened, record.clone());
        Step::Done(InsertOutcome::Inserted { snapshot: Snapshot::new(record, epochs), evicted })
    }

    fn ensure_global(&self, incarnation: u64) {
        let first = GlobalEpoch::new(Epoch::first(incarnation));
        self.table().change_global(|current| (Some(current.unwrap_or(first)), ()));
    }

    pub(crate) fn advance_now(&self, request: &Advance) -> AdvanceOutcome {
        let id = request.key.id;
        let Some(mut shard) = self.table().lock_session(id) else { return AdvanceOutcome::Missing };
        let Some(mut snapshot) = shard.read(id) else { return AdvanceOutcome::Missing };
        let generation = request.presented.saturating_add(1);
        let verdict = judge(&snapshot, request.presented, request.now, request.grace, LivePolicy::TRACKED);
        let mut advanced = || {
            snapshot.control.advance_to(generation, request.now);
            shard.store(id, &snapshot.session, &snapshot.control);
            snapshot.clone()
        };
        match verdict {
            Verdict::Advance => AdvanceOutcome::Advanced(advanced()),
            Verdict::Ahead => AdvanceOutcome::Ahead(advanced()),
            Verdict::Converge => AdvanceOutcome::Converge(snapshot),
            Verdict::Behind => AdvanceOutcome::Behind(snapshot),
            Verdict::BelowFloor => AdvanceOutcome::BelowFloor(snapshot),
            Verdict::Ended(state) => AdvanceOutcome::Ended(state, snapshot),
        }
    }

    pub(crate) fn update_now(&self, request: &Update) -> UpdateOutcome {
        let id = request.key.id;
        let Some(mut shard) = self.table().lock_session(id) else { return UpdateOutcome::Missing };
        let Some(snapshot) = shard.read(id) else { return UpdateOutcome::Missing };
        let state = snapshot.state(request.now, LivePolicy::TRACKED);
        if !state.is_live() {
            return UpdateOutcome::Ended(state, snapshot);
        }
        if snapshot.control.version != request.expected_version {
            return UpdateOutcome::Conflict(snapshot);
        }
        let record: SessionRecord = request.patch.apply(&snapshot.record(), request.now);
        shard.store(id, &record.session, &record.control);
        UpdateOutcome::Updated(Snapshot::new(record, snapshot.epochs))
    }

    pub(crate) fn touch_now(&self, batch: &[Touch], now: DateTime<Utc>) -> TouchReport {
        // A session that is named several times counts once, with its latest activity.
        let mut latest: Vec<&Touch> = batch.iter().collect();
        latest.sort_by_key(|touch| (touch.key.id, Reverse(touch.last_activity)));
        latest.dedup_by_key(|touch| touch.key.id);
        let touched = latest.into_iter().filter(|touch| self.touch_one(touch, now)).map(|_| 1_u64).sum();
        let all = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        TouchReport::new(touched, all.saturating_sub(touched))
    }

    fn touch_one(&self, touch: &Touch, now: DateTime<Utc>) -> bool {
        let id: SessionId = touch.key.id;
        let Some(mut shard) = self.table().lock_session(id) else { return false };
        let Some(snapshot) = shard.read(id) else { return false };
        let stale = snapshot.control.last_activity < touch.stale_before();
        if !stale || !snapshot.state(now, LivePolicy::TRACKED).is_live() {
            return false;
        }
        let stored = snapshot.control.idle_expires_at;
        let idle = touch.idle_expires_at.min(snapshot.session.expires_at).max(stored);
        shard.touch(id, touch.last_activity, idle);
        true
    }
}

/// What one attempt to insert came to.
#[allow(clippy::large_enum_variant, reason = "it lives for one call, and the large variant is the usual one")]
enum Step {
    Done(InsertOutcome),
    NoGlobal,
    NoRoom,
}

/// The live sessions that must end so that one more fits, or how many live where the limit rejects.
fn surplus(shard: &Shard, user: &UserId, limit: SessionLimit, now: DateTime<Utc>) -> Result<Vec<Snapshot>, u32> {
    let open = shard.sessions_of(user, false).map(|entry| shard.snapshot(entry));
    let mut live: Vec<Snapshot> = open.filter(|one| one.state(now, LivePolicy::TRACKED).is_live()).collect();
    let max = usize::try_from(limit.max.clamp(1, SessionLimit::CEILING)).unwrap_or(1);
    if live.len() < max {
        return Ok(Vec::new());
    }
    if limit.rejects() {
        return Err(u32::try_from(live.len()).unwrap_or(u32::MAX));
    }
    if limit.evicts_idlest() {
        live.sort_unstable_by_key(|one| (one.control.last_activity, one.session.created_at, one.session.id));
    } else {
        live.sort_unstable_by_key(|one| (one.session.created_at, one.session.id));
    }
    live.truncate(live.len().saturating_sub(max).saturating_add(1));
    Ok(live)
}
