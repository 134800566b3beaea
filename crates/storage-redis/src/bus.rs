//! The invalidation bus over Redis pub/sub.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{self, BoxFuture, Either};
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use redis::RedisResult;
use redis::aio::{ConnectionLike, PubSub};
use session_manager_core::storage::Notice;
use session_manager_core::{BusEvent, BusRelay, Clock, InvalidationBus, Result, SystemClock, SystemRandom};

use crate::error::Failure;
use crate::link::{Link, Single};

/// How often each node says that the bus is up.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// After how many silent heartbeats a subscription counts as broken.
const SILENT: u32 = 3;
/// How long to wait between attempts to subscribe.
const PAUSE: Duration = Duration::from_secs(1);

type Connect = dyn Fn() -> BoxFuture<'static, RedisResult<PubSub>> + Send + Sync;

/// Tells all nodes of an application what changes, over one channel of Redis pub/sub.
///
/// # Behaviour
/// - It only shortens delays: what it loses is found by reading the storage. Subscribers hear [`BusEvent::Lost`] whenever messages may have
///   been lost, and heartbeats every two seconds while it is up.
/// - Subscribers on the same node are told without Redis.
/// - **It hears other nodes only while its [`maintenance`](InvalidationBus::maintenance) runs** (the manager's runs it). Without it,
///   other nodes' changes are seen within the bound of the cache or verification mode that uses it.
/// - A broken subscription is made anew every second, and a silent one counts as broken after six.
/// - In a Redis Cluster every node passes messages on to every other: publish and subscribe wherever you like.
#[derive(Clone)]
pub struct RedisBus {
    link: Arc<dyn Link>,
    connect: Arc<Connect>,
    channel: String,
    relay: Arc<BusRelay>,
}

impl RedisBus {
    /// Publishes over a connection and subscribes over connections that `subscribe` opens: the application's, as
    /// `move || { let client = client.clone(); async move { client.get_async_pubsub().await } }`.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`](session_manager_core::ErrorKind::Internal) when the operating system gives no randomness.
    pub fn new<C, F, Fut>(publisher: C, channel: impl Into<String>, subscribe: F) -> Result<Self>
    where
        C: ConnectionLike + Clone + Send + Sync + 'static,
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = RedisResult<PubSub>> + Send + 'static,
    {
        Self::over(Arc::new(Single(publisher)), channel.into(), subscribe)
    }

    /// Publishes over a cluster's connection.
    ///
    /// # Errors
    /// As [`RedisBus::new`].
    #[cfg(feature = "cluster")]
    pub fn cluster<F, Fut>(
        publisher: redis::cluster_async::ClusterConnection,
        channel: impl Into<String>,
        subscribe: F,
    ) -> Result<Self>
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = RedisResult<PubSub>> + Send + 'static,
    {
        Self::over(Arc::new(crate::cluster::Clustered(publisher)), channel.into(), subscribe)
    }

    fn over<F, Fut>(link: Arc<dyn Link>, channel: String, subscribe: F) -> Result<Self>
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = RedisResult<PubSub>> + Send + 'static,
    {
        let connect: Arc<Connect> = Arc::new(move || subscribe().boxed());
        Ok(Self { link, connect, channel, relay: Arc::new(BusRelay::new(&SystemRandom::new()?)?) })
    }

    async fn send(&self, message: &str) -> Result<()> {
        let mut command = redis::cmd("PUBLISH");
        command.arg(&self.channel).arg(message);
        let sent = self.link.call(&self.channel, &command).await;
        sent.map(drop).map_err(|error| Failure::from(error).during("publish"))
    }

    /// Subscribes and passes on what comes, until the subscription breaks.
    async fn listen(&self) -> RedisResult<()> {
        let mut subscription = (self.connect)().await?;
        subscription.subscribe(&self.channel).await?;
        // What was said before is unknown.
        self.relay.lost();
        let mut messages = subscription.on_message();
        let mut silent = 0;
        while silent < SILENT {
            let mut beat = SystemClock.sleep(HEARTBEAT);
            loop {
                match future::select(messages.next(), beat).await {
                    Either::Left((None, _)) => return Ok(()),
                    Either::Left((Some(message), rest)) => {
                        silent = 0;
                        beat = rest;
                        match message.get_payload::<String>() {
                            Ok(text) => self.relay.hear(&text),
                            Err(_) => self.relay.lost(),
                        }
                    }
                    Either::Right(_) => break,
                }
            }
            silent += 1;
            // A failure shows as silence.
            let _: Result<()> = self.send(&self.relay.heartbeat()).await;
        }
        Ok(())
    }

    async fn listen_for_ever(&self) {
        loop {
            // However it ended, it is tried again: a background task that ends at the first error is worse than none.
            let _: RedisResult<()> = self.listen().await;
            self.relay.lost();
            SystemClock.sleep(PAUSE).await;
        }
    }
}

#[async_trait]
impl InvalidationBus for RedisBus {
    async fn publish(&self, notice: &Notice) -> Result<()> {
        self.send(&self.relay.publish(notice)).await
    }

    fn subscribe(&self) -> BoxStream<'static, BusEvent> {
        self.relay.subscribe()
    }

    fn maintenance(&self) -> Option<BoxFuture<'_, ()>> {
        Some(self.listen_for_ever().boxed())
    }
}

impl fmt::Debug for RedisBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBus").field("channel", &self.channel).finish_non_exhaustive()
    }
}
