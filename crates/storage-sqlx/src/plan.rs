//! All SQL text that does not depend on a request, made once from the mapping.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use chrono::{DateTime, Utc};
use session_manager_core::clock::{after, to_millis};
use session_manager_core::{LivePolicy, Result, Snapshot, UserId};

use crate::config::SessionTable;
use crate::dialect::Dialect;
use crate::draft::Draft;
use crate::encoding::AddressEncoding;
use crate::epoch_names::EpochNames;
use crate::epoch_plan::{EpochPlan, Whose};
use crate::error::Failure;
use crate::field::Field;
use crate::identifier::TableName;
use crate::quick_plan::QuickPlan;
use crate::record::{self, Column};
use crate::side_tables::{FeedPlan, OncePlan, feed_plan, once_plan};
use crate::statement::Text;
use crate::value::{Row, Value};

/// The mapping and the statements that follow from it.
#[derive(Clone, Debug)]
#[allow(unnameable_types, reason = "named by sealed traits only")]
pub struct Plan {
    pub(crate) mapping: SessionTable,
    pub(crate) table: String,
    pub(crate) live: LivePolicy,
    pub(crate) written: Vec<Column>,
    read: Vec<Column>,
    /// What [`Plan::revise`] writes: all but what a touch moves.
    revised: Vec<Column>,
    names: BTreeMap<Field, String>,
    /// `SELECT … FROM …` with both epochs; the session is `s`.
    pub(crate) select: String,
    /// `FROM …` alone.
    pub(crate) from: String,
    /// The condition that a session lives; its three `?` are [`Plan::live_values`].
    pub(crate) is_live: String,
    /// The same for a touch of several, which joins no epochs; its `?` are [`Plan::touch_values`].
    pub(crate) and_lives: String,
    pub(crate) read_one: Arc<str>,
    /// The same inside the application's transaction, as it is now.
    pub(crate) read_fresh: Arc<str>,
    /// Holds the row of one session, where a step has to.
    pub(crate) lock_one: Option<Arc<str>>,
    /// The operator by which an address lies in a network, where the column's type has one.
    pub(crate) in_network: Option<&'static str>,
    /// How often a step of ours was given up in favour of another and run again.
    pub(crate) repeated: Arc<AtomicU64>,
    /// Whether statements are kept prepared on their connection.
    pub(crate) prepared: bool,
    pub(crate) insert: Arc<str>,
    pub(crate) replace: Arc<str>,
    /// Writes back what was read, if nobody else has changed it since; its values are [`Plan::revised_values`]. `None` where columns of the
    /// application's own would be written too, which tell nobody of their changes.
    pub(crate) revise: Option<Arc<str>>,
    /// Where a statement with [`Plan::revise`]'s or [`Plan::advance_if`]'s condition would not look at the epochs.
    pub(crate) guarded: Option<Guarded>,
    pub(crate) advance: Arc<str>,
    pub(crate) advance_if: Arc<str>,
    pub(crate) end_one: Arc<str>,
    /// Whole steps at once, where the database returns what it has changed.
    pub(crate) quick: Option<QuickPlan>,
    pub(crate) touch: Arc<str>,
    /// The same for many sessions in one statement, where the database can.
    pub(crate) touch_many: Option<Arc<str>>,
    pub(crate) claim: Option<Arc<str>>,
    pub(crate) epochs: Option<EpochPlan>,
    pub(crate) once: Option<OncePlan>,
    pub(crate) feed: Option<FeedPlan>,
}

/// Changes that are written where the epochs still admit the session, and hold those meanwhile.
#[derive(Clone, Debug)]
pub(crate) struct Guarded {
    /// The values of [`Plan::revised_values`], then [`Plan::guard_values`].
    pub(crate) revise: Arc<str>,
    /// Generation, rotation, the rotation before and version, id, the version before, then [`Plan::guard_values`].
    pub(crate) advance: Arc<str>,
    /// Revocation, reason and by whom, id, the version before, then [`Plan::guard_values`].
    pub(crate) end: Arc<str>,
}

impl Guarded {
    fn new<DB: Dialect>(draft: &Draft<'_>, revised: &[Column]) -> Option<Self> {
        if !DB::TOUCH_FINDS_FIRST {
            return None;
        }
        Some(Self {
            revise: draft.revise_guarded::<DB>(revised)?,
            advance: draft.advance_guarded::<DB>()?,
            end: draft.end_guarded::<DB>()?,
        })
    }
}

