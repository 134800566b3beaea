//! Each reason to refuse a token, and the matrix of tokens used as what they are not.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test")]

mod support;

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use session_manager_backend_jwt::{JwtBackend, JwtKeyRing, MAX_TOKEN_BYTES, VerifyingKey};
use session_manager_core::token::RotatingKeys;
use session_manager_core::{Presented, Rejection, SessionBackend, TokenKind};
use support::{
    AUDIENCE, EPOCH, Forger, ISSUER, SECRET, all_keys, backend, builder, check, check_at, claims, ed25519, encode,
    es256, header, hs256, issue, now, reference_tokens, rs256, snapshot, with,
};

const HS: Forger = Forger::Hs256(SECRET);

fn refused_header(header: &str, expected: Rejection) {
    let token = HS.sign(header, claims().to_string());
    // All of it is found without proving anything.
    assert_eq!(backend(hs256()).parse(TokenKind::Access, &token).unwrap_err(), expected, "{header}");
}

fn refused_claims(payload: &str, expected: Rejection) {
    let token = HS.sign(header(&hs256()).to_string(), payload);
    assert_eq!(check(&backend(hs256()), &token).unwrap_err(), expected, "{payload}");
}

fn check_claims(payload: &str) -> Result<(), Rejection> {
    check(&backend(hs256()), &HS.sign(header(&hs256()).to_string(), payload)).map(|_| ())
}

#[test]
fn the_forger_can_make_good_tokens() {
    assert_eq!(check_claims(&claims().to_string()), Ok(()));
    for (forger, key) in [(Forger::Ed25519, ed25519()), (Forger::Es256, es256()), (Forger::Rs256, rs256())] {
        let token = forger.sign(header(&key).to_string(), claims().to_string());
        assert!(check(&backend(key), &token).is_ok());
    }
}

#[test]
fn typ_says_access_token_or_it_is_another_kind() {
    for typ in ["at+jwt", "AT+JWT", "application/at+jwt", "Application/AT+jwt"] {
        let token = HS.sign(with(header(&hs256()), "typ", Some(typ.into())), claims().to_string());
        assert!(check(&backend(hs256()), &token).is_ok(), "{typ}");
    }
    let others = [
        Some(json!("JWT")),
        Some(json!("at+jwt ")),
        Some(json!("text/at+jwt")),
        Some(json!("dpop+jwt")),
        Some(json!(1)),
        None,
    ];
    for typ in others {
        refused_header(&with(header(&hs256()), "typ", typ), Rejection::WrongKind);
    }
}

#[test]
fn none_is_refused_in_every_spelling() {
    for alg in ["none", "None", "NONE", "nOnE"] {
        let header = with(header(&hs256()), "alg", Some(alg.into()));
        refused_header(&header, Rejection::WrongAlgorithm);
        for signature in ["", "AAAA"] {
            let token = format!("{}.{}.{signature}", encode(&header), encode(claims().to_string()));
            assert_eq!(check(&backend(hs256()), &token).unwrap_err(), Rejection::WrongAlgorithm);
        }
    }
    let unsigned = format!("{}.{}.", encode(header(&hs256()).to_string()), encode(claims().to_string()));
    assert_eq!(check(&backend(hs256()), &unsigned).unwrap_err(), Rejection::BadSignature);
}

#[test]
fn the_algorithm_is_exactly_that_of_the_key() {
    for alg in ["hs256", "Hs256", "HS256 ", "HS384", "HS512", "EdDSA", "RS256", "ES256", "Ed25519", ""] {
        refused_header(&with(header(&hs256()), "alg", Some(alg.into())), Rejection::WrongAlgorithm);
    }
    refused_header(&with(header(&hs256()), "alg", Some(json!(["HS256"]))), Rejection::Malformed);
    refused_header(&with(header(&hs256()), "alg", None), Rejection::Malformed);
}

