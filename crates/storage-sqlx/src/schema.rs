//! Compares the mapping with the live database and says exactly what does not fit.

use session_manager_core::storage::{Health, Severity};

use crate::dialect::Dialect;
use crate::error::{Failure, classify};
use crate::field::Field;
use crate::plan::Plan;
use crate::spec::{ColumnSpec, IndexSpec, Part, TableSpec, tables};
use crate::value::Kind;

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
    /// The name of its collation, where that decides whether its index serves a join.
    pub(crate) collated: Option<String>,
}

/// An index or key as it is declared.
#[derive(Clone, Debug)]
pub(crate) struct LiveIndex {
    pub(crate) columns: Vec<String>,
    pub(crate) unique: bool,
    pub(crate) partial: bool,
    pub(crate) primary: bool,
}

/// Compares all tables of a mapping.
pub(crate) async fn check_schema<DB: Dialect>(plan: &Plan, connection: &mut DB::Connection) -> Result<Health, Failure> {
    let mut health = Health::well();
    let mut collations = Vec::new();
    for spec in tables::<DB>(&plan.mapping)? {
        let compared: Vec<_> =
            spec.columns.iter().filter(|column| column.compared.is_some()).map(|column| column.name.clone()).collect();
        let described = DB::describe(connection, spec.name.schema.as_deref(), &spec.name.name, &compared).await;
        health = match described.map_err(classify::<DB>)? {
            Some(live) => {
                collations.extend(user_collation::<DB>(plan, &spec, &live));
                compare::<DB>(health, &spec, &live)
            }
            None => health.finding(Severity::Error, format!("table {} is missing", spec.name)),
        };
    }
    if let [(sessions, one), (users, other)] = collations.as_slice()
        && one != other
    {
        let message = format!("column {sessions} has collation {one}, column {users} {other}: they cannot be compared");
        health = health.finding(Severity::Error, message);
    }
    Ok(health)
}

/// The column that holds user ids as they are joined with a users table, and its collation, where the database tells.
fn user_collation<DB: Dialect>(plan: &Plan, spec: &TableSpec, live: &LiveTable) -> Option<(String, String)> {
    let users = plan.mapping.users.as_ref()?;
    let is_sessions = spec.name.to_string() == plan.mapping.table;
    let column = if is_sessions { plan.mapping.columns.get(&Field::UserId)? } else { &users.key };
    if !is_sessions && !spec.is_the_applications {
        return None;
    }
    let found = live.columns.iter().find(|found| DB::same_name(&found.name, column))?;
    Some((format!("{}.{column}", spec.name), found.collated.clone()?))
}

fn compare<DB: Dialect>(mut health: Health, spec: &TableSpec, live: &LiveTable) -> Health {
    for column in &spec.columns {
        health = compare_column::<DB>(health, spec, live, column);
    }
    for column in &live.columns {
        let unknown = !spec.columns.iter().any(|known| DB::same_name(&known.name, &column.name));
        if unknown && column.not_null && !column.has_default && !spec.is_the_applications {
            let message = format!(
                "column {}.{} is NOT NULL without a default and not mapped: no session can be added",
                spec.name, column.name
            );
            health = health.finding(Severity::Error, message);
        }
    }
    let keyed = |index: &LiveIndex| {
        index.unique
            && !index.partial
            && (index.primary || !DB::LOCKS_BY_PRIMARY_KEY)
            && matches!(index.columns.as_slice(), [one] if DB::same_name(one, &spec.key))
    };
    if !live.indexes.iter().any(keyed) {
        let what = if DB::LOCKS_BY_PRIMARY_KEY { "not the primary key" } else { "neither the primary key nor unique" };
        let message = format!("column {}.{} is {what}", spec.name, spec.key);
        health = health.finding(Severity::Error, message);
    }
    for index in &spec.indexes {
        health = refuse_unique::<DB>(compare_index::<DB>(health, spec, live, index), spec, live, index);
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
    let small =
        column.part == Part::Extra && column.kind == Kind::Int && found.declared.to_ascii_lowercase().contains("int");
    if !DB::holds(&found.declared, column.kind) && !small {
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
    if let (true, Some(wanted), Some(collated)) = (column.part == Part::Joined, DB::SUBJECT_COLLATION, &found.collated)
        && wanted != collated
    {
        let message =
            format!("{place} has collation {collated}, with which its index is of no use: \"{wanted}\" is needed");
        health = health.finding(Severity::Warning, message);
    }
    health
}

fn compare_index<DB: Dialect>(health: Health, spec: &TableSpec, live: &LiveTable, index: &IndexSpec) -> Health {
    let suits = |found: &LiveIndex| {
        let begins = found.columns.len() >= index.columns.len()
            && found.columns.iter().zip(&index.columns).all(|(one, other)| DB::same_name(one, other));
        begins && (!found.partial || index.partial.is_some())
    };
    if live.indexes.iter().any(suits) {
        return health;
    }
    let columns = index.columns.join(", ");
    health.finding(
        Severity::Warning,
        format!("table {} has no index on ({columns}), which serves {}", spec.name, index.purpose),
    )
}

/// Several sessions may share these values: a unique index with one of them, but without the session's id, would refuse a sign-in.
fn refuse_unique<DB: Dialect>(mut health: Health, spec: &TableSpec, live: &LiveTable, index: &IndexSpec) -> Health {
    let has = |found: &LiveIndex, name: &str| found.columns.iter().any(|column| DB::same_name(column, name));
    let refuses = |found: &&LiveIndex| {
        let shares = index.columns.iter().any(|column| has(found, column));
        found.unique && index.shared && shares && !has(found, &spec.key)
    };
    for found in live.indexes.iter().filter(refuses) {
        let message = format!(
            "table {} has a unique index on ({}): a second sign-in under one session of the identity provider would be refused; \
            make it a plain index",
            spec.name,
            found.columns.join(", ")
        );
        health = health.finding(Severity::Error, message);
    }
    health
}

/// What is wrong with a collation that merges ids.
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
pub(crate) fn merging(collation: &str) -> String {
    format!("{collation}, by which different ids are equal: a binary one is needed")
}
