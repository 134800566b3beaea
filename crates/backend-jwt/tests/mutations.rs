//! A token with anything changed is never accepted, and no text whatever makes the reader panic.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test")]

mod support;

use std::sync::LazyLock;

use proptest::prelude::*;
use session_manager_backend_jwt::{JwtBackend, SigningKey};
use session_manager_core::{Presented, SessionBackend, TokenKind};
use support::{
    Forger, SECRET, all_keys, backend, check, claims, ed25519, encode, es256, header, hs256, issue, now, rs256,
    snapshot,
};

const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// `token` with the byte at `index` replaced.
fn replaced(token: &str, index: usize, by: char) -> String {
    format!("{}{by}{}", &token[..index], &token[index + 1..])
}

#[test]
fn every_other_byte_in_every_place_is_found() {
    let backend = backend(hs256());
    let token = issue(&backend).access;
    let token = token.expose();
    assert!(check(&backend, token).is_ok());
    for (index, byte) in token.char_indices() {
        for other in ALPHABET.chars().chain("=+/. \n\u{e9}".chars()).filter(|other| *other != byte) {
            assert!(check(&backend, &replaced(token, index, other)).is_err(), "{other:?} for {byte:?} at {index}");
        }
    }
}

#[test]
fn every_flipped_byte_is_found_with_ed25519() {
    every_flipped_byte_is_found(ed25519());
}

#[test]
fn every_flipped_byte_is_found_with_es256() {
    every_flipped_byte_is_found(es256());
}

#[test]
fn every_flipped_byte_is_found_with_rs256() {
    every_flipped_byte_is_found(rs256());
}

fn every_flipped_byte_is_found(key: SigningKey) {
    let backend = backend(key);
    let token = issue(&backend).access;
    let token = token.expose();
    assert!(check(&backend, token).is_ok());
    for (index, byte) in token.char_indices() {
        // The neighbour in the alphabet differs in the lowest bit: the one that a lenient decoder drops at the end of a part.
        let place = ALPHABET.find(byte).map_or(0, |place| place ^ 1);
        for other in [ALPHABET.chars().nth(place).unwrap(), '.', 'é'].into_iter().filter(|other| *other != byte) {
            assert!(check(&backend, &replaced(token, index, other)).is_err(), "{other:?} for {byte:?} at {index}");
        }
    }
}

#[test]
fn every_truncation_is_found() {
    for key in all_keys() {
        let backend = backend(key);
        let token = issue(&backend).access;
        let token = token.expose();
        for cut in 0..token.len() {
            assert!(check(&backend, &token[..cut]).is_err(), "up to {cut}");
            assert!(cut == 0 || check(&backend, &token[cut..]).is_err(), "from {cut}");
        }
    }
}

static BACKENDS: LazyLock<[JwtBackend; 2]> = LazyLock::new(|| [backend(ed25519()), backend(hs256())]);
static TOKENS: LazyLock<[String; 2]> =
    LazyLock::new(|| BACKENDS.each_ref().map(|backend| issue(backend).access.expose().to_owned()));

/// Reads as either kind, through `parse` and past it.
fn accepted(text: &str) -> bool {
    let control = snapshot().control;
    BACKENDS.iter().any(|backend| {
        [TokenKind::Access, TokenKind::Refresh].into_iter().any(|kind| {
            let parsed =
                backend.parse(kind, text).and_then(|presented| backend.verify(&presented, Some(&control), now()));
            let unparsed = backend.verify(&Presented::self_contained(kind, text), None, now());
            parsed.is_ok() || unparsed.is_ok()
        })
    })
}

proptest! {
    #[test]
    fn any_text_is_refused(text in "\\PC{0,300}|[A-Za-z0-9_=-]{0,60}\\.[A-Za-z0-9_=-]{0,60}\\.[A-Za-z0-9_=-]{0,60}|(smr_|sms_|eyJ)\\PC{0,120}") {
        prop_assert!(!accepted(&text));
    }

    #[test]
    fn a_spliced_token_is_refused(which in 0_usize..2, from in 0_usize..600, length in 0_usize..40, by in "\\PC{0,20}|[A-Za-z0-9_.-]{0,20}") {
        let token = &TOKENS[which];
        prop_assert!(accepted(token));
        let from = from.min(token.len());
        let to = (from + length).min(token.len());
        let spliced = format!("{}{by}{}", &token[..from], &token[to..]);
        prop_assert!(spliced == *token || !accepted(&spliced));
    }

    #[test]
    fn any_header_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "\\{\"(alg|typ|kid|crit)\":\\PC{0,40}\\}") {
        for header in [bytes.as_slice(), text.as_bytes()] {
            let token = format!("{}.{}.AAAA", encode(header), encode(claims().to_string()));
            prop_assert!(!accepted(&token));
        }
    }

    /// The claims are read only after the signature is proven, so these are signed.
    #[test]
    fn any_signed_payload_is_read_or_refused(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        name in "iss|aud|sub|sid|gen|iat|nbf|exp|uep|gep",
        value in "-?[0-9]{1,30}(\\.[0-9]{1,5})?(e[0-9]{1,3})?|\"\\PC{0,20}\"|\\[\\PC{0,20}\\]|null|\\{\\}",
    ) {
        let sign = |payload: &[u8]| Forger::Hs256(SECRET).sign(header(&hs256()).to_string(), payload);
        prop_assert!(!accepted(&sign(&bytes)));
        let replaced = support::with(claims(), &name, Some("HERE".into())).replace("\"HERE\"", &value);
        // Some are good: another `gen`, a later `exp`. None may panic.
        let _ = accepted(&sign(replaced.as_bytes()));
    }
}
