//! The invalidation bus over PostgreSQL's LISTEN and NOTIFY.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::{self, BoxFuture, Either};
use futures_util::stream::BoxStream;
use session_manager_core::storage::Notice;
use session_manager_core::{BusEvent, BusRelay, Clock, InvalidationBus, Result, SystemClock, SystemRandom};
use sqlx::postgres::PgListener;
use sqlx::{PgPool, Postgres};

use crate::error::classify;

/// How often each node says that the bus is up.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// After how many silent heartbeats a subscription counts as broken.
const SILENT: u32 = 3;
/// How long to wait between attempts to subscribe.
const PAUSE: Duration = Duration::from_secs(1);

/// Tells all nodes of an application what changes, over one channel of PostgreSQL.
///
/// # Behaviour
/// - It only shortens delays: what it loses is found by reading the storage. Subscribers hear [`BusEvent::Lost`] whenever messages may have
///   been lost, and heartbeats every two seconds while it is up.
/// - Subscribers on the same node are told without the database.
/// - **It hears other nodes only while its [`maintenance`](InvalidationBus::maintenance) runs** (the manager's runs it), which keeps
///   one connection of the pool for itself.
/// - A broken subscription is made anew every second, and a silent one counts as broken after six.
/// - `LISTEN` needs a session of its own: not through a pooler in transaction mode. Give it a pool that goes to the server.
#[derive(Clone)]
pub struct PgBus {
    pool: PgPool,
    channel: String,
    relay: Arc<BusRelay>,
}

impl PgBus {
    /// A bus over the application's pool, on a channel of any name.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`](session_manager_core::ErrorKind::Internal) when the operating system gives no randomness.
    pub fn new(pool: PgPool, channel: impl Into<String>) -> Result<Self> {
        Ok(Self { pool, channel: channel.into(), relay: Arc::new(BusRelay::new(&SystemRandom::new()?)?) })
    }

    async fn send(&self, message: &str) -> Result<()> {
        let notify = sqlx::query("SELECT pg_notify($1, $2)").bind(&self.channel).bind(message);
        let sent = notify.execute(&self.pool).await;
        sent.map(drop).map_err(|error| classify::<Postgres>(error).during("publish").into())
    }

    /// Subscribes and passes on what comes, until the subscription breaks.
    async fn listen(&self) -> sqlx::Result<()> {
        let mut listener = PgListener::connect_with(&self.pool).await?;
        listener.listen(&self.channel).await?;
        // What was said before is unknown.
        self.relay.lost();
        let (mut silent, mut beat) = (0, SystemClock.sleep(HEARTBEAT));
        loop {
            let mut received = listener.try_recv().boxed();
            loop {
                match future::select(received, beat).await {
                    Either::Left((notification, rest)) => {
                        // None: the connection broke.
                        let Some(notification) = notification? else { return Ok(()) };
                        self.relay.hear(notification.payload());
                        (silent, beat) = (0, rest);
                        break;
                    }
                    Either::Right(((), rest)) => {
                        silent += 1;
                        if silent > SILENT {
                            return Ok(());
                        }
                        // A failure shows as silence.
                        let _: Result<()> = self.send(&self.relay.heartbeat()).await;
                        (received, beat) = (rest, SystemClock.sleep(HEARTBEAT));
                    }
                }
            }
        }
    }

    async fn listen_for_ever(&self) {
        loop {
            // However it ended, it is tried again: a background task that ends at the first error is worse than none.
            let _: sqlx::Result<()> = self.listen().await;
            self.relay.lost();
            SystemClock.sleep(PAUSE).await;
        }
    }
}

#[async_trait]
impl InvalidationBus for PgBus {
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

impl fmt::Debug for PgBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PgBus").field("channel", &self.channel).finish_non_exhaustive()
    }
}
