//! The suite for token backends; most tests use [`backend_conformance!`](crate::backend_conformance).

#![allow(clippy::unused_async, reason = "a check is a future, also where it waits for nothing")]

use std::fmt::Write as _;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use session_manager_core::{
    Clock, Control, Epoch, Epochs, GlobalEpoch, IssueContext, ManualClock, Rejection, Result, SessionBackend,
    SessionKey, Snapshot, Stamp, TokenKind, TokenPair, Verified,
};

use super::concurrency::at_once;
use super::kit::{HOSTILE, assert_silent};
use crate::fixture::{SequenceRandom, user};
use crate::session::SessionBuilder;

/// A text that a backend must refuse for its length alone.
const FAR_TOO_LONG: usize = 64 * 1024;

const KINDS: [TokenKind; 2] = [TokenKind::Access, TokenKind::Refresh];

/// A quarter of a second into 2026, so that cutting to whole seconds is seen.
fn now() -> DateTime<Utc> {
    ManualClock::default().now() + TimeDelta::milliseconds(250)
}

fn context() -> IssueContext {
    IssueContext::new(now(), now() + TimeDelta::milliseconds(300_700))
}

/// The session of this number, at its fourth generation.
fn snapshot(number: u32) -> Snapshot {
    let random = SequenceRandom::default();
    for _ in 0..number {
        random.next();
    }
    let mut record = SessionBuilder::new(&user("alice"), now(), &random).record();
    let user = Epoch { incarnation: u64::MAX - 5, version: 3 };
    let global = Epoch { incarnation: 1 << 40, version: 5 };
    record.control.stamped = Some(Stamp { user, global });
    (record.control.generation, record.control.version) = (4, 4);
    Snapshot::new(record, Epochs::new(Some(user), Some(GlobalEpoch::new(global))))
}

async fn issue(backend: &dyn SessionBackend, snapshot: &Snapshot) -> TokenPair {
    backend.issue(snapshot, &context()).await.expect("the backend issues")
}

/// Parses and verifies, as the manager does.
fn check(
    backend: &dyn SessionBackend,
    kind: TokenKind,
    text: &str,
    control: Option<&Control>,
    now: DateTime<Utc>,
) -> Result<Verified, Rejection> {
    backend.verify(&backend.parse(kind, text)?, control, now)
}

fn token_of(pair: &TokenPair, kind: TokenKind) -> &str {
    if kind == TokenKind::Access { pair.access.expose() } else { pair.refresh.expose() }
}

/// Whether a token of this kind proves itself.
fn alone(backend: &dyn SessionBackend, kind: TokenKind) -> bool {
    kind == TokenKind::Access && backend.capabilities().self_contained
}

/// What is issued parses and is proven, and says the session, user, generation, epochs and expiry that it was issued with.
pub async fn issued_tokens_are_proven(backend: Arc<dyn SessionBackend>) {
    let snapshot = snapshot(0);
    let pair = issue(&*backend, &snapshot).await;
    assert_eq!((pair.issued_at, pair.refresh_expires_at), (now(), snapshot.session.expires_at));
    assert!(pair.access_expires_at <= context().access_expires_at, "never later than asked for");
    for kind in KINDS {
        let text = token_of(&pair, kind);
        let presented = backend.parse(kind, text).expect("it parses");
        assert_eq!((presented.kind, presented.raw), (kind, text));
        let verified = backend.verify(&presented, Some(&snapshot.control), now()).expect("it is proven");
        assert_eq!((verified.key.id, verified.generation), (snapshot.session.id, 4), "{kind:?}");
        assert!(presented.key().is_none_or(|key| key.id == snapshot.session.id));
        assert!(alone(&*backend, kind) || presented.key().is_some(), "{kind:?}: nobody knows which session to read");
        assert!(verified.user_id.is_none_or(|user| user == snapshot.session.user_id));
        assert!(verified.expires_at.is_none_or(|at| at == pair.access_expires_at));
        if let (Some(claimed), Some(stamp)) = (verified.epochs, snapshot.control.stamped) {
            assert_eq!((claimed.user, claimed.global), (stamp.user.into(), stamp.global.into()));
        }
    }
}

/// A token is proven without its session exactly where the backend says so, and never a refresh token.
pub async fn proof_needs_what_is_declared(backend: Arc<dyn SessionBackend>) {
    let (snapshot, other) = (snapshot(0), snapshot(1));
    let pair = issue(&*backend, &snapshot).await;
    for kind in KINDS {
        let alone = alone(&*backend, kind);
        let text = token_of(&pair, kind);
        assert_eq!(check(&*backend, kind, text, None, now()).is_ok(), alone, "{kind:?} without its session");
        let by_other = check(&*backend, kind, text, Some(&other.control), now());
        assert_eq!(by_other.is_ok(), alone, "{kind:?} by another session's seed");
    }
    assert_eq!(backend.capabilities(), backend.capabilities());
}

