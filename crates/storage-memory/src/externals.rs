//! Which sessions have which name elsewhere.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use session_manager_core::{ExternalId, SessionId};

/// The index by external id. Several sessions may have the same one.
#[derive(Default)]
pub(crate) struct Externals(Mutex<HashMap<ExternalId, Holders>>);

/// Who has a name, each with the number of its shard.
enum Holders {
    /// The usual case, which needs no table of its own.
    One(SessionId, usize),
    /// A table, so that of many sessions under one name each comes and goes at once.
    Many(HashMap<SessionId, usize>),
}

impl Externals {
    fn lock(&self) -> MutexGuard<'_, HashMap<ExternalId, Holders>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a session of a shard has this name.
    pub(crate) fn add(&self, external: &ExternalId, id: SessionId, shard: usize) {
        match self.lock().entry(external.clone()) {
            Entry::Vacant(free) => drop(free.insert(Holders::One(id, shard))),
            Entry::Occupied(mut taken) => match taken.get_mut() {
                Holders::Many(all) => drop(all.insert(id, shard)),
                Holders::One(first, place) => {
                    let both = HashMap::from([(*first, *place), (id, shard)]);
                    taken.insert(Holders::Many(both));
                }
            },
        }
    }

    /// Notes that a session has this name no more.
    pub(crate) fn remove(&self, external: &ExternalId, id: SessionId) {
        let mut names = self.lock();
        let nobody = match names.get_mut(external) {
            Some(Holders::One(holder, _)) => *holder == id,
            Some(Holders::Many(all)) => {
                all.remove(&id);
                all.is_empty()
            }
            None => false,
        };
        if nobody {
            names.remove(external);
        }
    }

    /// The sessions that have this name, by shard, the lowest first.
    pub(crate) fn holders(&self, external: &ExternalId) -> Vec<(usize, SessionId)> {
        let mut holders: Vec<_> = match self.lock().get(external) {
            None => Vec::new(),
            Some(Holders::One(id, shard)) => vec![(*shard, *id)],
            Some(Holders::Many(all)) => all.iter().map(|(id, shard)| (*shard, *id)).collect(),
        };
        holders.sort_unstable();
        holders
    }

    /// How many sessions have a name.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        let count = |holders: &Holders| match holders {
            Holders::One(..) => 1,
            Holders::Many(all) => all.len(),
        };
        self.lock().values().map(count).sum()
    }
}
