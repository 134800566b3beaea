//! The JWT backend: any text, any header, any payload, signed and unsigned. Nothing panics, nothing unsigned is accepted, and what is
//! remembered of a token says no more than checking it again.

#![no_main]

use std::sync::{Arc, LazyLock};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use futures_util::FutureExt;
use hmac::{Hmac, KeyInit, Mac};
use libfuzzer_sys::fuzz_target;
use serde_json::json;
use session_manager_backend_jwt::{JwtBackend, JwtKeyRing, SigningKey};
use session_manager_core::token::RotatingKeys;
use session_manager_core::{IssueContext, SessionBackend, TokenKind};
use session_manager_fuzz::{now, snapshot, tokens};
use sha2::Sha256;

const SECRET: &[u8; 32] = b"0123456789abcdef0123456789abcdef";

struct Set {
    backend: JwtBackend,
    forgetful: JwtBackend,
    good: String,
    header: String,
    payload: String,
}

static SET: LazyLock<Set> = LazyLock::new(|| {
    let ring = JwtKeyRing::new()
        .with(SigningKey::hs256(SECRET).unwrap())
        .and_then(|ring| ring.with(SigningKey::ed25519_from_seed(b"fedcba9876543210fedcba9876543210").unwrap()));
    let keys = Arc::new(RotatingKeys::new(ring.unwrap()));
    let build = |memo| {
        let builder = JwtBackend::with_keys(keys.clone(), tokens()).memo(memo);
        builder.issuer("https://login.example").audience("https://api.example").build().unwrap()
    };
    let backend = build(1000);
    let context = IssueContext::new(now(), now() + TimeDelta::minutes(5));
    let good = backend.issue(&snapshot(), &context).now_or_never().unwrap().unwrap().access.expose().to_owned();
    let parts: Vec<_> = good.split('.').map(str::to_owned).collect();
    Set { backend, forgetful: build(0), header: parts[0].clone(), payload: parts[1].clone(), good }
});

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn signed(header: &str, payload: &str) -> String {
    let message = format!("{header}.{payload}");
    let mac = Hmac::<Sha256>::new_from_slice(SECRET).unwrap().chain_update(&message).finalize();
    format!("{message}.{}", encode(&mac.into_bytes()))
}

fuzz_target!(|data: &[u8]| {
    let set = &*SET;
    let Some((mode, data)) = data.split_first() else { return };
    let (token, forged) = match mode % 6 {
        0 => (String::from_utf8_lossy(data).into_owned(), true),
        1 => (format!("{}.{}.{}", set.header, set.payload, encode(data)), true),
        2 => (format!("{}.{}.AAAA", encode(data), set.payload), true),
        3 => (signed(&encode(data), &set.payload), false),
        4 => (signed(&set.header, &encode(data)), false),
        _ => {
            // Claims that are nearly right: one of them is what the fuzzer made up.
            let mut claims = json!({
                "iss": "https://login.example", "aud": "https://api.example", "sub": "alice", "gen": 4,
                "sid": "00000000-0000-0000-0000-000000000007", "iat": now().timestamp(), "nbf": now().timestamp(),
                "exp": now().timestamp() + 300, "uep": [3, 1], "gep": [5, 2],
            });
            let names = ["iss", "aud", "sub", "sid", "gen", "iat", "nbf", "exp", "uep", "gep", "x"];
            let Some((name, value)) = data.split_first() else { return };
            claims[names[usize::from(*name) % names.len()]] = "HERE".into();
            let text = claims.to_string().replace("\"HERE\"", &String::from_utf8_lossy(value));
            (signed(&set.header, &encode(text.as_bytes())), false)
        }
    };
    let check = |backend: &JwtBackend| {
        let presented = backend.parse(TokenKind::Access, &token)?;
        backend.verify(&presented, None, now())
    };
    let first = check(&set.forgetful);
    assert_eq!(check(&set.backend), first, "{token}");
    assert_eq!(check(&set.backend), first, "remembered: {token}");
    match first {
        Ok(_) if forged => assert_eq!(token, set.good),
        Ok(verified) => {
            let claims = verified.claims.unwrap();
            assert_eq!(claims["iss"], "https://login.example");
            assert!(verified.expires_at.unwrap() > now());
            assert_eq!(verified.user_id.unwrap().as_str(), claims["sub"].as_str().unwrap());
        }
        Err(_) => {}
    }
    assert!(set.backend.parse(TokenKind::Refresh, &token).is_err() || token.starts_with("smr_"));
});
