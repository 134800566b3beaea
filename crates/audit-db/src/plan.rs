//! What a mapping comes to in SQL, put together once.

use std::collections::BTreeMap;

use session_manager_core::Result;

use crate::chain::Chain;
use crate::config::AuditTable;
use crate::dialect::Dialect;
use crate::field::Field;
use crate::identifier::TableName;

/// A checked mapping and its quoted names.
#[derive(Clone, Debug)]
#[allow(unnameable_types, reason = "named by sealed traits only")]
pub struct Plan {
    pub(crate) mapping: AuditTable,
    /// The quoted name of the events' table.
    pub(crate) table: String,
    quoted: BTreeMap<Field, String>,
    pub(crate) marks: Option<Marks>,
    pub(crate) chain: Option<Chain>,
    /// Whether statements are kept prepared.
    pub(crate) prepared: bool,
}

/// The quoted names of the chain's own table.
#[derive(Clone, Debug)]
pub(crate) struct Marks {
    pub(crate) table: String,
    pub(crate) mark: String,
    pub(crate) seq: String,
    pub(crate) mac: String,
    pub(crate) proof: String,
}

impl Plan {
    pub(crate) fn new<DB: Dialect>(mapping: AuditTable, chain: Option<Chain>) -> Result<Self> {
        let mapping = mapping.checked()?;
        let quoted = mapping.fields().map(|(field, name)| (field, DB::quote(name))).collect();
        let marks = mapping.chain.as_ref().map(|own| -> Result<Marks> {
            let [mark, seq, mac, proof] = [&own.mark, &own.seq, &own.mac, &own.proof].map(|name| DB::quote(name));
            Ok(Marks { table: qualified::<DB>(&own.table)?, mark, seq, mac, proof })
        });
        let marks = marks.transpose()?;
        Ok(Self { table: qualified::<DB>(&mapping.table)?, mapping, quoted, marks, chain, prepared: true })
    }

    /// The quoted name of a column; only of one that is mapped.
    pub(crate) fn column(&self, field: Field) -> &str {
        self.quoted.get(&field).map_or("", String::as_str)
    }

    /// The event's columns, in the order of statements.
    pub(crate) fn event_fields(&self) -> impl Iterator<Item = Field> {
        Field::EVENT.into_iter().filter(|field| self.mapping.has(*field))
    }

    /// What the details have to keep.
    pub(crate) fn lacking(&self) -> impl Iterator<Item = Field> {
        Field::EVENT.into_iter().filter(|field| !self.mapping.has(*field))
    }

    /// The names of the event's columns.
    pub(crate) fn event_columns(&self) -> String {
        self.event_fields().map(|field| self.column(field)).collect::<Vec<_>>().join(", ")
    }

    /// The names of the event's columns and of the chain's.
    pub(crate) fn all_columns(&self) -> String {
        let fields = self.event_fields().chain(Field::CHAIN);
        fields.map(|field| self.column(field)).collect::<Vec<_>>().join(", ")
    }
}

fn qualified<DB: Dialect>(name: &str) -> Result<String> {
    let name = TableName::parse(name)?;
    let table = DB::quote(&name.name);
    Ok(name.schema.map_or(table.clone(), |schema| format!("{}.{table}", DB::quote(&schema))))
}
