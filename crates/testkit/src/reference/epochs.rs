//! The model's steps on epochs.

use session_manager_core::clock::after;
use session_manager_core::storage::{Bump, BumpOutcome, BumpTarget, Bumped};
use session_manager_core::{
    Epoch, EpochTracking, Epochs, Error, ErrorKind, GlobalEpoch, LivePolicy, Result, SessionId, SessionKey, UserId,
};

use super::Model;

impl Model {
    pub(super) fn bump(&mut self, request: &Bump, live: LivePolicy) -> Result<BumpOutcome> {
        if live.epochs == EpochTracking::Untracked {
            return Err(Error::new(ErrorKind::Unsupported, "bump"));
        }
        Ok(match &request.target {
            BumpTarget::User { user, keep } => self.bump_user(request, user, *keep, live),
            BumpTarget::Global { .. } => self.bump_global(request),
            other => panic!("the reference does not know {other:?} yet"),
        })
    }

    fn bump_user(&mut self, request: &Bump, user: &UserId, keep: Option<SessionId>, live: LivePolicy) -> BumpOutcome {
        let before = self.user_epoch(user);
        let current = before.unwrap_or(Epoch::first(request.incarnations.user));
        let kept = keep.and_then(|id| self.position(&SessionKey::by_id(id)));
        match judge_expected(request, current, request.incarnations.user) {
            Expected::Holds => {}
            Expected::Applied => {
                let kept = kept.map(|at| self.snapshot(at)).filter(|kept| kept.session.user_id == *user);
                return BumpOutcome::Bumped(Bumped::new(before, self.epochs_of(user), kept, false));
            }
            Expected::Differs => return BumpOutcome::Conflict { version: current.version },
        }
        let own_and_live = |at: &usize| {
            self.records[*at].session.user_id == *user && self.snapshot(*at).state(request.now, live).is_live()
        };
        let kept = kept.filter(own_and_live);
        if keep.is_some() && kept.is_none() {
            return BumpOutcome::KeepEnded;
        }
        let next = if request.new_incarnation { Epoch::first(request.incarnations.user) } else { current.next() };
        self.set_user_epoch(user, next);
        let epochs = self.epochs_of(user);
        if let Some(at) = kept {
            let control = &mut self.records[at].control;
            control.raise_floor(request.now);
            control.stamped = epochs.stamp();
        }
        BumpOutcome::Bumped(Bumped::new(before, epochs, kept.map(|at| self.snapshot(at)), true))
    }

    fn bump_global(&mut self, request: &Bump) -> BumpOutcome {
        let BumpTarget::Global { grace } = request.target else {
            unreachable!("only called for the global epoch");
        };
        let before = self.global.map(|global| global.epoch);
        let current = before.unwrap_or(Epoch::first(request.incarnations.global));
        match judge_expected(request, current, request.incarnations.global) {
            Expected::Holds => {}
            Expected::Applied => {
                return BumpOutcome::Bumped(Bumped::new(before, Epochs::new(None, self.global), None, false));
            }
            Expected::Differs => return BumpOutcome::Conflict { version: current.version },
        }
        let now = Some(request.now);
        self.global = Some(if request.new_incarnation {
            GlobalEpoch::rotated(Epoch::first(request.incarnations.global), now, None)
        } else {
            let grace_until = (!grace.is_zero()).then(|| after(request.now, grace));
            GlobalEpoch::rotated(current.next(), now, grace_until)
        });
        BumpOutcome::Bumped(Bumped::new(before, Epochs::new(None, self.global), None, true))
    }
}

enum Expected {
    Holds,
    Applied,
    Differs,
}

fn judge_expected(request: &Bump, current: Epoch, incarnation: u64) -> Expected {
    match request.expected {
        None => Expected::Holds,
        Some(version) if version == current.version => Expected::Holds,
        // Somebody else's raise is no new incarnation: only the very record that was asked for counts as done.
        Some(_) if request.new_incarnation && current == Epoch::first(incarnation) => Expected::Applied,
        Some(version) if !request.new_incarnation && version.saturating_add(1) == current.version => Expected::Applied,
        Some(_) => Expected::Differs,
    }
}
