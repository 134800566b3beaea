//! The keys of access tokens: each pinned to one algorithm and named by a `kid` that follows from the key itself.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
// The provider is named, never asked for by the library's process-wide default: that one panics as soon as another crate of the
// application switches on the library's other provider.
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::jwk::EllipticCurve;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use serde_json::json;
use session_manager_core::{Error, ErrorKind, Rejection, Result};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// The least number of bytes of an HS256 secret (RFC 7518 §3.2).
const MIN_SECRET_BYTES: usize = 32;

/// What a key is used with, and with nothing else (RFC 8725 §3.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum KeyAlgorithm {
    /// Ed25519 (RFC 8037): whoever verifies cannot sign.
    EdDsa,
    /// HMAC-SHA-256: for one service that both signs and verifies.
    Hs256,
}

impl KeyAlgorithm {
    /// The value of the `alg` header.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Hs256 => "HS256",
        }
    }

    const fn library(self) -> Algorithm {
        match self {
            Self::EdDsa => Algorithm::EdDSA,
            Self::Hs256 => Algorithm::HS256,
        }
    }
}

/// A key that access tokens are signed with.
///
/// # Security
/// `Debug` shows the name and the algorithm only. The secret is overwritten on drop.
#[derive(Clone)]
pub struct SigningKey {
    encoding: EncodingKey,
    verifying: VerifyingKey,
}

impl SigningKey {
    /// An Ed25519 key from PKCS#8 in PEM, as `openssl genpkey -algorithm ed25519` writes it.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`] when it is none.
    pub fn ed25519_from_pem(pem: &str) -> Result<Self> {
        Self::ed25519(EncodingKey::from_ed_pem(pem.as_bytes()).map_err(|_| not_ed25519())?)
    }

    /// An Ed25519 key from PKCS#8 in DER.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`] when it is none.
    pub fn ed25519_from_pkcs8(der: &[u8]) -> Result<Self> {
        Self::ed25519(EncodingKey::from_ed_der(der))
    }

    /// An Ed25519 key from its 32 random bytes (RFC 8032 §5.1.5).
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`] when the bytes are one repeated byte.
    pub fn ed25519_from_seed(seed: &[u8; 32]) -> Result<Self> {
        /// PKCS#8 (RFC 8410 §7) up to the seed.
        const PREFIX: [u8; 16] =
            [0x30, 0x2E, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2B, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
        refuse_repeated(seed)?;
        let mut der = Zeroizing::new(Vec::with_capacity(PREFIX.len() + seed.len()));
        der.extend_from_slice(&PREFIX);
        der.extend_from_slice(seed);
        Self::ed25519_from_pkcs8(&der)
    }

    /// An HS256 key from a secret of at least 32 random bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`] for a shorter secret, or one that is a single repeated byte.
    pub fn hs256(secret: &[u8]) -> Result<Self> {
        let verifying = VerifyingKey::hs256(secret)?;
        Ok(Self { encoding: EncodingKey::from_secret(secret), verifying })
    }

    /// What its tokens are verified with.
    pub const fn verifying_key(&self) -> &VerifyingKey {
        &self.verifying
    }

    fn ed25519(encoding: EncodingKey) -> Result<Self> {
        let public = (DEFAULT_PROVIDER.key_utils.ed_pub_components_from_private_key)(
            encoding.as_bytes(),
            &EllipticCurve::Ed25519,
        )
        .map_err(|_| not_ed25519())?;
        let public = <[u8; 32]>::try_from(public).map_err(|_| not_ed25519())?;
        Ok(Self { encoding, verifying: VerifyingKey::ed25519(public) })
    }

    /// The encoded header of every token of this key.
    pub(crate) fn header(&self) -> &str {
        &self.verifying.header
    }

    /// The encoded signature of `message`.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<String> {
        let broken = || Error::new(ErrorKind::Internal, "sign token");
        let signer = (DEFAULT_PROVIDER.signer_factory)(&self.verifying.algorithm.library(), &self.encoding)
            .map_err(|source| broken().with_source(source))?;
        signer
            .try_sign(message)
            .map(|signature| URL_SAFE_NO_PAD.encode(signature))
            .map_err(|source| broken().with_source(source))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        named(f, "SigningKey", &self.verifying)
    }
}

