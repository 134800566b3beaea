//! The suite for enrichers; most tests use [`enricher_conformance!`](crate::enricher_conformance).

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use session_manager_core::{ClientInfo, Device, DeviceKind, Enrichment, Location, Result, SessionEnricher};

use super::concurrency::at_once;
use super::kit::{HOSTILE, assert_silent, endless};

/// How long one client may take: far more than a manager waits, so that a busy machine fails nothing.
const PATIENCE: Duration = Duration::from_secs(2);

/// Enriches in a task of its own, so that a panic and a call without end are told from an answer.
async fn enrich(
    enricher: &Arc<dyn SessionEnricher>,
    client: ClientInfo,
    before: Enrichment,
) -> (Result<()>, Enrichment) {
    let (enricher, shown) = (Arc::clone(enricher), shortened(&client));
    let task = tokio::spawn(async move {
        let mut enrichment = before;
        let outcome = enricher.enrich(&client, &mut enrichment).await;
        (outcome, enrichment)
    });
    let ended = tokio::time::timeout(PATIENCE, task).await;
    let ended = ended.unwrap_or_else(|_| panic!("no answer within {PATIENCE:?} for {shown}"));
    ended.unwrap_or_else(|error| panic!("{error} for {shown}"))
}

fn shortened(client: &ClientInfo) -> String {
    format!("{client:?}").chars().take(200).collect()
}

/// A client of whom everything is known.
fn known() -> ClientInfo {
    let agent = "Mozilla/5.0 (X11; Linux x86_64; rv:150.0) Gecko/20100101 Firefox/150.0";
    let address = "203.0.113.17".parse().expect("an address");
    let mut client = ClientInfo::new().ip(address).agent(agent).named("Zoë's laptop").application("web");
    client.hints.insert("sec-ch-ua-platform".to_owned(), "\"Linux\"".to_owned());
    client
}

/// The enricher's name is stable, not empty, and fit for a label.
pub async fn name_is_stable_and_not_empty(enricher: Arc<dyn SessionEnricher>) {
    let name = enricher.name();
    assert!(!name.trim().is_empty() && name.len() <= 64 && !name.chars().any(char::is_control), "{name:?}");
    drop(enrich(&enricher, known(), Enrichment::default()).await);
    assert_eq!(enricher.name(), name);
}

/// A client without address, without agent, or of which nothing is known is no failure.
pub async fn missing_knowledge_is_no_failure(enricher: Arc<dyn SessionEnricher>) {
    let (mut nowhere, mut nameless) = (known(), known());
    nowhere.ip_address = None;
    nameless.user_agent = None;
    for client in [known(), nowhere, nameless, ClientInfo::new()] {
        let shown = shortened(&client);
        let (outcome, _) = enrich(&enricher, client, Enrichment::default()).await;
        assert!(outcome.is_ok(), "{outcome:?} for {shown}");
    }
}

/// Whatever a client says of itself, the enricher neither panics nor goes on without end, and the next client is served.
pub async fn hostile_clients_are_survived(enricher: Arc<dyn SessionEnricher>) {
    let endless = endless();
    for text in HOSTILE.into_iter().chain([&*endless]) {
        let mut client = ClientInfo::new().agent(text).named(text).application(text);
        for name in ["sec-ch-ua", "sec-ch-ua-platform", "sec-ch-ua-mobile", "sec-ch-ua-model", text] {
            client.hints.insert(name.to_owned(), text.to_owned());
        }
        // It may say that it cannot: a failure never fails a sign-in.
        drop(enrich(&enricher, client, Enrichment::default()).await);
    }
    for address in ["0.0.0.0", "255.255.255.255", "127.0.0.1", "10.0.0.1", "::", "::1", "fe80::1", "::ffff:203.0.113.1"]
    {
        let client = ClientInfo::new().ip(address.parse().expect("an address"));
        drop(enrich(&enricher, client, Enrichment::default()).await);
    }
    let (outcome, _) = enrich(&enricher, known(), Enrichment::default()).await;
    assert!(outcome.is_ok(), "the next client is served: {outcome:?}");
}

