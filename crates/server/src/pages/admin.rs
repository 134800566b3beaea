//! The administration: finding accounts, and rotating everybody's tokens.

use std::time::Duration;

use axum::Form;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::{HeaderMap, StatusCode};
use maud::{Markup, html};
use serde::Deserialize;
use url::form_urlencoded;

use super::document::Page;
use super::failure;
use super::form::{Field, FieldErrors};
use super::guard::SignedInAdmin;
use super::notice::{Notice, NoticeQuery};
use super::sign_in;
use crate::accounts::{Role, User, UserPage, UserSearch};
use crate::app::App;
use crate::flows::{self, Administrator, RotationReason, USUAL_PAGE};
use crate::limits::SessionMeter;
use crate::passwords::Password;
use crate::problem::Rejection;

/// The search, which is in the address so that a list of accounts can be reloaded.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct SearchQuery {
    email: String,
    /// What is no id of ours begins the list.
    after: String,
}

impl SearchQuery {
    fn search(&self) -> UserSearch {
        UserSearch { text: self.email.clone(), after: self.after.parse().ok(), limit: USUAL_PAGE }
    }
}

pub(super) async fn show(
    State(app): State<App>,
    SignedInAdmin(admin): SignedInAdmin,
    Query(query): Query<SearchQuery>,
    Query(NoticeQuery { notice }): Query<NoticeQuery>,
) -> Result<Page, Rejection> {
    page(&app, &admin, &query, notice, &RotationForm::default(), &FieldErrors::default(), None).await
}

/// The form as it was sent. What is missing counts as empty.
#[derive(Debug, Deserialize)]
#[serde(default)]
pub(super) struct RotationForm {
    reason: String,
    grace: String,
    password: Password,
}

impl Default for RotationForm {
    fn default() -> Self {
        Self { reason: String::new(), grace: "15".to_owned(), password: Password::new(String::new()) }
    }
}

/// Ends everybody's sessions. The password is asked for each time: there is hardly anything that is worse to find done by somebody who passed
/// by an open browser.
pub(super) async fn rotate(
    State(app): State<App>,
    SignedInAdmin(admin): SignedInAdmin,
    meter: SessionMeter,
    headers: HeaderMap,
    Form(form): Form<RotationForm>,
) -> Result<Response, Rejection> {
    // Before the password is asked for: it would be in vain.
    meter.look_for_everybody().await?;
    let mut errors = FieldErrors::default();
    let reason = errors.parsed("reason", RotationReason::for_everybody(&form.reason));
    let grace = errors.parsed("grace", minutes(&form.grace));
    if form.password.expose().is_empty() {
        errors.add("password", "must not be empty");
    }
    let search = SearchQuery::default();
    let (Some(reason), Some(grace), true) = (reason, grace, errors.is_empty()) else {
        let page = page(&app, &admin, &search, None, &form, &errors, None).await?;
        return Ok(page.status(StatusCode::UNPROCESSABLE_ENTITY).into_response());
    };
    let device = app.sessions().cookies().device(&headers);
    let (fresh, refreshed) = match admin.clone().proven(&app, form.password.clone(), device).await {
        Ok(proven) => proven,
        Err(rejection) if rejection.problem().status().is_client_error() => {
            let refusal = sign_in::refusal(&rejection);
            if refusal.is_none() {
                errors.add("password", "must be the one that you sign in with");
            }
            let page = page(&app, &admin, &search, None, &form, &errors, refusal.as_deref()).await?;
            return Ok(page.status(rejection.problem().status()).into_response());
        }
        Err(rejection) => return Err(rejection),
    };
    // The proof has ended the tokens of before: whatever comes of the rest, the browser needs the new ones.
    let cookies = app.sessions().cookies().session(flows::is_remembered(&refreshed.snapshot.session));
    let cookies =
        cookies.set(&refreshed.tokens).map_err(|_| Rejection::from(session_manager_http::ProblemType::Internal))?;
    let outcome = match flows::rotate_everybody(&app, &fresh, &reason, grace, &meter).await {
        Ok(_) => Redirect::to(&Notice::TokensRotated.on("/admin")).into_response(),
        Err(rejection) => rejection.into_response(),
    };
    Ok((cookies, outcome).into_response())
}

