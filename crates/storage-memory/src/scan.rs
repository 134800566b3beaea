//! Scanning everything, and writing sessions as they were elsewhere.

use async_trait::async_trait;
use session_manager_core::storage::{PutOutcome, ScanCursor, ScanPage, SessionScan};
use session_manager_core::{Epoch, GlobalEpoch, Result, SessionId, Shard as Place, Snapshot};

use crate::error::MemoryError;
use crate::storage::Inner;
use crate::table::Occupant;

/// The most sessions of one page.
const MAX_PAGE: usize = 1000;

#[async_trait]
impl SessionScan for Inner {
    async fn scan(&self, cursor: Option<&ScanCursor>, limit: u32) -> Result<ScanPage> {
        let after = match cursor {
            None => None,
            Some(cursor) => Some(decode(cursor).ok_or_else(|| MemoryError::ScanCursor.during("scan"))?),
        };
        let limit = usize::try_from(limit).unwrap_or(MAX_PAGE).clamp(1, MAX_PAGE);
        let first = after.map_or(0, |(place, _)| self.table.number(place));
        let mut found: Vec<((Place, SessionId), Snapshot)> = Vec::new();
        for number in first..self.table.shard_count() {
            let wanted = limit.saturating_sub(found.len());
            if wanted == 0 {
                break;
            }
            let shard = self.table.read(number);
            let mut places: Vec<_> = shard.places().filter(|place| after.is_none_or(|after| *place > after)).collect();
            if places.len() > wanted {
                places.select_nth_unstable(wanted.saturating_sub(1));
                places.truncate(wanted);
            }
            places.sort_unstable();
            found.extend(places.into_iter().filter_map(|place| Some((place, shard.read(place.1)?))));
        }
        // A full page may have been the last one; then the next page is empty and says so.
        let next = if found.len() < limit { None } else { found.last().map(|(place, _)| encode(*place)) };
        Ok(ScanPage::new(found.into_iter().map(|(_, snapshot)| snapshot).collect(), next))
    }

    /// # Behaviour
    /// Beside what the trait says: `Unavailable` when the storage is full.
    async fn put(&self, snapshot: &Snapshot) -> Result<PutOutcome> {
        self.put_now(snapshot)
    }
}

impl Inner {
    pub(crate) fn put_now(&self, snapshot: &Snapshot) -> Result<PutOutcome> {
        loop {
            if let Some(outcome) = self.try_put(snapshot)? {
                self.bound_users();
                return Ok(outcome);
            }
            // The global epoch is raised first: a session that was rotated out elsewhere must not live here for a moment.
            if let Some(theirs) = snapshot.epochs.global {
                self.table.change_global(|ours| (Some(raised(ours, theirs)), ()));
            }
        }
    }

    /// One attempt under the user's lock; `None` if the global epoch is behind that of the snapshot.
    fn try_put(&self, snapshot: &Snapshot) -> Result<Option<PutOutcome>> {
        let (session, table) = (&snapshot.session, &self.table);
        let id = session.id;
        let mut opened = table.open(id, session.user_id.shard());
        let there = match table.occupant(&opened, id) {
            Occupant::Free => None,
            Occupant::Here(there) => Some(there),
            Occupant::Elsewhere => return Ok(Some(PutOutcome::Kept)),
        };
        if there.as_ref().is_some_and(|there| !gives_way(there, snapshot)) {
            return Ok(Some(PutOutcome::Kept));
        }
        let ours = opened.home.global;
        if snapshot.epochs.global.is_some_and(|theirs| ours != Some(raised(ours, theirs))) {
            return Ok(None);
        }
        if let Some(there) = there {
            table.rename(&opened, id, there.session.external.as_ref(), session.external.as_ref());
            opened.home.store(id, session, &snapshot.control);
        } else {
            if !table.claim_room(self.config.max_sessions) {
                return Err(MemoryError::Full.during("put"));
            }
            table.add(&mut opened, snapshot.record());
        }
        let home = &mut opened.home;
        if let (Some(slot), Some(theirs)) = (home.users.find(&session.user_id), snapshot.epochs.user) {
            let epoch = home.users.get(slot).and_then(|user| user.epoch).map_or(theirs, |ours| later(ours, theirs));
            home.set_epoch(slot, epoch);
        }
        Ok(Some(PutOutcome::Written))
    }
}

/// Whether what is there may be written over.
fn gives_way(there: &Snapshot, snapshot: &Snapshot) -> bool {
    there.session.user_id == snapshot.session.user_id
        && there.revocation().is_none()
        && there.control.version < snapshot.control.version
}

/// The later of two epochs, if they can be compared.
fn later(ours: Epoch, theirs: Epoch) -> Epoch {
    if ours.incarnation == theirs.incarnation && theirs.version > ours.version { theirs } else { ours }
}

fn raised(ours: Option<GlobalEpoch>, theirs: GlobalEpoch) -> GlobalEpoch {
    match ours {
        Some(ours) if later(ours.epoch, theirs.epoch) == ours.epoch => ours,
        _ => theirs,
    }
}

fn encode((place, id): (Place, SessionId)) -> ScanCursor {
    ScanCursor(format!("{:03x}.{id}", place.number()))
}

fn decode(ScanCursor(text): &ScanCursor) -> Option<(Place, SessionId)> {
    let (place, id) = text.split_once('.')?;
    let place = u16::from_str_radix(place, 16).ok().filter(|number| *number < Place::COUNT)?;
    Some((Place::from_bits(place), SessionId::parse(id).ok()?))
}
