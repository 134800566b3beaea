//! Keys that are replaced while the application runs.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use super::key::{KeyId, KeyProvider, KeyRing, TokenKey};
use crate::error::Result;

/// A key ring that the application replaces while it is in use: a new key, or the end of one that has leaked.
///
/// # Behaviour
/// - Who reads sees the ring before a change or the one after it, never half of one.
/// - A change binds this process. A change of keys goes to every node: see [`KeyRing`] for the order.
///
/// ```
/// use std::sync::Arc;
/// use session_manager_core::token::{KeyRing, ReferenceTokens, RotatingKeys, TokenKey};
///
/// let key = |first: u8| TokenKey::from_secret(&std::array::from_fn::<_, 32, _>(|index| first ^ index as u8));
/// let keys = Arc::new(RotatingKeys::new(KeyRing::new(key(1)?)));
/// let tokens = ReferenceTokens::new(keys.clone());
///
/// keys.try_update(|ring| Ok(ring.succeeded_by(key(2)?)))?;
/// keys.try_update(|ring| ring.without(key(1)?.id()))?;
/// # drop(tokens);
/// # Ok::<(), session_manager_core::Error>(())
/// ```
pub struct RotatingKeys<R>(RwLock<Arc<R>>);

impl<R> RotatingKeys<R> {
    /// Begins with this ring.
    pub fn new(ring: R) -> Self {
        Self(RwLock::new(Arc::new(ring)))
    }

    /// The ring of now.
    pub fn current(&self) -> Arc<R> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another ring in its place, and returns the one that was there.
    pub fn replace(&self, ring: R) -> Arc<R> {
        std::mem::replace(&mut self.0.write().unwrap_or_else(PoisonError::into_inner), Arc::new(ring))
    }

    /// Makes the next ring from the present one. Changes that are made at once are made one after the other; none is lost.
    ///
    /// # Behaviour
    /// Whoever needs the ring meanwhile waits. So `change` is short, and asks nothing of these keys but what it is given.
    ///
    /// # Errors
    /// Those of `change`; the ring then stays as it is.
    pub fn try_update(&self, change: impl FnOnce(&R) -> Result<R>) -> Result<()> {
        let mut place = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let next = change(&place)?;
        *place = Arc::new(next);
        Ok(())
    }
}

impl<R: fmt::Debug> fmt::Debug for RotatingKeys<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RotatingKeys").field(&self.current()).finish()
    }
}

impl KeyProvider for RotatingKeys<KeyRing> {
    fn newest(&self) -> Arc<TokenKey> {
        self.current().newest()
    }

    fn find(&self, id: KeyId) -> Option<Arc<TokenKey>> {
        self.current().find(id)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;
    use crate::error::{Error, ErrorKind};

    fn key(fill: u8) -> TokenKey {
        TokenKey::from_secret(&(0..32).map(|i| i ^ fill).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn a_change_is_seen_at_once_and_a_failed_one_never() {
        let keys = RotatingKeys::new(KeyRing::new(key(1)));
        keys.try_update(|ring| Ok(ring.succeeded_by(key(2)))).unwrap();
        assert_eq!(keys.newest().id(), key(2).id());
        assert!(keys.find(key(1).id()).is_some());
        keys.try_update(|ring| ring.without(key(1).id())).unwrap();
        assert!(keys.find(key(1).id()).is_none());
        let failed = keys.try_update(|_| Err(Error::from(ErrorKind::Internal)));
        assert_eq!(failed.unwrap_err().kind(), ErrorKind::Internal);
        assert_eq!(keys.newest().id(), key(2).id());
        assert_eq!(keys.replace(KeyRing::new(key(3))).newest().id(), key(2).id());
        assert!(keys.find(key(2).id()).is_none());
    }

    #[test]
    fn debug_names_keys_and_shows_none() {
        let keys = RotatingKeys::new(KeyRing::new(key(1)));
        let shown = format!("{keys:?}");
        assert!(shown.contains(&key(1).id().to_string()) && !shown.contains("1, 0, 3, 2"));
    }
}
