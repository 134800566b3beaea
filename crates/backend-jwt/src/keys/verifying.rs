//! Keys that access tokens are verified with.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, VerificationAlgorithm};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
// The provider is named, never asked for by the library's process-wide default: that one panics as soon as another crate of the
// application switches on the library's other provider.
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use serde_json::{Map, Value, json};
use session_manager_core::{Rejection, Result};
use sha2::{Digest, Sha256};

use super::{KeyAlgorithm, MAX_KID_BYTES, MIN_SECRET_BYTES, jwk, misconfigured, refuse_repeated};

/// A key that access tokens are verified with. Cloning is cheap.
///
/// # Security
/// `Debug` shows the name and the algorithm only. The key is overwritten on drop.
#[derive(Clone)]
pub struct VerifyingKey(Arc<Inner>);

struct Inner {
    algorithm: KeyAlgorithm,
    kid: String,
    /// The encoded header of every token that we make with this key.
    header: String,
    decoding: DecodingKey,
    /// The members of its JWK that say what it is (RFC 7638 §3.2); none of a secret.
    public: Option<Map<String, Value>>,
}

impl VerifyingKey {
    /// A public key in PEM: `SubjectPublicKeyInfo` of Ed25519, P-256 (for ES256) or RSA (for RS256), or PKCS#1 of RSA.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`](session_manager_core::ErrorKind::Misconfigured) when it is none, or too weak.
    pub fn from_pem(pem: &str) -> Result<Self> {
        Self::ed25519_from_pem(pem)
            .or_else(|_| Self::es256_from_pem(pem))
            .or_else(|_| Self::rs256_from_pem(pem))
            .map_err(|_| {
                misconfigured("the text is no public key of Ed25519, P-256 or RSA of at least 2048 bits in PEM")
            })
    }

    /// A public key as JWK (RFC 7517), or an HS256 secret as one. Its `kid` is the JWK's, or the thumbprint where that has none.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`](session_manager_core::ErrorKind::Misconfigured) when it is none of ours, is not for signatures, is too
    /// weak, or holds a private key.
    pub fn from_jwk(json: &str) -> Result<Self> {
        jwk::verifying(&jwk::read(json)?)
    }

