//! A cache in memory that behaves as memcached does, and misbehaves as a network and an eviction do when it is told to.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use session_manager_storage_memcached::{
    Added, CacheClient, CacheConnection, CacheError, CacheItem, CacheKey, CasToken, Swapped, TimeToLive,
};

/// What a command is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Command {
    Read,
    Get,
    Add,
    Swap,
    Delete,
}

/// What happens to a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// It never arrives.
    Unsent,
    /// It is carried out, but its reply is lost.
    LostReply,
    /// A swap says that somebody else was faster although nobody was.
    Spurious,
}

type Script = Box<dyn FnMut(usize, Command, &FakeCache) -> Fault + Send>;

/// The cache; clones are the same.
#[derive(Clone, Default)]
pub(crate) struct FakeCache(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    script: Mutex<Option<(usize, Script)>>,
}

#[derive(Default)]
struct State {
    items: BTreeMap<String, (Vec<u8>, u64)>,
    last_token: u64,
    /// Raised by a restart, which cuts all connections.
    life: u64,
}

impl FakeCache {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on asks this before every command, with the command's number from 0.
    pub(crate) fn script(&self, script: impl FnMut(usize, Command, &Self) -> Fault + Send + 'static) {
        *self.0.script.lock().unwrap() = Some((0, Box::new(script)));
    }

    /// Behaves again. Returns how many commands there were.
    pub(crate) fn behave(&self) -> usize {
        self.0.script.lock().unwrap().take().map_or(0, |(count, _)| count)
    }

    /// Everything there is, as it is.
    pub(crate) fn copy(&self) -> Vec<(String, Vec<u8>)> {
        self.state().items.iter().map(|(key, (value, _))| (key.clone(), value.clone())).collect()
    }

    /// Puts an item there, whatever was there before.
    pub(crate) fn force(&self, key: &str, value: &[u8]) {
        self.state().put(key, value);
    }

    /// Evicts the items whose key contains this, and says how many they were.
    pub(crate) fn evict(&self, part: &str) -> usize {
        let mut state = self.state();
        let before = state.items.len();
        state.items.retain(|key, _| !key.contains(part));
        before - state.items.len()
    }

    /// Forgets everything, counts its tokens from the beginning, and cuts all connections.
    pub(crate) fn restart(&self) {
        let mut state = self.state();
        let life = state.life + 1;
        *state = State { life, ..State::default() };
    }

    /// The script is taken out while it runs, so that it may use the cache itself.
    fn ask(&self, command: Command) -> Fault {
        let Some((count, mut script)) = self.0.script.lock().unwrap().take() else { return Fault::None };
        let fault = script(count, command, self);
        self.0.script.lock().unwrap().get_or_insert((count + 1, script));
        fault
    }
}

impl State {
    fn put(&mut self, key: &str, value: &[u8]) {
        self.last_token += 1;
        self.items.insert(key.to_owned(), (value.to_vec(), self.last_token));
    }
}

impl fmt::Debug for FakeCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FakeCache")
    }
}

#[async_trait]
impl CacheClient for FakeCache {
    type Connection = FakeConnection;

    async fn connection(&self) -> Result<FakeConnection, CacheError> {
        Ok(FakeConnection { cache: self.clone(), life: self.state().life, broken: false })
    }
}

pub(crate) struct FakeConnection {
    cache: FakeCache,
    life: u64,
    broken: bool,
}

impl FakeConnection {
    async fn run<T: Send>(
        &mut self,
        command: Command,
        spurious: Option<T>,
        effect: impl FnOnce(&mut State) -> T + Send,
    ) -> Result<T, CacheError> {
        assert!(!self.broken, "a connection is used after it failed");
        let fault = self.cache.ask(command);
        // Lets others in between any two commands, as a network does.
        let mut yielded = false;
        std::future::poll_fn(|context| {
            if std::mem::replace(&mut yielded, true) {
                return std::task::Poll::Ready(());
            }
            context.waker().wake_by_ref();
            std::task::Poll::Pending
        })
        .await;
        let mut state = self.cache.state();
        self.broken = fault == Fault::Unsent || state.life != self.life;
        if self.broken {
            return Err(CacheError::unreachable("the connection is cut"));
        }
        if let (Fault::Spurious, Some(reply)) = (fault, spurious) {
            return Ok(reply);
        }
        let reply = effect(&mut state);
        self.broken = fault == Fault::LostReply;
        if self.broken { Err(CacheError::unreachable("the reply is lost")) } else { Ok(reply) }
    }
}

#[async_trait]
impl CacheConnection for FakeConnection {
    async fn read(&mut self, keys: &[CacheKey]) -> Result<Vec<Option<Vec<u8>>>, CacheError> {
        let find = |state: &mut State| {
            keys.iter().map(|key| state.items.get(key.as_str()).map(|(value, _)| value.clone())).collect()
        };
        self.run(Command::Read, None, find).await
    }

    async fn get(&mut self, key: &CacheKey) -> Result<Option<CacheItem>, CacheError> {
        let find = |state: &mut State| {
            let (value, token) = state.items.get(key.as_str())?;
            Some(CacheItem { value: value.clone(), token: CasToken(*token) })
        };
        self.run(Command::Get, None, find).await
    }

    async fn add(&mut self, key: &CacheKey, value: &[u8], _: TimeToLive) -> Result<Added, CacheError> {
        let add = |state: &mut State| {
            if state.items.contains_key(key.as_str()) {
                return Added::Exists;
            }
            state.put(key.as_str(), value);
            Added::Stored
        };
        self.run(Command::Add, None, add).await
    }

    async fn compare_and_swap(
        &mut self,
        key: &CacheKey,
        value: &[u8],
        token: CasToken,
        _: TimeToLive,
    ) -> Result<Swapped, CacheError> {
        let swap = |state: &mut State| match state.items.get(key.as_str()) {
            None => Swapped::Missing,
            Some((_, there)) if *there != token.0 => Swapped::Changed,
            Some(_) => {
                state.put(key.as_str(), value);
                Swapped::Stored
            }
        };
        self.run(Command::Swap, Some(Swapped::Changed), swap).await
    }

    async fn delete(&mut self, key: &CacheKey) -> Result<bool, CacheError> {
        self.run(Command::Delete, None, |state| state.items.remove(key.as_str()).is_some()).await
    }
}

/// Runs a future of the fake cache inside a script, which cannot wait.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    loop {
        if let std::task::Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
}
