//! The statements that do a whole step at once, where the database returns the rows that a statement has changed.
//!
//! Parameters are numbered, since a statement may name one twice. Each row that was changed begins with `TRUE`.
//!
//! A statement that also reads what it does not change would save a round trip where nothing is changed, and cost half as much again where
//! something is: PostgreSQL prepares the reading each time.

use std::sync::Arc;

use crate::dialect::Dialect;
use crate::draft::Draft;
use crate::field::Field;
use crate::record::Column;
use crate::statement::Text;

/// The statements of [`Quick`](crate::ops::Quick).
#[derive(Clone, Debug)]
pub(crate) struct QuickPlan {
    /// Next generation, its time, id, presented generation, then the values of the live condition.
    pub(crate) advance: Arc<str>,
    /// Time, reason, by whom, id, then the values of the live condition.
    pub(crate) revoke: Arc<str>,
    /// Time, reason, by whom, id, the owner, then the values of the live condition.
    pub(crate) revoke_owned: Arc<str>,
    /// Time, reason, by whom, user, then the values of the live condition: ends all of a user's, whose epoch this step has raised.
    pub(crate) revoke_all: Arc<str>,
    /// Time, reason, by whom, user, the one that stays, then the values of the live condition.
    pub(crate) revoke_others: Arc<str>,
    /// Time, the new stamp (four numbers), id, user, then the values of the live condition: keeps a session over the raise of this step.
    pub(crate) keep: Arc<str>,
    /// Id: removes a session, whatever its state.
    pub(crate) remove: Arc<str>,
    pub(crate) insert: InsertPlan,
    /// Time, how many are looked at, how many are removed: a clean-up, each row after the number of those that were looked at.
    pub(crate) clean: Option<Arc<str>>,
}

/// The statements that add a session under the limit; the index is whether the idlest, not the oldest, make room.
#[derive(Clone, Debug)]
pub(crate) struct InsertPlan {
    /// The session's columns, the limit, whether it rejects, then the values of the live condition, and with [`Dialect::WRITES_IN_CTE`] time,
    /// reason and by whom. Its row there is how many were added and how many lived, then one that was evicted.
    pub(crate) add: [Arc<str>; 2],
    /// Where that does not evict: time, reason, by whom, user, id of the new session, how many others stay, then the values of the live
    /// condition.
    pub(crate) evict: Option<[Arc<str>; 2]>,
}

impl QuickPlan {
    pub(crate) fn new<DB: Dialect>(draft: &Draft<'_>, written: &[Column]) -> Option<Self> {
        let alias = DB::returned(draft.table)?;
        let draft = QuickDraft { draft, alias: &alias };
        Some(Self {
            advance: draft.advance::<DB>(),
            revoke: draft.revoke::<DB>(false),
            revoke_owned: draft.revoke::<DB>(true),
            revoke_all: draft.revoke_many::<DB>(false),
            revoke_others: draft.revoke_many::<DB>(true),
            keep: draft.keep::<DB>(),
            remove: draft.remove::<DB>(),
            insert: draft.insert::<DB>(written),
            clean: DB::WRITES_IN_CTE.then(|| draft.clean::<DB>()),
        })
    }
}

struct QuickDraft<'a> {
    draft: &'a Draft<'a>,
    alias: &'a str,
}

