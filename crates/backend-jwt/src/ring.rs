//! The keys of a backend: which one signs, and until when the tokens of the others are accepted.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use session_manager_core::Result;
use session_manager_core::clock::after;
use session_manager_core::token::RotatingKeys;

use crate::keys::{SigningKey, VerifyingKey, jwk, misconfigured};

/// The most keys of a ring: each token's key is looked for among them.
const MAX_KEYS: usize = 64;

/// Rings are numbered in the order in which they are made, so that what was found out by one is not believed by another.
static MADE: AtomicU64 = AtomicU64::new(0);

/// A key with its times in a ring. Made from a [`SigningKey`], which then signs and verifies, or from a [`VerifyingKey`].
#[derive(Clone, Debug)]
pub struct RingKey {
    verifying: VerifyingKey,
    signing: Option<SigningKey>,
    active_from: Option<DateTime<Utc>>,
    retired_at: Option<DateTime<Utc>>,
}

impl RingKey {
    /// From when on it may sign; at once, unless set. Until then it is announced: in the JWKS, and accepted.
    pub const fn active_from(mut self, at: DateTime<Utc>) -> Self {
        self.active_from = Some(at);
        self
    }

    /// When it stops to sign; never, unless set. Its tokens are accepted until the last of them has expired.
    pub const fn retired_at(mut self, at: DateTime<Utc>) -> Self {
        self.retired_at = Some(at);
        self
    }

    fn signs(&self, now: DateTime<Utc>) -> Option<&SigningKey> {
        let active = self.active_from.is_none_or(|from| from <= now) && self.retired_at.is_none_or(|at| now < at);
        self.signing.as_ref().filter(|_| active)
    }
}

impl From<SigningKey> for RingKey {
    fn from(key: SigningKey) -> Self {
        Self { verifying: key.verifying_key().clone(), signing: Some(key), active_from: None, retired_at: None }
    }
}

impl From<VerifyingKey> for RingKey {
    fn from(key: VerifyingKey) -> Self {
        Self { verifying: key, signing: None, active_from: None, retired_at: None }
    }
}

/// The keys of access tokens. It never changes; [`RotatingKeys`] holds one that is replaced while the application runs.
///
/// # Behaviour
/// - Of the keys that may sign now, the one with the latest activation does; of equal ones, the one that came first.
/// - A key verifies from the moment it is in the ring. Once retired, it verifies for [`token_lifetime`](Self::token_lifetime) more.
/// - All keys are looked at for each token, so there are at most 64.
///
/// ```
/// use std::time::Duration;
/// use session_manager_backend_jwt::{JwtKeyRing, RingKey, SigningKey};
/// # let now = chrono::DateTime::UNIX_EPOCH;
/// # let (old, new) = (SigningKey::hs256(b"0123456789abcdef0123456789abcdef")?, SigningKey::hs256(b"fedcba9876543210fedcba9876543210")?);
///
/// // Announced for an hour, so that every service has read the key set before a token of the new key comes.
/// let change = now + Duration::from_secs(3600);
/// let ring = JwtKeyRing::new()
///     .token_lifetime(Duration::from_secs(300))
///     .with(RingKey::from(old).retired_at(change))?
///     .with(RingKey::from(new).active_from(change))?;
/// # drop(ring);
/// # Ok::<(), session_manager_core::Error>(())
/// ```
#[derive(Clone)]
pub struct JwtKeyRing {
    keys: Vec<RingKey>,
    token_lifetime: Duration,
    version: u64,
}

impl JwtKeyRing {
    /// A ring without keys, which neither signs nor verifies anything.
    pub fn new() -> Self {
        Self { keys: Vec::new(), token_lifetime: Duration::from_hours(1), version: next_version() }
    }

    /// The longest life of an access token, by which a retired key is still accepted; an hour, unless set. A token that would live
    /// longer is not issued by a key that will be retired.
    pub const fn token_lifetime(mut self, lifetime: Duration) -> Self {
        self.token_lifetime = lifetime;
        self
    }

    /// The ring with one more key.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`](session_manager_core::ErrorKind::Misconfigured) for a name that is there already, a key that retires before it is active, or a 65th key.
    pub fn with(&self, key: impl Into<RingKey>) -> Result<Self> {
        let key = key.into();
        if self.find(key.verifying.kid()).is_some() {
            return Err(misconfigured("two keys of a ring have the same kid"));
        }
        if key.active_from.zip(key.retired_at).is_some_and(|(from, at)| at < from) {
            return Err(misconfigured("a key retires before it is active"));
        }
        if self.keys.len() >= MAX_KEYS {
            return Err(misconfigured(format!("a ring has at most {MAX_KEYS} keys")));
        }
        Ok(self.of(self.keys.iter().cloned().chain([key]).collect()))
    }

    /// The ring in which a key retires at this time: what is done to the old key when a new one takes over.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`](session_manager_core::ErrorKind::Misconfigured) when there is no key of this name.
    pub fn retiring(&self, kid: &str, at: DateTime<Utc>) -> Result<Self> {
        let mut keys = self.keys.clone();
        let Some(key) = keys.iter_mut().find(|key| key.verifying.kid() == kid) else {
            return Err(misconfigured("there is no key of this kid to retire"));
        };
        key.retired_at = Some(at);
        Ok(self.of(keys))
    }

