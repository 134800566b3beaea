//! The client over memcache-async, with connections from a deadpool pool that the application makes.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use deadpool::managed::{Manager, Metrics, Object, Pool, RecycleError, RecycleResult};
use memcache_async::ascii::Protocol;
use session_manager_core::{Clock, SystemClock};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::cache::{Added, CacheClient, CacheConnection, CacheError, CacheItem, CasToken, Swapped, TimeToLive};
use crate::key::CacheKey;

/// One memcached server: what a [`deadpool::managed::Pool`] makes its connections by, when the application's pool asks for one.
#[derive(Clone, Debug)]
pub struct Server {
    address: String,
}

impl Server {
    /// The server at `host:port`.
    pub fn new(address: impl Into<String>) -> Self {
        Self { address: address.into() }
    }
}

/// A connection in the pool.
pub struct ServerConnection {
    protocol: Protocol<Shared>,
    /// The same stream, to look whether the server has hung up.
    stream: Arc<TcpStream>,
}

impl std::fmt::Debug for ServerConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerConnection").finish_non_exhaustive()
    }
}

impl Manager for Server {
    type Type = ServerConnection;
    type Error = io::Error;

    async fn create(&self) -> io::Result<ServerConnection> {
        let stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        let stream = Arc::new(stream);
        Ok(ServerConnection { protocol: Protocol::new(Shared(Arc::clone(&stream))), stream })
    }

    /// Costs no round trip: a server that is gone has hung up, and one that speaks unasked is out of step.
    async fn recycle(&self, connection: &mut ServerConnection, _: &Metrics) -> RecycleResult<io::Error> {
        match connection.stream.try_read(&mut [0]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(RecycleError::Backend(error)),
            Ok(0) => Err(RecycleError::message("the server has hung up")),
            Ok(_) => Err(RecycleError::message("the connection is out of step")),
        }
    }
}

/// [`CacheClient`] of one memcached server over the application's pool.
///
/// # Behaviour
/// - A connection whose command failed, timed out or was dropped half-way leaves the pool; the pool makes another one when it is asked to.
/// - Of the library's commands only those are used that wait for a reply. A deletion is therefore a compare-and-swap with a time to live in
///   the past.
/// - The pool decides how many connections there are and how long one is waited for (deadpool's `Timeouts`); every command has its own
///   limit, 2 seconds by default.
#[derive(Clone, Debug)]
pub struct PooledMemcached {
    pool: Pool<Server>,
    limit: Duration,
}

impl PooledMemcached {
    /// A client on this pool.
    pub const fn new(pool: Pool<Server>) -> Self {
        Self { pool, limit: Duration::from_secs(2) }
    }

    /// How long a reply is waited for, and a connection too where the pool itself sets no limit.
    pub const fn command_timeout(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }
}

#[async_trait]
impl CacheClient for PooledMemcached {
    type Connection = PooledConnection;

    async fn connection(&self) -> Result<PooledConnection, CacheError> {
        let waited = timeout(self.limit, self.pool.get()).await.map_err(|_| CacheError::TimedOut)?;
        let object = waited.map_err(CacheError::unreachable)?;
        Ok(PooledConnection { object: Some(object), busy: false, limit: self.limit })
    }
}

/// A connection taken from the pool, until it is dropped.
#[derive(Debug)]
#[allow(unreachable_pub, unnameable_types, reason = "named by an associated type only")]
pub struct PooledConnection {
    object: Option<Object<Server>>,
    /// A command is under way, or has failed: the next reply may not be ours.
    busy: bool,
    limit: Duration,
}

impl PooledConnection {
    /// Marks the connection as out of step until the command has ended well.
    fn begin(&mut self) -> Result<(&mut Protocol<Shared>, Duration), CacheError> {
        if self.busy {
            return Err(CacheError::unreachable("the connection is out of step"));
        }
        self.busy = true;
        let object = self.object.as_mut().ok_or_else(|| CacheError::unreachable("the connection is gone"))?;
        Ok((&mut object.protocol, self.limit))
    }

    fn end<T>(&mut self, reply: Result<T, CacheError>) -> Result<T, CacheError> {
        self.busy = reply.is_err();
        reply
    }

