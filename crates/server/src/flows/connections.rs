//! A user's connections to providers: made, listed, renamed, removed.

use http::StatusCode;
use serde::Serialize;
use session_manager_http::{Problem, ProblemType};
use session_manager_middleware_axum::CurrentSession;
use utoipa::ToSchema;
use uuid::Uuid;

use super::authorization::give_back;
use super::profile::current_user;
use crate::accounts::User;
use crate::app::App;
use crate::problem::Rejection;
use crate::providers::{Alias, Connection, NotCreated, NotRenamed, Order, PageQuery, ProviderType, Sort, Status};

/// The most that one page of connections holds, and what it holds without being asked.
pub(crate) const MAX_CONNECTIONS_PAGE: u32 = 100;
const USUAL_PAGE: u32 = 20;

/// A connection that is to be made.
#[derive(Clone, Debug)]
pub(crate) struct NewConnection {
    pub(crate) provider_key: String,
    pub(crate) alias: Alias,
}

/// Which connections, as they were asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConnectionsQuery {
    /// From 1 on.
    pub(crate) page: Option<u32>,
    /// At most [`MAX_CONNECTIONS_PAGE`].
    pub(crate) per_page: Option<u32>,
    pub(crate) status: Option<String>,
    pub(crate) provider_key: Option<String>,
    pub(crate) sort: Option<String>,
    pub(crate) order: Option<String>,
}

/// A page of connections.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct ConnectionsPage {
    pub(crate) items: Vec<Connection>,
    /// Of all pages.
    pub(crate) total: u64,
    pub(crate) page: u32,
    pub(crate) per_page: u32,
    pub(crate) pages: u64,
    pub(crate) has_next: bool,
    pub(crate) has_prev: bool,
}

/// The providers that there are; only those that can be connected to, or the others, where that is asked for.
pub(crate) fn provider_types(app: &App, configured: Option<bool>) -> Vec<ProviderType> {
    let wanted = |provider: &&ProviderType| configured.is_none_or(|configured| provider.configured == configured);
    app.providers().registry().all().iter().filter(wanted).cloned().collect()
}

/// A provider by its key.
///
/// # Errors
/// 404 for one that there is not.
pub(crate) fn provider_type(app: &App, key: &str) -> Result<ProviderType, Rejection> {
    let found = app.providers().registry().find(key).cloned();
    found.ok_or_else(|| Problem::of(ProblemType::NotFound).with_detail("there is no such provider").into())
}

/// Makes a connection, which then waits for its authorisation.
///
/// # Errors
/// 400 for a provider that there is not, or that cannot be connected to; 401 when the account is gone or disabled; 409 for an alias that the
/// user has given before, and for a user with very many connections.
pub(crate) async fn create_connection(
    app: &App,
    session: &CurrentSession,
    new: NewConnection,
) -> Result<Connection, Rejection> {
    let user = current_user(app, session).await?;
    let provider = app.providers().registry().find(&new.provider_key).ok_or_else(unknown_provider)?;
    if !provider.configured {
        return Err(not_configured());
    }
    let made = app.providers().connections().create(user.id, &provider.key, &new.alias, app.now()).await?;
    made.map_err(|refusal| match refusal {
        NotCreated::AliasTaken => alias_taken(),
        NotCreated::TooMany => Rejection::new(StatusCode::CONFLICT, "too-many-connections", "Too many connections")
            .detail("remove a connection before you make another one"),
    })
}

