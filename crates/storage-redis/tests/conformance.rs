//! The conformance suite on one server, behind a connection manager, on the primary that Sentinel names, and on a cluster.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod servers;

use std::sync::Arc;

use session_manager_core::SessionStorage;
use session_manager_testkit::{storage_conformance, storage_defects, storage_histories, storage_races};

use servers::{Held, clustered, managed, named_by_sentinel, single};

async fn boxed() -> Box<dyn SessionStorage> {
    Box::new(managed().await)
}

async fn shared() -> Arc<dyn SessionStorage> {
    Arc::new(single().await)
}

async fn sentinel() -> Held {
    named_by_sentinel().await
}

storage_conformance!(value, single, lacking = [ListAll, CleanUp]);
storage_conformance!(through_a_box, boxed, lacking = [ListAll, CleanUp]);
storage_conformance!(through_an_arc, shared, lacking = [ListAll, CleanUp]);
storage_conformance!(by_sentinel, sentinel, lacking = [ListAll, CleanUp]);
storage_conformance!(cluster, clustered, lacking = [ListAll, CleanUp]);

storage_defects!(defects, single, lacking = [ListAll, CleanUp]);
storage_defects!(defects_by_sentinel, sentinel, lacking = [ListAll, CleanUp]);
storage_defects!(defects_on_a_cluster, clustered, lacking = [ListAll, CleanUp]);

storage_histories!(histories, single);
storage_histories!(histories_by_sentinel, sentinel);
storage_histories!(histories_on_a_cluster, clustered);
storage_races!(races, single);
storage_races!(races_by_sentinel, sentinel);
storage_races!(races_on_a_cluster, clustered);