/// Each key with each algorithm that its token may claim: one of them is right.
#[test]
fn a_key_is_used_with_its_own_algorithm_only() {
    let ring = all_keys().into_iter().try_fold(JwtKeyRing::new(), |ring, key| ring.with(key)).unwrap();
    let keys = Arc::new(RotatingKeys::new(ring));
    let backend = JwtBackend::with_keys(keys, reference_tokens()).issuer(ISSUER).audience(AUDIENCE).build().unwrap();
    let forgers = [Forger::Ed25519, HS, Forger::Es256, Forger::Rs256];
    for (signer, forger) in forgers.into_iter().enumerate() {
        for (named, key) in all_keys().iter().enumerate() {
            for (said, alg) in all_keys().iter().map(|key| key.verifying_key().algorithm().as_str()).enumerate() {
                let token = forger.sign(with(header(key), "alg", Some(alg.into())), claims().to_string());
                let expected = match (named == said, named == signer) {
                    (true, true) => None,
                    (true, false) => Some(Rejection::BadSignature),
                    (false, _) => Some(Rejection::WrongAlgorithm),
                };
                assert_eq!(check(&backend, &token).err(), expected, "signed by {signer}, kid of {named}, alg {alg}");
            }
        }
    }
}

/// The classic confusion: a public key, which everybody has, taken for an HMAC secret.
#[test]
fn a_public_key_is_no_secret() {
    let public = jsonwebtoken::DecodingKey::from_ed_der(&ed25519_public());
    let public: &'static [u8] = public.try_get_as_bytes().unwrap().to_vec().leak();
    let forger = Forger::Hs256(public);
    let kid = ed25519().verifying_key().kid().to_owned();
    let as_its_own = json!({ "typ": "at+jwt", "alg": "HS256", "kid": kid }).to_string();
    assert_eq!(
        check(&backend(ed25519()), &forger.sign(as_its_own, claims().to_string())).unwrap_err(),
        Rejection::WrongAlgorithm
    );
    let as_claimed = json!({ "typ": "at+jwt", "alg": "EdDSA", "kid": kid }).to_string();
    assert_eq!(
        check(&backend(ed25519()), &forger.sign(as_claimed, claims().to_string())).unwrap_err(),
        Rejection::BadSignature
    );
    let secret_kid = VerifyingKey::hs256(public).unwrap().kid().to_owned();
    let as_secret = json!({ "typ": "at+jwt", "alg": "HS256", "kid": secret_kid }).to_string();
    assert_eq!(
        check(&backend(ed25519()), &forger.sign(as_secret, claims().to_string())).unwrap_err(),
        Rejection::UnknownKey
    );
}

/// The same with RSA, in each form in which its public key goes round.
#[test]
fn an_rsa_public_key_is_no_secret() {
    let public = rs256().verifying_key().to_jwk().unwrap();
    let modulus: &'static [u8] = URL_SAFE_NO_PAD.decode(public["n"].as_str().unwrap()).unwrap().leak();
    let jwk: &'static [u8] = public.to_string().into_bytes().leak();
    for secret in [modulus, jwk] {
        for (alg, expected) in [("HS256", Rejection::WrongAlgorithm), ("RS256", Rejection::BadSignature)] {
            let header = with(header(&rs256()), "alg", Some(alg.into()));
            let token = Forger::Hs256(secret).sign(header, claims().to_string());
            assert_eq!(check(&backend(rs256()), &token).unwrap_err(), expected);
        }
    }
}

fn ed25519_public() -> [u8; 32] {
    let der =
        [&[0x30, 0x2E, 2, 1, 0, 0x30, 5, 6, 3, 0x2B, 0x65, 0x70, 4, 0x22, 4, 0x20][..], &support::SEED[..]].concat();
    let curve = jsonwebtoken::jwk::EllipticCurve::Ed25519;
    let public =
        (jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.key_utils.ed_pub_components_from_private_key)(&der, &curve)
            .unwrap();
    let public = <[u8; 32]>::try_from(public).unwrap();
    assert_eq!(VerifyingKey::ed25519(public).kid(), ed25519().verifying_key().kid());
    public
}

#[test]
fn only_keys_of_the_ring_are_used() {
    for kid in ["", "../../dev/null", "' OR 1=1 --", "AAAA", &ed25519().verifying_key().kid().to_lowercase()] {
        refused_header(&with(header(&hs256()), "kid", Some(kid.into())), Rejection::UnknownKey);
    }
    refused_header(&with(header(&hs256()), "kid", Some(json!(null))), Rejection::UnknownKey);
    refused_header(&with(header(&hs256()), "kid", None), Rejection::UnknownKey);
    // Both keys in one ring: neither signs for the other.
    let both = builder(ed25519()).accepting(hs256().verifying_key().clone()).build().unwrap();
    let token = HS.sign(header(&ed25519()).to_string(), claims().to_string());
    assert_eq!(check(&both, &token).unwrap_err(), Rejection::BadSignature);
}

