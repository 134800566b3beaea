//! The mapping: which tables and columns of the application's the storage uses.

use std::collections::BTreeMap;

use session_manager_core::{Error, ErrorKind, Result};

use crate::encoding::{AddressEncoding, IdEncoding, JsonEncoding, TimeEncoding, UserIdEncoding};
use crate::field::{Field, Role};
use crate::identifier::{TableName, checked};
use crate::side_config::{EpochTable, FeedTable, OnceTable, UserEpochs};
use crate::value::Kind;

/// The application's session table: its name, its columns and how ids and times stand in them.
///
/// Every column has a default name; [`SessionTable::column`] gives it another, [`SessionTable::without`] puts an optional one into the JSON
/// column `details`. Names are checked when the storage is made.
///
/// ```
/// use session_manager_storage_sqlx::{EpochTable, ExtraKind, Field, IdEncoding, OnceTable, SessionTable, UserIdEncoding};
///
/// let table = SessionTable::new("app_sessions")
///     .id(IdEncoding::Text)
///     .user_id(UserIdEncoding::BigInt)
///     .column(Field::UserId, "account")
///     .without(Field::City)
///     .extra("tenant_id", "tenant", ExtraKind::Text)
///     .epochs(EpochTable::new("app_session_epochs"))
///     .once(OnceTable::new("app_session_once"));
/// # let _ = table;
/// ```
#[derive(Clone, Debug)]
pub struct SessionTable {
    pub(crate) table: String,
    pub(crate) columns: BTreeMap<Field, String>,
    pub(crate) extras: Vec<Extra>,
    pub(crate) id: IdEncoding,
    pub(crate) user_id: UserIdEncoding,
    pub(crate) times: TimeEncoding,
    pub(crate) json: JsonEncoding,
    pub(crate) address: AddressEncoding,
    pub(crate) epochs: Option<EpochTable>,
    pub(crate) users: Option<UserEpochs>,
    pub(crate) once: Option<OnceTable>,
    pub(crate) feed: Option<FeedTable>,
}

impl SessionTable {
    /// A session table of this name (`table` or `schema.table`) with default column names, without epochs.
    pub fn new(table: impl Into<String>) -> Self {
        let columns = Field::ALL
            .into_iter()
            .filter(|(_, _, mapped)| *mapped)
            .map(|(field, name, _)| (field, name.to_owned()))
            .collect();
        Self {
            table: table.into(),
            columns,
            extras: Vec::new(),
            id: IdEncoding::default(),
            user_id: UserIdEncoding::default(),
            times: TimeEncoding::default(),
            json: JsonEncoding::default(),
            address: AddressEncoding::default(),
            epochs: None,
            users: None,
            once: None,
            feed: None,
        }
    }

    /// How the session id stands in its column.
    pub fn id(mut self, encoding: IdEncoding) -> Self {
        self.id = encoding;
        self
    }

    /// How the user id stands in its column.
    pub fn user_id(mut self, encoding: UserIdEncoding) -> Self {
        self.user_id = encoding;
        self
    }

    /// How times stand in their columns.
    pub fn times(mut self, encoding: TimeEncoding) -> Self {
        self.times = encoding;
        self
    }

    /// What type the JSON columns have.
    pub fn json(mut self, encoding: JsonEncoding) -> Self {
        self.json = encoding;
        self
    }

    /// How addresses stand in their column.
    pub fn address(mut self, encoding: AddressEncoding) -> Self {
        self.address = encoding;
        self
    }

    /// Times, JSON and addresses in the database's own types, where it has them: what a new table in PostgreSQL or MySQL should have.
    pub fn native(self) -> Self {
        self.times(TimeEncoding::Native).json(JsonEncoding::Jsonb).address(AddressEncoding::Inet)
    }

    /// Names the column of a field.
    pub fn column(mut self, field: Field, name: impl Into<String>) -> Self {
        self.columns.insert(field, name.into());
        self
    }

    /// The table has no column for this optional field: it goes into `details`.
    pub fn without(mut self, field: Field) -> Self {
        self.columns.remove(&field);
        self
    }

    /// A column of the application's own that holds the attribute `attribute`.
    ///
    /// # Behaviour
    /// A value of another kind than the column's stays in the JSON, and the column is NULL.
    pub fn extra(mut self, column: impl Into<String>, attribute: impl Into<String>, kind: ExtraKind) -> Self {
        self.extras.push(Extra { column: column.into(), attribute: attribute.into(), kind });
        self
    }

    /// Where epochs are kept. Without: a user's rotation ends the rows one by one, and global rotation is refused.
    pub fn epochs(mut self, table: EpochTable) -> Self {
        self.epochs = Some(table);
        self
    }

