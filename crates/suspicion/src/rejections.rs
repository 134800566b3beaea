//! Bursts of refused tokens.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use session_manager_core::clock::after;
use session_manager_core::{Evidence, Occasion, Result, SuspicionAction, SuspicionRule};

/// How many addresses are remembered; while more are noisy at once, what is beyond is raised each time.
const ADDRESSES: usize = 4096;
/// How long an address must be quiet before it is raised again, if its count does not show it.
const QUIET: Duration = Duration::from_mins(10);

/// Many tokens from one address were refused: somebody tries them out.
///
/// # Behaviour
/// - The manager counts by address (IPv6 by /64) over a minute or two and asks at the first, tenth, hundredth and so on: a threshold of 20
///   is met at the hundredth.
/// - It is raised once, and again only when the count had fallen below half the threshold.
/// - A refused token leads to no session, so it can only be recorded. [`RejectedTokens::with_good_ones`] says what is done about a session
///   whose good token comes from such an address. Many people may share an address: of a company, of a mobile network.
pub struct RejectedTokens {
    threshold: u32,
    good: Option<SuspicionAction>,
    raised: Mutex<HashMap<Option<IpAddr>, DateTime<Utc>>>,
}

impl RejectedTokens {
    /// The rule, which records when so many were refused.
    pub fn new(threshold: u32) -> Self {
        Self { threshold: threshold.max(1), good: None, raised: Mutex::default() }
    }

    /// Does this about sessions whose good tokens come from an address while its bad ones are too many.
    pub const fn with_good_ones(mut self, action: SuspicionAction) -> Self {
        self.good = Some(action);
        self
    }

    /// Whether it is to be raised: too many, for the first time since it was quiet.
    fn rises(&self, address: Option<IpAddr>, count: u32, now: DateTime<Utc>) -> bool {
        let mut raised = self.raised.lock().unwrap_or_else(PoisonError::into_inner);
        if count < self.threshold {
            if count < self.threshold.div_ceil(2) {
                raised.remove(&address);
            }
            return false;
        }
        raised.retain(|_, at| now < after(*at, QUIET));
        if let Some(at) = raised.get_mut(&address) {
            *at = now;
            return false;
        }
        if raised.len() < ADDRESSES {
            raised.insert(address, now);
        }
        true
    }
}

#[async_trait]
impl SuspicionRule for RejectedTokens {
    fn name(&self) -> &'static str {
        "rejected_tokens"
    }

    async fn judge(&self, evidence: &Evidence<'_>) -> Result<Option<SuspicionAction>> {
        let count = evidence.rejections;
        if evidence.occasion == Occasion::Rejection {
            let rises = self.rises(evidence.client.ip_address, count, evidence.now);
            return Ok(rises.then_some(SuspicionAction::Record));
        }
        let (Some(action), Some(session)) = (self.good, evidence.session) else { return Ok(None) };
        if count < self.threshold {
            return Ok(None);
        }
        // What is only recorded is recorded with the tokens that were refused.
        let since = evidence.now - chrono::TimeDelta::minutes(2);
        let is_new = action != SuspicionAction::Record && !crate::changes::is_carried_out(session, action, since);
        Ok(is_new.then_some(action))
    }
}

impl fmt::Debug for RejectedTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RejectedTokens")
            .field("threshold", &self.threshold)
            .field("good", &self.good)
            .finish_non_exhaustive()
    }
}
