//! The sequential specification of one session: what each call answers when no other call is under way.
//!
//! Written from the protocol and not with the functions of core that storages ask, so that a mistake there is seen too. Time stands
//! still during a history: a token within its grace stays there, and without a grace it never is.

use std::fmt;

use session_manager_core::{Snapshot, State};
use stateright::semantics::SequentialSpec;

/// A call.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Op {
    Refresh { presented: u64, grace: bool },
    Rename { expected: u64, to: String },
    RaiseFloor { expected: u64 },
    Revoke { reason: String },
    RevokeUser { reason: String },
    RaiseEpoch { keep: bool },
    Read,
    ReadEpoch,
    Purge,
}

/// An answer.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Ret {
    Advanced(View),
    Converge(View),
    Behind(View),
    BelowFloor(View),
    Ahead(View),
    Ended(View),
    Updated(View),
    Conflict(View),
    Found(View),
    Missing,
    Revoked {
        ended: usize,
        already: u64,
    },
    /// How many had ended before is left open by the contract where all of a user's sessions are addressed.
    RevokedUser {
        ended: usize,
    },
    Raised {
        version: u64,
        kept: Option<View>,
    },
    NotKept,
    Epoch(Option<u64>),
    Purged(usize),
}

impl Ret {
    /// The session as it was at the moment of the answer, where there is one in it.
    pub(super) const fn view(&self) -> Option<&View> {
        match self {
            Self::Advanced(view)
            | Self::Converge(view)
            | Self::Behind(view)
            | Self::BelowFloor(view)
            | Self::Ahead(view)
            | Self::Ended(view)
            | Self::Updated(view)
            | Self::Conflict(view)
            | Self::Found(view) => Some(view),
            Self::Raised { kept, .. } => kept.as_ref(),
            _ => None,
        }
    }
}

/// What is seen of the session.
#[derive(Clone, PartialEq)]
pub(super) struct View {
    pub(super) generation: u64,
    pub(super) version: u64,
    floor: u64,
    state: State,
    name: Option<String>,
    reason: Option<String>,
    epoch: Option<u64>,
}

impl View {
    /// As it is told, with the state that it claims.
    pub(super) fn new(snapshot: &Snapshot, state: State) -> Self {
        Self {
            generation: snapshot.control.generation,
            version: snapshot.control.version,
            floor: snapshot.control.floor,
            state,
            name: snapshot.session.device_name.clone(),
            reason: snapshot.revocation().map(|revocation| revocation.reason.as_str().to_owned()),
            epoch: snapshot.epochs.user.map(|epoch| epoch.version),
        }
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} generation {} floor {}", self.state.as_str(), self.generation, self.floor)?;
        write!(f, " version {}", self.version)?;
        self.epoch.map_or(Ok(()), |epoch| write!(f, " epoch {epoch}"))?;
        self.name.as_ref().map_or(Ok(()), |name| write!(f, " name {name}"))?;
        self.reason.as_ref().map_or(Ok(()), |reason| write!(f, " ended by {reason}"))
    }
}

/// The session and its user's epoch.
#[derive(Clone, Debug)]
pub(super) struct Spec {
    stored: Option<Stored>,
    /// `None` where the storage keeps no epochs.
    epoch: Option<u64>,
}

#[derive(Clone, Debug)]
struct Stored {
    generation: u64,
    version: u64,
    floor: u64,
    stamp: Option<u64>,
    name: Option<String>,
    reason: Option<String>,
}

impl Spec {
    /// A session as it stands before anybody calls.
    pub(super) fn of(first: &Snapshot) -> Self {
        Self {
            stored: Some(Stored {
                generation: first.control.generation,
                version: first.control.version,
                floor: first.control.floor,
                stamp: first.control.stamped.map(|stamp| stamp.user.version),
                name: first.session.device_name.clone(),
                reason: None,
            }),
            epoch: first.epochs.user.map(|epoch| epoch.version),
        }
    }

    fn state(&self, stored: &Stored) -> State {
        if stored.reason.is_some() {
            State::Revoked
        } else if stored.stamp == self.epoch {
            State::Live
        } else {
            State::RotatedOut
        }
    }

