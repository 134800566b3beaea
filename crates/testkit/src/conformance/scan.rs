//! Checks of the scan and of `put`: export, import, and what an import may never do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use session_manager_core::storage::{PutOutcome, RevokeTarget, SessionScan};
use session_manager_core::{Epoch, Epochs, GlobalEpoch, Session, SessionStorage, Snapshot, State};

use super::ability::needs;
use super::run::CheckOutcome::{self, Passed};
use crate::ReferenceStorage;
use crate::fixture::{Fixture, user};
use crate::session::external;

fn scan_of(lab: &Fixture) -> &dyn SessionScan {
    lab.storage().scan().expect("the scan does not go away")
}

async fn everything(scan: &dyn SessionScan, limit: u32) -> Vec<Snapshot> {
    let (mut cursor, mut all) = (None, Vec::new());
    loop {
        let page = scan.scan(cursor.as_ref(), limit).await.unwrap();
        all.extend(page.sessions);
        assert!(all.len() < 100_000, "a scan comes to an end");
        match page.next {
            Some(next) => cursor = Some(next),
            None => return all,
        }
    }
}

/// A scan returns every session, ended ones too, as a read does, for every page size.
pub async fn scan_returns_every_session(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    needs!(storage, Scan);
    let lab = Fixture::new(storage);
    let mut expected = BTreeMap::new();
    for number in 0..11 {
        let mut session = lab.session(&user(["alice", "bob", "carol"][number % 3]));
        if number == 5 {
            session = session.with_everything();
        }
        let snapshot = lab.store(session).await;
        if number % 4 == 0 {
            lab.logout(&snapshot).await;
        }
        expected.insert(snapshot.session.id, lab.reread(&snapshot).await);
    }
    for limit in [1, 4, 11, 200] {
        let seen: BTreeMap<_, _> =
            everything(scan_of(&lab), limit).await.into_iter().map(|one| (one.session.id, one)).collect();
        assert_eq!(seen, expected, "limit {limit}");
    }
    Passed
}

/// What was there when a scan began is in it, whatever is inserted and removed meanwhile.
pub async fn scan_misses_nothing_under_change(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    needs!(storage, Scan);
    let lab = Fixture::new(storage);
    let mut there = Vec::new();
    for number in 0..12 {
        there.push(lab.login(&user(&format!("user {number}"))).await);
    }
    let (mut cursor, mut seen) = (None, BTreeSet::new());
    for round in 0..1_000 {
        let page = scan_of(&lab).scan(cursor.as_ref(), 3).await.unwrap();
        seen.extend(page.sessions.iter().map(|one| one.session.id));
        lab.login(&user(&format!("late {round}"))).await;
        // What has been seen may go: the rest must not shift because of it.
        if let Some(one) = page.sessions.first() {
            let scope = session_manager_core::storage::PurgeScope::One(one.key());
            lab.storage().purge(&session_manager_core::storage::Purge::new(scope, 1, lab.now())).await.unwrap();
        }
        cursor = page.next;
        // New sessions may be seen too, so that the scan could go on as long as there are any.
        if cursor.is_none() || there.iter().all(|one| seen.contains(&one.session.id)) {
            break;
        }
    }
    for one in &there {
        assert!(seen.contains(&one.session.id), "a session that was there when the scan began is missing");
    }
    Passed
}

/// Sessions scanned elsewhere and put here are the same in every field, with epochs, and the other way round.
pub async fn scan_and_put_round_trip(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    needs!(storage, Scan);
    let live = Fixture::new(Arc::clone(&storage)).live();
    let elsewhere = if live == session_manager_core::LivePolicy::TRACKED {
        ReferenceStorage::new()
    } else {
        ReferenceStorage::without_epochs()
    };
    let (here, there) = (Fixture::new(storage), Fixture::new(Arc::new(elsewhere)));
    for name in ["alice", "bob"] {
        there.store(there.session(&user(name)).with_everything().external("one")).await;
        there.login(&user(name)).await;
    }
    let moved = there.login(&user("alice")).await;
    there.tick(5);
    there.advance(&moved, 1).await;
    there.logout(&there.login(&user("bob")).await).await;
    if here.storage().capabilities().epochs {
        there.bump_user(&user("bob"), None).await;
        there.bump_global(60_000).await;
    }
    let exported = everything(scan_of(&there), 3).await;
    for snapshot in &exported {
        assert_eq!(scan_of(&here).put(snapshot).await.unwrap(), PutOutcome::Written);
        assert_eq!(scan_of(&here).put(snapshot).await.unwrap(), PutOutcome::Kept, "a second put changes nothing");
    }
    for snapshot in &exported {
        assert_eq!(here.reread(snapshot).await, *snapshot);
    }
    assert_eq!(everything(scan_of(&here), 3).await.len(), exported.len());
    for name in ["alice", "bob"] {
        assert_eq!(here.list_all_of(name).await, there.list_all_of(name).await);
    }
    Passed
}

impl Fixture {
    async fn list_all_of(&self, name: &str) -> Vec<Snapshot> {
        self.stored(&user(name)).await
    }
}