    async fn gets(&mut self, key: &CacheKey) -> Result<Option<CacheItem>, CacheError> {
        let (protocol, limit) = self.begin()?;
        let reply = match within(limit, protocol.gets_cas(key.as_str())).await? {
            Ok((value, token)) => Ok(Some(CacheItem { value, token: CasToken(token) })),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(error)),
        };
        self.end(reply)
    }

    async fn cas(&mut self, key: &CacheKey, value: &[u8], token: CasToken, at: u32) -> Result<Swapped, CacheError> {
        let (protocol, limit) = self.begin()?;
        let reply = match within(limit, protocol.cas(key.as_str(), value, token.0, at)).await? {
            Ok(true) => Ok(Swapped::Stored),
            Ok(false) => Ok(Swapped::Changed),
            // The library expects another spelling of "not found" than the protocol has, and hands the line out as an error.
            Err(error) if error.kind() == ErrorKind::NotFound || is_missing(&error) => Ok(Swapped::Missing),
            Err(error) => Err(failed(error)),
        };
        self.end(reply)
    }
}

impl Drop for PooledConnection {
    fn drop(&mut self) {
        if let Some(object) = self.object.take()
            && self.busy
        {
            drop(Object::take(object));
        }
    }
}

#[async_trait]
impl CacheConnection for PooledConnection {
    async fn read(&mut self, keys: &[CacheKey]) -> Result<Vec<Option<Vec<u8>>>, CacheError> {
        let texts: Vec<&str> = keys.iter().map(CacheKey::as_str).collect();
        let (protocol, limit) = self.begin()?;
        let reply = within(limit, protocol.get_multi(&texts)).await?.map_err(failed);
        let found = self.end(reply)?;
        Ok(texts.into_iter().map(|key| found.get(key).cloned()).collect())
    }

    async fn get(&mut self, key: &CacheKey) -> Result<Option<CacheItem>, CacheError> {
        self.gets(key).await
    }

    async fn add(&mut self, key: &CacheKey, value: &[u8], ttl: TimeToLive) -> Result<Added, CacheError> {
        let (protocol, limit) = self.begin()?;
        let reply = match within(limit, protocol.add(key.as_str(), value, ttl.exptime(unix_now()))).await? {
            Ok(()) => Ok(Added::Stored),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(Added::Exists),
            Err(error) => Err(failed(error)),
        };
        self.end(reply)
    }

    async fn compare_and_swap(
        &mut self,
        key: &CacheKey,
        value: &[u8],
        token: CasToken,
        ttl: TimeToLive,
    ) -> Result<Swapped, CacheError> {
        self.cas(key, value, token, ttl.exptime(unix_now())).await
    }

    async fn delete(&mut self, key: &CacheKey) -> Result<bool, CacheError> {
        /// The first second that memcached takes for a Unix time: it lies in 1970, so the item has expired when it is stored.
        const PAST: u32 = 30 * 24 * 60 * 60 + 1;
        /// Somebody who changes the item at every attempt wants to have it.
        const ATTEMPTS: usize = 16;
        for _ in 0..ATTEMPTS {
            let Some(item) = self.gets(key).await? else { return Ok(false) };
            match self.cas(key, b"", item.token, PAST).await? {
                Swapped::Stored => return Ok(true),
                Swapped::Missing => return Ok(false),
                Swapped::Changed => {}
            }
        }
        Err(CacheError::Refused("the item changes all the time".to_owned()))
    }
}

async fn within<T>(limit: Duration, reply: impl Future<Output = T>) -> Result<T, CacheError> {
    timeout(limit, reply).await.map_err(|_| CacheError::TimedOut)
}

fn unix_now() -> u64 {
    u64::try_from(SystemClock.now().timestamp()).unwrap_or(0)
}

fn is_missing(error: &io::Error) -> bool {
    error.kind() == ErrorKind::Other && error.to_string().starts_with("NOT_FOUND")
}

/// What a failed command means. The library puts reply lines into its errors, and a line may hold a key: only what a server says of itself
/// is kept.
fn failed(error: io::Error) -> CacheError {
    if matches!(error.kind(), ErrorKind::Other | ErrorKind::InvalidData) {
        let text = error.to_string();
        if text.starts_with("SERVER_ERROR object too large") {
            return CacheError::TooLarge;
        }
        if ["SERVER_ERROR", "CLIENT_ERROR", "ERROR"].iter().any(|start| text.starts_with(start)) {
            return CacheError::Refused(text.trim_end().chars().take(100).collect());
        }
        return CacheError::unreachable("the reply was not understood");
    }
    CacheError::unreachable(error)
}

/// A stream that can be looked at while the protocol owns it.
struct Shared(Arc<TcpStream>);

impl AsyncRead for Shared {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.poll_read_ready(context))?;
            match self.0.try_read(buffer.initialize_unfilled()) {
                Ok(count) => {
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Shared {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(context))?;
            match self.0.try_write(bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
