//! What a storage keeps is lost behind its back, kind by kind and here and there: nothing that ended is ever accepted again.

mod scene;

use std::sync::Arc;

use async_trait::async_trait;
use session_manager_core::SessionStorage;

use super::run::runtime;
use crate::fixture::Fixture;
use scene::Scene;

/// One record of a storage: a row, a key, an item.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Kept {
    /// What it is: `session`, `user epoch`, `index` …
    pub kind: &'static str,
    /// Which one of its kind, in whatever words the storage's client understands.
    pub name: String,
}

impl Kept {
    /// A record.
    pub fn new(kind: &'static str, name: impl Into<String>) -> Self {
        Self { kind, name: name.into() }
    }
}

/// How the records of a storage are found and lost, by a client of their own and behind the storage's back.
#[async_trait]
pub trait Evict: Send + Sync {
    /// All kinds of records that this storage writes. Each has to be there when the suite looks, or losing it would prove nothing.
    fn kinds(&self) -> &'static [&'static str];

    /// All records that there are now. A record whose kind is not known must fail the test: it may be the one that matters.
    async fn kept(&self) -> Vec<Kept>;

    /// Loses one.
    async fn evict(&self, record: &Kept);
}

/// Loses all records of each kind in turn, and then all there are, on a fresh storage each time.
///
/// # Panics
/// When something that ended is accepted afterwards, or nobody can sign in again; and when a kind of record was never there.
pub fn losing_a_kind_revives_nothing<F, Fut, S, E>(factory: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = (S, E)>,
    S: SessionStorage + 'static,
    E: Evict,
{
    runtime().block_on(async {
        let kinds = factory().await.1.kinds();
        for kind in kinds {
            let lost = without(&factory, &format!("without any {kind}"), |_, record| record.kind == *kind).await;
            assert!(lost > 0, "there is no {kind} to lose");
        }
        without(&factory, "without anything", |_, _| true).await;
    });
}

/// Loses some records and keeps others, on a fresh storage each time, so that of every two records each is lost once without the other.
///
/// # Panics
/// As [`losing_a_kind_revives_nothing`].
pub fn losing_some_revives_nothing<F, Fut, S, E>(factory: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = (S, E)>,
    S: SessionStorage + 'static,
    E: Evict,
{
    runtime().block_on(async {
        let mut bit = 1_usize;
        loop {
            for side in [0, bit] {
                let when = format!(
                    "without the records whose number has {}in bit {bit}",
                    if side == 0 { "nothing " } else { "" }
                );
                // Two numbers differ in a bit, and each side of every bit is lost once.
                if without(&factory, &when, |number, _| number & bit == side).await == 0 {
                    return;
                }
            }
            bit <<= 1;
        }
    });
}

/// Plays everything on a fresh storage, loses records by number and kind, and says how many were lost.
async fn without<F, Fut, S, E>(factory: &F, when: &str, which: impl Fn(usize, &Kept) -> bool) -> usize
where
    F: Fn() -> Fut,
    Fut: Future<Output = (S, E)>,
    S: SessionStorage + 'static,
    E: Evict,
{
    let (storage, evict) = factory().await;
    let scene = Scene::play(Fixture::new(Arc::new(storage))).await;
    let mut records = evict.kept().await;
    records.sort();
    let strange = records.iter().find(|record| !evict.kinds().contains(&record.kind));
    assert!(strange.is_none(), "{strange:?} is of no kind that was named");
    let lost: Vec<_> = records.iter().enumerate().filter(|(number, record)| which(*number, record)).collect();
    for (_, record) in &lost {
        evict.evict(record).await;
    }
    let left = evict.kept().await;
    assert!(!lost.iter().any(|(_, record)| left.contains(record)), "{when}: what was lost is still there");
    scene.nothing_revives(when).await;
    lost.len()
}

/// Generates a module of tests that lose what a storage keeps, kind by kind and here and there.
///
/// The second argument makes a future of a fresh storage and of what loses its records, an [`Evict`](crate::conformance::Evict).
///
/// ```
/// use std::sync::Arc;
///
/// use async_trait::async_trait;
/// use session_manager_core::storage::{Purge, PurgeScope};
/// use session_manager_core::{Clock, SessionId, SessionStorage, SystemClock};
/// use session_manager_testkit::conformance::{Evict, Kept};
/// use session_manager_testkit::{ReferenceStorage, storage_evictions};
///
/// /// The reference keeps its sessions in a map.
/// struct Map(Arc<ReferenceStorage>);
///
/// #[async_trait]
/// impl Evict for Map {
///     fn kinds(&self) -> &'static [&'static str] {
///         &["session"]
///     }
///
///     async fn kept(&self) -> Vec<Kept> {
///         let scan = SessionStorage::scan(&self.0).unwrap();
///         let sessions = scan.scan(None, 200).await.unwrap().sessions;
///         sessions.iter().map(|one| Kept::new("session", one.session.id.to_string())).collect()
///     }
///
///     async fn evict(&self, record: &Kept) {
///         let one = PurgeScope::One(SessionId::parse(&record.name).unwrap().into());
///         self.0.purge(&Purge::new(one, 1, SystemClock.now())).await.unwrap();
///     }
/// }
///
/// storage_evictions!(evictions, async || {
///     let storage = Arc::new(ReferenceStorage::new());
///     (Arc::clone(&storage), Map(storage))
/// });
/// ```
#[macro_export]
macro_rules! storage_evictions {
    ($module:ident, $factory:expr $(,)?) => {
        mod $module {
            #[allow(unused_imports, reason = "the factory may need nothing from around it")]
            use super::*;

            #[test]
            fn losing_a_kind_revives_nothing() {
                $crate::conformance::losing_a_kind_revives_nothing($factory);
            }

            #[test]
            fn losing_some_revives_nothing() {
                $crate::conformance::losing_some_revives_nothing($factory);
            }
        }
    };
}
