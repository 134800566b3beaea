//! Our side: an operation of the storage by itself, or of the manager with a JWT backend before it.

use std::{
    any::Any,
    fmt,
    hint::black_box,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use session_manager_core::{
    Actor, ClientInfo, Clock, NewSession, RequestContext, RevocationReason, SessionKey, SessionManager, SessionStorage,
    SystemClock, TokenPair, UserId,
    storage::{Advance, AdvanceOutcome, Consistency, Purge, PurgeScope, Query, Revoke, RevokeTarget},
};
use session_manager_tests::bed;

use crate::{
    measure::{Outcome, Plan, Side, Turn},
    population::{self, Population, gather, user_of},
};

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Operation {
    Read,
    Authenticate,
    List,
    Refresh,
    ManagedRefresh,
    Revoke,
    Create,
    ManagedCreate,
}

impl Operation {
    pub(crate) const ALL: [Self; 8] = [
        Self::Read,
        Self::Authenticate,
        Self::List,
        Self::Refresh,
        Self::ManagedRefresh,
        Self::Revoke,
        Self::Create,
        Self::ManagedCreate,
    ];

    /// What is measured as the sessions grow.
    pub(crate) const GROWING: [Self; 4] = [Self::Read, Self::List, Self::Refresh, Self::Revoke];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Read => "get (storage)",
            Self::Authenticate => "authenticate (manager, JWT)",
            Self::List => "list 5 (storage)",
            Self::Refresh => "refresh (storage)",
            Self::ManagedRefresh => "refresh (manager, JWT)",
            Self::Revoke => "revoke (storage)",
            Self::Create => "create (storage)",
            Self::ManagedCreate => "create (manager, JWT)",
        }
    }
}

/// A storage with sessions, a manager on it with sessions of its own, and whatever has to live as long.
pub(crate) struct Store {
    pub(crate) storage: Arc<dyn SessionStorage>,
    pub(crate) people: Population,
    /// What each [`Operation::Revoke`] ends is made before: of so many of the present users, or of as many new ones as the slice allows.
    pub(crate) revoke_among: Option<usize>,
    manager: SessionManager,
    signed_in: Vec<Mutex<Tokens>>,
    _held: Box<dyn Any + Send + Sync>,
}

#[derive(Clone)]
struct Tokens {
    access: String,
    refresh: String,
}

impl Store {
    pub(crate) fn new(
        storage: Arc<dyn SessionStorage>,
        people: Population,
        held: impl Any + Send + Sync,
    ) -> Outcome<Self> {
        let manager = SessionManager::builder()
            .storage(Arc::clone(&storage))
            .backend(bed::backend())
            .allow_volatile(true)
            .build()?;
        Ok(Self { storage, people, revoke_among: None, manager, signed_in: Vec::new(), _held: Box::new(held) })
    }

    /// Signs users in through the manager.
    pub(crate) async fn sign_in(mut self, count: usize) -> Outcome<Self> {
        let sign_in = |index: usize| {
            let manager = &self.manager;
            async move {
                let user = UserId::parse(&format!("signed-in-{index}"))?;
                let created = manager.create(NewSession::of(user).by(["pwd"]), &context()).await?;
                Ok(Mutex::new(tokens(&created.tokens)))
            }
        };
        self.signed_in = gather((0..count).map(sign_in), 8).await?;
        Ok(self)
    }

    fn tokens(&self, index: usize) -> Outcome<&Mutex<Tokens>> {
        self.signed_in.get(index).ok_or_else(|| "nobody is signed in".into())
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("storage", &self.storage).finish_non_exhaustive()
    }
}

fn tokens(pair: &TokenPair) -> Tokens {
    Tokens { access: pair.access.expose().to_owned(), refresh: pair.refresh.expose().to_owned() }
}

fn context() -> RequestContext {
    let address = IpAddr::from([203, 0, 113, 7]);
    RequestContext::from_client(ClientInfo::new().agent("Firefox/143").ip(address))
}

/// One operation on a store.
#[derive(Debug)]
pub(crate) struct Ours {
    store: Arc<Store>,
    operation: Operation,
    context: RequestContext,
    in_flight: usize,
    /// What there is to revoke.
    supply: Mutex<Vec<SessionKey>>,
    revoked: Mutex<Vec<SessionKey>>,
}

impl Ours {
    pub(crate) fn new(store: Arc<Store>, operation: Operation, in_flight: usize) -> Self {
        let (supply, revoked) = (Mutex::default(), Mutex::default());
        Self { store, operation, context: context(), in_flight, supply, revoked }
    }

