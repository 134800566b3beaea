//! Memory beside a hash map behind a lock.

use std::{
    collections::HashMap,
    hint::black_box,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use foldhash::fast::RandomState;
use session_manager_core::SessionStorage;
use session_manager_storage_memory::{MemoryStorage, MemoryStorageConfig};
use uuid::Uuid;

use super::{BODY, compare as compare_each};
use crate::{
    bare::{Bare, Names, ROWS, id},
    measure::{Outcome, Plan},
    ours::Store,
    population::{PER_USER, Population},
};

/// More than any run makes.
const ROOM: usize = 30_000_000;

pub(crate) async fn compare(plan: Plan) -> Outcome {
    let plan = plan.batched();
    let storage = storage()?;
    let people = Population::insert(&storage, plan.sessions, 1).await?;
    let store = Store::new(storage, people, ())?.sign_in(plan.sessions).await?;
    compare_each("Memory, one at a time, beside a hash map behind a mutex", plan, store, Map::filled()).await
}

/// An empty storage.
pub(crate) fn storage() -> Outcome<Arc<dyn SessionStorage>> {
    Ok(Arc::new(MemoryStorage::new(MemoryStorageConfig::new().max_sessions(ROOM))?))
}

type Entries = HashMap<Uuid, Arc<[u8; BODY.len()]>, RandomState>;

struct Map {
    entries: Mutex<Entries>,
    users: HashMap<usize, Vec<Uuid>, RandomState>,
}

impl Map {
    fn filled() -> Self {
        let ids: Vec<_> = (0..ROWS as u64).map(id).collect();
        let users = ids.chunks(PER_USER).map(<[_]>::to_vec).enumerate().collect();
        Self { entries: Mutex::new(ids.into_iter().map(|id| (id, Arc::new(BODY))).collect()), users }
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bare for Map {
    const NAMES: Names = Names { get: "map get", list: "5 map gets", update: "map change", insert: "map insert" };

    async fn get(&self, row: usize) -> Outcome {
        let found = self.entries().get(&id(row as u64)).cloned();
        black_box(found).map(drop).ok_or_else(|| "an entry is missing".into())
    }

    async fn list(&self, user: usize) -> Outcome {
        let entries = self.entries();
        let ids = self.users.get(&user).into_iter().flatten();
        black_box(ids.filter_map(|id| entries.get(id).cloned()).collect::<Vec<_>>());
        Ok(())
    }

    async fn update(&self, row: usize) -> Outcome {
        let mut entries = self.entries();
        let entry = entries.get_mut(&id(row as u64)).ok_or("an entry is missing")?;
        // Readers keep what they have, as ours do.
        *entry = Arc::new(black_box(BODY));
        Ok(())
    }

    async fn insert(&self, number: u64) -> Outcome {
        self.entries().insert(id(number), Arc::new(black_box(BODY)));
        Ok(())
    }
}
