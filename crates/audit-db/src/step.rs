//! One step on the database.

use async_trait::async_trait;

use crate::dialect::Dialect;
use crate::error::Failure;
use crate::plan::Plan;
use crate::statement::Channel;

/// One step on the database.
#[async_trait]
#[allow(unnameable_types, reason = "named by the sealed Link only")]
pub trait Step<DB: Dialect>: Send + Sync {
    /// What it answers.
    type Output: Send;

    /// What it needs to be atomic.
    fn access(&self, _plan: &Plan) -> Access {
        Access::Writes
    }

    /// Runs it on a connection that gives it what it needs.
    async fn run(&self, plan: &Plan, channel: &mut Channel<'_, DB>) -> Result<Self::Output, Failure>;
}

/// What a step needs to be atomic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(unnameable_types, reason = "named by the sealed Link only")]
pub enum Access {
    /// It is one statement.
    Statement,
    /// A transaction.
    Writes,
}
