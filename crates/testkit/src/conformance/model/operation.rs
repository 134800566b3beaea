//! What may happen in a random history. Sessions and boundaries are named by their place, so that shrinking keeps histories meaningful.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::Index;
use session_manager_core::storage::OnLimit;

/// How many users a history has; the last one has no session at first.
pub(super) const USERS: usize = 4;

/// One step of a history.
#[derive(Clone, Debug)]
pub(super) enum Operation {
    Login { user: usize, max: u32, on_limit: OnLimit, flavour: Flavour },
    LoginAgain { which: Index, other_seed: bool },
    Refresh { which: Index, offset: i64, grace_millis: u64 },
    Update { which: Index, stale: bool, patch: Patch },
    Touch { which: Vec<(Index, i64)>, unless_millis: Option<i64> },
    RevokeOne { which: Index, owner: Option<usize> },
    RevokeUser { user: usize, except: Option<Index> },
    RevokeExternal { which: Index },
    RevokeMatching { user: Option<usize>, filter: Filter },
    RaiseUser { user: usize, keep: Option<Index>, expected: Option<i64>, anew: bool },
    RaiseGlobal { grace_millis: u64, expected: Option<i64>, anew: bool },
    List { user: Option<usize>, filter: Filter, limit: u32 },
    ReadMany { which: Vec<Index> },
    PurgeEnded { back_millis: i64 },
    PurgeOne { which: Index },
    PurgeUser { user: usize },
    Once { key: u8, millis: i64 },
    Wait { millis: i64 },
    WaitFor { which: Index, boundary: Boundary, offset: i64 },
}

/// What a new session is like.
#[derive(Clone, Debug)]
pub(super) struct Flavour {
    pub(super) lifetime_millis: u64,
    pub(super) idle_millis: Option<u64>,
    pub(super) kind: u8,
    pub(super) trusted_millis: Option<i64>,
    pub(super) external: Option<u8>,
}

/// What changes in an update.
#[derive(Clone, Debug)]
pub(super) struct Patch {
    pub(super) name: bool,
    pub(super) trust: Option<bool>,
    pub(super) attributes: bool,
    pub(super) floor: bool,
}

/// What a list is asked for.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    pub(super) active_only: bool,
    pub(super) device: Option<u8>,
    pub(super) net: Option<u8>,
    pub(super) country: Option<u8>,
    pub(super) trusted: Option<bool>,
    pub(super) created: Option<(Index, bool)>,
    pub(super) seen_before: Option<Index>,
}

/// A moment at which something ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum Boundary {
    Idle,
    Absolute,
    Grace,
    GlobalGrace,
    Trust,
}

