//! `users`: find accounts, close them, open them again.

use serde_json::json;
use uuid::Uuid;

use super::table::{Rows, time};
use super::{account, context, failed, say};
use crate::accounts::{Role, User, UserSearch};
use crate::app::App;
use crate::cli::{Output, UsersCommand};
use crate::exit::StartError;
use crate::flows;
use crate::problem::Rejection;

/// How many are read at once.
const PAGE: u32 = 200;

pub(super) async fn run(app: &App, command: UsersCommand) -> Result<(), StartError> {
    match command {
        UsersCommand::List { text, limit, output } => list(app, text.unwrap_or_default(), limit, output).await,
        UsersCommand::Disable { user } => {
            let user = account(app, &user).await?;
            let done = flows::disable_account(app, user.id, &context()).await;
            said(&done.map(|found| found.then_some("disabled, and all sessions ended")), &user)
        }
        UsersCommand::Enable { user } => {
            let user = account(app, &user).await?;
            let done = flows::enable_account(app, user.id).await;
            said(&done.map(|found| found.then_some("open")), &user)
        }
    }
}

/// Nothing: the account went meanwhile.
fn said(done: &Result<Option<&str>, Rejection>, user: &User) -> Result<(), StartError> {
    const WHAT: &str = "the account could not be changed";
    match done {
        Ok(Some(words)) => say(&format!("{}: {words}\n", user.email)),
        Ok(None) => Err(failed(WHAT, "it is gone")),
        // Why is in the log.
        Err(_) => Err(failed(WHAT, "the accounts or their sessions cannot be reached")),
    }
}

async fn list(app: &App, text: String, limit: u32, output: Output) -> Result<(), StartError> {
    let mut rows = Rows::new(&["USER", "ADDRESS", "NAME", "ROLE", "STATE", "MADE"]);
    let (mut left, mut after): (u32, Option<Uuid>) = (limit, None);
    while left > 0 {
        let search = UserSearch { text: text.clone(), after, limit: left.min(PAGE) };
        let page =
            app.accounts().search(&search).await.map_err(|fault| failed("the accounts cannot be read", fault))?;
        left = left.saturating_sub(u32::try_from(page.users.len()).unwrap_or(u32::MAX));
        for user in &page.users {
            if output.json {
                say(&format!("{}\n", described(user)))?;
                continue;
            }
            rows.add(&[
                user.id.to_string(),
                user.email.to_string(),
                user.name.clone(),
                if user.role == Role::Admin { "admin" } else { "user" }.to_owned(),
                state(user).to_owned(),
                time(user.created_at),
            ]);
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    if output.json { Ok(()) } else { say(&rows.into_text()) }
}

const fn state(user: &User) -> &'static str {
    match (user.disabled_at, user.email_verified_at) {
        (Some(_), _) => "disabled",
        (None, None) => "unconfirmed",
        (None, Some(_)) => "open",
    }
}

fn described(user: &User) -> serde_json::Value {
    json!({
        "id": user.id,
        "email": user.email,
        "name": user.name,
        "role": user.role,
        "state": state(user),
        "created_at": user.created_at,
        "email_verified_at": user.email_verified_at,
        "disabled_at": user.disabled_at,
    })
}
