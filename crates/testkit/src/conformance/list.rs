//! Checks of `list` and `count`: filters, order, pages and cursors.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use session_manager_core::clock::after;
use session_manager_core::storage::{Cursor, Query, SessionFilter};
use session_manager_core::{DeviceKind, ErrorKind, SessionStorage, Snapshot};

use super::ability::needs;
use super::concurrency::at_once;
use super::run::CheckOutcome::{self, Passed};
use crate::fixture::{Fixture, ids, user};

/// Sessions of all kinds, of two users, some of them ended, over some minutes.
async fn populate(lab: &Fixture) -> Vec<Snapshot> {
    let kinds = [DeviceKind::Desktop, DeviceKind::Phone, DeviceKind::Unknown];
    let addresses = ["192.0.2.1", "192.0.2.200", "198.51.100.7", "2001:db8::1", "2001:db8:1::1"];
    let places = [("DE", "Köln"), ("DE", "Berlin"), ("US", "Berlin"), ("GB", "O'Fallon%")];
    let mut all = Vec::new();
    for number in 0..24 {
        let mut session = lab.session(&user(["alice", "alice", "bob"][number % 3]));
        if number % 4 != 0 {
            session = session.device(kinds[number % 3]);
        }
        if number % 5 != 1 {
            session = session.ip(addresses[number % 5]);
        }
        if number % 7 != 2 {
            let (country, city) = places[number % 4];
            session = session.place(country, city);
        }
        if number % 3 == 1 {
            session = session.trusted((number % 2 == 1).then(|| after(lab.now(), Duration::from_mins(10))));
        }
        if number % 8 == 5 {
            session = session.idle(Some(Duration::from_mins(2)));
        }
        let snapshot = lab.store(session).await;
        if number % 6 == 4 {
            lab.logout(&snapshot).await;
        }
        if number % 5 == 3 {
            lab.tick(1_000);
            lab.touch(&snapshot).await;
        }
        all.push(snapshot);
        lab.tick(if number % 4 == 0 { 0 } else { 29_000 });
    }
    all
}

/// One filter for every condition, on both sides of its boundary, and some together.
fn filters(lab: &Fixture, all: &[Snapshot]) -> Vec<SessionFilter> {
    let mut filters = vec![SessionFilter::new(), SessionFilter::including_ended()];
    let mut add = |change: &dyn Fn(&mut SessionFilter)| {
        for mut filter in [SessionFilter::new(), SessionFilter::including_ended()] {
            change(&mut filter);
            filters.push(filter);
        }
    };
    for kind in [DeviceKind::Desktop, DeviceKind::Phone, DeviceKind::Unknown, DeviceKind::Tv] {
        add(&|filter| filter.device = Some(kind));
    }
    for net in ["192.0.2.1/32", "192.0.2.0/24", "192.0.2.0/25", "0.0.0.0/0", "::/0", "2001:db8::/48", "10.0.0.0/8"] {
        add(&|filter| filter.ip = Some(net.parse().expect("a network")));
    }
    for country in ["DE", "US", "de", "D_", "%"] {
        add(&|filter| filter.country = Some(country.to_owned()));
    }
    for city in ["Köln", "Berlin", "berlin", "O'Fallon%", "O'Fallon", "%"] {
        add(&|filter| filter.city = Some(city.to_owned()));
    }
    for trusted in [true, false] {
        add(&|filter| filter.is_trusted = Some(trusted));
    }
    for snapshot in [&all[5], &all[11]] {
        let (born, seen) = (snapshot.session.created_at, snapshot.control.last_activity);
        // Between two milliseconds too: whoever cuts a bound to whole ones loses a session at it, or finds one too many.
        for offset in [0, 500, 1_000] {
            let offset = Duration::from_micros(offset);
            add(&|filter| filter.created_after = Some(after(born, offset)));
            add(&|filter| filter.created_before = Some(after(born, offset)));
            add(&|filter| filter.last_activity_before = Some(after(seen, offset)));
        }
    }
    add(&|filter| {
        filter.country = Some("DE".to_owned());
        filter.is_trusted = Some(false);
        filter.created_before = Some(lab.now());
    });
    filters
}

/// Every filter means what its definition says, for one user, in lists and counts.
pub async fn every_filter_agrees_with_its_definition(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    let lab = Fixture::new(storage);
    let all = populate(&lab).await;
    let mut stored = Vec::new();
    for snapshot in &all {
        stored.push(lab.reread(snapshot).await);
    }
    for filter in filters(&lab, &all) {
        for name in ["alice", "bob"] {
            let query = Query::of(user(name), lab.now()).filtered(filter.clone());
            let meant = |snapshot: &&Snapshot| {
                snapshot.session.user_id == user(name) && filter.matches(snapshot, lab.now(), lab.live())
            };
            let mut expected: Vec<_> = stored.iter().filter(meant).cloned().collect();
            expected.sort_by_key(|snapshot| std::cmp::Reverse((snapshot.session.created_at, snapshot.session.id)));
            assert_eq!(lab.list_all(query.clone()).await, expected, "{name}: {filter:?}");
            let count = lab.storage().count(&query).await.unwrap();
            let expected = u64::try_from(expected.len()).unwrap();
            assert!(!count.exact || count.value == expected, "{name}: {filter:?}: {count:?}, not {expected}");
        }
    }
    Passed
}

