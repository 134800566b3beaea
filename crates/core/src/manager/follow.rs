//! Follow the feed of revocations, and write noted activity down: the background work of managers that do not read with every request.

use std::time::Duration;

use futures_util::future::{self, Either};
use futures_util::{StreamExt as _, stream};

use super::SessionManager;
use super::watch::Watch;
use crate::bus::BusEvent;
use crate::clock::to_millis;
use crate::error::{ErrorKind, Result};
use crate::storage::{FeedCursor, RevocationFeed};
use crate::telemetry::Incident;

/// How many notices are read at a time.
const PAGE: u32 = 1000;
/// Nobody reads a feed more often than this.
const SHORTEST: Duration = Duration::from_millis(25);

impl SessionManager {
    /// Writes down what was noted, in rounds.
    pub(super) async fn write_activity(&self) {
        if !self.0.notes_activity {
            return;
        }
        let interval = self.0.activity_interval().max(SHORTEST);
        loop {
            self.0.clock.sleep(interval).await;
            self.0.write_activity().await;
        }
    }

    /// Keeps the node's memory of revocations complete. What the bus tells only comes sooner: it is no evidence of completeness.
    pub(super) async fn follow_feed(&self) {
        let (Some(watch), Some(feed)) = (&self.0.watch, self.0.storage.feed()) else { return };
        let subscribe = || match &self.0.bus {
            Some(bus) => bus.subscribe().fuse(),
            None => stream::pending().boxed().fuse(),
        };
        let mut events = subscribe();
        let mut cursor = None;
        let mut failing = false;
        loop {
            match self.poll(watch, feed, &mut cursor).await {
                Ok(()) => failing = false,
                Err(error) => {
                    self.0.telemetry.incident(Incident::FeedNotRead);
                    if !failing {
                        tracing::warn!(%error, "the feed of revocations cannot be read: sessions are read instead");
                    }
                    failing = true;
                    if error.kind() != ErrorKind::Unavailable {
                        // It may be the cursor.
                        cursor = None;
                    }
                }
            }
            let mut timer = self.0.clock.sleep(watch.interval().max(SHORTEST));
            loop {
                match future::select(timer, events.next()).await {
                    Either::Left(_) | Either::Right((Some(BusEvent::Lost), _)) => break,
                    Either::Right((Some(BusEvent::Notice(notice)), rest)) => {
                        watch.hear(&notice, to_millis(self.0.clock.now()));
                        timer = rest;
                    }
                    Either::Right((Some(_), rest)) => timer = rest,
                    Either::Right((None, rest)) => {
                        // The bus broke; the feed is read all the same.
                        rest.await;
                        events = subscribe();
                        break;
                    }
                }
            }
        }
    }

    /// Reads the feed to its end.
    async fn poll(&self, watch: &Watch, feed: &dyn RevocationFeed, cursor: &mut Option<FeedCursor>) -> Result<()> {
        let began_at = to_millis(self.0.clock.now());
        loop {
            let now = to_millis(self.0.clock.now());
            let batch = feed.since(cursor.as_ref(), PAGE, now).await?;
            for notice in &batch.notices {
                watch.hear(notice, now);
            }
            *cursor = Some(batch.next);
            if batch.complete {
                watch.complete(began_at);
                return Ok(());
            }
        }
    }
}
