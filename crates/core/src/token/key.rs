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

/// A fixed set of keys.
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
}
