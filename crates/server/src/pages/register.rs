//! The registration page.

use axum::Form;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;
use maud::{Markup, html};
use serde::Deserialize;
use session_manager_middleware_axum::OptionalSession;

use super::document::Page;
use super::form::{Field, FieldErrors};
use super::notice::Notice;
use crate::accounts::{EmailAddress, PersonName, Registration};
use crate::app::App;
use crate::flows;
use crate::passwords::{Password, violations};
use crate::problem::Rejection;

/// The form as it was sent. What is missing counts as empty.
#[derive(Debug, Deserialize)]
#[serde(default)]
pub(super) struct RegistrationForm {
    name: String,
    email: String,
    password: Password,
}

impl Default for RegistrationForm {
    fn default() -> Self {
        Self { name: String::new(), email: String::new(), password: Password::new(String::new()) }
    }
}

pub(super) async fn show(OptionalSession(session): OptionalSession) -> Response {
    if session.is_some() {
        return Redirect::to("/devices").into_response();
    }
    page(&RegistrationForm::default(), &FieldErrors::default()).into_response()
}

/// Whether the address was taken cannot be told from the answer: the mail says it, to the owner.
pub(super) async fn submit(State(app): State<App>, Form(form): Form<RegistrationForm>) -> Result<Response, Rejection> {
    let mut errors = FieldErrors::default();
    let name = errors.parsed("name", PersonName::parse(&form.name));
    let email = errors.parsed("email", EmailAddress::parse(&form.email));
    // Asked here too, so that all that is wrong is told at once.
    for violation in violations(form.password.expose()) {
        errors.add("password", violation.message());
    }
    let (Some(name), Some(email), true) = (name, email, errors.is_empty()) else {
        return Ok(page(&form, &errors).status(StatusCode::UNPROCESSABLE_ENTITY).into_response());
    };
    match flows::register(&app, Registration { email, name, password: form.password.clone() }).await {
        Ok(()) => Ok(Redirect::to(&Notice::CheckMail.on("/sign-in")).into_response()),
        Err(rejection) if !rejection.field_errors().is_empty() => {
            let errors = FieldErrors::from(rejection.field_errors());
            Ok(page(&form, &errors).status(StatusCode::UNPROCESSABLE_ENTITY).into_response())
        }
        Err(rejection) => Err(rejection),
    }
}

fn page(form: &RegistrationForm, errors: &FieldErrors) -> Page {
    let fields = [
        Field { name: "name", label: "Name", kind: "text", autocomplete: "name", hint: None, value: &form.name },
        Field {
            name: "email",
            label: "E-mail address",
            kind: "email",
            autocomplete: "username",
            hint: Some("We send a link there to confirm it."),
            value: &form.email,
        },
        Field {
            name: "password",
            label: "Password",
            kind: "password",
            autocomplete: "new-password",
            hint: Some("8 characters or more, with upper and lower case, a digit and a special character."),
            value: "",
        },
    ];
    let content: Markup = html! {
        div {
            h1 { "Create an account" }
            p.lead { "Have one already? " a href="/sign-in" { "Sign in" } }
        }
        form.stack method="post" action="/register" {
            @for field in fields { (field.render(errors)) }
            button type="submit" { "Create account" }
        }
    };
    Page::outside("Create an account", None, &content)
}
