//! The page for those who forgot their password: it asks for the address that the link is mailed to.

use axum::Form;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;
use maud::{Markup, html};
use serde::Deserialize;

use super::document::Page;
use super::form::{Field, FieldErrors};
use super::notice::Notice;
use crate::accounts::EmailAddress;
use crate::app::App;
use crate::flows;

/// The form as it was sent. What is missing counts as empty.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ForgottenForm {
    email: String,
}

pub(super) async fn show() -> Page {
    page(&ForgottenForm::default(), &FieldErrors::default())
}

/// Whether the address has an account can be told neither from the answer nor from its time: the mail says it, to the owner.
pub(super) async fn submit(State(app): State<App>, Form(form): Form<ForgottenForm>) -> Response {
    let mut errors = FieldErrors::default();
    let Some(email) = errors.parsed("email", EmailAddress::parse(&form.email)) else {
        return page(&form, &errors).status(StatusCode::UNPROCESSABLE_ENTITY).into_response();
    };
    flows::request_password_reset(&app, email).await;
    Redirect::to(&Notice::LinkMailed.on("/sign-in")).into_response()
}

fn page(form: &ForgottenForm, errors: &FieldErrors) -> Page {
    let email = Field {
        name: "email",
        label: "E-mail address",
        kind: "email",
        autocomplete: "username",
        hint: Some("We send a link there, which is good for an hour."),
        value: &form.email,
    };
    let content: Markup = html! {
        div {
            h1 { "Forgot your password?" }
            p.lead { "You can set a new one. " a href="/sign-in" { "Back to sign-in" } }
        }
        form.stack method="post" action="/forgot-password" {
            (email.render(errors))
            button type="submit" { "Send the link" }
        }
    };
    Page::outside("Forgot your password?", None, &content)
}
