//! The sign-in page.

use axum::Form;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use maud::{Markup, html};
use serde::Deserialize;
use session_manager_http::CookieError;
use session_manager_middleware_axum::{ClientContext, OptionalSession};

use super::document::Page;
use super::failure;
use super::form::{Field, FieldErrors};
use super::notice::{Notice, NoticeQuery};
use crate::accounts::{DeviceToken, EmailAddress};
use crate::app::App;
use crate::flows::{self, LoggedIn, Login};
use crate::passwords::Password;
use crate::problem::Rejection;

/// The form as it was sent. What is missing counts as empty.
#[derive(Debug, Deserialize)]
#[serde(default)]
pub(super) struct SignInForm {
    email: String,
    password: Password,
    remember: Option<String>,
}

impl Default for SignInForm {
    fn default() -> Self {
        Self { email: String::new(), password: Password::new(String::new()), remember: None }
    }
}

pub(super) async fn show(
    OptionalSession(session): OptionalSession,
    Query(NoticeQuery { notice }): Query<NoticeQuery>,
) -> Response {
    if session.is_some() {
        let target = notice.map_or_else(|| "/devices".to_owned(), |notice| notice.on("/devices"));
        return Redirect::to(&target).into_response();
    }
    page(notice, &SignInForm::default(), &FieldErrors::default(), None).into_response()
}

pub(super) async fn submit(
    State(app): State<App>,
    OptionalSession(before): OptionalSession,
    ClientContext(context): ClientContext,
    headers: HeaderMap,
    Form(form): Form<SignInForm>,
) -> Result<Response, Rejection> {
    let mut errors = FieldErrors::default();
    let email = errors.parsed("email", EmailAddress::parse(&form.email));
    if form.password.expose().is_empty() {
        errors.add("password", "must not be empty");
    }
    let (Some(email), true) = (email, errors.is_empty()) else {
        return Ok(page(None, &form, &errors, None).status(StatusCode::UNPROCESSABLE_ENTITY).into_response());
    };
    let device = app.sessions().cookies().device(&headers);
    let device = device.map_or_else(DeviceToken::generate, Ok)?;
    let login = Login {
        email,
        password: form.password.clone(),
        device_name: None,
        remember: Some(form.remember.is_some()),
        device: Some(device.clone()),
    };
    match flows::login(&app, login, &context).await {
        Ok(signed_in) => {
            // A browser has one session: the one that the new cookies replace would live on with nobody knowing it.
            if let Some(before) = before
                && flows::logout(&app, &before).await.is_err()
            {
                tracing::warn!("the session that a browser had before its sign-in could not be ended");
            }
            let cookies = with_cookies(&app, &signed_in, form.remember.is_some(), &device);
            Ok(cookies.map_err(|_| Rejection::from(session_manager_http::ProblemType::Internal))?)
        }
        Err(rejection) => match refusal(&rejection) {
            Some(text) => {
                // Not 401: that would have to name a scheme by which browsers can sign in.
                let answer = page(None, &form, &FieldErrors::default(), Some(&text)).status(StatusCode::FORBIDDEN);
                let retry = rejection.problem().to_response().headers().get(header::RETRY_AFTER).cloned();
                let retry: HeaderMap = retry.map(|value| (header::RETRY_AFTER, value)).into_iter().collect();
                Ok((retry, answer).into_response())
            }
            None => Err(rejection),
        },
    }
}

/// To the devices, with the cookies of the session and of the device.
fn with_cookies(
    app: &App,
    signed_in: &LoggedIn,
    remembered: bool,
    device: &DeviceToken,
) -> Result<Response, CookieError> {
    let cookies = app.sessions().cookies();
    let session = cookies.session(remembered).set(&signed_in.created.tokens)?;
    let device: HeaderValue = cookies.set_device(device)?;
    let mut response = (session, Redirect::to("/devices")).into_response();
    response.headers_mut().append(header::SET_COOKIE, device);
    Ok(response)
}

/// What to say to somebody who may not sign in; nothing where it is not their doing.
pub(super) fn refusal(rejection: &Rejection) -> Option<String> {
    let problem = rejection.problem();
    let text = match problem.type_uri().rsplit(':').next()? {
        "invalid-credentials" => "The e-mail address or the password is wrong.".to_owned(),
        "account-locked" => {
            let response = problem.to_response();
            let seconds = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.parse::<u64>().ok()?;
            let minutes = seconds.div_ceil(60).max(1);
            let plural = if minutes == 1 { "" } else { "s" };
            format!("There were too many failed attempts from here. Try again in {minutes} minute{plural}.")
        }
        "email-not-verified" => {
            "Your e-mail address is not confirmed yet. Open the link in the mail that we sent you.".to_owned()
        }
        "account-disabled" => "This account is disabled.".to_owned(),
        "session-limit" => {
            "You are signed in on as many devices as your account allows. Sign out on one of them first.".to_owned()
        }
        _ => return None,
    };
    Some(text)
}

fn page(notice: Option<Notice>, form: &SignInForm, errors: &FieldErrors, refusal: Option<&str>) -> Page {
    let email = Field {
        name: "email",
        label: "E-mail address",
        kind: "email",
        autocomplete: "username",
        hint: None,
        value: &form.email,
    };
    let password = Field {
        name: "password",
        label: "Password",
        kind: "password",
        autocomplete: "current-password",
        hint: None,
        value: "",
    };
    let content: Markup = html! {
        div {
            h1 { "Sign in" }
            p.lead { "New here? " a href="/register" { "Create an account" } }
        }
        @if let Some(text) = refusal { (failure::alert(text)) }
        form.stack method="post" action="/sign-in" {
            (email.render(errors))
            (password.render(errors))
            label.check {
                input type="checkbox" name="remember" value="yes" checked[form.remember.is_some()];
                span { "Keep me signed in on this device" }
            }
            button type="submit" { "Sign in" }
        }
        p { a href="/forgot-password" { "Forgot your password?" } }
    };
    Page::outside("Sign in", notice, &content)
}