/// A put writes over a lower version only, and over a revocation never.
pub async fn put_never_overwrites_what_is_newer_or_ended(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    needs!(storage, Scan);
    let lab = Fixture::new(storage);
    let old = lab.login(&user("alice")).await;
    lab.tick(60_000);
    lab.advance(&old, 1).await;
    let current = lab.reread(&old).await;
    let with_version = |version| {
        let mut other = current.clone();
        (other.control.version, other.control.generation) = (version, 40);
        other
    };
    for snapshot in [old.clone(), with_version(current.control.version)] {
        assert_eq!(scan_of(&lab).put(&snapshot).await.unwrap(), PutOutcome::Kept);
        assert_eq!(lab.reread(&old).await, current);
    }
    let newer = with_version(current.control.version + 1);
    assert_eq!(scan_of(&lab).put(&newer).await.unwrap(), PutOutcome::Written);
    assert_eq!(lab.reread(&old).await, newer);
    lab.logout(&old).await;
    let dead = lab.reread(&old).await;
    assert_eq!(scan_of(&lab).put(&with_version(dead.control.version + 1_000)).await.unwrap(), PutOutcome::Kept);
    assert_eq!(lab.reread(&old).await, dead);
    Passed
}

/// A put takes a name elsewhere that other sessions have, and a session is found by the name that it was put with last.
pub async fn put_takes_a_name_that_others_have(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    needs!(storage, Scan, External);
    let lab = Fixture::new(storage);
    let alice = user("alice");
    let own = lab.store(lab.session(&alice).external("one")).await;
    let mut imported = lab.session(&alice).external("one").record();
    imported.control.stamped = own.control.stamped;
    let imported = Snapshot::new(imported, own.epochs);
    assert_eq!(scan_of(&lab).put(&imported).await.unwrap(), PutOutcome::Written);
    let mut renamed = imported.clone();
    let mut session = Session::clone(&renamed.session);
    session.external = Some(external("two"));
    (renamed.session, renamed.control.version) = (session.into(), imported.control.version + 1);
    assert_eq!(scan_of(&lab).put(&renamed).await.unwrap(), PutOutcome::Written);
    for (sid, snapshot) in [("one", &own), ("two", &renamed)] {
        let revoked = lab.revoke(RevokeTarget::External(external(sid))).await;
        let ended: Vec<_> = revoked.sessions.iter().map(|one| one.session.id).collect();
        assert_eq!((ended, revoked.already_ended), (vec![snapshot.session.id], 0), "{sid}");
    }
    Passed
}

/// A put creates missing epochs as they were, raises those of the same incarnation, and lowers none.
pub async fn put_raises_epochs_and_never_lowers(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    needs!(storage, Scan, Epochs);
    let lab = Fixture::new(storage);
    let alice = user("alice");
    let epochs = |user: u64, global: u64| {
        let user = Epoch { incarnation: 7, version: user };
        Epochs::new(Some(user), Some(GlobalEpoch::new(Epoch { incarnation: 9, version: global })))
    };
    for (put, expected) in [((5, 3), (5, 3)), ((8, 2), (8, 3)), ((1, 6), (8, 6)), ((8, 6), (8, 6))] {
        let given = epochs(put.0, put.1);
        let mut record = lab.session(&alice).record();
        record.control.stamped = given.stamp();
        let outcome = scan_of(&lab).put(&Snapshot::new(record, given)).await.unwrap();
        assert_eq!(outcome, PutOutcome::Written);
        assert_eq!(lab.storage().epochs(Some(&alice)).await.unwrap(), epochs(expected.0, expected.1), "{put:?}");
    }
    Passed
}

/// A session with the stamp of another incarnation, or without one, is refused: a lost epoch signs out and never in.
pub async fn lost_epochs_refuse(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    needs!(storage, Scan, Epochs);
    let lab = Fixture::new(storage);
    let alice = user("alice");
    let own = lab.login(&alice).await;
    let mut strangers = Vec::new();
    for change in 0..3 {
        let mut record = lab.session(&alice).record();
        let mut epochs = own.epochs;
        let mut stamp = epochs.stamp().expect("a stamp");
        match change {
            0 => stamp.user.incarnation ^= 1,
            1 => stamp.global.incarnation ^= 1 << 63,
            _ => epochs = Epochs::default(),
        }
        record.control.stamped = (change < 2).then_some(stamp);
        let snapshot = Snapshot::new(record, epochs);
        assert_eq!(scan_of(&lab).put(&snapshot).await.unwrap(), PutOutcome::Written, "change {change}");
        strangers.push(snapshot);
    }
    for stranger in &strangers {
        assert_eq!(lab.state(stranger).await, State::EpochLost);
        let outcome = lab.advance(stranger, 1).await;
        assert_eq!(super::advance::told(&outcome).0, "ended", "{outcome:?}");
    }
    assert_eq!(lab.live_ids(&alice).await, BTreeSet::from([own.session.id]));
    assert_eq!(lab.state(&own).await, State::Live, "the epochs that were there stand");
    Passed
}
