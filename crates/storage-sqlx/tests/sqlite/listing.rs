//! Filters and pages: SQL agrees with `SessionFilter::matches`, whatever the mapping.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use session_manager_core::storage::{Bump, BumpTarget, Consistency, Page, Query, Revoke, RevokeTarget, SessionFilter};
use session_manager_core::{
    Actor, Device, DeviceKind, ErrorKind, LivePolicy, Location, RevocationReason, Session, SessionId, SessionRecord,
    SessionStorage, Snapshot,
};
use session_manager_storage_sqlx::{Field, SessionTable};

use crate::fixture::{Fixture, GRACE, INCARNATIONS, at, full, insert, record, user};

fn varied(number: i64) -> SessionRecord {
    let SessionRecord { session, control, .. } =
        record(["alice", "bob"][usize::from(number % 3 == 0)], number / 2 * 100_000);
    let mut session: Session = (*session).clone();
    let pick = |every: i64| number % every == 0;
    session.ip_address = (!pick(5)).then(|| format!("10.0.{}.{}", number % 2, number).parse().unwrap());
    if !pick(4) {
        let mut device = Device::default();
        device.kind =
            [DeviceKind::Desktop, DeviceKind::Phone, DeviceKind::Unknown][usize::try_from(number % 3).unwrap()];
        session.device = Some(device);
        let mut place = Location::default();
        place.country = (!pick(7)).then(|| ["DE", "FR"][usize::from(pick(2))].to_owned());
        place.city = pick(3).then(|| "Köln".to_owned());
        session.location = Some(place);
    }
    session.is_trusted = pick(2);
    session.trusted_until = pick(6).then(|| at(number * 60_000));
    SessionRecord::new(session, control)
}

async fn filled(mapping: SessionTable) -> (Fixture, Vec<Snapshot>) {
    let fixture = Fixture::with(mapping).await;
    for number in 0..40 {
        let record = varied(number);
        let key = record.session.key();
        let mut request = insert(record, 100, 0);
        request.now = at(number * 50_000);
        fixture.storage.insert(&request).await.unwrap();
        if number % 9 == 0 {
            let target = RevokeTarget::One { key, owner: None };
            fixture
                .storage
                .revoke(&Revoke::new(target, RevocationReason::LOGOUT, Actor::System, at(number)))
                .await
                .unwrap();
        }
        if number == 20 && fixture.storage.capabilities().epochs {
            let target = BumpTarget::User { user: user("alice"), keep: None };
            fixture.storage.bump(&Bump::new(target, INCARNATIONS, at(0))).await.unwrap();
            fixture
                .storage
                .bump(&Bump::new(BumpTarget::Global { grace: GRACE * 150 }, INCARNATIONS, at(0)))
                .await
                .unwrap();
        }
    }
    let all = fixture.storage.scan().unwrap().scan(None, 100).await.unwrap().sessions;
    assert_eq!(all.len(), 40);
    (fixture, all)
}

fn filters() -> impl Strategy<Value = SessionFilter> {
    let kinds = prop::sample::select(vec![DeviceKind::Desktop, DeviceKind::Phone, DeviceKind::Unknown, DeviceKind::Tv]);
    let nets = prop::sample::select(vec!["10.0.1.0/24", "10.0.1.7/32", "10.0.0.0/8", "::/0", "10.0.0.0/29"]);
    let texts = (
        prop::option::of(prop::sample::select(vec!["DE", "FR", "de"])),
        prop::option::of(prop::sample::select(vec!["Köln", "köln"])),
    );
    let time = || prop::option::weighted(0.3, (0_i64..2_100).prop_map(|t| at(t * 1_000)));
    let parts = (
        any::<bool>(),
        prop::option::weighted(0.3, kinds),
        prop::option::weighted(0.3, nets),
        texts,
        prop::option::weighted(0.3, any::<bool>()),
    );
    (parts, time(), time(), time()).prop_map(
        |((active_only, device, net, (country, city), is_trusted), after, before, last)| {
            let mut filter = SessionFilter::new();
            filter.active_only = active_only;
            filter.device = device;
            filter.ip = net.map(|net| net.parse().unwrap());
            (filter.country, filter.city) =
                (country.filter(|_| last.is_none()).map(Into::into), city.filter(|_| after.is_none()).map(Into::into));
            filter.is_trusted = is_trusted;
            (filter.created_after, filter.created_before, filter.last_activity_before) = (after, before, last);
            filter
        },
    )
}

