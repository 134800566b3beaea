//! The tables as the mapping needs them: what the reference DDL prints and what the schema check compares with.

use session_manager_core::Result;

use crate::config::SessionTable;
use crate::dialect::Dialect;
use crate::field::Field;
use crate::identifier::TableName;
use crate::record::{Column, columns};
use crate::value::Kind;

/// A table.
pub(crate) struct TableSpec {
    pub(crate) name: TableName,
    pub(crate) columns: Vec<ColumnSpec>,
    pub(crate) key: String,
    pub(crate) indexes: Vec<IndexSpec>,
    /// The application adds its rows: it may have any other columns, and is there before us.
    pub(crate) is_the_applications: bool,
}

/// A column.
pub(crate) struct ColumnSpec {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// We write NULL.
    pub(crate) nullable: bool,
    /// SQL compares it as text of at most so many bytes.
    pub(crate) compared: Option<u16>,
    pub(crate) part: Part,
}

/// What part a column plays beyond holding its values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Part {
    /// None.
    Plain,
    /// It is the application's own, whose integers may be smaller.
    Extra,
    /// User ids of the session table are looked for in it.
    Joined,
    /// It counts by itself.
    Counter,
}

/// An index beside the primary key.
pub(crate) struct IndexSpec {
    pub(crate) suffix: &'static str,
    pub(crate) columns: Vec<String>,
    pub(crate) descending: bool,
    /// Several rows may have the same values, so that a unique index with one of its columns refuses some.
    pub(crate) shared: bool,
    /// Rows in which this column is NULL need not be in it.
    pub(crate) partial: Option<String>,
    pub(crate) purpose: &'static str,
}

/// The bytes of the longest user id.
const USER_ID: u16 = 128;

/// All tables of a mapping.
pub(crate) fn tables<DB: Dialect>(mapping: &SessionTable) -> Result<Vec<TableSpec>> {
    let mut tables = vec![sessions(mapping)?];
    let times = mapping.times.kind();
    let time =
        |name: &String| ColumnSpec { compared: (times == Kind::Text).then_some(32), ..ColumnSpec::new(name, times) };
    if let Some(epochs) = &mapping.epochs {
        let column = |name: &str, kind| ColumnSpec::new(name, kind);
        tables.push(TableSpec {
            name: TableName::parse(&epochs.table)?,
            columns: vec![
                ColumnSpec { part: Part::Joined, ..column(&epochs.subject, Kind::Text).compared(USER_ID) },
                column(&epochs.incarnation, Kind::Int),
                column(&epochs.version, Kind::Int),
                time(&epochs.grace_until).nullable(),
                time(&epochs.rotated_at).nullable(),
                column(&epochs.seq, Kind::Int),
            ],
            key: epochs.subject.clone(),
            indexes: Vec::new(),
            is_the_applications: false,
        });
    }
    if let Some(users) = &mapping.users {
        let kind = mapping.user_id.kind();
        let key = ColumnSpec { compared: (kind == Kind::Text).then_some(USER_ID), ..ColumnSpec::new(&users.key, kind) };
        let numbers = [&users.incarnation, &users.version, &users.seq];
        let numbers = numbers.map(|name| ColumnSpec::new(name, Kind::Int).nullable());
        tables.push(TableSpec {
            name: TableName::parse(&users.table)?,
            columns: std::iter::once(key).chain(numbers).collect(),
            key: users.key.clone(),
            indexes: Vec::new(),
            is_the_applications: true,
        });
    }
    if let Some(once) = &mapping.once {
        tables.push(TableSpec {
            name: TableName::parse(&once.table)?,
            columns: vec![ColumnSpec::new(&once.key, Kind::Text).compared(64), time(&once.until)],
            key: once.key.clone(),
            indexes: vec![IndexSpec::on("until", [&once.until], "clean-up")],
            is_the_applications: false,
        });
    }
    if let Some(feed) = &mapping.feed {
        let mut seq = ColumnSpec::new(&feed.seq, Kind::Int);
        seq.part = Part::Counter;
        let columns = [(&feed.subject, 64), (&feed.phase, 16)]
            .map(|(name, length)| ColumnSpec::new(name, Kind::Text).compared(length));
        let mark = DB::MARK.map(|_| ColumnSpec::new(&feed.mark, Kind::Mark));
        let marked = mark.as_ref().map(|mark| IndexSpec::on("mark", [&mark.name, &feed.seq], "the feed"));
        tables.push(TableSpec {
            name: TableName::parse(&feed.table)?,
            columns: [seq].into_iter().chain(columns).chain([time(&feed.at)]).chain(mark).collect(),
            key: feed.seq.clone(),
            indexes: [IndexSpec::on("at", [&feed.at], "clean-up")].into_iter().chain(marked).collect(),
            is_the_applications: false,
        });
    }
    Ok(tables)
}

