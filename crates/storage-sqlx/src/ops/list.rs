//! Listing and counting.

use async_trait::async_trait;
use session_manager_core::storage::{Count, Cursor, Page, Query};

use super::filter::{Conditions, Search};
use super::{Access, Operation};
use crate::dialect::Dialect;
use crate::error::Failure;
use crate::plan::Plan;
use crate::statement::{Channel, Statement};

/// Lists sessions.
pub(crate) struct Listing<'a>(pub(crate) &'a Query);

/// Counts sessions.
pub(crate) struct Counting<'a>(pub(crate) &'a Query);

fn search(query: &Query) -> Search<'_> {
    Search { user: query.user.as_ref(), filter: &query.filter, now: query.now }
}

/// One statement where SQL says all of the filter.
fn access(plan: &Plan, query: &Query) -> Access {
    let exact =
        Conditions::new(plan, query.user.as_ref(), &query.filter, query.now).is_ok_and(|conditions| conditions.exact);
    if exact { Access::Statement } else { Access::Reads }
}

#[async_trait]
impl<DB: Dialect> Operation<DB> for Listing<'_> {
    type Output = Page;
    const NAME: &'static str = "list";

    fn access(&self, plan: &Plan) -> Access {
        access(plan, self.0)
    }

    async fn run(&self, plan: &Plan, connection: &mut Channel<'_, DB>) -> Result<Page, Failure> {
        let query = self.0;
        let limit = usize::try_from(query.limit.clamp(1, Query::MAX_LIMIT)).unwrap_or(1);
        let after = query.position()?.map(|position| (position.created_at, position.id));
        // One more than the page tells whether there is a next one.
        let mut sessions = search(query).run::<DB>(plan, connection, after, limit + 1, "").await?;
        let more = sessions.len() > limit;
        sessions.truncate(limit);
        let next = sessions.last().filter(|_| more).map(|last| Cursor::after(query, last));
        Ok(Page::new(sessions, next))
    }
}

#[async_trait]
impl<DB: Dialect> Operation<DB> for Counting<'_> {
    type Output = Count;
    const NAME: &'static str = "count";

    fn access(&self, plan: &Plan) -> Access {
        access(plan, self.0)
    }

    async fn run(&self, plan: &Plan, connection: &mut Channel<'_, DB>) -> Result<Count, Failure> {
        let query = self.0;
        let conditions = Conditions::new(plan, query.user.as_ref(), &query.filter, query.now)?;
        if conditions.exact {
            let statement = conditions.apply(plan, Statement::<DB>::new("SELECT COUNT(*)").push(&plan.from), None);
            let count = statement.fetch(connection).await?.into_iter().next().and_then(|mut row| row.next());
            let count = count.ok_or(Failure::Driver("a count has no row"))?.int("count")?;
            return Ok(Count::exact(u64::try_from(count).unwrap_or_default()));
        }
        search(query).count::<DB>(plan, connection).await.map(Count::exact)
    }
}