/// The same filters across all users.
pub async fn lists_across_users_agree_with_the_definition(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    needs!(storage, ListAll);
    let lab = Fixture::new(storage);
    let all = populate(&lab).await;
    let mut stored = Vec::new();
    for snapshot in &all {
        stored.push(lab.reread(snapshot).await);
    }
    for filter in filters(&lab, &all) {
        let query = Query::everybody(lab.now()).filtered(filter.clone());
        let meant = |snapshot: &&Snapshot| filter.matches(snapshot, lab.now(), lab.live());
        let mut expected: Vec<_> = stored.iter().filter(meant).cloned().collect();
        expected.sort_by_key(|snapshot| std::cmp::Reverse((snapshot.session.created_at, snapshot.session.id)));
        assert_eq!(lab.list_all(query.clone()).await, expected, "{filter:?}");
        let count = lab.storage().count(&query).await.unwrap();
        assert!(!count.exact || count.value == u64::try_from(expected.len()).unwrap(), "{filter:?}: {count:?}");
    }
    Passed
}

/// Newest first, by creation and then by id, each session once, and a cursor exactly while there is more: for every page size.
pub async fn pages_are_complete_and_in_order(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    let lab = Fixture::new(storage);
    let alice = user("alice");
    let mut expected = Vec::new();
    for number in 0..12 {
        // Three of one millisecond each time, so that the id decides too.
        lab.tick(i64::from(number % 3 == 0));
        expected.push(lab.login(&alice).await);
    }
    expected.sort_by_key(|snapshot| std::cmp::Reverse((snapshot.session.created_at, snapshot.session.id)));
    for limit in [1, 2, 3, 5, 11, 12, 13, 200] {
        let mut query = Query::of(alice.clone(), lab.now()).limited(limit);
        let mut seen = Vec::new();
        loop {
            let page = lab.storage().list(&query).await.unwrap();
            assert!(u32::try_from(page.sessions.len()).unwrap() <= limit, "limit {limit}");
            seen.extend(page.sessions);
            assert_eq!(page.next.is_some(), seen.len() < expected.len(), "limit {limit} after {}", seen.len());
            match page.next {
                Some(next) => query = query.after(Some(next)),
                None => break,
            }
        }
        assert_eq!(seen, expected, "limit {limit}");
    }
    let query = Query::of(alice, lab.now()).limited(3);
    let query = query.clone().after(Some(Cursor::after(&query, &expected[5])));
    assert_eq!(lab.storage().count(&query).await.unwrap().value, 12, "a count ignores cursor and limit");
    Passed
}

/// Pages stay stable while sessions are inserted and ended: what was there from the first page to the last is seen exactly once.
pub async fn pages_are_stable_under_inserts(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    let lab = Fixture::new(storage);
    let alice = user("alice");
    let mut there = Vec::new();
    for _ in 0..20 {
        lab.tick(1);
        there.push(lab.login(&alice).await);
    }
    let mut query = Query::of(alice.clone(), lab.now()).limited(3);
    let mut seen = Vec::new();
    loop {
        let page = lab.storage().list(&query).await.unwrap();
        seen.extend(page.sessions.iter().map(|snapshot| snapshot.session.id));
        lab.tick(1);
        at_once(3, |_| {
            let lab = lab.clone();
            async move { lab.login(&user("alice")).await }
        })
        .await;
        // The last of the page ends: the next page must begin where it was all the same.
        if let Some(last) = page.sessions.last() {
            lab.logout(last).await;
        }
        match page.next {
            Some(next) => query = query.after(Some(next)),
            None => break,
        }
    }
    let distinct: BTreeSet<_> = seen.iter().copied().collect();
    assert_eq!((seen.len(), distinct), (20, ids(&there)));
    Passed
}

/// A cursor is good for its own user and filter only; any other, or any other text, is refused as such.
pub async fn cursors_of_other_queries_are_refused(storage: Arc<dyn SessionStorage>) -> CheckOutcome {
    let lab = Fixture::new(storage);
    for name in ["alice", "alice", "alice", "bob", "bob"] {
        lab.login(&user(name)).await;
    }
    let query = Query::of(user("alice"), lab.now()).limited(1);
    let next = lab.storage().list(&query).await.unwrap().next.expect("there is more");
    assert!(lab.storage().list(&query.clone().after(Some(next.clone()))).await.is_ok());
    let other = Query::of(user("bob"), lab.now()).after(Some(next.clone()));
    let unlike = query.clone().filtered(SessionFilter::including_ended()).after(Some(next.clone()));
    let mut wrong = vec![other, unlike];
    for text in ["", "A", "%", "'; --", &next.as_str()[1..], &format!("{}A", next.as_str()), &"A".repeat(5_000)] {
        wrong.push(query.clone().after(Some(Cursor::from_text(text))));
    }
    for query in wrong {
        let error = lab.storage().list(&query).await.expect_err("a cursor of another query is refused");
        assert_eq!(error.kind(), ErrorKind::InvalidCursor);
    }
    Passed
}
