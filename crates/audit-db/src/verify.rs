//! The check of a whole chain.

use async_trait::async_trait;
use session_manager_core::Result;

use crate::audit::DbAudit;
use crate::chain::Head;
use crate::dialect::Dialect;
use crate::error::Failure;
use crate::link::Link;
use crate::marks::{self, HEAD, Mark, PURGED};
use crate::plan::Plan;
use crate::statement::Channel;
use crate::step::{Access, Step};
use crate::walk::{Broken, Defect, Read};

/// So many rows are read at a time.
const PAGE: u32 = 500;

/// What the check of a chain has found.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Verification {
    /// Every row is as it was written, or was erased or removed with the key.
    Holds(Verified),
    /// It is not: this comes first.
    Broken(Broken),
}

/// A chain that holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Verified {
    /// How many rows were checked.
    pub rows: u64,
    /// The chain's head now: to be kept outside the database for the next time.
    pub head: Head,
    /// The last row that a clean-up has removed; 0 where there was none. A head before it can no longer be compared: the clean-up has checked
    /// the rows that it removed, and its checkpoint is signed.
    pub purged: u64,
}

impl Verification {
    /// What is wrong, if anything.
    pub const fn broken(&self) -> Option<&Broken> {
        match self {
            Self::Holds(_) => None,
            Self::Broken(broken) => Some(broken),
        }
    }
}

impl<DB: Dialect, L: Link<DB>> DbAudit<DB, L> {
    /// The chain's head: to be kept outside the database, for [`DbAudit::verify`].
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`](session_manager_core::ErrorKind::Misconfigured) without a chain,
    /// [`ErrorKind::Internal`](session_manager_core::ErrorKind::Internal) when the mark of the head is not signed.
    pub async fn head(&self) -> Result<Head> {
        let run = async {
            let mark = self.attempt(&ReadMark(HEAD)).await?;
            match mark {
                None => Ok(Head::genesis()),
                Some(mark) if mark.proven => Ok(mark.head),
                Some(_) => Err(Failure::Chain("the mark of its head is not signed with its key".to_owned())),
            }
        };
        run.await.map_err(|failure| failure.during("audit head").into())
    }

    /// Checks every row, from the last clean-up's checkpoint to the end, and that `head`, which was kept outside the database, is in the chain.
    ///
    /// # Behaviour
    /// - Finds each row that was changed, removed, added or moved without the key, personal data that were replaced, or emptied but by
    ///   [`DbAudit::erase`], and names the first. Without `head` a tail that was cut off together with the mark of the head is not missed.
    /// - It reads in pages and locks nothing; rows that are added meanwhile are checked or not.
    ///
    /// # Errors
    /// When the database cannot be read. A broken chain is no error.
    pub async fn verify(&self, head: Option<&Head>) -> Result<Verification> {
        self.walk(head).await.map_err(|failure| failure.during("audit verify").into())
    }

    async fn walk(&self, head: Option<&Head>) -> Result<Verification, Failure> {
        // What the head's mark says now has to be reached.
        let mark = self.attempt(&ReadMark(HEAD)).await?;
        let ours = match &mark {
            Some(mark) if mark.proven => Some(mark.head),
            Some(mark) => return Ok(broken(mark.head.seq, Defect::HeadMark)),
            None => None,
        };
        let mut purged = match self.checkpoint().await? {
            Ok(purged) => purged,
            Err(found) => return Ok(found),
        };
        let named: Vec<&Head> = head.into_iter().chain(ours.as_ref()).collect();
        let contradicts = |at: &Head| named.iter().any(|named| named.seq == at.seq && named.mac != at.mac);
        if contradicts(&purged) {
            return Ok(broken(purged.seq, Defect::OtherHead));
        }
        let (mut at, mut rows) = (purged, 0_u64);
        loop {
            let stretch = self.attempt(&Read { after: at.seq, limit: PAGE }).await?;
            if stretch.rows.is_empty() {
                break;
            }
            for row in &stretch.rows {
                match stretch.check(self.plan(), &at, row)? {
                    Ok(next) => (at, rows) = (next, rows.saturating_add(1)),
                    // Perhaps a clean-up has removed them just now.
                    Err(found) if found.defect == Defect::Missing => match self.checkpoint().await? {
                        Ok(later) if later.seq > purged.seq => {
                            (purged, at) = (later, later);
                            break;
                        }
                        _ => return Ok(Verification::Broken(found)),
                    },
                    Err(found) => return Ok(Verification::Broken(found)),
                }
                if contradicts(&at) {
                    let event = Some(row.0.id);
                    return Ok(Verification::Broken(Broken { seq: at.seq, event, defect: Defect::OtherHead }));
                }
            }
        }
        if named.iter().any(|named| named.seq > at.seq) {
            return Ok(broken(at.seq.saturating_add(1), Defect::Missing));
        }
        if ours.is_none() && at.seq > 0 {
            return Ok(broken(at.seq, Defect::HeadMark));
        }
        Ok(Verification::Holds(Verified { rows, head: at, purged: purged.seq }))
    }

    /// Where the chain begins, or what is wrong with that.
    async fn checkpoint(&self) -> Result<Result<Head, Verification>, Failure> {
        Ok(match self.attempt(&ReadMark(PURGED)).await? {
            None => Ok(Head::genesis()),
            Some(mark) if mark.proven => Ok(mark.head),
            Some(mark) => Err(broken(mark.head.seq, Defect::Checkpoint)),
        })
    }
}

const fn broken(seq: u64, defect: Defect) -> Verification {
    Verification::Broken(Broken { seq, event: None, defect })
}

/// Reads one mark.
struct ReadMark(&'static str);

#[async_trait]
impl<DB: Dialect> Step<DB> for ReadMark {
    type Output = Option<Mark>;

    fn access(&self, _: &Plan) -> Access {
        Access::Statement
    }

    async fn run(&self, plan: &Plan, channel: &mut Channel<'_, DB>) -> Result<Option<Mark>, Failure> {
        marks::read(plan, channel, self.0, "").await
    }
}
