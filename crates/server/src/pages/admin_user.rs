//! An account as administrators see it: its sessions, and how to end them and it.

use axum::Form;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use chrono::{DateTime, Utc};
use http::StatusCode;
use maud::{Markup, html};
use serde::Deserialize;
use session_manager_core::AuditEvent;

use super::admin::badges;
use super::devices::{choice, device};
use super::document::Page;
use super::form::{Field, FieldErrors};
use super::guard::SignedInAdmin;
use super::notice::{Notice, NoticeQuery};
use super::{agent, time};
use crate::accounts::User;
use crate::app::App;
use crate::flows::{self, Administrator, ListQuery, Listing, MAX_PAGE, RotationReason};
use crate::problem::Rejection;

/// How many events of the trail are shown.
const EVENTS: u32 = 50;

pub(super) async fn show(
    State(app): State<App>,
    SignedInAdmin(admin): SignedInAdmin,
    Path(user): Path<String>,
    Query(NoticeQuery { notice }): Query<NoticeQuery>,
) -> Result<Page, Rejection> {
    let user = flows::account(&app, &admin, &user).await?;
    page(&app, &admin, &user, notice, "", &FieldErrors::default()).await
}

pub(super) async fn end_one(
    State(app): State<App>,
    SignedInAdmin(admin): SignedInAdmin,
    Path((user, id)): Path<(String, String)>,
) -> Result<Response, Rejection> {
    let user = flows::account(&app, &admin, &user).await?;
    let ended = flows::end_session_of(&app, &admin, &user, &id, None).await;
    done(&user, ended, Notice::SessionEnded, Notice::AlreadyEnded)
}

pub(super) async fn end_all(
    State(app): State<App>,
    SignedInAdmin(admin): SignedInAdmin,
    Path(user): Path<String>,
) -> Result<Response, Rejection> {
    let user = flows::account(&app, &admin, &user).await?;
    let ended = flows::end_sessions_of(&app, &admin, &user).await;
    done(&user, ended, Notice::SessionsEnded, Notice::SessionsEnded)
}

pub(super) async fn disable(
    State(app): State<App>,
    SignedInAdmin(admin): SignedInAdmin,
    Path(user): Path<String>,
) -> Result<Response, Rejection> {
    let user = flows::account(&app, &admin, &user).await?;
    let closed = flows::close_account(&app, &admin, &user).await;
    done(&user, closed, Notice::AccountDisabled, Notice::AccountDisabled)
}

pub(super) async fn enable(
    State(app): State<App>,
    SignedInAdmin(admin): SignedInAdmin,
    Path(user): Path<String>,
) -> Result<Response, Rejection> {
    let user = flows::account(&app, &admin, &user).await?;
    let opened = flows::reopen_account(&app, &admin, &user).await;
    done(&user, opened, Notice::AccountEnabled, Notice::AccountEnabled)
}

/// The form as it was sent. What is missing counts as empty.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RotationForm {
    reason: String,
}

pub(super) async fn rotate(
    State(app): State<App>,
    SignedInAdmin(admin): SignedInAdmin,
    Path(user): Path<String>,
    Form(form): Form<RotationForm>,
) -> Result<Response, Rejection> {
    let user = flows::account(&app, &admin, &user).await?;
    let mut errors = FieldErrors::default();
    let Some(reason) = errors.parsed("reason", RotationReason::for_user(&form.reason)) else {
        let page = page(&app, &admin, &user, None, &form.reason, &errors).await?;
        return Ok(page.status(StatusCode::UNPROCESSABLE_ENTITY).into_response());
    };
    let rotated = flows::rotate_user(&app, admin.session(), &user.id.to_string(), &reason).await;
    done(&user, rotated, Notice::TokensRotated, Notice::TokensRotated)
}

/// Back to the page of the account, with what is to be said there: of a conflict, that somebody else was faster.
fn done<T>(
    user: &User,
    outcome: Result<T, Rejection>,
    notice: Notice,
    conflict: Notice,
) -> Result<Response, Rejection> {
    let notice = match outcome {
        Ok(_) => notice,
        Err(rejection) if rejection.problem().status() == StatusCode::CONFLICT => conflict,
        Err(rejection) => return Err(rejection),
    };
    Ok(Redirect::to(&notice.on(&path(user))).into_response())
}

fn path(user: &User) -> String {
    format!("/admin/users/{}", user.id)
}

