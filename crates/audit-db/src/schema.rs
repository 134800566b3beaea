//! Compares the mapping with the live database and says exactly what does not fit.

use async_trait::async_trait;
use session_manager_core::storage::{Health, Severity};

use crate::dialect::Dialect;
use crate::error::{Failure, classify};
use crate::plan::Plan;
use crate::spec::{ColumnSpec, IndexSpec, TableSpec, tables};
use crate::statement::Channel;
use crate::step::{Access, Step};

/// A table as it is declared.
#[derive(Clone, Debug, Default)]
#[allow(unnameable_types, reason = "named by the sealed Dialect only")]
pub struct LiveTable {
    pub(crate) columns: Vec<LiveColumn>,
    pub(crate) indexes: Vec<LiveIndex>,
}

/// A column as it is declared.
#[derive(Clone, Debug)]
#[allow(unnameable_types, reason = "named by the sealed Dialect only")]
pub(crate) struct LiveColumn {
    pub(crate) name: String,
    pub(crate) declared: String,
    pub(crate) not_null: bool,
    pub(crate) has_default: bool,
    /// The collation that does not do, and why.
    pub(crate) collation: Option<String>,
}

/// An index or key as it is declared.
#[derive(Clone, Debug)]
pub(crate) struct LiveIndex {
    pub(crate) columns: Vec<String>,
    pub(crate) unique: bool,
    pub(crate) partial: bool,
}

/// Compares all tables of a mapping.
pub(crate) struct Check;

#[async_trait]
impl<DB: Dialect> Step<DB> for Check {
    type Output = Health;

    fn access(&self, _: &Plan) -> Access {
        Access::Statement
    }

    async fn run(&self, plan: &Plan, channel: &mut Channel<'_, DB>) -> Result<Health, Failure> {
        let mut health = Health::well();
        for spec in tables(&plan.mapping)? {
            let compared = spec.columns.iter().filter(|column| column.compared.is_some());
            let compared: Vec<_> = compared.map(|column| column.name.clone()).collect();
            let schema = spec.name.schema.as_deref();
            let described = DB::describe(channel.connection, schema, &spec.name.name, &compared).await;
            health = match described.map_err(classify::<DB>)? {
                Some(live) => compare::<DB>(health, &spec, &live),
                None => health.finding(Severity::Error, format!("table {} is missing", spec.name)),
            };
        }
        Ok(health)
    }
}

fn compare<DB: Dialect>(mut health: Health, spec: &TableSpec, live: &LiveTable) -> Health {
    for column in &spec.columns {
        health = compare_column::<DB>(health, spec, live, column);
    }
    for column in &live.columns {
        let unknown = !spec.columns.iter().any(|known| DB::same_name(&known.name, &column.name));
        if unknown && column.not_null && !column.has_default {
            let message = format!(
                "column {}.{} is NOT NULL without a default and not mapped: no event can be added",
                spec.name, column.name
            );
            health = health.finding(Severity::Error, message);
        }
    }
    let keyed = |index: &LiveIndex| {
        index.unique && !index.partial && matches!(index.columns.as_slice(), [one] if DB::same_name(one, &spec.key))
    };
    if !live.indexes.iter().any(keyed) {
        let message = format!("column {}.{} is neither the primary key nor unique", spec.name, spec.key);
        health = health.finding(Severity::Error, message);
    }
    for index in &spec.indexes {
        health = compare_index::<DB>(health, spec, live, index);
    }
    health
}

fn compare_column<DB: Dialect>(mut health: Health, spec: &TableSpec, live: &LiveTable, column: &ColumnSpec) -> Health {
    let place = format!("column {}.{}", spec.name, column.name);
    let Some(found) = live.columns.iter().find(|found| DB::same_name(&found.name, &column.name)) else {
        return health.finding(
            Severity::Error,
            format!("{place} is missing ({})", DB::column_type(column.kind, column.compared)),
        );
    };
    if !DB::holds(&found.declared, column.kind) {
        let message = format!(
            "{place} has type {}, which {}: {} is needed",
            found.declared,
            DB::why_not(&found.declared, column.kind),
            DB::column_type(column.kind, column.compared)
        );
        health = health.finding(Severity::Error, message);
    }
    if column.nullable && found.not_null {
        health = health.finding(Severity::Error, format!("{place} must accept NULL"));
    }
    if let Some(problem) = &found.collation {
        health = health.finding(Severity::Error, format!("{place} has collation {problem}"));
    }
    health
}

fn compare_index<DB: Dialect>(health: Health, spec: &TableSpec, live: &LiveTable, index: &IndexSpec) -> Health {
    let suits = |found: &LiveIndex| {
        let begins = found.columns.len() >= index.columns.len()
            && found.columns.iter().zip(&index.columns).all(|(one, other)| DB::same_name(one, other));
        begins && !found.partial && (found.unique || !index.unique)
    };
    if live.indexes.iter().any(suits) {
        return health;
    }
    let columns = index.columns.join(", ");
    let (severity, what) = if index.unique { (Severity::Error, "unique index") } else { (Severity::Warning, "index") };
    health
        .finding(severity, format!("table {} has no {what} on ({columns}), which serves {}", spec.name, index.purpose))
}

/// What is wrong with a collation that merges ids.
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
pub(crate) fn merging(collation: &str) -> String {
    format!("{collation}, by which different ids are equal: a binary one is needed")
}
