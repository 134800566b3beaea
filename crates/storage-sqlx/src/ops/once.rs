//! Remembering a value once.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use session_manager_core::storage::OnceKey;
use session_manager_core::{Error, ErrorKind};

use super::{Access, Operation};
use crate::dialect::Dialect;
use crate::error::Failure;
use crate::plan::Plan;
use crate::statement::{Channel, execute};
use crate::value::Value;

/// Remembers a value until `until`.
pub(crate) struct Remember<'a> {
    pub(crate) key: &'a OnceKey,
    pub(crate) now: DateTime<Utc>,
    pub(crate) until: DateTime<Utc>,
}

#[async_trait]
impl<DB: Dialect> Operation<DB> for Remember<'_> {
    type Output = bool;
    const NAME: &'static str = "remember once";

    fn access(&self, _plan: &Plan) -> Access {
        Access::Statement
    }

    async fn run(&self, plan: &Plan, connection: &mut Channel<'_, DB>) -> Result<bool, Failure> {
        let Some(once) = &plan.once else {
            return Err(Error::new(ErrorKind::Unsupported, "remember once")
                .because("no table is mapped for it")
                .into());
        };
        let key = Value::from(self.key.as_str());
        let (now, until) = (plan.time(self.now), plan.time(self.until));
        if let Some(again) = &once.again {
            return match execute::<DB>(connection, &once.remember, vec![key.clone(), until.clone()]).await {
                // It is there: perhaps it has run out. Of several that see so one renews it.
                Err(Failure::Duplicate) => Ok(execute::<DB>(connection, again, vec![until, key, now]).await? > 0),
                remembered => remembered.map(|rows| rows > 0),
            };
        }
        let values = vec![key, until, now];
        Ok(execute::<DB>(connection, &once.remember, values).await? > 0)
    }
}
