//! Adding a session under the limit of its user.

use session_manager_core::storage::{Insert, InsertOutcome};
use session_manager_core::{Actor, Revocation, RevocationReason};

use super::{ended, in_its_shard};
use crate::error::{Failure, Outcome};
use crate::keys::name;
use crate::reply::{DONE, Reply};
use crate::script;
use crate::storage::RedisStorage;
use crate::value::{self, COLLISION};

impl RedisStorage {
    pub(crate) async fn insert_session(&self, request: &Insert) -> Outcome<InsertOutcome> {
        let session = &request.record.session;
        in_its_shard(session, "insert")?;
        // In another slot, and first: what is stored can be found by it from then on.
        self.point(session, request.now).await?;
        let outcome = self.insert_pointed(request).await?;
        if let InsertOutcome::Inserted { evicted, .. } = &outcome {
            self.recent.keep_ends(evicted);
        }
        if let InsertOutcome::LimitReached { .. } = outcome
            && let Some(release) = self.release(session)
        {
            self.run(&release).await?;
        }
        Ok(outcome)
    }

    async fn insert_pointed(&self, request: &Insert) -> Outcome<InsertOutcome> {
        let (session, now) = (&request.record.session, request.now);
        let place = self.keys.shard(session.id.shard());
        let locator = session.user_id.locator();
        let mode = match (request.limit.rejects(), request.limit.evicts_idlest()) {
            (true, _) => "reject",
            (_, true) => "idlest",
            _ => "oldest",
        };
        let evicted = Revocation::new(now, RevocationReason::EVICTED, Actor::System);
        let deadline = session.expires_at.min(request.record.control.idle_expires_at);
        let value = value::encode(&request.record)?;
        let call = script::INSERT
            .on([&place.session(session.id), &place.user(locator), &place.index(locator), &place.global()])
            .with(&value::millis(now))
            .with(request.limit.max)
            .with(self.lifetime(session, now))
            .with(mode)
            .with(&value)
            .with(session.user_id.as_str())
            .with(request.incarnations.user.to_be_bytes().as_slice())
            .with(name(session.id))
            .with(deadline.timestamp_millis())
            .with(place.sessions())
            .with(value::note(&evicted))
            .with(now.timestamp_millis().saturating_sub(self.config.afterlife()).max(0));
        for _ in 0..3 {
            let mut reply = Reply::of(self.run(&call).await?)?;
            match reply.word()?.as_slice() {
                b"lost" => {
                    self.begin_copy(session.id.shard(), request.incarnations.global, now.timestamp_millis()).await?;
                }
                DONE | b"inserted" => {
                    let snapshot = value::stamped(&value, &request.record, &reply.bytes()?)?;
                    let evicted = ended(reply.rest(), None, None, now)?;
                    return Ok(InsertOutcome::Inserted { snapshot, evicted });
                }
                b"same" => {
                    let (value, user, global) = (reply.bytes()?, reply.filled()?, reply.filled()?);
                    let snapshot = value::snapshot(&value, user.as_deref(), global.as_deref())?;
                    return Ok(InsertOutcome::Inserted { snapshot, evicted: Vec::new() });
                }
                b"duplicate" => return Ok(InsertOutcome::DuplicateId),
                b"limit" => {
                    let live = u32::try_from(reply.number()?).unwrap_or(u32::MAX);
                    return Ok(InsertOutcome::LimitReached { live });
                }
                b"collision" => return Err(COLLISION),
                _ => break,
            }
        }
        Err(Failure::Answer("insert"))
    }
}