#[test]
fn no_key_is_taken_from_a_token() {
    let values = [
        ("jku", json!("https://evil.example/jwks")),
        ("x5u", json!("https://evil.example/cert")),
        ("jwk", json!({ "kty": "oct", "k": encode(SECRET) })),
        ("x5c", json!(["MIIB"])),
    ];
    for (name, value) in values {
        refused_header(&with(header(&hs256()), name, Some(value)), Rejection::Malformed);
    }
}

#[test]
fn critical_extensions_are_refused_and_others_ignored() {
    for value in [json!(["exp"]), json!(["b64"]), json!([]), json!(null)] {
        refused_header(&with(header(&hs256()), "crit", Some(value)), Rejection::Malformed);
    }
    let token = HS.sign(with(header(&hs256()), "x-note", Some(json!({ "a": 1 }))), claims().to_string());
    assert!(check(&backend(hs256()), &token).is_ok());
}

#[test]
fn headers_that_are_no_object_or_name_something_twice_are_malformed() {
    let kid = hs256().verifying_key().kid().to_owned();
    let twice = format!(r#"{{"alg":"none","alg":"HS256","typ":"at+jwt","kid":"{kid}"}}"#);
    let escaped = format!(r#"{{"alg":"HS256","typ":"JWT","t\u0079p":"at+jwt","kid":"{kid}"}}"#);
    for header in [twice.as_str(), &escaped, "", "{}", "[]", "null", "{", "\u{feff}{}"] {
        refused_header(header, Rejection::Malformed);
    }
    let not_text = HS.sign([b'{', b'"', 0xC3, 0x28, b'"', b':', b'1', b'}'], claims().to_string());
    assert_eq!(check(&backend(hs256()), &not_text).unwrap_err(), Rejection::Malformed);
}

#[test]
fn payloads_that_are_no_object_or_name_something_twice_are_malformed() {
    let text = claims().to_string();
    let twice = text.replacen('{', r#"{"exp":1,"#, 1);
    let nested = with(claims(), "x", Some(json!("HERE"))).replace(r#""HERE""#, r#"{"a":1,"a":2}"#);
    for payload in [twice.as_str(), &nested, "", "[]", "null", &text[..text.len() - 1], &format!("{text}x")] {
        refused_claims(payload, Rejection::Malformed);
    }
}

#[test]
fn the_signature_is_proven_before_the_content_is_looked_at() {
    for payload in ["not json", &with(claims(), "exp", Some(json!(1))), &with(claims(), "iss", None)] {
        let token = Forger::Hs256(b"another secret of thirty-two bytes").sign(header(&hs256()).to_string(), payload);
        assert!(backend(hs256()).parse(TokenKind::Access, &token).is_ok());
        assert_eq!(check(&backend(hs256()), &token).unwrap_err(), Rejection::BadSignature);
    }
}

#[test]
fn the_issuer_is_exactly_ours() {
    for issuer in
        ["https://login.example/", "https://LOGIN.example", "http://login.example", "", "https://login.example\0"]
    {
        refused_claims(&with(claims(), "iss", Some(issuer.into())), Rejection::WrongIssuer);
    }
}

#[test]
fn the_audience_is_ours_alone_or_among_others() {
    for good in [json!([AUDIENCE]), json!(["https://other.example", AUDIENCE])] {
        assert_eq!(check_claims(&with(claims(), "aud", Some(good))), Ok(()));
    }
    let near = ["https://api.example/", "https://API.example", "https://api.example.evil", "api.example", "", "*"];
    for audience in near {
        refused_claims(&with(claims(), "aud", Some(audience.into())), Rejection::WrongAudience);
        refused_claims(&with(claims(), "aud", Some(json!([audience]))), Rejection::WrongAudience);
    }
    refused_claims(&with(claims(), "aud", Some(json!([]))), Rejection::WrongAudience);
    for wrong in
        [json!([AUDIENCE, 1]), json!([1, AUDIENCE]), json!({ "a": AUDIENCE }), json!(null), json!([[AUDIENCE]])]
    {
        refused_claims(&with(claims(), "aud", Some(wrong)), Rejection::MissingClaim);
    }
}

#[test]
fn required_claims_are_there_and_of_their_type() {
    for name in ["iss", "aud", "sub", "sid", "gen", "iat", "nbf", "exp", "uep", "gep"] {
        refused_claims(&with(claims(), name, None), Rejection::MissingClaim);
        for wrong in [json!(null), json!(true), json!({}), json!(-1), json!(1.5), json!([1, 2, 3])] {
            // A list of numbers is no audience either, and any other value no epoch.
            refused_claims(&with(claims(), name, Some(wrong)), Rejection::MissingClaim);
        }
    }
    for wrong in ["", "a\nb", &"x".repeat(129)] {
        refused_claims(&with(claims(), "sub", Some(wrong.into())), Rejection::MissingClaim);
    }
    for wrong in ["", "7", "00000000-0000-0000-0000-00000000000g"] {
        refused_claims(&with(claims(), "sid", Some(wrong.into())), Rejection::MissingClaim);
    }
    for wrong in [json!([1]), json!([-1, 1]), json!([1, 0x1_0000_0000_u64]), json!(["1", 1]), json!([1.0, 1])] {
        refused_claims(&with(claims(), "uep", Some(wrong.clone())), Rejection::MissingClaim);
        refused_claims(&with(claims(), "gep", Some(wrong)), Rejection::MissingClaim);
    }
}

#[test]
fn times_are_whole_seconds_that_exist() {
    let raw = |name: &str, text: &str| with(claims(), name, Some(json!("HERE"))).replace(r#""HERE""#, text);
    let wrong = [
        "1e3",
        "1767225600.0",
        "-0",
        "-5",
        "253402300800",
        "9223372036854775808",
        "18446744073709551616",
        "1e400",
        "\"1767226000\"",
    ];
    for name in ["exp", "nbf", "iat"] {
        for text in wrong {
            let refused = check_claims(&raw(name, text)).unwrap_err();
            // A number beyond all floats is no JSON that can be read.
            assert_eq!(
                refused,
                if text == "1e400" { Rejection::Malformed } else { Rejection::MissingClaim },
                "{name} {text}"
            );
        }
    }
    assert_eq!(check_claims(&raw("exp", "253402300799")), Ok(()));
}

#[test]
fn times_are_judged_at_the_callers_time_to_the_millisecond() {
    let backend = backend(hs256());
    let at = |millis: i64| DateTime::<Utc>::from_timestamp_millis(millis).unwrap();
    let token =
        |name: &str, value: i64| HS.sign(header(&hs256()).to_string(), with(claims(), name, Some(value.into())));
    let exp = token("exp", EPOCH + 300);
    let end = (EPOCH + 300) * 1000;
    let check = |token: &str, millis: i64| check_at(&backend, TokenKind::Access, token, at(millis)).map(|_| ());
    assert_eq!(check(&exp, end - 1), Ok(()));
    assert_eq!(check(&exp, end), Err(Rejection::Expired));
    assert_eq!(check(&exp, end + 1), Err(Rejection::Expired));
    for name in ["nbf", "iat"] {
        let early = token(name, EPOCH + 100);
        let from = (EPOCH + 70) * 1000;
        assert_eq!(check(&early, from - 1), Err(Rejection::NotYetValid), "{name}");
        assert_eq!(check(&early, from), Ok(()), "{name}");
    }
    // The ends of time neither panic nor wrap.
    assert_eq!(
        check_at(&backend, TokenKind::Access, &exp, DateTime::<Utc>::MIN_UTC).unwrap_err(),
        Rejection::NotYetValid
    );
    assert_eq!(check_at(&backend, TokenKind::Access, &exp, DateTime::<Utc>::MAX_UTC).unwrap_err(), Rejection::Expired);
}

#[test]
fn a_token_has_a_length_and_three_parts() {
    let backend = backend(hs256());
    let good = issue(&backend).access;
    let good = good.expose();
    let parse = |token: &str| backend.parse(TokenKind::Access, token).map(|_| ());
    assert_eq!(parse(&"a".repeat(MAX_TOKEN_BYTES + 1)), Err(Rejection::TooLong));
    assert_eq!(parse(&format!("{good}{}", "A".repeat(MAX_TOKEN_BYTES))), Err(Rejection::TooLong));
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (header, payload) = message.split_once('.').unwrap();
    let malformed = [
        String::new(),
        ".".into(),
        "..".into(),
        message.to_owned(),
        format!("{good}."),
        format!(".{good}"),
        format!("{header}..{payload}.{signature}"),
        format!("{good}.{signature}.{signature}"),
        format!("{header}=.{payload}.{signature}"),
        format!(" {good}"),
        format!("{{\"protected\":\"{header}\",\"payload\":\"{payload}\",\"signature\":\"{signature}\"}}"),
    ];
    for token in malformed {
        assert_eq!(parse(&token), Err(Rejection::Malformed), "{token}");
    }
}

#[test]
fn nothing_may_stand_around_a_token() {
    let backend = backend(hs256());
    let good = issue(&backend).access;
    let good = good.expose();
    assert!(check(&backend, good).is_ok());
    for tail in ["=", "==", "A", "AAAA", " ", "\n", "\t", "\0", "\u{a0}", "%20", ".", "é"] {
        assert!(check(&backend, &format!("{good}{tail}")).is_err(), "{tail:?} after");
        assert!(check(&backend, &format!("{tail}{good}")).is_err(), "{tail:?} before");
        for dot in [good.find('.').unwrap(), good.rfind('.').unwrap()] {
            let mut inside = good.to_owned();
            inside.insert_str(dot, tail);
            assert!(check(&backend, &inside).is_err(), "{tail:?} inside");
        }
    }
}

/// Every kind of token, presented as every kind.
#[test]
fn one_kind_is_never_another() {
    let backend = backend(ed25519());
    let pair = issue(&backend);
    let opaque = reference_tokens().mint(TokenKind::Access, &snapshot().session, &snapshot().control);
    let id_token = Forger::Ed25519.sign(with(header(&ed25519()), "typ", Some("JWT".into())), claims().to_string());
    let foreign = HS.sign(header(&hs256()).to_string(), claims().to_string());
    let cases: [(&str, &str, Option<Rejection>, Option<Rejection>); 6] = [
        ("access", pair.access.expose(), None, Some(Rejection::WrongKind)),
        ("refresh", pair.refresh.expose(), Some(Rejection::WrongKind), None),
        ("opaque access", opaque.expose(), Some(Rejection::Malformed), Some(Rejection::WrongKind)),
        ("id token", &id_token, Some(Rejection::WrongKind), Some(Rejection::TooLong)),
        ("foreign access", &foreign, Some(Rejection::UnknownKey), Some(Rejection::TooLong)),
        ("session id", "00000000-0000-0000-0000-000000000007", Some(Rejection::Malformed), Some(Rejection::Malformed)),
    ];
    for (name, token, as_access, as_refresh) in cases {
        assert_eq!(check_at(&backend, TokenKind::Access, token, now()).err(), as_access, "{name} as access");
        assert_eq!(check_at(&backend, TokenKind::Refresh, token, now()).err(), as_refresh, "{name} as refresh");
    }
}

/// A `Presented` made by hand gets no further than one made by `parse`.
#[test]
fn verifying_does_not_trust_parsing() {
    let backend = backend(ed25519());
    let pair = issue(&backend);
    let verify = |backend: &JwtBackend, presented: &Presented<'_>| {
        backend.verify(presented, Some(&snapshot().control), now()).err()
    };
    let mut presented = backend.parse(TokenKind::Refresh, pair.refresh.expose()).unwrap();
    presented.kind = TokenKind::Access;
    assert_eq!(verify(&backend, &presented), Some(Rejection::WrongKind));
    presented.reference = None;
    assert_eq!(verify(&backend, &presented), Some(Rejection::Malformed));
    let relabelled = Presented::self_contained(TokenKind::Refresh, pair.access.expose());
    assert_eq!(verify(&backend, &relabelled), Some(Rejection::WrongKind));
    let long = "a".repeat(MAX_TOKEN_BYTES + 1);
    assert_eq!(verify(&backend, &Presented::self_contained(TokenKind::Access, &long)), Some(Rejection::TooLong));
    let none = json!({ "alg": "none", "typ": "at+jwt" });
    let unsigned = format!("{}.{}.", encode(Value::to_string(&none)), encode(claims().to_string()));
    assert_eq!(
        verify(&backend, &Presented::self_contained(TokenKind::Access, &unsigned)),
        Some(Rejection::WrongAlgorithm)
    );
}
