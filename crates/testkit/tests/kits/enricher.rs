//! Enrichers: a plain one, and broken ones.

use std::fmt;
use std::sync::Mutex;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use session_manager_core::{ClientInfo, Enrichment, Error, ErrorKind, Result, SessionEnricher};
use session_manager_testkit::conformance::{enricher, run_kit};
use session_manager_testkit::enricher_conformance;

use crate::fails;

enricher_conformance!(first_word, async || Words::new(Fault::Nothing));

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    Nothing,
    Nameless,
    Needy,
    Panicking,
    Endless,
    Blocking,
    Clearing,
    Replacing,
    Sharing,
    Talkative,
}

/// Tells the first word of the agent, and may have one fault.
struct Words {
    fault: Fault,
    last: Mutex<Option<ClientInfo>>,
}

impl Words {
    const fn new(fault: Fault) -> Self {
        Self { fault, last: Mutex::new(None) }
    }
}

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.fault {
            Fault::Talkative => write!(f, "Words({:?})", self.last.lock().unwrap()),
            _ => f.write_str("Words"),
        }
    }
}

#[async_trait]
impl SessionEnricher for Words {
    fn name(&self) -> &'static str {
        if self.fault == Fault::Nameless { "\n" } else { "first-word" }
    }

    async fn enrich(&self, client: &ClientInfo, enrichment: &mut Enrichment) -> Result<()> {
        *self.last.lock().unwrap() = Some(client.clone());
        let mut agent = client.user_agent.clone();
        match self.fault {
            Fault::Needy if client.ip_address.is_none() => {
                return Err(Error::new(ErrorKind::InvalidInput, "enrich").because("an address is needed"));
            }
            // A version that is cut out by bytes, and read as a number.
            Fault::Panicking => drop(agent.as_deref().map(|agent| agent[8..].split('.').next().unwrap().len())),
            Fault::Endless if agent.as_deref() == Some("") => std::future::pending().await,
            Fault::Blocking if agent.as_deref() == Some("") => loop {
                std::thread::park();
            },
            Fault::Clearing => *enrichment = Enrichment::default(),
            Fault::Replacing => enrichment.attributes.clear(),
            // What is asked of another meanwhile is answered to this one.
            Fault::Sharing => {
                tokio::task::yield_now().await;
                agent = self.last.lock().unwrap().as_ref().and_then(|last| last.user_agent.clone());
            }
            _ => {}
        }
        if let Some(word) = agent.as_deref().and_then(|agent| agent.split_whitespace().next()) {
            enrichment.attributes.entry("agent.word").or_insert_with(|| word.into());
        }
        Ok(())
    }

    fn maintenance(&self) -> Option<BoxFuture<'_, ()>> {
        None
    }
}

macro_rules! caught {
    ($($test:ident: $fault:ident by $check:ident;)*) => { $(
        #[test]
        fn $test() {
            let failed = fails(|| {
                run_kit(async || Words::new(Fault::$fault), async |enricher| {
                    enricher::$check(std::sync::Arc::new(enricher)).await;
                });
            });
            assert!(failed, "{} did not see it", stringify!($check));
        }
    )* };
}

caught! {
    name_of_a_line: Nameless by name_is_stable_and_not_empty;
    address_needed: Needy by missing_knowledge_is_no_failure;
    bytes_for_characters: Panicking by hostile_clients_are_survived;
    no_answer: Endless by hostile_clients_are_survived;
    blocked_thread: Blocking by hostile_clients_are_survived;
    begun_anew: Clearing by what_is_there_stays;
    others_attributes_gone: Replacing by what_is_there_stays;
    one_client_for_another: Sharing by concurrent_clients_are_told_apart;
    talkative_debug: Talkative by debug_text_names_nobody;
}
