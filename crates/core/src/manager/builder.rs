//! Puts a manager together and refuses parts that do not fit.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32};

use super::activity::Activity;
use super::delivery::Sink;
use super::recent::Recent;
use super::rejections::Rejections;
use super::verification::{Verification, entry_life};
use super::watch::Watch;
use super::{Inner, SessionManager};
use crate::audit::{AuditBackend, Delivery, SessionObserver};
use crate::backend::SessionBackend;
use crate::bus::InvalidationBus;
use crate::clock::{Clock, SystemClock};
use crate::enricher::SessionEnricher;
use crate::error::{Error, ErrorKind, Result};
use crate::policy::SessionPolicy;
use crate::possession::PossessionVerifier;
use crate::random::{Random, SystemRandom};
use crate::snapshot::LivePolicy;
use crate::storage::{Durability, OnLimit, SessionStorage};
use crate::suspicion::SuspicionRule;
use crate::telemetry::{NoopTelemetry, Telemetry};

/// Builds a [`SessionManager`]. A storage and a token backend are required; everything else has a default.
#[derive(Default)]
#[must_use]
pub struct SessionManagerBuilder {
    storage: Option<Arc<dyn SessionStorage>>,
    backend: Option<Arc<dyn SessionBackend>>,
    policy: SessionPolicy,
    sinks: Vec<Sink>,
    enrichers: Vec<Arc<dyn SessionEnricher>>,
    rules: Vec<Arc<dyn SuspicionRule>>,
    observers: Vec<Arc<dyn SessionObserver>>,
    bus: Option<Arc<dyn InvalidationBus>>,
    clock: Option<Arc<dyn Clock>>,
    random: Option<Arc<dyn Random>>,
    allow_volatile: bool,
    accessed_every: Option<NonZeroU32>,
    telemetry: Option<Arc<dyn Telemetry>>,
    verification: Verification,
    possession: Option<Arc<dyn PossessionVerifier>>,
}

impl SessionManagerBuilder {
    /// Where sessions live.
    pub fn storage(mut self, storage: Arc<dyn SessionStorage>) -> Self {
        self.storage = Some(storage);
        self
    }

    /// What tokens look like.
    pub fn backend(mut self, backend: Arc<dyn SessionBackend>) -> Self {
        self.backend = Some(backend);
        self
    }

