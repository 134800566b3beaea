//! The model's steps on sessions: insert, advance, update, touch, revoke.

use std::cmp::Reverse;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use session_manager_core::refresh::{Verdict, judge};
use session_manager_core::storage::{
    Advance, AdvanceOutcome, EndedSession, Insert, InsertOutcome, Revoke, RevokeTarget, Revoked, Touch, TouchReport,
    Update, UpdateOutcome,
};
use session_manager_core::{
    Actor, Epoch, EpochTracking, GlobalEpoch, LivePolicy, Revocation, RevocationReason, State, UserId,
};

use super::Model;

impl Model {
    pub(super) fn insert(&mut self, request: &Insert, live: LivePolicy) -> InsertOutcome {
        let session = &request.record.session;
        if let Some(at) = self.position(&session.key()) {
            return if self.records[at].control.seed == request.record.control.seed {
                InsertOutcome::Inserted { snapshot: self.snapshot(at), evicted: Vec::new() }
            } else {
                InsertOutcome::DuplicateId
            };
        }
        let living = self.living(&session.user_id, request.now, live);
        let max = usize::try_from(request.limit.max).expect("a limit fits");
        if living.len() >= max && request.limit.rejects() {
            return InsertOutcome::LimitReached { live: u32::try_from(living.len()).expect("a count fits") };
        }
        let evicted = self.evict(living, max - 1, request);
        let mut record = request.record.clone();
        record.control.stamped = None;
        if live.epochs == EpochTracking::Tracked {
            self.create_epochs(request);
            record.control.stamped = self.epochs_of(&session.user_id).stamp();
        }
        self.records.push(record);
        InsertOutcome::Inserted { snapshot: self.snapshot(self.records.len() - 1), evicted }
    }

    fn create_epochs(&mut self, request: &Insert) {
        let user = &request.record.session.user_id;
        if self.user_epoch(user).is_none() {
            self.set_user_epoch(user, Epoch::first(request.incarnations.user));
        }
        self.global.get_or_insert(GlobalEpoch::new(Epoch::first(request.incarnations.global)));
    }

    /// The positions of a user's live sessions.
    fn living(&self, user: &UserId, now: DateTime<Utc>, live: LivePolicy) -> Vec<usize> {
        (0..self.records.len())
            .filter(|at| self.records[*at].session.user_id == *user && self.snapshot(*at).state(now, live).is_live())
            .collect()
    }

    fn evict(&mut self, mut living: Vec<usize>, stay: usize, request: &Insert) -> Vec<EndedSession> {
        living.sort_by_key(|at| {
            let record = &self.records[*at];
            let activity = request.limit.evicts_idlest().then_some(record.control.last_activity);
            (activity, record.session.created_at, record.session.id)
        });
        let surplus = living.len().saturating_sub(stay);
        let revocation = Revocation::new(request.now, RevocationReason::EVICTED, Actor::System);
        living.into_iter().take(surplus).map(|at| self.end(at, &revocation)).collect()
    }

    fn end(&mut self, at: usize, revocation: &Revocation) -> EndedSession {
        let record = &mut self.records[at];
        record.control.revocation = Some(Arc::new(revocation.clone()));
        record.control.version += 1;
        EndedSession::new(Arc::clone(&record.session), State::Revoked, record.control.revocation.clone())
    }

    pub(super) fn advance(&mut self, request: &Advance, live: LivePolicy) -> AdvanceOutcome {
        let Some(at) = self.position(&request.key) else {
            return AdvanceOutcome::Missing;
        };
        let now = request.now;
        let successor = request.presented.saturating_add(1);
        match judge(&self.snapshot(at), request.presented, now, request.grace, live) {
            Verdict::Advance => {
                self.records[at].control.advance_to(successor, now);
                AdvanceOutcome::Advanced(self.snapshot(at))
            }
            Verdict::Ahead => {
                self.records[at].control.advance_to(successor, now);
                AdvanceOutcome::Ahead(self.snapshot(at))
            }
            Verdict::Converge => AdvanceOutcome::Converge(self.snapshot(at)),
            Verdict::Behind => AdvanceOutcome::Behind(self.snapshot(at)),
            Verdict::BelowFloor => AdvanceOutcome::BelowFloor(self.snapshot(at)),
            Verdict::Ended(state) => AdvanceOutcome::Ended(state, self.snapshot(at)),
        }
    }

