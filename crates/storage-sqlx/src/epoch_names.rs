//! Where the epochs stand, as quoted names, and how a session's row finds its user's.

use session_manager_core::Result;

use crate::config::SessionTable;
use crate::dialect::Dialect;
use crate::encoding::UserIdEncoding;
use crate::identifier::TableName;
use crate::plan::quoted;

/// The epoch table, and the application's users table where that holds the users' records.
#[derive(Clone, Debug)]
pub(crate) struct EpochNames {
    pub(crate) table: String,
    pub(crate) subject: String,
    pub(crate) incarnation: String,
    pub(crate) version: String,
    pub(crate) grace_until: String,
    pub(crate) rotated_at: String,
    pub(crate) seq: String,
    pub(crate) users: Option<UserNames>,
}

/// The columns of the application's users table.
#[derive(Clone, Debug)]
pub(crate) struct UserNames {
    pub(crate) table: String,
    pub(crate) key: String,
    pub(crate) incarnation: String,
    pub(crate) version: String,
    pub(crate) seq: String,
}

impl EpochNames {
    /// The names of a mapping that keeps epochs.
    pub(crate) fn new<DB: Dialect>(mapping: &SessionTable) -> Result<Option<Self>> {
        let Some(epochs) = &mapping.epochs else { return Ok(None) };
        let users = match &mapping.users {
            None => None,
            Some(users) => {
                let [key, incarnation, version, seq] = users.names().map(|name| DB::quote(name));
                Some(UserNames {
                    table: quoted::<DB>(&TableName::parse(&users.table)?),
                    key,
                    incarnation,
                    version,
                    seq,
                })
            }
        };
        let [subject, incarnation, version, grace_until, rotated_at, seq] = epochs.names().map(|name| DB::quote(name));
        let table = quoted::<DB>(&TableName::parse(&epochs.table)?);
        Ok(Some(Self { table, subject, incarnation, version, grace_until, rotated_at, seq, users }))
    }

    /// The table of the users' records, and its key.
    pub(crate) fn user(&self) -> (&str, &str) {
        self.users.as_ref().map_or((&self.table, &self.subject), |users| (&users.table, &users.key))
    }

    /// Incarnation and version of a user's record.
    fn user_columns(&self) -> [&str; 2] {
        self.users.as_ref().map_or([&self.incarnation, &self.version], |users| [&users.incarnation, &users.version])
    }

    /// A column of user ids as the key of the users' records.
    pub(crate) fn key_of<DB: Dialect>(&self, column: &str, encoding: UserIdEncoding) -> String {
        if self.users.is_some() { column.to_owned() } else { DB::subject(column, encoding) }
    }

    /// Joins the user's record as `u` and everybody's as `g`.
    pub(crate) fn joins(&self, user: &str) -> String {
        let (users, key) = self.user();
        let (table, subject) = (&self.table, &self.subject);
        format!(" LEFT JOIN {users} AS u ON u.{key} = {user} LEFT JOIN {table} AS g ON g.{subject} = ''")
    }

    /// The columns of both epochs, as they are read after a session's.
    pub(crate) fn joined(&self) -> Vec<String> {
        let user = self.user_columns().map(|name| format!("u.{name}"));
        let global = self.global_columns().map(|name| format!("g.{name}"));
        user.into_iter().chain(global).collect()
    }

    fn global_columns(&self) -> [&str; 4] {
        [&self.incarnation, &self.version, &self.grace_until, &self.rotated_at]
    }

    /// The same where nothing can be joined.
    pub(crate) fn scalars(&self, user: &str) -> Vec<String> {
        let (users, key) = self.user();
        let of_user =
            self.user_columns().map(|name| format!("(SELECT e.{name} FROM {users} AS e WHERE e.{key} = {user})"));
        of_user.into_iter().chain(self.global_scalars()).collect()
    }

    /// Everybody's epoch where nothing can be joined.
    pub(crate) fn global_scalars(&self) -> [String; 4] {
        let (table, subject) = (&self.table, &self.subject);
        self.global_columns().map(|name| format!("(SELECT e.{name} FROM {table} AS e WHERE e.{subject} = '')"))
    }

    /// A condition on `u` and `g`, for a statement that joins nothing, up to where the condition stands.
    pub(crate) fn exists(&self, user: &str) -> String {
        let (users, key) = self.user();
        let (table, subject) = (&self.table, &self.subject);
        format!("EXISTS (SELECT 1 FROM {users} AS u JOIN {table} AS g ON g.{subject} = '' WHERE u.{key} = {user} AND ")
    }

    /// That the epochs admit a session whose stamp stands in these columns; its `?` is the time. `behind`: the user's epoch has been raised
    /// by this very step already.
    pub(crate) fn admits(&self, stamp: [&str; 4], behind: bool) -> String {
        let [ui, uv, gi, gv] = stamp;
        let [user_incarnation, user_version] = self.user_columns();
        let (incarnation, version, grace) = (&self.incarnation, &self.version, &self.grace_until);
        let raised = if behind { " + 1" } else { "" };
        format!(
            "s.{ui} = u.{user_incarnation} AND s.{uv}{raised} = u.{user_version} AND s.{gi} = g.{incarnation} \
            AND (s.{gv} = g.{version} OR (s.{gv} + 1 = g.{version} AND g.{grace} > ?))"
        )
    }
}
