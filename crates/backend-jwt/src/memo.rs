//! What is remembered of tokens whose signature was proven, so that it is proven once.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, Utc};
use foldhash::fast::RandomState;
use quick_cache::UnitWeighter;
use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};

use crate::ring::JwtKeyRing;
use crate::validation::Proven;

/// SHA-256 of all bytes of a token: whoever can find two tokens of one digest has broken the signatures as well.
pub(crate) type TokenDigest = [u8; 32];

/// A bounded memory of proven tokens.
///
/// # Behaviour
/// It holds successes only, each under the ring that proved it. Another ring believes none of them, and its first token empties it.
pub(crate) struct Memo {
    proven: Cache<TokenDigest, Arc<Entry>, UnitWeighter, RandomState>,
    /// The ring by which it was last used.
    ring: AtomicU64,
}

/// A proven token.
pub(crate) struct Entry {
    pub(crate) proven: Proven,
    ring: u64,
    accepted_until: Option<DateTime<Utc>>,
}

impl Memo {
    /// Room for so many tokens.
    pub(crate) fn new(tokens: usize) -> Self {
        let room = u64::try_from(tokens).unwrap_or(u64::MAX);
        let proven = Cache::with(
            tokens,
            room,
            UnitWeighter,
            RandomState::default(),
            quick_cache::sync::DefaultLifecycle::default(),
        );
        Self { proven, ring: AtomicU64::new(u64::MAX) }
    }

    pub(crate) fn digest(token: &str) -> TokenDigest {
        Sha256::digest(token).into()
    }

    /// What was proven of a token by this very ring, if its key still stands.
    pub(crate) fn find(&self, digest: &TokenDigest, ring: &JwtKeyRing, now: DateTime<Utc>) -> Option<Arc<Entry>> {
        if self.ring.load(Ordering::Acquire) != ring.version() {
            self.ring.store(ring.version(), Ordering::Release);
            self.proven.clear();
            return None;
        }
        let entry = self.proven.get(digest)?;
        let stands = entry.ring == ring.version() && entry.accepted_until.is_none_or(|until| now < until);
        stands.then_some(entry)
    }

    pub(crate) fn remember(
        &self,
        digest: TokenDigest,
        proven: Proven,
        ring: &JwtKeyRing,
        accepted_until: Option<DateTime<Utc>>,
    ) {
        self.proven.insert(digest, Arc::new(Entry { proven, ring: ring.version(), accepted_until }));
    }

    /// How many tokens are remembered.
    pub(crate) fn len(&self) -> usize {
        self.proven.len()
    }
}

impl fmt::Debug for Memo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memo").field("tokens", &self.len()).finish_non_exhaustive()
    }
}
