//! Proofs of possession: nothing panics, and nobody who cannot sign proves anything.

#![no_main]

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use libfuzzer_sys::fuzz_target;
use session_manager_backend_jwt::DpopVerifier;
use session_manager_core::{PossessionVerifier, PresentedProof};
use session_manager_fuzz::now;

const TARGET: &str = "https://api.example/accounts";
/// RFC 7515, appendix A.3: a key that everybody knows, but nobody here signs with.
const JWK: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;

fuzz_target!(|data: &[u8]| {
    let verify = |text: String, target: &str, token: Option<&str>| {
        DpopVerifier::new().verify(&PresentedProof::new(text, "GET", target), token, now())
    };
    let text = String::from_utf8_lossy(data).into_owned();
    assert!(verify(text.clone(), TARGET, None).is_err());
    // In the right form: a made-up key, made-up claims, a made-up signature.
    let encode = |part: &[u8]| URL_SAFE_NO_PAD.encode(part);
    let (first, second) = data.split_at(data.len() / 2);
    let header = format!(r#"{{"typ":"dpop+jwt","alg":"ES256","jwk":{JWK}}}"#);
    let claims = format!(r#"{{"htm":"GET","htu":"{TARGET}","iat":{},"jti":"{}"}}"#, now().timestamp(), encode(first));
    for proof in [
        format!("{}.{}.{}", encode(first), encode(second), encode(data)),
        format!("{}.{}.{}", encode(header.as_bytes()), encode(data), encode(data)),
        format!("{}.{}.{}", encode(header.as_bytes()), encode(claims.as_bytes()), encode(data)),
        format!("{}.{}.{text}", encode(header.as_bytes()), encode(claims.as_bytes())),
    ] {
        assert!(verify(proof, &text, Some(&text)).is_err());
    }
});
