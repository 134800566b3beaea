//! The same operation among a thousand sessions and among many, in turn.

use std::{future::Future, sync::Arc, time::Instant};

use crate::{
    bare::Plain,
    measure::{self, Outcome, Plan},
    ours::{Operation, Ours, Store},
    population::Population,
    stores::{self, redis::Keys},
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

/// Servers of their own: on one, the many would be among the few's keys. The bare commands show what the machine's memory itself costs.
pub(crate) async fn redis(plan: Plan, many: usize) -> Outcome {
    let fill = async |count| {
        let server = session_manager_services::Redis::start()?;
        let connection = stores::redis::connect(&server).await?;
        let storage = stores::redis::storage(&connection)?;
        let people = Population::insert(&storage, count, 256).await?;
        Ok((connection, Store::new(storage, people, server)?))
    };
    let (like, few) = fill(FEW).await?;
    let (_, many_store) = seeded(many, fill(many)).await?;
    let [few, many_store] = [few, many_store].map(shared);
    let flood = plan.in_flight(stores::redis::IN_FLIGHT);
    table("Redis, one at a time", plan, [&few, &many_store], many).await?;
    table("Redis, 64 in flight", flood, [&few, &many_store], many).await?;
    // The few lend their values.
    drop(many_store);
    let servers = [session_manager_services::Redis::start()?, session_manager_services::Redis::start()?];
    let mut bare = Vec::new();
    for (server, rows) in servers.iter().zip([FEW, many]) {
        bare.push(Arc::new(Keys::filled(stores::redis::connect(server).await?, &like, rows).await?));
    }
    let [few, many_keys] = &*bare else { return Err("two servers".into()) };
    head("bare Redis, 64 in flight", many);
    for operation in Operation::GROWING {
        let name = Plain::<Keys>::name(operation);
        let side = |keys: &Arc<Keys>| Plain::new(Arc::clone(keys), operation, Arc::default());
        measure::pair(&[name], flood, side(few), side(many_keys)).await?;
    }
    Ok(())
}

/// Says how long the seeding took: it is most of the run.
async fn seeded<T>(many: usize, seeding: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    let begun = Instant::now();
    let store = seeding.await?;
    eprintln!("{many} sessions after {:.0} s", begun.elapsed().as_secs_f64());
    Ok(store)
}

async fn compare(name: &str, plan: Plan, few: Store, many: Store, count: usize) -> Outcome {
    table(name, plan, [&shared(few), &shared(many)], count).await
}

fn shared(mut store: Store) -> Arc<Store> {
    store.revoke_among = Some(REVOKED);
    Arc::new(store)
}

fn head(name: &str, count: usize) {
    let title = format!("Growth: {name}, {FEW} sessions and {count}");
    measure::head(&title, ["operation", &format!("{FEW}: ops/s"), &format!("{count}: ops/s")], "times as long");
}

async fn table(name: &str, plan: Plan, stores: [&Arc<Store>; 2], count: usize) -> Outcome {
    head(name, count);
    for operation in Operation::GROWING {
        // A slice of revocations ends with what there is to revoke.
        let plan = if operation == Operation::Revoke { plan.rounds(4) } else { plan };
        let [few, many] = stores.map(|store| Ours::new(Arc::clone(store), operation, plan.in_flight));
        measure::pair(&[operation.name()], plan, few, many).await?;
    }
    Ok(())
}
