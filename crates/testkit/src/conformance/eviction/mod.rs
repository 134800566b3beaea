//! What a storage keeps is lost behind its back, record by record and kind by kind: nothing that ended is ever accepted again.

mod scene;

use std::collections::BTreeSet;
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

/// Loses each single record in turn, on a fresh storage each time.
///
/// # Panics
/// When something that ended is accepted afterwards, or cannot be signed in again; and when a kind of record was never there.
pub fn losing_one_revives_nothing<F, Fut, S, E>(factory: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = (S, E)>,
    S: SessionStorage + 'static,
    E: Evict,
{
    runtime().block_on(async {
        let mut kinds = BTreeSet::new();
        let mut number = 0;
        loop {
            let (storage, evict) = factory().await;
            let scene = Scene::play(Fixture::new(Arc::new(storage))).await;
            let mut records = evict.kept().await;
            records.sort();
            let Some(record) = records.get(number) else {
                assert_eq!(kinds, evict.kinds().iter().copied().collect(), "the kinds of records that were lost");
                return;
            };
            kinds.insert(record.kind);
            evict.evict(record).await;
            assert!(!evict.kept().await.contains(record), "{record:?} is lost");
            scene.nothing_revives(&format!("without the {} of number {number}", record.kind)).await;
            number += 1;
        }
    });
}

/// Loses all records of a kind, of each two kinds, and all there are, on a fresh storage each time.
///
/// # Panics
/// As [`losing_one_revives_nothing`].
pub fn losing_kinds_revives_nothing<F, Fut, S, E>(factory: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = (S, E)>,
    S: SessionStorage + 'static,
    E: Evict,
{
    runtime().block_on(async {
        let all = factory().await.1.kinds();
        let pairs = all.iter().enumerate().flat_map(|(at, one)| all[at..].iter().map(move |other| vec![*one, *other]));
        for lost in pairs.chain([all.to_vec()]) {
            let (storage, evict) = factory().await;
            let scene = Scene::play(Fixture::new(Arc::new(storage))).await;
            for kind in &lost {
                let records = evict.kept().await;
                let mut records = records.iter().filter(|record| record.kind == *kind).peekable();
                let again = lost.iter().filter(|other| *other == kind).count() > 1;
                assert!(records.peek().is_some() || again, "there is no {kind} to lose");
                for record in records {
                    evict.evict(record).await;
                }
            }
            assert!(!evict.kept().await.iter().any(|record| lost.contains(&record.kind)), "{lost:?} are lost");
            scene.nothing_revives(&format!("without any of {lost:?}")).await;
        }
    });
}

/// Generates a module of tests that lose what a storage keeps, record by record and kind by kind.
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
            fn losing_one_revives_nothing() {
                $crate::conformance::losing_one_revives_nothing($factory);
            }

            #[test]
            fn losing_kinds_revives_nothing() {
                $crate::conformance::losing_kinds_revives_nothing($factory);
            }
        }
    };
}