    pub(super) fn update(&mut self, request: &Update, live: LivePolicy) -> UpdateOutcome {
        let Some(at) = self.position(&request.key) else {
            return UpdateOutcome::Missing;
        };
        let snapshot = self.snapshot(at);
        let state = snapshot.state(request.now, live);
        if !state.is_live() {
            return UpdateOutcome::Ended(state, snapshot);
        }
        if snapshot.control.version != request.expected_version {
            return UpdateOutcome::Conflict(snapshot);
        }
        self.records[at] = request.patch.apply(&self.records[at], request.now);
        UpdateOutcome::Updated(self.snapshot(at))
    }

    pub(super) fn touch(&mut self, batch: &[Touch], now: DateTime<Utc>, live: LivePolicy) -> TouchReport {
        let mut report = TouchReport::default();
        for (number, touch) in batch.iter().enumerate() {
            // Of several for one session the latest counts, and of several latest the first.
            let later =
                |other: usize| (batch[other].last_activity, Reverse(other)) > (touch.last_activity, Reverse(number));
            let overtaken = (0..batch.len()).any(|other| batch[other].key.id == touch.key.id && later(other));
            let forward = |at: &usize| {
                let snapshot = self.snapshot(*at);
                snapshot.state(now, live).is_live() && snapshot.control.last_activity < touch.stale_before()
            };
            let Some(at) = self.position(&touch.key).filter(|_| !overtaken).filter(forward) else {
                report.skipped += 1;
                continue;
            };
            let record = &mut self.records[at];
            let deadline = touch.idle_expires_at.min(record.session.expires_at);
            record.control.last_activity = touch.last_activity;
            record.control.idle_expires_at = record.control.idle_expires_at.max(deadline);
            report.touched += 1;
        }
        report
    }

    pub(super) fn revoke(&mut self, request: &Revoke, live: LivePolicy) -> Revoked {
        let now = request.now();
        let mut revoked = Revoked::default();
        for at in self.addressed(&request.target, now, live) {
            if self.snapshot(at).state(now, live).is_live() {
                let ended = self.end(at, &request.revocation);
                revoked.sessions.push(ended);
            } else {
                revoked.already_ended += 1;
            }
        }
        if let RevokeTarget::User { user, except: None } = &request.target
            && let Some(epoch) = self.user_epoch(user)
        {
            self.set_user_epoch(user, epoch.next());
        }
        revoked
    }

    fn addressed(&self, target: &RevokeTarget, now: DateTime<Utc>, live: LivePolicy) -> Vec<usize> {
        let addressed = |at: &usize| {
            let session = &self.records[*at].session;
            match target {
                RevokeTarget::One { key, owner } => {
                    session.id == key.id && owner.as_ref().is_none_or(|owner| *owner == session.user_id)
                }
                RevokeTarget::User { user, except } => session.user_id == *user && *except != Some(session.id),
                RevokeTarget::External(external) => session.external.as_ref() == Some(external),
                RevokeTarget::Matching { user, filter } => {
                    user.as_ref().is_none_or(|user| *user == session.user_id)
                        && filter.matches(&self.snapshot(*at), now, live)
                }
                other => panic!("the reference does not know {other:?} yet"),
            }
        };
        let mut positions: Vec<usize> = (0..self.records.len()).filter(addressed).collect();
        positions.sort_by_key(|at| Reverse((self.records[*at].session.created_at, self.records[*at].session.id)));
        positions
    }
}