async fn page(
    app: &App,
    admin: &Administrator,
    user: &User,
    notice: Option<Notice>,
    reason: &str,
    errors: &FieldErrors,
) -> Result<Page, Rejection> {
    let query = ListQuery { limit: Some(MAX_PAGE), ..ListQuery::default() };
    let listing = flows::sessions_of(app, admin, user, query).await?;
    let events = flows::latest_events(app, admin, user, EVENTS).await?;
    let is_own = user.id == admin.user().id;
    let content = html! {
        div {
            h1 { bdi { (user.email.as_str()) } }
            p.lead { a href="/admin" { "Administration" } }
        }
        (facts(user, app.now()))
        (sessions(user, &listing, app.now()))
        section.section aria-labelledby="account" {
            h2 #account { "Account" }
            div.card { (ends(user, is_own)) }
        }
        (rotation(user, reason, errors))
        @if let Some(events) = &events { (trail(events, app.now())) }
    };
    Ok(Page::inside(user.email.as_str(), admin.user().email.as_str(), notice, &content))
}

fn facts(user: &User, now: DateTime<Utc>) -> Markup {
    html! {
        div.card.padded {
            div.name { h2 { bdi { (user.name) } } @for badge in badges(user) { " " span.badge { (badge) } } }
            dl.facts {
                div { dt { "Registered" } dd { (time::ago(user.created_at, now)) } }
                @if let Some(since) = user.email_verified_at { div { dt { "Confirmed" } dd { (time::ago(since, now)) } } }
                @if let Some(since) = user.disabled_at { div { dt { "Disabled" } dd { (time::ago(since, now)) } } }
            }
        }
    }
}

fn sessions(user: &User, listing: &Listing, now: DateTime<Utc>) -> Markup {
    let (total, path) = (listing.total, format!("{}/sessions", path(user)));
    html! {
        section.section aria-labelledby="active" {
            h2 #active { (total) @if total == 1 { " active session" } @else { " active sessions" } }
            @if !listing.sessions.is_empty() {
                ul.card role="list" { @for entry in &listing.sessions { (device(entry, now, &path)) } }
            }
            @if listing.next.is_some() { p.muted { "Only the newest " (listing.sessions.len()) " are shown." } }
        }
    }
}

/// Everything here may come from outside: the markup escapes it, and `bdi` keeps it from changing the order of what stands beside it.
fn trail(events: &[AuditEvent], now: DateTime<Utc>) -> Markup {
    html! {
        section.section aria-labelledby="trail" {
            h2 #trail { "Audit trail" }
            @if events.is_empty() { p.muted { "Nothing is recorded of this account." } }
            @else {
                div.card.padded.wide tabindex="0" role="region" aria-labelledby="trail" {
                    table {
                        thead {
                            tr { @for name in ["Time", "Event", "Address", "Device", "Reason"] { th scope="col" { (name) } } }
                        }
                        tbody { @for event in events { (row(event, now)) } }
                    }
                }
                p.muted { "The latest events, " (EVENTS) " at most." }
            }
        }
    }
}

fn row(event: &AuditEvent, now: DateTime<Utc>) -> Markup {
    html! {
        tr {
            td { (time::ago(event.at, now)) }
            td { (event.kind.as_str()) }
            td { @if let Some(address) = event.client.ip_address { (address) } }
            td { @if let Some(device) = agent::client(&event.client) { bdi { (device) } } }
            td { @if let Some(reason) = &event.reason { bdi { (reason) } } }
        }
    }
}

/// Whoever is signed in cannot disable their own account: nobody could open it again.
fn ends(user: &User, is_own: bool) -> Markup {
    let action = |what: &str| format!("{}/{what}", path(user));
    html! {
        (choice("All sessions", "The account stays open.", &action("end-all"), "End all sessions"))
        @if user.disabled_at.is_some() {
            (choice("Disabled", "Nobody can sign in to this account.", &action("enable"), "Enable the account"))
        } @else if !is_own {
            (choice("Open", "Disabled, nobody can sign in, and all sessions end.", &action("disable"), "Disable the account"))
        }
    }
}

fn rotation(user: &User, reason: &str, errors: &FieldErrors) -> Markup {
    let field = Field {
        name: "reason",
        label: "Reason",
        kind: "text",
        autocomplete: "off",
        hint: Some("10 to 500 characters, for the audit trail."),
        value: reason,
    };
    html! {
        section.section aria-labelledby="rotate" {
            h2 #rotate { "Rotate the tokens" }
            p.muted { "Every session of the account ends at once, however many there are." }
            div.card.padded {
                form.stack method="post" action={ (path(user)) "/rotate" } {
                    (field.render(errors))
                    button.quiet.danger type="submit" { "Rotate the tokens" }
                }
            }
        }
    }
}