/// What stands in the enrichment already stays: nothing is removed, and no attribute of another's is touched.
pub async fn what_is_there_stays(enricher: Arc<dyn SessionEnricher>) {
    let mut before = Enrichment::default();
    before.device_info = Some("Another's text".to_owned());
    let mut device = Device::default();
    device.kind = DeviceKind::Desktop;
    before.device = Some(device);
    let mut location = Location::default();
    location.country = Some("DE".to_owned());
    before.location = Some(location);
    before.attributes.insert("testkit.another".to_owned(), json!({"kept": [1, null]}));
    for client in [known(), ClientInfo::new()] {
        let (_, after) = enrich(&enricher, client, before.clone()).await;
        assert!(
            after.device_info.is_some() && after.device.is_some() && after.location.is_some(),
            "something was removed: {after:?}"
        );
        let attribute = after.attributes.get("testkit.another");
        assert_eq!(attribute, before.attributes.get("testkit.another"), "another's attribute was touched");
    }
}

/// Many clients at once are all served, each with what is known of it alone.
pub async fn concurrent_clients_are_told_apart(enricher: Arc<dyn SessionEnricher>) {
    let (_, of_known) = enrich(&enricher, known(), Enrichment::default()).await;
    let (_, of_nobody) = enrich(&enricher, ClientInfo::new(), Enrichment::default()).await;
    let outcomes = at_once(32, |number| {
        let enricher = Arc::clone(&enricher);
        let client = if number % 2 == 0 { known() } else { ClientInfo::new() };
        async move { enrich(&enricher, client, Enrichment::default()).await }
    })
    .await;
    for (number, (outcome, learnt)) in outcomes.into_iter().enumerate() {
        assert!(outcome.is_ok(), "{outcome:?}");
        assert_eq!(learnt, if number % 2 == 0 { of_known.clone() } else { of_nobody.clone() });
    }
}

/// The `Debug` text of the enricher names no client that it has seen.
pub async fn debug_text_names_nobody(enricher: Arc<dyn SessionEnricher>) {
    drop(enrich(&enricher, known(), Enrichment::default()).await);
    assert_silent(&format!("{enricher:?} {enricher:#?}"), &["203.0.113.17", "Zoë's laptop", "rv:150.0"]);
}

/// Generates a module of tests, one for each check of the suite for enrichers.
///
/// The second argument makes a future of an enricher.
///
/// ```
/// use async_trait::async_trait;
/// use futures_util::future::BoxFuture;
/// use session_manager_core::{ClientInfo, Enrichment, Result, SessionEnricher};
/// use session_manager_testkit::enricher_conformance;
///
/// #[derive(Debug)]
/// struct Length;
///
/// #[async_trait]
/// impl SessionEnricher for Length {
///     fn name(&self) -> &'static str {
///         "length"
///     }
///
///     async fn enrich(&self, client: &ClientInfo, enrichment: &mut Enrichment) -> Result<()> {
///         if let Some(agent) = &client.user_agent {
///             enrichment.attributes.insert("agent.length".to_owned(), agent.len().into());
///         }
///         Ok(())
///     }
///
///     fn maintenance(&self) -> Option<BoxFuture<'_, ()>> {
///         None
///     }
/// }
///
/// enricher_conformance!(length, async || Length);
/// ```
#[macro_export]
macro_rules! enricher_conformance {
    ($module:ident, $factory:expr $(,)?) => {
        mod $module {
            #[allow(unused_imports, reason = "the factory may need nothing from around it")]
            use super::*;

            $crate::enricher_conformance!(@tests $factory,
                name_is_stable_and_not_empty
                missing_knowledge_is_no_failure
                hostile_clients_are_survived
                what_is_there_stays
                concurrent_clients_are_told_apart
                debug_text_names_nobody
            );
        }
    };
    (@tests $factory:expr, $($check:ident)*) => {
        $(#[test]
        fn $check() {
            $crate::conformance::run_kit($factory, async |enricher| {
                $crate::conformance::enricher::$check(::std::sync::Arc::new(enricher)).await;
            });
        })*
    };
}