/// A token of one kind is refused as the other, as such, also past `parse` and whatever it is proven with.
pub async fn one_kind_is_never_the_other(backend: Arc<dyn SessionBackend>) {
    let snapshot = snapshot(0);
    let pair = issue(&*backend, &snapshot).await;
    for kind in KINDS {
        for presented_as in KINDS {
            let text = token_of(&pair, kind);
            let outcome = check(&*backend, presented_as, text, Some(&snapshot.control), now());
            if kind == presented_as {
                assert!(outcome.is_ok(), "{kind:?}: {outcome:?}");
                continue;
            }
            assert_eq!(outcome.unwrap_err(), Rejection::WrongKind, "{kind:?} presented as {presented_as:?}");
            let mut relabelled = backend.parse(kind, text).expect("it parses");
            relabelled.kind = presented_as;
            for control in [None, Some(&snapshot.control)] {
                let outcome = backend.verify(&relabelled, control, now());
                assert!(outcome.is_err(), "{kind:?} relabelled as {presented_as:?} was proven");
            }
        }
    }
}

/// A token with any byte changed, missing or added is refused, or leads to no session of that user; also where one bit differs.
pub async fn every_changed_byte_is_refused(backend: Arc<dyn SessionBackend>) {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let snapshot = snapshot(0);
    let pair = issue(&*backend, &snapshot).await;
    for kind in KINDS {
        let text = token_of(&pair, kind);
        let refused = |changed: &str, what: &str| {
            let outcome = check(&*backend, kind, changed, Some(&snapshot.control), now());
            // A reference token's locator is a hint outside the MAC: the manager compares it with the session's user.
            let misled = |key: SessionKey| key.locator.is_some() && key.locator != snapshot.key().locator;
            assert!(!outcome.is_ok_and(|proven| !misled(proven.key)), "{kind:?} was proven {what}");
        };
        assert!(text.is_ascii(), "a token fits in a header");
        for (index, byte) in text.char_indices() {
            let place = ALPHABET.find(byte).unwrap_or(0);
            let others = [place ^ 1, place ^ 32].map(|place| ALPHABET.chars().nth(place).unwrap_or('A'));
            for other in others.into_iter().chain(['.', '=', 'é']).filter(|other| *other != byte) {
                let changed = format!("{}{other}{}", &text[..index], &text[index + 1..]);
                refused(&changed, &format!("with {other:?} for {byte:?} at {index}"));
            }
            refused(&text[..index], &format!("up to {index}"));
            refused(&format!("{}{}", &text[..index], &text[index + 1..]), &format!("without {index}"));
        }
        for added in ["A", "=", ".", " ", "\n", "\0"] {
            refused(&format!("{text}{added}"), "with something added");
            refused(&format!("{added}{text}"), "with something before it");
        }
    }
}

/// The refresh token of one generation is the same whenever it is issued; another generation or session has another.
pub async fn refresh_token_of_a_generation_is_the_same(backend: Arc<dyn SessionBackend>) {
    let first = snapshot(0);
    let token = issue(&*backend, &first).await.refresh;
    let later = IssueContext::new(now() + TimeDelta::minutes(7), now() + TimeDelta::minutes(9));
    let again = backend.issue(&first, &later).await.expect("the backend issues").refresh;
    assert_eq!(again.expose(), token.expose());
    let mut next = first.clone();
    next.control.advance_to(5, now());
    let successor = issue(&*backend, &next).await.refresh;
    assert_ne!(successor.expose(), token.expose(), "another generation");
    let verified = check(&*backend, TokenKind::Refresh, successor.expose(), Some(&next.control), now());
    assert_eq!(verified.expect("it is proven").generation, 5);
    assert_ne!(issue(&*backend, &snapshot(1)).await.refresh.expose(), token.expose(), "another session");
    // An old token is genuine: what it is worth is the storage's to say.
    let old = check(&*backend, TokenKind::Refresh, token.expose(), Some(&next.control), now());
    assert_eq!(old.expect("it is proven").generation, 4);
}

/// An access token that proves itself is good until one millisecond before the expiry that the client is told, and expired at it.
pub async fn expiry_is_exact(backend: Arc<dyn SessionBackend>) {
    let snapshot = snapshot(0);
    let pair = issue(&*backend, &snapshot).await;
    let at = |time| check(&*backend, TokenKind::Access, pair.access.expose(), Some(&snapshot.control), time);
    let end = pair.access_expires_at;
    assert!(
        end > now() && end <= context().access_expires_at && context().access_expires_at - end < TimeDelta::seconds(1)
    );
    assert!(at(now()).is_ok() && at(end - TimeDelta::milliseconds(1)).is_ok(), "before its expiry");
    if backend.capabilities().self_contained {
        for time in [end, end + TimeDelta::milliseconds(1), end + TimeDelta::days(1)] {
            assert_eq!(at(time).unwrap_err(), Rejection::Expired, "at {time}");
        }
    }
    // A refresh token ends with its session, which the storage knows.
    let late = snapshot.session.expires_at - TimeDelta::milliseconds(1);
    assert!(check(&*backend, TokenKind::Refresh, pair.refresh.expose(), Some(&snapshot.control), late).is_ok());
}

