//! The page behind the link that sets a new password.

use std::fmt;

use axum::Form;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;
use maud::{Markup, html};
use serde::Deserialize;
use session_manager_middleware_axum::ClientContext;

use super::document::Page;
use super::failure;
use super::form::{Field, FieldErrors};
use super::notice::Notice;
use crate::app::App;
use crate::flows;
use crate::passwords::Password;
use crate::problem::Rejection;

/// The token of the link, and in the form the new password. `Debug` hides both.
#[derive(Deserialize)]
#[serde(default)]
pub(super) struct ResetForm {
    token: String,
    new_password: Password,
}

impl Default for ResetForm {
    fn default() -> Self {
        Self { token: String::new(), new_password: Password::new(String::new()) }
    }
}

impl fmt::Debug for ResetForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResetForm(***)")
    }
}

/// Mail scanners follow links: looking does not use the token up.
pub(super) async fn show(
    State(app): State<App>,
    Query(ResetForm { token, .. }): Query<ResetForm>,
) -> Result<Page, Rejection> {
    if flows::reset_link_expiry(&app, &token).await?.is_none() {
        return Ok(failure::dead_reset_link().without_referrer());
    }
    Ok(page(&token, &FieldErrors::default()))
}

pub(super) async fn submit(
    State(app): State<App>,
    ClientContext(context): ClientContext,
    Form(ResetForm { token, new_password }): Form<ResetForm>,
) -> Result<Response, Rejection> {
    match flows::reset_password(&app, &token, new_password, &context).await {
        Ok(()) => Ok(Redirect::to(&Notice::PasswordReset.on("/sign-in")).into_response()),
        Err(rejection) if !rejection.field_errors().is_empty() => {
            let errors = FieldErrors::from(rejection.field_errors());
            Ok(page(&token, &errors).status(StatusCode::UNPROCESSABLE_ENTITY).into_response())
        }
        Err(rejection) if rejection.problem().status() == StatusCode::BAD_REQUEST => {
            Ok(failure::dead_reset_link().without_referrer().into_response())
        }
        Err(rejection) => Err(rejection),
    }
}

fn page(token: &str, errors: &FieldErrors) -> Page {
    let password = Field {
        name: "new_password",
        label: "New password",
        kind: "password",
        autocomplete: "new-password",
        hint: Some("8 characters or more, with upper and lower case, a digit and a special character."),
        value: "",
    };
    let content: Markup = html! {
        div {
            h1 { "Set a new password" }
            p.lead { "All of your devices are signed out then." }
        }
        form.stack method="post" action="/reset-password" {
            input type="hidden" name="token" value=(token);
            (password.render(errors))
            button type="submit" { "Set the password" }
        }
    };
    Page::outside("Set a new password", None, &content).without_referrer()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_hides_token_and_password() {
        let form = ResetForm { token: "secret".into(), new_password: Password::new("secret".into()) };
        assert_eq!(format!("{form:?}"), "ResetForm(***)");
    }
}
