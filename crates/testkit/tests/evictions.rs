//! Losing records: a storage that keeps all of a session in one record passes; one that notes its end elsewhere is caught.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::panic::catch_unwind;
use std::sync::Arc;

use async_trait::async_trait;
use session_manager_core::storage::{Purge, PurgeScope};
use session_manager_core::{Clock, SessionId, SessionStorage, SystemClock};
use session_manager_testkit::broken::DenyList;
use session_manager_testkit::conformance::{Evict, Kept, losing_a_kind_revives_nothing, losing_some_revives_nothing};
use session_manager_testkit::{ReferenceStorage, storage_evictions};

/// The sessions of the reference, and the entries of a list where there is one.
struct Records {
    storage: Arc<ReferenceStorage>,
    list: DenyList,
    kinds: &'static [&'static str],
}

#[async_trait]
impl Evict for Records {
    fn kinds(&self) -> &'static [&'static str] {
        self.kinds
    }

    async fn kept(&self) -> Vec<Kept> {
        let sessions = SessionStorage::scan(&self.storage).unwrap().scan(None, 200).await.unwrap().sessions;
        let sessions = sessions.iter().map(|one| Kept::new("session", one.session.id.to_string()));
        sessions.chain(self.list.ids().iter().map(|id| Kept::new("denial", id.to_string()))).collect()
    }

    async fn evict(&self, record: &Kept) {
        let id = SessionId::parse(&record.name).unwrap();
        match record.kind {
            "denial" => self.list.lose(id),
            _ => drop(self.storage.purge(&Purge::new(PurgeScope::One(id.into()), 1, SystemClock.now())).await.unwrap()),
        }
    }
}

async fn whole() -> (Arc<ReferenceStorage>, Records) {
    let storage = Arc::new(ReferenceStorage::new());
    (Arc::clone(&storage), Records { storage, list: DenyList::default(), kinds: &["session"] })
}

async fn denying() -> (Arc<dyn SessionStorage>, Records) {
    let (storage, list) = (Arc::new(ReferenceStorage::new()), DenyList::default());
    (list.over(storage.clone()), Records { storage, list, kinds: &["denial", "session"] })
}

storage_evictions!(evictions, whole);

fn complaint(run: impl FnOnce() + std::panic::UnwindSafe) -> String {
    catch_unwind(run).unwrap_err().downcast_ref::<String>().unwrap().clone()
}

#[test]
fn a_lost_note_that_revives_is_caught() {
    let by_kind = complaint(|| losing_a_kind_revives_nothing(denying));
    assert!(by_kind.contains("without any denial: what was signed out is live"), "{by_kind}");
    let by_some = complaint(|| losing_some_revives_nothing(denying));
    assert!(by_some.contains("what was signed out is live"), "{by_some}");
}

#[test]
fn a_kind_that_is_never_there_proves_nothing() {
    let of = |kinds| {
        move || async move {
            let (storage, records) = whole().await;
            (storage, Records { kinds, ..records })
        }
    };
    let never = complaint(|| losing_a_kind_revives_nothing(of(&["session", "unheard of"])));
    assert!(never.contains("there is no unheard of to lose"), "{never}");
    let unnamed = complaint(|| losing_some_revives_nothing(of(&[])));
    assert!(unnamed.contains("is of no kind that was named"), "{unnamed}");
}
