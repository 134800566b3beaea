//! What the callers of a history are going to do.

use proptest::collection::vec;
use proptest::prelude::*;

/// Which operations a history is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Mix {
    /// Refreshes with the newest and older tokens, reads, and now and then a revocation.
    Refreshes,
    /// Compare-and-set updates, with and without a raised floor, beside refreshes, reads and revocations.
    Updates,
    /// A user's epoch is raised, with and without keeping the session, beside refreshes and reads of both.
    Epochs,
    /// All of it, and removal for good.
    Everything,
}

impl Mix {
    /// All of them, in the order of the suite.
    pub const ALL: [Self; 4] = [Self::Refreshes, Self::Updates, Self::Epochs, Self::Everything];

    /// The test of [`storage_histories!`](crate::storage_histories) that proves it.
    pub const fn test(self) -> &'static str {
        match self {
            Self::Refreshes => "refreshes_are_linearizable",
            Self::Updates => "updates_are_linearizable",
            Self::Epochs => "epochs_are_linearizable",
            Self::Everything => "everything_is_linearizable",
        }
    }

    pub(in crate::conformance) const fn raises_epochs(self) -> bool {
        matches!(self, Self::Epochs | Self::Everything)
    }

    /// How often each step is drawn.
    const fn weights(self) -> Weights {
        let nothing = Weights { refresh: 6, read: 3, revoke: 1, rename: 0, floor: 0, epoch: 0, purge: 0 };
        match self {
            Self::Refreshes => nothing,
            Self::Updates => Weights { refresh: 2, rename: 5, floor: 1, ..nothing },
            Self::Epochs => Weights { refresh: 4, epoch: 4, ..nothing },
            Self::Everything => Weights { rename: 2, floor: 1, epoch: 2, purge: 1, ..nothing },
        }
    }
}

struct Weights {
    refresh: u32,
    read: u32,
    revoke: u32,
    rename: u32,
    floor: u32,
    epoch: u32,
    purge: u32,
}

/// What one caller does next; what it does it with is what it learnt last.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// Presents the token so many generations after the newest that the caller knows.
    Refresh {
        offset: i64,
        grace: bool,
    },
    Read,
    Revoke,
    Rename,
    RaiseFloor,
    RaiseEpoch {
        keep: bool,
    },
    RevokeUser,
    ReadEpoch,
    Purge,
}

/// The steps of each caller, all of them equally many.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) callers: Vec<Vec<Step>>,
    /// Whether the callers wait for each other before every step, so that each overlaps with all others of its round.
    pub(super) in_rounds: bool,
}

pub(super) fn plans(mix: Mix) -> impl Strategy<Value = Plan> {
    (3..=4_usize, 3..=5_usize).prop_flat_map(move |(callers, steps)| {
        (vec(vec(step(mix), steps), callers), any::<bool>())
            .prop_map(|(callers, in_rounds)| Plan { callers, in_rounds })
    })
}

fn step(mix: Mix) -> impl Strategy<Value = Step> {
    let weights = mix.weights();
    let offset = prop_oneof![8 => Just(0_i64), 4 => Just(-1), 1 => Just(-2), 1 => Just(1)];
    let refresh = (offset, prop::bool::weighted(0.75)).prop_map(|(offset, grace)| Step::Refresh { offset, grace });
    let epoch = prop_oneof![
        2 => any::<bool>().prop_map(|keep| Step::RaiseEpoch { keep }),
        1 => Just(Step::RevokeUser),
        2 => Just(Step::ReadEpoch),
    ];
    // A weight of nothing is not allowed, so what has none is left out.
    let steps: Vec<(u32, BoxedStrategy<Step>)> = vec![
        (weights.refresh, refresh.boxed()),
        (weights.read, Just(Step::Read).boxed()),
        (weights.revoke, Just(Step::Revoke).boxed()),
        (weights.rename, Just(Step::Rename).boxed()),
        (weights.floor, Just(Step::RaiseFloor).boxed()),
        (weights.epoch, epoch.boxed()),
        (weights.purge, Just(Step::Purge).boxed()),
    ];
    proptest::strategy::Union::new_weighted(steps.into_iter().filter(|(weight, _)| *weight > 0).collect())
}