/// What is longer than any token is refused as such, before anything else is done with it.
pub async fn long_text_is_refused_as_such(backend: Arc<dyn SessionBackend>) {
    let pair = issue(&*backend, &snapshot(0)).await;
    for kind in KINDS {
        let text = token_of(&pair, kind);
        assert!(text.len() <= FAR_TOO_LONG / 8, "a token of {} bytes fits in no header", text.len());
        for padding in ["A", ".", "é"] {
            let long = format!("{text}{}", padding.repeat(FAR_TOO_LONG));
            assert_eq!(backend.parse(kind, &long).unwrap_err(), Rejection::TooLong, "{kind:?} and many {padding:?}");
        }
    }
}

/// No text whatever is taken for a token, and none makes the reader panic.
pub async fn hostile_text_is_refused(backend: Arc<dyn SessionBackend>) {
    let snapshot = snapshot(0);
    let more = ["...", "a.b.c", "Bearer x", "null", "e30.e30.", "é.é.é", "sms_", "smr_", "sms_AAAA", "smr_AAAA"];
    for text in HOSTILE.into_iter().chain(more) {
        for kind in KINDS {
            for control in [None, Some(&snapshot.control)] {
                assert!(check(&*backend, kind, text, control, now()).is_err(), "{text:?}");
            }
        }
    }
}

/// Many sessions' tokens issued at once are each its own session's.
pub async fn concurrent_issues_are_told_apart(backend: Arc<dyn SessionBackend>) {
    let pairs = at_once(32, |number| {
        let (backend, snapshot) = (Arc::clone(&backend), snapshot(u32::try_from(number % 4).expect("a number")));
        async move { (issue(&*backend, &snapshot).await, snapshot) }
    })
    .await;
    for (pair, snapshot) in pairs {
        for kind in KINDS {
            let verified = check(&*backend, kind, token_of(&pair, kind), Some(&snapshot.control), now());
            assert_eq!(verified.expect("it is proven").key.id, snapshot.session.id);
        }
        assert_eq!(issue(&*backend, &snapshot).await.refresh.expose(), pair.refresh.expose());
    }
}

/// No `Debug` text, of the backend, a pair or a token as read, holds a token, or a part of one.
pub async fn debug_text_holds_no_token(backend: Arc<dyn SessionBackend>) {
    let snapshot = snapshot(0);
    let pair = issue(&*backend, &snapshot).await;
    let mut debug = format!("{backend:?} {pair:?}");
    for kind in KINDS {
        let presented = backend.parse(kind, token_of(&pair, kind)).expect("it parses");
        let _ = write!(debug, "{presented:?} {presented:#?}");
    }
    for kind in KINDS {
        let text = token_of(&pair, kind);
        // The end is the signature: whoever has it and the claims has the token.
        assert_silent(&debug, &[text, &text[text.len() - 20..]]);
    }
    assert_silent(&debug, &[&format!("{:?}", snapshot.control.seed.as_bytes())]);
}

/// Generates a module of tests, one for each check of the suite for token backends.
///
/// The second argument makes a future of a backend. All calls are made with the same instant in January 2026.
///
/// ```
/// use session_manager_testkit::{ReferenceBackend, backend_conformance};
///
/// backend_conformance!(value, async || ReferenceBackend::default());
/// ```
#[macro_export]
macro_rules! backend_conformance {
    ($module:ident, $factory:expr $(,)?) => {
        mod $module {
            #[allow(unused_imports, reason = "the factory may need nothing from around it")]
            use super::*;

            $crate::backend_conformance!(@tests $factory,
                issued_tokens_are_proven
                proof_needs_what_is_declared
                one_kind_is_never_the_other
                every_changed_byte_is_refused
                refresh_token_of_a_generation_is_the_same
                expiry_is_exact
                long_text_is_refused_as_such
                hostile_text_is_refused
                concurrent_issues_are_told_apart
                debug_text_holds_no_token
            );
        }
    };
    (@tests $factory:expr, $($check:ident)*) => {
        $(#[test]
        fn $check() {
            $crate::conformance::run_kit($factory, async |backend| {
                $crate::conformance::backend::$check(::std::sync::Arc::new(backend)).await;
            });
        })*
    };
}
