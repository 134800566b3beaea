//! The page behind the link that confirms an e-mail address.

use std::fmt;

use axum::Form;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;
use maud::{Markup, html};
use serde::Deserialize;

use super::document::Page;
use super::failure;
use super::notice::Notice;
use crate::app::App;
use crate::flows;
use crate::problem::Rejection;

/// The token, in the link and in the form. `Debug` hides it.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Confirmation {
    token: String,
}

impl fmt::Debug for Confirmation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Confirmation(***)")
    }
}

/// Only shows a button: mail scanners follow links, and must not use the token up.
pub(super) async fn show(Query(Confirmation { token }): Query<Confirmation>) -> Page {
    if token.is_empty() {
        return failure::dead_link().without_referrer();
    }
    let content: Markup = html! {
        div {
            h1 { "Confirm your address" }
            p.lead { "Press the button, and the e-mail address is confirmed." }
        }
        form.stack method="post" action="/verify-email" {
            input type="hidden" name="token" value=(token);
            button type="submit" { "Confirm address" }
        }
    };
    Page::outside("Confirm your address", None, &content).without_referrer()
}

pub(super) async fn submit(
    State(app): State<App>,
    Form(Confirmation { token }): Form<Confirmation>,
) -> Result<Response, Rejection> {
    match flows::verify_email(&app, &token).await {
        Ok(_) => Ok(Redirect::to(&Notice::Verified.on("/sign-in")).into_response()),
        Err(rejection) if rejection.problem().status() == StatusCode::BAD_REQUEST => {
            Ok(failure::dead_link().without_referrer().into_response())
        }
        Err(rejection) => Err(rejection),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_hides_the_token() {
        assert_eq!(format!("{:?}", Confirmation { token: "secret".into() }), "Confirmation(***)");
    }
}
