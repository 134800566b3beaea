//! Checks that all ways to read agree.

use std::sync::Arc;

use session_manager_core::storage::Consistency;
use session_manager_core::{SessionKey, SessionStorage, Snapshot};

use super::run::CheckOutcome::{self, Passed};
use crate::fixture::{Fixture, user};

async fn all_agree(lab: &Fixture, keys: &[SessionKey]) -> Vec<Option<Snapshot>> {
    let together = lab.storage().read_many(keys, Consistency::Latest).await.unwrap();
    assert_eq!(together.len(), keys.len());
    for (key, expected) in keys.iter().zip(&together) {
        assert_eq!(lab.find(*key).await, *expected, "read and read_many agree");
        assert_eq!(lab.find(key.id).await, *expected, "a read by id alone finds the same");
        if let Some(at_once) = lab.storage().try_read(key) {
            assert_eq!(at_once, *expected, "read and try_read agree");
        }
    }
    together
}

/// `read`, `try_read` and `read_many` agree, in the order of the keys, also on what does not exist, after every change.
pub async fn reads_agree(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    let lab = Fixture::new(storage);
    let alice = lab.store(lab.session(&user("alice")).with_everything()).await;
    let bob = lab.login(&user("bob")).await;
    let absent = lab.session(&user("bob")).record().session.key();
    let stranger = lab.session(&user("nobody")).record().session.key();
    let keys = [bob.key(), absent, alice.key(), stranger, bob.key()];
    assert_eq!(all_agree(&lab, &keys).await, [Some(bob.clone()), None, Some(alice.clone()), None, Some(bob.clone())]);
    lab.tick(1);
    lab.advance(&bob, 1).await;
    lab.touch(&alice).await;
    all_agree(&lab, &keys).await;
    lab.logout(&bob).await;
    all_agree(&lab, &keys).await;
    if lab.storage().capabilities().epochs {
        lab.bump_user(&user("alice"), None).await;
        let read = all_agree(&lab, &keys).await;
        assert_ne!(read[2].as_ref().expect("alice").epochs, alice.epochs, "a read has the epochs of now");
    }
    assert_eq!(lab.storage().read_many(&[], Consistency::Latest).await.unwrap(), []);
    Passed
}

/// Ended sessions stay readable until they are purged, however long ago they ended.
pub async fn ended_sessions_stay_readable(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    let lab = Fixture::new(storage);
    let revoked = lab.login(&user("alice")).await;
    let expired = lab.login(&user("alice")).await;
    lab.logout(&revoked).await;
    lab.tick(23 * 3_600_000);
    for snapshot in [&revoked, &expired] {
        assert!(!lab.state(snapshot).await.is_live());
    }
    assert_eq!(lab.stored(&user("alice")).await.len(), 2);
    assert!(lab.live_ids(&user("alice")).await.is_empty());
    Passed
}
