//! The number of live sessions, counted by the storage now and then.

use std::time::Duration;

use session_manager_core::storage::Query;
use session_manager_core::{Clock, Result, SessionStorage};

use crate::audit::MetricsAudit;
use crate::names::{LIVE_SESSIONS, LIVE_SESSIONS_EXACT, LIVE_SESSIONS_SAMPLED};

impl MetricsAudit {
    /// Counts live sessions every so often: a future that runs until it is dropped.
    ///
    /// # Behaviour
    /// - The storage counts, so that the number is right whichever nodes the sessions began and ended on. Each node that runs this shows the same
    ///   number: take their maximum, not their sum.
    /// - While the storage cannot be reached, the last number stays, and its age grows: the time of the last count is a gauge of its own.
    /// - Without it there is no such gauge.
    pub async fn sample_live_sessions(&self, storage: &dyn SessionStorage, clock: &dyn Clock, every: Duration) {
        loop {
            // The age tells of a failure; a storage that fails has told its callers already.
            let _ = self.sample_once(storage, clock).await;
            clock.sleep(every).await;
        }
    }

    /// Counts live sessions once.
    ///
    /// # Errors
    /// The storage's; the gauges stay as they were.
    pub async fn sample_once(&self, storage: &dyn SessionStorage, clock: &dyn Clock) -> Result<()> {
        let now = clock.now();
        let count = storage.count(&Query::everybody(now)).await?;
        let series = self.series();
        series.gauge(LIVE_SESSIONS).set(approximate(count.value));
        series.gauge(LIVE_SESSIONS_EXACT).set(if count.exact { 1.0 } else { 0.0 });
        // When the count began: it is at least as old as that.
        let seconds = Duration::from_millis(u64::try_from(now.timestamp_millis()).unwrap_or_default()).as_secs_f64();
        series.gauge(LIVE_SESSIONS_SAMPLED).set(seconds);
        Ok(())
    }
}

/// Gauges are floating-point numbers, exact up to 2⁵³.
fn approximate(value: u64) -> f64 {
    let halves = [value >> 32, value & 0xffff_ffff].map(|half| u32::try_from(half).map_or(0.0, f64::from));
    let [high, low] = halves;
    high.mul_add(4_294_967_296.0, low)
}
