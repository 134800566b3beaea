//! The scan over every node, for export and migration only, and writing what was read elsewhere.

use std::collections::BTreeSet;

use async_trait::async_trait;
use redis::Cmd;
use session_manager_core::storage::{PutOutcome, ScanCursor, ScanPage, SessionScan};
use session_manager_core::{Error, ErrorKind, Result, SessionKey, Snapshot};

use super::in_its_shard;
use crate::error::{Failure, Outcome};
use crate::keys::name;
use crate::reply::{self, Reply};
use crate::script;
use crate::storage::RedisStorage;
use crate::value::{self, COLLISION};

/// How many keys a server looks at in one step, whatever the page's limit: most of them may be other people's.
const STEP: u32 = 1_000;

/// How many steps a page takes at most before it is returned as it is.
const STEPS: u32 = 64;

/// A place in a scan: which incarnation of which node, and where there.
struct Place {
    node: String,
    /// The node's `run_id`: what a server's own cursor means ends with its process.
    run: String,
    at: u64,
}

#[async_trait]
impl SessionScan for RedisStorage {
    /// # Behaviour
    /// A page may be larger than `limit`, because a server's cursor cannot be divided, and empty before the end. Where a server was restarted
    /// or nodes changed, the scan begins anew and sessions come twice.
    async fn scan(&self, cursor: Option<&ScanCursor>, limit: u32) -> Result<ScanPage> {
        self.page(cursor, limit).await.map_err(|failure| failure.during("scan"))
    }

    async fn put(&self, snapshot: &Snapshot) -> Result<PutOutcome> {
        self.write_snapshot(snapshot).await.map_err(|failure| failure.during("put"))
    }
}

impl RedisStorage {
    async fn page(&self, cursor: Option<&ScanCursor>, limit: u32) -> Outcome<ScanPage> {
        let nodes = self.link.nodes().await?;
        let (mut place, topology) = match cursor {
            None => (None, String::new()),
            Some(cursor) => {
                let (place, topology) = decode(cursor).ok_or_else(|| Error::new(ErrorKind::InvalidCursor, "scan"))?;
                (Some(place), topology)
            }
        };
        // Keys may have moved to a node that was read already: from the beginning.
        if topology != nodes.join(",") {
            place = None;
        }
        let mut node =
            place.as_ref().map_or_else(|| nodes.first().cloned().unwrap_or_default(), |place| place.node.clone());
        let mut run = self.run_id(&node).await?;
        let mut at = place.filter(|place| place.run == run).map_or(0, |place| place.at);
        let mut ids = BTreeSet::new();
        for _ in 0..STEPS {
            let mut command = Cmd::new();
            command.arg("SCAN").arg(at).arg("MATCH").arg(self.keys.sessions()).arg("COUNT").arg(limit.max(STEP));
            let mut reply = Reply::of(self.link.call_node(&node, &command).await?)?;
            let next = String::from_utf8(reply.bytes()?).ok().and_then(|text| text.parse().ok());
            at = next.ok_or(Failure::Answer("SCAN"))?;
            for key in Reply::of(reply.next().ok_or(Failure::Answer("SCAN"))?)?.rest() {
                ids.extend(std::str::from_utf8(&key?).ok().and_then(|key| self.keys.session_of(key)));
            }
            if at == 0 {
                let Some(following) = nodes.iter().find(|other| **other > node) else {
                    return Ok(ScanPage::new(self.found(ids).await?, None));
                };
                node.clone_from(following);
                run = self.run_id(&node).await?;
            }
            if ids.len() >= usize::try_from(limit).unwrap_or(usize::MAX) {
                break;
            }
        }
        let next = encode(&Place { node, run, at }, &nodes.join(","));
        Ok(ScanPage::new(self.found(ids).await?, Some(next)))
    }

    async fn found(&self, ids: BTreeSet<session_manager_core::SessionId>) -> Outcome<Vec<Snapshot>> {
        let keys: Vec<_> = ids.into_iter().map(SessionKey::by_id).collect();
        Ok(self.readings(&keys).await?.into_iter().flatten().collect())
    }

    async fn run_id(&self, node: &str) -> Outcome<String> {
        let mut command = Cmd::new();
        command.arg("INFO").arg("server");
        let info = self.link.call_node(node, &command).await?;
        Ok(super::check::field(&info, "run_id").unwrap_or_default())
    }

    async fn write_snapshot(&self, snapshot: &Snapshot) -> Outcome<PutOutcome> {
        let session = &snapshot.session;
        in_its_shard(session, "put")?;
        let stored = self.reading(&snapshot.key()).await?;
        if stored.is_some_and(|stored| {
            stored.control.revocation.is_some()
                || stored.control.version >= snapshot.control.version
                || stored.session.user_id != session.user_id
        }) {
            return Ok(PutOutcome::Kept);
        }
        self.adopt(snapshot).await?;
        self.point(session, session.created_at).await?;
        let (place, locator) = (self.keys.shard(session.id.shard()), session.user_id.locator());
        let call = script::PUT
            .on([&place.session(session.id), &place.user(locator), &place.index(locator)])
            .with(value::encode(&snapshot.record())?)
            .with(name(session.id))
            .with(snapshot.epochs.user.map(value::encode_epoch).unwrap_or_default())
            .with(session.user_id.as_str())
            .with(self.config.afterlife());
        let mut reply = Reply::of(self.run(&call).await?)?;
        match reply.word()?.as_slice() {
            b"written" => {
                let before = reply.filled()?.map(|old| value::snapshot(&old, None, None)).transpose()?;
                let before = before.filter(|before| before.session.external != session.external);
                if let Some(release) = before.and_then(|before| self.release(&before.session)) {
                    self.run(&release).await?;
                }
                Ok(PutOutcome::Written)
            }
            b"kept" => Ok(PutOutcome::Kept),
            b"collision" => Err(COLLISION),
            _ => Err(Failure::Answer("put")),
        }
    }

    /// Takes over the snapshot's global epoch where there is none, or an older one of the same incarnation; before the session, so that a
    /// session that a rotation ended there never lives here.
    async fn adopt(&self, snapshot: &Snapshot) -> Outcome<()> {
        let Some(global) = snapshot.epochs.global else { return Ok(()) };
        let call = script::ADOPT.on([&self.keys.authority()]).with(value::encode_global(&global));
        if let Some(record) = reply::bytes(self.run(&call).await?)?.filter(|record| !record.is_empty()) {
            self.raise_all(&record).await?;
        }
        Ok(())
    }
}

fn encode(place: &Place, topology: &str) -> ScanCursor {
    ScanCursor(format!("1 {} {} {} {topology}", place.at, place.run, place.node))
}

fn decode(cursor: &ScanCursor) -> Option<(Place, String)> {
    let mut parts = cursor.0.splitn(5, ' ');
    let ("1", at, run, node, topology) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?)
    else {
        return None;
    };
    Some((Place { node: node.to_owned(), run: run.to_owned(), at: at.parse().ok()? }, topology.to_owned()))
}
