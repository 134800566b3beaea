//! How a step reaches the database: over the application's pool, or inside the application's transaction.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::lock::Mutex;
use sqlx::pool::PoolConnection;
use sqlx::{Acquire, Connection, Pool, Transaction};

use crate::dialect::{Begin, Dialect};
use crate::error::{Failure, classify};
use crate::plan::Plan;
use crate::statement::Channel;
use crate::step::{Access, Step};

/// So often a step of ours is tried that the database gives up in favour of another: a deadlock, a failed serialisation.
const ATTEMPTS: usize = 6;

/// How a step reaches the database. Sealed: [`Pool`] and [`Borrowed`] are.
#[async_trait]
pub trait Link<DB: Dialect>: Send + Sync + crate::dialect::Sealed {
    /// Runs an atomic step.
    #[doc(hidden)]
    async fn run<S: Step<DB>>(&self, plan: &Plan, step: &S) -> Result<S::Output, Failure>;
}

/// The application's own transaction.
pub struct Borrowed<'t, DB: Dialect>(Arc<Mutex<&'t mut DB::Connection>>);

impl<'t, DB: Dialect> Borrowed<'t, DB> {
    pub(crate) fn new(connection: Arc<Mutex<&'t mut DB::Connection>>) -> Self {
        Self(connection)
    }
}

impl<DB: Dialect> std::fmt::Debug for Borrowed<'_, DB> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Borrowed")
    }
}

impl<DB: Dialect> crate::dialect::Sealed for Pool<DB> {}
impl<DB: Dialect> crate::dialect::Sealed for Borrowed<'_, DB> {}

#[async_trait]
impl<DB: Dialect> Link<DB> for Pool<DB> {
    async fn run<S: Step<DB>>(&self, plan: &Plan, step: &S) -> Result<S::Output, Failure> {
        let mut attempt = 1;
        loop {
            match once(self, plan, step, attempt).await {
                // All of the step has been taken back. No pause: whoever won has what we waited for, and our next attempt waits for them.
                Err(Failure::Overtaken { .. }) if attempt < ATTEMPTS => attempt += 1,
                // The connection of the pool may have died long ago; every step may be repeated.
                Err(Failure::Connection(_)) if attempt == 1 => attempt += 1,
                Err(Failure::Overtaken { code } | Failure::Waited { code }) => return Err(Failure::Busy { code }),
                outcome => return outcome,
            }
        }
    }
}

#[async_trait]
impl<DB: Dialect> Link<DB> for Borrowed<'_, DB> {
    async fn run<S: Step<DB>>(&self, plan: &Plan, step: &S) -> Result<S::Output, Failure> {
        let mut connection = self.0.lock().await;
        match within::<DB, S>(&mut **connection, plan, step).await {
            // The statement that waited has been taken back, and what the transaction holds may be what the other one waits for.
            Err(Failure::Waited { code }) => Err(Failure::Overtaken { code }),
            outcome => outcome,
        }
    }
}

/// Runs a step inside the application's transaction.
async fn within<DB: Dialect, S: Step<DB>>(
    connection: &mut DB::Connection,
    plan: &Plan,
    step: &S,
) -> Result<S::Output, Failure> {
    if step.access(plan) != Access::Writes {
        return step.run(plan, &mut channel::<DB>(plan, connection)).await;
    }
    // A savepoint: what the step gives up, or leaves half-done when it is dropped, leaves nothing in the application's transaction.
    let mut savepoint = connection.begin().await.map_err(classify::<DB>)?;
    let output = step.run(plan, &mut channel::<DB>(plan, &mut savepoint)).await?;
    savepoint.commit().await.map_err(classify::<DB>)?;
    Ok(output)
}

fn channel<'c, DB: Dialect>(plan: &Plan, connection: &'c mut DB::Connection) -> Channel<'c, DB> {
    Channel { connection, prepared: plan.prepared }
}

/// Runs a step on a connection of the pool.
async fn once<DB: Dialect, S: Step<DB>>(
    pool: &Pool<DB>,
    plan: &Plan,
    step: &S,
    attempt: usize,
) -> Result<S::Output, Failure> {
    let mut connection = pool.acquire().await.map_err(classify::<DB>)?;
    let begin = match step.access(plan) {
        // Behind a transaction pooler a statement is prepared and run on one server connection only within a transaction.
        // One that was overtaken runs at our isolation level from then on, whatever the application's default is.
        Access::Statement if plan.prepared && attempt == 1 => {
            return step.run(plan, &mut channel::<DB>(plan, &mut connection)).await;
        }
        Access::Statement | Access::Writes => DB::BEGIN,
    };
    match begin {
        Begin::Statement(statement) => {
            let transaction = Acquire::acquire(&mut connection).await.map_err(classify::<DB>)?;
            let transaction = transaction.begin_with(statement).await.map_err(classify::<DB>)?;
            managed(transaction, plan, step).await
        }
        Begin::Guarded(statements) => guarded(connection, statements, plan, step).await,
    }
}

/// Runs a step in a transaction of the driver's. Dropped before its end, it rolls itself back.
async fn managed<DB: Dialect, S: Step<DB>>(
    mut transaction: Transaction<'_, DB>,
    plan: &Plan,
    step: &S,
) -> Result<S::Output, Failure> {
    let output = step.run(plan, &mut channel::<DB>(plan, &mut transaction)).await?;
    transaction.commit().await.map_err(classify::<DB>)?;
    Ok(output)
}

/// Runs a step in a transaction of our own. Dropped before its end, the connection is closed, and the server rolls back.
async fn guarded<DB: Dialect, S: Step<DB>>(
    connection: PoolConnection<DB>,
    begin: &'static str,
    plan: &Plan,
    step: &S,
) -> Result<S::Output, Failure> {
    let mut guard = Guard { connection, open: true };
    DB::command(&mut guard.connection, begin).await.map_err(classify::<DB>)?;
    let outcome = step.run(plan, &mut channel::<DB>(plan, &mut guard.connection)).await;
    let ended = DB::command(&mut guard.connection, if outcome.is_ok() { "COMMIT" } else { "ROLLBACK" }).await;
    guard.open = ended.is_err();
    let output = outcome?;
    ended.map_err(classify::<DB>)?;
    Ok(output)
}

/// A connection with a transaction of ours.
struct Guard<DB: Dialect> {
    connection: PoolConnection<DB>,
    open: bool,
}

impl<DB: Dialect> Drop for Guard<DB> {
    fn drop(&mut self) {
        if self.open {
            self.connection.close_on_drop();
        }
    }
}
