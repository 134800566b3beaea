//! Rules in a manager: what they know of earlier sessions, what is recorded, what is done, and what it costs.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed unwrap is a failed test")]

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use serde_json::json;
use session_manager_core::{
    AuditEvent, AuditKind, ClientInfo, Created, Enrichment, ErrorKind, IpRecording, Location, NewSession,
    RequestContext, Result, RevocationReason, Session, SessionEnricher, SessionObserver, SessionPolicy, SessionStorage,
    State, SuspicionAction,
};
use session_manager_enricher_device::DeviceEnricher;
use session_manager_suspicion::{DeviceChange, History, ImpossibleTravel, NewCountry, NewDevice};
use session_manager_testkit::fault::{CountingStorage, Method};
use session_manager_tests::bed::{Bed, memory, user};

/// Places of a few addresses.
#[derive(Debug)]
struct Atlas;

const BERLIN: [u8; 4] = [192, 0, 2, 49];
const TOKYO: [u8; 4] = [192, 0, 2, 81];

#[async_trait]
impl SessionEnricher for Atlas {
    fn name(&self) -> &'static str {
        "atlas"
    }

    async fn enrich(&self, client: &ClientInfo, enrichment: &mut Enrichment) -> Result<()> {
        let Some(IpAddr::V4(address)) = client.ip_address else { return Ok(()) };
        let (country, latitude, longitude) =
            if address.octets() == TOKYO { ("JP", 35.68, 139.69) } else { ("DE", 52.52, 13.405) };
        let mut location = Location::default();
        location.country = Some(country.to_owned());
        (location.latitude, location.longitude) = (Some(latitude), Some(longitude));
        enrichment.location = Some(location);
        Ok(())
    }

    fn maintenance(&self) -> Option<BoxFuture<'_, ()>> {
        None
    }
}

fn from(address: [u8; 4], agent: &str) -> RequestContext {
    RequestContext::from_client(ClientInfo::new().agent(agent).ip(address.into()))
}

async fn sign_in(bed: &Bed, address: [u8; 4], agent: &str) -> Result<Created> {
    bed.pass(Duration::from_mins(1));
    bed.manager.create(NewSession::of(user("alice")).by(["pwd"]), &from(address, agent)).await
}

/// The rules that were recorded since the last time.
fn raised(bed: &Bed) -> Vec<String> {
    let events = bed.sink.events();
    bed.sink.clear();
    let suspicious = events.into_iter().filter(|event| event.kind == AuditKind::Suspicious);
    suspicious.filter_map(|event| event.reason).collect()
}

#[tokio::test]
async fn a_sign_in_is_compared_with_those_before() {
    let storage: Arc<dyn SessionStorage> = memory();
    let history = History::new(storage.clone());
    let bed = Bed::with(storage, |builder| {
        builder
            .enricher(Arc::new(Atlas))
            .rule(Arc::new(NewDevice::new(history.clone())))
            .rule(Arc::new(NewCountry::new().history(history.clone())))
    });
    let nothing: [&str; 0] = [];
    let first = sign_in(&bed, BERLIN, "laptop").await.unwrap();
    assert_eq!(raised(&bed), nothing, "the first is compared with nothing");
    bed.manager
        .revoke(None, first.snapshot.session.id, RevocationReason::LOGOUT, &from(BERLIN, "laptop"))
        .await
        .unwrap();
    sign_in(&bed, BERLIN, "laptop").await.unwrap();
    assert_eq!(raised(&bed), nothing, "one that has ended counts");
    let phone = sign_in(&bed, BERLIN, "phone").await.unwrap();
    assert_eq!(raised(&bed), ["new_device"]);
    assert!(history.is_new_device(&phone.snapshot.session, bed.clock_now()).await.unwrap());
    sign_in(&bed, BERLIN, "phone").await.unwrap();
    assert_eq!(raised(&bed), nothing);
    sign_in(&bed, TOKYO, "tablet").await.unwrap();
    assert_eq!(raised(&bed), ["new_device", "new_country"], "every rule is recorded");
    sign_in(&bed, TOKYO, "tablet").await.unwrap();
    assert_eq!(raised(&bed), nothing);
}

/// A thief who is stopped once is stopped each time: the sessions that were ended make neither device nor country known.
#[tokio::test]
async fn what_suspicion_ended_vouches_for_nothing() {
    let storage: Arc<dyn SessionStorage> = memory();
    let history = History::new(storage.clone());
    let bed = Bed::with(storage, |builder| {
        let country = NewCountry::new().history(history).action(SuspicionAction::Revoke);
        builder.enricher(Arc::new(Atlas)).rule(Arc::new(country))
    });
    sign_in(&bed, BERLIN, "laptop").await.unwrap();
    for _ in 0..3 {
        let error = sign_in(&bed, TOKYO, "laptop").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SessionEnded(State::Revoked));
        assert_eq!(raised(&bed), ["new_country"]);
    }
    sign_in(&bed, BERLIN, "laptop").await.unwrap();
}