impl QuickDraft<'_> {
    fn name(&self, field: Field) -> &str {
        self.draft.name(field)
    }

    /// ` RETURNING …`, each row after `TRUE`.
    fn returning<DB: Dialect>(&self) -> String {
        format!(" RETURNING TRUE, {}", self.draft.returned::<DB>(self.alias).join(", "))
    }

    /// The names of what [`QuickDraft::returning`] returns.
    fn numbered<DB: Dialect>(&self) -> String {
        let columns = 0..=self.draft.selected::<DB>().len();
        columns.map(|number| format!("c{number}")).collect::<Vec<_>>().join(", ")
    }

    fn update<DB: Dialect>(&self, set: &str, parameters: usize) -> Text<DB> {
        Text::<DB>::new(format!("UPDATE {} AS s SET {set}", self.draft.table)).numbered(parameters)
    }

    fn advance<DB: Dialect>(&self) -> Arc<str> {
        let fields = [Field::Generation, Field::RotatedAt, Field::PreviousRotatedAt, Field::Version, Field::Id];
        let [generation, rotated_at, previous, version, id] = fields.map(|field| self.name(field));
        let floor = self.name(Field::Floor);
        let [next, now, this, presented] = [1, 2, 3, 4].map(DB::placeholder);
        let text = self.update::<DB>(
            &format!(
                "{previous} = {rotated_at}, {version} = {version} + 1, {generation} = {next}, {rotated_at} = {now} \
                WHERE s.{id} = {this} AND s.{generation} = {presented} AND s.{floor} <= s.{generation}"
            ),
            4,
        );
        self.draft.and_lives(text, false).push(&self.returning::<DB>()).done()
    }

    /// What ending sets, from parameters 1 to 3.
    fn end<DB: Dialect>(&self) -> String {
        let [at, reason, by, version, _] = self.draft.ending();
        let values = [1, 2, 3].map(DB::placeholder);
        let set = [at, reason, by].into_iter().zip(values).map(|(name, value)| format!("{name} = {value}, "));
        format!("{}{version} = s.{version} + 1", set.collect::<String>())
    }

    fn revoke<DB: Dialect>(&self, owned: bool) -> Arc<str> {
        let [user, id] = [Field::UserId, Field::Id].map(|field| self.name(field));
        let [four, five] = [4, 5].map(DB::placeholder);
        let whose = if owned { format!(" AND s.{user}{} = {five}", self.exactly::<DB>()) } else { String::new() };
        let set = format!("{} WHERE s.{id} = {four}{whose}", self.end::<DB>());
        let text = self.update::<DB>(&set, if owned { 5 } else { 4 });
        self.draft.and_lives(text, false).push(&self.returning::<DB>()).done()
    }

    /// What makes a comparison of user ids tell all texts apart, whatever the column's collation.
    fn exactly<DB: Dialect>(&self) -> &'static str {
        if self.draft.mapping.kind(Field::UserId) == crate::value::Kind::Text { DB::EXACTLY } else { "" }
    }

    /// The rows are locked in the order of their ids, as everywhere.
    fn revoke_many<DB: Dialect>(&self, but_one: bool) -> Arc<str> {
        let [user, id, revoked] = [Field::UserId, Field::Id, Field::RevokedAt].map(|field| self.name(field));
        let [four, five] = [4, 5].map(DB::placeholder);
        let but = if but_one { format!(" AND s.{id} <> {five}") } else { String::new() };
        let which = format!("s.{user} = {four} AND s.{revoked} IS NULL{but}");
        let (table, set) = (self.draft.table, self.end::<DB>());
        let parameters = if but_one { 5 } else { 4 };
        let text = if DB::WRITES_IN_CTE {
            let held = format!(
                "WITH held AS (SELECT s.{id} AS id FROM {table} AS s WHERE {which} ORDER BY s.{id} FOR UPDATE) "
            );
            let set = format!("{set} FROM held WHERE s.{id} = held.id AND s.{revoked} IS NULL");
            self.update::<DB>(&set, parameters).between(&held, "")
        } else {
            self.update::<DB>(&format!("{set} WHERE {which}"), parameters)
        };
        self.draft.and_lives(text, !but_one && self.draft.epochs.is_some()).push(&self.returning::<DB>()).done()
    }

    fn keep<DB: Dialect>(&self) -> Arc<str> {
        let fields = [Field::Generation, Field::Floor, Field::RotatedAt, Field::PreviousRotatedAt, Field::Version];
        let [generation, floor, rotated_at, previous, version] = fields.map(|field| self.name(field));
        let stamp = [Field::UserIncarnation, Field::UserVersion, Field::GlobalIncarnation, Field::GlobalVersion];
        let stamp = stamp
            .into_iter()
            .zip(2..)
            .map(|(field, number)| format!("{} = {}", self.name(field), DB::placeholder(number)));
        let stamp = stamp.collect::<Vec<_>>().join(", ");
        let [user, id] = [Field::UserId, Field::Id].map(|field| self.name(field));
        let [now, this, owner] = [1, 6, 7].map(DB::placeholder);
        let text = self.update::<DB>(
            &format!(
                "{generation} = s.{generation} + 2, {floor} = s.{generation} + 2, {previous} = s.{rotated_at}, {rotated_at} = {now}, \
                {version} = s.{version} + 1, {stamp} WHERE s.{id} = {this} AND s.{user}{} = {owner}",
                self.exactly::<DB>()
            ),
            7,
        );
        self.draft.and_lives(text, true).push(&self.returning::<DB>()).done()
    }

    fn remove<DB: Dialect>(&self) -> Arc<str> {
        let (table, id) = (self.draft.table, self.name(Field::Id));
        let text = Text::<DB>::new(format!("DELETE FROM {table} AS s WHERE s.{id} = ")).parameter();
        text.push(&self.returning::<DB>()).done()
    }

    fn insert<DB: Dialect>(&self, written: &[Column]) -> InsertPlan {
        let number_of = |wanted: Field| {
            written
                .iter()
                .position(|column| matches!(column, Column::Own(field, _) if *field == wanted))
                .map_or(0, |place| place + 1)
        };
        let evict = !DB::WRITES_IN_CTE;
        InsertPlan {
            add: [false, true].map(|idlest| self.add::<DB>(written, number_of(Field::UserId), idlest)),
            evict: evict.then(|| [false, true].map(|idlest| self.evict::<DB>(idlest))),
        }
    }

    /// The order in which sessions stay.
    fn staying(&self, idlest: bool) -> String {
        let [last, created, id] = [Field::LastActivity, Field::CreatedAt, Field::Id].map(|field| self.name(field));
        let idlest = if idlest { format!("s.{last} DESC, ") } else { String::new() };
        format!("{idlest}s.{created} DESC, s.{id} DESC")
    }

    fn add<DB: Dialect>(&self, written: &[Column], user: usize, idlest: bool) -> Arc<str> {
        let names: Vec<_> = written.iter().map(|column| DB::quote(column.name())).collect();
        let values: Vec<_> = (1..=written.len()).map(DB::placeholder).collect();
        let (table, count) = (self.draft.table, written.len());
        let [max, rejects] = [count + 1, count + 2].map(DB::placeholder);
        let (from, owner, user) = (self.draft.from::<DB>(), self.name(Field::UserId), DB::placeholder(user));
        let of_user = format!("{from} WHERE s.{owner} = {user} AND ");
        let insert = format!("INSERT INTO {table} ({}) SELECT {}", names.join(", "), values.join(", "));
        let conflict = " ON CONFLICT DO NOTHING";
        if !DB::WRITES_IN_CTE {
            let text = Text::<DB>::new(format!("{insert} WHERE NOT ({rejects} AND (SELECT COUNT(*){of_user}"))
                .numbered(count + 2);
            return text.condition(&self.draft.is_live(false)).push(&format!(") >= {max}){conflict}")).done();
        }
        let id = self.name(Field::Id);
        let text = Text::<DB>::new(format!(
            "WITH live AS (SELECT s.{id} AS id, row_number() OVER (ORDER BY {}) AS place{of_user}",
            self.staying(idlest)
        ));
        let text = text.numbered(count + 2).condition(&self.draft.is_live(false)).push(&format!(
            "), added AS ({insert} WHERE NOT ({rejects} AND (SELECT COUNT(*) FROM live) >= {max}){conflict} RETURNING TRUE), \
            ending AS (SELECT s.{id} AS id FROM {table} AS s WHERE s.{id} IN (SELECT live.id FROM live WHERE live.place >= {max}) \
            AND EXISTS (SELECT 1 FROM added) ORDER BY s.{id} FOR UPDATE), evicted ({}) AS (UPDATE {table} AS s SET ",
            self.numbered::<DB>()
        ));
        let [at, reason, by, version, _] = self.draft.ending();
        let text = text.assignments([at, reason, by]).push(&format!(
            ", {version} = s.{version} + 1 FROM ending WHERE s.{id} = ending.id AND s.{at} IS NULL{}) \
            SELECT (SELECT COUNT(*) FROM added), (SELECT COUNT(*) FROM live), evicted.* FROM (SELECT 1) AS one LEFT JOIN evicted ON TRUE",
            self.returning::<DB>()
        ));
        text.done()
    }

    fn evict<DB: Dialect>(&self, idlest: bool) -> Arc<str> {
        let [user, id] = [Field::UserId, Field::Id].map(|field| self.name(field));
        let [owner, new, others] = [4, 5, 6].map(DB::placeholder);
        let set = format!(
            "{} WHERE s.{id} IN (SELECT s.{id}{} WHERE s.{user} = {owner} AND s.{id} <> {new} AND ",
            self.end::<DB>(),
            self.draft.from::<DB>()
        );
        let text = self.update::<DB>(&set, 6).condition(&self.draft.is_live(false));
        let order = self.staying(idlest);
        text.push(&format!(" ORDER BY {order} LIMIT -1 OFFSET {others}){}", self.returning::<DB>())).done()
    }

    fn clean<DB: Dialect>(&self) -> Arc<str> {
        let (table, id) = (self.draft.table, self.name(Field::Id));
        let fields = [Field::RevokedAt, Field::ExpiresAt, Field::IdleExpiresAt].map(|field| self.name(field));
        let [time, looked_at, limit] = [1, 2, 3].map(DB::placeholder);
        // Each part has an index of its own, and ends after the limit.
        let parts = fields.map(|column| {
            format!("(SELECT s.{id} AS id FROM {table} AS s WHERE s.{column} < {time} ORDER BY s.{column} LIMIT {looked_at})")
        });
        let over = fields.map(|column| format!("s.{column} < {time}")).join(" OR ");
        Text::<DB>::new(format!(
            "WITH old AS ({}), picked AS (SELECT s.{id} AS id FROM {table} AS s WHERE s.{id} IN (SELECT old.id FROM old) AND ({over}) \
            ORDER BY s.{id} LIMIT {limit}{}), gone ({}) AS (DELETE FROM {table} AS s USING picked WHERE s.{id} = picked.id{}) \
            SELECT (SELECT COUNT(*) FROM old), gone.* FROM (SELECT 1) AS one LEFT JOIN gone ON TRUE",
            parts.join(" UNION "),
            DB::ROW_LOCK_SKIPPING,
            self.numbered::<DB>(),
            self.returning::<DB>()
        ))
        .done()
    }
}
