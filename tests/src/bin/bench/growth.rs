//! The same operation among a thousand sessions and among many, in turn.

use std::{future::Future, sync::Arc, time::Instant};

use crate::{
    measure::{self, Outcome, Plan},
    ours::{Operation, Ours, Store},
    population::Population,
    stores,
};

/// The smaller number of sessions.
const FEW: usize = 1000;
/// Revoked in one slice: few enough that the thousand stay about a thousand, many enough to be measured.
const REVOKED: usize = 250;

pub(crate) async fn memory(plan: Plan, many: usize) -> Outcome {
    let fill = async |count| {
        let storage = stores::memory::storage()?;
        let people = Population::insert(&storage, count, 1).await?;
        Store::new(storage, people, ())
    };
    let few = fill(FEW).await?;
    let many_store = seeded(many, fill(many)).await?;
    compare("Memory", plan.batched(), few, many_store, many).await
}

/// Two databases on one server.
pub(crate) async fn postgres(plan: Plan, many: usize) -> Outcome {
    let server = Arc::new(stores::postgres::server()?);
    let fill = async |count| {
        let (pool, storage) = stores::postgres::database(&server).await?;
        let people = stores::postgres::multiply(&pool, &storage, count).await?;
        Store::new(storage, people, Arc::clone(&server))
    };
    let few = fill(FEW).await?;
    let many_store = seeded(many, fill(many)).await?;
    compare("PostgreSQL", plan.in_flight(stores::postgres::IN_FLIGHT), few, many_store, many).await
}

/// Two servers: on one, the many would be among the few's keys.
pub(crate) async fn redis(plan: Plan, many: usize) -> Outcome {
    let fill = async |count| {
        let server = session_manager_services::Redis::start()?;
        let storage = stores::redis::storage(&stores::redis::connect(&server).await?)?;
        let people = Population::insert(&storage, count, 256).await?;
        Store::new(storage, people, server)
    };
    let few = fill(FEW).await?;
    let many_store = seeded(many, fill(many)).await?;
    compare("Redis", plan.in_flight(stores::redis::IN_FLIGHT), few, many_store, many).await
}

/// Says how long the seeding took: it is most of the run.
async fn seeded(many: usize, seeding: impl Future<Output = Outcome<Store>>) -> Outcome<Store> {
    let begun = Instant::now();
    let store = seeding.await?;
    eprintln!("{many} sessions after {:.0} s", begun.elapsed().as_secs_f64());
    Ok(store)
}

async fn compare(name: &str, plan: Plan, mut few: Store, mut many: Store, count: usize) -> Outcome {
    (few.revoke_among, many.revoke_among) = (Some(REVOKED), Some(REVOKED));
    let (few, many) = (Arc::new(few), Arc::new(many));
    let title = format!("Growth: {name}, {FEW} sessions and {count}");
    measure::head(&title, ["operation", &format!("{FEW}: ops/s"), &format!("{count}: ops/s")], "times as long");
    for operation in Operation::GROWING {
        // A slice of revocations ends with what there is to revoke.
        let plan = if operation == Operation::Revoke { plan.rounds(4) } else { plan };
        let [few, many] = [&few, &many].map(|store| Ours::new(Arc::clone(store), operation, plan.in_flight));
        measure::pair(&[operation.name()], plan, few, many).await?;
    }
    Ok(())
}
