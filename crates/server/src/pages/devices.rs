//! *Your devices*: where the user is signed in, and how to end any of it.

use std::net::IpAddr;

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use chrono::{DateTime, Utc};
use http::StatusCode;
use maud::{Markup, html};

use super::document::Page;
use super::guard::SignedIn;
use super::notice::{Notice, NoticeQuery};
use super::{agent, assets, icons, time};
use crate::accounts::Role;
use crate::app::App;
use crate::flows::{self, ListQuery, MAX_PAGE, SessionEntry};
use crate::problem::Rejection;

pub(super) async fn show(
    State(app): State<App>,
    SignedIn(session): SignedIn,
    Query(NoticeQuery { notice }): Query<NoticeQuery>,
) -> Result<Page, Rejection> {
    let user = flows::current_user(&app, &session).await?;
    let query = ListQuery { limit: Some(MAX_PAGE), ..ListQuery::default() };
    let mut listing = flows::list_sessions(&app, &session, query).await?;
    // The list is newest first; the device in hand comes before all.
    listing.sessions.sort_by_key(|entry| !entry.is_current);
    let left_out = listing.next.is_some();
    let content = html! {
        (content(&listing.sessions, listing.total, left_out, app.now()))
        @if user.role == Role::Admin { p { a href="/admin" { "Administration" } } }
    };
    Ok(Page::inside("Your devices", user.email.as_str(), notice, &content).with_script())
}

pub(super) async fn end_one(
    State(app): State<App>,
    SignedIn(session): SignedIn,
    Path(id): Path<String>,
) -> Result<Response, Rejection> {
    let notice = match flows::revoke_session(&app, &session, &id, None).await {
        Ok(_) => Notice::SessionEnded,
        Err(rejection) if rejection.problem().status() == StatusCode::CONFLICT => Notice::AlreadyEnded,
        Err(rejection) => return Err(rejection),
    };
    Ok(Redirect::to(&notice.on("/devices")).into_response())
}

pub(super) async fn end_others(State(app): State<App>, SignedIn(session): SignedIn) -> Result<Response, Rejection> {
    flows::revoke_others(&app, &session).await?;
    Ok(Redirect::to(&Notice::OthersEnded.on("/devices")).into_response())
}

fn content(entries: &[SessionEntry], total: u64, left_out: bool, now: DateTime<Utc>) -> Markup {
    html! {
        div {
            h1 { "Your devices" }
            p.lead {
                "Here is everywhere you are signed in. If you do not know one of these, sign it out. "
                a href="/connections" { "Your connections" }
            }
        }
        section.section aria-labelledby="active" {
            h2 #active tabindex="-1" { (total) @if total == 1 { " active session" } @else { " active sessions" } }
            // Empty from the beginning: a live region that appears together with its text is not read out.
            p.said #said role="status" {}
            ul.card role="list" { @for entry in entries { (device(entry, now, "/devices")) } }
            p.muted #unshown hidden {
                "There is a session that this page does not show yet. " a href="/devices" { "Show it" }
            }
            @if left_out { p.muted { "Only the newest " (entries.len()) " are shown." } }
        }
        section.section aria-labelledby="more" {
            h2 #more { "Sign out in one step" }
            div.card {
                @if total > 1 {
                    (choice("All other devices", "You stay signed in here.", "/devices/end-others", "Sign out others"))
                }
                (choice("Everywhere", "On all devices, and on this one too.", "/devices/end-all", "Sign out everywhere"))
            }
        }
        script src=(assets::script()) defer {}
    }
}

/// A form that is no more than its button, and what the button does.
pub(super) fn choice(title: &str, text: &str, action: &str, button: &str) -> Markup {
    html! {
        div.choice {
            div { h3 { (title) } p { (text) } }
            form method="post" action=(action) { button.quiet.danger type="submit" { (button) } }
        }
    }
}

/// A session in the list. The form that ends it goes below `path`.
pub(super) fn device(entry: &SessionEntry, now: DateTime<Utc>, path: &str) -> Markup {
    let described = agent::describe(&entry.session);
    html! {
        li.device.current[entry.is_current] data-session=(entry.id) {
            div.tile { (icons::device(described.kind)) }
            div {
                div.name {
                    h3 { bdi { (described.title) } }
                    @if entry.is_current { span.badge { "This device" } }
                }
                @if let Some(program) = &described.program { p.muted { bdi { (program) } } }
                dl.facts {
                    div { dt { "Place" } dd { (place(entry)) } }
                    div {
                        dt { "Last seen" }
                        dd { (time::ago(if entry.is_current { now } else { entry.last_activity }, now)) }
                    }
                    div { dt { "First seen" } dd { (time::ago(entry.created_at, now)) } }
                }
            }
            @if !entry.is_current {
                form method="post" action={ (path) "/" (entry.id) "/end" } {
                    button.quiet type="submit" { "Sign out" span.hidden { " " bdi { (described.title) } } }
                }
            }
        }
    }
}

/// Place and address, as far as known.
fn place(entry: &SessionEntry) -> Markup {
    let known = entry.location.as_deref().or_else(|| entry.ip_address.and_then(near));
    html! {
        @if let Some(place) = known { bdi { (place) } } @else { "Unknown" }
        @if let Some(address) = entry.ip_address { " " span.exact { (address) } }
    }
}

/// Addresses that are nowhere on the map.
fn near(address: IpAddr) -> Option<&'static str> {
    match address.to_canonical() {
        address if address.is_loopback() => Some("This computer"),
        IpAddr::V4(address) if address.is_private() || address.is_link_local() => Some("Local network"),
        IpAddr::V6(address) if address.is_unique_local() || address.is_unicast_link_local() => Some("Local network"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_addresses_are_named() {
        for (address, name) in [
            ("127.0.0.1", Some("This computer")),
            ("::1", Some("This computer")),
            ("::ffff:10.0.0.1", Some("Local network")),
            ("192.168.1.4", Some("Local network")),
            ("fd00::1", Some("Local network")),
            ("203.0.113.9", None),
            ("2001:db8::1", None),
        ] {
            assert_eq!(near(address.parse().unwrap()), name, "{address}");
        }
    }
}
