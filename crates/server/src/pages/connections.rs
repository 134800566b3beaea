//! *Connections*: the providers that the user is connected to.

use axum::Form;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use chrono::{DateTime, Utc};
use http::StatusCode;
use maud::{Markup, html};
use serde::Deserialize;
use session_manager_middleware_axum::CurrentSession;

use super::document::Page;
use super::form::{Field, FieldErrors};
use super::guard::SignedIn;
use super::notice::{Notice, NoticeQuery};
use super::{icons, time};
use crate::app::App;
use crate::flows::{self, ConnectionsPage, ConnectionsQuery, MAX_CONNECTIONS_PAGE, NewConnection};
use crate::problem::Rejection;
use crate::providers::{Alias, Connection, ProviderType, Status};

/// Where the page is.
pub(super) const PATH: &str = "/connections";

/// Which page of the list.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PageNumber {
    page: Option<u32>,
}

/// The form for a new connection, as it was sent. What is missing counts as empty.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct NewForm {
    provider_key: String,
    alias: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RenameForm {
    alias: String,
}

pub(super) async fn show(
    State(app): State<App>,
    SignedIn(session): SignedIn,
    Query(NoticeQuery { notice }): Query<NoticeQuery>,
    number: Result<Query<PageNumber>, QueryRejection>,
) -> Result<Page, Rejection> {
    let number = number.map_or(1, |Query(number)| number.page.unwrap_or(1));
    page(&app, &session, notice, number, &NewForm::default(), &FieldErrors::default()).await
}

pub(super) async fn add(
    State(app): State<App>,
    SignedIn(session): SignedIn,
    Form(form): Form<NewForm>,
) -> Result<Response, Rejection> {
    let mut errors = FieldErrors::default();
    let again = async |errors: &FieldErrors| {
        let page = page(&app, &session, None, 1, &form, errors).await?;
        Ok(page.status(StatusCode::UNPROCESSABLE_ENTITY).into_response())
    };
    let Some(alias) = errors.parsed("alias", Alias::parse(&form.alias)) else { return again(&errors).await };
    let new = NewConnection { provider_key: form.provider_key.clone(), alias };
    match flows::create_connection(&app, &session, new).await {
        Ok(_) => Ok(Redirect::to(&Notice::ConnectionAdded.on(PATH)).into_response()),
        Err(rejection) => {
            match rejection.problem().status() {
                StatusCode::CONFLICT => errors.add("alias", "must not be that of another connection"),
                StatusCode::BAD_REQUEST => errors.add("provider_key", "must be one of the list"),
                _ => return Err(rejection),
            }
            again(&errors).await
        }
    }
}

pub(super) async fn rename(
    State(app): State<App>,
    SignedIn(session): SignedIn,
    Path(id): Path<String>,
    Form(form): Form<RenameForm>,
) -> Result<Response, Rejection> {
    let Ok(alias) = Alias::parse(&form.alias) else {
        return Ok(Redirect::to(&Notice::AliasWrong.on(PATH)).into_response());
    };
    let notice = match flows::rename_connection(&app, &session, &id, &alias).await {
        Ok(_) => Notice::ConnectionRenamed,
        Err(rejection) if rejection.problem().status() == StatusCode::CONFLICT => Notice::AliasTaken,
        Err(rejection) => return Err(rejection),
    };
    Ok(Redirect::to(&notice.on(PATH)).into_response())
}

pub(super) async fn remove(
    State(app): State<App>,
    SignedIn(session): SignedIn,
    Path(id): Path<String>,
) -> Result<Response, Rejection> {
    flows::remove_connection(&app, &session, &id).await?;
    Ok(Redirect::to(&Notice::ConnectionRemoved.on(PATH)).into_response())
}

/// Sends the browser to the provider.
pub(super) async fn connect(
    State(app): State<App>,
    SignedIn(session): SignedIn,
    Path(id): Path<String>,
) -> Result<Response, Rejection> {
    match flows::begin_authorization(&app, &session, &id).await {
        Ok(departure) => Ok(Redirect::to(departure.request.url.as_str()).into_response()),
        // The provider was taken out of the configuration.
        Err(rejection) if rejection.problem().status() == StatusCode::BAD_REQUEST => {
            Ok(Redirect::to(&Notice::NotConnected.on(PATH)).into_response())
        }
        Err(rejection) => Err(rejection),
    }
}

pub(super) async fn disconnect(
    State(app): State<App>,
    SignedIn(session): SignedIn,
    Path(id): Path<String>,
) -> Result<Response, Rejection> {
    flows::end_authorization(&app, &session, &id).await?;
    Ok(Redirect::to(&Notice::Disconnected.on(PATH)).into_response())
}

