//! Creating and changing sessions: insert, advance, update, touch.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use session_manager_core::refresh::{Verdict, judge};
use session_manager_core::storage::{
    Advance, AdvanceOutcome, EndedSession, Insert, InsertOutcome, SessionLimit, Touch, TouchReport, Update,
    UpdateOutcome,
};
use session_manager_core::{Actor, Epoch, GlobalEpoch, LivePolicy, Locator, Revocation, RevocationReason, Snapshot};

use crate::account::Account;
use crate::cache::CacheClient;
use crate::error::Failure;
use crate::storage::MemcachedStorage;
use crate::swap::{Reading, Step, Store};

impl<C: CacheClient> MemcachedStorage<C> {
    pub(crate) async fn insert_one(&self, request: &Insert) -> Result<InsertOutcome, Failure> {
        let session = &request.record.session;
        let locator = session.user_id.locator();
        let retention = self.config().retention;
        self.change(locator, Some(session.id), request.now, |reading| {
            let pointed = reading.pointer;
            // A pointer is written before its session and is nobody else's from then on, even if the session never came.
            if pointed.is_some_and(|place| place != locator) {
                return Ok(Step::Done(InsertOutcome::DuplicateId));
            }
            let mut step = insert_into(request, reading)?;
            if let Step::Store(store) = &mut step {
                store.pointer = pointed.is_none().then_some(session.id);
                store.account.forget(retention, request.now);
            }
            Ok(step)
        })
        .await
    }

    pub(crate) async fn advance_one(&self, request: &Advance) -> Result<AdvanceOutcome, Failure> {
        let Some(locator) = self.place(request.key).await? else { return Ok(AdvanceOutcome::Missing) };
        self.change(locator, None, request.now, |Reading { account, global, .. }| {
            let Some((mut account, mut snapshot)) = open(account, global, request.key.id)? else {
                return Ok(Step::Done(AdvanceOutcome::Missing));
            };
            let verdict = judge(&snapshot, request.presented, request.now, request.grace, LivePolicy::TRACKED);
            if matches!(verdict, Verdict::Advance | Verdict::Ahead) {
                snapshot.control.advance_to(request.presented.saturating_add(1), request.now);
                account.set_control(request.key.id, &snapshot.control);
            }
            Ok(match verdict {
                Verdict::Advance => Step::store(account, AdvanceOutcome::Advanced(snapshot)),
                Verdict::Ahead => Step::store(account, AdvanceOutcome::Ahead(snapshot)),
                Verdict::Converge => Step::Done(AdvanceOutcome::Converge(snapshot)),
                Verdict::Behind => Step::Done(AdvanceOutcome::Behind(snapshot)),
                Verdict::BelowFloor => Step::Done(AdvanceOutcome::BelowFloor(snapshot)),
                Verdict::Ended(state) => Step::Done(AdvanceOutcome::Ended(state, snapshot)),
            })
        })
        .await
    }

    pub(crate) async fn update_one(&self, request: &Update) -> Result<UpdateOutcome, Failure> {
        let Some(locator) = self.place(request.key).await? else { return Ok(UpdateOutcome::Missing) };
        self.change(locator, None, request.now, |Reading { account, global, .. }| {
            let Some((mut account, snapshot)) = open(account, global, request.key.id)? else {
                return Ok(Step::Done(UpdateOutcome::Missing));
            };
            let state = snapshot.state(request.now, LivePolicy::TRACKED);
            if !state.is_live() {
                return Ok(Step::Done(UpdateOutcome::Ended(state, snapshot)));
            }
            if snapshot.control.version != request.expected_version {
                return Ok(Step::Done(UpdateOutcome::Conflict(snapshot)));
            }
            let record = request.patch.apply(&snapshot.record(), request.now);
            account.put(&record)?;
            let result = UpdateOutcome::Updated(Snapshot::new(record, snapshot.epochs));
            Ok(Step::Store(Store { account, result, pointer: None, refusable: true }))
        })
        .await
    }

