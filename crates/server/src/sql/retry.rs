//! Work that the database gave up in favour of somebody else's is done once more.

use std::time::Duration;

use crate::random;

/// So often at most, the first time not counted. After that the answer is 503.
pub(crate) const ATTEMPTS: u32 = 8;

/// Whether the database rolled the work back because of others, so that it may be done again as it is.
pub(crate) trait Overtaken {
    fn is_overtaken(&self) -> bool;
}

impl Overtaken for sqlx::Error {
    fn is_overtaken(&self) -> bool {
        /// A row was changed since the transaction's snapshot (MariaDB).
        const CHANGED_SINCE: u16 = 1020;
        let Some(error) = self.as_database_error() else { return false };
        // A failed serialisation, which is how MySQL reports a deadlock too, and the deadlock of PostgreSQL.
        matches!(error.code().as_deref(), Some("40001" | "40P01"))
            || error
                .try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>()
                .is_some_and(|error| error.number() == CHANGED_SINCE)
    }
}

/// Waits a moment, another one for each, so that those who were in each other's way do not meet again.
pub(crate) async fn pause(left: u32) {
    let chance = random::bytes::<1>().map_or(0, |[byte]| u64::from(byte % 16));
    let turn = u64::from(ATTEMPTS.saturating_sub(left));
    tokio::time::sleep(Duration::from_millis(chance + 4 * turn)).await;
}

/// Does the work, a whole transaction, again when it was overtaken.
macro_rules! retried {
    ($work:expr) => {{
        let mut left = $crate::sql::ATTEMPTS;
        loop {
            match $work.await {
                Err(error) if left > 0 && $crate::sql::Overtaken::is_overtaken(&error) => {
                    left -= 1;
                    $crate::sql::pause(left).await;
                }
                done => break done,
            }
        }
    }};
}
pub(crate) use retried;
