//! What an operation costs beside the bare command or statement that it is made of, and how that grows with the sessions.
//!
//! `cargo xtask bench` builds and runs it; `docs/operations/benchmarks.md` says how to read what it prints. It starts the servers that it
//! needs and stops them with itself.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program talks to its terminal")]
#![allow(clippy::as_conversions, clippy::cast_precision_loss, reason = "figures for people, not for decisions")]

mod arguments;
mod bare;
mod bytes;
mod growth;
mod measure;
mod ours;
mod population;
mod stores;

use std::{error::Error, process::ExitCode};

use arguments::{Arguments, Group};
use measure::{Outcome, Plan};

fn main() -> ExitCode {
    match Arguments::parse(std::env::args().skip(1)).map_err(Into::into).and_then(|arguments| run(&arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {}", told(&*error));
            ExitCode::FAILURE
        }
    }
}

/// An error with its causes.
fn told(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |cause| Error::source(*cause));
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[tokio::main]
async fn run(arguments: &Arguments) -> Outcome {
    for group in &arguments.groups {
        let plan = if arguments.quick { Plan::quick() } else { Plan::full() };
        match group {
            Group::Memory => stores::memory::compare(plan).await?,
            Group::Sqlite => stores::sqlite::compare(plan).await?,
            Group::Postgres => stores::postgres::compare(plan).await?,
            Group::Redis => stores::redis::compare(plan).await?,
            Group::Bytes => bytes::weigh(if arguments.quick { 200 } else { 20_000 }).await?,
            Group::GrowthMemory => growth::memory(plan, arguments.sessions).await?,
            Group::GrowthPostgres => growth::postgres(plan, arguments.sessions).await?,
            Group::GrowthRedis => growth::redis(plan, arguments.sessions).await?,
        }
    }
    Ok(())
}