/// A key that access tokens are verified with.
///
/// # Security
/// `Debug` shows the name and the algorithm only. The key is overwritten on drop.
#[derive(Clone)]
pub struct VerifyingKey {
    algorithm: KeyAlgorithm,
    kid: String,
    header: String,
    decoding: DecodingKey,
}

impl VerifyingKey {
    /// An Ed25519 public key in PEM (`SubjectPublicKeyInfo`).
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`] when it is none.
    pub fn ed25519_from_pem(pem: &str) -> Result<Self> {
        let key = DecodingKey::from_ed_pem(pem.as_bytes()).map_err(|_| not_ed25519())?;
        let public = key.try_get_as_bytes().ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        public.map(Self::ed25519).ok_or_else(not_ed25519)
    }

    /// An Ed25519 public key. Its `kid` is the thumbprint of RFC 7638 and RFC 8037 §2.
    pub fn ed25519(public: [u8; 32]) -> Self {
        let x = URL_SAFE_NO_PAD.encode(public);
        let thumbprint = Sha256::digest(format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#));
        Self::new(KeyAlgorithm::EdDsa, URL_SAFE_NO_PAD.encode(thumbprint), DecodingKey::from_ed_der(&public))
    }

    /// An HS256 secret of at least 32 random bytes. Its `kid` is the first 12 bytes of SHA-256(`"sm-jwt-kid/1"` ‖ secret).
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`] for a shorter secret, or one that is a single repeated byte.
    pub fn hs256(secret: &[u8]) -> Result<Self> {
        if secret.len() < MIN_SECRET_BYTES {
            return Err(misconfigured("an HS256 secret has at least 32 bytes"));
        }
        refuse_repeated(secret)?;
        let digest = Sha256::new().chain_update(b"sm-jwt-kid/1").chain_update(secret).finalize();
        let name: Vec<u8> = digest.into_iter().take(12).collect();
        Ok(Self::new(KeyAlgorithm::Hs256, URL_SAFE_NO_PAD.encode(name), DecodingKey::from_secret(secret)))
    }

    fn new(algorithm: KeyAlgorithm, kid: String, decoding: DecodingKey) -> Self {
        let header = json!({ "alg": algorithm.as_str(), "kid": kid, "typ": "at+jwt" }).to_string();
        Self { algorithm, kid, header: URL_SAFE_NO_PAD.encode(header), decoding }
    }

    /// Its name in the `kid` header.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// What it is used with.
    pub const fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    /// Proves an encoded signature of `message`.
    pub(crate) fn verify(&self, message: &[u8], signature: &str) -> Result<(), Rejection> {
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Rejection::Malformed)?;
        let verifier = (DEFAULT_PROVIDER.verifier_factory)(&self.algorithm.library(), &self.decoding)
            .map_err(|_| Rejection::BadSignature)?;
        verifier.verify(message, &signature).map_err(|_| Rejection::BadSignature)
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        named(f, "VerifyingKey", self)
    }
}

/// The keys whose tokens are accepted. A handful: looking at each is faster than hashing a name.
#[derive(Clone, Debug)]
pub(crate) struct VerifyingKeys(Vec<VerifyingKey>);

impl VerifyingKeys {
    pub(crate) const fn new(keys: Vec<VerifyingKey>) -> Self {
        Self(keys)
    }

    /// The key whose own tokens have exactly this encoded header.
    pub(crate) fn by_header(&self, header: &str) -> Option<&VerifyingKey> {
        self.0.iter().find(|key| key.header == header)
    }

    pub(crate) fn by_kid(&self, kid: &str) -> Option<&VerifyingKey> {
        self.0.iter().find(|key| key.kid == kid)
    }
}

fn named(f: &mut fmt::Formatter<'_>, name: &str, key: &VerifyingKey) -> fmt::Result {
    f.debug_struct(name).field("kid", &key.kid).field("algorithm", &key.algorithm).finish_non_exhaustive()
}

