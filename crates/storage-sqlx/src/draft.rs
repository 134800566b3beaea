//! The statements on the session table, as they are made from the mapping.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::SessionTable;
use crate::dialect::Dialect;
use crate::epoch_names::EpochNames;
use crate::field::Field;
use crate::record::Column;
use crate::statement::Text;

/// What the statements on the session table are made of.
pub(crate) struct Draft<'a> {
    pub(crate) table: &'a str,
    pub(crate) names: &'a BTreeMap<Field, String>,
    pub(crate) mapping: &'a SessionTable,
    pub(crate) epochs: Option<&'a EpochNames>,
    pub(crate) read: &'a [Column],
}

impl Draft<'_> {
    pub(crate) fn name(&self, field: Field) -> &str {
        self.names.get(&field).map_or("", String::as_str)
    }

    /// The user of a row of `alias` as the users' records know them.
    fn user_of<DB: Dialect>(&self, epochs: &EpochNames, alias: &str) -> String {
        epochs.key_of::<DB>(&format!("{alias}.{}", self.name(Field::UserId)), self.mapping.user_id)
    }

    pub(crate) fn from<DB: Dialect>(&self) -> String {
        let joins = self.epochs.map(|epochs| epochs.joins(&self.user_of::<DB>(epochs, "s"))).unwrap_or_default();
        format!(" FROM {} AS s{joins}", self.table)
    }

    /// What is read of each session, and both epochs where they are kept.
    pub(crate) fn selected<DB: Dialect>(&self) -> Vec<String> {
        let columns = self.read.iter().map(|column| format!("s.{}", DB::quote(column.name())));
        columns.chain(self.epochs.map(EpochNames::joined).unwrap_or_default()).collect()
    }

    /// The same of a row that is `alias` in a `RETURNING` clause.
    pub(crate) fn returned<DB: Dialect>(&self, alias: &str) -> Vec<String> {
        let columns = self.read.iter().map(|column| format!("{alias}.{}", DB::quote(column.name())));
        let epochs = self.epochs.map(|epochs| epochs.scalars(&self.user_of::<DB>(epochs, alias)));
        columns.chain(epochs.unwrap_or_default()).collect()
    }

    /// The SQL of `Snapshot::state` being `Live`; `behind`: the user's epoch has been raised by this very step already.
    pub(crate) fn is_live(&self, behind: bool) -> String {
        let [revoked, expires, idle] =
            [Field::RevokedAt, Field::ExpiresAt, Field::IdleExpiresAt].map(|field| self.name(field));
        let condition = format!("s.{revoked} IS NULL AND s.{expires} > ? AND s.{idle} > ?");
        let Some(epochs) = self.epochs else { return condition };
        let stamp = [Field::UserIncarnation, Field::UserVersion, Field::GlobalIncarnation, Field::GlobalVersion];
        format!("{condition} AND {}", epochs.admits(stamp.map(|field| self.name(field)), behind))
    }

    /// The condition that the session lives, for a statement that joins no epochs.
    pub(crate) fn and_lives<DB: Dialect>(&self, text: Text<DB>, behind: bool) -> Text<DB> {
        text.condition(&self.lives::<DB>(behind, DB::HOLDS_RECORD))
    }

    /// ` AND …` that the session lives, for a statement that joins no epochs.
    fn lives<DB: Dialect>(&self, behind: bool, holds: &str) -> String {
        let is_live = self.is_live(behind);
        let Some(epochs) = self.epochs else { return format!(" AND {is_live}") };
        format!(" AND {}{is_live}{holds})", epochs.exists(&self.user_of::<DB>(epochs, "s")))
    }

    /// The same for a touch, which may have found the live sessions before.
    pub(crate) fn touched<DB: Dialect>(&self) -> String {
        if DB::TOUCH_FINDS_FIRST { self.is_open() } else { self.lives::<DB>(false, "") }
    }

    pub(crate) fn lock_one<DB: Dialect>(&self, lock: &str) -> Arc<str> {
        let id = self.name(Field::Id);
        let text = Text::<DB>::new(format!("SELECT s.{id} FROM {} AS s WHERE s.{id} = ", self.table));
        text.parameter().push(lock).done()
    }

    pub(crate) fn insert<DB: Dialect>(&self, written: &[Column]) -> Arc<str> {
        let names: Vec<_> = written.iter().map(|column| DB::quote(column.name())).collect();
        let mut text = Text::<DB>::new(format!("INSERT INTO {} ({}) VALUES (", self.table, names.join(", ")));
        for number in 0..names.len() {
            text = text.push(if number == 0 { "" } else { ", " }).parameter();
        }
        text.push(")").done()
    }

    pub(crate) fn replace<DB: Dialect>(&self, written: &[Column]) -> Arc<str> {
        let names: Vec<_> = written.iter().map(|column| DB::quote(column.name())).collect();
        let text = Text::<DB>::new(format!("UPDATE {}{} SET ", self.table, DB::BY_PRIMARY_KEY))
            .assignments(names.iter().map(String::as_str));
        text.push(" WHERE ").push(self.name(Field::Id)).push(" = ").parameter().done()
    }

    /// [`Draft::replace`] of these columns, if the session has not been ended and has the version that is the next parameter; then, unless
    /// [`Dialect::TOUCH_FINDS_FIRST`], if it lives by the values of the live condition: its epoch may have been raised since it was read.
    pub(crate) fn revise<DB: Dialect>(&self, revised: &[Column]) -> Arc<str> {
        if DB::TOUCH_FINDS_FIRST {
            let text = Text::<DB>::new(self.replace::<DB>(revised).to_string());
            return self.unchanged(text, revised.len() + 1).done();
        }
        let names: Vec<_> = revised.iter().map(|column| DB::quote(column.name())).collect();
        let text = Text::<DB>::new(format!("UPDATE {} AS s SET ", self.table));
        let text =
            text.assignments(names.iter().map(String::as_str)).push(&format!(" WHERE s.{} = ", self.name(Field::Id)));
        let text = self.unchanged(text.parameter(), revised.len() + 1);
        self.and_lives(text, false).done()
    }

    /// Writes back what was read where nobody has changed the session since and its epochs still admit it: what is set, id, version, the
    /// user's key, then the values of the live condition.
    ///
    /// The records are read before the session, in the order in which everybody locks, and held as long as the statement runs. An update that
    /// only looked at them in a subquery would come to them last.
    fn guarded<DB: Dialect>(&self, set: &[String], also: &str) -> Option<Arc<str>> {
        let epochs = self.epochs?;
        let (users, key) = epochs.user();
        let [id, version] = [Field::Id, Field::Version].map(|field| self.name(field));
        let text = Text::<DB>::new(format!(
            "UPDATE {users} AS u STRAIGHT_JOIN {} AS g STRAIGHT_JOIN {} AS s{} SET ",
            epochs.table,
            self.table,
            DB::BY_PRIMARY_KEY
        ));
        let text =
            text.assignments(set.iter().map(String::as_str)).push(&format!("{also} WHERE s.{id} = ")).parameter();
        let text = text.push(&format!(" AND s.{version} = ")).parameter();
        let text = text.push(&format!(" AND g.{} = '' AND u.{key} = ", epochs.subject)).parameter().push(" AND ");
        Some(text.condition(&self.is_live(false)).done())
    }

    /// [`Draft::revise`] with the epochs held.
    pub(crate) fn revise_guarded<DB: Dialect>(&self, revised: &[Column]) -> Option<Arc<str>> {
        let set: Vec<_> = revised.iter().map(|column| format!("s.{}", DB::quote(column.name()))).collect();
        self.guarded::<DB>(&set, "")
    }

    /// [`Draft::advance_if`] with the epochs held.
    pub(crate) fn advance_guarded<DB: Dialect>(&self) -> Option<Arc<str>> {
        let fields = [Field::Generation, Field::RotatedAt, Field::PreviousRotatedAt, Field::Version];
        self.guarded::<DB>(&fields.map(|field| format!("s.{}", self.name(field))), "")
    }

    /// [`Draft::end_one`] with the epochs held.
    pub(crate) fn end_guarded<DB: Dialect>(&self) -> Option<Arc<str>> {
        let [at, reason, by, version, _] = self.ending();
        let also = format!(", s.{version} = s.{version} + 1");
        self.guarded::<DB>(&[at, reason, by].map(|name| format!("s.{name}")), &also)
    }

    /// Generation, rotation, the rotation before and version, then the id.
    pub(crate) fn advance<DB: Dialect>(&self) -> Arc<str> {
        self.rotate::<DB>().done()
    }

    /// [`Draft::advance`], if the session has not been ended and has the version that is the last parameter.
    pub(crate) fn advance_if<DB: Dialect>(&self) -> Arc<str> {
        self.unchanged(self.rotate::<DB>(), 5).done()
    }

    fn rotate<DB: Dialect>(&self) -> Text<DB> {
        let fields = [Field::Generation, Field::RotatedAt, Field::PreviousRotatedAt, Field::Version];
        let text = Text::<DB>::new(format!("UPDATE {}{} SET ", self.table, DB::BY_PRIMARY_KEY))
            .assignments(fields.map(|field| self.name(field)));
        text.push(" WHERE ").push(self.name(Field::Id)).push(" = ").parameter()
    }

    fn unchanged<DB: Dialect>(&self, text: Text<DB>, parameters: usize) -> Text<DB> {
        let [revoked, version] = [Field::RevokedAt, Field::Version].map(|field| self.name(field));
        let text = text.numbered(parameters).push(&format!(" AND {revoked} IS NULL AND {version} = "));
        text.parameter()
    }

    /// Revocation, reason and by whom, then the id: ends a session that has not been ended.
    pub(crate) fn end_one<DB: Dialect>(&self) -> Arc<str> {
        let [at, reason, by, version, id] = self.ending();
        let text =
            Text::<DB>::new(format!("UPDATE {}{} SET ", self.table, DB::BY_PRIMARY_KEY)).assignments([at, reason, by]);
        let text = text.push(&format!(", {version} = {version} + 1 WHERE {at} IS NULL AND {id} = "));
        text.parameter().done()
    }

    pub(crate) fn ending(&self) -> [&str; 5] {
        [Field::RevokedAt, Field::RevokedReason, Field::RevokedBy, Field::Version, Field::Id]
            .map(|field| self.name(field))
    }

    /// Last activity, idle deadline, id, the time before which the stored activity lies, then the values of the live condition.
    pub(crate) fn touch<DB: Dialect>(&self) -> Arc<str> {
        let [last, idle, expires, id] =
            [Field::LastActivity, Field::IdleExpiresAt, Field::ExpiresAt, Field::Id].map(|field| self.name(field));
        let text =
            Text::<DB>::new(format!("UPDATE {} AS s{} SET {last} = ", self.table, DB::BY_PRIMARY_KEY)).parameter();
        let text = text.push(&format!(", {idle} = {}({idle}, {}({expires}, ", DB::GREATEST, DB::LEAST)).parameter();
        let text = text.push(&format!(")) WHERE s.{id} = ")).parameter().push(&format!(" AND s.{last} < ")).parameter();
        text.condition(&self.touched::<DB>()).done()
    }

    /// That a session lives as far as its own row tells.
    fn is_open(&self) -> String {
        let [revoked, expires, idle] =
            [Field::RevokedAt, Field::ExpiresAt, Field::IdleExpiresAt].map(|field| self.name(field));
        format!(" AND s.{revoked} IS NULL AND s.{expires} > ? AND s.{idle} > ?")
    }

    /// Arrays of ids, last activities, idle deadlines and the times before which the stored activities lie, then the values of the live
    /// condition. The rows are locked in the order of their ids, as everywhere.
    pub(crate) fn touch_many<DB: Dialect>(&self) -> Arc<str> {
        let [last, idle, expires, id] =
            [Field::LastActivity, Field::IdleExpiresAt, Field::ExpiresAt, Field::Id].map(|field| self.name(field));
        let mut text = Text::<DB>::new(format!(
            "WITH held AS (SELECT s.{id} AS id, b.seen, b.idle, b.stale FROM {} AS s JOIN unnest(",
            self.table
        ));
        for number in 0..4 {
            text = text.push(if number == 0 { "" } else { ", " }).parameter();
        }
        let text = text.push(&format!(
            ") AS b (id, seen, idle, stale) ON s.{id} = b.id WHERE s.{last} < b.stale ORDER BY s.{id} FOR UPDATE OF s) \
            UPDATE {} AS s SET {last} = held.seen, {idle} = {}(s.{idle}, {}(s.{expires}, held.idle)) \
            FROM held WHERE s.{id} = held.id AND s.{last} < held.stale",
            self.table,
            DB::GREATEST,
            DB::LEAST
        ));
        text.condition(&self.lives::<DB>(false, "")).done()
    }
}
