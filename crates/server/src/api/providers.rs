//! Endpoints 19 to 23, 29 and 30: connections to providers, and what can be connected to.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use http::StatusCode;
use session_manager_middleware_axum::CurrentSession;

use super::answers::Message;
use super::description::Description;
use crate::app::App;
use crate::flows::{self, ConnectionsPage, ConnectionsQuery, MAX_CONNECTIONS_PAGE, NewConnection};
use crate::json::{Fields, JsonBody, QueryFields, RequestBody, Shape};
use crate::problem::Rejection;
use crate::providers::{Alias, Connection, ProviderType};

/// An id as it stands in the path.
pub(super) type PathId = Result<Path<String>, PathRejection>;

/// What is no text is no id.
pub(super) fn text(id: PathId) -> String {
    id.map_or_else(|_| String::new(), |Path(id)| id)
}

const UNKNOWN: (u16, &str) = (404, "unknown, or another user's");
const ALIAS: (&str, Shape) = ("alias", Shape::Length { least: 1, most: 100 });

pub(super) const CREATE: Description = Description::new("Add a connection to a provider", "audit `accessed`")
    .number(19)
    .body::<NewConnection>()
    .answers::<Connection>(201)
    .problems(&[(400, "no such provider"), (409, "another connection has this alias")]);

impl RequestBody for NewConnection {
    const SHAPES: &'static [(&'static str, Shape)] = &[ALIAS];

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

pub(super) const LIST: Description = Description::new("List the connections", "audit `accessed`")
    .number(20)
    .query::<ConnectionsQuery>()
    .answers::<ConnectionsPage>(200)
    .problems(&[(400, "no such status, provider, sort or order")]);

impl RequestBody for ConnectionsQuery {
    const SHAPES: &'static [(&'static str, Shape)] =
        &[("page", Shape::Whole { least: 1, most: 4_294_967_295 }), ("per_page", Shape::Whole { least: 1, most: 100 })];

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

pub(super) const ONE: Description = Description::new("Show a connection", "audit `accessed`")
    .number(21)
    .answers::<Connection>(200)
    .problems(&[UNKNOWN]);

pub(super) async fn one(
    State(app): State<App>,
    session: CurrentSession,
    id: PathId,
) -> Result<Json<Connection>, Rejection> {
    Ok(Json(flows::connection(&app, &session, &text(id)).await?))
}

pub(super) const RENAME: Description = Description::new("Give a connection another alias", "audit `accessed`")
    .number(22)
    .body::<NewAlias>()
    .answers::<Connection>(200)
    .problems(&[UNKNOWN, (409, "another connection has this alias")]);

pub(super) struct NewAlias(Alias);

impl RequestBody for NewAlias {
    const SHAPES: &'static [(&'static str, Shape)] = &[ALIAS];

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

pub(super) const REMOVE: Description =
    Description::new("Remove a connection: the provider is told, and its tokens are erased", "audit `accessed`")
        .number(23)
        .answers::<Message>(200)
        .problems(&[UNKNOWN]);

pub(super) async fn remove(
    State(app): State<App>,
    session: CurrentSession,
    id: PathId,
) -> Result<Json<Message>, Rejection> {
    flows::remove_connection(&app, &session, &text(id)).await?;
    Ok(Message::json("The connection is removed."))
}

pub(super) const TYPES: Description = Description::new("List the providers that there are", "nothing")
    .number(29)
    .query::<TypesQuery>()
    .answers::<Vec<ProviderType>>(200);

pub(super) struct TypesQuery {
    configured: Option<bool>,
}

impl RequestBody for TypesQuery {
    const SHAPES: &'static [(&'static str, Shape)] = &[("configured", Shape::OneOf(&["true", "false"]))];

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

pub(super) const ONE_TYPE: Description = Description::new("Show a provider", "nothing")
    .number(30)
    .answers::<ProviderType>(200)
    .problems(&[(404, "no such provider")]);

pub(super) async fn one_type(State(app): State<App>, key: PathId) -> Result<Json<ProviderType>, Rejection> {
    Ok(Json(flows::provider_type(&app, &text(key))?))
}
