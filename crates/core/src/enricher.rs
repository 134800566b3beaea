//! The seam of enrichers: what can be learnt of a client beyond what it says.

use std::fmt;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use serde_json::{Map, Value};

use crate::client::{ClientInfo, Device, Location};
use crate::error::Result;

/// Learns something of a client. All enrichers of a manager run at once under one time box; a failure or delay is reported and never
/// fails the sign-in.
#[async_trait]
pub trait SessionEnricher: Send + Sync + fmt::Debug {
    /// A stable name for reports.
    fn name(&self) -> &'static str;

    /// Adds what it knows of the client. It never sees a token.
    async fn enrich(&self, client: &ClientInfo, enrichment: &mut Enrichment) -> Result<()>;

    /// The background work, where there is any: a future that runs until it is dropped.
    fn maintenance(&self) -> Option<BoxFuture<'_, ()>>;
}

/// What enrichers add to a session.
#[derive(Clone, PartialEq, Debug, Default)]
#[non_exhaustive]
pub struct Enrichment {
    /// A text for people: "Firefox on Windows".
    pub device_info: Option<String>,
    /// The parsed device.
    pub device: Option<Device>,
    /// The place.
    pub location: Option<Location>,
    /// Attributes of the session; the application's own win.
    pub attributes: Map<String, Value>,
}

impl Enrichment {
    /// Adds what another enricher learnt; what is there already wins.
    pub fn merge(&mut self, other: Self) {
        self.device_info = self.device_info.take().or(other.device_info);
        self.device = self.device.take().or(other.device);
        self.location = self.location.take().or(other.location);
        for (key, value) in other.attributes {
            self.attributes.entry(key).or_insert(value);
        }
    }
}
