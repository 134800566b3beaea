//! Checks of `remember_once`: exactly one of any number of callers is told that a value is new.

use std::sync::Arc;
use std::time::Duration;

use session_manager_core::SessionStorage;
use session_manager_core::clock::after;
use session_manager_core::storage::OnceKey;

use super::ability::needs;
use super::concurrency::at_once;
use super::run::CheckOutcome::{self, Passed};
use crate::fixture::Fixture;

fn key(text: &str) -> OnceKey {
    OnceKey::parse(text).expect("a key")
}

/// Of many callers at once exactly one is told `true`, for each value.
pub async fn remember_once_admits_one_of_many(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    needs!(storage, RememberOnce);
    let lab = Fixture::new(storage);
    for round in 0..10 {
        let until = after(lab.now(), Duration::from_mins(1));
        let answers = at_once(32, |_| {
            let (lab, key) = (lab.clone(), key(&format!("dpop:{round}")));
            async move { lab.storage().remember_once(&key, lab.now(), until).await.unwrap() }
        })
        .await;
        assert_eq!(answers.into_iter().filter(|new| *new).count(), 1, "round {round}");
    }
    Passed
}

/// A value is remembered until one millisecond before its time, and new again at it, also for many at once.
pub async fn remembered_values_expire_to_the_millisecond(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    needs!(storage, RememberOnce);
    let lab = Fixture::new(storage);
    let (begin, until) = (lab.now(), after(lab.now(), Duration::from_mins(1)));
    let later = after(until, Duration::from_mins(1));
    assert!(lab.storage().remember_once(&key("a"), begin, until).await.unwrap());
    assert!(!lab.storage().remember_once(&key("a"), begin, later).await.unwrap());
    lab.set(until, -1);
    assert!(!lab.storage().remember_once(&key("a"), lab.now(), later).await.unwrap(), "one millisecond early");
    lab.tick(1);
    let answers = at_once(16, |_| {
        let lab = lab.clone();
        async move { lab.storage().remember_once(&key("a"), lab.now(), later).await.unwrap() }
    })
    .await;
    assert_eq!(answers.into_iter().filter(|new| *new).count(), 1, "new again, once");
    Passed
}

/// Values are told apart by every character, up to the longest.
pub async fn remembered_values_are_told_apart(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    needs!(storage, RememberOnce);
    let lab = Fixture::new(storage);
    let until = after(lab.now(), Duration::from_mins(1));
    let long = "k".repeat(OnceKey::MAX_BYTES);
    let almost = format!("{}K", &long[1..]);
    for text in ["a", "A", "a:", "a%", "a_", "'", "\"", "\\", "*", "~", &long, &almost] {
        assert!(lab.storage().remember_once(&key(text), lab.now(), until).await.unwrap(), "{text}");
        assert!(!lab.storage().remember_once(&key(text), lab.now(), until).await.unwrap(), "{text}");
    }
    Passed
}
