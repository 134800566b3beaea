//! The keys of tokens in a running service, which are replaced when the file has others.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use chrono::{DateTime, Utc};
use serde_json::Value;
use session_manager::backend_jwt::{JwtKeyRing, RingKey};
use session_manager::token::{KeyId, KeyProvider, RotatingKeys, TokenKey};
use session_manager_core::{Clock, Result};
use tokio::sync::watch;

use super::Keys;
use super::change::{Overlap, time};

/// The keys that make tokens, and by which they are checked. Cheap to clone.
#[derive(Clone)]
pub(crate) struct LiveKeys(Arc<Inner>);

struct Inner {
    clock: Arc<dyn Clock>,
    overlap: Overlap,
    access: Arc<RotatingKeys<JwtKeyRing>>,
    /// In the order in which they take over.
    refresh: RwLock<Vec<Timed>>,
    /// Told whenever a key is gone of which something was still accepted.
    revoked: watch::Sender<()>,
}

/// Hears that keys are revoked, from when it was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Revocations(watch::Receiver<()>);

struct Timed {
    from: DateTime<Utc>,
    /// Until then its tokens are accepted.
    until: Option<DateTime<Utc>>,
    key: Arc<TokenKey>,
}

impl LiveKeys {
    /// Begins with the keys as they were read.
    ///
    /// # Errors
    /// A key that the library does not take, which no file that was read holds.
    pub(crate) fn new(keys: &Keys, overlap: Overlap, clock: Arc<dyn Clock>) -> Result<Self> {
        let (access, refresh) = (Arc::new(RotatingKeys::new(ring(keys, overlap)?)), RwLock::new(timed(keys, overlap)?));
        Ok(Self(Arc::new(Inner { clock, overlap, access, refresh, revoked: watch::Sender::new(()) })))
    }

    /// Puts others in their place. Who checks a token meanwhile does it with the ones of before or of after. Where one is gone that was still
    /// accepted, whoever holds [`Revocations`] is told so.
    ///
    /// # Errors
    /// As for [`LiveKeys::new`]; nothing is replaced then.
    pub(crate) fn replace(&self, keys: &Keys) -> Result<()> {
        let (access, refresh) = (ring(keys, self.0.overlap)?, timed(keys, self.0.overlap)?);
        let accepted = self.accepted();
        self.0.access.replace(access);
        *self.0.refresh.write().unwrap_or_else(PoisonError::into_inner) = refresh;
        let left = self.accepted();
        if accepted.iter().any(|name| !left.contains(name)) {
            self.0.revoked.send_replace(());
        }
        Ok(())
    }

    /// What tells of keys that are revoked from now on. Whoever goes on with what a token opened asks before the token is checked.
    pub(crate) fn revocations(&self) -> Revocations {
        Revocations(self.0.revoked.subscribe())
    }

    /// The names of the keys of which something is accepted, or will be.
    fn accepted(&self) -> Vec<String> {
        let now = self.0.clock.now();
        let published = self.jwks();
        let access = published.get("keys").and_then(Value::as_array).into_iter().flatten();
        let access = access.filter_map(|key| key.get("kid")).map(ToString::to_string);
        let refresh = self.0.refresh.read().unwrap_or_else(PoisonError::into_inner);
        let refresh = refresh.iter().filter(|timed| timed.until.is_none_or(|until| now < until));
        access.chain(refresh.map(|timed| timed.key.id().to_string())).collect()
    }

    /// The keys of access tokens.
    pub(crate) fn access(&self) -> Arc<RotatingKeys<JwtKeyRing>> {
        Arc::clone(&self.0.access)
    }

    /// The public keys of the access tokens that are accepted now, or will be (RFC 7517).
    pub(crate) fn jwks(&self) -> Value {
        self.0.access.current().jwks(self.0.clock.now())
    }
}

impl Revocations {
    /// Waits until a key is revoked.
    pub(crate) async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            // The keys are gone, and with them the service.
            std::future::pending::<()>().await;
        }
    }

    /// Whether one was revoked.
    pub(crate) fn is_told(&self) -> bool {
        self.0.has_changed().unwrap_or(false)
    }
}

impl KeyProvider for LiveKeys {
    fn newest(&self) -> Arc<TokenKey> {
        let now = self.0.clock.now();
        let keys = self.0.refresh.read().unwrap_or_else(PoisonError::into_inner);
        let current = keys.iter().rev().find(|timed| timed.from <= now).or(keys.first());
        #[allow(clippy::expect_used, reason = "a file without a key is refused when it is read")]
        let current = current.expect("there is a key");
        Arc::clone(&current.key)
    }

    fn find(&self, id: KeyId) -> Option<Arc<TokenKey>> {
        let now = self.0.clock.now();
        let keys = self.0.refresh.read().unwrap_or_else(PoisonError::into_inner);
        let found = keys.iter().find(|timed| timed.key.id() == id && timed.until.is_none_or(|until| now < until));
        found.map(|timed| Arc::clone(&timed.key))
    }
}

impl fmt::Debug for LiveKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveKeys").field("access", &self.0.access).finish_non_exhaustive()
    }
}

fn ring(keys: &Keys, overlap: Overlap) -> Result<JwtKeyRing> {
    let nexts = keys.access.iter().skip(1).map(|next| Some(time(next.from))).chain([None]);
    let ring = JwtKeyRing::new().token_lifetime(overlap.access);
    keys.access.iter().enumerate().zip(nexts).try_fold(ring, |ring, ((index, key), next)| {
        let mut entry = RingKey::from(key.signing.clone());
        // The first one makes tokens whatever its time: a clock may be behind.
        if index > 0 {
            entry = entry.active_from(time(key.from));
        }
        if let Some(next) = next {
            entry = entry.retired_at(next);
        }
        ring.with(entry)
    })
}

fn timed(keys: &Keys, overlap: Overlap) -> Result<Vec<Timed>> {
    let nexts = keys.refresh.iter().skip(1).map(|next| Some(time(next.from) + overlap.refresh)).chain([None]);
    let timed = keys.refresh.iter().zip(nexts).map(|(key, until)| {
        Ok(Timed { from: time(key.from), until, key: Arc::new(TokenKey::from_secret(&*key.secret)?) })
    });
    timed.collect()
}
