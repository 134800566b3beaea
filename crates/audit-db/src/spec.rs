//! The tables as the mapping needs them: what the reference DDL prints and what the schema check compares with.

use session_manager_core::Result;

use crate::config::AuditTable;
use crate::dialect::Dialect;
use crate::field::Field;
use crate::identifier::TableName;
use crate::value::Kind;

/// A table.
pub(crate) struct TableSpec {
    pub(crate) name: TableName,
    pub(crate) columns: Vec<ColumnSpec>,
    pub(crate) key: String,
    pub(crate) indexes: Vec<IndexSpec>,
}

/// A column.
pub(crate) struct ColumnSpec {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// We write NULL.
    pub(crate) nullable: bool,
    /// SQL compares it as text of at most so many bytes.
    pub(crate) compared: Option<u16>,
}

/// An index beside the primary key.
pub(crate) struct IndexSpec {
    pub(crate) suffix: &'static str,
    pub(crate) columns: Vec<String>,
    pub(crate) unique: bool,
    pub(crate) purpose: &'static str,
}

/// All tables of a checked mapping.
pub(crate) fn tables(mapping: &AuditTable) -> Result<Vec<TableSpec>> {
    let mut tables = vec![events(mapping)?];
    if let Some(chain) = &mapping.chain {
        tables.push(TableSpec {
            name: TableName::parse(&chain.table)?,
            columns: vec![
                ColumnSpec { compared: Some(64), ..ColumnSpec::new(&chain.mark, Kind::Text) },
                ColumnSpec::new(&chain.seq, Kind::Int),
                ColumnSpec::new(&chain.mac, Kind::Bytes),
                ColumnSpec::new(&chain.proof, Kind::Bytes),
            ],
            key: chain.mark.clone(),
            indexes: Vec::new(),
        });
    }
    Ok(tables)
}

fn events(mapping: &AuditTable) -> Result<TableSpec> {
    let columns = mapping.fields().map(|(field, name)| ColumnSpec {
        nullable: field.nullable(),
        compared: mapping.compared(field),
        ..ColumnSpec::new(name, mapping.kind(field))
    });
    let name = |field| mapping.column_name(field).to_owned();
    let (id, at) = (name(Field::Id), name(Field::At));
    let plain = |suffix, columns: Vec<String>, purpose| IndexSpec { suffix, columns, unique: false, purpose };
    let mut indexes = vec![
        plain("at", vec![at.clone(), id.clone()], "the list of all events and the retention"),
        plain("user", vec![name(Field::UserId), at.clone(), id.clone()], "a user's events and their erasure"),
        plain("session", vec![name(Field::SessionId), at.clone(), id.clone()], "a session's events"),
        plain("kind", vec![name(Field::Kind), at, id.clone()], "the events of a kind"),
        plain("actor", vec![name(Field::Actor)], "the erasure of what a user did"),
    ];
    if mapping.chain.is_some() {
        indexes.push(IndexSpec {
            suffix: "seq",
            columns: vec![name(Field::Seq)],
            unique: true,
            purpose: "the order of the chain",
        });
    }
    Ok(TableSpec { name: TableName::parse(&mapping.table)?, columns: columns.collect(), key: id, indexes })
}

impl ColumnSpec {
    fn new(name: &str, kind: Kind) -> Self {
        Self { name: name.to_owned(), kind, nullable: false, compared: None }
    }
}

/// The `CREATE TABLE` and `CREATE INDEX` statements that suit a mapping: for the application's migrations, never run by this crate.
///
/// # Errors
/// [`ErrorKind::Misconfigured`](session_manager_core::ErrorKind::Misconfigured) for a mapping that does not hold together.
///
/// ```
/// # #[cfg(feature = "sqlite")] {
/// use session_manager_audit_db::{AuditTable, reference_ddl};
///
/// let ddl = reference_ddl::<sqlx::Sqlite>(&AuditTable::new("session_audit"))?;
/// assert!(ddl.starts_with("CREATE TABLE \"session_audit\""));
/// # }
/// # Ok::<(), session_manager_core::Error>(())
/// ```
pub fn reference_ddl<DB: Dialect>(mapping: &AuditTable) -> Result<String> {
    let mapping = mapping.clone().checked()?;
    let parts: Vec<_> = tables(&mapping)?.iter().map(TableSpec::ddl::<DB>).collect();
    Ok(parts.join("\n"))
}

impl TableSpec {
    fn ddl<DB: Dialect>(&self) -> String {
        let table = DB::quote(&self.name.name);
        let schema = self.name.schema.as_deref().map(|schema| format!("{}.", DB::quote(schema))).unwrap_or_default();
        let columns: Vec<_> = self.columns.iter().map(|column| self.column::<DB>(column)).collect();
        let (before_index, before_table) =
            if DB::SCHEMA_NAMES_INDEX { (schema.as_str(), "") } else { ("", schema.as_str()) };
        let mut ddl = format!("CREATE TABLE {schema}{table} (\n{}\n){};\n", columns.join(",\n"), DB::TABLE_SUFFIX);
        for index in &self.indexes {
            let unique = if index.unique { "UNIQUE " } else { "" };
            let columns: Vec<_> = index.columns.iter().map(|column| DB::quote(column)).collect();
            // No database takes names of more than 63 bytes; names are ASCII.
            let prefix: String = self.name.name.chars().take(50).collect();
            let name = DB::quote(&format!("{prefix}_{}", index.suffix));
            let columns = columns.join(", ");
            ddl = format!("{ddl}CREATE {unique}INDEX {before_index}{name} ON {before_table}{table} ({columns});\n");
        }
        ddl
    }

    fn column<DB: Dialect>(&self, column: &ColumnSpec) -> String {
        let name = DB::quote(&column.name);
        let null = if column.nullable { "" } else { " NOT NULL" };
        let key = if column.name == self.key { " PRIMARY KEY" } else { "" };
        format!("    {name} {}{null}{key}", DB::column_type(column.kind, column.compared))
    }
}