#[tokio::test]
async fn what_nobody_answered_vouches_for_nothing() {
    let storage: Arc<dyn SessionStorage> = memory();
    let history = History::new(storage.clone());
    let bed = Bed::with(storage, |builder| {
        let country = NewCountry::new().history(history).action(SuspicionAction::StepUp);
        builder.enricher(Arc::new(Atlas)).rule(Arc::new(country))
    });
    sign_in(&bed, BERLIN, "laptop").await.unwrap();
    let first = sign_in(&bed, TOKYO, "laptop").await.unwrap();
    sign_in(&bed, TOKYO, "laptop").await.unwrap();
    assert_eq!(raised(&bed), ["new_country", "new_country"]);
    bed.pass(Duration::from_secs(1));
    bed.manager.reauthenticate(first.snapshot.session.key(), &["otp"], None, &from(TOKYO, "laptop")).await.unwrap();
    sign_in(&bed, TOKYO, "laptop").await.unwrap();
    assert!(raised(&bed).is_empty(), "the user has answered");
}

/// The mildest is asked first, and the strictest is done.
#[tokio::test]
async fn every_rule_is_recorded_and_the_strictest_is_done() {
    let bed = Bed::with(memory(), |builder| {
        let country = NewCountry::new().lasting(Duration::ZERO);
        let travel = ImpossibleTravel::new().action(SuspicionAction::Revoke);
        builder.enricher(Arc::new(Atlas)).rule(Arc::new(country)).rule(Arc::new(travel))
    });
    let created = sign_in(&bed, BERLIN, "laptop").await.unwrap();
    bed.sink.clear();
    let error = bed.manager.authenticate(created.tokens.access.expose(), &from(TOKYO, "laptop")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SessionEnded(State::Revoked));
    let events = bed.sink.events();
    let told: Vec<_> = events.iter().map(|event| (event.reason.as_deref(), event.details.get("action"))).collect();
    assert_eq!(told.len(), 3, "and the end: {told:?}");
    assert_eq!(told[0], (Some("new_country"), Some(&json!("record"))));
    assert_eq!(told[1], (Some("impossible_travel"), Some(&json!("revoke"))));
}

#[tokio::test]
async fn a_step_up_frees_the_place() {
    let bed = Bed::with(memory(), |builder| builder.enricher(Arc::new(Atlas)).rule(Arc::new(ImpossibleTravel::new())));
    let hour = Duration::from_hours(1);
    let created = sign_in(&bed, BERLIN, "laptop").await.unwrap();
    let key = created.snapshot.session.key();
    let tokyo = from(TOKYO, "laptop");
    let used = bed.manager.authenticate(created.tokens.access.expose(), &tokyo).await.unwrap();
    assert_eq!(bed.manager.require_fresh(used.session().unwrap(), hour).unwrap_err().kind(), ErrorKind::StepUpRequired);
    for _ in 0..3 {
        bed.manager.authenticate(created.tokens.access.expose(), &tokyo).await.unwrap();
    }
    assert_eq!(raised(&bed), ["impossible_travel"], "once");
    bed.pass(Duration::from_secs(1));
    let again = bed.manager.reauthenticate(key, &["otp"], None, &tokyo).await.unwrap();
    for address in [TOKYO, BERLIN, TOKYO, BERLIN] {
        bed.pass(Duration::from_secs(10));
        let used = bed.manager.authenticate(again.tokens.access.expose(), &from(address, "laptop")).await.unwrap();
        assert!(bed.manager.require_fresh(used.session().unwrap(), hour).is_ok());
    }
    assert!(raised(&bed).is_empty());
}

/// What an application mails from.
#[derive(Debug, Default)]
struct Mails(Mutex<Vec<(String, String)>>);

#[async_trait]
impl SessionObserver for Mails {
    async fn observe(&self, event: &AuditEvent, session: Option<&Arc<Session>>) {
        if let (AuditKind::Suspicious, Some(reason), Some(session)) = (event.kind, &event.reason, session) {
            self.0.lock().unwrap().push((session.user_id.as_str().to_owned(), reason.clone()));
        }
    }
}

#[tokio::test]
async fn an_observer_hears_of_a_new_device() {
    let storage: Arc<dyn SessionStorage> = memory();
    let (history, mails) = (History::new(storage.clone()), Arc::new(Mails::default()));
    let observer = mails.clone();
    let bed = Bed::with(storage, |builder| builder.rule(Arc::new(NewDevice::new(history))).observer(observer));
    sign_in(&bed, BERLIN, "laptop").await.unwrap();
    sign_in(&bed, BERLIN, "phone").await.unwrap();
    assert_eq!(*mails.0.lock().unwrap(), [("alice".to_owned(), "new_device".to_owned())]);
}

