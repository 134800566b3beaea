//! What operators do on the command line, on the same accounts and sessions as the running service, and with its rules.

mod audit;
mod completions;
pub(crate) mod doctor;
mod keys;
mod migrate;
mod sessions;
mod table;
mod tokens;
mod users;

use std::fmt::Display;
use std::io::Write as _;
use std::sync::Arc;

use session_manager_core::{Actor, ErrorKind, RequestContext, SystemClock, UserId};
use uuid::Uuid;

use crate::accounts::{EmailAddress, User};
use crate::app::App;
use crate::cli::Command;
use crate::config::{SessionStorageKind, Settings};
use crate::data::Data;
use crate::exit::{StartError, reason};

/// Who the audit trail says it was.
const OPERATOR: &str = "operator";

/// Runs a command to its end.
///
/// # Errors
/// Everything that keeps it from being done; nothing is half said.
pub(crate) async fn run(command: Command, settings: Settings) -> Result<(), StartError> {
    match command {
        Command::Users(command) => finish(&open(settings).await?, |app| users::run(app, command)).await,
        Command::Sessions(command) => finish(&open(settings).await?, |app| sessions::run(app, command)).await,
        Command::Tokens(command) => finish(&open(settings).await?, |app| tokens::run(app, command)).await,
        Command::Audit(command) => finish(&open(settings).await?, |app| audit::run(app, command)).await,
        Command::Keys(command) => keys::run(&settings, command).await,
        Command::Migrate(command) => migrate::run(&settings, command).await,
        Command::Doctor(output) => doctor::run(&settings, output).await,
        Command::Completions { shell } => completions::print(shell),
        // These were done before there was a runtime.
        Command::Serve | Command::Config(_) => Ok(()),
    }
}

/// The service without its listener.
async fn open(settings: Settings) -> Result<App, StartError> {
    if settings.sessions.storage == SessionStorageKind::Memory {
        return Err(StartError::config(
            "the sessions are out of reach",
            "`sessions.storage` = memory keeps them in the running service alone",
            "Use the administration page or the API.",
        ));
    }
    let (address, data) = (settings.listen, Data::open(&settings).await?);
    App::new(settings, data, address, Arc::new(SystemClock)).await
}

/// Does it, and waits until the audit trail has it.
async fn finish<'a, F, R>(app: &'a App, work: F) -> Result<(), StartError>
where
    F: FnOnce(&'a App) -> R,
    R: Future<Output = Result<(), StartError>>,
{
    let done = work(app).await;
    let flushed =
        app.sessions().manager().flush().await.map_err(|error| failed("the audit trail is not complete", error));
    app.data().pool.close().await;
    done.and(flushed)
}

fn context() -> RequestContext {
    RequestContext::default().background().by(Actor::Service(OPERATOR.to_owned()))
}

/// The account of an address or an id.
async fn account(app: &App, text: &str) -> Result<User, StartError> {
    let found = match (Uuid::parse_str(text), EmailAddress::parse(text)) {
        (Ok(id), _) => app.accounts().find(id).await,
        (Err(_), Ok(email)) => app.accounts().find_by_email(&email).await,
        (Err(_), Err(why)) => return Err(misspelt("the account", why)),
    };
    let found = found.map_err(|fault| failed("the accounts cannot be read", fault))?;
    found.ok_or_else(|| {
        StartError::environment(
            "there is no such account",
            "nobody has this address or id",
            "Look at how it is written.",
        )
    })
}

/// As sessions name the user.
fn user_id(user: &User) -> Result<UserId, StartError> {
    UserId::parse(&user.id.to_string()).map_err(|error| failed("the account cannot be used", error))
}

fn failed(what: &str, why: impl Display) -> StartError {
    StartError::environment(what, why.to_string(), "Run `session-manager-server doctor` to see what is wrong.")
}

fn refused(what: &str, error: &session_manager_core::Error) -> StartError {
    match error.kind() {
        ErrorKind::NotFound => {
            StartError::environment(what, "there is no such session", "Look at how its id is written.")
        }
        ErrorKind::AlreadyEnded => StartError::environment(what, "it had ended before", "There is nothing to do."),
        _ => failed(what, error),
    }
}

fn misspelt(what: &str, why: impl Display) -> StartError {
    StartError::config(format!("{what} is not written as it should be"), why.to_string(), "See --help.")
}

/// Writes to standard output; a reader that has gone is an error, so that nothing is thought to be written that was not.
fn say(text: &str) -> Result<(), StartError> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| {
        StartError::environment("cannot write to standard output", reason(&error), "Check where it goes.")
    })
}