    /// The ring without a key: its tokens are refused from now on, and what was remembered of checked ones is forgotten. That is the drill
    /// after a leak. A key that is not there may be taken away again.
    pub fn without(&self, kid: &str) -> Self {
        self.of(self.keys.iter().filter(|key| key.verifying.kid() != kid).cloned().collect())
    }

    /// The public keys of a JWK Set (RFC 7517 §5), as the issuer publishes it. Keys of other types, curves, algorithms and uses are skipped.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`](session_manager_core::ErrorKind::Misconfigured) when it is none, or holds a private or symmetric key: that set has leaked.
    pub fn from_jwks(json: &str) -> Result<Self> {
        jwk::read_set(json)?.iter().try_fold(Self::new(), |ring, key| {
            if key.is_secret() {
                return Err(misconfigured("the public JWK Set holds a private or symmetric key"));
            }
            if key.is_usable() { ring.with(jwk::verifying(key)?) } else { Ok(ring) }
        })
    }

    /// The keys of a private JWK Set, from the application's secret store: the first private or symmetric key signs, all verify.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`](session_manager_core::ErrorKind::Misconfigured) when it is none, or a key of it is unsound.
    pub fn from_private_jwks(json: &str) -> Result<Self> {
        jwk::read_set(json)?.iter().try_fold(Self::new(), |ring, key| {
            if !key.is_usable() {
                return Ok(ring);
            }
            if key.is_secret() { ring.with(jwk::signing(key)?) } else { ring.with(jwk::verifying(key)?) }
        })
    }

    /// The JWK Set to publish: every public key whose tokens are accepted now, or will be. Never a secret.
    pub fn jwks(&self, now: DateTime<Utc>) -> Value {
        let accepted = self.keys.iter().filter(|key| self.accepted_until(key).is_none_or(|until| now < until));
        json!({ "keys": accepted.filter_map(|key| key.verifying.to_jwk()).collect::<Vec<_>>() })
    }

    /// The names of all keys.
    pub fn kids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| key.verifying.kid())
    }

    /// The key that signs now, with the time of its retirement.
    pub(crate) fn signer(&self, now: DateTime<Utc>) -> Option<(&SigningKey, Option<DateTime<Utc>>)> {
        let mut best: Option<(&RingKey, &SigningKey)> = None;
        for key in &self.keys {
            if let Some(signing) = key.signs(now)
                && best.is_none_or(|(best, _)| best.active_from < key.active_from)
            {
                best = Some((key, signing));
            }
        }
        best.map(|(key, signing)| (signing, key.retired_at))
    }

    /// How long after its retirement a key is accepted.
    pub(crate) const fn overlap(&self) -> Duration {
        self.token_lifetime
    }

    /// The key whose own tokens have exactly this encoded header.
    pub(crate) fn by_header(&self, header: &str) -> Option<RingEntry<'_>> {
        self.keys.iter().find(|key| key.verifying.header() == header).map(|key| self.entry(key))
    }

    pub(crate) fn by_kid(&self, kid: &str) -> Option<RingEntry<'_>> {
        self.find(kid).map(|key| self.entry(key))
    }

    /// Differs between any two rings that may differ in their keys.
    pub(crate) const fn version(&self) -> u64 {
        self.version
    }

    fn find(&self, kid: &str) -> Option<&RingKey> {
        self.keys.iter().find(|key| key.verifying.kid() == kid)
    }

    fn entry<'r>(&self, key: &'r RingKey) -> RingEntry<'r> {
        RingEntry { key: &key.verifying, accepted_until: self.accepted_until(key) }
    }

    fn accepted_until(&self, key: &RingKey) -> Option<DateTime<Utc>> {
        key.retired_at.map(|at| after(at, self.token_lifetime))
    }

    fn of(&self, keys: Vec<RingKey>) -> Self {
        Self { keys, token_lifetime: self.token_lifetime, version: next_version() }
    }
}

/// A key of a ring that a token names.
#[derive(Clone, Copy)]
pub(crate) struct RingEntry<'r> {
    pub(crate) key: &'r VerifyingKey,
    /// When the last token that it signed has expired.
    pub(crate) accepted_until: Option<DateTime<Utc>>,
}

impl Default for JwtKeyRing {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for JwtKeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtKeyRing").field("keys", &self.keys).finish_non_exhaustive()
    }
}

/// Where the keys of access tokens come from: [`RotatingKeys`], or whatever the application has.
pub trait JwtKeyProvider: Send + Sync + fmt::Debug {
    /// The ring of now. It is asked for with every token, so it is kept at hand, and only made anew when its keys change: each new ring
    /// forgets which tokens were checked before.
    fn ring(&self) -> Arc<JwtKeyRing>;
}

impl JwtKeyProvider for RotatingKeys<JwtKeyRing> {
    fn ring(&self) -> Arc<JwtKeyRing> {
        self.current()
    }
}

fn next_version() -> u64 {
    MADE.fetch_add(1, Ordering::Relaxed)
}
