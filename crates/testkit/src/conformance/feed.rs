//! Checks of the feed of revocations: it misses nothing, in whatever order it is written and read.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use session_manager_core::SessionStorage;
use session_manager_core::clock::after;
use session_manager_core::storage::{FeedCursor, Notice, Phase, Purge, PurgeScope, RevocationFeed, Subject};

use super::ability::needs;
use super::concurrency::at_once;
use super::run::CheckOutcome::{self, Passed};
use crate::fixture::{Fixture, user};

fn feed_of(lab: &Fixture) -> &dyn RevocationFeed {
    lab.storage().feed().expect("the feed does not go away")
}

/// Reads to the end of the feed, and returns what came and where it ended.
async fn poll(lab: &Fixture, mut cursor: Option<FeedCursor>) -> (HashSet<Notice>, FeedCursor) {
    let mut seen = HashSet::new();
    for _ in 0..100_000 {
        let batch = feed_of(lab).since(cursor.as_ref(), 7, lab.now()).await.unwrap();
        seen.extend(batch.notices);
        if batch.complete {
            return (seen, batch.next);
        }
        cursor = Some(batch.next);
    }
    panic!("the feed never said that it was complete");
}

/// Whatever was announced is read back, of every subject and phase, and a later poll brings what is new.
pub async fn feed_returns_what_was_announced(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    needs!(storage, Feed);
    let lab = Fixture::new(storage);
    let alice = user("alice");
    let session = Subject::Session(lab.session(&alice).record().session.id);
    let mut announced = HashSet::new();
    let epochs = [Subject::UserEpoch(alice.locator()), Subject::GlobalEpoch];
    for subject in [session, Subject::User(alice.locator()), Subject::Global].into_iter().chain(epochs) {
        for phase in [Phase::Intent, Phase::Done] {
            lab.tick(1);
            announced.insert(Notice::new(subject, phase, lab.now()));
        }
    }
    let all: Vec<_> = announced.iter().copied().collect();
    feed_of(&lab).announce(&all).await.unwrap();
    let (seen, next) = poll(&lab, None).await;
    assert_eq!(seen, announced);
    lab.tick(1);
    let late = Notice::new(Subject::Global, Phase::Done, lab.now());
    feed_of(&lab).announce(&[late]).await.unwrap();
    let (seen, _) = poll(&lab, Some(next)).await;
    assert!(seen.contains(&late));
    Passed
}

/// A reader that follows its cursor while many announce at once misses nothing, also what commits late.
pub async fn feed_misses_nothing_under_concurrency(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    needs!(storage, Feed);
    let lab = Fixture::new(storage);
    let writers = 8;
    let answers = at_once(writers + 1, |number| {
        let lab = lab.clone();
        async move {
            if number == 0 {
                let (mut seen, mut cursor) = (HashSet::new(), None);
                for _ in 0..20 {
                    let (batch, next) = poll(&lab, cursor).await;
                    seen.extend(batch);
                    cursor = Some(next);
                    tokio::task::yield_now().await;
                }
                return (seen, cursor);
            }
            let mut written = HashSet::new();
            for _ in 0..10 {
                let id = lab.session(&user("alice")).record().session.id;
                let notice = Notice::new(Subject::Session(id), Phase::Done, lab.now());
                feed_of(&lab).announce(&[notice]).await.unwrap();
                written.insert(notice);
            }
            (written, None)
        }
    })
    .await;
    let (mut seen, cursor) = answers[0].clone();
    seen.extend(poll(&lab, cursor).await.0);
    let written: HashSet<Notice> = answers[1..].iter().flat_map(|(written, _)| written.iter().copied()).collect();
    assert_eq!(written.len(), writers * 10);
    assert!(written.is_subset(&seen), "{} of {} notices were missed", written.difference(&seen).count(), written.len());
    Passed
}

/// A notice can be read until the end of the time for which the feed says that it keeps it, whatever is written and cleaned up meanwhile.
pub async fn feed_keeps_notices_as_long_as_it_says(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    needs!(storage, Feed);
    let lab = Fixture::new(storage);
    let retention = feed_of(&lab).retention();
    assert_ne!(retention, Some(Duration::ZERO), "a feed that keeps nothing is none");
    let early = Notice::new(Subject::User(user("alice").locator()), Phase::Done, lab.now());
    feed_of(&lab).announce(&[early]).await.unwrap();
    // What is kept without limit is there after a year too.
    let kept = retention.map_or(Duration::from_hours(24 * 365), |kept| kept.saturating_sub(Duration::from_millis(1)));
    lab.set(after(lab.now(), kept), 0);
    let late = Notice::new(Subject::Global, Phase::Intent, lab.now());
    feed_of(&lab).announce(&[late]).await.unwrap();
    lab.storage().purge(&Purge::new(PurgeScope::EndedBefore(lab.now()), 100, lab.now())).await.unwrap();
    let (seen, _) = poll(&lab, None).await;
    assert!(seen.contains(&early), "kept for {retention:?}, and gone {kept:?} later");
    assert!(seen.contains(&late));
    assert_eq!(feed_of(&lab).retention(), retention, "and it says the same all the time");
    Passed
}
