//! A manager of real parts: JWT backend, any storage, manual clock, remembering sink.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use session_manager_backend_jwt::{JwtBackend, SigningKey};
use session_manager_core::token::{KeyRing, ReferenceTokens, TokenKey};
use session_manager_core::{
    ClientInfo, Clock, Created, Delivery, ErrorKind, ManualClock, NewSession, RequestContext, SessionBackend,
    SessionManager, SessionManagerBuilder, SessionPolicy, SessionStorage, UserId,
};
use session_manager_storage_memory::{MemoryStorage, MemoryStorageConfig};

use crate::sink::RememberingSink;

/// A manager and what surrounds it.
#[derive(Debug)]
pub struct Bed {
    /// The manager.
    pub manager: SessionManager,
    /// Its clock.
    pub clock: Arc<ManualClock>,
    /// Its only sink, required.
    pub sink: Arc<RememberingSink>,
}

impl Bed {
    /// A manager on a storage in memory.
    pub fn in_memory() -> Self {
        Self::on(memory())
    }

    /// A manager on this storage with the default policy.
    pub fn on(storage: Arc<dyn SessionStorage>) -> Self {
        Self::with(storage, |builder| builder)
    }

    /// A manager on this storage, built with more parts.
    pub fn with(
        storage: Arc<dyn SessionStorage>,
        more: impl FnOnce(SessionManagerBuilder) -> SessionManagerBuilder,
    ) -> Self {
        let clock = Arc::new(ManualClock::default());
        let sink = Arc::new(RememberingSink::default());
        let builder = SessionManager::builder()
            .storage(storage)
            .backend(backend())
            .clock(clock.clone())
            .audit(sink.clone(), Delivery::Required)
            .allow_volatile(true);
        Self { manager: more(builder).build().expect("the parts fit"), clock, sink }
    }

    /// A manager on a storage in memory with this policy.
    pub fn with_policy(change: impl FnOnce(&mut SessionPolicy)) -> Self {
        let mut policy = SessionPolicy::default();
        change(&mut policy);
        Self::with(memory(), |builder| builder.policy(policy))
    }

    /// Signs a user in.
    pub async fn sign_in(&self, name: &str) -> Created {
        self.manager.create(NewSession::of(user(name)).by(["pwd"]), &firefox()).await.expect("a sign-in")
    }

    /// Moves the clock.
    pub fn pass(&self, duration: Duration) {
        self.clock.advance(duration);
    }

    /// What the clock shows.
    pub fn clock_now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// What a request with this access token is told.
    pub async fn access(&self, token: &session_manager_core::Token) -> Result<(), ErrorKind> {
        self.manager.authenticate(token.expose(), &firefox()).await.map(drop).map_err(|error| error.kind())
    }
}

/// A storage in memory.
pub fn memory() -> Arc<dyn SessionStorage> {
    Arc::new(MemoryStorage::new(MemoryStorageConfig::new()).expect("good bounds"))
}

/// A JWT backend with fixed keys.
pub fn backend() -> Arc<dyn SessionBackend> {
    let secret: Vec<u8> = (0..32).collect();
    let refresh = ReferenceTokens::new(Arc::new(KeyRing::new(TokenKey::from_secret(&secret).expect("a good secret"))));
    let seed: [u8; 32] = std::array::from_fn(|index| u8::try_from(index).unwrap_or_default() ^ 0x5A);
    let key = SigningKey::ed25519_from_seed(&seed).expect("a good seed");
    Arc::new(
        JwtBackend::builder(key, refresh)
            .issuer("https://issuer.test")
            .audience("https://api.test")
            .build()
            .expect("a backend"),
    )
}

/// A user by name.
pub fn user(name: &str) -> UserId {
    UserId::parse(name).expect("a user id")
}

/// A request from a browser.
pub fn firefox() -> RequestContext {
    RequestContext::from_client(ClientInfo::new().agent("Firefox/143").ip([203, 0, 113, 7].into()))
        .request_id("request-1")
}

/// A request from a phone.
pub fn phone() -> RequestContext {
    RequestContext::from_client(ClientInfo::new().agent("Safari/iPhone").ip([198, 51, 100, 9].into()))
}
