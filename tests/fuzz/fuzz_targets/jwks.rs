//! Key sets, keys and PEM: nothing panics, and a set that was read goes out and comes back the same, without a secret.

#![no_main]

use libfuzzer_sys::fuzz_target;
use session_manager_backend_jwt::{JwtKeyRing, SigningKey, VerifyingKey};
use session_manager_fuzz::now;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let _ = VerifyingKey::from_pem(&text);
    let _ = SigningKey::from_pem(&text);
    let _ = SigningKey::from_jwk(&text);
    let _ = VerifyingKey::from_jwk(&text);
    let set = format!("{{\"keys\":[{text}]}}");
    for text in [&*text, &set] {
        for ring in [JwtKeyRing::from_jwks(text), JwtKeyRing::from_private_jwks(text)].into_iter().flatten() {
            let published = ring.jwks(now());
            let again = JwtKeyRing::from_jwks(&published.to_string()).unwrap();
            assert_eq!(again.jwks(now()), published);
        }
    }
});
