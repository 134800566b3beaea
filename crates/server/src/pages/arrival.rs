//! The way back from a provider, as a person sees it.

use axum::Form;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;
use maud::{Markup, html};
use serde::Deserialize;
use session_manager_middleware_axum::OptionalSession;

use super::connections::PATH;
use super::document::Page;
use super::failure;
use super::notice::Notice;
use crate::app::App;
use crate::flows::{self, Arrival, Question, Traveller};
use crate::problem::Rejection;

/// Where the answer to the question goes.
pub(super) const FINISH: &str = "/connections/finish";

/// Ends an authorisation, after a question where the browser is not signed in; the list of the connections, or a page, says how it went.
///
/// # Errors
/// The service cannot answer.
pub(crate) async fn arrived(app: &App, arrival: Arrival, traveller: &Traveller) -> Result<Response, Rejection> {
    if let Some(question) = flows::question(app, &arrival, traveller).await? {
        return Ok(ask(&arrival, &question).into_response());
    }
    finish(app, arrival, traveller).await
}

/// The form by which the question is answered. `Debug` is left out: it holds a code.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct FinishForm {
    place: String,
    state: String,
    code: String,
    iss: Option<String>,
}

pub(super) async fn submit(
    State(app): State<App>,
    OptionalSession(session): OptionalSession,
    Form(form): Form<FinishForm>,
) -> Result<Response, Rejection> {
    let traveller = session.map_or(Traveller::Unknown, Traveller::Session);
    let FinishForm { place, state, code, iss } = form;
    let arrival = Arrival { place, state, code: Some(code), error: None, issuer: iss };
    finish(&app, arrival, &traveller).await
}

async fn finish(app: &App, arrival: Arrival, traveller: &Traveller) -> Result<Response, Rejection> {
    let outcome = flows::finish_authorization(app, arrival, traveller).await;
    let signed_in = matches!(traveller, Traveller::Session(_));
    match outcome {
        Ok(_) if signed_in => Ok(Redirect::to(&Notice::Connected.on(PATH)).into_response()),
        Ok(_) => {
            let text = "You can close this page and go back to where you came from.";
            Ok(failure::message(StatusCode::OK, "Connected", text).without_referrer().into_response())
        }
        Err(rejection) => match rejection.problem().status() {
            StatusCode::BAD_REQUEST | StatusCode::BAD_GATEWAY if signed_in => {
                Ok(Redirect::to(&Notice::NotConnected.on(PATH)).into_response())
            }
            status @ (StatusCode::BAD_REQUEST | StatusCode::BAD_GATEWAY) => {
                let text = "The provider said no, or this was begun elsewhere or too long ago. Go back to where you came from and begin again.";
                Ok(failure::message(status, "Not connected", text).without_referrer().into_response())
            }
            _ => Err(rejection),
        },
    }
}

fn ask(arrival: &Arrival, question: &Question) -> Page {
    let content: Markup = html! {
        div {
            h1 { "Is this your account?" }
            p.lead {
                "This connects " strong { bdi { (question.provider) } } " (" bdi { (question.alias) } ") to the account "
                strong { bdi { (question.email) } } " here. Go on only if that account is yours and you began this yourself."
            }
        }
        form.stack method="post" action=(FINISH) {
            input type="hidden" name="place" value=(arrival.place);
            input type="hidden" name="state" value=(arrival.state);
            input type="hidden" name="code" value=(arrival.code.as_deref().unwrap_or_default());
            @if let Some(issuer) = &arrival.issuer { input type="hidden" name="iss" value=(issuer); }
            button type="submit" { "Yes, connect" }
        }
        p { a href="/" { "No" } }
    };
    Page::outside("Is this your account?", None, &content).without_referrer()
}
