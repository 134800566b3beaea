//! After a failover: what this node ended, and the new primary has not heard of, ends again.

use std::collections::BTreeMap;

use futures_util::future;
use futures_util::{StreamExt, TryStreamExt, stream};
use redis::Cmd;
use session_manager_core::storage::{Purge, PurgeScope, Revoke, RevokeTarget};
use session_manager_core::{BusEvent, Clock, Epoch, InvalidationBus, Result, SessionKey, SystemClock, UserId};

use crate::error::{Failure, Outcome};
use crate::recent::Deed;
use crate::reply;
use crate::script;
use crate::storage::RedisStorage;
use crate::value;

/// How many of them are under way at once.
const AT_ONCE: usize = 64;

impl RedisStorage {
    /// Ends again what a failover has undone, if there was one since this was last called: what this node ended in the last 15 minutes, and
    /// what it learned from the feed or a [bus](RedisStorage::listening_to) that others had. Returns how much of it the servers did not know
    /// any more.
    ///
    /// # Behaviour
    /// - A failover shows by a replication id that was not there before; so do a restart, and a node that joined. Doing it in vain is
    ///   harmless: only what is live ends, with the time, the reason and the actor that it had ended with.
    /// - [`maintenance`](session_manager_core::SessionStorage::maintenance) does this every
    ///   [`watch_interval`](crate::RedisStorageConfig::watch_interval). Call it where the application hears of a failover sooner.
    /// - A session that was kept when its user's epoch was raised may be signed out by it.
    ///
    /// # Errors
    /// Where a primary cannot be reached; it is tried again by the next call.
    pub async fn reapply_after_failover(&self) -> Result<u64> {
        self.watch().await.map_err(|failure| failure.during("failover"))
    }

    pub(crate) async fn watch(&self) -> Outcome<u64> {
        let mut groups = BTreeMap::new();
        for node in self.link.nodes().await? {
            let mut command = Cmd::new();
            command.arg("INFO").arg("replication");
            let info = self.link.call_node(&node, &command).await?;
            // A service that does not say has no failover that could be seen.
            if let Some(group) = super::check::field(&info, "master_replid") {
                groups.insert(node, group);
            }
        }
        let undone = if self.recent.is_news(&groups) { self.reapply().await? } else { 0 };
        // Known only when all has been done.
        self.recent.settle(groups);
        self.learn().await?;
        Ok(undone)
    }

    async fn reapply(&self) -> Outcome<u64> {
        // Sessions first, so that each ends as it had ended and not by an epoch.
        let (sessions, epochs): (Vec<_>, Vec<_>) = self.recent.deeds().into_iter().partition(Deed::is_of_a_session);
        let mut all = 0_u64;
        for deeds in [sessions, epochs] {
            let again = stream::iter(deeds).map(|deed| self.again(deed)).buffer_unordered(AT_ONCE);
            all = again.try_fold(all, async |all, undone| Ok(all.saturating_add(u64::from(undone)))).await?;
        }
        Ok(all)
    }

    /// Does it again. Whether it had been undone.
    async fn again(&self, deed: Deed) -> Outcome<bool> {
        match deed {
            Deed::Ended(key, revocation) => {
                let mut request = Revoke::new(
                    RevokeTarget::One { key, owner: None },
                    revocation.reason.clone(),
                    revocation.by.clone(),
                    revocation.at,
                );
                request.revocation = revocation;
                Ok(!self.end_one(&request, &key, None).await?.sessions.is_empty())
            }
            Deed::Removed(key) => {
                let request = Purge::new(PurgeScope::One(key), 1, SystemClock.now());
                Ok(!self.remove(&request).await?.sessions.is_empty())
            }
            Deed::Raised(user, before, after) => self.raise_again(&user, before, after).await,
            Deed::RaisedAll(record) => {
                let answer = self.run(&script::RAISE.on([&self.keys.authority()]).with(&record)).await?;
                self.raise_all(&record).await?;
                // Whether the record stood there already it does not say.
                Ok(reply::bytes(answer)?.is_some_and(|stands| stands.is_empty()))
            }
        }
    }

    async fn raise_again(&self, user: &UserId, before: Option<Epoch>, after: Epoch) -> Outcome<bool> {
        let call = script::RERAISE
            .on([&self.keys.shard(user.shard()).user(user.locator())])
            .with(before.map(|epoch| epoch.incarnation.to_be_bytes().to_vec()).unwrap_or_default())
            .with(value::encode_epoch(after))
            .with(user.as_str());
        Ok(reply::number(&self.run(&call).await?)? == 1)
    }

    /// Looks at what was heard of: what has ended is kept from then on. A notice by itself proves nothing.
    async fn learn(&self) -> Outcome<()> {
        let heard = self.recent.take_heard();
        let keys: Vec<_> = heard.sessions.iter().map(|id| SessionKey::by_id(*id)).collect();
        let read = async {
            let authority = if heard.all { self.authority().await? } else { None };
            Ok::<_, Failure>((self.readings(&keys).await?, authority))
        };
        match read.await {
            Ok((found, authority)) => {
                for snapshot in found.into_iter().flatten() {
                    if let Some(revocation) = snapshot.revocation() {
                        self.recent.keep(Deed::Ended(snapshot.key(), revocation.clone()));
                    }
                }
                if let Some(record) = authority {
                    self.recent.keep(Deed::RaisedAll(record));
                }
                Ok(())
            }
            Err(failure) => {
                self.recent.put_back(heard);
                Err(failure)
            }
        }
    }

    /// The background work: both kinds of repair, side by side.
    pub(crate) async fn work(&self) {
        future::join3(self.repair_for_ever(), self.watch_for_ever(), self.listen_for_ever()).await;
    }

    async fn watch_for_ever(&self) {
        loop {
            // While a failover goes on nothing answers: it is tried again.
            let _: Outcome<u64> = self.watch().await;
            SystemClock.sleep(self.config.watch_interval).await;
        }
    }

    async fn listen_for_ever(&self) {
        let Some(bus) = &self.bus else { return };
        loop {
            self.listen(&**bus).await;
            SystemClock.sleep(self.config.watch_interval).await;
        }
    }

    async fn listen(&self, bus: &dyn InvalidationBus) {
        let mut events = bus.subscribe();
        while let Some(event) = events.next().await {
            if let BusEvent::Notice(notice) = event {
                self.recent.hear(&notice);
            }
        }
    }
}
