//! Reference service of session-manager: the complete account API on an embedded SQLite file, or in PostgreSQL, MySQL or MariaDB.

mod accounts;
mod api;
mod app;
mod background;
mod certificate;
mod cli;
mod config;
mod data;
mod exit;
mod files;
mod flows;
mod json;
mod keys;
mod limits;
mod mail;
mod oauth;
mod operate;
mod pages;
mod passwords;
mod problem;
mod providers;
mod random;
mod readiness;
mod routes;
mod serve;
mod sessions;
mod sql;
mod streams;

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use cli::{Cli, Command, ConfigCommand};
use exit::StartError;

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody reading standard error is no reason to change the exit status.
            let _ = writeln!(std::io::stderr(), "session-manager-server: {error}");
            error.exit_code()
        }
    }
}

fn run(cli: &Cli) -> Result<(), StartError> {
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let settings = config::load(&cli.options, environment)?;
    match &cli.command {
        None | Some(Command::Serve) => {
            start_log();
            let runtime = runtime()?;
            let result = runtime.block_on(serve::run(settings));
            // A connection that did not end in time is cut off; nothing else is running.
            runtime.shutdown_background();
            result
        }
        Some(Command::Config(ConfigCommand::Print)) => print(&config::print(&settings)),
        Some(Command::Config(ConfigCommand::Check)) => print("the configuration is valid\n"),
        Some(command) => {
            start_log();
            runtime()?.block_on(operate::run(command.clone(), settings))
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, StartError> {
    tokio::runtime::Runtime::new().map_err(|error| {
        StartError::environment("no threads can be started", error.to_string(), "Check the limits of the process.")
    })
}

fn print(text: &str) -> Result<(), StartError> {
    std::io::stdout().write_all(text.as_bytes()).map_err(|error| {
        StartError::environment("cannot write to standard output", exit::reason(&error), "Check where it goes.")
    })
}

/// The log goes to standard error; `RUST_LOG` chooses what is in it (`warn`, `session_manager=debug,sqlx=warn`).
fn start_log() {
    let chosen = std::env::var("RUST_LOG").ok().and_then(|text| text.parse::<Targets>().ok());
    let filter = chosen
        .unwrap_or_else(|| Targets::new().with_default(tracing::Level::INFO).with_target("sqlx", tracing::Level::WARN));
    let lines =
        tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    tracing_subscriber::registry().with(lines).with(filter).init();
}