impl Plan {
    /// Makes the plan.
    pub(crate) fn new<DB: Dialect>(mapping: SessionTable) -> Result<Self> {
        let mapping = mapping.checked()?;
        let table = quoted::<DB>(&TableName::parse(&mapping.table)?);
        let names: BTreeMap<_, _> = mapping.columns.iter().map(|(field, name)| (*field, DB::quote(name))).collect();
        let written = record::columns(&mapping);
        let read: Vec<_> = written.iter().filter(|column| record::is_read(column)).cloned().collect();
        let revised: Vec<_> = written
            .iter()
            .filter(|column| !matches!(column, Column::Own(Field::Id | Field::LastActivity | Field::IdleExpiresAt, _)))
            .cloned()
            .collect();
        let names_of_epochs = EpochNames::new::<DB>(&mapping)?;
        let draft =
            Draft { table: &table, names: &names, mapping: &mapping, epochs: names_of_epochs.as_ref(), read: &read };
        let from = draft.from::<DB>();
        let is_live = draft.is_live(false);
        let select = format!("SELECT {}{from}", draft.selected::<DB>().join(", "));
        let by_id = |suffix: &str| {
            Text::<DB>::new(&select)
                .push(" WHERE s.")
                .push(draft.name(Field::Id))
                .push(" = ")
                .parameter()
                .push(suffix)
                .done()
        };
        let once = mapping.once.as_ref().map(once_plan::<DB>).transpose()?;
        let feed = mapping.feed.as_ref().map(feed_plan::<DB>).transpose()?;
        let epochs = names_of_epochs.as_ref().map(|names| {
            let live = format!("SELECT COUNT(*){from} WHERE s.{} = ? AND {is_live}", draft.name(Field::UserId));
            EpochPlan::new::<DB>(names, &live)
        });
        Ok(Self {
            live: if epochs.is_some() { LivePolicy::TRACKED } else { LivePolicy::UNTRACKED },
            read_one: by_id(""),
            read_fresh: by_id(DB::FRESH_READ),
            lock_one: DB::ROW_LOCK.map(|lock| draft.lock_one::<DB>(lock)),
            in_network: DB::IN_NETWORK.filter(|_| mapping.address == AddressEncoding::Inet),
            repeated: Arc::default(),
            prepared: true,
            insert: draft.insert::<DB>(&written),
            replace: draft.replace::<DB>(&written),
            revise: mapping.extras.is_empty().then(|| draft.revise::<DB>(&revised)),
            advance: draft.advance::<DB>(),
            advance_if: draft.advance_if::<DB>(),
            guarded: Guarded::new::<DB>(&draft, &revised),
            end_one: draft.end_one::<DB>(),
            quick: QuickPlan::new::<DB>(&draft, &written),
            and_lives: draft.touched::<DB>(),
            touch: draft.touch::<DB>(),
            touch_many: DB::HAS_ARRAYS.then(|| draft.touch_many::<DB>()),
            claim: DB::claim(&table).map(Into::into),
            epochs,
            once,
            feed,
            select,
            from,
            is_live,
            written,
            read,
            revised,
            names,
            table,
            mapping,
        })
    }

    /// The quoted name of a column; empty where it is not mapped.
    pub(crate) fn name(&self, field: Field) -> &str {
        self.names.get(&field).map_or("", String::as_str)
    }

    /// Whether a field has a column.
    pub(crate) fn has(&self, field: Field) -> bool {
        self.names.contains_key(&field)
    }

    /// The values of [`Plan::touch`] that follow its first four.
    pub(crate) fn touch_values<DB: Dialect>(&self, now: DateTime<Utc>) -> Vec<Value> {
        if DB::TOUCH_FINDS_FIRST { vec![self.time(now); 2] } else { self.live_values(now) }
    }

    /// The values of [`Plan::is_live`].
    pub(crate) fn live_values(&self, now: DateTime<Utc>) -> Vec<Value> {
        vec![self.time(now); if self.epochs.is_some() { 3 } else { 2 }]
    }

    /// What the statements of [`Guarded`] are told beside what they write: the user's key, and the values of the live condition.
    pub(crate) fn guard_values(&self, user: &UserId, now: DateTime<Utc>) -> Result<Vec<Value>, Failure> {
        Ok([self.epoch_key(Whose::User(user))?].into_iter().chain(self.live_values(now)).collect())
    }

    pub(crate) fn time(&self, time: DateTime<Utc>) -> Value {
        self.mapping.times.encode(time)
    }

    /// The value that a column is compared with by `<` or `>=`: the next whole millisecond, since what is stored are whole ones.
    pub(crate) fn bound(&self, time: DateTime<Utc>) -> Value {
        let whole = to_millis(time);
        self.time(if whole == time { whole } else { after(whole, Duration::from_millis(1)) })
    }

    pub(crate) fn user(&self, user: &UserId) -> Result<Value, Failure> {
        self.mapping.user_id.encode(user)
    }

    /// Reads a row of [`Plan::select`].
    pub(crate) fn snapshot(&self, row: Row) -> Result<Snapshot, Failure> {
        record::decode(&self.mapping, &self.read, row)
    }

    /// The values of [`Plan::insert`].
    pub(crate) fn values(&self, snapshot: &Snapshot) -> Result<Vec<Value>, Failure> {
        record::encode(&self.mapping, &self.written, &snapshot.record())
    }

    /// The values of [`Plan::revise`] for a change of a session that had this version.
    pub(crate) fn revised_values(&self, snapshot: &Snapshot, version: u64) -> Result<Vec<Value>, Failure> {
        let mut values = record::encode(&self.mapping, &self.revised, &snapshot.record())?;
        values.extend([self.mapping.id.encode(snapshot.session.id), version.into()]);
        Ok(values)
    }
}

/// Quotes a table's name.
pub(crate) fn quoted<DB: Dialect>(name: &TableName) -> String {
    match &name.schema {
        Some(schema) => format!("{}.{}", DB::quote(schema), DB::quote(&name.name)),
        None => DB::quote(&name.name),
    }
}
