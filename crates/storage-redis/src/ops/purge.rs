//! Removing sessions for good: one, or a user's. What ended long ago goes by itself.

use session_manager_core::storage::{Purge, PurgeScope, Purged};
use session_manager_core::{Error, ErrorKind};

use super::ended;
use crate::error::{Failure, Outcome};
use crate::keys::name;
use crate::recent::Deed;
use crate::reply::Reply;
use crate::script;
use crate::storage::RedisStorage;

impl RedisStorage {
    pub(crate) async fn purge_scope(&self, request: &Purge) -> Outcome<Purged> {
        let purged = self.remove(request).await?;
        for one in &purged.sessions {
            self.recent.keep(Deed::Removed(one.session.key()));
        }
        Ok(purged)
    }

    pub(crate) async fn remove(&self, request: &Purge) -> Outcome<Purged> {
        match &request.scope {
            // Keys go by their time to live, which nobody is told of.
            PurgeScope::EndedBefore(_) => Ok(Purged::default()),
            PurgeScope::One(key) if request.limit == 0 => {
                Ok(Purged::new(Vec::new(), self.reading(key).await?.is_some()))
            }
            PurgeScope::One(key) => {
                let (word, reply, _) = self
                    .on_session(key, false, |place, aim| {
                        script::PURGE
                            .on([&place.user(aim.locator), &place.global(), &place.index(aim.locator)])
                            .with(place.sessions())
                            .with(1)
                            .with(aim.locator.as_bytes().as_slice())
                            .with(name(key.id))
                    })
                    .await?;
                self.purged(request, &word, reply).await
            }
            PurgeScope::User(user) => {
                let (place, locator) = (self.keys.shard(user.shard()), user.locator());
                let call = script::PURGE
                    .on([&place.user(locator), &place.global(), &place.index(locator)])
                    .with(place.sessions())
                    .with(request.limit)
                    .with(locator.as_bytes().as_slice())
                    .with("");
                let mut reply = Reply::of(self.run(&call).await?)?;
                let word = reply.word()?;
                self.purged(request, &word, reply).await
            }
            _ => Err(Error::new(ErrorKind::Unsupported, "purge").into()),
        }
    }

    async fn purged(&self, request: &Purge, word: &[u8], mut reply: Reply) -> Outcome<Purged> {
        if word != b"purged" {
            return Err(Failure::Answer("purge"));
        }
        let (user, global, left) = (reply.filled()?, reply.filled()?, reply.number()?);
        let gone = ended(reply.rest(), user.as_deref(), global.as_deref(), request.now)?;
        self.release_all(&gone).await?;
        Ok(Purged::new(gone, left > 0))
    }
}
