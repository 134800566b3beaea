//! The chain's own table: its head, the checkpoint of the last clean-up, and the marks of erasures.

use session_manager_core::{Error, ErrorKind};

use crate::chain::{Chain, Group, Head};
use crate::dialect::Dialect;
use crate::error::Failure;
use crate::field::Field;
use crate::plan::{Marks, Plan};
use crate::statement::{Channel, Statement};
use crate::value::{Row, Value};

/// The mark of the chain's head.
pub(crate) const HEAD: &str = "head";
/// The mark of the last row that a clean-up has removed.
pub(crate) const PURGED: &str = "purged";

/// The mark of an erasure in a row.
pub(crate) fn erased(seq: u64, group: Group) -> String {
    format!("erased/{seq:020}/{}", group.letter())
}

/// The chain and its table; every step on a chained plan begins by asking.
pub(crate) fn parts(plan: &Plan) -> Result<(&Chain, &Marks), Failure> {
    plan.chain.as_ref().zip(plan.marks.as_ref()).ok_or_else(no_chain)
}

fn no_chain() -> Failure {
    let error = Error::new(ErrorKind::Misconfigured, "audit chain").because("the audit table has no chain");
    Failure::Core(error)
}

/// A mark as it stands, and whether it is signed.
pub(crate) struct Mark {
    pub(crate) name: String,
    pub(crate) head: Head,
    pub(crate) proven: bool,
}

/// Takes the lock that a mark is, and reads it. Where there is none yet, one that says "nothing so far" is made.
pub(crate) async fn lock<DB: Dialect>(plan: &Plan, channel: &mut Channel<'_, DB>, name: &str) -> Result<Head, Failure> {
    let (_, marks) = parts(plan)?;
    if !claim(marks, channel, name).await? {
        insert::<DB>(plan, channel, &[(name.to_owned(), Head::genesis())], &DB::on_conflict_keep(&marks.mark)).await?;
        claim(marks, channel, name).await?;
    }
    let mark = read(plan, channel, name, DB::ROW_LOCK).await?;
    let mark = mark.ok_or_else(|| Failure::Chain(format!("the mark {name} cannot be written")))?;
    if !mark.proven {
        return Err(Failure::Chain(format!("the mark {name} is not signed with its key")));
    }
    if name == HEAD && mark.head.seq == 0 && has_rows(plan, channel).await? {
        return Err(Failure::Chain("the mark of its head was missing".to_owned()));
    }
    Ok(mark.head)
}

/// A write that changes nothing: it locks the row, whatever the database and the isolation level.
async fn claim<DB: Dialect>(marks: &Marks, channel: &mut Channel<'_, DB>, name: &str) -> Result<bool, Failure> {
    let Marks { table, mark, seq, .. } = marks;
    let claimed = Statement::<DB>::new(format!("UPDATE {table} SET {seq} = {seq} WHERE {mark} = ")).bind(name.into());
    Ok(claimed.execute(channel).await? > 0)
}

async fn has_rows<DB: Dialect>(plan: &Plan, channel: &mut Channel<'_, DB>) -> Result<bool, Failure> {
    let id = plan.column(Field::Id);
    let any = Statement::<DB>::new(format!("SELECT {id} FROM {} LIMIT 1", plan.table));
    Ok(!any.fetch(channel).await?.is_empty())
}

/// Reads a mark.
pub(crate) async fn read<DB: Dialect>(
    plan: &Plan,
    channel: &mut Channel<'_, DB>,
    name: &str,
    lock: &str,
) -> Result<Option<Mark>, Failure> {
    let select = select::<DB>(plan)?.push(" = ").bind(name.into()).push(lock);
    let rows = select.fetch(channel).await?;
    rows.into_iter().next().map(|row| mark(plan, row)).transpose()
}

