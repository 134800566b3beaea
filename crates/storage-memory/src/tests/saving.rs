//! Saving while everything changes: what the file shows is one moment, and nothing that had ended lives in it.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use session_manager_core::storage::{
    Advance, BumpTarget, OnLimit, OnceKey, Purge, PurgeScope, RevokeTarget, SessionPatch, Touch, Update,
};
use session_manager_core::{ErrorKind, SessionId, SessionRecord, SessionStorage, Snapshot};

use super::{
    at, bump, findings, foreign, insert, insert_under, is_live, limit, now, one, read, record, revoke, rotate_all,
    rotate_user, user,
};
use crate::file::Hashing;
use crate::{MemoryStorage, MemoryStorageConfig};

const END: i64 = 1_000_000;

/// A file in whose making something happens before each line, until the moment that the file shows.
struct Meddling<'a, F: FnMut()> {
    storage: &'a MemoryStorage,
    bytes: Vec<u8>,
    meddle: F,
}

impl<F: FnMut()> Write for Meddling<'_, F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.storage.is_followed() {
            (self.meddle)();
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MemoryStorage {
    fn is_followed(&self) -> bool {
        self.table().read(0).changes.is_some()
    }

    fn followed(&self) -> usize {
        let changes = |number| self.table().read(number).changes.as_ref().map_or(0, crate::changes::Changes::len);
        (0..self.table().shard_count()).map(changes).sum()
    }
}

fn save_with(storage: &MemoryStorage, path: &Path, meddle: impl FnMut()) {
    let mut file = Meddling { storage, bytes: Vec::new(), meddle };
    storage.write_lines(&mut Hashing::new(&mut file)).unwrap();
    assert!(!storage.is_followed());
    fs::write(path, file.bytes).unwrap();
}

fn everything(storage: &MemoryStorage) -> Vec<Snapshot> {
    let page = |cursor: Option<&_>| now(storage.scan().unwrap().scan(cursor, 1000)).unwrap();
    let (mut found, mut next) = (Vec::new(), page(None));
    loop {
        found.append(&mut next.sessions);
        match next.next {
            Some(cursor) => next = page(Some(&cursor)),
            None => return found,
        }
    }
}

/// The same numbers in each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}

/// Does one of all things that can happen to a storage, and returns the time after it.
fn happen(storage: &MemoryStorage, dice: &mut Dice, time: i64) -> i64 {
    let name = format!("user-{}", dice.roll(40));
    let mine: Vec<_> = everything(storage).into_iter().filter(|one| one.session.user_id == user(&name)).collect();
    let any = (!mine.is_empty()).then(|| mine[dice.roll(mine.len())].clone());
    match (dice.roll(12), any) {
        (0, Some(any)) => drop(revoke(storage, one(any.session.id), time)),
        (1, _) => drop(revoke(storage, RevokeTarget::User { user: user(&name), except: None }, time)),
        (2, any) => bump(storage, BumpTarget::User { user: user(&name), keep: any.map(|any| any.session.id) }, time),
        (3, _) if dice.roll(30) == 0 => bump(storage, rotate_all(0), time),
        (4, Some(any)) => drop(now(storage.purge(&Purge::new(PurgeScope::One(any.key()), 1, at(time)))).unwrap()),
        (5, _) => drop(now(storage.purge(&Purge::new(PurgeScope::EndedBefore(at(time - 50)), 3, at(time)))).unwrap()),
        (6, Some(any)) => drop(now(storage.touch(&[Touch::new(any.key(), at(time), at(END))], at(time))).unwrap()),
        (7, Some(any)) => {
            let advance = Advance::new(any.key(), any.control.generation, Duration::ZERO, at(time));
            now(storage.advance(&advance)).unwrap();
        }
        (8, Some(any)) => {
            let update = Update::new(any.key(), any.control.version, SessionPatch::new(), at(time));
            now(storage.update(&update)).unwrap();
        }
        (9, _) => drop(now(storage.purge(&Purge::new(PurgeScope::User(user(&name)), 10, at(time)))).unwrap()),
        (number, _) => {
            // A full storage of living sessions refuses some.
            let fresh = if number == 10 {
                foreign(&name, u128::try_from(time).unwrap())
            } else {
                record(&name, time, END, END)
            };
            let request = session_manager_core::storage::Insert::new(
                fresh,
                limit(4, OnLimit::EvictOldest),
                session_manager_core::storage::Incarnations { user: u64::try_from(time).unwrap(), global: 22 },
                at(time),
            );
            drop(now(storage.insert(&request)));
        }
    }
    time + 1
}

