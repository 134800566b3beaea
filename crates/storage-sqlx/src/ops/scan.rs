//! Reading everything in the order of ids, and writing it as it was elsewhere.

use async_trait::async_trait;
use session_manager_core::storage::{PutOutcome, ScanCursor, ScanPage};
use session_manager_core::{Epochs, Error, ErrorKind, GlobalEpoch, SessionId, Snapshot};

use super::{Access, Operation, epochs, rows};
use crate::dialect::Dialect;
use crate::epoch_plan::Whose;
use crate::error::Failure;
use crate::field::Field;
use crate::plan::Plan;
use crate::statement::{Channel, Statement, execute};
use crate::value::Value;

/// Reads a page of everything.
pub(crate) struct Scan<'a> {
    pub(crate) cursor: Option<&'a ScanCursor>,
    pub(crate) limit: u32,
}

/// Writes a session as it was elsewhere.
pub(crate) struct Put<'a> {
    pub(crate) snapshot: &'a Snapshot,
}

#[async_trait]
impl<DB: Dialect> Operation<DB> for Scan<'_> {
    type Output = ScanPage;
    const NAME: &'static str = "scan";

    fn access(&self, _plan: &Plan) -> Access {
        Access::Statement
    }

    async fn run(&self, plan: &Plan, connection: &mut Channel<'_, DB>) -> Result<ScanPage, Failure> {
        let id = plan.name(Field::Id);
        let mut statement = Statement::<DB>::new(&plan.select);
        if let Some(cursor) = self.cursor {
            let after =
                SessionId::parse(&cursor.0).map_err(|_| Failure::Core(Error::new(ErrorKind::InvalidCursor, "scan")))?;
            statement = statement.push(&format!(" WHERE s.{id} > ")).bind(plan.mapping.id.encode(after));
        }
        let limit = self.limit.max(1);
        let statement = statement.push(&format!(" ORDER BY s.{id} LIMIT ")).bind(Value::Int(i64::from(limit) + 1));
        let mut sessions = statement
            .fetch(connection)
            .await?
            .into_iter()
            .map(|row| plan.snapshot(row))
            .collect::<Result<Vec<_>, _>>()?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = sessions.len() > limit;
        sessions.truncate(limit);
        let next = sessions.last().filter(|_| more).map(|last| ScanCursor(last.session.id.to_string()));
        Ok(ScanPage::new(sessions, next))
    }
}

#[async_trait]
impl<DB: Dialect> Operation<DB> for Put<'_> {
    type Output = PutOutcome;
    const NAME: &'static str = "put";

    async fn run(&self, plan: &Plan, connection: &mut Channel<'_, DB>) -> Result<PutOutcome, Failure> {
        let wanted = &self.snapshot.session;
        // The epochs come first, since who takes the epoch row takes it first; keeping what is there takes all of it back.
        raise_epochs::<DB>(self.snapshot, plan, connection).await?;
        match rows::locked::<DB>(plan, connection, wanted.id).await? {
            None => execute::<DB>(connection, &plan.insert, plan.values(self.snapshot)?).await.map(drop)?,
            Some(stored) if is_kept(&stored, self.snapshot) => return Ok(PutOutcome::Kept),
            Some(_) => rows::replace::<DB>(plan, connection, self.snapshot).await?,
        }
        Ok(PutOutcome::Written)
    }

    fn keeps(&self, outcome: &PutOutcome) -> bool {
        *outcome == PutOutcome::Written
    }
}

/// Whether what is stored stays: it has ended, is as new, or is another user's.
fn is_kept(stored: &Snapshot, wanted: &Snapshot) -> bool {
    stored.control.revocation.is_some()
        || stored.control.version >= wanted.control.version
        || stored.session.user_id != wanted.session.user_id
}

/// Makes missing epoch records as in the snapshot and raises those of the same incarnation; none is ever lowered.
async fn raise_epochs<DB: Dialect>(
    snapshot: &Snapshot,
    plan: &Plan,
    connection: &mut Channel<'_, DB>,
) -> Result<(), Failure> {
    if plan.epochs.is_none() {
        return Ok(());
    }
    let user = &snapshot.session.user_id;
    let Epochs { user: wanted, global, .. } = snapshot.epochs;
    let whose = Whose::User(user);
    if let Some(wanted) = wanted {
        // Two that both make the record: the second then takes the lock of the first's.
        if !epochs::lock::<DB>(plan, connection, user).await?
            && !epochs::create::<DB>(plan, connection, whose, wanted.incarnation).await?
        {
            epochs::lock::<DB>(plan, connection, user).await?;
        }
        let stored = epochs::read::<DB>(plan, connection, whose).await?.user;
        if stored.is_some_and(|stored| stored.incarnation == wanted.incarnation && stored.version < wanted.version) {
            epochs::write_user::<DB>(plan, connection, user, wanted, plan.no_time()).await?;
        }
    }
    let Some(wanted) = global else { return Ok(()) };
    let lower = |stored: GlobalEpoch| {
        stored.epoch.incarnation == wanted.epoch.incarnation && stored.epoch.version < wanted.epoch.version
    };
    // Everybody's record is locked only where it has to change.
    let stored = epochs::read::<DB>(plan, connection, Whose::Everybody).await?.global;
    if stored.is_some_and(|stored| !lower(stored)) {
        return Ok(());
    }
    let created =
        stored.is_none() && epochs::create::<DB>(plan, connection, Whose::Everybody, wanted.epoch.incarnation).await?;
    if !created {
        epochs::lock_record::<DB>(plan, connection, Whose::Everybody).await?;
    }
    let stored = epochs::read::<DB>(plan, connection, Whose::Everybody).await?.global;
    if created || stored.is_some_and(lower) {
        epochs::write_global::<DB>(plan, connection, wanted).await?;
    }
    Ok(())
}