/// Reads the marks of erasures in these rows, both ends included.
pub(crate) async fn erasures<DB: Dialect>(
    plan: &Plan,
    channel: &mut Channel<'_, DB>,
    from: u64,
    to: u64,
) -> Result<Vec<Mark>, Failure> {
    let mark_column = &parts(plan)?.1.mark;
    let (first, past) = (format!("erased/{from:020}"), format!("erased/{:020}", to.saturating_add(1)));
    let select = select::<DB>(plan)?.push(" >= ").bind(Value::Text(first));
    let select = select.push(&format!(" AND {mark_column} < ")).bind(Value::Text(past));
    select.fetch(channel).await?.into_iter().map(|row| mark(plan, row)).collect()
}

fn select<DB: Dialect>(plan: &Plan) -> Result<Statement<DB>, Failure> {
    let Marks { table, mark, seq, mac, proof } = parts(plan)?.1;
    Ok(Statement::new(format!("SELECT {mark}, {seq}, {mac}, {proof} FROM {table} WHERE {mark}")))
}

fn mark(plan: &Plan, mut row: Row) -> Result<Mark, Failure> {
    let (chain, _) = parts(plan)?;
    let mut next = |column: &str| row.next().ok_or_else(|| Failure::decode(column, "anything"));
    let name = next("mark")?.text("mark")?;
    // A negative number is nobody's of ours, and proves nothing.
    let seq = u64::try_from(next("seq")?.int("seq")?).unwrap_or(u64::MAX);
    let mac = next("mac")?.bytes("mac")?.try_into();
    let proof = next("proof")?.bytes("proof")?;
    let head = Head { seq, mac: mac.unwrap_or_default() };
    let proven = chain.proven(&name, &head, &proof);
    Ok(Mark { name, head, proven })
}

/// Writes marks that are signed here.
pub(crate) async fn insert<DB: Dialect>(
    plan: &Plan,
    channel: &mut Channel<'_, DB>,
    marks: &[(String, Head)],
    on_conflict: &str,
) -> Result<(), Failure> {
    let (chain, own) = parts(plan)?;
    for several in marks.chunks(64) {
        let rows = several.iter().map(|(name, head)| {
            let proof = chain.prove(name, head).to_vec();
            vec![Value::Text(name.clone()), number(head.seq), Value::Bytes(head.mac.to_vec()), Value::Bytes(proof)]
        });
        let Marks { table, mark, seq, mac, proof } = own;
        let insert = format!("INSERT INTO {table} ({mark}, {seq}, {mac}, {proof}) VALUES ");
        Statement::<DB>::new(insert).rows(rows).push(on_conflict).execute(channel).await?;
    }
    Ok(())
}

/// Moves a mark that this step has locked.
pub(crate) async fn set<DB: Dialect>(
    plan: &Plan,
    channel: &mut Channel<'_, DB>,
    name: &str,
    head: Head,
) -> Result<(), Failure> {
    let (chain, Marks { table, mark, seq, mac, proof }) = parts(plan)?;
    let set = Statement::<DB>::new(format!("UPDATE {table} SET {seq} = ")).bind(number(head.seq));
    let set = set.push(&format!(", {mac} = ")).bind(Value::Bytes(head.mac.to_vec()));
    let set = set.push(&format!(", {proof} = ")).bind(Value::Bytes(chain.prove(name, &head).to_vec()));
    set.push(&format!(" WHERE {mark} = ")).bind(name.into()).execute(channel).await?;
    Ok(())
}

/// Forgets the marks of erasures up to this row: it is removed.
pub(crate) async fn forget<DB: Dialect>(plan: &Plan, channel: &mut Channel<'_, DB>, to: u64) -> Result<(), Failure> {
    let Marks { table, mark, .. } = parts(plan)?.1;
    let past = format!("erased/{:020}", to.saturating_add(1));
    let delete = Statement::<DB>::new(format!("DELETE FROM {table} WHERE {mark} >= ")).bind("erased/".into());
    delete.push(&format!(" AND {mark} < ")).bind(Value::Text(past)).execute(channel).await?;
    Ok(())
}

/// A row's number as SQL holds it.
pub(crate) fn number(seq: u64) -> Value {
    Value::Int(i64::try_from(seq).unwrap_or(i64::MAX))
}
