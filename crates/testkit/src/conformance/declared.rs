//! Checks of what a storage says of itself.

use std::sync::Arc;

use session_manager_core::storage::{Cursor, OnceKey, Query, RevokeTarget, SessionFilter};
use session_manager_core::{ErrorKind, SessionStorage};

use super::run::CheckOutcome::{self, Passed};
use crate::fixture::{Fixture, user};

/// An empty storage in good order has nothing to complain of that endangers a guarantee, and its capabilities stay the same.
pub async fn fresh_storage_is_sound(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    let lab = Fixture::new(storage);
    let before = lab.storage().capabilities();
    let health = lab.storage().check(lab.now()).await.unwrap();
    assert!(health.is_sound(), "{health:?}");
    lab.login(&user("alice")).await;
    assert_eq!(lab.storage().capabilities(), before);
    Passed
}

/// What is declared to be absent is refused as unsupported, never answered with less than was asked.
pub async fn absent_abilities_are_refused(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    let lab = Fixture::new(storage);
    lab.login(&user("alice")).await;
    let capabilities = lab.storage().capabilities();
    if !capabilities.list_all {
        let query = Query::everybody(lab.now());
        let errors = [lab.storage().list(&query).await.err(), lab.storage().count(&query).await.err()];
        for error in errors {
            assert_eq!(error.map(|error| error.kind()), Some(ErrorKind::Unsupported));
        }
    }
    if !capabilities.remember_once {
        let key = OnceKey::parse("a").expect("a key");
        let error = lab.storage().remember_once(&key, lab.now(), lab.now()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
    Passed
}

/// Neither a session's id, nor its seed, nor its user is in the `Debug` text of the storage.
pub async fn debug_text_holds_no_secret(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    let lab = Fixture::new(storage);
    let snapshot = lab.login(&user("alice-in-wonderland")).await;
    let text = format!("{:?} {:#?}", lab.storage(), lab.storage());
    let seed = serde_json::to_string(&snapshot.control.seed).unwrap();
    let listed = format!("{:?}", &snapshot.control.seed.as_bytes()[..4]);
    let id = snapshot.session.id.to_string();
    let simple = snapshot.session.id.as_uuid().simple().to_string();
    for secret in [seed.trim_matches('"'), listed.trim_matches(['[', ']']), &*id, &*simple, "alice-in-wonderland"] {
        assert!(!text.contains(secret), "the debug text of the storage holds what belongs to a session");
    }
    Passed
}

/// Errors name no session, user or cursor.
pub async fn errors_hold_no_secret(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    let lab = Fixture::new(storage);
    let snapshot = lab.login(&user("alice-in-wonderland")).await;
    let bad = Query::of(user("alice-in-wonderland"), lab.now()).after(Some(Cursor::from_text("not-a-cursor")));
    let error = lab.storage().list(&bad).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidCursor);
    let text = format!("{error} {error:?}");
    for secret in [&*snapshot.session.id.to_string(), "alice-in-wonderland", "not-a-cursor"] {
        assert!(!text.contains(secret), "an error holds what belongs to a session");
    }
    Passed
}

/// On a storage that nobody has used yet every question has an answer.
pub async fn empty_storage_answers(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    let lab = Fixture::new(storage);
    let alice = user("alice");
    assert!(lab.stored(&alice).await.is_empty());
    assert_eq!(lab.storage().count(&Query::of(alice.clone(), lab.now())).await.unwrap().value, 0);
    let targets = [
        RevokeTarget::User { user: alice.clone(), except: None },
        RevokeTarget::Matching { user: Some(alice.clone()), filter: SessionFilter::including_ended() },
        RevokeTarget::One { key: lab.session(&alice).record().session.key(), owner: Some(alice.clone()) },
    ];
    for target in targets {
        let revoked = lab.revoke(target).await;
        assert_eq!((revoked.sessions.len(), revoked.already_ended), (0, 0));
    }
    let epochs = lab.storage().epochs(Some(&alice)).await.unwrap();
    assert_eq!((epochs.user, epochs.global), (None, None), "revoking created no epoch");
    Passed
}
