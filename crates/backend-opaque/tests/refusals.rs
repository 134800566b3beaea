//! What is refused: forged and changed tokens, tokens used as what they are not, and every other text.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test")]

mod support;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use session_manager_core::{Presented, Rejection, SessionBackend, TokenKind};
use support::{backend, check, issue, now, snapshot, tokens, try_issue};

const KINDS: [TokenKind; 2] = [TokenKind::Access, TokenKind::Refresh];
const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// Where the hint that finds the user is. The MAC is not over it: the manager compares it with the session's user.
const HINT: std::ops::Range<usize> = 29..37;

fn text(kind: TokenKind) -> String {
    let pair = issue(&backend());
    if kind == TokenKind::Access { pair.access } else { pair.refresh }.expose().to_owned()
}

fn body(token: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(&token[4..]).unwrap()
}

fn with_body(token: &str, body: &[u8]) -> String {
    format!("{}{}", &token[..4], URL_SAFE_NO_PAD.encode(body))
}

/// Whether it is taken for the good token: a wrong hint leads to no session.
fn accepted(kind: TokenKind, token: &str) -> bool {
    check(kind, token).is_ok_and(|verified| verified.key == snapshot().session.key())
}

#[test]
fn a_forged_token_is_refused() {
    for kind in KINDS {
        let good = text(kind);
        let mut forged = body(&good);
        forged[37..].fill(0);
        assert_eq!(check(kind, &with_body(&good, &forged)).unwrap_err(), Rejection::BadSignature);
        let made = tokens(2).mint(kind, &snapshot().session, &snapshot().control);
        assert_eq!(check(kind, made.expose()).unwrap_err(), Rejection::UnknownKey);
        // The right name of a key does not make another key's MAC right.
        let mut relabelled = body(made.expose());
        relabelled[1..5].copy_from_slice(&body(&good)[1..5]);
        assert_eq!(check(kind, &with_body(&good, &relabelled)).unwrap_err(), Rejection::BadSignature);
    }
}

#[test]
fn every_other_byte_in_every_place_is_found() {
    for kind in KINDS {
        let good = text(kind);
        assert!(accepted(kind, &good));
        for (index, byte) in good.char_indices() {
            for other in ALPHABET.chars().chain("=+/. \n\u{e9}".chars()).filter(|other| *other != byte) {
                let changed = format!("{}{other}{}", &good[..index], &good[index + 1..]);
                assert!(!accepted(kind, &changed), "{other:?} for {byte:?} at {index}");
            }
        }
    }
}

#[test]
fn every_flipped_bit_is_found() {
    for kind in KINDS {
        let good = text(kind);
        for bit in 0..body(&good).len() * 8 {
            let mut flipped = body(&good);
            flipped[bit / 8] ^= 1 << (bit % 8);
            let flipped = with_body(&good, &flipped);
            assert!(!accepted(kind, &flipped), "bit {bit}");
            assert_eq!(check(kind, &flipped).is_ok(), HINT.contains(&(bit / 8)), "bit {bit}");
        }
    }
}

#[test]
fn every_truncation_and_addition_is_found() {
    for kind in KINDS {
        let good = text(kind);
        for cut in 0..good.len() {
            assert!(check(kind, &good[..cut]).is_err(), "up to {cut}");
            assert!(cut == 0 || check(kind, &good[cut..]).is_err(), "from {cut}");
        }
        for tail in ["=", "==", "A", "AAAA", " ", "\n", "\0", "%20", "é"] {
            assert!(check(kind, &format!("{good}{tail}")).is_err(), "{tail:?} after");
            assert!(check(kind, &format!("{tail}{good}")).is_err(), "{tail:?} before");
        }
    }
}

