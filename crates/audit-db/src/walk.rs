//! Reading a chain's rows in order, and finding the first that is not as it was written.

use std::fmt;

use async_trait::async_trait;
use uuid::Uuid;

use crate::chain::{Group, Head, Link, WIDTH, commitment};
use crate::dialect::Dialect;
use crate::error::Failure;
use crate::field::Field;
use crate::marks::{self, Mark};
use crate::plan::Plan;
use crate::record::Record;
use crate::statement::{Channel, Statement};
use crate::step::{Access, Step};
use crate::value::Row;

/// Some rows in order, with the marks of erasures that belong to them.
pub(crate) struct Stretch {
    pub(crate) rows: Vec<(Record, Link)>,
    erasures: Vec<Mark>,
}

/// Reads the rows after `after`.
pub(crate) struct Read {
    pub(crate) after: u64,
    pub(crate) limit: u32,
}

#[async_trait]
impl<DB: Dialect> Step<DB> for Read {
    type Output = Stretch;

    fn access(&self, _: &Plan) -> Access {
        Access::Statement
    }

    async fn run(&self, plan: &Plan, channel: &mut Channel<'_, DB>) -> Result<Stretch, Failure> {
        let (columns, table, seq) = (plan.all_columns(), &plan.table, plan.column(Field::Seq));
        let select = Statement::<DB>::new(format!("SELECT {columns} FROM {table} WHERE {seq} > "));
        let select = select.bind(marks::number(self.after)).push(&format!(" ORDER BY {seq} LIMIT {}", self.limit));
        let rows = select.fetch(channel).await?.into_iter().map(|row| read(plan, row));
        let rows = rows.collect::<Result<Vec<_>, _>>()?;
        // After the rows: an erasure commits row and mark together, so a row that is erased has its mark by now.
        let erasures = match (rows.first(), rows.last()) {
            (Some((_, first)), Some((_, last))) => marks::erasures(plan, channel, first.seq, last.seq).await?,
            _ => Vec::new(),
        };
        Ok(Stretch { rows, erasures })
    }
}

fn read(plan: &Plan, mut row: Row) -> Result<(Record, Link), Failure> {
    let record = Record::read(&mut row, plan)?;
    let mut next = |field: Field| row.next().ok_or_else(|| Failure::decode(plan.column(field), "anything"));
    let seq = next(Field::Seq)?.int(plan.column(Field::Seq))?;
    let mut bytes = |field: Field| -> Result<Option<Vec<u8>>, Failure> {
        next(field)?.present().map(|value| value.bytes(plan.column(field))).transpose()
    };
    let link = Link {
        seq: u64::try_from(seq).unwrap_or_default(),
        mac: bytes(Field::Mac)?.unwrap_or_default(),
        commitments: bytes(Field::Commitments)?.unwrap_or_default(),
        salts: [bytes(Field::SubjectSalt)?, bytes(Field::ClientSalt)?, bytes(Field::TextSalt)?],
    };
    Ok((record, link))
}

/// What is wrong with a chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Defect {
    /// The row is gone, and perhaps some after it.
    Missing,
    /// The row was changed, moved, or not written with the key.
    Changed,
    /// A personal column is not what was committed to.
    PersonalChanged,
    /// Personal columns were emptied, but not by an erasure.
    Blanked,
    /// The row stands, but is not the one that the head names: the rows after some earlier one were replaced.
    OtherHead,
    /// The mark of the chain's head is missing or not signed.
    HeadMark,
    /// The checkpoint of the last clean-up is not signed.
    Checkpoint,
}

/// The first thing that is wrong with a chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Broken {
    /// The row's number.
    pub seq: u64,
    /// The event's id, where the row is there.
    pub event: Option<Uuid>,
    /// What is wrong.
    pub defect: Defect,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "row {} ", self.seq)?;
        if let Some(event) = self.event {
            write!(f, "(event {event}) ")?;
        }
        f.write_str(match self.defect {
            Defect::Missing => "is missing",
            Defect::Changed => "was changed, moved, or not written with the key",
            Defect::PersonalChanged => "has other personal data than it was written with",
            Defect::Blanked => "has lost personal data, and not by an erasure",
            Defect::OtherHead => "is not the one that the head names",
            Defect::HeadMark => "is the head's by a mark that is missing or not signed",
            Defect::Checkpoint => "is the last clean-up's by a checkpoint that is not signed",
        })
    }
}

impl Stretch {
    /// Checks one row that is to follow `before`, and returns the head that it makes.
    ///
    /// # Errors
    /// What is wrong with it, by no fault of the database.
    pub(crate) fn check(
        &self,
        plan: &Plan,
        before: &Head,
        row: &(Record, Link),
    ) -> Result<Result<Head, Broken>, Failure> {
        let (record, link) = row;
        let (chain, _) = marks::parts(plan)?;
        let broken = |defect| Ok(Err(Broken { seq: link.seq, event: Some(record.id), defect }));
        let expected = before.seq.saturating_add(1);
        if link.seq > expected {
            return Ok(Err(Broken { seq: expected, event: None, defect: Defect::Missing }));
        }
        let Ok(mac) = <[u8; WIDTH]>::try_from(link.mac.as_slice()) else { return broken(Defect::Changed) };
        if link.seq != expected || !chain.follows(before, record, link) {
            return broken(Defect::Changed);
        }
        let head = Head { seq: link.seq, mac };
        let commitments = link.commitments.chunks_exact(WIDTH);
        for ((group, salt), committed) in Group::ALL.into_iter().zip(&link.salts).zip(commitments) {
            let defect = match salt {
                Some(salt) if commitment(group, salt, record) == *committed => continue,
                Some(_) => Defect::PersonalChanged,
                None if group.fields().iter().any(|field| record.texts.contains_key(field)) => Defect::PersonalChanged,
                None if self.is_erased(&head, group) => continue,
                None => Defect::Blanked,
            };
            return broken(defect);
        }
        Ok(Ok(head))
    }

    fn is_erased(&self, head: &Head, group: Group) -> bool {
        let name = marks::erased(head.seq, group);
        self.erasures.iter().any(|mark| mark.proven && mark.name == name && mark.head == *head)
    }
}