async fn page(
    app: &App,
    session: &CurrentSession,
    notice: Option<Notice>,
    number: u32,
    form: &NewForm,
    errors: &FieldErrors,
) -> Result<Page, Rejection> {
    let user = flows::current_user(app, session).await?;
    let query =
        ConnectionsQuery { page: Some(number), per_page: Some(MAX_CONNECTIONS_PAGE), ..ConnectionsQuery::default() };
    let found = flows::list_connections(app, session, query).await?;
    let types = flows::provider_types(app, None);
    let content = content(&found, &types, form, errors, app.now());
    // Browsers hold the way that a form leads on to the provider against the page that has the form.
    let targets = app.providers().registry().origins();
    Ok(Page::inside("Connections", user.email.as_str(), notice, &content).with_form_targets(targets))
}

fn content(
    found: &ConnectionsPage,
    types: &[ProviderType],
    form: &NewForm,
    errors: &FieldErrors,
    now: DateTime<Utc>,
) -> Markup {
    html! {
        div {
            h1 { "Connections" }
            p.lead { "Here is what you are connected to elsewhere. " a href="/devices" { "Your devices" } }
        }
        section.section aria-labelledby="connected" {
            h2 #connected { (found.total) @if found.total == 1 { " connection" } @else { " connections" } }
            @if !found.items.is_empty() {
                ul.card role="list" { @for item in &found.items { (connection(item, types, now)) } }
            }
            @if found.has_prev || found.has_next {
                p {
                    @if found.has_prev { a href={ (PATH) "?page=" (found.page.saturating_sub(1)) } { "Newer" } " " }
                    @if found.has_next { a href={ (PATH) "?page=" (found.page.saturating_add(1)) } { "Older" } }
                }
            }
        }
        section.section aria-labelledby="add" {
            h2 #add { "Add a connection" }
            @if types.iter().any(|provider| provider.configured) { (new(types, form, errors)) }
            @else { p.muted { "This service has nothing to connect to so far." } }
        }
    }
}

fn new(types: &[ProviderType], form: &NewForm, errors: &FieldErrors) -> Markup {
    let alias = Field {
        name: "alias",
        label: "Alias",
        kind: "text",
        autocomplete: "off",
        hint: Some("What you call it, for example Joint account."),
        value: &form.alias,
    };
    html! {
        div.card.padded {
            form.stack method="post" action=(PATH) {
                div.field {
                    label for="provider_key" { "Provider" }
                    select name="provider_key" id="provider_key" required {
                        @for provider in types.iter().filter(|provider| provider.configured) {
                            option value=(provider.key) selected[provider.key == form.provider_key] { (provider.name) }
                        }
                    }
                    @for message in errors.of("provider_key") { p.wrong { "Provider " (message) "." } }
                }
                (alias.render(errors))
                button type="submit" { "Add connection" }
            }
        }
    }
}

fn connection(item: &Connection, types: &[ProviderType], now: DateTime<Utc>) -> Markup {
    let provider = types.iter().find(|provider| provider.key == item.provider_key);
    let name = provider.map_or(item.provider_key.as_str(), |provider| provider.name.as_str());
    let possible = provider.is_some_and(|provider| provider.configured);
    let named = html! { span.hidden { " " bdi { (item.alias) } } };
    html! {
        li.device.current[item.status == Status::Active] {
            div.tile { (icons::link()) }
            div {
                div.name { h3 { bdi { (item.alias) } } span.badge { (words(item.status)) } }
                dl.facts {
                    div { dt { "Provider" } dd { bdi { (name) } } }
                    div { dt { "Added" } dd { (time::ago(item.created_at, now)) } }
                    div { dt { "Changed" } dd { (time::ago(item.updated_at, now)) } }
                }
                details {
                    summary { "Rename" (named) }
                    form class="stack" method="post" action={ (PATH) "/" (item.id) "/rename" } {
                        input type="text" name="alias" autocomplete="off" required maxlength="100" value=(item.alias)
                            aria-label="New alias";
                        button.quiet type="submit" { "Save" }
                    }
                }
            }
            div.actions {
                @if possible {
                    form method="post" action={ (PATH) "/" (item.id) "/connect" } {
                        @let again = item.status != Status::Pending;
                        button.quiet type="submit" { @if again { "Connect again" } @else { "Connect" } (named) }
                    }
                }
                @if item.status == Status::Active {
                    form method="post" action={ (PATH) "/" (item.id) "/disconnect" } {
                        button.quiet type="submit" { "Disconnect" (named) }
                    }
                }
                form method="post" action={ (PATH) "/" (item.id) "/remove" } {
                    button.quiet.danger type="submit" { "Remove" (named) }
                }
            }
        }
    }
}

const fn words(status: Status) -> &'static str {
    match status {
        Status::Pending => "Not connected yet",
        Status::Active => "Connected",
        Status::Expired => "Has to be connected again",
        Status::Disconnected => "Disconnected",
    }
}