    /// An Ed25519 public key in PEM (`SubjectPublicKeyInfo`).
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`](session_manager_core::ErrorKind::Misconfigured) when it is none.
    pub fn ed25519_from_pem(pem: &str) -> Result<Self> {
        let wrong = || misconfigured("the key is no Ed25519 public key in PEM");
        let key = DecodingKey::from_ed_pem(pem.as_bytes()).map_err(|_| wrong())?;
        let public = key.try_get_as_bytes().ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        public.map(Self::ed25519).ok_or_else(wrong)
    }

    /// An Ed25519 public key. Its `kid` is the thumbprint of RFC 7638 and RFC 8037 §2.
    pub fn ed25519(public: [u8; 32]) -> Self {
        let members = json!({ "crv": "Ed25519", "kty": "OKP", "x": encode(&public) });
        Self::public(KeyAlgorithm::EdDsa, members, DecodingKey::from_ed_der(&public))
    }

    /// As [`ed25519`](Self::ed25519), for bytes that nobody has looked at.
    pub(super) fn ed25519_from_bytes(public: &[u8]) -> Result<Self> {
        let wrong = || misconfigured("the key is no Ed25519 public key");
        let public = <[u8; 32]>::try_from(public).map_err(|_| wrong())?;
        if is_key(&ED25519, &public) { Ok(Self::ed25519(public)) } else { Err(wrong()) }
    }

    /// A P-256 public key in PEM (`SubjectPublicKeyInfo`), for ES256.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`](session_manager_core::ErrorKind::Misconfigured) when it is none.
    pub fn es256_from_pem(pem: &str) -> Result<Self> {
        let wrong = || misconfigured("the key is no P-256 public key in PEM");
        let key = DecodingKey::from_ec_pem(pem.as_bytes()).map_err(|_| wrong())?;
        let point = key.try_get_as_bytes().map_err(|_| wrong())?;
        let Some((4, coordinates)) = point.split_first() else { return Err(wrong()) };
        let (x, y) = coordinates.split_at_checked(32).ok_or_else(wrong)?;
        Self::es256(x, y)
    }

    /// A P-256 public key by its two coordinates of 32 bytes, for ES256. Its `kid` is the thumbprint of RFC 7638.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`](session_manager_core::ErrorKind::Misconfigured) when they are no point of the curve.
    pub fn es256(x: &[u8], y: &[u8]) -> Result<Self> {
        let point = [&[4], x, y].concat();
        if x.len() != 32 || y.len() != 32 || !is_key(&ECDSA_P256_SHA256_FIXED, &point) {
            return Err(misconfigured("the key is no point of P-256"));
        }
        let members = json!({ "crv": "P-256", "kty": "EC", "x": encode(x), "y": encode(y) });
        Ok(Self::public(KeyAlgorithm::Es256, members, DecodingKey::from_ec_der(&point)))
    }

    /// An RSA public key in PEM (`SubjectPublicKeyInfo` or PKCS#1), for RS256.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`](session_manager_core::ErrorKind::Misconfigured) when it is none, or has less than 2048 bits.
    pub fn rs256_from_pem(pem: &str) -> Result<Self> {
        let wrong = || misconfigured("the key is no RSA public key in PEM");
        let key = DecodingKey::from_rsa_pem(pem.as_bytes()).map_err(|_| wrong())?;
        let der = key.try_get_as_bytes().map_err(|_| wrong())?;
        let (modulus, exponent) =
            (DEFAULT_PROVIDER.key_utils.rsa_pub_components_from_public_key)(der).map_err(|_| wrong())?;
        Self::rs256(&modulus, &exponent)
    }

    /// An RSA public key by modulus and exponent, big-endian, for RS256. Its `kid` is the thumbprint of RFC 7638.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`](session_manager_core::ErrorKind::Misconfigured) unless the modulus is odd and has 2048 to 8192 bits, and the
    /// exponent is odd, at least 3 and at most 32 bits long.
    pub fn rs256(modulus: &[u8], exponent: &[u8]) -> Result<Self> {
        let (modulus, exponent) = (without_zeros(modulus), without_zeros(exponent));
        let bits = |number: &[u8]| {
            let zeros = number.first().map_or(8, |first| first.leading_zeros());
            number.len().saturating_mul(8).saturating_sub(usize::try_from(zeros).unwrap_or(0))
        };
        let odd = |number: &[u8]| number.last().is_some_and(|last| last % 2 == 1);
        if !(2048..=8192).contains(&bits(modulus)) || !odd(modulus) {
            return Err(misconfigured("an RSA key has 2048 to 8192 bits"));
        }
        if !(2..=32).contains(&bits(exponent)) || !odd(exponent) {
            return Err(misconfigured("the exponent of an RSA key is odd and from 3 to 32 bits long"));
        }
        let members = json!({ "e": encode(exponent), "kty": "RSA", "n": encode(modulus) });
        Ok(Self::public(KeyAlgorithm::Rs256, members, DecodingKey::from_rsa_raw_components(modulus, exponent)))
    }

    /// An HS256 secret of at least 32 random bytes. Its `kid` is the first 12 bytes of SHA-256(`"sm-jwt-kid/1"` ‖ secret).
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`](session_manager_core::ErrorKind::Misconfigured) for a shorter secret, or one that is a single repeated byte.
    pub fn hs256(secret: &[u8]) -> Result<Self> {
        if secret.len() < MIN_SECRET_BYTES {
            return Err(misconfigured("an HS256 secret has at least 32 bytes"));
        }
        refuse_repeated(secret)?;
        let digest = Sha256::new().chain_update(b"sm-jwt-kid/1").chain_update(secret).finalize();
        let name: Vec<u8> = digest.into_iter().take(12).collect();
        Ok(Self::new(KeyAlgorithm::Hs256, encode(&name), DecodingKey::from_secret(secret), None))
    }

    /// The same key under another name: the one that an issuer's key set gives it.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`](session_manager_core::ErrorKind::Misconfigured) unless it has 1 to 128 bytes.
    pub fn with_kid(&self, kid: &str) -> Result<Self> {
        if kid.is_empty() || kid.len() > MAX_KID_BYTES {
            return Err(misconfigured("a kid has 1 to 128 bytes"));
        }
        let inner = &self.0;
        Ok(Self::new(inner.algorithm, kid.to_owned(), inner.decoding.clone(), inner.public.clone()))
    }

    /// Its name in the `kid` header.
    pub fn kid(&self) -> &str {
        &self.0.kid
    }

    /// What it is used with.
    pub fn algorithm(&self) -> KeyAlgorithm {
        self.0.algorithm
    }

    /// Its JWK (RFC 7517) with `kid`, `use` and `alg`; `None` of a secret, which is nobody's business.
    pub fn to_jwk(&self) -> Option<Value> {
        let mut members = self.0.public.clone()?;
        members.insert("kid".to_owned(), self.kid().into());
        members.insert("use".to_owned(), "sig".into());
        members.insert("alg".to_owned(), self.algorithm().as_str().into());
        Some(members.into())
    }

    fn public(algorithm: KeyAlgorithm, members: Value, decoding: DecodingKey) -> Self {
        let members = match members {
            Value::Object(members) => members,
            _ => Map::new(),
        };
        let kid = encode(&thumbprint(&members));
        Self::new(algorithm, kid, decoding, Some(members))
    }

    fn new(algorithm: KeyAlgorithm, kid: String, decoding: DecodingKey, public: Option<Map<String, Value>>) -> Self {
        let header = json!({ "alg": algorithm.as_str(), "kid": kid, "typ": "at+jwt" }).to_string();
        Self(Arc::new(Inner { algorithm, kid, header: encode(header.as_bytes()), decoding, public }))
    }

    /// The encoded header of every token that we make with this key.
    pub(crate) fn header(&self) -> &str {
        &self.0.header
    }

    /// Proves an encoded signature of `message`.
    pub(crate) fn verify(&self, message: &[u8], signature: &str) -> Result<(), Rejection> {
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Rejection::Malformed)?;
        let verifier = (DEFAULT_PROVIDER.verifier_factory)(&self.0.algorithm.library(), &self.0.decoding)
            .map_err(|_| Rejection::BadSignature)?;
        verifier.verify(message, &signature).map_err(|_| Rejection::BadSignature)
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &self.0;
        f.debug_struct("VerifyingKey")
            .field("kid", &inner.kid)
            .field("algorithm", &inner.algorithm)
            .finish_non_exhaustive()
    }
}

/// RFC 7638: SHA-256 over the members in the order of their names, without a space.
fn thumbprint(members: &Map<String, Value>) -> [u8; 32] {
    let mut sorted: Vec<_> = members.iter().collect();
    sorted.sort_unstable_by_key(|(name, _)| *name);
    let text: Vec<_> = sorted.into_iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    Sha256::digest(format!("{{{}}}", text.join(","))).into()
}

fn is_key(algorithm: &'static dyn VerificationAlgorithm, public: &[u8]) -> bool {
    ParsedPublicKey::new(algorithm, public).is_ok()
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