    async fn read(&self, turn: Turn) -> Outcome {
        let (_, key) = self.store.people.any(turn)?;
        let storage = &self.store.storage;
        // As the manager asks.
        let snapshot = match storage.try_read(&key) {
            Some(answer) => answer,
            None => storage.read(&key, Consistency::Latest).await?,
        };
        black_box(snapshot).map(drop).ok_or_else(|| "a session is missing".into())
    }

    async fn authenticate(&self, turn: Turn) -> Outcome {
        let index = turn.pick(self.store.signed_in.len());
        let token = lock(self.store.tokens(index)?).access.clone();
        black_box(self.store.manager.authenticate(&token, &self.context).await?);
        Ok(())
    }

    async fn list(&self, turn: Turn) -> Outcome {
        let (index, _) = self.store.people.any(turn)?;
        let page = self.store.storage.list(&Query::of(user_of(index)?, SystemClock.now())).await?;
        if page.sessions.len() < population::PER_USER {
            return Err(format!("a list of {}", page.sessions.len()).into());
        }
        black_box(page);
        Ok(())
    }

    async fn refresh(&self, turn: Turn) -> Outcome {
        let people = &self.store.people;
        let (index, key) = people.own(turn, self.in_flight)?;
        let request = Advance::new(key, people.generation(index), Duration::from_secs(10), SystemClock.now());
        match self.store.storage.advance(&request).await? {
            AdvanceOutcome::Advanced(snapshot) => people.refreshed(index, snapshot.control.generation),
            other => return Err(format!("not refreshed: {other:?}").into()),
        }
        Ok(())
    }

    async fn managed_refresh(&self, turn: Turn) -> Outcome {
        let index = turn.worker + self.in_flight * turn.pick(self.store.signed_in.len() / self.in_flight);
        let known = self.store.tokens(index)?;
        let token = lock(known).refresh.clone();
        let refreshed = self.store.manager.refresh(&token, &self.context).await?;
        *lock(known) = tokens(&refreshed.tokens);
        Ok(())
    }

    /// `false`: all are revoked.
    async fn revoke(&self) -> Outcome<bool> {
        let Some(key) = lock(&self.supply).pop() else { return Ok(false) };
        let target = RevokeTarget::One { key, owner: None };
        let request = Revoke::new(target, RevocationReason::LOGOUT, Actor::System, SystemClock.now());
        let revoked = self.store.storage.revoke(&request).await?;
        if revoked.sessions.len() != 1 {
            return Err("nothing was revoked".into());
        }
        lock(&self.revoked).push(key);
        Ok(true)
    }

    async fn create(&self) -> Outcome {
        black_box(population::insert(&self.store.storage, self.store.people.newcomer()?).await?);
        Ok(())
    }

    async fn managed_create(&self) -> Outcome {
        let new = NewSession::of(self.store.people.newcomer()?).by(["pwd"]);
        black_box(self.store.manager.create(new, &self.context).await?);
        Ok(())
    }

    /// Sessions to be revoked. Among the present users, last slice's are removed, so that there are always as many.
    async fn supply(&self, plan: Plan) -> Outcome {
        let storage = &self.store.storage;
        let Some(count) = self.store.revoke_among else {
            let end = Instant::now() + plan.slice;
            while Instant::now() < end {
                let new = (0..256).map(|_| async { population::insert(storage, self.store.people.newcomer()?).await });
                let new = gather(new, plan.in_flight).await?;
                lock(&self.supply).extend(new);
            }
            return Ok(());
        };
        let revoked = std::mem::take(&mut *lock(&self.revoked));
        let purge = |key| async move {
            let request = Purge::new(PurgeScope::One(key), 1, SystemClock.now());
            Ok(storage.purge(&request).await.map(drop)?)
        };
        gather(revoked.into_iter().map(purge), plan.in_flight).await?;
        let missing = count.saturating_sub(lock(&self.supply).len());
        let insert = |number: usize| async move {
            let turn = Turn { worker: 0, number: number as u64 };
            population::insert(storage, user_of(turn.pick(self.store.people.len()))?).await
        };
        let new = gather((0..missing).map(insert), plan.in_flight).await?;
        lock(&self.supply).extend(new);
        Ok(())
    }
}

impl Side for Ours {
    async fn prepare(&self, plan: Plan) -> Outcome {
        if self.operation == Operation::Revoke { self.supply(plan).await } else { Ok(()) }
    }

    async fn step(&self, turn: Turn) -> Outcome<bool> {
        match self.operation {
            Operation::Read => self.read(turn).await?,
            Operation::Authenticate => self.authenticate(turn).await?,
            Operation::List => self.list(turn).await?,
            Operation::Refresh => self.refresh(turn).await?,
            Operation::ManagedRefresh => self.managed_refresh(turn).await?,
            Operation::Revoke => return self.revoke().await,
            Operation::Create => self.create().await?,
            Operation::ManagedCreate => self.managed_create().await?,
        }
        Ok(true)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