fn sessions(mapping: &SessionTable) -> Result<TableSpec> {
    let columns = columns(mapping).into_iter().map(|column| match column {
        Column::Own(field, name) => {
            let spec = ColumnSpec {
                nullable: field.nullable(),
                compared: field.compared().or(text_time(mapping, field)),
                ..ColumnSpec::new(&name, mapping.kind(field))
            };
            ColumnSpec {
                compared: spec.compared.filter(|_| spec.kind == Kind::Text || spec.kind == Kind::Inet),
                ..spec
            }
        }
        Column::Extra(extra) => {
            ColumnSpec { part: Part::Extra, ..ColumnSpec::new(&extra.column, extra.kind.kind()).nullable() }
        }
    });
    let name = |field| mapping.columns.get(&field).cloned().unwrap_or_default();
    let (id, created_at) = (name(Field::Id), name(Field::CreatedAt));
    let mut indexes = vec![
        IndexSpec {
            descending: true,
            ..IndexSpec::on("user", [&name(Field::UserId), &created_at, &id], "a user's sessions and their limit")
        },
        IndexSpec {
            descending: true,
            ..IndexSpec::on("created", [&created_at, &id], "the list of everybody's sessions")
        },
        IndexSpec::on("expires", [&name(Field::ExpiresAt)], "clean-up"),
        IndexSpec::on("idle", [&name(Field::IdleExpiresAt)], "clean-up"),
        IndexSpec {
            partial: Some(name(Field::RevokedAt)),
            ..IndexSpec::on("revoked", [&name(Field::RevokedAt)], "clean-up")
        },
    ];
    if mapping.columns.contains_key(&Field::ExternalSid) {
        let (issuer, sid) = (name(Field::ExternalIssuer), name(Field::ExternalSid));
        let index = IndexSpec::on("external", [&issuer, &sid], "finding sessions by their external id");
        indexes.push(IndexSpec { shared: true, partial: Some(sid), ..index });
    }
    let (name, columns) = (TableName::parse(&mapping.table)?, columns.collect());
    Ok(TableSpec { name, columns, key: id, indexes, is_the_applications: false })
}

/// Times as text are compared too.
fn text_time(mapping: &SessionTable, field: Field) -> Option<u16> {
    (field.is_time() && mapping.times.kind() == Kind::Text).then_some(32)
}

impl ColumnSpec {
    fn new(name: &str, kind: Kind) -> Self {
        Self { name: name.to_owned(), kind, nullable: false, compared: None, part: Part::Plain }
    }

    fn nullable(mut self) -> Self {
        self.nullable = true;
        self
    }

    fn compared(mut self, bytes: u16) -> Self {
        self.compared = Some(bytes);
        self
    }
}

impl IndexSpec {
    fn on<const N: usize>(suffix: &'static str, columns: [&String; N], purpose: &'static str) -> Self {
        Self {
            suffix,
            columns: columns.map(Clone::clone).into(),
            descending: false,
            shared: false,
            partial: None,
            purpose,
        }
    }
}

/// The `CREATE TABLE` and `CREATE INDEX` statements that suit a mapping, and `ALTER TABLE … ADD COLUMN` for a users table: for the
/// application's migrations, never run by this crate.
///
/// # Errors
/// [`ErrorKind::Misconfigured`](session_manager_core::ErrorKind::Misconfigured) for a mapping that does not hold together.
///
/// ```
/// # #[cfg(feature = "sqlite")] {
/// use session_manager_storage_sqlx::{SessionTable, reference_ddl};
///
/// let ddl = reference_ddl::<sqlx::Sqlite>(&SessionTable::new("sessions"))?;
/// assert!(ddl.starts_with("CREATE TABLE \"sessions\""));
/// # }
/// # Ok::<(), session_manager_core::Error>(())
/// ```
pub fn reference_ddl<DB: Dialect>(mapping: &SessionTable) -> Result<String> {
    let mapping = mapping.clone().checked()?;
    let parts: Vec<_> = tables::<DB>(&mapping)?.iter().map(TableSpec::ddl::<DB>).collect();
    Ok(parts.join("\n"))
}

impl TableSpec {
    fn ddl<DB: Dialect>(&self) -> String {
        let table = DB::quote(&self.name.name);
        let schema = self.name.schema.as_deref().map(|schema| format!("{}.", DB::quote(schema))).unwrap_or_default();
        if self.is_the_applications {
            let added = self.columns.iter().filter(|column| column.name != self.key);
            let added = added.map(|column| {
                format!("ALTER TABLE {schema}{table} ADD COLUMN {};\n", self.column::<DB>(column).trim_start())
            });
            return added.collect();
        }
        let columns: Vec<_> = self.columns.iter().map(|column| self.column::<DB>(column)).collect();
        let (before_index, before_table) =
            if DB::SCHEMA_NAMES_INDEX { (schema.as_str(), "") } else { ("", schema.as_str()) };
        let mut ddl = format!("CREATE TABLE {schema}{table} (\n{}\n){};\n", columns.join(",\n"), DB::TABLE_SUFFIX);
        for index in &self.indexes {
            let direction = if index.descending && DB::RICH_INDEXES { " DESC" } else { "" };
            let columns = index.columns.iter().enumerate().map(|(number, column)| {
                // A leading equality needs no direction.
                let plain = number == 0 && index.columns.len() > 2;
                format!("{}{}", DB::quote(column), if plain { "" } else { direction })
            });
            let columns: Vec<_> = columns.collect();
            // No database takes names of more than 63 bytes; names are ASCII.
            let prefix: String = self.name.name.chars().take(50).collect();
            let name = DB::quote(&format!("{prefix}_{}", index.suffix));
            let partial = index
                .partial
                .as_ref()
                .filter(|_| DB::RICH_INDEXES)
                .map(|column| format!(" WHERE {} IS NOT NULL", DB::quote(column)))
                .unwrap_or_default();
            let columns = columns.join(", ");
            ddl = format!("{ddl}CREATE INDEX {before_index}{name} ON {before_table}{table} ({columns}){partial};\n");
        }
        ddl
    }

    fn column<DB: Dialect>(&self, column: &ColumnSpec) -> String {
        let name = DB::quote(&column.name);
        if column.part == Part::Counter {
            return format!("    {name} {}", DB::counter_type());
        }
        let null = if column.nullable { "" } else { " NOT NULL" };
        let key = if column.name == self.key { " PRIMARY KEY" } else { "" };
        format!("    {name} {}{null}{key}", DB::column_type(column.kind, column.compared))
    }
}