/// Histories of up to `steps` operations.
pub(super) fn histories(steps: usize) -> impl Strategy<Value = Vec<Operation>> {
    vec(operation(), 1..=steps)
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        6 => (user(), 1_u32..5, on_limit(), flavour())
            .prop_map(|(user, max, on_limit, flavour)| Operation::Login { user, max, on_limit, flavour }),
        1 => (which(), any::<bool>()).prop_map(|(which, other_seed)| Operation::LoginAgain { which, other_seed }),
        6 => (which(), prop_oneof![Just(0), Just(-1), -3_i64..3], prop_oneof![Just(10_000), Just(0), Just(1_000)])
            .prop_map(|(which, offset, grace_millis)| Operation::Refresh { which, offset, grace_millis }),
        3 => (which(), prop::bool::weighted(0.2), patch())
            .prop_map(|(which, stale, patch)| Operation::Update { which, stale, patch }),
        3 => (vec((which(), prop_oneof![Just(0), 0_i64..5_000]), 1..4), option::of(prop_oneof![Just(0), 0_i64..5_000]))
            .prop_map(|(which, unless_millis)| Operation::Touch { which, unless_millis }),
        2 => (which(), option::weighted(0.5, user())).prop_map(|(which, owner)| Operation::RevokeOne { which, owner }),
        1 => (user(), option::of(which())).prop_map(|(user, except)| Operation::RevokeUser { user, except }),
        1 => which().prop_map(|which| Operation::RevokeExternal { which }),
        1 => (option::weighted(0.7, user()), filter())
            .prop_map(|(user, filter)| Operation::RevokeMatching { user, filter }),
        2 => (user(), option::of(which()), option::of(-2_i64..2), prop::bool::weighted(0.1)).prop_map(
            |(user, keep, expected, anew)| Operation::RaiseUser { user, keep, expected, anew }
        ),
        1 => (prop_oneof![Just(0), Just(2_000), Just(60_000)], option::of(-2_i64..2), prop::bool::weighted(0.1))
            .prop_map(|(grace_millis, expected, anew)| Operation::RaiseGlobal { grace_millis, expected, anew }),
        4 => (option::weighted(0.6, user()), filter(), 1_u32..6)
            .prop_map(|(user, filter, limit)| Operation::List { user, filter, limit }),
        1 => vec(which(), 0..5).prop_map(|which| Operation::ReadMany { which }),
        1 => (-1_i64..20_000).prop_map(|back_millis| Operation::PurgeEnded { back_millis }),
        1 => which().prop_map(|which| Operation::PurgeOne { which }),
        1 => user().prop_map(|user| Operation::PurgeUser { user }),
        1 => (0_u8..3, 1_i64..20_000).prop_map(|(key, millis)| Operation::Once { key, millis }),
        2 => prop_oneof![Just(1), 0_i64..12_000, Just(3_600_000)].prop_map(|millis| Operation::Wait { millis }),
        3 => (which(), boundary(), -1_i64..2)
            .prop_map(|(which, boundary, offset)| Operation::WaitFor { which, boundary, offset }),
    ]
}

fn user() -> impl Strategy<Value = usize> {
    0..USERS
}

fn which() -> impl Strategy<Value = Index> {
    any::<Index>()
}

fn on_limit() -> impl Strategy<Value = OnLimit> {
    prop_oneof![Just(OnLimit::EvictOldest), Just(OnLimit::EvictIdlest), Just(OnLimit::Reject), Just(OnLimit::Unlimited)]
}

fn flavour() -> impl Strategy<Value = Flavour> {
    let lifetime = prop_oneof![Just(86_400_000), 1_u64..60_000];
    let idle = option::of(prop_oneof![Just(3_600_000), 1_u64..20_000]);
    (lifetime, idle, 0_u8..6, option::weighted(0.4, 0_i64..20_000), option::weighted(0.4, 0_u8..3)).prop_map(
        |(lifetime_millis, idle_millis, kind, trusted_millis, external)| Flavour {
            lifetime_millis,
            idle_millis,
            kind,
            trusted_millis,
            external,
        },
    )
}

fn patch() -> impl Strategy<Value = Patch> {
    (any::<bool>(), option::of(any::<bool>()), any::<bool>(), prop::bool::weighted(0.3))
        .prop_map(|(name, trust, attributes, floor)| Patch { name, trust, attributes, floor })
}

fn filter() -> impl Strategy<Value = Filter> {
    let seldom = 0.25;
    (
        any::<bool>(),
        option::weighted(seldom, 0_u8..3),
        option::weighted(seldom, 0_u8..3),
        option::weighted(seldom, 0_u8..3),
        option::weighted(seldom, any::<bool>()),
        option::weighted(seldom, (which(), any::<bool>())),
        option::weighted(seldom, which()),
    )
        .prop_map(|(active_only, device, net, country, trusted, created, seen_before)| Filter {
            active_only,
            device,
            net,
            country,
            trusted,
            created,
            seen_before,
        })
}

fn boundary() -> impl Strategy<Value = Boundary> {
    prop_oneof![
        Just(Boundary::Idle),
        Just(Boundary::Absolute),
        Just(Boundary::Grace),
        Just(Boundary::GlobalGrace),
        Just(Boundary::Trust)
    ]
}
