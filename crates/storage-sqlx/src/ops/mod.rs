//! The operations, each written once for all databases: core's requests are run as they are.

mod advance;
mod bump;
mod bump_quick;
mod check;
mod epochs;
mod feed;
mod filter;
mod insert;
mod list;
#[cfg(all(test, feature = "mysql"))]
mod mariadb_plans;
mod once;
mod purge;
#[cfg(all(test, feature = "sqlite"))]
mod query_plans;
mod quick;
mod read;
mod revoke;
mod rows;
mod scan;
mod touch;
mod update;

use async_trait::async_trait;

use crate::dialect::Dialect;
use crate::error::Failure;
use crate::plan::Plan;
use crate::statement::Channel;

pub(crate) use check::Check;
pub(crate) use epochs::EpochsOf;
pub(crate) use feed::{Announce, Since};
pub(crate) use list::{Counting, Listing};
pub(crate) use once::Remember;
pub(crate) use quick::Quick;
pub(crate) use read::Read;
pub(crate) use revoke::is_quick;
pub(crate) use scan::{Put, Scan};
pub(crate) use touch::{TOUCHED, Touches, latest};

/// One step on the database.
#[async_trait]
#[allow(unnameable_types, reason = "named by the sealed Link only")]
pub trait Operation<DB: Dialect>: Send + Sync {
    /// What it answers.
    type Output: Send;

    /// Its name in errors.
    const NAME: &'static str;

    /// What it needs to be atomic.
    fn access(&self, _plan: &Plan) -> Access {
        Access::Writes
    }

    /// Runs it on a connection that gives it what it needs.
    async fn run(&self, plan: &Plan, connection: &mut Channel<'_, DB>) -> Result<Self::Output, Failure>;

    /// Whether what it wrote stays: a refusal leaves nothing behind.
    fn keeps(&self, _output: &Self::Output) -> bool {
        true
    }
}

/// What an operation needs to be atomic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(unnameable_types, reason = "named by the sealed Link only")]
pub enum Access {
    /// It is one statement, or several of which each stands by itself.
    Statement,
    /// Several reads of one state.
    Reads,
    /// A transaction that holds the lock from its first statement on.
    Writes,
}
