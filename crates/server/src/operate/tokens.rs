//! `tokens rotate`: raise an epoch.

use std::time::Duration;

use session_manager_core::Rotation;

use super::{account, context, misspelt, refused, say, user_id};
use crate::app::App;
use crate::cli::TokensCommand;
use crate::exit::StartError;

/// As the API has it.
const LONGEST_GRACE: Duration = Duration::from_hours(1);

pub(super) async fn run(app: &App, command: TokensCommand) -> Result<(), StartError> {
    let TokensCommand::Rotate { user, everybody: _, reason, grace } = command;
    if grace > LONGEST_GRACE {
        return Err(misspelt("the grace", "it is 0s to 1h"));
    }
    let manager = app.sessions().manager();
    let rotation = Rotation::new(reason).grace(grace);
    let rotated = match user {
        Some(text) => {
            let user = user_id(&account(app, &text).await?)?;
            manager.rotate_user(&user, &rotation, &context()).await
        }
        None => manager.rotate_all(&rotation, &context()).await,
    };
    let rotated = rotated.map_err(|error| refused("the epoch could not be raised", &error))?;
    let old = rotated.old_version.map_or_else(|| "none".to_owned(), |version| version.to_string());
    say(&format!("version: {old} -> {}\n", rotated.new_version))?;
    if let Some(until) = rotated.grace_until {
        say(&format!("sessions one version behind live on until {}\n", super::table::time(until)))?;
    }
    Ok(())
}
