//! Endpoints 19 to 23, 29 and 30: connections to providers, and what can be connected to.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use http::StatusCode;
use session_manager_middleware_axum::CurrentSession;

use super::answers::Message;
use crate::app::App;
use crate::flows::{self, ConnectionsPage, ConnectionsQuery, MAX_CONNECTIONS_PAGE, NewConnection};
use crate::json::{Fields, JsonBody, QueryFields, RequestBody};
use crate::problem::Rejection;
use crate::providers::{Alias, Connection, ProviderType};

/// An id as it stands in the path.
pub(super) type PathId = Result<Path<String>, PathRejection>;

/// What is no text is no id.
pub(super) fn text(id: PathId) -> String {
    id.map_or_else(|_| String::new(), |Path(id)| id)
}

impl RequestBody for NewConnection {
    fn read(fields: &mut Fields) -> Option<Self> {
        let provider_key = fields.text("provider_key");
        let alias = fields.parsed("alias", Alias::parse);
        Some(Self { provider_key: provider_key?, alias: alias? })
    }
}

pub(super) async fn create(
    State(app): State<App>,
    session: CurrentSession,
    JsonBody(new): JsonBody<NewConnection>,
) -> Result<(StatusCode, Json<Connection>), Rejection> {
    Ok((StatusCode::CREATED, Json(flows::create_connection(&app, &session, new).await?)))
}

impl RequestBody for ConnectionsQuery {
    fn read(fields: &mut Fields) -> Option<Self> {
        let page = fields.optional_parsed("page", |text| {
            text.parse().ok().filter(|page| *page >= 1).ok_or("must be a whole number from 1 on")
        });
        let per_page = fields.optional_parsed("per_page", |text| {
            let per_page = text.parse().ok().filter(|per_page| (1..=MAX_CONNECTIONS_PAGE).contains(per_page));
            per_page.ok_or("must be a whole number from 1 to 100")
        });
        let [status, provider_key, sort, order] =
            ["status", "provider_key", "sort", "order"].map(|name| fields.optional_text(name));
        Some(Self { page, per_page, status, provider_key, sort, order })
    }
}

pub(super) async fn list(
    State(app): State<App>,
    session: CurrentSession,
    QueryFields(query): QueryFields<ConnectionsQuery>,
) -> Result<Json<ConnectionsPage>, Rejection> {
    Ok(Json(flows::list_connections(&app, &session, query).await?))
}

pub(super) async fn one(
    State(app): State<App>,
    session: CurrentSession,
    id: PathId,
) -> Result<Json<Connection>, Rejection> {
    Ok(Json(flows::connection(&app, &session, &text(id)).await?))
}

pub(super) struct NewAlias(Alias);

impl RequestBody for NewAlias {
    fn read(fields: &mut Fields) -> Option<Self> {
        fields.parsed("alias", Alias::parse).map(Self)
    }
}

pub(super) async fn rename(
    State(app): State<App>,
    session: CurrentSession,
    id: PathId,
    JsonBody(NewAlias(alias)): JsonBody<NewAlias>,
) -> Result<Json<Connection>, Rejection> {
    Ok(Json(flows::rename_connection(&app, &session, &text(id), &alias).await?))
}

pub(super) async fn remove(
    State(app): State<App>,
    session: CurrentSession,
    id: PathId,
) -> Result<Json<Message>, Rejection> {
    flows::remove_connection(&app, &session, &text(id)).await?;
    Ok(Message::json("The connection is removed."))
}

pub(super) struct TypesQuery {
    configured: Option<bool>,
}

impl RequestBody for TypesQuery {
    fn read(fields: &mut Fields) -> Option<Self> {
        let configured = fields.optional_parsed("configured", |text| match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err("must be true or false"),
        });
        Some(Self { configured })
    }
}

pub(super) async fn types(
    State(app): State<App>,
    QueryFields(query): QueryFields<TypesQuery>,
) -> Json<Vec<ProviderType>> {
    Json(flows::provider_types(&app, query.configured))
}

pub(super) async fn one_type(State(app): State<App>, key: PathId) -> Result<Json<ProviderType>, Rejection> {
    Ok(Json(flows::provider_type(&app, &text(key))?))
}