    fn view(&self, stored: &Stored) -> View {
        View {
            generation: stored.generation,
            version: stored.version,
            floor: stored.floor,
            state: self.state(stored),
            name: stored.name.clone(),
            reason: stored.reason.clone(),
            epoch: self.epoch,
        }
    }

    /// Writes a change of the session and shows it.
    fn write(&mut self, change: impl FnOnce(&mut Stored)) -> Option<View> {
        let mut stored = self.stored.take()?;
        change(&mut stored);
        let view = self.view(&stored);
        self.stored = Some(stored);
        Some(view)
    }

    fn refresh(&mut self, presented: u64, grace: bool) -> Option<Ret> {
        let stored = self.stored.as_ref()?;
        let (now, current) = (self.view(stored), stored.generation);
        let next = |stored: &mut Stored| {
            stored.generation = presented + 1;
            stored.version += 1;
        };
        Some(match () {
            () if now.state != State::Live => Ret::Ended(now),
            () if presented < stored.floor => Ret::BelowFloor(now),
            () if presented == current => Ret::Advanced(self.write(next)?),
            () if presented > current => Ret::Ahead(self.write(next)?),
            () if presented + 1 == current && grace => Ret::Converge(now),
            () => Ret::Behind(now),
        })
    }

    fn update(&mut self, expected: u64, change: impl FnOnce(&mut Stored)) -> Option<Ret> {
        let now = self.view(self.stored.as_ref()?);
        Some(if now.state != State::Live {
            Ret::Ended(now)
        } else if now.version != expected {
            Ret::Conflict(now)
        } else {
            Ret::Updated(self.write(change)?)
        })
    }

    /// Ends the session, once; whether this call did.
    fn revoke(&mut self, reason: &str) -> Option<bool> {
        if self.state(self.stored.as_ref()?) != State::Live {
            return Some(false);
        }
        self.write(|stored| {
            stored.reason = Some(reason.to_owned());
            stored.version += 1;
        });
        Some(true)
    }

    fn raise_epoch(&mut self, keep: bool) -> Ret {
        if keep && self.stored.as_ref().is_none_or(|stored| self.state(stored) != State::Live) {
            return Ret::NotKept;
        }
        let version = self.epoch.map_or(1, |epoch| epoch + 1);
        self.epoch = Some(version);
        let kept = if keep {
            self.write(|stored| {
                stored.stamp = Some(version);
                raise_floor(stored);
            })
        } else {
            None
        };
        Ret::Raised { version, kept }
    }
}

/// Two generations on, and no older token is accepted any more.
fn raise_floor(stored: &mut Stored) {
    stored.generation += 2;
    stored.floor = stored.generation;
    stored.version += 1;
}

impl SequentialSpec for Spec {
    type Op = Op;
    type Ret = Ret;

    fn invoke(&mut self, op: &Op) -> Ret {
        match op {
            Op::Refresh { presented, grace } => self.refresh(*presented, *grace).unwrap_or(Ret::Missing),
            Op::Rename { expected, to } => {
                let rename = |stored: &mut Stored| {
                    stored.name = Some(to.clone());
                    stored.version += 1;
                };
                self.update(*expected, rename).unwrap_or(Ret::Missing)
            }
            Op::RaiseFloor { expected } => self.update(*expected, raise_floor).unwrap_or(Ret::Missing),
            Op::Revoke { reason } => match self.revoke(reason) {
                Some(true) => Ret::Revoked { ended: 1, already: 0 },
                Some(false) => Ret::Revoked { ended: 0, already: 1 },
                None => Ret::Revoked { ended: 0, already: 0 },
            },
            Op::RevokeUser { reason } => {
                let ended = usize::from(self.revoke(reason) == Some(true));
                self.epoch = self.epoch.map(|epoch| epoch + 1);
                Ret::RevokedUser { ended }
            }
            Op::RaiseEpoch { keep } => self.raise_epoch(*keep),
            Op::Read => self.stored.as_ref().map_or(Ret::Missing, |stored| Ret::Found(self.view(stored))),
            Op::ReadEpoch => Ret::Epoch(self.epoch),
            Op::Purge => Ret::Purged(usize::from(self.stored.take().is_some())),
        }
    }
}
