//! The keys of reference tokens and where they come from.

use std::fmt;
use std::sync::Arc;

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::error::{Error, ErrorKind, Result};
use crate::token::TokenKind;

/// HMAC-SHA-256 with its key already absorbed.
pub(super) type Prepared = Hmac<Sha256>;

/// Names a key in a token: the first four bytes of SHA-256(`"sm-kid/1"` ‖ secret).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId([u8; 4]);

impl KeyId {
    /// An id read from a token.
    pub const fn from_bytes(bytes: [u8; 4]) -> Self {
        Self(bytes)
    }

    /// Its four bytes.
    pub const fn as_bytes(&self) -> &[u8; 4] {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// A key of reference tokens: separate sub-keys for access and refresh (HKDF-SHA-256, RFC 5869) from one configured secret.
pub struct TokenKey {
    id: KeyId,
    access: Prepared,
    refresh: Prepared,
}

impl TokenKey {
    /// The least number of bytes a secret may have.
    pub const MIN_BYTES: usize = 32;

    /// Derives a key from a secret of at least 32 random bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`] for a shorter secret, or one that is a single repeated byte.
    pub fn from_secret(secret: &[u8]) -> Result<Self> {
        if secret.len() < Self::MIN_BYTES {
            return Err(
                Error::new(ErrorKind::Misconfigured, "token key").because("a token secret has at least 32 bytes")
            );
        }
        if secret.iter().all(|byte| secret.first() == Some(byte)) {
            return Err(Error::new(ErrorKind::Misconfigured, "token key").because("a token secret must be random"));
        }
        let digest = Sha256::new().chain_update(b"sm-kid/1").chain_update(secret).finalize();
        let mut id = [0; 4];
        id.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        let derive = Hkdf::<Sha256>::new(None, secret);
        Ok(Self {
            id: KeyId(id),
            access: sub_key(&derive, b"session-manager/1 access")?,
            refresh: sub_key(&derive, b"session-manager/1 refresh")?,
        })
    }

    /// Its name.
    pub const fn id(&self) -> KeyId {
        self.id
    }

    pub(super) fn prepared(&self, kind: TokenKind) -> Prepared {
        match kind {
            TokenKind::Access => self.access.clone(),
            TokenKind::Refresh => self.refresh.clone(),
        }
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKey").field("id", &self.id).finish_non_exhaustive()
    }
}

fn sub_key(derive: &Hkdf<Sha256>, purpose: &[u8]) -> Result<Prepared> {
    let mut bytes = Zeroizing::new([0_u8; 32]);
    let broken = || Error::new(ErrorKind::Internal, "token key");
    derive.expand(purpose, bytes.as_mut_slice()).map_err(|_| broken())?;
    Prepared::new_from_slice(bytes.as_slice()).map_err(|_| broken())
}

/// Where the keys of reference tokens come from: the application's secret store, or a fixed [`KeyRing`].
pub trait KeyProvider: Send + Sync + fmt::Debug {
    /// The key that new tokens are made with.
    fn newest(&self) -> Arc<TokenKey>;

    /// A key whose tokens are still accepted; `None` for one that was never there or was taken away.
    fn find(&self, id: KeyId) -> Option<Arc<TokenKey>>;
}

/// A fixed set of keys. For one that is replaced while the application runs, put it into [`RotatingKeys`](super::RotatingKeys).
///
/// # Behaviour
/// A key is changed without signing anybody out in three steps, each on all nodes before the next: accept the coming key
/// ([`accepting`](Self::accepting)), make tokens with it ([`succeeded_by`](Self::succeeded_by)), and take the old one away
/// ([`without`](Self::without)) when the last session that was refreshed with it has ended.
///
/// # Security
/// A key that has leaked is taken away at once: whoever holds a token of it signs in again.
#[derive(Clone, Debug)]
pub struct KeyRing {
    newest: Arc<TokenKey>,
    older: Vec<Arc<TokenKey>>,
}

impl KeyRing {
    /// A ring of one key.
    pub fn new(newest: TokenKey) -> Self {
        Self { newest: Arc::new(newest), older: Vec::new() }
    }

    /// Adds a key whose tokens are still accepted.
    pub fn accepting(mut self, older: TokenKey) -> Self {
        self.older.push(Arc::new(older));
        self
    }

    /// The ring in which `key` makes the tokens, and all others are accepted. A key that was accepted before is not there twice.
    pub fn succeeded_by(&self, key: TokenKey) -> Self {
        let others = std::iter::once(&self.newest).chain(&self.older).filter(|other| other.id != key.id);
        Self { older: others.cloned().collect(), newest: Arc::new(key) }
    }

    /// The ring without a key: its tokens are refused from now on. A key that is not there may be taken away again.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`] for the key that tokens are made with: give it a successor first.
    pub fn without(&self, id: KeyId) -> Result<Self> {
        if self.newest.id == id {
            return Err(Error::new(ErrorKind::Misconfigured, "token key")
                .because("the key that tokens are made with needs a successor before it is taken away"));
        }
        let older = self.older.iter().filter(|older| older.id != id).cloned().collect();
        Ok(Self { newest: Arc::clone(&self.newest), older })
    }
}

impl KeyProvider for KeyRing {
    fn newest(&self) -> Arc<TokenKey> {
        Arc::clone(&self.newest)
    }

    fn find(&self, id: KeyId) -> Option<Arc<TokenKey>> {
        std::iter::once(&self.newest).chain(&self.older).find(|key| key.id == id).cloned()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn weak_secrets_are_refused_and_debug_is_redacted() {
        for weak in [&b"short"[..], &[7_u8; 64], &[]] {
            assert_eq!(TokenKey::from_secret(weak).unwrap_err().kind(), ErrorKind::Misconfigured);
        }
        let key = TokenKey::from_secret(b"0123456789abcdef0123456789abcdef").unwrap();
        assert_eq!(format!("{key:?}"), format!("TokenKey {{ id: {:?}, .. }}", key.id()));
    }

    #[test]
    fn a_ring_finds_its_keys_and_no_others() {
        let key = |fill: u8| TokenKey::from_secret(&(0..32).map(|i| i ^ fill).collect::<Vec<_>>()).unwrap();
        let ring = KeyRing::new(key(1)).accepting(key(2));
        assert_eq!(ring.newest().id(), key(1).id());
        assert!(ring.find(key(2).id()).is_some());
        assert!(ring.find(key(3).id()).is_none());
    }

    #[test]
    fn a_key_is_succeeded_and_then_taken_away() {
        let key = |fill: u8| TokenKey::from_secret(&(0..32).map(|i| i ^ fill).collect::<Vec<_>>()).unwrap();
        let announced = KeyRing::new(key(1)).accepting(key(2));
        assert_eq!(announced.without(key(1).id()).unwrap_err().kind(), ErrorKind::Misconfigured);
        let changed = announced.succeeded_by(key(2));
        assert_eq!((changed.newest().id(), changed.older.len()), (key(2).id(), 1));
        let done = changed.without(key(1).id()).unwrap();
        assert!(done.find(key(1).id()).is_none() && done.find(key(2).id()).is_some());
        assert!(done.without(key(1).id()).is_ok());
    }
}