/// Every kind of token, presented as every kind.
#[test]
fn one_kind_is_never_another() {
    let (access, refresh) = (text(TokenKind::Access), text(TokenKind::Refresh));
    let jwt = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSJ9.";
    let cases: [(&str, &str, Option<Rejection>, Option<Rejection>); 6] = [
        ("access", &access, None, Some(Rejection::WrongKind)),
        ("refresh", &refresh, Some(Rejection::WrongKind), None),
        (
            "relabelled access",
            &access.replace("sms_", "smr_"),
            Some(Rejection::WrongKind),
            Some(Rejection::BadSignature),
        ),
        (
            "relabelled refresh",
            &refresh.replace("smr_", "sms_"),
            Some(Rejection::BadSignature),
            Some(Rejection::WrongKind),
        ),
        ("jwt", jwt, Some(Rejection::Malformed), Some(Rejection::Malformed)),
        ("session id", "00000000-0000-0000-0000-000000000007", Some(Rejection::Malformed), Some(Rejection::Malformed)),
    ];
    for (name, token, as_access, as_refresh) in cases {
        assert_eq!(check(TokenKind::Access, token).err(), as_access, "{name} as access");
        assert_eq!(check(TokenKind::Refresh, token).err(), as_refresh, "{name} as refresh");
    }
}

#[test]
fn form_length_and_key_are_judged_without_the_session() {
    let backend = backend();
    let foreign = tokens(2).mint(TokenKind::Access, &snapshot().session, &snapshot().control);
    let mut newer = body(&text(TokenKind::Access));
    newer[0] = 2;
    let cases = [
        ("a".repeat(1_000_000), Rejection::TooLong),
        (format!("sms_{}", "A".repeat(106)), Rejection::TooLong),
        (format!("sms_{}", "A".repeat(105)), Rejection::Malformed),
        ("sms_".to_owned(), Rejection::Malformed),
        ("SMS_AAAA".to_owned(), Rejection::Malformed),
        (with_body("sms_", &newer), Rejection::Malformed),
        (foreign.expose().to_owned(), Rejection::UnknownKey),
    ];
    for (token, expected) in cases {
        assert_eq!(backend.parse(TokenKind::Access, &token).unwrap_err(), expected, "{token:.100}");
    }
}

/// A `Presented` made by hand gets no further than one made by `parse`.
#[test]
fn verifying_does_not_trust_parsing() {
    let backend = backend();
    let (access, refresh) = (text(TokenKind::Access), text(TokenKind::Refresh));
    let control = snapshot().control;
    let mut relabelled = backend.parse(TokenKind::Refresh, &refresh).unwrap();
    relabelled.kind = TokenKind::Access;
    assert_eq!(backend.verify(&relabelled, Some(&control), now()).unwrap_err(), Rejection::WrongKind);
    let bare = Presented::self_contained(TokenKind::Access, &access);
    assert_eq!(backend.verify(&bare, Some(&control), now()).unwrap_err(), Rejection::Malformed);
}

proptest! {
    #[test]
    fn any_text_is_refused(text in "\\PC{0,300}|(smr_|sms_)?[A-Za-z0-9_=-]{0,120}|(smr_|sms_)[A-Za-z0-9_-]{92}") {
        for kind in KINDS {
            prop_assert!(!accepted(kind, &text));
        }
    }

    #[test]
    fn any_bytes_after_a_good_prefix_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        for (kind, prefix) in [(TokenKind::Access, "sms_"), (TokenKind::Refresh, "smr_")] {
            prop_assert!(!accepted(kind, &with_body(prefix, &bytes)));
        }
    }

    #[test]
    fn a_spliced_token_is_refused(access in any::<bool>(), from in 0_usize..97, length in 0_usize..40, by in "[A-Za-z0-9_-]{0,20}") {
        let kind = if access { TokenKind::Access } else { TokenKind::Refresh };
        let good = text(kind);
        let from = from.min(good.len());
        let to = (from + length).min(good.len());
        let spliced = format!("{}{by}{}", &good[..from], &good[to..]);
        prop_assert!(spliced == good || !accepted(kind, &spliced));
    }

    /// A token is the same text for the same state, and never the same for another generation.
    #[test]
    fn tokens_follow_the_state(one in any::<u64>(), other in any::<u64>()) {
        let mint = |generation| {
            let snapshot = support::of_generation(generation);
            try_issue(&backend(), &snapshot, &support::context()).unwrap()
        };
        prop_assert_eq!(mint(one) == mint(other), one == other);
        prop_assert!(mint(one).access.expose()[4..] != mint(one).refresh.expose()[4..]);
    }
}