    /// The rules.
    pub fn policy(mut self, policy: SessionPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Adds an audit sink. Without one nothing is recorded.
    pub fn audit(mut self, backend: Arc<dyn AuditBackend>, delivery: Delivery) -> Self {
        self.sinks.push(Sink::new(backend, delivery));
        self
    }

    /// Adds an enricher.
    pub fn enricher(mut self, enricher: Arc<dyn SessionEnricher>) -> Self {
        self.enrichers.push(enricher);
        self
    }

    /// Adds a suspicion rule, judged at every sign-in, refresh and authentication, and now and then at a refused token.
    pub fn rule(mut self, rule: Arc<dyn SuspicionRule>) -> Self {
        self.rules.push(rule);
        self
    }

    /// Adds a reaction to what happened.
    pub fn observer(mut self, observer: Arc<dyn SessionObserver>) -> Self {
        self.observers.push(observer);
        self
    }

    /// Tells other nodes, and [`SessionManager::ended`], what changes.
    pub fn bus(mut self, bus: Arc<dyn InvalidationBus>) -> Self {
        self.bus = Some(bus);
        self
    }

    /// Another clock than the machine's.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Another source of randomness than the operating system.
    pub fn random(mut self, random: Arc<dyn Random>) -> Self {
        self.random = Some(random);
        self
    }

    /// Accepts a storage that forgets its sessions with its process or by eviction.
    pub fn allow_volatile(mut self, allow: bool) -> Self {
        self.allow_volatile = allow;
        self
    }

    /// Records one in so many authentications; every one by default.
    pub fn record_accessed_every(mut self, one_in: NonZeroU32) -> Self {
        self.accessed_every = Some(one_in);
        self
    }

    /// Measures operations and what goes wrong aside. Without it nothing is measured, and no time is read for it.
    pub fn telemetry(mut self, telemetry: Arc<dyn Telemetry>) -> Self {
        self.telemetry = Some(telemetry);
        self
    }

    /// Proves that requests hold the keys their tokens are bound to. The storage remembers each proof for as long as it could be repeated.
    pub fn possession(mut self, verifier: Arc<dyn PossessionVerifier>) -> Self {
        self.possession = Some(verifier);
        self
    }

    /// How access tokens are checked. By default every check reads the session.
    pub fn verification(mut self, verification: Verification) -> Self {
        self.verification = verification;
        self
    }

    /// Puts the manager together.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`], naming what is missing or what the storage cannot keep, and where the verification needs the
    /// background work; [`ErrorKind::Internal`] when the operating system gives no randomness.
    pub fn build(self) -> Result<SessionManager> {
        self.assemble(false)
    }

    /// Puts the manager together and returns its background work with it, which the application promises to run: it is
    /// [`SessionManager::maintenance`].
    ///
    /// # Errors
    /// Those of [`SessionManagerBuilder::build`], save for the want of background work.
    pub fn build_with_maintenance(self) -> Result<(SessionManager, impl Future<Output = ()> + Send + use<>)> {
        let manager = self.assemble(true)?;
        let work = manager.maintenance();
        Ok((manager, work))
    }

    fn assemble(self, maintained: bool) -> Result<SessionManager> {
        let refuse = |message: &'static str| Error::new(ErrorKind::Misconfigured, "build").because(message);
        let storage = self.storage.ok_or_else(|| refuse("a storage is missing"))?;
        let backend = self.backend.ok_or_else(|| refuse("a token backend is missing"))?;
        self.policy.validate()?;
        let capabilities = storage.capabilities();
        if capabilities.durability == Durability::Volatile && !self.allow_volatile {
            return Err(refuse("the storage is volatile: call allow_volatile(true) if sessions may be lost with it"));
        }
        if !capabilities.cap && self.policy.on_limit != OnLimit::Unlimited {
            return Err(refuse("the storage cannot enforce max_sessions: set on_limit to unlimited"));
        }
        let lifetime = backend.capabilities().access_token_lifetime;
        if lifetime.is_some_and(|lifetime| lifetime != self.policy.access_token_lifetime) {
            return Err(refuse("the token backend and the policy need the same access_token_lifetime"));
        }
        if self.possession.is_some() && !capabilities.remember_once {
            return Err(refuse("the storage cannot remember proofs of possession, so they could be repeated"));
        }
        self.verification.validate(&self.policy, &*storage, &*backend, maintained)?;
        let watch = match self.verification {
            Verification::Feed { max_age } => Some(Watch::new(max_age, entry_life(&self.policy))),
            _ => None,
        };
        let random = match self.random {
            Some(random) => random,
            None => Arc::new(SystemRandom::new()?),
        };
        let live = if capabilities.epochs { LivePolicy::TRACKED } else { LivePolicy::UNTRACKED };
        Ok(SessionManager(Arc::new(Inner {
            storage,
            backend,
            policy: self.policy,
            sinks: self.sinks,
            enrichers: self.enrichers,
            rules: self.rules,
            observers: self.observers,
            bus: self.bus,
            clock: self.clock.unwrap_or_else(|| Arc::new(SystemClock)),
            random,
            live,
            verification: self.verification,
            watch,
            activity: Activity::default(),
            notes_activity: maintained && self.verification != Verification::Always,
            accessed_every: self.accessed_every.unwrap_or(NonZeroU32::MIN),
            accessed: AtomicU32::new(0),
            possession: self.possession,
            rejections: Rejections::default(),
            recent: Recent::default(),
            maintained: AtomicBool::new(false),
            measured: self.telemetry.is_some(),
            telemetry: self.telemetry.unwrap_or_else(|| Arc::new(NoopTelemetry)),
        })))
    }
}

impl fmt::Debug for SessionManagerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionManagerBuilder").field("policy", &self.policy).finish_non_exhaustive()
    }
}