#[test]
fn the_file_shows_one_moment_whatever_happened_while_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions");
    for seed in 0..24_u64 {
        // From many changes in each line's time to a few all in all.
        let (mut dice, rarity) = (Dice(seed), [1, 1, 3, 20][usize::try_from(seed % 4).unwrap()]);
        let config = MemoryStorageConfig::new().max_sessions(60).max_users(60).shards(8);
        let storage = MemoryStorage::new(config.clone()).unwrap();
        let mut time = 1;
        while storage.len() < 60 {
            time = happen(&storage, &mut dice, time);
        }
        let before = everything(&storage);
        save_with(&storage, &path, || {
            if dice.roll(rarity) == 0 {
                time = happen(&storage, &mut dice, time);
            }
        });
        let restored = MemoryStorage::restore(&path, config.shards(2)).unwrap();
        let (shown, stored) = (everything(&restored), everything(&storage));
        assert_ne!(before, stored, "things happened");
        assert_eq!(shown, stored, "{seed}");
        assert!(restored.len() <= 60 && restored.sizes()[3] <= 60);
        for number in 0..40 {
            let epochs = |storage: &MemoryStorage| now(storage.epochs(Some(&user(&format!("user-{number}"))))).unwrap();
            if epochs(&storage).user.is_some() && restored.sizes()[3] < 60 {
                assert_eq!(epochs(&restored), epochs(&storage), "{seed}");
            }
        }
        let check = |storage: &MemoryStorage| storage.sizes()[..2].to_vec();
        assert_eq!(check(&restored), check(&storage), "and nothing is left over of what went");
    }
}

#[test]
fn what_ends_late_in_a_save_is_dead_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions");
    let storage = MemoryStorage::new(MemoryStorageConfig::new().shards(1)).unwrap();
    let records: Vec<_> = (0..6).map(|number| record(&format!("user-{number}"), 0, END, END)).collect();
    for record in &records {
        insert(&storage, record);
    }
    // All twelve users and sessions are written from their copy before the second round begins.
    let mut lines = 0;
    save_with(&storage, &path, || {
        lines += 1;
        match lines {
            12 => drop(revoke(&storage, one(records[0].session.id), 1)),
            13 => bump(&storage, rotate_user("user-1"), 1),
            14 => drop(revoke(&storage, one(records[2].session.id), 1)),
            15 => bump(&storage, rotate_user("user-3"), 1),
            16 => drop(now(storage.purge(&Purge::new(PurgeScope::User(user("user-4")), 1, at(1)))).unwrap()),
            _ => {}
        }
    });
    assert!(lines >= 16);
    let restored = MemoryStorage::restore(&path, MemoryStorageConfig::new()).unwrap();
    let live: Vec<_> = records.iter().map(|one| is_live(&restored, one.session.id, 2)).collect();
    assert_eq!(live, [false, false, false, false, false, true]);

    let path = folder.path().join("rotated");
    lines = 0;
    save_with(&storage, &path, || {
        lines += 1;
        if lines == 10 {
            bump(&storage, rotate_all(0), 3);
        }
    });
    let restored = MemoryStorage::restore(&path, MemoryStorageConfig::new()).unwrap();
    assert!(!is_live(&restored, records[5].session.id, 4));
}

