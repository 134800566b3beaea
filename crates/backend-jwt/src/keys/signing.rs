//! Keys that access tokens are signed with.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::jwk::EllipticCurve;
use jsonwebtoken::{Algorithm, EncodingKey};
use session_manager_core::{Error, ErrorKind, Result};

use super::{VerifyingKey, der, jwk, misconfigured, refuse_repeated};

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
    /// A private key in PEM: PKCS#8 of Ed25519, P-256 (for ES256) or RSA (for RS256), or PKCS#1 of RSA.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`] when it is none, or too weak.
    pub fn from_pem(pem: &str) -> Result<Self> {
        Self::ed25519_from_pem(pem)
            .or_else(|_| Self::es256_from_pem(pem))
            .or_else(|_| Self::rs256_from_pem(pem))
            .map_err(|_| {
                misconfigured("the text is no private key of Ed25519, P-256 or RSA of at least 2048 bits in PEM")
            })
    }

    /// A private key as JWK (RFC 7517), or an HS256 secret as one. Its `kid` is the JWK's, or the thumbprint where that has none.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`] when it is none of ours, is not for signatures, is too weak, or its public part does not belong to it.
    pub fn from_jwk(json: &str) -> Result<Self> {
        jwk::signing(&jwk::read(json)?)
    }

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
        refuse_repeated(seed)?;
        Self::ed25519_from_pkcs8(&der::ed25519(seed))
    }

    /// A P-256 key from PKCS#8 in PEM, for ES256, as `openssl genpkey -algorithm ec -pkeyopt ec_paramgen_curve:P-256` writes it.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`] when it is none.
    pub fn es256_from_pem(pem: &str) -> Result<Self> {
        Self::es256(EncodingKey::from_ec_pem(pem.as_bytes()).map_err(|_| not_p256())?)
    }

    /// A P-256 key from PKCS#8 in DER, for ES256.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`] when it is none.
    pub fn es256_from_pkcs8(der: &[u8]) -> Result<Self> {
        Self::es256(EncodingKey::from_ec_der(der))
    }

    /// An RSA key from PKCS#8 or PKCS#1 in PEM, for RS256: for applications that have one. It signs some fifty times slower than the
    /// others.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`] when it is none, or has less than 2048 bits.
    pub fn rs256_from_pem(pem: &str) -> Result<Self> {
        Self::rs256(EncodingKey::from_rsa_pem(pem.as_bytes()).map_err(|_| not_rsa())?)
    }

    /// An RSA key from PKCS#1 in DER, for RS256.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`] when it is none, or has less than 2048 bits.
    pub fn rs256_from_pkcs1(der: &[u8]) -> Result<Self> {
        Self::rs256(EncodingKey::from_rsa_der(der))
    }

    /// An HS256 key from a secret of at least 32 random bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`] for a shorter secret, or one that is a single repeated byte.
    pub fn hs256(secret: &[u8]) -> Result<Self> {
        let verifying = VerifyingKey::hs256(secret)?;
        Ok(Self { encoding: EncodingKey::from_secret(secret), verifying })
    }

    /// The same key under another name.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`] unless it has 1 to 128 bytes.
    pub fn with_kid(&self, kid: &str) -> Result<Self> {
        Ok(Self { encoding: self.encoding.clone(), verifying: self.verifying.with_kid(kid)? })
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

    fn es256(encoding: EncodingKey) -> Result<Self> {
        let public = DEFAULT_PROVIDER.key_utils.ec_pub_components_from_private_key;
        let (_, x, y) = public(encoding.as_bytes(), Algorithm::ES256).map_err(|_| not_p256())?;
        Ok(Self { encoding, verifying: VerifyingKey::es256(&x, &y)? })
    }

    fn rs256(encoding: EncodingKey) -> Result<Self> {
        let public = DEFAULT_PROVIDER.key_utils.rsa_pub_components_from_private_key;
        let (modulus, exponent) = public(encoding.as_bytes()).map_err(|_| not_rsa())?;
        Ok(Self { encoding, verifying: VerifyingKey::rs256(&modulus, &exponent)? })
    }

    /// The encoded header of every token of this key.
    pub(crate) fn header(&self) -> &str {
        self.verifying.header()
    }

    /// The encoded signature of `message`.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<String> {
        let broken = || Error::new(ErrorKind::Internal, "sign token");
        let signer = (DEFAULT_PROVIDER.signer_factory)(&self.verifying.algorithm().library(), &self.encoding)
            .map_err(|source| broken().with_source(source))?;
        signer
            .try_sign(message)
            .map(|signature| URL_SAFE_NO_PAD.encode(signature))
            .map_err(|source| broken().with_source(source))
    }

    #[cfg(test)]
    pub(super) fn private(&self) -> &[u8] {
        self.encoding.as_bytes()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("kid", &self.verifying.kid())
            .field("algorithm", &self.verifying.algorithm())
            .finish_non_exhaustive()
    }
}

fn not_ed25519() -> Error {
    misconfigured("the key is no Ed25519 key in PKCS#8")
}

fn not_p256() -> Error {
    misconfigured("the key is no P-256 key in PKCS#8")
}

fn not_rsa() -> Error {
    misconfigured("the key is no RSA key of at least 2048 bits in PKCS#8 or PKCS#1")
}