fn minutes(text: &str) -> Result<Duration, &'static str> {
    let minutes = text.trim().parse().ok().filter(|minutes| *minutes <= 60);
    minutes.map(Duration::from_mins).ok_or("must be a whole number from 0 to 60")
}

async fn page(
    app: &App,
    admin: &Administrator,
    query: &SearchQuery,
    notice: Option<Notice>,
    form: &RotationForm,
    errors: &FieldErrors,
    refusal: Option<&str>,
) -> Result<Page, Rejection> {
    let found = flows::search_users(app, admin, &query.search()).await?;
    let config = flows::security_config(app, admin).await?;
    let content = html! {
        div {
            h1 { "Administration" }
            p.lead { "Find an account, see where it is signed in, and end any of it. " a href="/devices" { "Your devices" } }
        }
        section.section aria-labelledby="accounts" {
            h2 #accounts { "Accounts" }
            (search(query))
            (accounts(query, &found))
        }
        section.section aria-labelledby="everybody" {
            h2 #everybody { "Rotate everybody’s tokens" }
            @if let Some(text) = refusal { (failure::alert(text)) }
            p.muted {
                "Version " (config.global.epoch.version) " is in use. With the next one all sessions end: at once, or, so that nobody is "
                "interrupted, when the grace is over. Yours is among them."
            }
            @if let Some(rotation) = &config.rotation { p.muted { "The last reason was: " bdi { (rotation.reason) } } }
            (rotation(form, errors))
        }
    };
    Ok(Page::inside("Administration", admin.user().email.as_str(), notice, &content).with_bare_referrer())
}

fn search(query: &SearchQuery) -> Markup {
    html! {
        form.stack method="get" action="/admin" role="search" {
            div.field {
                label for="email" { "E-mail address, or a part of it" }
                input type="search" name="email" id="email" autocomplete="off" maxlength="254" value=(query.email);
            }
            button type="submit" { "Search" }
        }
    }
}

fn accounts(query: &SearchQuery, page: &UserPage) -> Markup {
    html! {
        @if page.users.is_empty() { p.muted { "There is no such account." } } @else {
            ul.card role="list" { @for user in &page.users { (account(user)) } }
        }
        @if let Some(next) = page.next {
            @let rest = form_urlencoded::Serializer::new(String::new())
                .append_pair("email", &query.email).append_pair("after", &next.to_string()).finish();
            p { a href={ "/admin?" (rest) } { "More accounts" } }
        }
    }
}

fn account(user: &User) -> Markup {
    html! {
        li.choice {
            div {
                h3 { a href={ "/admin/users/" (user.id) } { bdi { (user.email.as_str()) } } }
                p { bdi { (user.name) } }
            }
            @for badge in badges(user) { span.badge { (badge) } }
        }
    }
}

/// What is not as with most accounts.
pub(super) fn badges(user: &User) -> impl Iterator<Item = &'static str> {
    let badges = [
        (user.role == Role::Admin, "Administrator"),
        (user.email_verified_at.is_none(), "Not confirmed"),
        (user.disabled_at.is_some(), "Disabled"),
    ];
    badges.into_iter().filter(|(holds, _)| *holds).map(|(_, badge)| badge)
}

fn rotation(form: &RotationForm, errors: &FieldErrors) -> Markup {
    let fields = [
        Field {
            name: "reason",
            label: "Reason",
            kind: "text",
            autocomplete: "off",
            hint: Some("20 to 1000 characters, for the audit trail."),
            value: &form.reason,
        },
        Field {
            name: "grace",
            label: "Grace in minutes",
            kind: "number",
            autocomplete: "off",
            hint: Some("0 to 60. With 0 everybody is signed out at once, and so are you."),
            value: &form.grace,
        },
        Field {
            name: "password",
            label: "Your password",
            kind: "password",
            autocomplete: "current-password",
            hint: None,
            value: "",
        },
    ];
    html! {
        div.card.padded {
            form.stack method="post" action="/admin/rotate" {
                @for field in fields { (field.render(errors)) }
                button.quiet.danger type="submit" { "Rotate everybody’s tokens" }
            }
        }
    }
}