/// Stops the load also when an assertion fails, so that the test ends.
struct Stopping<'a>(&'a AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn saves_under_load_always_restore_within_the_bounds_and_revive_nobody() {
    const BOUND: usize = 300;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions");
    let config = MemoryStorageConfig::new().max_sessions(BOUND).max_users(BOUND).shards(16);
    let storage = MemoryStorage::new(config.clone()).unwrap();
    insert(&storage, &record("warm", 0, END, END));
    let (ended, stop, clock, sign_ins) =
        (Mutex::new(Vec::<SessionId>::new()), AtomicBool::new(false), AtomicUsize::new(1), AtomicUsize::new(0));
    let tick = || i64::try_from(clock.fetch_add(1, Ordering::SeqCst)).unwrap();
    let sign_in = |name: &str| -> Option<SessionRecord> {
        let fresh = record(name, tick(), END, END);
        let request = session_manager_core::storage::Insert::new(
            fresh.clone(),
            limit(3, OnLimit::EvictOldest),
            session_manager_core::storage::Incarnations { user: u64::try_from(tick()).unwrap(), global: 22 },
            at(tick()),
        );
        let outcome = now(storage.insert(&request)).ok()?;
        let session_manager_core::storage::InsertOutcome::Inserted { evicted, .. } = outcome else { return None };
        sign_ins.fetch_add(1, Ordering::SeqCst);
        ended.lock().unwrap().extend(evicted.iter().map(|one| one.session.id));
        Some(fresh)
    };
    thread::scope(|scope| {
        for thread in 0..3 {
            let (ended, stop, storage, sign_in, tick) = (&ended, &stop, &storage, &sign_in, &tick);
            scope.spawn(move || {
                let mut dice = Dice(thread);
                while !stop.load(Ordering::SeqCst) {
                    let name = format!("user-{thread}-{}", dice.roll(200));
                    // Whoever uses this name is this thread, so that it knows whom a rotation ends.
                    let Some(fresh) = sign_in(&name) else {
                        drop(revoke(storage, RevokeTarget::User { user: user(&name), except: None }, tick()));
                        continue;
                    };
                    match dice.roll(4) {
                        0 => drop(revoke(storage, one(fresh.session.id), tick())),
                        1 => bump(storage, rotate_user(&name), tick()),
                        2 => drop(
                            now(storage.purge(&Purge::new(PurgeScope::User(user(&name)), 10, at(tick())))).unwrap(),
                        ),
                        _ => continue,
                    }
                    ended.lock().unwrap().push(fresh.session.id);
                }
            });
        }
        let _stop = Stopping(&stop);
        for round in 0..16 {
            if round % 8 == 7 {
                // Everybody who is known to live before it, ends by it.
                let known: Vec<_> = everything(&storage).iter().map(|one| one.session.id).collect();
                bump(&storage, rotate_all(0), tick());
                ended.lock().unwrap().extend(known);
            }
            let before = ended.lock().unwrap().clone();
            storage.save(&path).unwrap();
            let restored = MemoryStorage::restore(&path, config.clone()).unwrap();
            assert!(restored.len() <= BOUND && restored.sizes()[3] <= BOUND, "{:?}", restored.sizes());
            let revived = before.iter().filter(|id| is_live(&restored, **id, tick())).count();
            assert_eq!(revived, 0, "round {round}");
        }
    });
    assert!(sign_ins.into_inner() > BOUND, "there was load");
    assert!(!storage.is_followed());
}

#[test]
fn following_a_slow_save_is_bounded_and_ends_with_it() {
    let storage = MemoryStorage::new(MemoryStorageConfig::new().max_sessions(50).shards(2)).unwrap();
    for number in 0..40 {
        insert(&storage, &record(&format!("user-{number}"), 0, END, END));
    }
    let (folder, mut time, mut most) = (tempfile::tempdir().unwrap(), 1, 0);
    save_with(&storage, &folder.path().join("sessions"), || {
        for _ in 0..20 {
            let fresh = insert(&storage, &record("busy", time, END, END));
            now(storage.purge(&Purge::new(PurgeScope::One(fresh.key()), 1, at(time)))).unwrap();
            time += 1;
        }
        most = most.max(storage.followed());
    });
    assert!(time > 1000 && most <= 100, "{most}");

    let failed = storage.write_lines(&mut Hashing::new(Full(10))).unwrap_err();
    assert_eq!(failed.during("save").kind(), ErrorKind::Internal);
    assert!(!storage.is_followed());
}

/// A disk with room for so many lines.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(1).ok_or(io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_smaller_bound_leaves_out_the_ended_and_never_the_living() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions");
    let storage = MemoryStorage::default();
    let live = insert(&storage, &record("live", 500, END, END));
    let kinds = [
        insert(&storage, &record("revoked", 0, END, END)),
        insert(&storage, &record("rotated", 0, END, END)),
        insert(&storage, &record("expired", 0, 400, 400)),
    ];
    revoke(&storage, one(kinds[0].session.id), 900);
    bump(&storage, rotate_user("rotated"), 900);
    for number in 0..20 {
        bump(&storage, rotate_user(&format!("idle-{number}")), number);
    }
    now(storage.remember_once(&OnceKey::parse("k").unwrap(), at(1), at(100))).unwrap();
    storage.save(&path).unwrap();
    for bound in 1..=4 {
        let restored = MemoryStorage::restore(&path, MemoryStorageConfig::new().max_sessions(bound)).unwrap();
        assert_eq!(restored.len(), bound);
        assert!(restored.sizes()[3] <= 4 * bound);
        assert!(is_live(&restored, live.session.id, 1000));
        assert!(kinds.iter().all(|one| !is_live(&restored, one.session.id, 1000)));
        let dropped = findings(&restored).iter().any(|text| text.starts_with(&format!("{} ended", 4 - bound)));
        assert_eq!(dropped, bound < 4);
    }
    insert_under(&storage, &record("another", 500, END, END), limit(5, OnLimit::EvictOldest), 500);
    storage.save(&path).unwrap();
    let error = MemoryStorage::restore(&path, MemoryStorageConfig::new().max_sessions(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misconfigured);
    assert!(read(&storage, live.session.id).is_some());
}
