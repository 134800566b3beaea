//! A storage with something that happens before and after each call.
#![deny(clippy::missing_trait_methods, reason = "a method that is not forwarded would hide the storage's own")]

use std::fmt;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use session_manager_core::storage::{
    Advance, AdvanceOutcome, Bump, BumpOutcome, Capabilities, Consistency, Count, Health, Insert, InsertOutcome,
    OnceKey, Page, Purge, Purged, Query, RevocationFeed, Revoke, Revoked, SessionScan, Touch, TouchReport, Update,
    UpdateOutcome,
};
use session_manager_core::{Epochs, Result, SessionKey, SessionStorage, Snapshot, UserId};

/// A method of [`SessionStorage`] that a [`Hook`] sees.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub enum Method {
    /// [`SessionStorage::try_read`].
    TryRead,
    /// [`SessionStorage::read`].
    Read,
    /// [`SessionStorage::read_many`].
    ReadMany,
    /// [`SessionStorage::insert`].
    Insert,
    /// [`SessionStorage::advance`].
    Advance,
    /// [`SessionStorage::update`].
    Update,
    /// [`SessionStorage::touch`].
    Touch,
    /// [`SessionStorage::revoke`].
    Revoke,
    /// [`SessionStorage::bump`].
    Bump,
    /// [`SessionStorage::epochs`].
    Epochs,
    /// [`SessionStorage::list`].
    List,
    /// [`SessionStorage::count`].
    Count,
    /// [`SessionStorage::purge`].
    Purge,
    /// [`SessionStorage::remember_once`].
    RememberOnce,
    /// [`SessionStorage::check`].
    Check,
}

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
pub struct Hooked<S, H> {
    storage: S,
    hook: H,
}

impl<S, H> Hooked<S, H> {
    /// Puts a hook around a storage.
    pub const fn with_hook(storage: S, hook: H) -> Self {
        Self { storage, hook }
    }

    /// The storage within.
    pub const fn inner(&self) -> &S {
        &self.storage
    }

    /// The hook.
    pub const fn hook(&self) -> &H {
        &self.hook
    }
}

impl<S, H: Hook> Hooked<S, H> {
    async fn around<T>(&self, method: Method, call: BoxFuture<'_, Result<T>>) -> Result<T> {
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

#[async_trait]
impl<S: SessionStorage, H: Hook> SessionStorage for Hooked<S, H> {
    fn capabilities(&self) -> Capabilities {
        self.storage.capabilities()
    }

    fn try_read(&self, key: &SessionKey) -> Option<Option<Snapshot>> {
        if self.hook.try_read() { self.storage.try_read(key) } else { None }
    }

    async fn read(&self, key: &SessionKey, consistency: Consistency) -> Result<Option<Snapshot>> {
        self.around(Method::Read, self.storage.read(key, consistency)).await
    }

    async fn read_many(&self, keys: &[SessionKey], consistency: Consistency) -> Result<Vec<Option<Snapshot>>> {
        self.around(Method::ReadMany, self.storage.read_many(keys, consistency)).await
    }

    async fn insert(&self, request: &Insert) -> Result<InsertOutcome> {
        self.around(Method::Insert, self.storage.insert(request)).await
    }

    async fn advance(&self, request: &Advance) -> Result<AdvanceOutcome> {
        self.around(Method::Advance, self.storage.advance(request)).await
    }

    async fn update(&self, request: &Update) -> Result<UpdateOutcome> {
        self.around(Method::Update, self.storage.update(request)).await
    }

    async fn touch(&self, batch: &[Touch], now: DateTime<Utc>) -> Result<TouchReport> {
        self.around(Method::Touch, self.storage.touch(batch, now)).await
    }

    async fn revoke(&self, request: &Revoke) -> Result<Revoked> {
        self.around(Method::Revoke, self.storage.revoke(request)).await
    }

    async fn bump(&self, request: &Bump) -> Result<BumpOutcome> {
        self.around(Method::Bump, self.storage.bump(request)).await
    }

    async fn epochs(&self, user: Option<&UserId>) -> Result<Epochs> {
        self.around(Method::Epochs, self.storage.epochs(user)).await
    }

    async fn list(&self, query: &Query) -> Result<Page> {
        self.around(Method::List, self.storage.list(query)).await
    }

    async fn count(&self, query: &Query) -> Result<Count> {
        self.around(Method::Count, self.storage.count(query)).await
    }

    async fn purge(&self, request: &Purge) -> Result<Purged> {
        self.around(Method::Purge, self.storage.purge(request)).await
    }

    async fn remember_once(&self, key: &OnceKey, now: DateTime<Utc>, until: DateTime<Utc>) -> Result<bool> {
        self.around(Method::RememberOnce, self.storage.remember_once(key, now, until)).await
    }

    async fn check(&self, now: DateTime<Utc>) -> Result<Health> {
        self.around(Method::Check, self.storage.check(now)).await
    }

    fn feed(&self) -> Option<&dyn RevocationFeed> {
        self.storage.feed()
    }

    fn scan(&self) -> Option<&dyn SessionScan> {
        self.storage.scan()
    }

    fn maintenance(&self) -> Option<BoxFuture<'_, ()>> {
        self.storage.maintenance()
    }
}
