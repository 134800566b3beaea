//! The four storages, each with its server and its bare counterpart.

pub(crate) mod memory;
pub(crate) mod postgres;
pub(crate) mod redis;
mod rows;
pub(crate) mod sqlite;

use std::sync::{Arc, atomic::AtomicU64};

use crate::{
    bare::{Bare, Plain, ROWS},
    measure::{self, Outcome, Plan},
    ours::{Operation, Ours, Store},
};

/// Bytes of a row or entry: what a session takes in Redis, a little less than its columns in a table.
const BODY: [u8; 300] = [0x5A; 300];

/// Every operation of a storage beside its bare counterpart.
async fn compare<B: Bare>(title: &str, plan: Plan, store: Store, bare: B) -> Outcome {
    let (store, bare) = (Arc::new(store), Arc::new(bare));
    let next = Arc::new(AtomicU64::new(ROWS as u64));
    measure::head(title, ["operation", "bare", "ours/s", "bare/s"], "ours : bare");
    for operation in Operation::ALL {
        let ours = Ours::new(Arc::clone(&store), operation, plan.in_flight);
        let beside = Plain::new(Arc::clone(&bare), operation, Arc::clone(&next));
        measure::pair(&[operation.name(), Plain::<B>::name(operation)], plan, ours, beside).await?;
    }
    Ok(())
}