fn refuse_repeated(secret: &[u8]) -> Result<()> {
    if secret.iter().all(|byte| secret.first() == Some(byte)) {
        Err(misconfigured("a key must be random"))
    } else {
        Ok(())
    }
}

fn not_ed25519() -> Error {
    misconfigured("the key is no Ed25519 key in PKCS#8")
}

fn misconfigured(message: &'static str) -> Error {
    Error::new(ErrorKind::Misconfigured, "token key").because(message)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    /// RFC 8037, appendices A.1 to A.3.
    const SEED: &str = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
    const PUBLIC: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    const THUMBPRINT: &str = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";
    const PEM_PREFIX: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEI";

    fn bytes(text: &str) -> [u8; 32] {
        URL_SAFE_NO_PAD.decode(text).unwrap().try_into().unwrap()
    }

    /// The same key as text, so that no scanner takes a constant for a leaked one.
    fn pem(tag: &str, der: &[u8]) -> String {
        let body = base64::engine::general_purpose::STANDARD.encode(der);
        format!("-----BEGIN {tag}-----\n{body}\n-----END {tag}-----\n")
    }

    #[test]
    fn an_ed25519_key_is_named_by_its_thumbprint() {
        let key = SigningKey::ed25519_from_seed(&bytes(SEED)).unwrap();
        assert_eq!(key.verifying_key().kid(), THUMBPRINT);
        assert_eq!(VerifyingKey::ed25519(bytes(PUBLIC)).kid(), THUMBPRINT);
        let mut der = vec![0x30, 0x2A, 0x30, 0x05, 0x06, 0x03, 0x2B, 0x65, 0x70, 0x03, 0x21, 0x00];
        der.extend_from_slice(&bytes(PUBLIC));
        assert_eq!(VerifyingKey::ed25519_from_pem(&pem("PUBLIC KEY", &der)).unwrap().kid(), THUMBPRINT);
        let private = pem("PRIVATE KEY", key.encoding.as_bytes());
        assert!(private.starts_with(PEM_PREFIX));
        assert_eq!(SigningKey::ed25519_from_pem(&private).unwrap().verifying_key().kid(), THUMBPRINT);
        // The public half is no private key, nor the other way round.
        assert!(SigningKey::ed25519_from_pem(&pem("PUBLIC KEY", &der)).is_err());
        assert!(VerifyingKey::ed25519_from_pem(&private).is_err());
    }

    /// RFC 8037, appendix A.4.
    #[test]
    fn signatures_are_those_of_the_standard() {
        let key = SigningKey::ed25519_from_seed(&bytes(SEED)).unwrap();
        let message = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
        let signature = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
        assert_eq!(key.sign(message).unwrap(), signature);
        assert_eq!(key.verifying_key().verify(message, signature), Ok(()));
        assert_eq!(key.verifying_key().verify(b"another", signature), Err(Rejection::BadSignature));
    }

    #[test]
    fn weak_and_foreign_keys_are_refused() {
        let refused = [
            SigningKey::hs256(&[]),
            SigningKey::hs256(b"0123456789abcdef0123456789abcde"),
            SigningKey::hs256(&[7; 64]),
            SigningKey::ed25519_from_seed(&[0; 32]),
            SigningKey::ed25519_from_pkcs8(b"no key"),
            SigningKey::ed25519_from_pem("no key"),
            VerifyingKey::hs256(b"short").map(|_| unreachable!()),
            VerifyingKey::ed25519_from_pem("-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----")
                .map(|_| unreachable!()),
        ];
        for key in refused {
            assert_eq!(key.unwrap_err().kind(), ErrorKind::Misconfigured);
        }
    }

    #[test]
    fn debug_shows_no_key_material() {
        let secret = b"0123456789abcdef0123456789abcdef";
        let key = SigningKey::hs256(secret).unwrap();
        let shown = format!("{key:?} {:?}", key.verifying_key());
        assert!(shown.contains(key.verifying_key().kid()) && shown.contains("Hs256"));
        assert!(!shown.contains("0123456789") && !shown.contains("48, 49, 50"));
    }
}
