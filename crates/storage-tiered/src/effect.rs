//! What a change did, as far as caches are concerned.

use chrono::{DateTime, Utc};
use session_manager_core::Snapshot;
use session_manager_core::storage::{
    AdvanceOutcome, BumpOutcome, InsertOutcome, Purged, PutOutcome, Revoked, UpdateOutcome,
};

/// Whom a change is told to beside this node.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tell {
    /// Others, before and after: it may end something.
    Both,
    /// Others, after it changed something, beginning and end at once: it ends nothing, and what they know is merely old.
    After,
    /// Nobody: what others may know stays right.
    Nobody,
}

/// What a change did.
#[derive(Clone, Copy)]
pub(crate) struct Effect<'a> {
    /// Whether others should look again.
    pub(crate) changed: bool,
    /// The session as it is now, where the change returned it.
    pub(crate) now_is: Option<&'a Snapshot>,
}

impl<'a> Effect<'a> {
    const NOTHING: Self = Self { changed: false, now_is: None };
    const UNSEEN: Self = Self { changed: true, now_is: None };

    const fn made(snapshot: &'a Snapshot) -> Self {
        Self { changed: true, now_is: Some(snapshot) }
    }
}

/// The answer to a change.
pub(crate) trait Outcome {
    /// What the change did.
    fn effect(&self) -> Effect<'_>;

    /// The same, with by when everybody knows of it; where an answer of its kind does not say such a thing, as it is.
    fn late(self, by: DateTime<Utc>) -> Self;
}

impl Outcome for InsertOutcome {
    fn effect(&self) -> Effect<'_> {
        match self {
            Self::Inserted { snapshot, .. } => Effect::made(snapshot),
            _ => Effect::NOTHING,
        }
    }

    fn late(self, _: DateTime<Utc>) -> Self {
        self
    }
}

impl Outcome for AdvanceOutcome {
    fn effect(&self) -> Effect<'_> {
        match self {
            Self::Advanced(snapshot) | Self::Ahead(snapshot) => Effect::made(snapshot),
            _ => Effect::NOTHING,
        }
    }

    fn late(self, _: DateTime<Utc>) -> Self {
        self
    }
}

impl Outcome for UpdateOutcome {
    fn effect(&self) -> Effect<'_> {
        match self {
            Self::Updated(snapshot) => Effect::made(snapshot),
            _ => Effect::NOTHING,
        }
    }

    fn late(self, _: DateTime<Utc>) -> Self {
        self
    }
}

impl Outcome for BumpOutcome {
    fn effect(&self) -> Effect<'_> {
        match self {
            Self::Bumped(bumped) => Effect { changed: true, now_is: bumped.kept.as_ref() },
            _ => Effect::NOTHING,
        }
    }

    fn late(self, by: DateTime<Utc>) -> Self {
        match self {
            Self::Bumped(bumped) => Self::Bumped(bumped.binding_by(by)),
            other => other,
        }
    }
}

// These say what went, not what is there now.
impl Outcome for Revoked {
    fn effect(&self) -> Effect<'_> {
        Effect::UNSEEN
    }

    fn late(self, by: DateTime<Utc>) -> Self {
        self.binding_by(by)
    }
}

macro_rules! unseen {
    ($($outcome:ty),*) => { $(
        impl Outcome for $outcome {
            fn effect(&self) -> Effect<'_> {
                Effect::UNSEEN
            }

            fn late(self, _: DateTime<Utc>) -> Self {
                self
            }
        }
    )* };
}

unseen!(Purged, PutOutcome);