/// Lists the user's connections, newest first unless asked otherwise.
///
/// # Errors
/// 400 for an order, a status or a provider that there is not; 401 when the account is gone or disabled.
pub(crate) async fn list_connections(
    app: &App,
    session: &CurrentSession,
    query: ConnectionsQuery,
) -> Result<ConnectionsPage, Rejection> {
    let user = current_user(app, session).await?;
    let page = query.page.unwrap_or(1).max(1);
    let per_page = query.per_page.unwrap_or(USUAL_PAGE).clamp(1, MAX_CONNECTIONS_PAGE);
    if let Some(key) = &query.provider_key {
        app.providers().registry().find(key).ok_or_else(unknown_provider)?;
    }
    let sorts = "sort must be created_at, updated_at, alias, provider_key or status";
    let query = PageQuery {
        page,
        per_page,
        status: known(query.status, Status::parse, "status must be pending, active, expired or disconnected")?,
        provider_key: query.provider_key,
        sort: known(query.sort, Sort::parse, sorts)?.unwrap_or_default(),
        order: known(query.order, Order::parse, "order must be asc or desc")?.unwrap_or_default(),
    };
    let found = app.providers().connections().list(user.id, &query).await?;
    let pages = found.total.div_ceil(u64::from(per_page));
    Ok(ConnectionsPage {
        items: found.items,
        total: found.total,
        page,
        per_page,
        pages,
        has_next: u64::from(page) < pages,
        has_prev: page > 1,
    })
}

/// One of the user's connections.
///
/// # Errors
/// 401 when the account is gone or disabled; 404 for what is unknown, another user's or no id at all.
pub(crate) async fn connection(app: &App, session: &CurrentSession, id: &str) -> Result<Connection, Rejection> {
    Ok(own_connection(app, session, id).await?.1)
}

/// Gives a connection another alias.
///
/// # Errors
/// Those of [`connection`]; 409 for an alias that another of the user's connections has.
pub(crate) async fn rename_connection(
    app: &App,
    session: &CurrentSession,
    id: &str,
    alias: &Alias,
) -> Result<Connection, Rejection> {
    let user = current_user(app, session).await?;
    let id = parse(id)?;
    let renamed = app.providers().connections().rename(user.id, id, alias, app.now()).await?;
    renamed.map_err(|refusal| match refusal {
        NotRenamed::NoSuchConnection => no_such_connection(),
        NotRenamed::AliasTaken => alias_taken(),
    })
}

/// Removes a connection with its tokens, which the provider is told of.
///
/// # Errors
/// Those of [`connection`].
pub(crate) async fn remove_connection(app: &App, session: &CurrentSession, id: &str) -> Result<(), Rejection> {
    let (user, connection) = own_connection(app, session, id).await?;
    give_back(app, connection, move |app, connection| async move {
        app.providers().connections().remove(user.id, connection.id).await
    })
    .await?
    .then_some(())
    .ok_or_else(no_such_connection)
}

/// A connection of the request's user, who comes with it.
pub(super) async fn own_connection(
    app: &App,
    session: &CurrentSession,
    id: &str,
) -> Result<(User, Connection), Rejection> {
    let user = current_user(app, session).await?;
    let found = app.providers().connections().find(user.id, parse(id)?).await?;
    Ok((user, found.ok_or_else(no_such_connection)?))
}

pub(super) fn no_such_connection() -> Rejection {
    Problem::of(ProblemType::NotFound).with_detail("there is no such connection").into()
}

pub(super) fn not_configured() -> Rejection {
    Rejection::new(StatusCode::BAD_REQUEST, "provider-not-configured", "Provider not configured")
        .detail("this provider cannot be connected to so far")
}

fn parse(id: &str) -> Result<Uuid, Rejection> {
    Uuid::parse_str(id).map_err(|_| no_such_connection())
}

fn unknown_provider() -> Rejection {
    Rejection::new(StatusCode::BAD_REQUEST, "unknown-provider", "Unknown provider")
        .detail("there is no such provider; /api/v1/provider-types lists them")
}

fn alias_taken() -> Rejection {
    Rejection::new(StatusCode::CONFLICT, "alias-taken", "Alias taken").detail("another connection has this alias")
}

fn known<T>(
    name: Option<String>,
    parse: impl FnOnce(&str) -> Option<T>,
    expected: &'static str,
) -> Result<Option<T>, Rejection> {
    let refused = || Rejection::new(StatusCode::BAD_REQUEST, "invalid-query", "Invalid query").detail(expected);
    name.map(|name| parse(&name).ok_or_else(refused)).transpose()
}
