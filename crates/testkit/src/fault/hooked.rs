//! A storage with something that happens before and after each call.

use std::fmt;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use session_manager_core::Result;
#[allow(unused_imports, reason = "named in the documentation")]
use session_manager_core::SessionStorage;

use super::method::Method;

/// What happens around the calls of a [`Hooked`] storage. By itself, nothing.
#[async_trait]
pub trait Hook: Send + Sync + fmt::Debug {
    /// Before the effect; an error prevents it.
    async fn before(&self, method: Method) -> Result<()> {
        let _ = method;
        Ok(())
    }

    /// After the effect and before the caller learns of it; an error leaves the caller in doubt.
    async fn after(&self, method: Method) -> Result<()> {
        let _ = method;
        Ok(())
    }

    /// Whether [`SessionStorage::try_read`] may answer; otherwise callers must wait for a read.
    fn try_read(&self) -> bool {
        true
    }
}

/// A storage with a hook around each call.
#[derive(Debug)]
pub struct Hooked<S, H>(Around<S, H>);

/// The two of them. The feed and the scan are views of this, so that a [`Hooked`] storage itself has no second method named `scan`.
#[derive(Debug)]
pub(super) struct Around<S, H> {
    pub(super) storage: S,
    pub(super) hook: H,
}

impl<S, H> Hooked<S, H> {
    /// Puts a hook around a storage.
    pub const fn with_hook(storage: S, hook: H) -> Self {
        Self(Around { storage, hook })
    }

    /// The storage within.
    pub const fn inner(&self) -> &S {
        &self.0.storage
    }

    /// The hook.
    pub const fn hook(&self) -> &H {
        &self.0.hook
    }
}

impl<S, H> Hooked<S, H> {
    pub(super) const fn parts(&self) -> &Around<S, H> {
        &self.0
    }
}

impl<S, H: Hook> Around<S, H> {
    pub(super) async fn around<T>(&self, method: Method, call: BoxFuture<'_, Result<T>>) -> Result<T> {
        self.hook.before(method).await?;
        let answer = call.await?;
        self.hook.after(method).await?;
        Ok(answer)
    }
}

/// A hook that keeps something alive, and no more.
pub struct Keep<G>(G);

impl<G> fmt::Debug for Keep<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keep")
    }
}

#[allow(clippy::missing_trait_methods, reason = "a hook by itself does nothing, which is what this one is for")]
impl<G: Send + Sync> Hook for Keep<G> {}

/// A storage together with what must outlive it: a temporary directory, a container.
pub type HeldStorage<S, G> = Hooked<S, Keep<G>>;

impl<S, G: Send + Sync> HeldStorage<S, G> {
    /// Drops `guard` after `storage`.
    pub const fn new(storage: S, guard: G) -> Self {
        Self::with_hook(storage, Keep(guard))
    }
}