    /// One step for each user in the batch.
    pub(crate) async fn touch_all(&self, batch: &[Touch], now: DateTime<Utc>) -> Result<TouchReport, Failure> {
        let keys: Vec<_> = batch.iter().map(|touch| touch.key).collect();
        let places = self.places(&keys).await?;
        let mut users: BTreeMap<Locator, Vec<&Touch>> = BTreeMap::new();
        for (touch, place) in batch.iter().zip(places) {
            if let Some((_, locator)) = place {
                users.entry(locator).or_default().push(touch);
            }
        }
        let mut touched = 0_u64;
        for (locator, mut touches) in users {
            // A session that is named several times counts once, with its latest activity.
            touches.sort_by_key(|touch| (touch.key.id, Reverse(touch.last_activity)));
            touches.dedup_by_key(|touch| touch.key.id);
            touched = touched.saturating_add(self.touch_user(locator, &touches, now).await?);
        }
        let all = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        Ok(TouchReport::new(touched, all.saturating_sub(touched)))
    }

    async fn touch_user(&self, locator: Locator, touches: &[&Touch], now: DateTime<Utc>) -> Result<u64, Failure> {
        self.change(locator, None, now, |Reading { account, global, .. }| {
            let Some(mut account) = account else { return Ok(Step::Done(0)) };
            let mut moved = 0_u64;
            for touch in touches {
                let Some(mut snapshot) = account.snapshot(touch.key.id, global)? else { continue };
                let live = snapshot.state(now, LivePolicy::TRACKED).is_live();
                if !live || snapshot.control.last_activity >= touch.stale_before() {
                    continue;
                }
                let idle = touch.idle_expires_at.min(snapshot.session.expires_at);
                snapshot.control.last_activity = touch.last_activity;
                snapshot.control.idle_expires_at = snapshot.control.idle_expires_at.max(idle);
                account.set_control(touch.key.id, &snapshot.control);
                moved = moved.saturating_add(1);
            }
            Ok(if moved == 0 { Step::Done(0) } else { Step::store(account, moved) })
        })
        .await
    }
}

/// A session among its user's.
fn open(
    account: Option<Account>,
    global: Option<GlobalEpoch>,
    id: session_manager_core::SessionId,
) -> Result<Option<(Account, Snapshot)>, Failure> {
    let Some(account) = account else { return Ok(None) };
    Ok(account.snapshot(id, global)?.map(|snapshot| (account, snapshot)))
}

/// Adds a session to its user's, and makes room for it.
fn insert_into(request: &Insert, reading: Reading) -> Result<Step<InsertOutcome>, Failure> {
    let session = &request.record.session;
    let Some(global) = reading.global else { return Ok(Step::NoGlobal(request.incarnations.global)) };
    let mut account = match reading.account {
        Some(account) if account.user != session.user_id => return Err(Failure::Collision),
        Some(account) => account,
        None => Account::new(session.user_id.clone(), Epoch::first(request.incarnations.user)),
    };
    if let Some(there) = account.snapshot(session.id, Some(global))? {
        let same = there.control.seed == request.record.control.seed;
        let again = InsertOutcome::Inserted { snapshot: there, evicted: Vec::new() };
        return Ok(Step::Done(if same { again } else { InsertOutcome::DuplicateId }));
    }
    let live = account.live(Some(global), request.now)?;
    let surplus = match surplus(live, request.limit) {
        Ok(surplus) => surplus,
        Err(live) => return Ok(Step::Done(InsertOutcome::LimitReached { live })),
    };
    let revocation = Arc::new(Revocation::new(request.now, RevocationReason::EVICTED, Actor::System));
    let evicted: Vec<EndedSession> = surplus.into_iter().map(|one| account.end(one, &revocation)).collect();
    let epochs = account.epochs(Some(global));
    let mut record = request.record.clone();
    record.control.stamped = epochs.stamp();
    account.put(&record)?;
    let result = InsertOutcome::Inserted { snapshot: Snapshot::new(record, epochs), evicted };
    Ok(Step::Store(Store { account, result, pointer: None, refusable: true }))
}

/// The live sessions that must end so that one more fits, or how many live where the limit rejects.
fn surplus(mut live: Vec<Snapshot>, limit: SessionLimit) -> Result<Vec<Snapshot>, u32> {
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
