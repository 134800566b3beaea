//! How the application's audit table looks.

use std::collections::BTreeMap;

use session_manager_core::{Error, ErrorKind, Result};

use crate::encoding::{AddressEncoding, IdEncoding, JsonEncoding, TimeEncoding, UserIdEncoding};
use crate::field::Field;
use crate::identifier::{TableName, checked};
use crate::value::Kind;

/// The application's audit table: its name, its columns and what stands in them.
///
/// ```
/// use session_manager_audit_db::{AuditTable, ChainTable, Field};
///
/// let table = AuditTable::new("security.events")
///     .native()
///     .column(Field::At, "happened_at")
///     .chained(ChainTable::new("security.event_chain"));
/// # let _ = table;
/// ```
#[derive(Clone, Debug)]
pub struct AuditTable {
    pub(crate) table: String,
    pub(crate) columns: BTreeMap<Field, String>,
    pub(crate) ids: IdEncoding,
    pub(crate) users: UserIdEncoding,
    pub(crate) times: TimeEncoding,
    pub(crate) json: JsonEncoding,
    pub(crate) addresses: AddressEncoding,
    pub(crate) chain: Option<ChainTable>,
}

impl AuditTable {
    /// A table of this name, perhaps `schema.table`, with every column under its [default name](Field::default_name): ids in the database's
    /// UUID type, times as milliseconds, all else as text.
    pub fn new(table: impl Into<String>) -> Self {
        let columns = Field::EVENT.into_iter().chain(Field::CHAIN);
        Self {
            table: table.into(),
            columns: columns.map(|field| (field, field.default_name().to_owned())).collect(),
            ids: IdEncoding::default(),
            users: UserIdEncoding::default(),
            times: TimeEncoding::default(),
            json: JsonEncoding::default(),
            addresses: AddressEncoding::default(),
            chain: None,
        }
    }

    /// Chooses the database's own types for times, JSON and addresses.
    pub fn native(self) -> Self {
        self.times(TimeEncoding::Native).json(JsonEncoding::Json).addresses(AddressEncoding::Inet)
    }

    /// Names a column.
    pub fn column(mut self, field: Field, name: impl Into<String>) -> Self {
        self.columns.insert(field, name.into());
        self
    }

    /// Says that the table lacks an [optional](Field::is_optional) column: what it would hold goes into [`Field::Details`] instead.
    pub fn without(mut self, field: Field) -> Self {
        self.columns.remove(&field);
        self
    }

    /// How ids stand in their columns.
    pub const fn ids(mut self, encoding: IdEncoding) -> Self {
        self.ids = encoding;
        self
    }

    /// How user ids stand in their column.
    pub const fn users(mut self, encoding: UserIdEncoding) -> Self {
        self.users = encoding;
        self
    }

    /// How times stand in their column.
    pub const fn times(mut self, encoding: TimeEncoding) -> Self {
        self.times = encoding;
        self
    }

    /// What type the JSON columns have.
    pub const fn json(mut self, encoding: JsonEncoding) -> Self {
        self.json = encoding;
        self
    }

    /// How addresses stand in their column.
    pub const fn addresses(mut self, encoding: AddressEncoding) -> Self {
        self.addresses = encoding;
        self
    }

    /// Chains the rows to each other, so that tampering shows: the columns from [`Field::Seq`] on are needed, and a second small table. No
    /// column may be lacking, and JSON stands as text, since the other types may spell it anew.
    pub fn chained(mut self, chain: ChainTable) -> Self {
        self.chain = Some(chain);
        self
    }

    /// The mapped columns and their names, in the order of statements.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (Field, &str)> {
        let chain: &[Field] = if self.chain.is_some() { &Field::CHAIN } else { &[] };
        let fields = Field::EVENT.iter().chain(chain);
        fields.filter_map(|field| self.columns.get(field).map(|name| (*field, name.as_str())))
    }

    pub(crate) fn has(&self, field: Field) -> bool {
        self.columns.contains_key(&field)
    }

    pub(crate) fn column_name(&self, field: Field) -> &str {
        self.columns.get(&field).map_or(field.default_name(), String::as_str)
    }

    pub(crate) fn kind(&self, field: Field) -> Kind {
        match field {
            Field::Id | Field::SessionId => self.ids.kind(),
            Field::UserId => self.users.kind(),
            Field::At => self.times.kind(),
            Field::IpAddress => self.addresses.kind(),
            Field::Hints | Field::Details => self.json_encoding().kind(),
            other => other.plain_kind(),
        }
    }

    /// How JSON stands in its columns: with a chain as it was written.
    pub(crate) fn json_encoding(&self) -> JsonEncoding {
        if self.chain.is_some() { JsonEncoding::Text } else { self.json }
    }

    pub(crate) fn compared(&self, field: Field) -> Option<u16> {
        let compared = if field == Field::At { Some(32) } else { field.compared() };
        compared.filter(|_| self.kind(field) == Kind::Text)
    }

    /// Checks that it holds together.
    pub(crate) fn checked(self) -> Result<Self> {
        TableName::parse(&self.table)?;
        for field in Field::EVENT.into_iter().chain(Field::CHAIN) {
            let lacking = !self.has(field);
            if lacking && (!field.is_optional() || self.chain.is_some()) {
                let needs = if field.is_optional() { "a chained audit table" } else { "every audit table" };
                return Err(misconfigured(format!("{needs} has a column for {field:?}")));
            }
        }
        let mut names: Vec<String> = Vec::new();
        for (_, name) in self.fields() {
            let name = checked(name)?.to_ascii_lowercase();
            if names.contains(&name) {
                return Err(misconfigured(format!("two columns are called {name}")));
            }
            names.push(name);
        }
        if let Some(chain) = &self.chain {
            TableName::parse(&chain.table)?;
            for name in [&chain.mark, &chain.seq, &chain.mac, &chain.proof] {
                checked(name)?;
            }
        }
        Ok(self)
    }
}

/// The small table beside a chained audit table: the chain's head, the checkpoint of the last clean-up, and a mark for each erasure. Each is
/// signed.
#[derive(Clone, Debug)]
pub struct ChainTable {
    pub(crate) table: String,
    pub(crate) mark: String,
    pub(crate) seq: String,
    pub(crate) mac: String,
    pub(crate) proof: String,
}

impl ChainTable {
    /// A table of this name with the columns `mark` (the primary key), `seq`, `mac` and `proof`.
    pub fn new(table: impl Into<String>) -> Self {
        Self { table: table.into(), mark: "mark".into(), seq: "seq".into(), mac: "mac".into(), proof: "proof".into() }
    }

    /// Names the columns.
    pub fn columns(
        mut self,
        mark: impl Into<String>,
        seq: impl Into<String>,
        mac: impl Into<String>,
        proof: impl Into<String>,
    ) -> Self {
        (self.mark, self.seq, self.mac, self.proof) = (mark.into(), seq.into(), mac.into(), proof.into());
        self
    }
}

fn misconfigured(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Misconfigured, "audit table").because(message)
}
