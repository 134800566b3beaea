//! The erasure of one person's data.

use async_trait::async_trait;
use session_manager_core::{Actor, UserId};

use crate::chain::{Group, Head};
use crate::dialect::Dialect;
use crate::error::Failure;
use crate::field::Field;
use crate::marks;
use crate::plan::Plan;
use crate::statement::{Channel, Statement};
use crate::step::Step;
use crate::value::{Row, Value};

/// So many rows are erased in one step.
pub(crate) const BATCH: u32 = 256;

/// Erases a person from some of the rows that name them.
pub(crate) struct Erase<'a>(pub(crate) &'a UserId);

/// A row that names the person.
struct Found {
    id: Value,
    groups: Vec<Group>,
    head: Option<Head>,
}

#[async_trait]
impl<DB: Dialect> Step<DB> for Erase<'_> {
    type Output = u64;

    async fn run(&self, plan: &Plan, channel: &mut Channel<'_, DB>) -> Result<u64, Failure> {
        let found = self.find(plan, channel).await?;
        let mut erasures = Vec::new();
        for Found { id, groups, head } in &found {
            let table = &plan.table;
            let fields = groups.iter().flat_map(|group| {
                let salt = plan.chain.is_some().then_some(group.salt());
                group.fields().iter().copied().filter(|field| plan.mapping.has(*field)).chain(salt)
            });
            let columns: Vec<_> = fields.map(|field| format!("{} = NULL", plan.column(field))).collect();
            let update = Statement::<DB>::new(format!("UPDATE {table} SET {}", columns.join(", ")));
            let update = update.push(&format!(" WHERE {} = ", plan.column(Field::Id))).bind(id.clone());
            update.execute(channel).await?;
            if let Some(head) = head {
                erasures.extend(groups.iter().map(|group| (marks::erased(head.seq, *group), *head)));
            }
        }
        if !erasures.is_empty() {
            let (_, own) = marks::parts(plan)?;
            marks::insert::<DB>(plan, channel, &erasures, &DB::on_conflict_keep(&own.mark)).await?;
        }
        Ok(u64::try_from(found.len()).unwrap_or(u64::MAX))
    }
}

impl Erase<'_> {
    /// Finds them, held still. Each is found once: afterwards neither of its columns names the person.
    async fn find<DB: Dialect>(&self, plan: &Plan, channel: &mut Channel<'_, DB>) -> Result<Vec<Found>, Failure> {
        let [id, user, actor] = [Field::Id, Field::UserId, Field::Actor].map(|field| plan.column(field));
        let (mut columns, mut order) = (format!("{id}, {user}, {actor}"), id);
        if plan.chain.is_some() {
            order = plan.column(Field::Seq);
            columns = format!("{columns}, {order}, {}", plan.column(Field::Mac));
        }
        let select = Statement::<DB>::new(format!("SELECT {columns} FROM {} WHERE {user} = ", plan.table));
        let select = select.bind(plan.mapping.users.encode(self.0)?).push(&format!(" OR {actor} = "));
        let select = select.bind(Value::Text(self.actor())).push(&format!(" ORDER BY {order} LIMIT {BATCH}"));
        let rows = select.push(DB::ROW_LOCK).fetch(channel).await?;
        rows.into_iter().map(|row| self.judge(plan, row)).collect()
    }

    fn actor(&self) -> String {
        Actor::User(self.0.clone()).to_string()
    }

    fn judge(&self, plan: &Plan, mut row: Row) -> Result<Found, Failure> {
        let mut next = |field| row.next().ok_or_else(|| Failure::decode(plan.column(field), "anything"));
        let id = plan.mapping.ids.decode(next(Field::Id)?, plan.column(Field::Id))?;
        let user = next(Field::UserId)?.present();
        let user = user.map(|value| plan.mapping.users.decode(value, plan.column(Field::UserId))).transpose()?;
        let actor = next(Field::Actor)?.present().map(|value| value.text(plan.column(Field::Actor))).transpose()?;
        let head = if plan.chain.is_some() {
            let seq = next(Field::Seq)?.int(plan.column(Field::Seq))?;
            let mac = next(Field::Mac)?.bytes(plan.column(Field::Mac))?;
            Some(Head { seq: u64::try_from(seq).unwrap_or_default(), mac: mac.try_into().unwrap_or_default() })
        } else {
            None
        };
        let groups = groups(user.as_ref() == Some(self.0), actor.as_deref(), &self.actor());
        Ok(Found { id: plan.mapping.ids.encode(id), groups, head })
    }
}

/// What of a row is the person's. The client is whose act it was: the library acts in the course of the person's own request. Texts may tell
/// of either.
fn groups(is_subject: bool, actor: Option<&str>, person: &str) -> Vec<Group> {
    let acted = actor == Some(person);
    let system = actor.is_none_or(|actor| actor == "system");
    let mut groups = Vec::new();
    if is_subject {
        groups.push(Group::Subject);
    }
    if acted || (is_subject && system) {
        groups.push(Group::Client);
    }
    groups.push(Group::Text);
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_of_others_stays() {
        let person = "user:alice";
        let cases: [(bool, Option<&str>, &[Group]); 5] = [
            (true, Some(person), &[Group::Subject, Group::Client, Group::Text]),
            (true, Some("system"), &[Group::Subject, Group::Client, Group::Text]),
            (true, Some("user:admin"), &[Group::Subject, Group::Text]),
            (true, Some("service:desk"), &[Group::Subject, Group::Text]),
            (false, Some(person), &[Group::Client, Group::Text]),
        ];
        for (is_subject, actor, expected) in cases {
            assert_eq!(groups(is_subject, actor, person), expected, "{is_subject} {actor:?}");
        }
    }
}