    /// The users' epochs stand in columns of the application's users table; everybody's stays in the [`EpochTable`], which then has one row.
    ///
    /// # Behaviour
    /// The application makes and removes the rows. A user without one cannot sign in
    /// ([`ErrorKind::InvalidInput`](session_manager_core::ErrorKind::InvalidInput)), and one whose row is removed is signed out.
    pub fn user_epochs(mut self, users: UserEpochs) -> Self {
        self.users = Some(users);
        self
    }

    /// Where values are remembered once. Without, that is refused.
    pub fn once(mut self, table: OnceTable) -> Self {
        self.once = Some(table);
        self
    }

    /// Where revocations are announced. Without, there is no feed.
    pub fn feed(mut self, table: FeedTable) -> Self {
        self.feed = Some(table);
        self
    }

    /// The mapping with only those columns that it uses, every name checked.
    pub(crate) fn checked(mut self) -> Result<Self> {
        if self.epochs.is_none() {
            self.columns.retain(|field, _| field.role() != Role::Stamp);
        }
        for (field, default, _) in Field::ALL {
            let needed =
                matches!(field.role(), Role::Essential) || (field.role() == Role::Stamp && self.epochs.is_some());
            if needed && !self.columns.contains_key(&field) {
                return Err(misconfigured(format!("the session table needs a column for {default}")));
            }
        }
        if self.columns.contains_key(&Field::ExternalIssuer) != self.columns.contains_key(&Field::ExternalSid) {
            return Err(misconfigured("the external issuer and sid are mapped together or not at all"));
        }
        let mut names: Vec<String> =
            self.columns.values().chain(self.extras.iter().map(|extra| &extra.column)).cloned().collect();
        for name in &names {
            checked(name)?;
        }
        // SQL's names do not tell upper from lower case in every database.
        for name in &mut names {
            name.make_ascii_lowercase();
        }
        names.sort_unstable();
        if names.windows(2).any(|pair| matches!(pair, [one, other] if one == other)) {
            return Err(misconfigured("a column of the session table is mapped twice"));
        }
        let tables = [
            Some(&self.table),
            self.epochs.as_ref().map(|t| &t.table),
            self.users.as_ref().map(|t| &t.table),
            self.once.as_ref().map(|t| &t.table),
            self.feed.as_ref().map(|t| &t.table),
        ];
        for table in tables.into_iter().flatten() {
            TableName::parse(table)?;
        }
        if self.users.is_some() && self.epochs.is_none() {
            return Err(misconfigured("epochs in the users table need an epoch table too, for everybody's"));
        }
        let epochs = self.epochs.iter().flat_map(EpochTable::names);
        let epochs = epochs.chain(self.users.iter().flat_map(UserEpochs::names));
        let once = self.once.iter().flat_map(|once| [&once.key, &once.until]);
        let feed = self.feed.iter().flat_map(|feed| [&feed.seq, &feed.subject, &feed.phase, &feed.at, &feed.mark]);
        for name in epochs.chain(once).chain(feed) {
            checked(name)?;
        }
        if self.feed.as_ref().is_some_and(|feed| feed.retention.is_zero()) {
            return Err(misconfigured("the feed has to keep announcements for some time"));
        }
        Ok(self)
    }

    /// What kind of value a column holds.
    pub(crate) fn kind(&self, field: Field) -> Kind {
        match field {
            Field::Id => self.id.kind(),
            Field::UserId => self.user_id.kind(),
            field if field.is_time() => self.times.kind(),
            Field::Generation
            | Field::Floor
            | Field::Version
            | Field::UserIncarnation
            | Field::UserVersion
            | Field::GlobalIncarnation
            | Field::GlobalVersion
            | Field::IdleTimeout => Kind::Int,
            Field::Seed => Kind::Bytes,
            Field::IsTrusted => Kind::Bool,
            Field::IpAddress => self.address.kind(),
            Field::Details
            | Field::Location
            | Field::Device
            | Field::Authentication
            | Field::Binding
            | Field::Attributes => self.json.kind(),
            _ => Kind::Text,
        }
    }
}

/// A column of the application's own.
#[derive(Clone, Debug)]
pub(crate) struct Extra {
    pub(crate) column: String,
    pub(crate) attribute: String,
    pub(crate) kind: ExtraKind,
}

/// What a column of the application's own holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ExtraKind {
    /// Text.
    Text,
    /// An integer of 64 bits.
    Integer,
    /// A floating-point number.
    Real,
    /// A truth value.
    Boolean,
    /// A UUID; in the attributes its lower-case hyphenated text.
    Uuid,
}

impl ExtraKind {
    pub(crate) const fn kind(self) -> Kind {
        match self {
            Self::Text => Kind::Text,
            Self::Integer => Kind::Int,
            Self::Real => Kind::Real,
            Self::Boolean => Kind::Bool,
            Self::Uuid => Kind::Uuid,
        }
    }
}

fn misconfigured(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Misconfigured, "session table").because(message)
}
