//! A network that changed inside a session.

use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use ipnet::IpNet;
use session_manager_core::{Evidence, Location, Occasion, Result, SuspicionAction, SuspicionRule};

use crate::changes::Changes;

/// The session is used from another range of addresses than at its sign-in.
///
/// # Behaviour
/// - An address is compared as its range: /24 of IPv4, /48 of IPv6, unless told otherwise. Addresses of one operator (autonomous system),
///   where an enricher knows it, are one range: mobile networks give another address every few minutes.
/// - IPv4 and IPv6 are not compared without operators: one device has both.
/// - A change is raised when it lasts five minutes without another or the way back, and once in thirty days. Where operators are not known,
///   a phone on the way raises it all the same: it records unless told otherwise.
#[derive(Debug)]
pub struct NetworkChange {
    action: SuspicionAction,
    v4: u8,
    v6: u8,
    changes: Changes,
}

impl Default for NetworkChange {
    fn default() -> Self {
        Self { action: SuspicionAction::Record, v4: 24, v6: 48, changes: Changes::lasting(Duration::from_mins(5)) }
    }
}

impl NetworkChange {
    /// The rule, which records.
    pub fn new() -> Self {
        Self::default()
    }

    /// What is done about it.
    pub const fn action(mut self, action: SuspicionAction) -> Self {
        self.action = action;
        self
    }

    /// How many leading bits of an address name its range: at most 32 and 128.
    pub fn range(mut self, v4: u8, v6: u8) -> Self {
        (self.v4, self.v6) = (v4.min(32), v6.min(128));
        self
    }

    /// How long a session must be seen in another range before it is raised; zero is at once.
    pub const fn lasting(mut self, lasting: Duration) -> Self {
        self.changes.lasting = lasting;
        self
    }

    /// The range, by its operator where that is known.
    fn change(&self, before: IpAddr, there: Option<&Location>, now: IpAddr, here: Option<&Location>) -> Option<String> {
        let asn = |location: Option<&Location>| location.and_then(|location| location.asn);
        if let (Some(there), Some(here)) = (asn(there), asn(here)) {
            return (there != here).then(|| format!("AS{here}"));
        }
        let (there, here) = (self.range_of(before)?, self.range_of(now)?);
        let is_comparable = before.to_canonical().is_ipv4() == now.to_canonical().is_ipv4();
        (is_comparable && there != here).then(|| here.to_string())
    }

    fn range_of(&self, address: IpAddr) -> Option<IpNet> {
        let address = address.to_canonical();
        let bits = if address.is_ipv4() { self.v4 } else { self.v6 };
        IpNet::new(address, bits).ok().map(|net| net.trunc())
    }
}

#[async_trait]
impl SuspicionRule for NetworkChange {
    fn name(&self) -> &'static str {
        "network_change"
    }

    async fn judge(&self, evidence: &Evidence<'_>) -> Result<Option<SuspicionAction>> {
        let Some(session) = evidence.session else { return Ok(None) };
        let (Some(before), Some(now)) = (session.ip_address, evidence.client.ip_address) else { return Ok(None) };
        if evidence.occasion == Occasion::SignIn {
            return Ok(None);
        }
        let change = self.change(before, session.location.as_ref(), now, evidence.known.location.as_ref());
        Ok(self.changes.judge(session, change, self.action, evidence.now))
    }
}