/// Pages through a query.
async fn pages(fixture: &Fixture, query: &Query) -> Vec<SessionId> {
    let mut ids = Vec::new();
    let mut query = query.clone();
    loop {
        let Page { sessions, next, .. } = fixture.storage.list(&query).await.unwrap();
        assert!(sessions.len() <= usize::try_from(query.limit).unwrap());
        assert!(next.is_none() || !sessions.is_empty());
        ids.extend(sessions.iter().map(|snapshot| snapshot.session.id));
        if next.is_none() {
            return ids;
        }
        query = query.after(next);
    }
}

#[test]
fn lists_and_counts_agree_with_the_definition() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let bare = [Field::DeviceKind, Field::Country, Field::City, Field::IsTrusted, Field::IpAddress]
        .into_iter()
        .fold(full(), SessionTable::without);
    for (mapping, live) in
        [(full(), LivePolicy::TRACKED), (bare, LivePolicy::TRACKED), (SessionTable::new("s"), LivePolicy::UNTRACKED)]
    {
        let (fixture, all) = runtime.block_on(filled(mapping));
        let seen = std::cell::RefCell::new(BTreeSet::new());
        let inputs =
            (filters(), prop::option::of(prop::sample::select(vec!["alice", "bob", "carol"])), 0_i64..2_500, 1_u32..12);
        let mut runner = TestRunner::new(Config { cases: 150, failure_persistence: None, ..Config::default() });
        let run = runner.run(&inputs, |(filter, name, now, limit)| {
            let now = at(now * 1_000);
            let name = name.map(user);
            let mut wanted: Vec<_> = all
                .iter()
                .filter(|s| name.as_ref().is_none_or(|name| *name == s.session.user_id) && filter.matches(s, now, live))
                .collect();
            wanted.sort_by_key(|s| std::cmp::Reverse((s.session.created_at, s.session.id)));
            let wanted: Vec<_> = wanted.into_iter().map(|s| s.session.id).collect();
            seen.borrow_mut().insert(wanted.len().min(3));
            let mut query = Query::everybody(now).filtered(filter).limited(limit);
            query.user = name;
            let (listed, count) = runtime
                .block_on(async { (pages(&fixture, &query).await, fixture.storage.count(&query).await.unwrap()) });
            prop_assert_eq!(&listed, &wanted);
            prop_assert_eq!((count.value, count.exact), (u64::try_from(wanted.len()).unwrap(), true));
            Ok(())
        });
        run.unwrap();
        assert!(
            [0, 1, 3].iter().all(|size| seen.borrow().contains(size)),
            "the filters were too narrow to test anything: {seen:?}"
        );
    }
}

#[tokio::test]
async fn a_network_is_found_beyond_one_batch() {
    let fixture = Fixture::new().await;
    for number in 0..600 {
        let SessionRecord { session, control, .. } = record("alice", number);
        let mut session: Session = (*session).clone();
        session.ip_address = Some(if number % 300 == 0 { "10.1.0.1" } else { "10.2.0.1" }.parse().unwrap());
        fixture.storage.insert(&insert(SessionRecord::new(session, control), 1_000, number)).await.unwrap();
    }
    let mut filter = SessionFilter::new();
    filter.ip = Some("10.1.0.0/16".parse().unwrap());
    let query = Query::everybody(at(600)).filtered(filter).limited(1);
    assert_eq!(pages(&fixture, &query).await.len(), 2);
    assert_eq!(fixture.storage.count(&query).await.unwrap().value, 2);
    let mut foreign = query.clone().after(fixture.storage.list(&query).await.unwrap().next);
    foreign.user = Some(user("bob"));
    let error = fixture.storage.list(&foreign).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidCursor);
}

#[tokio::test]
async fn many_are_read_in_the_order_of_the_keys() {
    let fixture = Fixture::new().await;
    let mut keys = Vec::new();
    for number in 0..70 {
        keys.push(fixture.sign_in("alice", number).await.key());
        keys.push(record("alice", number).session.key());
    }
    keys.push(keys[0]);
    for part in [&keys[..0], &keys[..1], &keys[..3], &keys[..]] {
        let found = fixture.storage.read_many(part, Consistency::Latest).await.unwrap();
        let expected: Vec<_> = part.iter().enumerate().map(|(index, key)| (index % 2 == 0).then_some(key.id)).collect();
        assert_eq!(found.iter().map(|s| s.as_ref().map(|s| s.session.id)).collect::<Vec<_>>(), expected);
    }
}