/// Enrichers are asked at the sign-in, and then about a client that is not as it was then: they are off the path of every other request.
#[tokio::test]
async fn enrichers_are_asked_when_the_client_changed() {
    #[derive(Debug, Default)]
    struct Asked(AtomicU32);

    #[async_trait]
    impl SessionEnricher for Asked {
        fn name(&self) -> &'static str {
            "asked"
        }

        async fn enrich(&self, client: &ClientInfo, enrichment: &mut Enrichment) -> Result<()> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Atlas.enrich(client, enrichment).await
        }

        fn maintenance(&self) -> Option<BoxFuture<'_, ()>> {
            None
        }
    }

    // Without an address on record it may be another one each time.
    for (recording, before) in [(IpRecording::Full, 1), (IpRecording::Truncated, 1), (IpRecording::None, 4)] {
        let enricher = Arc::new(Asked::default());
        let mut policy = SessionPolicy::default();
        policy.ip_recording = recording;
        let given = enricher.clone();
        let bed = Bed::with(memory(), |builder| {
            builder.policy(policy).enricher(given).rule(Arc::new(NewCountry::new().lasting(Duration::ZERO)))
        });
        let created = sign_in(&bed, BERLIN, "laptop").await.unwrap();
        let used = async |address| {
            bed.manager.authenticate(created.tokens.access.expose(), &from(address, "laptop")).await.unwrap();
        };
        used(BERLIN).await;
        used(BERLIN).await;
        assert_eq!(enricher.0.load(Ordering::SeqCst), before, "{recording:?}");
        used([198, 51, 100, 81]).await;
        assert_eq!(enricher.0.load(Ordering::SeqCst), before + 1, "{recording:?}");
    }

    let enricher = Arc::new(Asked::default());
    let given = enricher.clone();
    let without_rules = Bed::with(memory(), |builder| builder.enricher(given));
    let created = sign_in(&without_rules, BERLIN, "laptop").await.unwrap();
    without_rules.manager.authenticate(created.tokens.access.expose(), &from(TOKYO, "phone")).await.unwrap();
    assert_eq!(enricher.0.load(Ordering::SeqCst), 1, "without rules a request costs them nothing");
}

/// Rules that know nothing cost no read; three that compare a sign-in share one list.
#[tokio::test]
async fn a_sign_in_costs_one_list() {
    let counting = Arc::new(CountingStorage::new(memory()));
    let storage: Arc<dyn SessionStorage> = counting.clone();
    let history = History::new(storage.clone());
    let bed = Bed::with(storage, |builder| {
        builder
            .enricher(Arc::new(Atlas))
            .rule(Arc::new(NewDevice::new(history.clone())))
            .rule(Arc::new(NewCountry::new().history(history.clone())))
            .rule(Arc::new(ImpossibleTravel::new().history(history)))
            .rule(Arc::new(DeviceChange::new()))
    });
    let created = sign_in(&bed, BERLIN, "laptop").await.unwrap();
    assert_eq!(counting.calls(Method::List), 1);
    for _ in 0..5 {
        bed.manager.authenticate(created.tokens.access.expose(), &from(BERLIN, "laptop")).await.unwrap();
    }
    assert_eq!(counting.calls(Method::List), 1);
}

const FIREFOX: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0";
const NEWER: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:141.0) Gecko/20100101 Firefox/141.0";
const LINUX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
const CHROME: &str =
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36";
const IPHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
                      Version/18.5 Mobile/15E148 Safari/604.1";
const MAC: &str = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) \
                   Version/18.5 Safari/605.1.15";
const ANDROID: &str = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 \
                       Mobile Safari/537.36";
const ANDROID_AS_DESKTOP: &str =
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36";

/// By the names that the real enricher gives: versions and desktop pages on a phone are no other device.
#[tokio::test]
async fn real_browsers_are_told_apart() {
    let cases = [
        (FIREFOX, NEWER, false),
        (IPHONE, MAC, false),
        (MAC, IPHONE, false),
        (ANDROID, ANDROID_AS_DESKTOP, false),
        (FIREFOX, CHROME, true),
        (FIREFOX, LINUX, true),
        (IPHONE, FIREFOX, true),
        (MAC, CHROME, true),
    ];
    for (before, now, is_other) in cases {
        let bed = Bed::with(memory(), |builder| {
            builder.enricher(Arc::new(DeviceEnricher::new().unwrap())).rule(Arc::new(DeviceChange::new()))
        });
        let created = sign_in(&bed, BERLIN, before).await.unwrap();
        bed.manager.authenticate(created.tokens.access.expose(), &from(BERLIN, now)).await.unwrap();
        assert_eq!(!raised(&bed).is_empty(), is_other, "{before}\n{now}");
    }
}
